"""A density of states: how many states have each energy, and log Z at every temperature from it.

    >>> formula = cnf.from_clauses([[1, 2], [-1, 3]])
    >>> density, info = flat_histogram.density_of_states(formula, seed=1)
    >>> density.energies, np.exp(density.log_count).round(1)
    (array([0., 1.]), array([4., 4.]))
    >>> density.log_partition(beta=0.0)  # of all 8 states
    2.0794...

Nothing is claimed of the numbers: ``standard_error`` tells walkers apart from each other, and of
what none of them found it knows nothing.
"""

import dataclasses
import math

import numpy as np

from inference import estimate


@dataclasses.dataclass(frozen=True, eq=False)
class DensityOfStates:
    """What is known of each level that was seen, by energy.

    Attributes:
      energies: float64 [L], the mean energy of a level: violated clauses, costs, or nats. Infinite
        where a model rules states out; there are as many such levels as were told apart.
      variances: float64 [L], of the energy inside a level; 0 where it is one energy.
      log_count: float64 [L], nats: ln of the number of states.
      standard_error: float64 [L], nats; infinite where fewer than two walkers came by, or none was
        let go with the weights fixed.
      visits: float64 [L], steps there while the weights were fixed.
      log_total: nats, of the number of all states, to which the counts add up.
      replicates: float64 [W, L], ``log_count`` without each of the walkers, for standard errors.
      merged: whether the last level holds all higher energies.
    """

    energies: np.ndarray
    variances: np.ndarray
    log_count: np.ndarray
    standard_error: np.ndarray
    visits: np.ndarray
    log_total: float
    replicates: np.ndarray
    merged: bool

    def log_partition(self, beta: float = 1.0) -> float:
        """ln of the sum of exp(-beta E) over states, in nats; -inf where all are ruled out.

        Inside a level that is not one energy, the energies count as normal: right to second order.

        Raises:
          ValueError: beta is negative, and the highest energies are merged.
        """
        return float(_log_sum(self.log_count + self._log_weights(beta)))

    def log_partition_error(self, beta: float = 1.0) -> float:
        """The standard error of ``log_partition``, in nats: jackknife over walkers."""
        values = _log_sum(self.replicates + self._log_weights(beta)[None])
        return float(jackknife(values))

    def mean_energy(self, beta: float = 1.0) -> float:
        """The mean energy at this inverse temperature; NaN where all states are ruled out."""
        weights = self.log_count + self._log_weights(beta)
        known = weights > -math.inf
        if not known.any():
            return math.nan
        shares = np.exp(weights[known] - weights[known].max())
        inner = self.energies[known] - beta * self.variances[known]
        return float((shares * inner).sum() / shares.sum())

    def count(self) -> estimate.Estimate:
        """The number of states of energy 0, the models of a formula: a claim of NONE.

        ``-inf`` where none was seen, which proves nothing.
        """
        zero = np.abs(self.energies) < 1e-9
        return estimate.Estimate(float(_log_sum(np.where(zero, self.log_count, -math.inf))))

    def _log_weights(self, beta: float) -> np.ndarray:
        if beta < 0 and self.merged:
            raise ValueError(f"expected beta of at least 0 where levels are merged, given {beta}")
        known = np.isfinite(self.energies)
        energies = np.where(known, self.energies, 0.0)
        weights = -beta * energies + beta**2 * self.variances / 2
        return np.where(known, weights, -math.inf)


def from_visits(
    log_count: np.ndarray,
    visits: np.ndarray,
    moments: np.ndarray,
    log_total: float,
    merged: bool,
) -> DensityOfStates:
    """Of walkers that ran with fixed weights: log g + ln(visits / mean visits), normalised.

    Args:
      log_count: log g, the weights, float64 [L] of the levels that were seen.
      visits: float64 [W, L] of each walker; none where there was no such run.
      moments: float64 [2, L], mean and variance of the energy in each level.
      log_total: ln of the number of all states.
      merged: whether the last level holds all higher energies.
    """
    total = visits.sum(axis=0)
    replicates = np.zeros((0, len(log_count)))
    if len(visits) > 1 and total.any():
        replicates = _corrected(log_count, np.maximum(total - visits, 0.0), log_total)
        alone = (visits > 0).sum(axis=0) - (visits > 0) == 0
        replicates = np.where(alone, -math.inf, replicates)
    values = _corrected(log_count, total[None], log_total)[0]
    values = np.maximum(values, 0.0)  # of what was seen there is one, however far off weights are
    error = jackknife(replicates)
    mean, variance = moments
    return DensityOfStates(mean, variance, values, error, total, log_total, replicates, merged)


def jackknife(replicates: np.ndarray) -> np.ndarray:
    """Standard errors [...] from values [W, ...] that leave one walker out each; inf if unknown."""
    number = len(replicates)
    known = np.isfinite(replicates).all(axis=0) & (number > 1)
    spread = np.where(known, np.where(np.isfinite(replicates), replicates, 0.0), 0.0)
    error = np.sqrt(max(number - 1, 0) * spread.var(axis=0)) if number else np.zeros(known.shape)
    return np.where(known, error, math.inf)


def _corrected(log_count: np.ndarray, visits: np.ndarray, log_total: float) -> np.ndarray:
    """Rows of log counts [N, L] for rows of visits; a level without any keeps its weight."""
    mean = visits.mean(axis=1, keepdims=True)
    share = np.where(visits > 0, visits, mean) / np.where(mean > 0, mean, 1.0)
    values = log_count + np.log(np.where(share > 0, share, 1.0))
    return values + (log_total - _log_sum(values))[:, None]


def _log_sum(values: np.ndarray) -> np.ndarray:
    """Over the last axis, -inf where there is nothing."""
    top = values.max(axis=-1, initial=-math.inf, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(values - top).sum(axis=-1)) + top[..., 0]
