"""What a count by hashing asks for and what its rounds prove: constants, medians, early bounds.

    >>> scheme = plan(epsilon=0.8, delta=0.2)
    >>> scheme.threshold, scheme.rounds
    (72, 3)
    >>> estimate_of(found, scheme)  # found: a ``witness.Witness``

Nothing here searches, so whoever checks a stored result comes to the same claim.

Yang and Meel, Rounding Meets Approximate Model Counting (CAV 2023), whose constants these are; for
epsilon >= 5 the rule of version 7, which needs only satisfiability (AAAI 2025).
"""

import bisect
import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from hashing.cells import nested_cells
from hashing.counting import anytime, witness
from inference import estimate


class Scheme(NamedTuple):
    """What (epsilon, delta) ask for.

    Attributes:
      threshold: a cell is small up to this many models; 0 in version 7.
      rounds: odd, repetitions whose median is taken.
      failure_under: Pr[a round's value < |S| / (1 + epsilon)] is at most this.
      failure_over: Pr[a round's value > (1 + epsilon) |S|] is at most this.
      scale: from the number of models in the first small cell to the value of cell times 2^-m;
        processes can hand it over.
    """

    threshold: int
    rounds: int
    failure_under: float
    failure_over: float
    scale: Callable[[int], float]

    def log_value(self, finished: witness.Round) -> float:
        """What one round says the residual count is, in nats."""
        return math.log(self.scale(len(finished.models))) + finished.num_hashes * math.log(2)


def plan(epsilon: float, delta: float) -> Scheme:
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
        rounds, scale = num_rounds(1 / beta, 1 / beta, delta), functools.partial(_always, factor)
        return Scheme(0, rounds, 1 / beta, 1 / beta, scale)
    pivot = 9.84 * (1 + 1 / epsilon) ** 2
    threshold = math.floor(1 + pivot * (1 + epsilon / (1 + epsilon)))
    under, over, rounding = _rounding(epsilon, pivot)
    return Scheme(threshold, num_rounds(under, over, delta), under, over, rounding)


def num_rounds(failure_under: float, failure_over: float, delta: float) -> int:
    """The smallest odd number of rounds whose median fails with probability at most delta."""

    def holds(pairs: int) -> bool:
        rounds = 2 * pairs + 1
        under = estimate.majority_tail(rounds, failure_under)
        return under + estimate.majority_tail(rounds, failure_over) <= delta

    # More rounds fail less often, so thousands of them need not be tried one by one.
    most = 1
    while not holds(most):
        most *= 2
    return 2 * bisect.bisect_left(range(most), True, key=holds) + 1


def estimate_of(
    found: witness.Witness,
    scheme: Scheme,
    reached: Mapping[int, nested_cells.Reached] | None = None,
) -> estimate.Estimate:
    """The best valid estimate that finished rounds support, inside what is certain without them.

    Args:
      found: the rounds so far.
      scheme: what its epsilon and delta ask for.
      reached: by round, how far each got, unfinished ones included; by default what the finished
        ones show. Only early ends depend on it.
    """
    exact = listed(found)
    if exact is not None:
        return estimate.exact_count(len(exact.models) << len(found.free), witness=found)
    if 2 * len(found.rounds) > scheme.rounds:
        return dataclasses.replace(_median(found, scheme), witness=found)
    if reached is None:
        reached = {i: reached_by(r) for i, r in found.rounds.items()}
    return dataclasses.replace(_anytime(found, scheme, list(reached.values())), witness=found)


def _rounding(epsilon: float, pivot: float) -> tuple[float, float, Callable[[int], float]]:
    """Per-round failures under and over, and the rounding of a cell count (CAV 2023)."""
    if epsilon < math.sqrt(2) - 1:
        low = pivot * math.sqrt(1 + 2 * epsilon) / 2
        return 0.262, 0.169, functools.partial(max, low)
    if epsilon < 1:
        return 0.157, 0.169, functools.partial(max, pivot / math.sqrt(2))
    if epsilon < 3:
        return 0.085, 0.169, functools.partial(max, pivot)
    if epsilon < 4 * math.sqrt(2) - 1:
        return 0.055, 0.044, functools.partial(_always, pivot)
    return 0.023, 0.044, functools.partial(_always, math.sqrt(2) * pivot)


def _always(value: float, _: int) -> float:
    return value


def listed(found: witness.Witness) -> witness.Round | None:
    """The round that listed all models of the residual formula, if one did."""
    return next((r for r in found.rounds.values() if r.num_hashes == 0), None)


def _median(found: witness.Witness, scheme: Scheme) -> estimate.Estimate:
    # Unfinished rounds count as infinitely wrong on both sides, which can only widen the
    # interval of the complete run; so its failure probabilities still hold.
    width, log_factor = math.log1p(found.epsilon), len(found.free) * math.log(2)
    under, over = scheme.failure_under, scheme.failure_over
    values = [scheme.log_value(r) + log_factor for r in found.rounds.values()]
    each = [estimate.bounded(v, v - width, v + width, over, under) for v in values]
    missing = scheme.rounds - len(each)
    median = estimate.median_of([*each, *[estimate.Estimate(-math.inf)] * missing])
    # The first small cell is no cell of all models, so there are some.
    return _clipped(median, found, 0.0)


def _anytime(
    found: witness.Witness, scheme: Scheme, reached: Sequence[nested_cells.Reached]
) -> estimate.Estimate:
    """Both sides from the levels that were reached, and what is certain without hashing.

    Reported only where the median is not, so the failures of the two add.
    """
    log_factor = len(found.free) * math.log(2)
    reached = [*reached, *[nested_cells.Reached()] * (scheme.rounds - len(reached))]
    lower, upper = anytime.bounds(reached, scheme.threshold, found.delta)
    product = max(r.log_product for r in reached)
    least = -math.inf if product == -math.inf else 0.0
    spent = found.delta / 2
    below = spent + estimate.majority_tail(scheme.rounds, scheme.failure_over)
    above = spent + estimate.majority_tail(scheme.rounds, scheme.failure_under)
    lower, upper = lower + log_factor, upper + log_factor
    if lower > upper:  # one of them failed
        lower, upper = -math.inf, math.inf
    both = estimate.bounded(product + log_factor, lower, upper, below, above)
    return _clipped(both, found, least)


def _clipped(one: estimate.Estimate, found: witness.Witness, least: float) -> estimate.Estimate:
    """The estimate inside what is certain without hashing: ``least`` and all assignments.

    A side that is no better than what is certain becomes that, and cannot fail; so does one that
    lies past the other certain side, as it has failed.
    """
    # Outward by more than the rounding of this product.
    most = (len(found.support) + len(found.free)) * math.log(2) * (1 + 2.0**-51)
    lower, below, upper, above = least, 0.0, most, 0.0
    if least < one.log_lower <= most:
        lower, below = one.log_lower, one.failure_lower
    if least <= one.log_upper < most:
        upper, above = one.log_upper, one.failure_upper
    value = min(max(one.log_value, lower), upper)
    return estimate.bounded(value, lower, upper, below, above)


def reached_by(finished: witness.Round) -> nested_cells.Reached:
    """How far a finished round got."""
    level, size = finished.num_hashes, len(finished.models)
    products = [estimate.log_of_count(size) + level * math.log(2)]
    if level:
        products.append(math.log(len(finished.before)) + (level - 1) * math.log(2))
    return nested_cells.Reached(max(products), level)
