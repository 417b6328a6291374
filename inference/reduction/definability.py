"""Which variables the others define: the formula and a copy of it, which a solver compares.

    >>> formula = cnf.from_clauses([[-3, 1], [-3, 2], [3, -1, -2]])
    >>> drop(formula, [3, 2], [1], questions.Budget(1000))
    [2]

The copy agrees on the other variables and differs in this one: without a model it is defined
(Padoa's method). Ivrii, Malik, Meel and Vardi, On Computing Minimal Independent Support and Its
Applications to Sampling and Counting (Constraints 2016).
"""

import numpy as np
from pysat import solvers

from inference import limits
from inference.problems import cnf
from inference.reduction import questions

# A question that hits its limit keeps its variable.
QUERY_CONFLICTS = 500


def drop(
    formula: cnf.CNF,
    order: list[int],
    fixed: list[int],
    budget: questions.Budget,
    deadline: limits.Deadline = limits.NEVER,
) -> list[int]:
    """What is left of ``order`` when each variable in turn is dropped if the others define it.

    Args:
      formula: without XORs.
      order: variables, those to drop first; together with ``fixed`` they define all that counts.
      fixed: variables that are not dropped; the copy has no others for them.
      budget: once it is spent the rest is kept.
      deadline: from then on the rest is kept.
    """
    kept: list[int] = []
    rest = list(order)
    with solvers.Solver(name="minisat22") as solver:
        try:
            shift, selectors = _pair(solver, formula, order, fixed, deadline)
            while rest and not budget.is_spent:
                variable, switch, *equal = rest[0], *selectors[len(order) - len(rest) :]
                defined = _has_no_model(
                    solver, [variable, -variable - shift, *equal], budget, deadline
                )
                rest.pop(0)
                if not defined:
                    kept.append(variable)
                    solver.add_clause([switch])  # from now on equal in every question
        except limits.OutOfTime:
            pass
    return kept + rest


def _has_no_model(
    solver: solvers.Solver,
    assumptions: list[int],
    budget: questions.Budget,
    deadline: limits.Deadline,
) -> bool:
    answer = questions.ask(
        solver, assumptions, budget, conflicts=QUERY_CONFLICTS, deadline=deadline
    )
    return answer is False


def _pair(
    solver: solvers.Solver,
    formula: cnf.CNF,
    variables: list[int],
    fixed: list[int],
    deadline: limits.Deadline,
) -> tuple[int, range]:
    """Adds the formula and a copy; by how much it numbers higher, and literals that make each of
    the variables equal.

    Raises:
      OutOfTime: before all was added.
    """
    values, offsets, shift = formula.clauses.values, formula.clauses.offsets, formula.num_variables
    moves = np.full(shift + 1, shift, dtype=np.int32)
    moves[fixed] = 0
    copy = values + np.sign(values) * moves[np.abs(values)]
    several = np.array(variables, dtype=np.int32)
    selectors = np.arange(2 * shift + 1, 2 * shift + 1 + len(several), dtype=np.int32)
    forward = np.stack([-selectors, -several, several + np.int32(shift)], axis=1)
    backward = np.stack([-selectors, several, -several - np.int32(shift)], axis=1)
    switches = np.concatenate([forward, backward]).reshape(-1)
    ends = np.arange(0, len(switches) + 1, 3, dtype=np.int64)
    for clauses in (formula.clauses, cnf.Ragged(copy, offsets), cnf.Ragged(switches, ends)):
        questions.load(solver, clauses, deadline)
    return shift, range(2 * shift + 1, 2 * shift + 1 + len(several))
