"""What chains tell of themselves: R-hat, effective sample sizes, the modes they visit.

    >>> chains = np.random.default_rng(0).normal(size=(4, 1000, 2))
    >>> told = summarise(chains, density_evaluations=4000)
    >>> told.is_settled, round(told.ess_bulk.min(), -2)
    (True, 3800.0)

R-hat and bulk and tail ESS are those of ArviZ where it is installed, else of ``rank_statistics``,
which also serves where there are many quantities; both agree to a few per cent. None of them sees a
mode that no chain has visited. Where there is nothing to tell they are NaN, and such a summary is
not settled: see ``rank_statistics``.
"""

import functools
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from scipy import fft

from inference.mcmc import rank_statistics

SETTLED = 1.01  # R-hat up to which chains are taken to agree (Vehtari et al., 2021)
ENOUGH = 400.0  # effective draws from which R-hat and errors are worth something (the same)
_FEW = 64  # quantities up to which ArviZ is asked; it takes a millisecond for each
_CUT = 0.05  # of the reference ESS: correlations that count are above it


class Summary(NamedTuple):
    """Chains at a glance, of D quantities.

    Attributes:
      mean, error: [D], with the Monte Carlo standard error of the mean.
      rhat, ess_bulk, ess_tail: [D].
      num_chains, num_draws: C and T.
      density_evaluations, gradient_evaluations: what all draws took, None where nobody counted.
    """

    mean: np.ndarray
    error: np.ndarray
    rhat: np.ndarray
    ess_bulk: np.ndarray
    ess_tail: np.ndarray
    num_chains: int
    num_draws: int
    density_evaluations: int | None = None
    gradient_evaluations: int | None = None

    @property
    def is_settled(self) -> bool:
        """Every R-hat is at most ``SETTLED``, every bulk and tail ESS at least ``ENOUGH``."""
        ess = np.minimum(self.ess_bulk, self.ess_tail)
        return bool((self.rhat <= SETTLED).all() and (ess >= ENOUGH).all())


class Modes(NamedTuple):
    """Which modes chains visit, of K.

    Attributes:
      masses: [K], shares of all draws.
      visited: int [C], how many modes each chain visits.
      switches: how often a draw is in another mode than the one before it, a draw; NaN of one draw.
      outside: share of draws in no mode.
    """

    masses: np.ndarray
    visited: np.ndarray
    switches: float
    outside: float


def rhat(chains: np.ndarray) -> np.ndarray:
    """Rank-normalised split R-hat of chains [C, T] or [C, T, D]: a number or [D]."""
    # Of one chain ArviZ has none, though its halves can be compared as those of many are.
    return _asked(rank_statistics.rhat, lambda arviz, one: arviz.rhat(one), chains, least_chains=2)


def ess_bulk(chains: np.ndarray) -> np.ndarray:
    """Bulk effective sample size of chains [C, T] or [C, T, D]: a number or [D]."""
    return _asked(rank_statistics.ess_bulk, lambda arviz, one: arviz.ess(one), chains)


def ess_tail(chains: np.ndarray) -> np.ndarray:
    """Tail effective sample size of chains [C, T] or [C, T, D]: a number or [D]."""

    def ask(arviz: ModuleType, one: np.ndarray) -> float:
        return min(arviz.ess(tail, method="mean") for tail in rank_statistics.tails(one))

    return _asked(rank_statistics.ess_tail, ask, chains)


