"""What solvers say about a stored count that its models alone do not show.

    >>> resolve_cells(formula, found, "cadical153", deadline=math.inf)
    '3 cells of the original formula have no further model'

Each function says what it saw.

Raises, all of them:
  ValueError: the stored count is wrong.
  repairs.OutOfTime: it was not decided, with how far that went.
"""

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hashing.counting import approxmc, extensions, repairs, witness
from hashing.parity import rows as parity_rows
from inference import answer
from inference.oracles import sat
from inference.problems import cnf


def dropped(formula: cnf.CNF, found: witness.Witness) -> np.ndarray:
    """Sampling variables that were neither hashed nor free, so taken for defined."""
    return np.setdiff1d(formula.sampling_set, np.concatenate([found.support, found.free]))


def doubtful(formula: cnf.CNF, found: witness.Witness) -> np.ndarray:
    """Free variables that are not free for the simple reason that nothing mentions them."""
    parts = [formula.clauses.values, formula.xors.values, np.array(found.assumptions, dtype=int)]
    return found.free[np.isin(found.free, np.abs(np.concatenate(parts)))]


def tested(found: witness.Witness) -> str:
    """What random extensions say of the doubtful ones."""
    total = sum(extensions.number(found, index) for index in found.rounds)
    return f"tested on {total} random extensions, not proven"


def prove_free(formula: cnf.CNF, found: witness.Witness, solver: str, deadline: float) -> str:
    """Whether the free variables are: all but those that nothing mentions take a proof."""
    unproven = doubtful(formula, found)
    seen = f"{len(found.free) - len(unproven)} in no clause"
    if not len(unproven):
        return seen
    fixed, done = np.concatenate([found.support, found.free]), 0
    prover = repairs.Prover(formula, fixed, found.assumptions, solver)
    try:
        for variable in unproven.tolist():
            if not prover.is_free(variable, deadline):
                raise ValueError(f"variable {variable} is not free")
            done += 1
    except repairs.OutOfTime as limit:
        left = f"{len(unproven) - done} {tested(found)}"
        raise repairs.OutOfTime(f"{seen}, {done} more proven free, {left}") from limit
    finally:
        prover.close()
    return f"{seen}, {done} more proven free"


def count_again(
    formula: cnf.CNF,
    claimed: Mapping[str, Any],
    seed: int,
    deadline: float,
    *,
    epsilon: float = 0.8,
    delta: float = 0.2,
    assumptions: Sequence[int] = (),
) -> str:
    """Whether the interval of a count with another seed meets the claimed one."""
    left = None if deadline == math.inf else max(0.0, deadline - time.monotonic())
    options: dict[str, Any] = {"epsilon": epsilon, "delta": delta, "assumptions": assumptions}
    again, info = approxmc.count(seed, formula, timeout=left, **options)
    low, high = again.log_lower / math.log(2), again.log_upper / math.log(2)
    interval = f"with seed {seed} log2 lies within [{low:.6g}, {high:.6g}]"
    failures = again.failure_lower, again.failure_upper
    near = 1e-9 * max(1.0, abs(low))  # both may be one number, which rounds differently
    if claimed["log2_upper"] < low - near or claimed["log2_lower"] > high + near:
        most = sum(failures) + claimed["failure_lower"] + claimed["failure_upper"]
        raise ValueError(f"{interval}, apart from the claim; by bad luck in {most:.2g} of cases")
    if info.status != "done":
        raise repairs.OutOfTime(f"{interval} when it stopped")
    wrong = f", wrong below in {failures[0]:.2g} and above in {failures[1]:.2g} of cases"
    return f"{interval}{wrong if any(failures) else ''}; the claim meets it"


def resolve_cells(formula: cnf.CNF, found: witness.Witness, solver: str, deadline: float) -> str:
    """Whether the cells hold no models of the original formula besides those listed."""
    for done, index in enumerate(sorted(found.rounds)):
        status = _search_unlisted(formula, found, index, solver, deadline)
        if status is answer.Status.UNKNOWN:
            raise repairs.OutOfTime(f"{done} of {len(found.rounds)} cells re-solved in time")
        if status is not answer.Status.INFEASIBLE:
            raise ValueError(f"round {index}: the cell has a model that is not listed")
    return f"{len(found.rounds)} cells of the original formula have no further model"


def _search_unlisted(
    formula: cnf.CNF, found: witness.Witness, index: int, solver: str, deadline: float
) -> answer.Status:
    """Whether the cell of a round has a model besides those listed."""
    columns, models = len(found.support), found.rounds[index].models
    rows, rhs, pivots = parity_rows.row_reduce(*witness.draw(found, index))
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


def prove_defined(formula: cnf.CNF, found: witness.Witness, solver: str, deadline: float) -> str:
    """Padoa's test: two models that agree on support and free agree on what was dropped."""
    unproven, n = dropped(formula, found), formula.num_variables
    if not len(unproven):
        return "none was dropped"
    copy = np.arange(n + 1, 2 * n + 1, dtype=np.int32)
    for kept in (found.support, found.free):
        copy[kept - 1] = kept
    assumed = [x for y in found.assumptions for x in (y, int(np.sign(y) * copy[abs(y) - 1]))]
    pairs = np.concatenate([unproven, copy[unproven - 1]])
    with sat.SatSession(_doubled(formula, copy, pairs), solver=solver) as session:
        for done, variable in enumerate(unproven.tolist()):
            differ = [variable, -int(copy[variable - 1])]
            status = session.solve([*assumed, *differ], deadline=deadline).status
            if status is answer.Status.UNKNOWN:
                raise repairs.OutOfTime(f"{done} of {len(unproven)} variables tested in time")
            if status is not answer.Status.INFEASIBLE:
                raise ValueError(f"variable {variable} is not defined by support and free")
            # Now they are known to be equal, which the next tests may use.
            session.require(np.isin(pairs, np.abs(differ))[None], np.zeros(1, dtype=bool))
    return f"{len(unproven)} defined by support and free"


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
