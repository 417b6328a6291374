"""What solvers say about a stored count that its models alone do not show.

    >>> resolve_cells(formula, found, "cadical153", deadline=limits.NEVER)
    '3 cells of the original formula have no further model'

Each function says what it saw.

Raises, all of them:
  ValueError: the stored count is wrong.
  limits.OutOfTime: it was not decided, with how far that went.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hashing.counting import approxmc, eliminate, extensions, repairs, witness
from inference import answer, limits
from inference.oracles import sat
from inference.problems import cnf, parity_rows, xor_clauses


def dropped(formula: cnf.CNF, found: witness.Witness) -> np.ndarray:
    """Sampling variables that were neither hashed nor free, so taken for defined."""
    return np.setdiff1d(formula.sampling_set, np.concatenate([found.support, found.free]))


class FreeVariables:
    """How far the free variables are known to be.

    Some occur in no clause; others in none once the variables that are not counted were resolved
    away. For the ``doubtful`` rest random extensions are a test, and ``prove`` asks a solver. What
    is proven is that all of them together are free: whatever model of the support, all values.
    """

    def __init__(self, formula: cnf.CNF, found: witness.Witness) -> None:
        self._fixed = {*found.support.tolist(), *found.free.tolist()}
        self.doubtful: list[int] = []
        self.seen = "nothing rests on them"
        if found.rounds:
            self._look(formula, found)

    def _look(self, formula: cnf.CNF, found: witness.Witness) -> None:
        clauses, self._num_variables = _as_clauses(formula, found.assumptions)
        mentioned = _mentioned(clauses, found.free)
        self._clauses = eliminate.eliminate(clauses, self._fixed, mentioned)
        self.doubtful = _mentioned(self._clauses, mentioned)
        self.seen = f"{len(found.free) - len(mentioned)} in no clause"
        if number := len(mentioned) - len(self.doubtful):
            self.seen += f", {number} more by resolution"
        total = sum(extensions.number(found, index) for index in found.rounds)
        self._tested = f"more tested on {total} random extensions, not proven"

    def test(self) -> str:
        """What is known without a solver."""
        number = len(self.doubtful)
        return self.seen + (f", {number} {self._tested}" if number else "")

    def prove(self, solver: str, deadline: limits.Deadline) -> str:
        """A proof for each of the others."""
        if not self.doubtful:
            return self.seen
        fixed, done = self._fixed.difference(self.doubtful), 0
        prover = repairs.Prover(self._clauses, self._num_variables, fixed, solver)
        try:
            for variable in self.doubtful:
                if not prover.is_free(variable, deadline):
                    raise ValueError(f"variable {variable} is not free")
                done += 1
        except limits.OutOfTime as limit:
            left = f"{done} more proven, {len(self.doubtful) - done} {self._tested}"
            raise limits.OutOfTime(f"{self.seen}, {left}") from limit
        finally:
            prover.close()
        return f"{self.seen}, {done} more proven"


def _as_clauses(formula: cnf.CNF, assumptions: Sequence[int]) -> tuple[list[list[int]], int]:
    """The formula under the assumptions, XORs as clauses, and how many variables those mention."""
    extra, fresh = xor_clauses.encode_formula(formula)
    true, false = set(assumptions), {-x for x in assumptions}
    clauses = (c for c in itertools.chain(formula.clauses.tolist(), extra) if not true & set(c))
    return [[x for x in clause if x not in false] for clause in clauses], fresh - 1


def _mentioned(clauses: list[list[int]], variables: Iterable[int]) -> list[int]:
    mentioned = {abs(x) for clause in clauses for x in clause}
    return [int(v) for v in variables if int(v) in mentioned]


def count_again(
    formula: cnf.CNF,
    found: witness.Witness,
    claimed: Mapping[str, Any],
    seed: int,
    deadline: limits.Deadline,
) -> str:
    """Whether the interval of a count with another seed meets the claimed one."""
    again, info = approxmc.count(
        formula,
        seed=seed,
        timeout=deadline.timeout,
        epsilon=found.epsilon,
        delta=found.delta,
        assumptions=found.assumptions,
    )
    low, high = again.log_lower / math.log(2), again.log_upper / math.log(2)
    interval = f"with seed {seed} log2 lies within [{low:.6g}, {high:.6g}]"
    failures = again.failure_lower, again.failure_upper
    near = 1e-9 * max(1.0, abs(low))  # both may be one number, which rounds differently
    if claimed["log2_upper"] < low - near or claimed["log2_lower"] > high + near:
        most = sum(failures) + claimed["failure_lower"] + claimed["failure_upper"]
        raise ValueError(f"{interval}, apart from the claim; by bad luck in {most:.2g} of cases")
    if info.status != "done":
        raise limits.OutOfTime(f"{interval} when it stopped")
    wrong = f", wrong below in {failures[0]:.2g} and above in {failures[1]:.2g} of cases"
    return f"{interval}{wrong if any(failures) else ''}; the claim meets it"


def resolve_cells(
    formula: cnf.CNF, found: witness.Witness, solver: str, deadline: limits.Deadline
) -> str:
    """Whether the cells hold no models of the original formula besides those listed."""
    for done, index in enumerate(sorted(found.rounds)):
        status = _search_unlisted(formula, found, index, solver, deadline)
        if status is answer.Status.UNKNOWN:
            raise limits.OutOfTime(f"{done} of {len(found.rounds)} cells re-solved in time")
        if status is not answer.Status.INFEASIBLE:
            raise ValueError(f"round {index}: the cell has a model that is not listed")
    return f"{len(found.rounds)} cells of the original formula have no further model"


def _search_unlisted(
    formula: cnf.CNF, found: witness.Witness, index: int, solver: str, deadline: limits.Deadline
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


def prove_defined(
    formula: cnf.CNF, found: witness.Witness, solver: str, deadline: limits.Deadline
) -> str:
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
                raise limits.OutOfTime(f"{done} of {len(unproven)} variables tested in time")
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
    return cnf.join(lists, cnf.Ragged(copied, lists.offsets))
