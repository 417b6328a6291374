"""Minimise a bound for as long as there is time, and keep the best one seen.

>>> found = minimize(lambda x: (float(x @ x), 2 * x, None), np.ones(3), iterations=9)
>>> found.value < 1e-9, found.status, found.converged
(True, 'done', True)
"""

import math
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from scipy import optimize

from inference import limits

D = TypeVar("D")
_PAIRS = 20  # vectors of the past that L-BFGS keeps, of positions and of gradients
_GAIN = 1e-7  # relative gain of a step below which it ends


class Minimum(NamedTuple, Generic[D]):
    """The best evaluation.

    Attributes:
      value: the least.
      vector: where, float [n].
      detail: what else the function returned there.
      evaluations: of the function.
      status: "done", "timeout" or "interrupted".
      converged: no step from the last point lowers the value.
    """

    value: float
    vector: np.ndarray
    detail: D
    evaluations: int = 1
    status: str = "done"
    converged: bool = False


def minimize(
    function: Callable[[np.ndarray], tuple[float, np.ndarray, D]],
    start: np.ndarray,
    *,
    iterations: int = 100,
    deadline: limits.Deadline = limits.NEVER,
    box: np.ndarray | None = None,
) -> Minimum[D]:
    """L-BFGS from ``start``; at least one evaluation, whatever the time.

    Args:
      function: of a vector [n]: value, gradient [n] and any detail. An infinite value at the start
        ends the search.
      start: float [n].
      iterations: most steps.
      deadline: looked at before each further evaluation; Ctrl-C ends the search as well.
      box: float [n], each coordinate stays between minus this and this.
    """
    value, gradient, detail = function(start)
    best = Minimum(value, start.copy(), detail, converged=not len(start))
    if not iterations or not len(start) or not math.isfinite(value):
        return best
    known = [(value, gradient)]  # L-BFGS asks for the start again

    def evaluate(at: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal best
        if known:
            return known.pop()
        deadline.check()
        best = best._replace(evaluations=best.evaluations + 1)
        value, gradient, detail = function(at)
        if value < best.value:
            best = best._replace(value=value, vector=at.copy(), detail=detail)
        return value, gradient

    bounds = None if box is None else optimize.Bounds(-box, box)
    options = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": _PAIRS, "ftol": _GAIN}
    try:
        done = optimize.minimize(
            evaluate, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options
        )
    except limits.OutOfTime:
        return best._replace(status="timeout")
    except KeyboardInterrupt:
        return best._replace(status="interrupted")
    return best._replace(converged=bool(done.success))
