"""What a sampler did on a target, and how good that was.

>>> target = continuous_targets.mog6()
>>> draws = target.sample(jax.random.key(0), 32_000).reshape(32, 1000, 2)
>>> told = judge(target, PeerRun(draws, density_evaluations=32_000))
>>> told["reference_ess"], told["modes_of_a_chain"]
(1000.0, 6)
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.harness import continuous_targets
from inference.mcmc import diagnostics


class PeerRun(NamedTuple):
    """What one sampler gave and took.

    Attributes:
      draws: [C, T, D] of chains; [1, N, D] of a population; without draws where it did not run.
      seconds_compile: of all its programs, and of whatever else happens at the first call alone.
      seconds: of drawing, warm and without what is below.
      density_evaluations, gradient_evaluations: of all chains while drawing; a density that comes
        with its gradient counts as a gradient.
      note: settings, or why it did not run.
      seconds_warmup, warmup_evaluations: of adaptation and training, densities and gradients.
      is_population: whether the draws are particles and no chains.
    """

    draws: Any
    seconds_compile: float = 0.0
    seconds: float = 0.0
    density_evaluations: int = 0
    gradient_evaluations: int = 0
    note: str = ""
    seconds_warmup: float = 0.0
    warmup_evaluations: int = 0
    is_population: bool = False


def missing(target: continuous_targets.Target, package: str) -> PeerRun:
    """The run of a sampler whose package is not installed."""
    return PeerRun(np.zeros((0, 0, target.dimension)), note=f"{package} is not installed")


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float, float]:
    """What a jitted call returns, the seconds of its compilation and those of the call."""
    begun = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    compiled = time.perf_counter()
    found = jax.block_until_ready(program(*arguments))
    return found, compiled - begun, time.perf_counter() - compiled


def judge(target: continuous_targets.Target, run: PeerRun) -> dict[str, Any]:
    """Errors against what is known of the target, and effective draws; NaN where there are none.

    ``mean_error`` is in standard deviations, the largest over the statistic; ``mass_error`` is the
    largest over the modes; ``modes_of_a_chain`` is the smallest number that a chain visits. Those
    of chains are NaN for a population.
    """
    told: dict[str, Any] = {"reference_ess": np.nan, "rhat": np.nan, "ess_bulk": np.nan}
    told |= {"modes_of_a_chain": np.nan, "mass_error": np.nan, "mean_error": np.nan}
    draws = np.asarray(run.draws, np.float32)
    count = draws.shape[0] * draws.shape[1]
    taken = run.density_evaluations + run.gradient_evaluations
    told |= {"evaluations_a_draw": taken / max(count, 1), "ess_an_evaluation": np.nan}
    if count:
        statistic = np.asarray(target.statistic(jax.numpy.asarray(draws)), np.float64)
        modes = diagnostics.modes(np.asarray(target.mode(draws)), len(target.masses))
        error = np.abs(statistic.mean(axis=(0, 1)) - target.mean) / target.standard_deviation
        told["mass_error"] = float(np.abs(modes.masses - target.masses).max())
        told["mean_error"] = float(error.max())
    if count and not run.is_population:
        variance = target.standard_deviation**2
        told["reference_ess"] = diagnostics.reference_ess(statistic, target.mean, variance)
        told["rhat"] = float(np.max(diagnostics.rhat(statistic)))
        told["ess_bulk"] = float(np.min(diagnostics.ess_bulk(statistic)))
        told["modes_of_a_chain"] = int(modes.visited.min())
        told["ess_an_evaluation"] = told["reference_ess"] * len(draws) / max(taken, 1)
    return told
