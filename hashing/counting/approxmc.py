"""Approximate model counting by random parities: within (1 + epsilon) with probability 1 - delta.

    >>> formula = cnf.from_clauses([[3, 4]], num_variables=30)
    >>> result, info = count(7, formula, epsilon=0.8, delta=0.2)
    >>> abs(result.log_value - math.log(3 * 2**28)) < math.log(1.8)
    True

A round draws one sequence of parities over the sampling set. Its cell(m) holds the models that
satisfy the first m of them, so the cells are nested; the round finds the m where the cell becomes
small, counts it and scales by 2^m. The answer is the median of the rounds. Counts up to the
threshold are exact. Claim: PROBABLE, failure_lower + failure_upper <= delta.

Chakraborty, Meel and Vardi (CP 2013, IJCAI 2016); Yang and Meel, Rounding Meets Approximate Model
Counting (CAV 2023), whose constants these are; for epsilon >= 5 the rule of version 7, which needs
only satisfiability (AAAI 2025).
"""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from hashing.counting import cells
from hashing.parity import rows as parity_rows
from inference import answer, estimate, randomness
from inference.oracles import sat
from inference.problems import cnf


class Plan(NamedTuple):
    """What (epsilon, delta) ask for.

    Attributes:
      threshold: a cell is small up to this many models; 0 in version 7.
      rounds: odd, repetitions whose median is taken.
      failure_under: Pr[a round's value < |S| / (1 + epsilon)] is at most this.
      failure_over: Pr[a round's value > (1 + epsilon) |S|] is at most this.
      scale: from the number of models in the first small cell to the value of cell times 2^-m.
    """

    threshold: int
    rounds: int
    failure_under: float
    failure_over: float
    scale: Callable[[int], float]

    def log_value(self, finished: "Round") -> float:
        """What one round says the count is, in nats."""
        return math.log(self.scale(len(finished.models))) + finished.num_hashes * math.log(2)


class Round(NamedTuple):
    """One finished round: the number of hashes at the first small cell, and its models [N, W]."""

    num_hashes: int
    models: np.ndarray


class Witness(NamedTuple):
    """What it takes to check a count again: rows derive from ``seed``, ``digest`` and the round."""

    digest: str
    seed: bytes
    epsilon: float
    delta: float
    rounds: tuple[Round, ...]


class Info(NamedTuple):
    """How a count went.

    ``status`` is "done", "timeout" or "interrupted"; ``rounds`` are the finished ones.
    """

    status: str
    rounds: tuple[Round, ...]
    plan: Plan
    oracle_calls: int
    seconds: float


