"""Weights of literals taken apart from the formula: those that differ, and a constant.

>>> weighted = take(cnf.from_clauses([[1, 2]], log_weights=np.log([[0.5, 0.5], [0.9, 0.1]])))
>>> weighted.matters.tolist(), round(math.exp(weighted.log_constant), 6)
([False, True], 0.5)
"""

import math
from typing import NamedTuple

import numpy as np

from inference.problems import cnf
from inference.reduction import dyadic_weights

_EPSILON = 2.0**-52


class Weights(NamedTuple):
    """A formula and its weights.

    Attributes:
      formula: without weights; literals of weight 0 are excluded by clauses.
      table: nats [n, 2]; None where there are no weights.
      matters: bool [n], whose two literals have different weights above 0.
      log_constant: nats, the weights of the others.
      log_error: bound on the rounding of logarithms and constant.
    """

    formula: cnf.CNF
    table: np.ndarray | None
    matters: np.ndarray
    log_constant: float = 0.0
    log_error: float = 0.0


def take(formula: cnf.CNF) -> Weights:
    """The weighted count is that of ``formula`` by the weights that matter, times the constant."""
    logs, plain = formula.log_weights, dyadic_weights.possible(formula).unweighted()
    if logs is None:
        return Weights(plain, None, np.zeros(formula.num_variables, dtype=bool))
    zero = logs == -np.inf
    matters = (logs[:, 0] != logs[:, 1]) & ~zero.any(axis=1)
    constants = logs[~matters].max(axis=1)
    constant = math.fsum(constants[constants > -np.inf].tolist())
    # Logarithms of weights are known up to a unit in the last place.
    sizes = np.abs(np.where(zero, 0.0, logs)).max(axis=1)
    error = _EPSILON * (math.fsum(sizes.tolist()) + abs(constant))
    return Weights(plain, logs, matters, constant, error)
