"""Checks a hashing count again, from what it stored, and trusts nothing that found it.

    >>> result, info = approxmc.count(7, formula)
    >>> assignments = extend(formula, result.witness)
    >>> check(formula, claimed, result.witness, assignments, solver="cadical153").level
    'cells re-solved by cadical153 (both sides)'

A result stores its witness and, for each model in it, an assignment of all variables of the
original formula, in which the free variables have random bits. Checking those takes no solver: the
parities derive again, so each cell has the listed models at least, which is what the lower side
rests on. With a solver the original formula is asked whether a cell has further models, and whether
the variables that were not hashed are defined by the others, which is what the upper side rests on:

    |over the sampling set| = |over support and free|   where the others are defined,
                           <= |over the support| 2^free, equal where the free ones are free.

The last is certain for variables in no clause; for others only the random bits speak.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from hashing.counting import guarantee, witness
from hashing.parity import rows as parity_rows
from inference import answer, estimate, randomness
from inference.oracles import sat
from inference.problems import cnf

# One solver counts and another one reduces; this is neither.
SOLVER = "cadical153"
TOLERANCE = 1e-9
# Random extensions of the models of a round, so that few models test free variables as well.
MIN_EXTENSIONS = 64
_BLOCK_LITERALS = 1 << 25  # evaluated at once


class Check(NamedTuple):
    """One thing that was looked at; ``passed`` is None where the time was too short."""

    what: str
    passed: bool | None
    detail: str


class Report(NamedTuple):
    """The checks in order, up to the first that failed, and what they amount to."""

    checks: tuple[Check, ...]
    level: str

    @property
    def holds(self) -> bool:
        """Whether everything that was asked for was checked and holds."""
        return all(one.passed for one in self.checks)


class OutOfTime(Exception):
    """The time limit came before a check was through."""


def extend(formula: cnf.CNF, found: witness.Witness, solver: str = SOLVER) -> dict[int, np.ndarray]:
    """Assignments of all variables that extend the stored models, by number of the round.

    Returns:
      uint8 [n, ceil(N / 8)]: bit i (from the high end) of row v is variable v + 1 in assignment i,
      which agrees with row i of ``fixed_bits``.

    Raises:
      RuntimeError: there is none, so the formula was reduced wrongly.
    """
    everything = dataclasses.replace(formula, projection=None, log_weights=None)
    columns = np.concatenate([found.support, found.free])
    extended = {}
    with sat.SatSession(everything, solver=solver) as session:
        for index in sorted(found.rounds):
            bits = fixed_bits(found, index)
            full = np.zeros((len(bits), formula.num_variables), dtype=bool)
            for row, fixed in enumerate(np.where(bits, columns, -columns).tolist()):
                model = session.solve([*found.assumptions, *fixed]).assignments
                if model is None:
                    raise RuntimeError(
                        f"the count is wrong: assignment {row} of round {index} is no model of the "
                        "formula, so it was reduced wrongly; please report formula and seed"
                    )
                full[row] = model[0]
            extended[index] = np.packbits(full.T, axis=1)
    return extended


def fixed_bits(found: witness.Witness, index: int) -> np.ndarray:
    """What the assignments of a round agree with, bool [N, k + f]: its models, then free bits.

    These are the models of cell(m), then those of cell(m - 1) that are not among them, all of them
    repeated up to ``MIN_EXTENSIONS`` where variables are free; the free bits are random.
    """
    one = found.rounds[index]
    known = {model.tobytes() for model in one.models}
    new = np.array([model.tobytes() not in known for model in one.before], dtype=bool)
    models = np.concatenate([one.models, one.before[new]])
    if len(models) and len(found.free):
        models = np.tile(models, (-(-MIN_EXTENSIONS // len(models)), 1))
    key = parity_rows.derive(found.seed, "free variables", found.digest, index)
    free, _ = parity_rows.draw_dense(key, len(models), len(found.free))
    bits = [(models, len(found.support)), (free, len(found.free))]
    return np.concatenate([parity_rows.unpack(words, width) for words, width in bits], axis=1)


def check(
    formula: cnf.CNF,
    claimed: Mapping[str, Any],
    found: witness.Witness,
    assignments: Mapping[int, np.ndarray],
    *,
    solver: str | None = None,
    timeout: float | None = None,
) -> Report:
    """Whether a claim follows from its witness.

    Args:
      formula: the original one.
      claimed: ``seed``, ``status``, ``claim``, ``count`` (a string or None), ``log2_value``,
        ``log2_lower``, ``log2_upper``, ``failure_lower`` and ``failure_upper``.
      found: the witness, of any content.
      assignments: as ``extend`` gives them.
      solver: any name PySAT knows, for both sides; None for no solver.
      timeout: seconds for what the solver does.
    """
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    parts: list[tuple[str, Callable[[], str]]] = [
        ("formula", lambda: _check_formula(formula, found)),
        ("question", lambda: _check_question(claimed, found)),
        ("reduction", lambda: _check_reduction(formula, found)),
        ("rounds", lambda: _check_rounds(claimed["status"], found)),
        ("cells", lambda: _check_cells(found)),
        ("parities", lambda: _check_parities(found)),
        ("models", lambda: _check_models(formula, found, assignments)),
        ("free variables", lambda: _check_free(formula, found)),
        ("estimate", lambda: _check_estimate(claimed, found)),
    ]
    if solver is not None:
        parts += [
            ("defined variables", lambda: _check_defined(formula, found, solver, deadline)),
            ("complete cells", lambda: _check_complete(formula, found, solver, deadline)),
        ]
    checks: list[Check] = []
    for what, part in parts:
        try:
            checks.append(Check(what, True, part()))
        except OutOfTime as limit:
            checks.append(Check(what, None, f"{limit} within the time limit"))
        except ValueError as error:
            checks.append(Check(what, False, str(error)))
            break
    return Report(tuple(checks), _level(checks, found, solver))


def compare(claimed: Mapping[str, Any], expected: estimate.Estimate) -> None:
    """Raises ValueError where a claim differs from an estimate."""
    if claimed["claim"] != expected.claim.value:
        raise ValueError(f"claim: expected {expected.claim.value}, given {claimed['claim']}")
    count = None if expected.count is None else str(expected.count)
    if claimed["count"] != count:
        raise ValueError(f"count: expected {count}, given {claimed['count']}")
    for name in ("log_value", "log_lower", "log_upper", "failure_lower", "failure_upper"):
        in_bits = name.startswith("log_")
        value = getattr(expected, name) / (math.log(2) if in_bits else 1.0)
        name = name.replace("log_", "log2_")
        if not math.isclose(claimed[name], value, rel_tol=1e-12, abs_tol=TOLERANCE):
            raise ValueError(f"{name}: expected {value:.12g}, given {claimed[name]:.12g}")


def _level(checks: list[Check], found: witness.Witness, solver: str | None) -> str:
    last = checks[-1]
    if last.passed is False:
        return f"refused: {last.what}: {last.detail}"
    level = f"cells re-solved by {solver} (both sides)"
    missing = [one.what for one in checks if one.passed is None]
    if missing or solver is None:
        level = "models checked (lower side)"
    if found.assumptions:
        level += f", assuming {' '.join(map(str, found.assumptions))}"
    return level + (f"; not checked: {', '.join(missing)}" if missing else "")


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
    steps = guarantee.plan(found.epsilon, found.delta)
    if found.seed != randomness.seed_words(claimed["seed"]):
        raise ValueError(f"the witness has another seed than {claimed['seed']}")
    asked = f"epsilon {found.epsilon:g}, delta {found.delta:g}, seed {claimed['seed']}"
    return f"{asked}: threshold {steps.threshold}, {steps.rounds} rounds"


def _check_reduction(formula: cnf.CNF, found: witness.Witness) -> str:
    for name, variables in (("support", found.support), ("free", found.free)):
        if not np.isin(variables, formula.sampling_set).all() or (np.diff(variables) <= 0).any():
            raise ValueError(f"expected increasing sampling variables for {name}")
    if np.intersect1d(found.support, found.free).size:
        raise ValueError("expected no variable both in the support and free")
    sizes = f"{len(found.support)} variables hashed, {len(found.free)} free"
    return f"{sizes}, {len(_dropped(formula, found))} taken for defined"


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
    steps, columns = guarantee.plan(found.epsilon, found.delta), len(found.support)
    for index, one in found.rounds.items():
        number, before = len(one.models), len(one.before)
        if not 0 <= one.num_hashes <= columns + witness.SPARE_LEVELS:
            raise ValueError(f"round {index}: {one.num_hashes} hashes over {columns} variables")
        if one.num_hashes and number > steps.threshold:
            raise ValueError(f"round {index}: the cell is not small, {number} models")
        if before != (steps.threshold + 1 if one.num_hashes else 0):
            raise ValueError(f"round {index}: {before} models in the cell before")
        for models in (one.models, one.before):
            if len({model.tobytes() for model in models}) < len(models):
                raise ValueError(f"round {index}: a model is listed twice")
    sizes = [f"{len(one.models)} at {one.num_hashes}" for _, one in sorted(found.rounds.items())]
    return f"distinct models at levels: {', '.join(sizes) or 'none'}"


def _check_parities(found: witness.Witness) -> str:
    for index, one in found.rounds.items():
        rows, rhs = _draw(found, index)
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
        expected = fixed_bits(found, index)
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


def _check_free(formula: cnf.CNF, found: witness.Witness) -> str:
    parts = [formula.clauses.values, formula.xors.values, np.array(found.assumptions, dtype=int)]
    mentioned = int(np.isin(found.free, np.abs(np.concatenate(parts))).sum())
    detail = f"{len(found.free) - mentioned} in no clause"
    if mentioned:
        total = sum(len(fixed_bits(found, index)) for index in found.rounds)
        detail += f", {mentioned} more checked on {total} random extensions only"
    return detail


def _check_estimate(claimed: Mapping[str, Any], found: witness.Witness) -> str:
    steps = guarantee.plan(found.epsilon, found.delta)
    expected = guarantee.estimate_of(found, steps)
    try:
        compare(claimed, expected)
    except ValueError as error:
        if expected.count is not None or 2 * len(found.rounds) > steps.rounds:
            raise
        raise ValueError(f"{error}; it rests on unfinished rounds, which are not stored") from error
    low, high = (x / math.log(2) for x in (expected.log_lower, expected.log_upper))
    return f"{expected.claim.value}, log2 within [{low:.6g}, {high:.6g}]{_slack(found, steps)}"


def _slack(found: witness.Witness, steps: guarantee.Plan) -> str:
    """By how much more models than are listed could lower the value of a round."""
    # Its first small cell would then be a later one, of value 2 scale(0) 2^m at least.
    largest = max(
        (steps.scale(len(r.models)) for r in found.rounds.values() if r.num_hashes), default=0
    )
    bits = math.log2(largest / (2 * steps.scale(0))) if largest > 2 * steps.scale(0) else 0.0
    return f"; from the models alone up to {bits:.2g} bits less" if bits else ""


# ------------------------------------------------------------------------------------------------
# With a solver.


def _check_complete(formula: cnf.CNF, found: witness.Witness, solver: str, deadline: float) -> str:
    for done, index in enumerate(sorted(found.rounds)):
        status = _search_unlisted(formula, found, index, solver, deadline)
        if status is answer.Status.UNKNOWN:
            raise OutOfTime(f"{done} of {len(found.rounds)} cells re-solved")
        if status is not answer.Status.INFEASIBLE:
            raise ValueError(f"round {index}: the cell has a model that is not listed")
    return f"{len(found.rounds)} cells of the original formula have no further model"


def _search_unlisted(
    formula: cnf.CNF, found: witness.Witness, index: int, solver: str, deadline: float
) -> answer.Status:
    """Whether the cell of a round has a model besides those listed."""
    columns, models = len(found.support), found.rounds[index].models
    rows, rhs, pivots = parity_rows.row_reduce(*_draw(found, index))
    rank = len(pivots)
    if rhs[rank:].any():
        return answer.Status.INFEASIBLE
    hashed = dataclasses.replace(formula, projection=found.support, log_weights=None)
    with sat.SatSession(hashed, solver=solver) as session:
        session.require(parity_rows.unpack(rows[:rank], columns), rhs[:rank])
        group = session.open_group()
        for model in parity_rows.unpack(models, columns):
            session.block(model, group)
        return session.solve([*found.assumptions, group], deadline=deadline).status


def _check_defined(formula: cnf.CNF, found: witness.Witness, solver: str, deadline: float) -> str:
    """Padoa's test: two models that agree on support and free agree on what was dropped."""
    dropped, n = _dropped(formula, found), formula.num_variables
    if not len(dropped):
        return "none was dropped"
    copy = np.arange(n + 1, 2 * n + 1, dtype=np.int32)
    for kept in (found.support, found.free):
        copy[kept - 1] = kept
    assumed = [x for y in found.assumptions for x in (y, int(np.sign(y) * copy[abs(y) - 1]))]
    pairs = np.concatenate([dropped, copy[dropped - 1]])
    with sat.SatSession(_doubled(formula, copy, pairs), solver=solver) as session:
        for done, variable in enumerate(dropped.tolist()):
            differ = [variable, -int(copy[variable - 1])]
            status = session.solve([*assumed, *differ], deadline=deadline).status
            if status is answer.Status.UNKNOWN:
                raise OutOfTime(f"{done} of {len(dropped)} variables tested")
            if status is not answer.Status.INFEASIBLE:
                raise ValueError(f"variable {variable} is not defined by support and free")
            # Now they are known to be equal, which the next tests may use.
            session.require(np.isin(pairs, np.abs(differ))[None], np.zeros(1, dtype=bool))
    return f"{len(dropped)} defined by support and free"


