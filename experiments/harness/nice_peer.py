"""A-NICE-MC on our targets, trained from the log density alone, as a run among its peers.

>>> objective = likelihood.maximum_likelihood(2, num_rounds=2, steps_per_round=5)
>>> trained = train(jax.random.key(0), continuous_targets.mog2(), objective)
>>> run = trained.draw(jax.random.key(1), trained.report.starts[:4], 100)
>>> run.draws.shape, run.density_evaluations
((4, 100, 2), 400)
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np

from experiments.harness import continuous_targets, peer_runs
from inference.mcmc import algorithm, nice_fit, objectives

COMPILING = tuple(
    f"/jax/core/compile/{part}_duration" for part in ("jaxpr_to_mlir_module", "backend_compile")
)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A sampler, how its training went, and the seconds of that in which programs compiled."""

    sampler: algorithm.SamplingAlgorithm
    report: nice_fit.FitReport
    seconds_compile: float

    def draw(self, key: jax.Array, starts: Any, num_draws: int) -> peer_runs.PeerRun:
        """Chains from such starts [C, D]; those of the report are draws of the last round."""

        def run(key: jax.Array, starts: jax.Array) -> jax.Array:
            states = jax.vmap(self.sampler.init)(starts)
            return algorithm.run(key, self.sampler, states, num_draws)[1]

        draws, compiling, seconds = peer_runs.timed(run, key, jnp.asarray(starts))
        learned = np.append(np.nan, self.report.acceptance)[-1]
        return peer_runs.PeerRun(
            np.asarray(draws),
            self.seconds_compile + compiling,
            seconds,
            density_evaluations=len(starts) * num_draws,
            note=f"{len(self.report.acceptance)} rounds, acceptance {learned:.2f}",
            seconds_warmup=self.report.seconds - self.seconds_compile,
            warmup_evaluations=self.report.density_evaluations,
        )


def train(
    key: jax.Array,
    target: continuous_targets.Target,
    objective: objectives.Training,
    **options: Any,
) -> Trained:
    """A sampler of the target; ``options`` are those of ``nice_fit.fit``."""
    with _compilation() as seconds:
        sampler, report = nice_fit.fit(
            key, target.log_density, target.dimension, objective=objective, **options
        )
    return Trained(sampler, report, sum(seconds))


@contextlib.contextmanager
def _compilation() -> Iterator[list[float]]:
    """Collects the seconds that JAX spends on compilation meanwhile."""
    taken: list[float] = []

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        if event in COMPILING:
            taken.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield taken
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
