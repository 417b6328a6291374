"""Independent supports: fewer variables to hash, the same count.

    >>> formula = cnf.from_clauses([[-3, 1], [-3, 2], [3, -1, -2]], num_variables=9)
    >>> independent_support(formula)  # variable 3 is 1 and 2
    array([1, 2, 4, 5, 6, 7, 8, 9], dtype=int32)
    >>> reduce(formula).free
    array([1, 2, 4, 5, 6, 7, 8, 9], dtype=int32)

A sampling variable is *defined* when the other sampling variables leave it one value at most;
dropping it changes no count. It is *free* when, with everything else eliminated, no clause mentions
it; each one doubles the count. The rest is hashed.

Definability is Padoa's test: the formula and a copy of it that agree on the other variables and
differ here have no model. Ivrii, Malik, Meel and Vardi, On Computing Minimal Independent Support
and Its Applications to Sampling and Counting (Constraints 2016). All limits count conflicts and
queries, so a formula has the same support on every machine.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pysolvers
from pysat import solvers

from inference import limits
from inference.problems import cnf, parity_rows, xor_clauses
from inference.reduction import closure, gates, preprocess

# Conflicts for one query and for all of an order, the second order having less to gain. A query
# that hits its limit keeps its variable.
QUERY_CONFLICTS, FIRST_CONFLICTS = 500, 100_000
# Assumptions over all queries: they grow with the square of the sampling set. So many take about
# three seconds.
ALL_ASSUMPTIONS = 5_000_000


class Reduction(NamedTuple):
    """A formula with fewer models: each of them stands for 2^len(free) projected models.

    Attributes:
      formula: the residual formula, numbered anew; its sampling set is what is hashed.
      variables: int32 [n'], the original variable of each of its variables.
      free: int32 [f], the original sampling variables that are free.
    """

    formula: cnf.CNF
    variables: np.ndarray
    free: np.ndarray

    @property
    def support(self) -> np.ndarray:
        """The original variables that are hashed, increasing int32."""
        return self.variables[self.formula.sampling_set - 1]


def reduce(
    formula: cnf.CNF,
    *,
    keep: Sequence[int] = (),
    support: np.ndarray | None = None,
    deadline: limits.Deadline = limits.NEVER,
) -> Reduction:
    """Preprocesses, drops defined variables, eliminates what is not hashed, sets free ones apart.

    Args:
      formula: without weights.
      keep: variables that stay in the residual formula, so that they can be assumed.
      support: an independent support, where one is known.
      deadline: from then on every variable counts as undefined.
    """
    kept = np.array(sorted(set(keep)), dtype=np.int32)
    sampled = np.union1d(formula.sampling_set, kept)
    simpler = preprocess.simplify(formula, sampled, deadline=deadline)
    if support is None:
        support = independent_support(simpler, before=formula, deadline=deadline)
    hashed = np.union1d(support, kept)
    simpler = preprocess.simplify(simpler, hashed, rounds=2, deadline=deadline)
    return _renumber(simpler, support, kept)


def assume(
    reduction: Reduction,
    assumptions: Sequence[int],
    *,
    support: np.ndarray | None = None,
    deadline: limits.Deadline = limits.NEVER,
) -> Reduction:
    """The reduction under literals of the original formula: reduced again, as they fix others.

    Args:
      reduction: that keeps their variables.
      assumptions: literals; what comes back has no model without them.
      support: original variables that define the others under the assumptions, where known.
      deadline: as for ``reduce``.

    Raises:
      ValueError: a variable was not kept.
    """
    number = {v: i for i, v in enumerate(reduction.variables.tolist(), 1)}
    for literal in assumptions:
        if abs(literal) not in number:
            raise ValueError(
                "expected assumptions among the variables that the reduction keeps, "
                f"given {literal}"
            )
    literals = [number[abs(x)] * (1 if x > 0 else -1) for x in assumptions]
    if support is not None:
        support = np.array([number[v] for v in support.tolist() if v in number], dtype=np.int32)
    residual = conditioned(reduction.formula, literals)
    again = reduce(residual, support=support, deadline=deadline)
    free = np.union1d(reduction.free, reduction.variables[again.free - 1])
    return Reduction(again.formula, reduction.variables[again.variables - 1], free)


def conditioned(formula: cnf.CNF, assumptions: Sequence[int]) -> cnf.CNF:
    """The formula with literals that hold, each a clause of its own.

    Raises:
      ValueError: a literal is none of the formula.
    """
    units = cnf.ragged([[x] for x in checked(assumptions, formula.num_variables)])
    if not len(units):
        return formula
    return dataclasses.replace(formula, clauses=cnf.join(formula.clauses, units))


def checked(assumptions: Sequence[int], num_variables: int) -> tuple[int, ...]:
    """The literals; raises ValueError where one is none of the variables."""
    for literal in assumptions:
        if not 1 <= abs(literal) <= num_variables:
            raise ValueError(
                f"expected assumptions among the variables 1..{num_variables}, given {literal}"
            )
    return tuple(int(x) for x in assumptions)


def unreduced(formula: cnf.CNF, **_: Any) -> Reduction:
    """The formula as it is, all of its sampling set hashed."""
    everything = np.arange(1, formula.num_variables + 1, dtype=np.int32)
    return Reduction(formula, everything, np.zeros(0, dtype=np.int32))


def independent_support(
    formula: cnf.CNF, *, before: cnf.CNF | None = None, deadline: limits.Deadline = limits.NEVER
) -> np.ndarray:
    """Sampling variables that define the others: increasing int32 [k].

    Args:
      formula: without weights.
      before: the formula before it was simplified, whose gates may be clearer.
      deadline: from then on every variable counts as undefined.
    """
    best = formula.sampling_set
    try:
        best = _closed_by_gates(formula, formula if before is None else before, deadline)
    except limits.OutOfTime:
        return best
    compact = _renumber(formula, best, np.zeros(0, dtype=np.int32))
    # Where XORs define, the solver would need as many conflicts as they have assignments.
    defined = _defined_by_xors(compact.formula, deadline)
    tested = np.setdiff1d(compact.formula.sampling_set, defined)
    clauses = _as_clauses(compact.formula)
    smaller = _minimize(clauses, tested[::-1], FIRST_CONFLICTS, len(tested), deadline)
    best = tested if smaller is None else np.array(smaller, dtype=np.int32)
    return np.union1d(compact.free, compact.variables[best - 1])


def _closed_by_gates(formula: cnf.CNF, before: cnf.CNF, deadline: limits.Deadline) -> np.ndarray:
    """Sampling variables that make the others known through gates.

    Raises:
      OutOfTime: before they were found.
    """
    # The XORs are the same in both, and so are the variables that cut them.
    both = [_as_clauses(before)] + ([_as_clauses(formula)] if formula is not before else [])
    n = max(int(np.abs(clauses.values).max(initial=formula.num_variables)) for clauses in both)
    found = [gates.find(clauses, n, deadline) for clauses in both]
    together = gates.concatenate(found)
    clear = len(found[0].variables)
    return np.array(
        closure.smallest(together, formula.sampling_set, n, clear=clear, deadline=deadline),
        dtype=np.int32,
    )


def _minimize(
    clauses: cnf.Ragged,
    order: np.ndarray,
    conflicts: int,
    below: int,
    deadline: limits.Deadline,
) -> list[int] | None:
    """What is left when each variable in turn is dropped if the others define it.

    None where that is not fewer than ``below``.
    """
    # MiniSat keeps to a limit of conflicts; Glucose looks at it between rare restarts only.
    with solvers.Solver(name="minisat22") as solver:
        kept: list[int] = []
        try:
            shift, selectors = _pair(solver, clauses, order, deadline)
        except limits.OutOfTime:
            return None
        assumptions = 0
        for position, variable in enumerate(order.tolist()):
            assumptions += len(order) - position
            over = solver.accum_stats()["conflicts"] > conflicts or assumptions > ALL_ASSUMPTIONS
            if over or deadline.has_passed():
                kept += order[position:].tolist()
                break
            equal = selectors[position + 1 :]
            if not _has_no_model(solver, [variable, -variable - shift, *equal]):
                kept.append(variable)
                solver.add_clause([selectors[position]])  # from now on equal in every query
            if len(kept) >= below:
                break
        return kept if len(kept) < below else None


def _pair(
    solver: solvers.Solver, clauses: cnf.Ragged, variables: np.ndarray, deadline: limits.Deadline
) -> tuple[int, range]:
    """Adds the formula and a copy; by how much it numbers higher, and literals that make each of
    the variables equal.

    Raises:
      OutOfTime: before all was added.
    """
    values = clauses.values
    shift = int(np.abs(values).max(initial=0))
    copy = cnf.Ragged(values + np.sign(values) * np.int32(shift), clauses.offsets)
    selectors = np.arange(2 * shift + 1, 2 * shift + 1 + len(variables), dtype=np.int32)
    forward = np.stack([-selectors, -variables, variables + np.int32(shift)], axis=1)
    backward = np.stack([-selectors, variables, -variables - np.int32(shift)], axis=1)
    equal = np.stack([forward, backward], axis=1).reshape(-1).astype(np.int32)
    switches = cnf.Ragged(equal, np.arange(0, len(equal) + 1, 3, dtype=np.int64))
    for part in itertools.chain(clauses.parts(), copy.parts(), switches.parts()):
        deadline.check()
        solver.append_formula(part)
    return shift, range(2 * shift + 1, 2 * shift + 1 + len(variables))


def _has_no_model(solver: solvers.Solver, assumptions: list[int]) -> bool:
    solver.conf_budget(QUERY_CONFLICTS)
    try:
        return solver.solve_limited(assumptions) is False
    except pysolvers.error as error:  # how PySAT's own solvers report Ctrl-C
        raise KeyboardInterrupt from error


def _defined_by_xors(formula: cnf.CNF, deadline: limits.Deadline) -> np.ndarray:
    """Sampling variables that the XORs among sampling variables define by the others."""
    inside = [v for v in formula.xors if _is_in(formula.sampling_set, v).all()]
    columns = np.unique(np.concatenate([np.zeros(0, dtype=np.int32), *inside]))
    if len(inside) * len(columns) // 8 > parity_rows.MOST_BYTES:
        return columns[:0]
    rows = np.zeros((len(inside), parity_rows.num_words(len(columns))), dtype=np.uint32)
    for row, variables in zip(rows, inside):
        column = np.searchsorted(columns, variables)
        np.bitwise_or.at(row, column // 32, np.uint32(1) << (column % 32).astype(np.uint32))
    try:
        _, _, pivots = parity_rows.row_reduce(
            rows, np.zeros(len(inside), dtype=bool), deadline.check
        )
    except limits.OutOfTime:
        return columns[:0]
    return columns[pivots]


def _is_in(increasing: np.ndarray, values: np.ndarray) -> np.ndarray:
    """As ``np.isin``, which looks at all of the first array each time."""
    if not len(increasing):
        return np.zeros(len(values), dtype=bool)
    place = np.minimum(np.searchsorted(increasing, values), len(increasing) - 1)
    return increasing[place] == values


def _as_clauses(formula: cnf.CNF) -> cnf.Ragged:
    extra, _ = xor_clauses.encode_formula(formula)
    return cnf.join(formula.clauses, cnf.ragged(extra))


def _count_occurrences(formula: cnf.CNF) -> np.ndarray:
    """How often each variable occurs: int [n + 1], entry 0 unused."""
    mentioned = np.concatenate([np.abs(formula.clauses.values), formula.xors.values])
    return np.bincount(mentioned, minlength=formula.num_variables + 1)


def _renumber(formula: cnf.CNF, support: np.ndarray, kept: np.ndarray) -> Reduction:
    """Only the variables that occur or are kept, in their order; the others in the support free."""
    used = _count_occurrences(formula) > 0
    used[kept] = True
    variables = np.flatnonzero(used).astype(np.int32)
    number = np.zeros(formula.num_variables + 1, dtype=np.int32)
    number[variables] = np.arange(1, len(variables) + 1)
    residual = cnf.CNF(
        len(variables),
        cnf.Ragged(_signed(formula.clauses.values, number), formula.clauses.offsets),
        cnf.Ragged(number[formula.xors.values], formula.xors.offsets),
        formula.xor_rhs,
        number[support[used[support]]],
    )
    return Reduction(residual, variables, support[~used[support]])


def _signed(literals: np.ndarray, number: np.ndarray) -> np.ndarray:
    return np.sign(literals) * number[np.abs(literals)]