def reference_ess(chains: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> float:
    """The effective sample size of A-NICE-MC, of one chain, with known moments; at most T.

    T / (1 + 2 sum over s of (1 - s / T) rho_s) in each dimension, and the least of them: rho_s is
    the average over chains of the correlation at lag s, terms up to 0.05 are dropped, and the sum
    ends where no dimension has one above. Negative correlations are ignored. NaN where a draw is.

    Args:
      chains: [C, T] or [C, T, D].
      mean, variance: of the target, [D], or numbers for all dimensions.

    Raises:
      ValueError: there is no draw, or a variance is not positive.
    """
    chains = rank_statistics.as_chains(chains)
    length = chains.shape[1]
    variance = np.broadcast_to(np.asarray(variance, np.float64), chains.shape[2:])
    if not chains.size:
        raise ValueError(f"expected at least one draw, given shape {chains.shape}")
    if not (variance > 0).all():
        raise ValueError(f"expected positive variances, given {variance.min()}")
    if not np.isfinite(chains).all():
        return np.nan
    rho = _correlations(chains - np.asarray(mean, np.float64)) / variance  # [T, D]
    above = rho > _CUT
    ends = np.argmin(above[1:].any(axis=1)) + 1 if not above[1:].any(axis=1).all() else length
    left = 1.0 - np.arange(length)[:, None] / length
    terms = np.where(above, left * rho, 0.0)[1:ends]
    return float(np.min(length / (1.0 + 2.0 * terms.sum(axis=0))))


def nearest(chains: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The centre [K, D] that is nearest to each draw [C, T, D], int [C, T]; -1 where it is NaN."""
    squares = np.stack([((chains - centre) ** 2).sum(axis=-1) for centre in np.asarray(centres)])
    return np.where(np.isfinite(squares).all(axis=0), squares.argmin(axis=0), -1)


def modes(labels: np.ndarray, num_modes: int) -> Modes:
    """How much of each mode chains have seen.

    Args:
      labels: int [C, T], of the mode each draw is in: from ``nearest`` or any function of draws;
        negative where it is in none.
      num_modes: K.

    Raises:
      ValueError: a label is K or more, or there is no draw.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or not labels.size or labels.max() >= num_modes:
        given = f"{labels.max(initial=0)} in shape {labels.shape}"
        raise ValueError(f"expected labels [C, T] below {num_modes}, given up to {given}")
    seen = labels[..., None] == np.arange(num_modes)
    switches = (labels[:, 1:] != labels[:, :-1]).mean() if labels.shape[1] > 1 else np.nan
    masses, visited = seen.mean(axis=(0, 1)), seen.any(axis=1).sum(axis=1)
    return Modes(masses, visited, float(switches), float((labels < 0).mean()))


def summarise(
    chains: np.ndarray,
    *,
    density_evaluations: int | None = None,
    gradient_evaluations: int | None = None,
) -> Summary:
    """Means with their errors, R-hat and effective sample sizes of chains [C, T] or [C, T, D].

    Args:
      density_evaluations, gradient_evaluations: what all draws took, as their caller has counted.
    """
    chains = rank_statistics.as_chains(chains)
    with np.errstate(invalid="ignore", divide="ignore"):  # of infinite draws, and of none
        mean = chains.sum(axis=(0, 1)) / chains[..., 0].size
        deviation = np.sqrt(((chains - mean) ** 2).sum(axis=(0, 1)) / (chains[..., 0].size - 1))
    return Summary(
        mean,
        deviation / np.sqrt(rank_statistics.ess_mean(chains)),
        rhat(chains),
        ess_bulk(chains),
        ess_tail(chains),
        chains.shape[0],
        chains.shape[1],
        density_evaluations,
        gradient_evaluations,
    )


def to_inference_data(
    posterior: Mapping[str, np.ndarray], statistics: Mapping[str, np.ndarray] | None = None
) -> Any:
    """Draws as ArviZ keeps them, ``InferenceData`` or, from its version 1, a ``DataTree``.

    Args:
      posterior: chains [C, T, ...] by name.
      statistics: what was told of each draw, [C, T, ...] by name.

    Raises:
      ImportError: ArviZ is not installed.
    """
    arviz = _arviz()
    if arviz is None:
        raise ImportError("expected ArviZ to be installed, as by `pip install arviz`")
    groups = {"posterior": dict(posterior), "sample_stats": dict(statistics or {})}
    groups = {name: group for name, group in groups.items() if group}
    return arviz.from_dict(groups) if _has_trees(arviz) else arviz.from_dict(**groups)


def _correlations(chains: np.ndarray) -> np.ndarray:
    """Products at each lag, averaged over pairs in a chain and then over chains: [T, D]."""
    length = chains.shape[1]
    padded = fft.next_fast_len(2 * length, real=True)
    spectrum = fft.rfft(chains, padded, axis=1)
    products = fft.irfft((np.abs(spectrum) ** 2).mean(axis=0), padded, axis=0)[:length]
    return products / np.arange(length, 0, -1)[:, None]


def _asked(
    many: Callable[[np.ndarray], np.ndarray],
    ask: Callable[[ModuleType, np.ndarray], float],
    chains: np.ndarray,
    least_chains: int = 1,
) -> np.ndarray:
    """Of ArviZ for each quantity where it is installed and there are few, else of all at once."""
    wide = rank_statistics.as_chains(chains)
    arviz = _arviz() if wide.shape[2] <= _FEW and len(wide) >= least_chains else None
    if arviz is None:
        return many(chains)
    found = np.full(wide.shape[2], np.nan)
    for quantity in np.flatnonzero(rank_statistics.tells(wide)):
        one = wide[:, :, quantity]
        is_still = (one == one[:, :1]).all()
        found[quantity] = many(one) if is_still else ask(arviz, one)
    return found.reshape(np.shape(chains)[2:])


@functools.cache
def _arviz() -> ModuleType | None:
    """ArviZ, None where it is not installed; that it will change is no concern of our users."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import arviz
    except ImportError:
        return None
    return arviz


def _has_trees(arviz: ModuleType) -> bool:
    return int(arviz.__version__.split(".")[0]) >= 1
