"""Exact counts by Ganak: plain, projected and weighted.

    >>> formula = cnf.from_clauses([[3, 4]], num_variables=7)
    >>> count(formula, timeout=10)[0].count
    96

Ganak hashes the components it caches, and its Python class cannot be told not to, so an answer is
exact up to a collision: the claim is PROBABLE, the interval as wide as rounding. Each call runs in
a child process with a deadline and a memory limit.

Soos and Meel, Engineering an Efficient Probabilistic Exact Model Counter (CAV 2025); Sharma, Roy,
Soos and Meel, GANAK: A Scalable Probabilistic Exact Model Counter (IJCAI 2019).
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from inference import answer, estimate, randomness
from inference.problems import cnf, trivial, xor_clauses
from inference.workers import process

# Assigned to each answer; Ganak's own reports are near 1e-9, one wrong count is on record.
FAILURE = 1e-6

# Ganak computes weighted counts with 128 bits and any exponent but returns a double. Weights are
# scaled by powers of two so that the largest possible count becomes 2^1000, and scaled up further
# where the answer then falls below 2^-1000, where doubles lose bits.
_TOP_LOG2, _BOTTOM_LOG2 = 1000, -1000


def count(
    formula: cnf.CNF,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    pause: Callable[[], bool] = lambda: False,
) -> tuple[estimate.Estimate, answer.Info]:
    """The (weighted, projected) model count.

    PROBABLE with failure 1e-6 on each side, ``count`` set unless weighted. What ends it early
    leaves ``trivial.count``: the time limit or a stop ("timeout"), the memory limit or a crash
    ("failed", and the message says which).

    Args:
      formula: native XORs are turned into clauses.
      seed: of Ganak itself, by ``randomness.small``.
      timeout: seconds; None for no limit.
      memory: mebibytes, as for ``process.call``; None for no limit.
      stop: as for ``process.call``, and so is ``pause``.

    Raises:
      ValueError: two literals of a variable have weights further apart than doubles reach, or the
        memory is too small to start with.
    """
    weights = () if formula.log_weights is None else _scaled_weights(formula.log_weights)
    solved = process.call(
        _count_weighted if weights else _count_models,
        *(formula, *weights, randomness.small(seed)),
        timeout=timeout,
        memory=memory,
        stop=stop,
        pause=pause,
    )
    if solved.status is not answer.Status.OPTIMAL:
        status = "timeout" if solved.status is answer.Status.UNKNOWN else "failed"
        return trivial.count(formula), answer.Info(status, solved.seconds, solved.message)
    if formula.log_weights is None:
        value = estimate.exact_count(solved.value, failure=FAILURE)
    else:
        value = _weighted_estimate(solved.value, formula.log_weights)
    return value, answer.Info("done", solved.seconds)


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
    too_low, too_high = -math.inf, math.inf
    window = step = _TOP_LOG2 - _BOTTOM_LOG2
    while True:
        scaled = _count_scaled(formula, logs, columns, shift, seed)
        if 2.0**_BOTTOM_LOG2 < scaled < math.inf:
            # Powers of two apart, so that a large shift costs no digits.
            mantissa, exponent = math.frexp(scaled)
            return math.log(mantissa) + (exponent - shift) * math.log(2) + offset
        # Each count takes its time, so a model says about where the sum is seen: not above there.
        if scaled == math.inf:
            too_high = shift
        elif too_low == -math.inf:
            least = _log2_of_a_model(formula, logs)
            if least == -math.inf:
                return -math.inf
            too_low, shift = shift, max(shift + window, -math.floor(least))
            continue
        else:
            too_low = shift
        middle = (too_low + too_high) / 2
        shift = shift + window if too_high == math.inf else max(math.ceil(middle), shift - step)
        step *= 2


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
    extra, next_fresh = xor_clauses.encode_formula(formula)
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
    is_positive, columns = np.nonzero(logs.T == -np.inf)
    return np.where(is_positive, -1 - columns, 1 + columns)[:, None].tolist()


def _log2_of_a_model(formula: cnf.CNF, logs: np.ndarray) -> float:
    """The weight of some model, a heavy one if it goes well; -inf where there is none."""
    from pysat import solvers

    extra, _ = xor_clauses.encode_formula(formula)
    heavier = np.where(logs[:, 1] > logs[:, 0], 1, -1) * np.arange(1, len(logs) + 1)
    with solvers.Solver(name="minisat22") as solver:
        for clauses in itertools.chain(formula.clauses.parts(), [extra, _zero_weight_units(logs)]):
            solver.append_formula(clauses)
        solver.set_phases(_repaired(formula, np.abs(logs[:, 1] - logs[:, 0]), heavier).tolist())
        if not solver.solve():
            return -math.inf
        true = np.array(solver.get_model(), dtype=np.int64)
    # Variables that no clause mentions, and the solver may leave out, are as heavy as can be.
    model, true = heavier > 0, true[np.abs(true) <= len(logs)]
    model[np.abs(true) - 1] = true > 0
    _improve(formula, logs[:, 1] - logs[:, 0], model)
    return math.fsum(np.where(model, logs[:, 1], logs[:, 0]).tolist())


def _repaired(formula: cnf.CNF, prices: np.ndarray, literals: np.ndarray) -> np.ndarray:
    """Literals of all variables, the cheapest ones turned where that satisfies more clauses."""
    literals = literals.copy()
    for clause in formula.clauses.tolist():
        if clause and not any(literals[abs(x) - 1] == x for x in clause):
            cheapest = min(clause, key=lambda x: prices[abs(x) - 1])
            literals[abs(cheapest) - 1] = cheapest
    return literals


def _improve(formula: cnf.CNF, gains: np.ndarray, model: np.ndarray) -> None:
    """Flips variables one by one, in place, where clauses allow it and the weight grows."""
    clauses, tied = formula.clauses.tolist(), set(formula.xors.values.tolist())
    containing: dict[int, list[int]] = {}
    for index, clause in enumerate(clauses):
        for literal in set(clause):
            containing.setdefault(literal, []).append(index)
    number_true = [sum(model[abs(x) - 1] == (x > 0) for x in set(clause)) for clause in clauses]
    for variable in (1 + np.argsort(-np.abs(gains), kind="stable")).tolist():
        better = gains[variable - 1] > 0
        old = variable if model[variable - 1] else -variable
        needed = containing.get(old, ())
        if better == model[variable - 1] or variable in tied or not gains[variable - 1]:
            continue
        if all(number_true[index] > 1 for index in needed):
            model[variable - 1] = better
            for index in needed:
                number_true[index] -= 1
            for index in containing.get(-old, ()):
                number_true[index] += 1


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
