"""Exact counts by Ganak: plain, projected and weighted.

    >>> formula = cnf.from_clauses([[3, 4]], num_variables=7)
    >>> count(formula, timeout=10).value.count
    96

Ganak hashes the components it caches, and its Python class cannot be told not to, so an answer is
exact up to a collision: the claim is PROBABLE, the interval as wide as rounding. Each call runs in
a child process with a deadline and a memory limit.

Soos and Meel, Engineering an Efficient Probabilistic Exact Model Counter (CAV 2025); Sharma, Roy,
Soos and Meel, GANAK: A Scalable Probabilistic Exact Model Counter (IJCAI 2019).
"""

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from inference import answer, estimate
from inference.oracles import process
from inference.problems import cnf, xor_clauses

# Assigned to each answer; Ganak's own reports are near 1e-9, one wrong count is on record.
FAILURE = 1e-6

# Ganak computes weighted counts with 128 bits and any exponent but returns a double. Weights are
# scaled by powers of two so that the largest possible count becomes 2^1000, and scaled up further
# where the answer then falls below 2^-1000, where doubles lose bits.
_TOP_LOG2, _BOTTOM_LOG2 = 1000, -1000


def count(
    formula: cnf.CNF,
    *,
    timeout: float | None = None,
    memory: int | None = None,
    seed: int = 0,
    stop: Callable[[], bool] = lambda: False,
    pause: Callable[[], bool] = lambda: False,
) -> answer.Answer:
    """The (weighted, projected) model count.

    Args:
      formula: native XORs are turned into clauses.
      timeout: seconds; None for no limit.
      memory: mebibytes, as for ``process.call``; None for no limit.
      seed: Ganak's own, below 2^31.
      stop: as for ``process.call``, and so is ``pause``.

    Returns:
      OPTIMAL with an ``Estimate`` as ``value``: PROBABLE, failure 1e-6 on each side, ``count`` set
      unless weighted. UNKNOWN at the time limit or a stop, FAILED at the memory limit or a crash.

    Raises:
      ValueError: two literals of a variable have weights further apart than doubles reach.
    """
    limits: dict[str, Any] = {"timeout": timeout, "memory": memory, "stop": stop}
    limits["pause"] = pause
    if formula.log_weights is None:
        solved = process.call(_count_models, formula, seed, **limits)
    else:
        weights = _scaled_weights(formula.log_weights)
        solved = process.call(_count_weighted, formula, *weights, seed, **limits)
    if solved.status is not answer.Status.OPTIMAL:
        return solved
    if formula.log_weights is None:
        value = estimate.exact_count(solved.value, failure=FAILURE)
    else:
        value = _weighted_estimate(solved.value, formula.log_weights)
    return dataclasses.replace(solved, value=value)


def _count_models(formula: cnf.CNF, seed: int) -> int:
    import pyganak

    counter = pyganak.Counter(verbose=0, seed=seed)
    _load(counter, formula)
    return counter.count()


def _count_weighted(formula: cnf.CNF, logs: np.ndarray, offset: float, seed: int) -> float:
    """Natural logarithm of the weighted count."""
    columns = formula.sampling_set - 1
    # Ganak drops variables without weight; the others can carry the scale.
    top = math.fsum(np.logaddexp2(logs[columns, 0], logs[columns, 1]).tolist())
    if top == -math.inf:  # some variable has weight zero either way
        return -math.inf
    shift = _TOP_LOG2 - math.ceil(top)
    while True:
        scaled = _count_scaled(formula, logs, columns, shift, seed)
        if scaled > 2.0**_BOTTOM_LOG2:
            # Powers of two apart, so that a large shift costs no digits.
            mantissa, exponent = math.frexp(scaled)
            return math.log(mantissa) + (exponent - shift) * math.log(2) + offset
        if scaled == 0.0 and not _satisfiable(formula, logs):
            return -math.inf
        # Beyond 2^1000 per variable no weight needs more, and doubles would overflow.
        shift = min(shift + _TOP_LOG2 - _BOTTOM_LOG2, _TOP_LOG2 * len(columns))


