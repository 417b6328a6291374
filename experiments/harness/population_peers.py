"""Samplers that give particles and no chains, each as ``sampler_peers.PEERS`` has it.

    >>> run = annealed(jax.random.key(0), continuous_targets.mog6(), 4, 1000, jnp.zeros((4, 2)))
    >>> run.draws.shape, run.is_population
    ((1, 4096, 2), True)

They start from a normal density of standard deviation ``BROAD`` and make no use of ``starts``.
"""

import functools
import importlib.util
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from experiments.harness import continuous_targets, peer_runs
from inference.mcmc import annealing

PARTICLES = 4096
BROAD = 10.0
MOVES = 10  # Metropolis steps a stage of sequential Monte Carlo
LAPS_STEPS = 500  # of either phase
LIVE, DELETED = 2000, 200  # points of nested sampling, and how many of them die at once


def log_broad(position: jax.Array) -> jax.Array:
    """The normal density from which populations start, with its constant."""
    constant = position.size * np.log(BROAD * np.sqrt(2 * np.pi))
    return -0.5 * jnp.sum((position / BROAD) ** 2) - constant


def broad(key: jax.Array, number: int, dimension: int) -> jax.Array:
    """Draws [number, dimension] of it."""
    return BROAD * jax.random.normal(key, (number, dimension))


def annealed(
    key: jax.Array, target: continuous_targets.Target, num_chains: int, num_draws: int, starts: Any
) -> peer_runs.PeerRun:
    """Our tempered sequential Monte Carlo."""

    def run(key: jax.Array) -> tuple[jax.Array, annealing.Info]:
        key_start, key_run = jax.random.split(key)
        first = broad(key_start, PARTICLES, target.dimension)
        return annealing.anneal(key_run, first, log_broad, target.log_density, num_moves=MOVES)

    (particles, info), compiling, seconds = peer_runs.timed(run, key)
    return peer_runs.PeerRun(
        np.asarray(particles)[None],
        compiling,
        seconds,
        density_evaluations=PARTICLES * (MOVES + 2) * int(info.num_stages),
        note=f"{int(info.num_stages)} stages of {MOVES} moves"
        + ("" if info.is_finished else ", not finished"),
        is_population=True,
    )


def tempered_smc(
    key: jax.Array, target: continuous_targets.Target, num_chains: int, num_draws: int, starts: Any
) -> peer_runs.PeerRun:
    """BlackJAX's adaptive tempered SMC; random walks shaped by the particles' covariance."""
    if importlib.util.find_spec("blackjax") is None:
        return peer_runs.missing(target, "BlackJAX")
    chain = _smc(target)
    (particles, stages), compiling, seconds = peer_runs.timed(
        functools.partial(_stages, chain, target.dimension), key
    )
    return peer_runs.PeerRun(
        np.asarray(particles)[None],
        compiling,
        seconds,
        density_evaluations=PARTICLES * (2 * MOVES + 2) * int(stages),
        note=f"{int(stages)} stages of {2 * MOVES} moves",
        is_population=True,
    )


def _smc(target: continuous_targets.Target) -> Any:
    """BlackJAX's SMC for the target, from the broad density."""
    import blackjax
    from blackjax.smc import extend_params, resampling

    walk = blackjax.additive_step_random_walk.build_kernel()

    def step(key: jax.Array, state: Any, log_density: Any, root: jax.Array) -> tuple[Any, Any]:
        def move(key: jax.Array, position: jax.Array) -> jax.Array:
            return root @ jax.random.normal(key, position.shape)

        return walk(key, state, log_density, move)

    def tuned(key: jax.Array, state: Any, info: Any) -> dict[str, jax.Array]:
        covariance = jnp.cov(state.particles, rowvar=False, ddof=0).reshape(
            target.dimension, target.dimension
        )
        return extend_params(
            {"root": 2.38 / target.dimension**0.5 * jnp.linalg.cholesky(covariance)}
        )

    return blackjax.inner_kernel_tuning(
        smc_algorithm=blackjax.adaptive_tempered_smc,
        logprior_fn=log_broad,
        loglikelihood_fn=lambda position: target.log_density(position) - log_broad(position),
        mcmc_step_fn=step,
        mcmc_init_fn=blackjax.additive_step_random_walk.init,
        resampling_fn=resampling.systematic,
        mcmc_parameter_update_fn=tuned,
        initial_parameter_value=extend_params({"root": BROAD * jnp.eye(target.dimension)}),
        num_mcmc_steps=2 * MOVES,
        target_ess=0.5,
    )


