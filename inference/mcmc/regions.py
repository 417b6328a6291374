"""Regions of a sample, and whether two samples give them equal masses.

    >>> found = find(draws)
    >>> found.masses(draws).sum()
    1.0

Where modes are far apart each has at least one region, so a mode that was lost or weighted wrongly
shows in the masses; where there is but one mode, regions are pieces of it. No number of modes is
asked for, and none is told.
"""

from typing import NamedTuple

import numpy as np
from scipy.cluster import vq

_SEED = 0  # of the first centres: equal draws give equal regions
_TRIES = 4


class Voronoi(NamedTuple):
    """The points nearer to one centre than to the others, distances in units of ``scale``.

    Attributes:
      centres: float64 [K, D], in their own units.
      scale: float64 [D].
    """

    centres: np.ndarray
    scale: np.ndarray

    def of(self, draws: np.ndarray) -> np.ndarray:
        """The region of each draw [..., D]: integers [...]."""
        flat = np.asarray(draws, dtype=np.float64).reshape(-1, len(self.scale))
        return vq.vq(flat / self.scale, self.centres / self.scale)[0].reshape(draws.shape[:-1])

    def masses(self, draws: np.ndarray) -> np.ndarray:
        """The share of the draws [..., N, D] in each region: [..., K]."""
        where = self.of(draws)[..., None] == np.arange(len(self.centres))
        return where.mean(axis=-2)


def find(draws: np.ndarray, regions: int = 12) -> Voronoi:
    """At most so many regions of draws [N, D], by k-means."""
    draws = np.asarray(draws, dtype=np.float64)
    deviation = draws.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    distinct = np.unique(draws / scale, axis=0)
    number = min(regions, len(distinct))
    best, least = distinct[:1], np.inf
    for attempt in range(_TRIES):
        start = _spread(distinct, number, np.random.default_rng(_SEED + attempt))
        centres, distance = vq.kmeans(distinct, start)
        if distance < least:
            best, least = centres, distance
    return Voronoi(best * scale, scale)


def widths(found: Voronoi, draws: np.ndarray) -> np.ndarray:
    """The standard deviation [D] of draws [N, D] within a region, median over the regions."""
    where = found.of(draws)
    deviations = [draws[where == k].std(axis=0) for k in range(len(found.centres))]
    return np.median([one for one in deviations if np.isfinite(one).all()], axis=0)


def differ(first: np.ndarray, second: np.ndarray, least: float = 0.03) -> np.ndarray:
    """Where two tables of masses [R, K] of R independent runs each differ beyond chance: bool [K].

    Each is taken for its mean over runs with the standard error of that. Four standard errors and
    a mass of ``least``: false alarms are to be rare, and small errors are no alarm.
    """
    gap = np.abs(first.mean(axis=0) - second.mean(axis=0))
    errors = [one.std(axis=0, ddof=1) ** 2 / len(one) for one in (first, second)]
    return gap > np.maximum(4.0 * np.sqrt(sum(errors)), least)


def _spread(points: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """First centres far apart, each drawn in proportion to the squared distance from the others."""
    chosen = [points[rng.integers(len(points))]]
    distance = np.sum((points - chosen[0]) ** 2, axis=1)
    for _ in range(number - 1):
        chosen.append(points[rng.choice(len(points), p=distance / distance.sum())])
        distance = np.minimum(distance, np.sum((points - chosen[-1]) ** 2, axis=1))
    return np.array(chosen)
