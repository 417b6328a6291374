"""Minimise a bound for as long as there is time, and keep the best one seen.

>>> found = minimize(lambda x: (float(x @ x), 2 * x, None), np.ones(3), iterations=9)
>>> found.value < 1e-9, found.status, found.converged
(True, 'done', True)
"""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize

from inference import limits


class Found(NamedTuple):
    """The best evaluation.

    Attributes:
      value: the least.
      vector: where.
      detail: what else the function returned there.
      evaluations: of the function.
      status: "done", "timeout" or "interrupted".
      converged: no step from the last point lowers the value.
    """

    value: float
    vector: np.ndarray
    detail: Any
    evaluations: int = 0
    status: str = "done"
    converged: bool = False


def minimize(
    function: Callable[[np.ndarray], tuple[float, np.ndarray, Any]],
    start: np.ndarray,
    *,
    iterations: int = 100,
    seconds: float = math.inf,
    box: np.ndarray | None = None,
) -> Found:
    """L-BFGS from ``start``; at least one evaluation, whatever the time.

    Args:
      function: of a vector [n]: value, gradient [n] and any detail. An infinite value at the start
        ends the search.
      start: float [n].
      iterations: most steps.
      seconds: wall time; Ctrl-C ends the search as well.
      box: float [n], each coordinate stays between minus this and this.
    """
    deadline = time.monotonic() + seconds
    best: Found | None = None
    evaluations = 0

    def evaluate(at: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal best, evaluations
        if evaluations and time.monotonic() > deadline:
            raise limits.OutOfTime
        evaluations += 1
        value, gradient, detail = function(at)
        if best is None or value < best.value:
            best = Found(value, at.copy(), detail)
        return value, gradient

    status, converged = "done", False
    try:
        first = evaluate(start)
        converged = not len(start)
        if iterations and len(start) and math.isfinite(first[0]):
            bounds = None if box is None else optimize.Bounds(-box, box)
            options: dict[str, Any] = {
                "maxiter": iterations,
                "maxfun": 2 * iterations,
                "maxcor": 20,
            }
            options["ftol"] = 1e-7  # relative gain of a step below which it ends
            known = [first]  # L-BFGS asks for the start again
            done = optimize.minimize(
                lambda at: known.pop() if known else evaluate(at),
                start,
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                options=options,
            )
            converged = bool(done.success)
    except limits.OutOfTime:
        status = "timeout"
    except KeyboardInterrupt:
        if best is None:
            raise
        status = "interrupted"
    assert best is not None
    return best._replace(evaluations=evaluations, status=status, converged=converged)
