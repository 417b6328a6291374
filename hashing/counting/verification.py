"""Checks a hashing count again, from what it stored, and trusts nothing that found it.

    >>> result, info = approxmc.count(formula, seed=7)
    >>> assignments = extensions.extend(formula, result.witness)
    >>> check(formula, claimed, result.witness, assignments, solver="cadical153").sides
    'both'

A result stores its witness and, for each model in it, assignments of all variables of the original
formula, in which the free variables have random bits. Checking those takes no solver: the parities
derive again, so each cell has the listed models at least, which is what the lower side rests on.
With a solver the original formula is asked whether a cell has further models, and whether the
variables that were not hashed are defined by the others, which is what the upper side rests on:

    |over the sampling set| = |over support and free|   where the others are defined,
                           <= |over the support| 2^free, equal where the free ones are free.

The last is certain for variables in no clause. For others the random bits are a test, and a solver
proves it (``repairs``). What no check of this kind can see is whether the seed was chosen to suit:
whoever tries enough of them finds one for which the cells are small or large. Only another count,
with a seed of the verifier's own, speaks about that.
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from hashing.counting import extensions, guarantee, proofs, witness
from inference import estimate, limits, randomness
from inference.problems import cnf, parity_rows

# Of logarithms and of failures: machines differ in the last digits of both.
TOLERANCE, FAILURE_TOLERANCE = 1e-12, 1e-9
_BLOCK_LITERALS = 1 << 25  # evaluated at once


class Check(NamedTuple):
    """One thing that was looked at; ``passed`` is None where the time was too short."""

    what: str
    passed: bool | None
    detail: str


class Report(NamedTuple):
    """The checks in order, up to the first that failed, and what they amount to.

    ``sides`` is "both", "lower", "upper" or "none", ``level`` says it in words.
    """

    checks: tuple[Check, ...]
    level: str
    sides: str

    @property
    def holds(self) -> bool:
        """Whether everything that was asked for was checked and holds."""
        return all(one.passed for one in self.checks)


def check(
    formula: cnf.CNF,
    claimed: Mapping[str, Any],
    found: witness.Witness,
    assignments: Mapping[int, np.ndarray],
    *,
    solver: str | None = None,
    reseed: int | None = None,
    timeout: float | None = None,
) -> Report:
    """Whether a claim follows from its witness.

    Args:
      formula: the original one.
      claimed: ``seed``, ``status``, ``claim``, ``count`` (a string or None), ``log2_value``,
        ``log2_lower``, ``log2_upper``, ``failure_lower`` and ``failure_upper``.
      found: the witness, of any content.
      assignments: as ``extensions.extend`` gives them.
      solver: any name PySAT knows, for both sides; None for no solver.
      reseed: a seed to count again with, chosen by whoever verifies.
      timeout: seconds for what solver and recount do.
    """
    deadline = limits.Deadline.after(timeout)
    parts: list[tuple[str, Callable[[], str]]] = [
        ("formula", lambda: _check_formula(formula, found)),
        ("question", lambda: _check_question(claimed, found)),
        ("reduction", lambda: _check_reduction(formula, found)),
        ("rounds", lambda: _check_rounds(claimed["status"], found)),
        ("cells", lambda: _check_cells(found)),
        ("parities", lambda: _check_parities(found)),
        ("models", lambda: _check_models(formula, found, assignments)),
        ("estimate", lambda: _check_estimate(claimed, found)),
    ]
    free = functools.cache(lambda: proofs.FreeVariables(formula, found))
    if solver is None:
        parts += [("free variables", lambda: free().test())]
    else:
        asked = formula, found, solver, deadline
        parts += [
            ("free variables", lambda: free().prove(solver, deadline)),
            ("defined variables", lambda: proofs.prove_defined(*asked)),
            ("complete cells", lambda: proofs.resolve_cells(*asked)),
        ]
    if reseed is not None:
        again = formula, found, claimed, reseed, deadline
        parts += [("another seed", lambda: proofs.count_again(*again))]
    checks: list[Check] = []
    for what, part in parts:
        try:
            checks.append(Check(what, True, part()))
        except limits.OutOfTime as limit:
            checks.append(Check(what, None, str(limit)))
        except ValueError as error:
            checks.append(Check(what, False, str(error)))
            break
    if checks[-1].passed is False:
        last = checks[-1]
        return Report(tuple(checks), f"refused: {last.what}: {last.detail}", "none")
    return _report(checks, found, free().doubtful, solver, claimed["claim"])


def compare(
    claimed: Mapping[str, Any], expected: estimate.Estimate, near: float = TOLERANCE
) -> None:
    """Raises ValueError where a claim differs from an estimate, ``near`` being for logarithms."""
    if claimed["claim"] != expected.claim.value:
        raise ValueError(f"claim: expected {expected.claim.value}, given {claimed['claim']}")
    count = None if expected.count is None else str(expected.count)
    if claimed["count"] != count:
        raise ValueError(f"count: expected {count}, given {claimed['count']}")
    for name in ("log_value", "log_lower", "log_upper", "failure_lower", "failure_upper"):
        in_bits = name.startswith("log_")
        value = getattr(expected, name) / (math.log(2) if in_bits else 1.0)
        name = name.replace("log_", "log2_")
        # Failures are compared relative to themselves, so that small ones cannot be set to zero.
        tolerance = (near, near) if in_bits else (FAILURE_TOLERANCE, 0.0)
        if not math.isclose(claimed[name], value, rel_tol=tolerance[0], abs_tol=tolerance[1]):
            raise ValueError(f"{name}: expected {value:.12g}, given {claimed[name]:.12g}")


def _report(
    checks: list[Check], found: witness.Witness, doubtful: list[int], solver: str | None, claim: str
) -> Report:
    """What the checks amount to; a side is named only where all that it rests on was checked."""
    passed = {one.what for one in checks if one.passed}
    missing = [one.what for one in checks if not one.passed]
    tested = f"{len(doubtful)} of {len(found.free)} free variables tested, not proven"
    is_tested = doubtful and (solver is None or "free variables" in missing)
    sides, level = "lower", "lower side only: models checked"
    level += f", {tested}" if is_tested else ""
    if {"defined variables", "complete cells"} <= passed:
        sides, level = "both", f"both sides: cells re-solved by {solver}"
        if is_tested:
            sides, level = "upper", f"upper side only: cells re-solved by {solver}, {tested}"
    if found.assumptions:
        level += f", assuming {' '.join(map(str, found.assumptions))}"
    if claim == "probable":
        level += ", counted again" if "another seed" in passed else ", for the seed as given"
    level += f"; not checked: {', '.join(missing)}" if missing else ""
    return Report(tuple(checks), level, sides)


# ------------------------------------------------------------------------------------------------
# The checks: each returns what it saw, or raises ValueError with the first thing that is wrong.


def _check_formula(formula: cnf.CNF, found: witness.Witness) -> str:
    digest, n = formula.digest(), formula.num_variables
    if found.digest != digest:
        raise ValueError(f"expected the digest {digest[:12]}..., given {found.digest[:12]!r}")
    if not all(1 <= abs(literal) <= n for literal in found.assumptions):
        raise ValueError(f"expected assumptions among the variables 1..{n}")
    assumed = f", assuming {' '.join(map(str, found.assumptions))}" if found.assumptions else ""
    return f"digest {digest[:12]}{assumed}"


def _check_question(claimed: Mapping[str, Any], found: witness.Witness) -> str:
    scheme = guarantee.plan(found.epsilon, found.delta)
    if found.seed != randomness.seed_words(claimed["seed"]):
        raise ValueError(f"the witness has another seed than {claimed['seed']}")
    asked = f"epsilon {found.epsilon:g}, delta {found.delta:g}, seed {claimed['seed']}"
    return f"{asked}: threshold {scheme.threshold}, {scheme.rounds} rounds"


def _check_reduction(formula: cnf.CNF, found: witness.Witness) -> str:
    for name, variables in (("support", found.support), ("free", found.free)):
        if not np.isin(variables, formula.sampling_set).all() or (np.diff(variables) <= 0).any():
            raise ValueError(f"expected increasing sampling variables for {name}")
    if np.intersect1d(found.support, found.free).size:
        raise ValueError("expected no variable both in the support and free")
    if np.isin(found.free, np.abs(np.array(found.assumptions, dtype=int))).any():
        raise ValueError("expected no assumption about a free variable")
    sizes = f"{len(found.support)} variables hashed, {len(found.free)} free"
    return f"{sizes}, {len(proofs.dropped(formula, found))} taken for defined"


def _check_rounds(status: str, found: witness.Witness) -> str:
    planned = guarantee.plan(found.epsilon, found.delta).rounds
    if not all(0 <= index < planned for index in found.rounds):
        raise ValueError(f"expected rounds 0..{planned - 1}, given {sorted(found.rounds)}")
    exact = any(one.num_hashes == 0 for one in found.rounds.values())
    if exact and len(found.rounds) > 1:
        raise ValueError("expected a round without hashes to stand alone")
    unsatisfiable = exact and not any(len(one.models) for one in found.rounds.values())
    if exact or len(found.rounds) == planned:
        # A worker may fail, or Ctrl-C come, after the last round that was needed.
        expected = ["unsatisfiable" if unsatisfiable else "done", "failed", "interrupted"]
    else:
        expected = ["timeout", "failed", "interrupted"]
    number = f"{len(found.rounds)} of {planned} rounds"
    if status not in expected:
        raise ValueError(f"status: expected {expected[0]} after {number}, given {status}")
    return f"all models listed, {status}" if exact else f"{number}, {status}"


def _check_cells(found: witness.Witness) -> str:
    scheme, columns = guarantee.plan(found.epsilon, found.delta), len(found.support)
    for index, one in found.rounds.items():
        number, before = len(one.models), len(one.before)
        if not 0 <= one.num_hashes <= columns + witness.SPARE_LEVELS:
            raise ValueError(f"round {index}: {one.num_hashes} hashes over {columns} variables")
        if one.num_hashes and number > scheme.threshold:
            raise ValueError(f"round {index}: the cell is not small, {number} models")
        if before != (scheme.threshold + 1 if one.num_hashes else 0):
            raise ValueError(f"round {index}: {before} models in the cell before")
        for models in (one.models, one.before):
            if not _increasing(models):
                raise ValueError(f"round {index}: a model is listed twice, or out of order")
    sizes = [f"{len(one.models)} at {one.num_hashes}" for _, one in sorted(found.rounds.items())]
    return f"distinct models at levels: {', '.join(sizes) or 'none'}"


def _increasing(models: np.ndarray) -> bool:
    """Whether each model, as a list of words, comes before the next; so no two are equal."""
    listed = models.tolist()
    return all(one < next_one for one, next_one in zip(listed, listed[1:]))


def _check_parities(found: witness.Witness) -> str:
    for index, one in found.rounds.items():
        rows, rhs = witness.draw(found, index)
        if not parity_rows.satisfied(rows, rhs, one.models).all():
            raise ValueError(f"round {index}: a model lies outside its cell")
        if not parity_rows.satisfied(rows[:-1], rhs[:-1], one.before).all():
            raise ValueError(f"round {index}: a model lies outside the cell before")
    return "derived again, they hold"


def _check_models(
    formula: cnf.CNF, found: witness.Witness, assignments: Mapping[int, np.ndarray]
) -> str:
    columns = np.concatenate([found.support, found.free]) - 1
    assumed = np.array(found.assumptions, dtype=np.int64)
    total = 0
    for index in found.rounds:
        expected = extensions.fixed_bits(found, index)
        total += len(expected)
        shape = (formula.num_variables, -(-len(expected) // 8))
        if index not in assignments or assignments[index].shape != shape:
            raise ValueError(f"round {index}: expected {len(expected)} assignments")
        for start, block in _blocks(assignments[index], len(expected), formula):
            if not formula.is_satisfied(block).all():
                raise ValueError(f"round {index}: an assignment violates the formula")
            if (block[:, np.abs(assumed) - 1] != (assumed > 0)).any():
                raise ValueError(f"round {index}: an assignment violates the assumptions")
            if (block[:, columns] != expected[start : start + len(block)]).any():
                raise ValueError(f"round {index}: an assignment is not that of its model")
    return f"{total} assignments satisfy the formula and agree with the cells"


def _check_estimate(claimed: Mapping[str, Any], found: witness.Witness) -> str:
    scheme = guarantee.plan(found.epsilon, found.delta)
    expected = guarantee.estimate_of(found, scheme)
    compare(claimed, expected)
    low, high = (x / math.log(2) for x in (expected.log_lower, expected.log_upper))
    return f"{expected.claim.value}, log2 within [{low:.6g}, {high:.6g}]{_slack(found, scheme)}"


def _slack(found: witness.Witness, scheme: guarantee.Scheme) -> str:
    """By how much more models than are listed could lower the value of a round."""
    # Its first small cell would then be a later one, of value 2 scale(0) 2^m at least.
    largest = max(
        (scheme.scale(len(r.models)) for r in found.rounds.values() if r.num_hashes), default=0
    )
    bits = math.log2(largest / (2 * scheme.scale(0))) if largest > 2 * scheme.scale(0) else 0.0
    return f"; from the models alone up to {bits:.2g} bits less" if bits else ""


def _blocks(packed: np.ndarray, number: int, formula: cnf.CNF) -> Iterator[tuple[int, np.ndarray]]:
    """Assignments bool [some, n] with the number of the first, few enough to evaluate at once."""
    step = max(1, _BLOCK_LITERALS // 8 // (1 + len(formula.clauses.values)))
    for start in range(0, packed.shape[1], step):
        bits = np.unpackbits(packed[:, start : start + step], axis=1)
        yield 8 * start, bits[:, : number - 8 * start].T.astype(bool)
