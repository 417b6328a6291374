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

import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pysolvers
from pysat import solvers

from hashing.parity import rows as parity_rows
from inference.oracles import preprocess
from inference.problems import cnf, xor_clauses

# Conflicts for one query and for all of an order, the second order having less to gain. A query
# that hits its limit keeps its variable.
QUERY_CONFLICTS, FIRST_CONFLICTS, SECOND_CONFLICTS = 500, 100_000, 2_000
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
    deadline: float = math.inf,
) -> Reduction:
    """Preprocesses, drops defined variables, eliminates what is not hashed, sets free ones apart.

    Args:
      formula: without weights.
      keep: variables that stay in the residual formula, so that they can be assumed.
      support: an independent support, where one is known.
      deadline: a reading of ``time.monotonic()``; from then on every variable counts as undefined.
    """
    kept = np.array(sorted(set(keep)), dtype=np.int32)
    sampled = formula.sampling_set
    simpler = preprocess.simplify(formula, np.union1d(sampled, kept))
    if support is None:
        support = independent_support(simpler, deadline=deadline)
    simpler = preprocess.simplify(simpler, np.union1d(support, kept), rounds=2)
    return _renumber(simpler, support, kept)


def unreduced(formula: cnf.CNF, **_: Any) -> Reduction:
    """The formula as it is, all of its sampling set hashed."""
    everything = np.arange(1, formula.num_variables + 1, dtype=np.int32)
    return Reduction(formula, everything, np.zeros(0, dtype=np.int32))


def independent_support(formula: cnf.CNF, *, deadline: float = math.inf) -> np.ndarray:
    """Sampling variables that define the others: increasing int32 [k].

    Two orders compete, and the smaller support wins: late variables first, as encodings tend to
    number inputs before what is computed from them; frequent variables first.
    """
    compact = _renumber(formula, formula.sampling_set, np.zeros(0, dtype=np.int32))
    # Where XORs define, the solver would need as many conflicts as they have assignments.
    tested = np.setdiff1d(compact.formula.sampling_set, _defined_by_xors(compact.formula))
    clauses = _as_clauses(compact.formula)
    occurrences = _count_occurrences(compact.formula)
    late, best = tested[::-1], tested
    frequent = tested[np.argsort(-occurrences[tested], kind="stable")]
    smaller = _minimize(clauses, late, FIRST_CONFLICTS, len(late), deadline)
    if smaller is not None:
        smallest = _minimize(clauses, frequent, SECOND_CONFLICTS, len(smaller), deadline)
        best = np.array(smaller if smallest is None else smallest, dtype=np.int32)
    return np.union1d(compact.free, compact.variables[best - 1])


def _minimize(
    clauses: list[list[int]], order: np.ndarray, conflicts: int, below: int, deadline: float
) -> list[int] | None:
    """What is left when each variable in turn is dropped if the others define it.

    None where that is not fewer than ``below``.
    """
    # MiniSat keeps to a limit of conflicts; Glucose looks at it between rare restarts only.
    with solvers.Solver(name="minisat22") as solver:
        kept: list[int] = []
        differ, selectors = _pair(solver, clauses, order.tolist())
        assumptions = 0
        for position, variable in enumerate(order.tolist()):
            assumptions += len(order) - position
            over = solver.accum_stats()["conflicts"] > conflicts or assumptions > ALL_ASSUMPTIONS
            if not over and time.monotonic() < deadline:
                equal = selectors[position + 1 :]
                if _has_no_model(solver, [*differ[variable], *equal]):
                    continue
            kept.append(variable)
            if len(kept) >= below:
                return None
            solver.add_clause([selectors[position]])  # from now on equal in every query
        return kept


def _pair(
    solver: solvers.Solver, clauses: list[list[int]], variables: list[int]
) -> tuple[dict[int, list[int]], list[int]]:
    """Adds the formula and a copy; literals that make a variable differ, and ones that make each
    equal."""
    shift = max((abs(x) for clause in clauses for x in clause), default=0)
    solver.append_formula(clauses)
    solver.append_formula([[x + shift if x > 0 else x - shift for x in c] for c in clauses])
    selectors = list(range(2 * shift + 1, 2 * shift + 1 + len(variables)))
    for variable, selector in zip(variables, selectors):
        solver.add_clause([-selector, -variable, variable + shift])
        solver.add_clause([-selector, variable, -variable - shift])
    return {v: [v, -v - shift] for v in variables}, selectors


def _has_no_model(solver: solvers.Solver, assumptions: list[int]) -> bool:
    solver.conf_budget(QUERY_CONFLICTS)
    try:
        return solver.solve_limited(assumptions) is False
    except pysolvers.error as error:  # how PySAT's own solvers report Ctrl-C
        raise KeyboardInterrupt from error


def _defined_by_xors(formula: cnf.CNF) -> np.ndarray:
    """Sampling variables that the XORs among sampling variables define by the others."""
    inside = [v for v in formula.xors if np.isin(v, formula.sampling_set).all()]
    columns = np.unique(np.concatenate([np.zeros(0, dtype=np.int32), *inside]))
    rows = np.array([np.isin(columns, v) for v in inside]).reshape(len(inside), len(columns))
    _, _, pivots = parity_rows.row_reduce(parity_rows.pack(rows), np.zeros(len(inside), dtype=bool))
    return columns[pivots]


def _as_clauses(formula: cnf.CNF) -> list[list[int]]:
    xors = zip(formula.xors.tolist(), formula.xor_rhs.tolist())
    extra, _ = xor_clauses.encode_all(xors, first_fresh=formula.num_variables + 1)
    return formula.clauses.tolist() + extra


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
