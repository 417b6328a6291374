"""A formula over the variables that its clauses mention, numbered anew.

>>> formula = cnf.from_clauses([[2, -5]], num_variables=6)
>>> smaller, variables, free = used(formula, np.array([2, 3, 5]), np.array([6]))
>>> smaller.clauses.tolist(), variables.tolist(), free.tolist()
([[1, -2]], [2, 5, 6], [3])
"""

import numpy as np

from inference.problems import cnf


def used(
    formula: cnf.CNF, support: np.ndarray, kept: np.ndarray
) -> tuple[cnf.CNF, np.ndarray, np.ndarray]:
    """Only the variables that occur or are kept, in their order.

    Args:
      formula: whose sampling set becomes what is left of the support.
      support: increasing int32.
      kept: variables that stay though no clause mentions them.

    Returns:
      The formula, int32 [n'] with the original variable of each of its own, and the variables of
      the support that are not among them.
    """
    is_used = occurrences(formula) > 0
    is_used[kept] = True
    variables = np.flatnonzero(is_used).astype(np.int32)
    number = np.zeros(formula.num_variables + 1, dtype=np.int32)
    number[variables] = np.arange(1, len(variables) + 1)
    literals = formula.clauses.values
    residual = cnf.CNF(
        len(variables),
        cnf.Ragged(np.sign(literals) * number[np.abs(literals)], formula.clauses.offsets),
        cnf.Ragged(number[formula.xors.values], formula.xors.offsets),
        formula.xor_rhs,
        number[support[is_used[support]]],
    )
    return residual, variables, support[~is_used[support]]


def occurrences(formula: cnf.CNF) -> np.ndarray:
    """How often each variable occurs: int [n + 1], entry 0 unused."""
    mentioned = np.concatenate([np.abs(formula.clauses.values), formula.xors.values])
    return np.bincount(mentioned, minlength=formula.num_variables + 1)
