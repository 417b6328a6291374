"""Rank-normalised split R-hat and effective sample sizes, of many quantities at once.

    >>> chains = np.random.default_rng(0).normal(size=(4, 1000, 2))
    >>> rhat(chains).round(3), ess_bulk(chains).round(-2)
    (array([1.001, 1.001]), array([4000., 4000.]))

Vehtari, Gelman, Simpson, Carpenter and Buerkner, "Rank-normalization, folding, and localization: an
improved R-hat for assessing convergence of MCMC", Bayesian Analysis 2021, with NumPyro's variances
and autocorrelations. All take chains [C, T] or [C, T, D] and return a number or [D]; a single chain
is compared with itself, half against half.

NaN says that there is nothing to tell: a draw is not finite, fewer than four draws a chain, or all
draws of all chains are equal. Chains that stand still at different places have an infinite R-hat.
Nothing that compares with NaN is true, so ask whether R-hat is small, not whether it is large.
"""

from collections.abc import Callable

import numpy as np
from numpyro import diagnostics
from scipy import special, stats

LEAST_DRAWS = 4  # in a chain: two in each half
TAILS = (0.05, 0.95)  # quantiles whose estimates the tail ESS is about
_ENTRIES = 2**22  # of chains looked at together: 32 MiB


def rhat(chains: np.ndarray) -> np.ndarray:
    """The larger R-hat of ranks and of ranks of distances to the median; 1 where chains agree."""
    return _each(_rhat, chains)


def ess_bulk(chains: np.ndarray) -> np.ndarray:
    """Of C T draws, how many independent ones tell as much of the mean of the ranks."""
    return _each(lambda chains: _ess(ranked(halves(chains))), chains)


def ess_tail(chains: np.ndarray) -> np.ndarray:
    """The lesser effective sample size of the two quantiles of ``TAILS``."""
    return _each(_ess_tail, chains)


def ess_mean(chains: np.ndarray) -> np.ndarray:
    """How many independent draws tell as much of the mean: C T over the autocorrelation time."""
    return _each(lambda chains: _ess(halves(chains)), chains)


def halves(chains: np.ndarray) -> np.ndarray:
    """Each chain as two, of half of its draws; of an odd number the one between is left out."""
    half = chains.shape[1] // 2
    return np.concatenate([chains[:, :half], chains[:, -half:]])


def ranked(chains: np.ndarray) -> np.ndarray:
    """Normal scores of the ranks among all draws of a quantity, ties at their average rank."""
    flat = chains.reshape(-1, *chains.shape[2:])
    ranks = stats.rankdata(flat, axis=0)
    return special.ndtri((ranks - 0.375) / (len(flat) + 0.25)).reshape(chains.shape)


def tails(chains: np.ndarray) -> list[np.ndarray]:
    """For each of ``TAILS`` whether a draw is in it, 0.0 or 1.0.

    Where a state of a discrete quantity reaches past a quantile no draw would be out: then it is
    whether a draw lies below that state, so what varies is told to vary.
    """
    found = []
    for quantile in np.quantile(chains, TAILS, axis=(0, 1)):
        inside = chains <= quantile
        found.append(np.where(inside.all(axis=(0, 1)), chains < quantile, inside).astype(float))
    return found


def tells(chains: np.ndarray) -> np.ndarray:
    """Of which of D quantities chains [C, T, D] tell anything: bool [D]."""
    if not len(chains) or chains.shape[1] < LEAST_DRAWS:
        return np.zeros(chains.shape[2], bool)
    return np.isfinite(chains).all(axis=(0, 1)) & _varies(chains)


def _each(statistic: Callable[[np.ndarray], np.ndarray], chains: np.ndarray) -> np.ndarray:
    """A statistic of [C, T, B] for each of D quantities, NaN where there is nothing to tell."""
    wide = as_chains(chains)
    found = np.full(wide.shape[2], np.nan)
    told = np.flatnonzero(tells(wide))
    size = max(1, _ENTRIES // max(wide[..., :1].size, 1))
    for start in range(0, len(told), size):
        block = told[start : start + size]
        found[block] = statistic(wide[:, :, block])
    return found.reshape(np.shape(chains)[2:])


def as_chains(chains: np.ndarray) -> np.ndarray:
    """Chains as float64 [C, T, D].

    Raises:
      ValueError: their axes are not those of chains, draws and at most one more.
    """
    chains = np.asarray(chains, np.float64)
    if chains.ndim not in (2, 3):
        raise ValueError(f"expected chains [C, T] or [C, T, D], given shape {chains.shape}")
    return chains if chains.ndim == 3 else chains[..., None]


def _rhat(chains: np.ndarray) -> np.ndarray:
    split = halves(chains)
    folded = np.abs(split - np.median(split, axis=(0, 1), keepdims=True))
    both = [_between(ranked(one)) for one in (split, folded)]
    # Of a coin all distances to the median are equal: what is NaN there alone does not count.
    return np.fmax(*both)


def _between(chains: np.ndarray) -> np.ndarray:
    """NumPyro's R-hat, infinite where each chain stands still, though not all at one place."""
    is_still = (chains == chains[:, :1]).all(axis=(0, 1))
    found = np.where(is_still, np.inf, diagnostics.gelman_rubin(chains))
    return np.where(_varies(chains), found, np.nan)


def _varies(chains: np.ndarray) -> np.ndarray:
    return (chains != chains[:1, :1]).any(axis=(0, 1))


def _ess(chains: np.ndarray) -> np.ndarray:
    """NumPyro's, at most N log10 N of N draws; of chains that stand still about as many."""
    number = chains.shape[0] * chains.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = diagnostics.effective_sample_size(chains)
    # Where every other draw makes up for the one before, the sum of correlations may reach zero.
    ceiling = number * np.log10(number)
    return np.where((found <= 0) | (found > ceiling), ceiling, found)


def _ess_tail(chains: np.ndarray) -> np.ndarray:
    return np.minimum(*(_ess(halves(tail)) for tail in tails(chains)))