def _doubled(formula: cnf.CNF, copy: np.ndarray, pairs: np.ndarray) -> cnf.CNF:
    """The formula and a copy in which variable v is ``copy[v - 1]``; ``pairs`` are sampled."""
    literals = formula.clauses.values
    copied = np.sign(literals) * copy[np.abs(literals) - 1]
    return cnf.CNF(
        2 * formula.num_variables,
        _both(formula.clauses, copied),
        _both(formula.xors, copy[formula.xors.values - 1]),
        np.concatenate([formula.xor_rhs, formula.xor_rhs]),
        pairs,
    )


def _both(lists: cnf.Ragged, copied: np.ndarray) -> cnf.Ragged:
    offsets = np.concatenate([lists.offsets, lists.offsets[1:] + len(lists.values)])
    return cnf.Ragged(np.concatenate([lists.values, copied]), offsets)


def _dropped(formula: cnf.CNF, found: witness.Witness) -> np.ndarray:
    """Sampling variables that were neither hashed nor free."""
    return np.setdiff1d(formula.sampling_set, np.concatenate([found.support, found.free]))


def _draw(found: witness.Witness, index: int) -> tuple[np.ndarray, np.ndarray]:
    key = witness.draw_key(found.seed, found.digest, index)
    return parity_rows.draw_dense(key, found.rounds[index].num_hashes, len(found.support))


def _blocks(packed: np.ndarray, number: int, formula: cnf.CNF) -> Iterator[tuple[int, np.ndarray]]:
    """Assignments bool [some, n] with the number of the first, few enough to evaluate at once."""
    step = max(1, _BLOCK_LITERALS // 8 // (1 + len(formula.clauses.values)))
    for start in range(0, packed.shape[1], step):
        bits = np.unpackbits(packed[:, start : start + step], axis=1)
        yield 8 * start, bits[:, : number - 8 * start].T.astype(bool)
