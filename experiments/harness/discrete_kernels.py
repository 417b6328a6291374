"""Discrete samplers by name, and what a run of one on a model shows.

>>> model = discrete_models.torus(4)
>>> row = measure(jax.random.key(0), Job(model, "Langevin", thin=4, draws=100, chains=32))
>>> row["variables"], row["acceptance"] > 0.4
(16, True)
"""

import functools
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.harness import discrete_models
from inference.mcmc import (
    algorithm,
    diagnostics,
    discrete_targets,
    gibbs,
    informed,
    rank_statistics,
)
from inference.problems import factor_graph

TUNING = 300  # steps in which a step size is found


class Kernel(NamedTuple):
    """How a sampler is run.

    Attributes:
      make: the chain of a graph and a step size.
      thin: steps of a draw, by the number of variables.
      passes: over all factors in one step.
      only_lattices: whether it wants equal couplings that attract.
      has_step_size: whether a warm-up tunes it.
    """

    make: Callable[[factor_graph.FactorGraph, Any], algorithm.SamplingAlgorithm]
    thin: Callable[[int], int] = lambda variables: 1
    passes: int = 1
    only_lattices: bool = False
    has_step_size: bool = False


KERNELS = {
    "Gibbs": Kernel(lambda graph, _: gibbs.gibbs(graph)),
    "Gibbs with gradients": Kernel(
        lambda graph, _: informed.gibbs_with_gradients_of_graph(graph),
        thin=lambda variables: 1 + variables // 4,
        passes=2,
    ),
    "Langevin": Kernel(
        informed.langevin_of_graph, thin=lambda variables: 4, passes=2, has_step_size=True
    ),
}


class Job(NamedTuple):
    """A model, a kernel by its name, and how long it runs.

    Attributes:
      thin: steps of a draw.
      draws: of a chain that are kept, after as many that are not.
      chains: side by side, from uniform starts.
      exact: mean energy in nats, where it is known.
      side: of a torus, else 0.
    """

    model: discrete_models.Model
    kernel: str
    thin: int
    draws: int
    chains: int
    exact: float = math.nan
    side: int = 0


class Draws(NamedTuple):
    """What is kept of the draws, each [C, T]: energy in nats, magnetisation, acceptance."""

    energy: Any
    magnetisation: Any
    acceptance: Any


def measure(key: jax.Array, job: Job) -> dict[str, Any]:
    """Runs a job; what depends on the clock begins with ``seconds``.

    The error of the mean energy is that of the means of the chains, which are independent.
    Effective sample sizes are of all chains together; the autocorrelation time, in steps, is half
    of the draws over those that the plain mean of the squared magnetisation, else the energy, is
    worth.
    """
    key_start, key_tune, key_warm, key_run = jax.random.split(key, 4)
    graph = job.model.graph
    shape = (job.chains, graph.num_variables)
    positions = jax.random.randint(key_start, shape, 0, jnp.asarray(graph.num_states)[None])
    step_size = _tuned(key_tune, job, positions)
    begun = time.perf_counter()
    states = jax.jit(jax.vmap(KERNELS[job.kernel].make(graph, step_size).init))(positions)
    compiled = jax.jit(functools.partial(_run, job)).lower(key_warm, states, step_size).compile()
    built = time.perf_counter()
    states, _ = jax.block_until_ready(compiled(key_warm, states, step_size))
    warm = time.perf_counter()
    _, draws = jax.block_until_ready(compiled(key_run, states, step_size))
    seconds = time.perf_counter() - warm
    row = _row(job, Draws(*(np.asarray(one, np.float64) for one in draws)), float(step_size))
    rates = {f"seconds_rate_{of}": row[f"ess_{of}"] / seconds for of in ("energy", "magnetisation")}
    return row | {"seconds_run": seconds, "seconds_compile": built - begun} | rates


def _run(job: Job, key: jax.Array, states: Any, step_size: jax.Array) -> tuple[Any, Draws]:
    graph, order = job.model.graph, job.model.order
    log_density = discrete_targets.log_density(graph)

    def look(state: Any, info: Any) -> Draws:
        position = state.position
        value = jnp.nan
        if order is not None:
            value = jnp.sum(jnp.asarray(order)[np.arange(len(order)), position])
        return Draws(-log_density(position), value, getattr(info, "acceptance_rate", 1.0))

    chain = KERNELS[job.kernel].make(graph, step_size)
    return algorithm.run(key, chain, states, job.draws, thin=job.thin, collect=look)


def _tuned(key: jax.Array, job: Job, positions: jax.Array) -> jax.Array:
    """The step size found in a warm-up, NaN where there is none."""
    kernel = KERNELS[job.kernel]
    if not kernel.has_step_size:
        return jnp.asarray(jnp.nan)
    make = functools.partial(kernel.make, job.model.graph)

    def tune(key: jax.Array, positions: jax.Array) -> jax.Array:
        states = jax.vmap(make(1.0).init)(positions)
        return informed.tune_langevin(key, make, states, TUNING)[1]

    return jax.jit(tune)(key, positions)


def _row(job: Job, draws: Draws, step_size: float) -> dict[str, Any]:
    means = draws.energy.mean(axis=1)
    total = job.draws * job.chains
    slow = draws.energy if job.model.order is None else draws.magnetisation**2
    ess = float(diagnostics.ess_bulk(draws.energy))
    return {
        "model": job.model.name,
        "kernel": job.kernel,
        "variables": job.model.graph.num_variables,
        "side": job.side,
        "chains": job.chains,
        "draws": job.draws,
        "thin": job.thin,
        "acceptance": draws.acceptance.mean(),
        "step_size": step_size,
        "exact_energy": job.exact,
        "mean_energy": means.mean(),
        "energy_error": means.std(ddof=1) / math.sqrt(job.chains),
        "ess_energy": ess,
        "ess_magnetisation": float(diagnostics.ess_bulk(draws.magnetisation)),
        "passes_per_effective_draw": KERNELS[job.kernel].passes * job.thin * total / ess,
        "autocorrelation": job.thin * total / float(rank_statistics.ess_mean(slow)) / 2,
    }
