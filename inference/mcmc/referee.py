"""A referee for samplers: what they draw against what is known exactly, one table for any number.

    >>> rows = [judge("gibbs", sampler, target, jax.random.key(0)) for target in targets]
    >>> print(table(rows))

A sampler is ``sampler(graph, key) -> int [C, T, V]``, anyone's; ``of_algorithm`` makes one of
``init`` and ``step``. A target is a graph with its exact mean energy, marginals and histogram of
energies, from wherever its caller has them; the energy of states is minus their log-score.

Draws of a chain depend on each other, so nothing here counts draws: chains are cut into some
``BATCHES`` batches, and the means of batches tell how far off the mean of all may be. Means are
judged by Student's t, the histogram by Hotelling's T-squared of its batches, which is a chi-square
with the covariance that the draws have. A sampler is convicted where the least p-value, times the
number of tests, is below the level, and not judged where batches are too short for that.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy import stats

from inference.mcmc import algorithm, rank_statistics, starts
from inference.problems import factor_graph

BATCHES = 64  # in all chains together, or one for each chain where there are more
LEVEL = 1e-3  # chance to convict an exact sampler
FEWEST = 10.0  # effective draws a batch, and effective draws of a state, below which none is judged
_BINS = 8  # of the histogram of energies, of about equal probability
_HEADS = (
    *("sampler", "target", "outcome", "p", "ESS", "ESS/s", "R-hat"),
    *("energy", "z", "marginal", "max |z|", "histogram p"),
)

#: ``sampler(graph, key)``: states of C chains of T draws, int [C, T, V]; warm-up left out.
Sampler = Callable[[factor_graph.FactorGraph, jax.Array], np.ndarray]


class ExactTarget(NamedTuple):
    """A graph with what is known exactly.

    Attributes:
      marginals: [V, S].
      levels: energies in ascending order, in nats [L], or None where the histogram is not known.
      probabilities: of these energies, [L].
    """

    name: str
    graph: factor_graph.FactorGraph
    mean_energy: float
    marginals: np.ndarray
    levels: np.ndarray | None = None
    probabilities: np.ndarray | None = None


class Verdict(NamedTuple):
    """One row: a sampler on a target.

    Attributes:
      num_chains, num_draws: C and T.
      seconds: of the second call; the first compiles.
      ess, ess_per_second: least bulk effective sample size of the energy and the variables.
      rhat: the largest of them.
      energy_error, energy_z: of the mean energy, in nats and in standard errors.
      marginal_error, marginal_z: the largest of a state's probability, and the largest in standard
        errors; NaN where no state is frequent enough.
      histogram_p: p-value of the histogram of energies, NaN where that is not known.
      p_value: of all tests together, by Bonferroni; NaN where batches are too short.
      outcome: "passed", "convicted", "not judged" (too few effective draws) or "refused".
    """

    sampler: str
    target: str
    num_chains: int = 0
    num_draws: int = 0
    seconds: float = math.nan
    ess: float = math.nan
    ess_per_second: float = math.nan
    rhat: float = math.nan
    energy_error: float = math.nan
    energy_z: float = math.nan
    marginal_error: float = math.nan
    marginal_z: float = math.nan
    histogram_p: float = math.nan
    p_value: float = math.nan
    outcome: str = "refused"


def of_algorithm(
    build: Callable[[factor_graph.FactorGraph], Any],
    *,
    num_chains: int = 32,
    num_draws: int = 1000,
    warm_up: int = 1000,
    thin: int = 1,
) -> Sampler:
    """The sampler of a kernel: chains from random starts of positive weight, compiled once a graph.

    Args:
      build: the ``SamplingAlgorithm`` of a graph, ours or BlackJAX's.
      warm_up: steps before the first draw, at least 1.
      thin: steps a draw.
    """
    made: dict[int, tuple] = {}  # the graph is kept, so its number stands for no other

    def sampler(graph: factor_graph.FactorGraph, key: jax.Array) -> np.ndarray:
        if id(graph) not in made:
            made[id(graph)] = graph, _compiled(build(graph), num_draws, warm_up, thin)
        begin = starts.find(graph, num_chains, seed=key)
        return np.asarray(made[id(graph)][1](key, begin))

    return sampler


def judge(
    name: str, sampler: Sampler, target: ExactTarget, key: jax.Array, *, level: float = LEVEL
) -> Verdict:
    """Calls a sampler twice, and judges and times the second.

    Args:
      level: chance to convict an exact one.

    Raises:
      ValueError: what it returns are no chains of states of the graph.
    """
    key_first, key_second = jax.random.split(key)
    sampler(target.graph, key_first)
    begun = time.perf_counter()
    chains = np.asarray(sampler(target.graph, key_second))
    seconds = time.perf_counter() - begun
    return assess(name, chains, target, seconds, level=level)


def judge_all(
    samplers: Mapping[str, Sampler],
    targets: Sequence[ExactTarget],
    key: jax.Array,
    *,
    level: float = LEVEL,
) -> list[Verdict]:
    """Every sampler on every target; the level holds for each row alone.

    Where a sampler refuses a graph by a ValueError the outcome is "refused", and nothing is known.
    """
    pairs = [(name, target) for target in targets for name in samplers]
    rows = []
    for (name, target), one in zip(pairs, jax.random.split(key, len(pairs)), strict=True):
        try:
            rows.append(judge(name, samplers[name], target, one, level=level))
        except ValueError:
            rows.append(Verdict(name, target.name))
    return rows


def assess(
    name: str, chains: np.ndarray, target: ExactTarget, seconds: float, *, level: float = LEVEL
) -> Verdict:
    """The verdict on chains, int [C, T, V], that took so many seconds."""
    _check(chains, target.graph)
    energies = _energies(target.graph, chains)
    ess, rhat = _quality(energies, chains)
    energy_error, energy_z, energy_p = _mean(energies, target.mean_energy)
    marginal_error, marginal_z, marginal_p = _marginals(chains, target.marginals, ess)
    histogram_p = _histogram(energies, target)
    found = [p for p in (energy_p, marginal_p, histogram_p) if not math.isnan(p)]
    is_judged = ess >= FEWEST * len(_batches(energies)) or 0.0 in found
    p_value = min(1.0, len(found) * min(found)) if found and is_judged else math.nan
    outcome = "convicted" if p_value < level else "passed"
    return Verdict(
        name,
        target.name,
        chains.shape[0],
        chains.shape[1],
        seconds,
        ess,
        ess / seconds if seconds > 0 else math.nan,
        rhat,
        energy_error,
        energy_z,
        marginal_error,
        marginal_z,
        histogram_p,
        p_value,
        "not judged" if math.isnan(p_value) else outcome,
    )


def table(rows: Sequence[Verdict]) -> str:
    """The rows as text, a line each, below the names of what they hold."""
    lines = [_HEADS, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [
        [
            cell.ljust(width) if at < 3 else cell.rjust(width)
            for at, (cell, width) in enumerate(pairs)
        ]
        for pairs in (zip(line, widths, strict=True) for line in lines)
    ]
    return "\n".join("  ".join(line).rstrip() for line in padded)


def _cells(row: Verdict) -> tuple[str, ...]:
    numbers = (row.p_value, row.ess, row.ess_per_second)
    errors = (row.energy_error, row.energy_z, row.marginal_error, row.marginal_z, row.histogram_p)
    short = [f"{number:.3g}" for number in numbers] + [f"{row.rhat:.3f}"]
    return row.sampler, row.target, row.outcome, *short, *(f"{number:.2g}" for number in errors)


def _compiled(kernel: Any, num_draws: int, warm_up: int, thin: int) -> Callable:
    @jax.jit
    def run(key: jax.Array, begin: jax.Array) -> jax.Array:
        key_init, key_warm, key_run = jax.random.split(key, 3)
        states = jax.vmap(kernel.init)(begin, jax.random.split(key_init, len(begin)))
        states, _ = algorithm.run(key_warm, kernel, states, 1, thin=warm_up)
        return algorithm.run(key_run, kernel, states, num_draws, thin=thin)[1]

    return run


def _check(chains: np.ndarray, graph: factor_graph.FactorGraph) -> None:
    sizes = np.asarray(graph.num_states)
    if chains.ndim != 3 or chains.shape[2:] != sizes.shape or 0 in chains.shape[:2]:
        raise ValueError(f"expected chains [C, T, {len(sizes)}], given shape {chains.shape}")
    if not np.issubdtype(chains.dtype, np.integer) or chains.min() < 0 or (chains >= sizes).any():
        raise ValueError("expected states of the variables, given others or no integers")


def _energies(graph: factor_graph.FactorGraph, chains: np.ndarray) -> np.ndarray:
    """Of all states, float64 [C, T], a chain at a time."""
    return np.stack([-np.asarray(factor_graph.log_score(graph, chain)) for chain in chains])


def _quality(energies: np.ndarray, chains: np.ndarray) -> tuple[float, float]:
    """The least bulk ESS and the largest R-hat of what moves; NaN where nothing does."""
    watched = np.concatenate([energies[..., None], chains], axis=2)
    ess, rhat = rank_statistics.ess_bulk(watched), rank_statistics.rhat(watched)
    if np.isnan(ess).all():
        return math.nan, math.nan
    return float(np.nanmin(ess)), float(np.nanmax(rhat))


def _batches(values: np.ndarray) -> np.ndarray:
    """Means of batches [M, ...] of values [C, T, ...]."""
    number = min(max(1, BATCHES // len(values)), values.shape[1])
    length = values.shape[1] // number
    cut = values[:, : number * length].reshape(-1, length, *values.shape[2:])
    return cut.mean(axis=1)


def _mean(values: np.ndarray, expected: float) -> tuple[float, float, float]:
    """The error of the mean of values [C, T], in standard errors too, and its p-value."""
    if not np.isfinite(values).all():  # states of weight 0
        return math.inf, math.inf, 0.0
    means = _batches(values)
    error = float(values.mean() - expected)
    deviation = float(means.std(ddof=1)) if len(means) > 1 else math.nan
    if not deviation > 0:
        return error, math.nan, math.nan
    z = error / (deviation / math.sqrt(len(means)))
    return error, z, float(2 * stats.t.sf(abs(z), len(means) - 1))


def _marginals(chains: np.ndarray, marginals: np.ndarray, ess: float) -> tuple[float, float, float]:
    """The largest error of a probability, the largest in standard errors, and a p-value for all."""
    number, largest, worst, tests = chains.shape[0] * chains.shape[1], 0.0, math.nan, 0
    for state in range(marginals.shape[1]):
        exact = marginals[:, state]
        means = _batches((chains == state).astype(np.float64))
        errors = (chains == state).mean(axis=(0, 1)) - exact
        largest = max(largest, float(np.abs(errors).max(initial=0.0)))
        if (errors[exact == 0.0] > 0.0).any():  # a state that has no weight
            return largest, math.inf, 0.0
        # A sample with few visits says that they spread less than they do: not below the least.
        least = exact * (1.0 - exact) / number
        deviations = np.sqrt(np.maximum(means.var(axis=0, ddof=1) / len(means), least))
        frequent = np.minimum(exact, 1.0 - exact) * ess >= FEWEST
        if frequent.any():
            z = np.abs(errors[frequent] / deviations[frequent])
            worst, tests = float(np.fmax(worst, z.max())), tests + int(frequent.sum())
    return largest, worst, min(1.0, 2 * tests * float(stats.t.sf(worst, len(means) - 1)))


def _histogram(energies: np.ndarray, target: ExactTarget) -> float:
    """The p-value of the shares of draws in bins of energies, by Hotelling's T-squared."""
    if target.levels is None or target.probabilities is None:
        return math.nan
    edges, expected = _bins(target.levels, target.probabilities)
    means = _batches(np.eye(len(expected))[np.searchsorted(edges, energies)])[:, 1:]
    number, bins = means.shape
    covariance = np.atleast_2d(np.cov(means, rowvar=False))
    if not 0 < bins < number or np.linalg.matrix_rank(covariance) < bins:
        return math.nan
    error = means.mean(axis=0) - expected[1:]
    squared = number * float(error @ np.linalg.solve(covariance, error))
    scaled = squared * (number - bins) / (bins * (number - 1))
    return float(stats.f.sf(scaled, bins, number - bins))


def _bins(levels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges between bins of levels that have about equal probability, and what each has."""
    edges, shares, mass = [], [], 0.0
    for at, share in enumerate(probabilities):
        mass += share
        if mass >= 1.0 / _BINS and at + 1 < len(levels):
            edges.append((levels[at] + levels[at + 1]) / 2)
            shares.append(mass)
            mass = 0.0
    shares.append(mass)
    if edges and shares[-1] < 0.5 / _BINS:
        edges.pop()
        shares[-2:] = [sum(shares[-2:])]
    return np.array(edges), np.array(shares)
