"""Discrete samplers by name, and what a run of one on a model shows.

>>> model = discrete_models.torus(4)
>>> row = measure(jax.random.key(0), KernelJob(model, "Langevin", thin=4, draws=100, chains=32))
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
    swendsen_wang,
)
from inference.problems import factor_graph

TUNING = 300  # steps in which a step size is found


class Kernel(NamedTuple):
    """How a sampler is run.

    Attributes:
      make: the chain of a graph and a step size.
      thin: steps of a draw, by the number of variables.
      passes: over all factors in one step, by the number of variables and of states.
      only_pairs: whether it wants factors of two variables.
      has_step_size: whether a warm-up tunes it.
    """

    make: Callable[[factor_graph.FactorGraph, Any], algorithm.SamplingAlgorithm]
    thin: Callable[[int], int] = lambda variables: 1
    passes: Callable[[int, int], int] = lambda variables, states: 1
    only_pairs: bool = False
    has_step_size: bool = False


def takes(kernel: Kernel, graph: factor_graph.FactorGraph) -> bool:
    """Whether a kernel is made for a graph."""
    return not kernel.only_pairs or all(one.variables.shape[1] == 2 for one in graph.groups)


def _by_site(graph: factor_graph.FactorGraph, _: Any) -> algorithm.SamplingAlgorithm:
    return gibbs.gibbs_of_log_density(discrete_targets.log_density(graph), graph.num_states)


KERNELS = {
    "Gibbs": Kernel(lambda graph, _: gibbs.gibbs(graph)),
    "Swendsen-Wang": Kernel(lambda graph, _: swendsen_wang.swendsen_wang(graph), only_pairs=True),
    "Wolff": Kernel(
        lambda graph, _: swendsen_wang.wolff(graph), lambda variables: 4, only_pairs=True
    ),
    "Gibbs by evaluations": Kernel(_by_site, passes=lambda variables, states: variables * states),
    "Gibbs with gradients": Kernel(
        lambda graph, _: informed.gibbs_with_gradients_of_graph(graph),
        lambda variables: 1 + variables // 8,
        lambda variables, states: 2,
    ),
    "Langevin": Kernel(
        informed.langevin_of_graph,
        lambda variables: 4,
        lambda variables, states: 2,
        has_step_size=True,
    ),
}


class KernelJob(NamedTuple):
    """A model, a kernel by its name, and how long it runs.

    Attributes:
      thin: steps of a draw.
      draws: of a chain that are kept.
      chains: side by side.
      exact: mean energy in nats, where it is known.
      side: of a torus, else 0.
    """

    model: discrete_models.DiscreteTarget
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


def measure(
    key: jax.Array, job: KernelJob, starts: jax.Array | None = None
) -> tuple[dict[str, Any], jax.Array]:
    """Runs a job and tells of it; what depends on the clock begins with ``seconds``.

    The error of the mean energy is that of the means of the chains, which are independent.
    Effective sample sizes are of all chains together. The autocorrelation time, in steps, is half
    of the draws over those that the plain mean of the squared magnetisation, else the energy, is
    worth.

    Args:
      starts: positions [C, V] drawn from the model; by default uniform ones, and as many draws as
        are kept are made before.

    Returns:
      What was found by name, and the last positions.
    """
    key_start, key_tune, *keys = jax.random.split(key, 4)
    keys_warm, keys_run = (jax.random.split(one, job.chains) for one in keys)
    sizes = np.asarray(job.model.graph.num_states)[None]
    uniform = jax.random.randint(key_start, (job.chains, sizes.size), 0, sizes, np.int32)
    step_size = _tuned(key_tune, job, uniform)
    begun = time.perf_counter()
    compiled = jax.jit(functools.partial(_run, job)).lower(keys_warm, uniform, step_size).compile()
    built = time.perf_counter() - begun
    if starts is None:
        starts, _ = jax.block_until_ready(compiled(keys_warm, uniform, step_size))
    begun = time.perf_counter()
    positions, draws = jax.block_until_ready(compiled(keys_run, starts, step_size))
    seconds = time.perf_counter() - begun
    row = _row(job, Draws(*(np.asarray(one, np.float64) for one in draws)), float(step_size))
    rates = {f"seconds_rate_{of}": row[f"ess_{of}"] / seconds for of in ("energy", "magnetisation")}
    return row | {"seconds_run": seconds, "seconds_compile": built} | rates, positions


def _run(
    job: KernelJob, keys: jax.Array, positions: jax.Array, step_size: jax.Array
) -> tuple[jax.Array, Draws]:
    """Last positions and draws of chains of given keys [C]; splits are most of what compiles."""
    graph, order = job.model.graph, job.model.order
    log_density = discrete_targets.log_density(graph)
    chain = KERNELS[job.kernel].make(graph, step_size)

    def once(carry: Any, _: None) -> tuple[Any, jax.Array]:
        state, key = carry
        key, key_step = jax.random.split(key)
        state, info = chain.step(key_step, state)
        return (state, key), jnp.asarray(getattr(info, "acceptance_rate", 1.0))

    def draw(carry: Any, _: None) -> tuple[Any, Draws]:
        carry, acceptances = jax.lax.scan(once, carry, length=job.thin)
        position, magnetisation = carry[0].position, jnp.asarray(jnp.nan)
        if order is not None:
            magnetisation = jnp.asarray(order)[np.arange(len(order)), position].sum()
        return carry, Draws(-log_density(position), magnetisation, acceptances.mean())

    def one(key: jax.Array, position: jax.Array) -> tuple[jax.Array, Draws]:
        carry, draws = jax.lax.scan(draw, (chain.init(position), key), length=job.draws)
        return carry[0].position, draws

    return jax.vmap(one)(keys, positions)


def _tuned(key: jax.Array, job: KernelJob, positions: jax.Array) -> jax.Array:
    """The step size found in a warm-up, NaN where there is none."""
    kernel = KERNELS[job.kernel]
    if not kernel.has_step_size:
        return jnp.asarray(jnp.nan)
    make = functools.partial(kernel.make, job.model.graph)

    def tune(key: jax.Array, positions: jax.Array) -> jax.Array:
        states = jax.vmap(make(1.0).init)(positions)
        return informed.tune_langevin(key, make, states, TUNING)[1]

    return jax.jit(tune)(key, positions)


def _row(job: KernelJob, draws: Draws, step_size: float) -> dict[str, Any]:
    means = draws.energy.mean(axis=1)
    total = job.draws * job.chains
    slow = draws.energy if job.model.order is None else draws.magnetisation**2
    ess = float(diagnostics.ess_bulk(draws.energy))
    passes = KERNELS[job.kernel].passes(*job.model.graph.log_unary.shape)
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
        "rhat_energy": float(diagnostics.rhat(draws.energy)),
        "rhat_magnetisation": float(diagnostics.rhat(draws.magnetisation)),
        "passes_per_effective_draw": passes * job.thin * total / ess,
        "autocorrelation": job.thin * total / float(rank_statistics.ess_mean(slow)) / 2,
    }