def _count_scaled(
    formula: cnf.CNF, logs: np.ndarray, columns: np.ndarray, shift: int, seed: int
) -> float:
    """The weighted count times 2^shift."""
    import pyganak

    counter = pyganak.WeightedCounter(verbose=0, seed=seed)
    _load(counter, formula)
    counter.add_clauses(_zero_weight_units(logs))
    for index, column in enumerate(columns.tolist()):
        # The shift spread over the variables as evenly as integers allow.
        part = (index + 1) * shift // len(columns) - index * shift // len(columns)
        # Scaled after the power: a part inside the exponent would cost it digits.
        negative, positive = np.ldexp(2.0 ** logs[column], part).tolist()
        counter.set_lit_weight(column + 1, positive)
        counter.set_lit_weight(-(column + 1), negative)
    return counter.count() if len(columns) else math.ldexp(counter.count(), shift)


def _load(counter, formula: cnf.CNF) -> None:
    xors = zip(formula.xors.tolist(), formula.xor_rhs.tolist())
    extra, next_fresh = xor_clauses.encode_all(xors, first_fresh=formula.num_variables + 1)
    counter.new_vars(next_fresh - 1)
    for clauses in itertools.chain(formula.clauses.parts(), [extra]):
        # An empty clause is taken as no clause: say the same with a variable.
        counter.add_clauses([c for c in clauses if c])
        if not all(clauses):
            counter.add_clauses([[next_fresh], [-next_fresh]])
    if formula.projection is not None:
        counter.set_sampling_set(formula.projection.tolist())


def _scaled_weights(log_weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Base-2 log-weights [n, 2] whose larger is 0 in each row, and what that took out, in nats."""
    largest = log_weights.max(axis=1)
    dead = largest == -np.inf
    safe = np.where(dead, 0.0, largest)
    logs = (log_weights - safe[:, None]) / math.log(2)
    gap = np.where(logs == -np.inf, 0.0, logs).min(initial=0.0)
    if gap < _BOTTOM_LOG2:
        raise ValueError(
            f"expected weights of one variable within a factor 2^{-_BOTTOM_LOG2}, "
            f"given 2^{-gap:.0f}"
        )
    return logs, math.fsum(safe.tolist())


def _zero_weight_units(logs: np.ndarray) -> list[list[int]]:
    """Unit clauses against literals of weight zero, so that a zero count means no model."""
    variables = np.arange(1, len(logs) + 1)
    against_negative = variables[logs[:, 0] == -np.inf]
    against_positive = -variables[logs[:, 1] == -np.inf]
    return [[v] for v in [*against_negative.tolist(), *against_positive.tolist()]]


def _satisfiable(formula: cnf.CNF, logs: np.ndarray) -> bool:
    from inference.oracles import sat

    with sat.SatSession(formula) as session:
        units = [unit[0] for unit in _zero_weight_units(logs)]
        return session.solve(units).status is answer.Status.OPTIMAL


def _weighted_estimate(log_value: float, log_weights: np.ndarray) -> estimate.Estimate:
    """The interval is the error of turning log-weights into doubles and back.

    A weight 2^x has relative error at most 2^-51 (1 + |x|), that of a product at most the sum over
    its variables; the three terms of the result are rounded relative to their own sizes.
    """
    if log_value == -math.inf:
        return estimate.bounded(log_value, log_value, log_value, FAILURE, FAILURE)
    sizes = np.abs(np.where(np.isfinite(log_weights), log_weights, 0.0))
    error = float((1 + 2 * sizes).max(axis=1).sum() + sizes.sum() + 2 * abs(log_value) + 8)
    lower, upper = log_value - 2.0**-51 * error, log_value + 2.0**-51 * error
    return estimate.bounded(log_value, lower, upper, FAILURE, FAILURE)
