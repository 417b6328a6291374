"""Bounds on a count from rounds of hashing that have not finished.

    >>> reached = [Reached(log_product=30.0, small_level=41), Reached(), Reached()]
    >>> bounds(reached, threshold=72, delta=0.2)
    (26.6..., 33.9...)

In a round with nested cells, |cell(m)| 2^m is a nonnegative martingale over m with mean |S|. So, at
any stopping time, it has ever exceeded a |S| with probability at most 1/a (Ville), and rounds are
independent: the k-th largest of T maxima exceeds a |S| with probability Pr[Bin(T, 1/a) >= k].

From above: where the largest level m with |S| / 2^m > u has a cell of up to t < u models, the
round was unlucky: variance is at most the mean, so by Cantelli this has probability at most
u / (u + (u - t)^2). Cells are nested, so otherwise no small cell lies at that level or before, and
a small cell at level m means |S| <= u 2^m. Again over T rounds the k-th smallest counts.

Both sides hold whatever decides when to stop, as the number of rounds T is fixed beforehand.
"""

import math
from collections.abc import Callable, Sequence

from hashing.cells.nested_cells import Reached
from inference import estimate

LOG_SMALLEST = -690.0  # of a chance; 2 / chance is in the range of doubles, too


def bounds(rounds: Sequence[Reached], threshold: int, delta: float) -> tuple[float, float]:
    """Lower and upper bound on log |S|, each wrong with probability at most ``delta`` / 2.

    Args:
      rounds: all that were planned, those that never started included.
      threshold: up to how many models a cell is small.
      delta: probability of failure, both sides together.
    """
    products = sorted((r.log_product for r in rounds), reverse=True)
    levels = sorted(r.small_level for r in rounds)
    ranks = sorted({1, (len(rounds) + 3) // 4, (len(rounds) + 1) // 2})
    lower, upper = -math.inf, math.inf
    for k in ranks:
        chance = _chance(len(rounds), k, delta / 2 / len(ranks))
        if chance > 0.0:
            mean = _mean_of_failure(threshold, chance)
            lower = max(lower, products[k - 1] + math.log(chance))
            upper = min(upper, levels[k - 1] * math.log(2) + math.log(mean))
    return lower, upper


def _chance(trials: int, at_least: int, failure: float) -> float:
    """The largest p with Pr[Bin(trials, p) >= at_least] <= failure, from below; 0 if too small."""

    def holds(log_chance: float) -> bool:
        return estimate.binomial_tail(trials, at_least, math.exp(log_chance)) <= failure

    return math.exp(_bisect(holds, LOG_SMALLEST, 0.0)) if holds(LOG_SMALLEST) else 0.0


def _mean_of_failure(threshold: int, failure: float) -> float:
    """The least u > threshold with u / (u + (u - threshold)^2) <= failure, from above."""
    high = 2.0 * threshold + 2.0 / failure

    def is_below(u: float) -> bool:
        return u / (u + (u - threshold) * (u - threshold)) > failure

    return math.nextafter(_bisect(is_below, float(threshold), high), math.inf)


def _bisect(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Nearly the last point of a prefix of [low, high] where ``holds``, and inside it."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
