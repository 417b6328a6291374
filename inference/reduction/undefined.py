"""Which variables the sampling set does not define: those may have two values beside one of it.

    >>> formula = cnf.from_clauses([[-3, 1], [3, -1], [2, 4]], projection=[1, 2])
    >>> among_those(formula, np.array([3, 4])).tolist()
    [4]

Padoa's test, as in ``definability``: the formula and a copy of it that agrees on the sampling set,
but not on the variable, have no model.
"""

import numpy as np
from pysat import solvers

from inference import limits
from inference.problems import cnf
from inference.reduction import normal, questions

# For one variable and for all of them; what hits its limit counts as undefined.
QUERY_CONFLICTS, ALL_CONFLICTS, ALL_PROPAGATIONS = 500, 20_000, 10**9


def among_those(
    formula: cnf.CNF, among: np.ndarray, *, deadline: limits.Deadline = limits.NEVER
) -> np.ndarray:
    """Those of some variables that the sampling set may leave open, increasing int32.

    Sound in one direction: all others are defined. The limits count conflicts, so the answer
    depends on the formula alone.

    Raises:
      OutOfTime: at the deadline.
    """
    asked = np.setdiff1d(among, formula.sampling_set).astype(np.int32)
    if not len(asked):
        return asked
    plain = normal.clauses_only(formula, deadline)
    clauses, shift = plain.clauses, plain.num_variables
    copy = cnf.Ragged(clauses.values + np.sign(clauses.values) * shift, clauses.offsets)
    with solvers.Solver(name="minisat22") as solver:
        questions.load(solver, clauses, deadline)
        questions.load(solver, copy, deadline)
        for variable in formula.sampling_set.tolist():
            solver.append_formula(_equal(variable, shift))
        return np.array(_open(solver, asked.tolist(), shift, deadline), dtype=np.int32)


def _equal(variable: int, shift: int) -> list[list[int]]:
    return [[-variable, variable + shift], [variable, -variable - shift]]


def _open(
    solver: solvers.Solver, asked: list[int], shift: int, deadline: limits.Deadline
) -> list[int]:
    """The variables that two models tell apart, and those that were not decided."""
    found, left = list[int](), list(asked)
    budget = questions.Budget(ALL_PROPAGATIONS, ALL_CONFLICTS)
    while left and not budget.is_spent:
        variable = left.pop()
        answered = questions.ask(
            solver,
            [variable, -variable - shift],
            budget,
            conflicts=QUERY_CONFLICTS,
            deadline=deadline,
        )
        if answered is False:
            solver.append_formula(_equal(variable, shift))
            continue
        found.append(variable)
        if answered:  # the pair of models may tell others apart as well
            true = np.array(solver.get_model())
            differ = [v for v in left if (true[v - 1] > 0) != (true[v + shift - 1] > 0)]
            found += differ
            left = [v for v in left if v not in set(differ)]
    return sorted(found + left)