def _stages(chain: Any, dimension: int, key: jax.Array) -> tuple[Any, Any]:
    """Particles of BlackJAX's SMC at power 1, and after how many stages."""
    key_start, key_run = jax.random.split(key)

    def advance(carried: tuple[Any, ...]) -> tuple[Any, ...]:
        stages, key, state = carried
        key, key_step = jax.random.split(key)
        return stages + 1, key, chain.step(key_step, state)[0]

    def is_open(carried: tuple[Any, ...]) -> jax.Array:
        return (carried[2].sampler_state.tempering_param < 1) & (carried[0] < 200)

    first = chain.init(broad(key_start, PARTICLES, dimension))
    stages, _, state = jax.lax.while_loop(is_open, advance, (0, key_run, first))
    return state.sampler_state.particles, stages


def laps(
    key: jax.Array, target: continuous_targets.Target, num_chains: int, num_draws: int, starts: Any
) -> peer_runs.PeerRun:
    """BlackJAX's LAPS: many short microcanonical chains, adjusted late."""
    if importlib.util.find_spec("blackjax") is None:
        return peer_runs.missing(target, "BlackJAX")
    from blackjax import eca
    from blackjax.adaptation import laps as blackjax_laps

    mesh, seconds = jax.sharding.Mesh(jax.devices()[:1], "chains"), np.zeros(2)

    def jitted(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            found, *taken = peer_runs.timed(jax.shard_map(function, **options), *arguments)
            seconds[:] += taken
            return found

        return call

    # BlackJAX leaves it to its caller to compile them, and out of this one's reach.
    with mock.patch.object(eca, "shard_map", jitted):
        info, gradients, _, state = blackjax_laps.laps(
            target.log_density,
            lambda key: broad(key, 1, target.dimension)[0],
            target.dimension,
            LAPS_STEPS,
            LAPS_STEPS,
            PARTICLES,
            mesh,
            key,
        )
    steps = [len(info[f"phase_{one}"]["step_size"]) for one in (1, 2)]
    return peer_runs.PeerRun(
        np.asarray(state.position)[None],
        float(seconds[0]),
        float(seconds[1]),
        gradient_evaluations=PARTICLES * (steps[0] + steps[1] * 15 * gradients),
        note=f"{steps[0]} steps unadjusted, {steps[1]} adjusted ones of 15 integration steps",
        is_population=True,
    )


def nested_slices(
    key: jax.Array, target: continuous_targets.Target, num_chains: int, num_draws: int, starts: Any
) -> peer_runs.PeerRun:
    """BlackJAX's nested slice sampling; its weighted points resampled to as many particles."""
    if (
        importlib.util.find_spec("blackjax") is None
        or importlib.util.find_spec("blackjax.ns") is None
    ):
        return peer_runs.missing(target, "nested sampling of BlackJAX 1.7")
    import blackjax
    from blackjax.ns import utils

    inner = max(5, 2 * target.dimension)
    chain = blackjax.nss(
        logprior_fn=log_broad,
        loglikelihood_fn=lambda position: target.log_density(position) - log_broad(position),
        num_inner_steps=inner,
        num_delete=DELETED,
    )
    key_start, key_run, key_resample = jax.random.split(key, 3)
    init, step = jax.jit(chain.init), jax.jit(chain.step)

    def run() -> tuple[jax.Array, int]:
        state, dead, keys = init(broad(key_start, LIVE, target.dimension)), [], key_run
        while state.integrator.logZ_live - state.integrator.logZ > -3:
            keys, key_step = jax.random.split(keys)
            state, info = step(key_step, state)
            dead.append(info)
        points = utils.finalise(state, dead)
        counts = points.update_info
        taken = int((counts.num_expansions + counts.num_shrink + 2).sum())
        found = utils.sample(key_resample, points, shape=PARTICLES).position
        return jax.block_until_ready(found), taken

    (particles, taken), compiling, seconds = _twice(run)
    return peer_runs.PeerRun(
        np.asarray(particles)[None],
        compiling,
        seconds,
        density_evaluations=taken + LIVE,
        note=f"{LIVE} live points, {DELETED} die at once, {inner} slices each",
        is_population=True,
    )


def _twice(run: Callable[[], Any]) -> tuple[Any, float, float]:
    """What a call gives, the seconds by which a first one is slower, and those of the second."""
    marks = [time.perf_counter()]
    for _ in range(2):
        found = run()
        marks.append(time.perf_counter())
    first, second = np.diff(marks)
    return found, max(float(first - second), 0.0), float(second)