def count(
    key: Any,
    formula: cnf.CNF,
    *,
    epsilon: float = 0.8,
    delta: float = 0.2,
    timeout: float | None = None,
    open_session: Callable[[cnf.CNF], Any] = sat.SatSession,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[estimate.Estimate, Info]:
    """The number of models over the sampling set.

    At the time limit or Ctrl-C the claim is weakened, never wrong: a round that did not finish
    counts against both sides of the median, and before most rounds have finished what was found so
    far gives a lower bound alone.

    Args:
      key: integer seed or JAX key; equal keys give equal counts, whatever the speed.
      formula: without weights.
      epsilon: tolerance, above 0.
      delta: probability of failure, in (0, 1).
      timeout: seconds; None for no limit.
      open_session: from a formula to what answers as a ``SatSession`` does; another solver is
        ``functools.partial(sat.SatSession, solver="glucose4")``.
      progress: called before each query with a line that says where the count is.

    Returns:
      CERTAIN with ``count`` up to the threshold, PROBABLE otherwise.

    Raises:
      ValueError: epsilon or delta out of range, or the formula has weights.
    """
    if formula.log_weights is not None:
        raise ValueError("approxmc counts models: expected no weights, given some")
    start, steps = time.monotonic(), plan(epsilon, delta)
    deadline = start + (math.inf if timeout is None else timeout)
    session = open_session(formula)
    search = _Search(formula, session, randomness.seed_words(key), steps, deadline, progress)
    status = "done"
    try:
        search.run()
    except cells.OutOfTime:
        status = "timeout"
    except KeyboardInterrupt:
        status = "interrupted"
    result = search.claim(epsilon, delta)
    seconds = time.monotonic() - start
    return result, Info(status, tuple(search.finished), steps, session.calls, seconds)


def plan(epsilon: float, delta: float) -> Plan:
    """Threshold, number of rounds and rounding for a tolerance and a failure probability.

    Raises:
      ValueError: epsilon is not above 0, or so small or large that its square is no double, or
        delta is not in (0, 1).
    """
    if not 1e-150 < epsilon < 1e150:
        raise ValueError(f"expected epsilon > 0, between 1e-150 and 1e150, given {epsilon}")
    if not 0.0 < delta < 1.0:
        raise ValueError(f"expected delta in (0, 1), given {delta}")
    if epsilon >= 5.0:
        beta = (1 + math.sqrt(1 + 2 * (1 + epsilon) ** 2)) / 2
        # 2^(m - 1) sqrt(2 (beta - 1) / beta) where cell(m) is the first empty one.
        factor = math.sqrt(2 * (beta - 1) / beta) / 2
        return Plan(0, num_rounds(1 / beta, 1 / beta, delta), 1 / beta, 1 / beta, lambda n: factor)
    pivot = 9.84 * (1 + 1 / epsilon) ** 2
    threshold = math.floor(1 + pivot * (1 + epsilon / (1 + epsilon)))
    failure_under, failure_over, scale = _rounding(epsilon, pivot)
    rounds = num_rounds(failure_under, failure_over, delta)
    return Plan(threshold, rounds, failure_under, failure_over, scale)


def num_rounds(failure_under: float, failure_over: float, delta: float) -> int:
    """The smallest odd number of rounds whose median fails with probability at most delta."""
    rounds = 1
    while (
        estimate.majority_tail(rounds, failure_under) + estimate.majority_tail(rounds, failure_over)
        > delta
    ):
        rounds += 2
    return rounds


def _rounding(epsilon: float, pivot: float) -> tuple[float, float, Callable[[int], float]]:
    """Per-round failures under and over, and the rounding of a cell count (CAV 2023)."""
    if epsilon < math.sqrt(2) - 1:
        low = pivot * math.sqrt(1 + 2 * epsilon) / 2
        return 0.262, 0.169, lambda n: max(n, low)
    if epsilon < 1:
        return 0.157, 0.169, lambda n: max(n, pivot / math.sqrt(2))
    if epsilon < 3:
        return 0.085, 0.169, lambda n: max(n, pivot)
    if epsilon < 4 * math.sqrt(2) - 1:
        return 0.055, 0.044, lambda n: pivot
    return 0.023, 0.044, lambda n: math.sqrt(2) * pivot


def first_level(is_small: Callable[[int], bool], start: int) -> int:
    """The least m >= 1 with ``is_small(m)``, for a monotone predicate that is false at 0.

    Gallops from ``start`` with doubling steps, then bisects.
    """
    step, low, high = 1, 0, max(start, 1)
    if is_small(high):
        while high - step > low and is_small(high - step):
            high, step = high - step, 2 * step
        low = max(low, high - step)
    else:
        while not is_small(high + step):
            high, step = high + step, 2 * step
        low, high = high, high + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_small(middle) else (middle, high)
    return high


class _Search:
    """The rounds over one solver session, and what they have found when they stop."""

    def __init__(
        self,
        formula: cnf.CNF,
        session: Any,
        seed: bytes,
        steps: Plan,
        deadline: float,
        progress: Callable[[str], None],
    ) -> None:
        self._formula, self._session, self._seed = formula, session, seed
        self._plan, self._deadline, self._progress = steps, deadline, progress
        self._digest = formula.digest()
        self._all_models: answer.Answer | None = None  # cell(0), up to the threshold
        self._largest_log_product = -math.inf  # log max |found in cell(m)| 2^m over the rounds
        self.finished: list[Round] = []

    def run(self) -> None:
        """All rounds, or none where the count is small."""
        self._progress("all models, no hashes")
        self._all_models = self._session.enumerate(
            self._plan.threshold + 1, deadline=self._deadline
        )
        if self._all_models.status is answer.Status.UNKNOWN:
            raise cells.OutOfTime
        if self._all_models.status is answer.Status.OPTIMAL:
            return
        level = 1
        for index in range(self._plan.rounds):
            finished = self._run_round(index, level)
            self.finished.append(finished)
            level = finished.num_hashes

    def _run_round(self, index: int, start: int) -> Round:
        nested = cells.NestedCells(self._formula, self._session, self._draw_key(index))
        limit = self._plan.threshold + 1

        def is_small(level: int) -> bool:
            self._progress(f"round {index + 1} of {self._plan.rounds}, {level} hashes")
            return nested.fill(level, limit, self._deadline) < limit

        try:
            level = first_level(is_small, start)
            return Round(level, nested.models(level))
        finally:
            self._largest_log_product = max(self._largest_log_product, nested.largest_log_product)
            nested.close()

    def _draw_key(self, index: int) -> int:
        # The digest is part of the seed, so nobody can shop for a seed that suits a formula.
        return parity_rows.derive(self._seed, "approxmc", self._digest, index)

    def claim(self, epsilon: float, delta: float) -> estimate.Estimate:
        """The best valid estimate from what has been found so far."""
        witness = Witness(self._digest, self._seed, epsilon, delta, tuple(self.finished))
        found = self._all_models
        if found is not None and found.status is answer.Status.OPTIMAL:
            return estimate.exact_count(found.value, witness=witness)
        if 2 * len(self.finished) > self._plan.rounds:
            return self._median(epsilon, witness)
        return self._lower_bound(delta, witness)

    def _median(self, epsilon: float, witness: Witness) -> estimate.Estimate:
        # Unfinished rounds count as infinitely wrong on both sides, which can only widen the
        # interval of the complete run; so its failure probabilities still hold.
        width, under, over = math.log1p(epsilon), self._plan.failure_under, self._plan.failure_over
        values = map(self._plan.log_value, self.finished)
        each = [estimate.bounded(v, v - width, v + width, over, under) for v in values]
        missing = self._plan.rounds - len(each)
        median = estimate.median_of([*each, *[estimate.Estimate(-math.inf)] * missing])
        return dataclasses.replace(median, witness=witness)

    def _lower_bound(self, delta: float, witness: Witness) -> estimate.Estimate:
        """|S| >= a max_m |found(m)| 2^m, and the models found without hashes for certain.

        Within a round |cell(m)| 2^m is a nonnegative martingale with mean |S|, so it ever exceeds
        |S| / a with probability at most a (Ville); over all rounds 1 - (1 - a)^rounds. The bound is
        reported only where the median is not, so the two failures add.
        """
        found = estimate.exact_count(self._all_models.value if self._all_models else 0)
        spent = delta / 2
        factor = -math.expm1(math.log1p(-spent) / self._plan.rounds)
        probable = self._largest_log_product + math.log(factor)
        # Outward by more than the rounding of this product.
        upper = len(self._formula.sampling_set) * math.log(2) * (1 + 2.0**-51)
        if probable <= found.log_lower:
            lower = found.log_lower
            return estimate.bounded(found.log_value, lower, upper, 0.0, 0.0, witness=witness)
        failure = spent + estimate.majority_tail(self._plan.rounds, self._plan.failure_over)
        value = self._largest_log_product
        return estimate.bounded(value, probable, upper, failure, 0.0, witness=witness)
