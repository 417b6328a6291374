"""Other libraries' samplers on our targets, for comparisons only, and ours beside them.

    >>> target = continuous_targets.mog2()
    >>> run = PEERS["BlackJAX NUTS"](jax.random.key(0), target, 4, 100, jnp.zeros((4, 2)))
    >>> run.draws.shape, run.gradient_evaluations > 400
    ((4, 100, 2), True)

Each is ``peer(key, target, num_chains, num_draws, starts [C, D]) -> PeerRun``. What is not
installed gives a run without draws and a note that says so.
"""

import functools
import importlib.util
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.harness import (
    continuous_targets,
    independence_peer,
    peer_runs,
    population_peers,
    tempering_peers,
)

WARMUP = 500  # steps of adaptation of a chain
HMC_STEPS = 10
MCLMC_TUNING = 2000
LOCAL, GLOBAL, TRAINING_LOOPS = 10, 40, 20  # flowMC: steps of each kind in a loop

Peer = Callable[[jax.Array, continuous_targets.Target, int, int, jax.Array], peer_runs.PeerRun]


def blackjax_hmc(
    key: jax.Array, target: continuous_targets.Target, num_chains: int, num_draws: int, starts: Any
) -> peer_runs.PeerRun:
    """HMC of ten leapfrog steps with window adaptation, each chain for itself."""
    settings = {"num_integration_steps": HMC_STEPS}
    return _windowed("hmc", settings, key, target, num_chains, num_draws, starts)


def blackjax_nuts(
    key: jax.Array, target: continuous_targets.Target, num_chains: int, num_draws: int, starts: Any
) -> peer_runs.PeerRun:
    """NUTS with window adaptation, each chain for itself."""
    return _windowed("nuts", {}, key, target, num_chains, num_draws, starts)


def _windowed(
    name: str,
    settings: dict[str, Any],
    key: jax.Array,
    target: continuous_targets.Target,
    num_chains: int,
    num_draws: int,
    starts: Any,
) -> peer_runs.PeerRun:
    if importlib.util.find_spec("blackjax") is None:
        return peer_runs.missing(target, "BlackJAX")
    import blackjax

    algorithm = getattr(blackjax, name)
    adaptation = blackjax.window_adaptation(algorithm, target.log_density, **settings)

    def warm(key: jax.Array, start: jax.Array) -> tuple[Any, Any, jax.Array]:
        (state, found), told = adaptation.run(key, start, WARMUP)
        tuned = {name: found[name] for name in ("step_size", "inverse_mass_matrix")}
        return state, tuned, told.info.num_integration_steps.sum()

    def step(key: jax.Array, state: Any, tuned: Any) -> tuple[Any, jax.Array]:
        state, info = algorithm(target.log_density, **tuned, **settings).step(key, state)
        return state, info.num_integration_steps

    run = _adapted(warm, step, key, num_chains, num_draws, starts)
    return run._replace(note=f"{WARMUP} steps of window adaptation")


def blackjax_adjusted_mclmc(
    key: jax.Array, target: continuous_targets.Target, num_chains: int, num_draws: int, starts: Any
) -> peer_runs.PeerRun:
    """Metropolis-adjusted microcanonical dynamics, tuned for each chain."""
    if importlib.util.find_spec("blackjax") is None:
        return peer_runs.missing(target, "BlackJAX")
    import blackjax
    from blackjax.mcmc import adjusted_mclmc_dynamic

    lengths = adjusted_mclmc_dynamic.make_random_trajectory_length_fn(True)
    kernel = blackjax.adjusted_mclmc_dynamic.build_kernel(integration_steps_fn=lengths)

    def warm(key: jax.Array, start: jax.Array) -> tuple[Any, Any, jax.Array]:
        key_state, key_tune = jax.random.split(key)
        state = blackjax.adjusted_mclmc_dynamic.init(start, target.log_density, key_state)
        state, tuned, taken = blackjax.adjusted_mclmc_find_L_and_step_size(
            kernel, target.log_density, MCLMC_TUNING, state, key_tune, target=0.9,
            frac_tune1=0.5, frac_tune2=0.5, target_num_integration_steps=5.0,
        )  # fmt: skip
        return state, tuned, 2 * taken

    def step(key: jax.Array, state: Any, tuned: Any) -> tuple[Any, jax.Array]:
        state, info = kernel(
            key,
            state,
            target.log_density,
            tuned.step_size,
            inverse_mass_matrix=tuned.inverse_mass_matrix,
            integration_steps_params=(tuned.L / tuned.step_size,),
        )
        return state, 2 * info.num_integration_steps  # McLachlan's integrator takes two

    run = _adapted(warm, step, key, num_chains, num_draws, starts)
    return run._replace(note=f"{MCLMC_TUNING} steps of tuning, 5 integration steps a draw")


def _adapted(
    warm: Callable[[jax.Array, jax.Array], tuple[Any, Any, jax.Array]],
    step: Callable[[jax.Array, Any, Any], tuple[Any, jax.Array]],
    key: jax.Array,
    num_chains: int,
    num_draws: int,
    starts: Any,
) -> peer_runs.PeerRun:
    """Chains that first adapt, by functions of one chain that count gradients."""
    key_warm, key_draw = jax.random.split(key)

    def draws(key: jax.Array, state: Any, tuned: Any) -> tuple[jax.Array, jax.Array]:
        def one(state: Any, key: jax.Array) -> tuple[Any, tuple[jax.Array, jax.Array]]:
            state, taken = step(key, state, tuned)
            return state, (state.position, taken)

        return jax.lax.scan(one, state, jax.random.split(key, num_draws))[1]

    keys = jax.random.split(key_warm, num_chains)
    warmed, compile_warm, seconds_warm = peer_runs.timed(jax.vmap(warm), keys, jnp.asarray(starts))
    states, tuned, before = warmed
    keys = jax.random.split(key_draw, num_chains)
    found, compile_draw, seconds = peer_runs.timed(jax.vmap(draws), keys, states, tuned)
    return peer_runs.PeerRun(
        np.asarray(found[0]),
        compile_warm + compile_draw,
        seconds,
        gradient_evaluations=int(found[1].sum()),
        seconds_warmup=seconds_warm,
        warmup_evaluations=int(before.sum()),
    )


def numpyro_hmc(
    key: jax.Array, target: continuous_targets.Target, num_chains: int, num_draws: int, starts: Any
) -> peer_runs.PeerRun:
    """NumPyro's HMC of its default trajectory length, 2 pi."""
    return _numpyro("HMC", key, target, num_chains, num_draws, starts)


def numpyro_nuts(
    key: jax.Array, target: continuous_targets.Target, num_chains: int, num_draws: int, starts: Any
) -> peer_runs.PeerRun:
    """NumPyro's NUTS with its defaults."""
    return _numpyro("NUTS", key, target, num_chains, num_draws, starts)


def _numpyro(
    name: str,
    key: jax.Array,
    target: continuous_targets.Target,
    num_chains: int,
    num_draws: int,
    starts: Any,
) -> peer_runs.PeerRun:
    from numpyro.infer import hmc

    init, sample = hmc.hmc(lambda position: -target.log_density(position), algo=name)

    def step(key: jax.Array, state: Any, _: Any) -> tuple[_Moved, jax.Array]:
        after = sample(state.state)
        return _Moved(after.z, after), after.num_steps

    def warm(key: jax.Array, start: jax.Array) -> tuple[_Moved, None, jax.Array]:
        state = _Moved(start, init(start, WARMUP, rng_key=key))
        state, taken = jax.lax.scan(lambda s, _: step(key, s, None), state, None, WARMUP)
        return state, None, taken.sum()

    run = _adapted(warm, step, key, num_chains, num_draws, starts)
    return run._replace(note=f"{WARMUP} steps of warm-up")


class _Moved(NamedTuple):
    """A state of NumPyro's with a position, as those of others have."""

    position: Any
    state: Any


def flowmc(
    key: jax.Array, target: continuous_targets.Target, num_chains: int, num_draws: int, starts: Any
) -> peer_runs.PeerRun:
    """flowMC: a spline flow trained on tempered MALA chains; then its draws, and MALA between."""
    if importlib.util.find_spec("flowMC") is None:
        return peer_runs.missing(target, "flowMC")
    from flowMC import Sampler
    from flowMC.resource_strategy_bundle import RQSpline_MALA_PT

    loops = -(-num_draws // (LOCAL + GLOBAL))
    key_bundle, key_train, key_draw = jax.random.split(key, 3)
    bundle = RQSpline_MALA_PT.RQSpline_MALA_PT_Bundle(
        key_bundle, num_chains, target.dimension, lambda x, _: target.log_density(x),
        LOCAL, GLOBAL, TRAINING_LOOPS, loops, 10,
        n_temperatures=5, max_temperature=30.0, n_tempered_steps=LOCAL,
        batch_size=2000, n_max_examples=10_000,
    )  # fmt: skip
    order = bundle.strategy_order
    train, draw = np.split(np.array(order, object), [order.index("reset_steppers")])
    sampler = functools.partial(
        Sampler.Sampler, n_dim=target.dimension, n_chains=num_chains,
        strategies=bundle.strategies, checkpoint_interval=0,
    )  # fmt: skip
    trained = sampler(rng_key=key_train, resources=bundle.resources, strategy_order=list(train))
    begun = time.perf_counter()
    trained.sample(jnp.asarray(starts), {})
    seconds = [time.perf_counter() - begun]
    last = trained.resources["positions_training"].data[:, -1]
    for _ in range(2):  # the first call compiles
        drawn = sampler(rng_key=key_draw, resources=trained.resources, strategy_order=list(draw))
        begun = time.perf_counter()
        drawn.sample(last, {})
        found = jax.block_until_ready(drawn.resources["positions_production"].data)
        seconds.append(time.perf_counter() - begun)
    return peer_runs.PeerRun(
        np.asarray(found)[:, :num_draws],
        max(seconds[1] - seconds[2], 0.0),
        seconds[2],
        density_evaluations=num_chains * loops * GLOBAL,
        gradient_evaluations=num_chains * loops * LOCAL,
        note=f"{LOCAL} steps of MALA and {GLOBAL} of the flow in turns; compiled within training",
        seconds_warmup=seconds[0],
        warmup_evaluations=num_chains * TRAINING_LOOPS * (5 * LOCAL + GLOBAL),
    )


PEERS: dict[str, Peer] = {
    "BlackJAX HMC": blackjax_hmc,
    "BlackJAX NUTS": blackjax_nuts,
    "NumPyro HMC": numpyro_hmc,
    "NumPyro NUTS": numpyro_nuts,
    "adjusted microcanonical": blackjax_adjusted_mclmc,
    "LAPS": population_peers.laps,
    "tempered SMC": population_peers.tempered_smc,
    "tempered SMC, ours": population_peers.annealed,
    "nested slice sampling": population_peers.nested_slices,
    "flowMC": flowmc,
    "parallel tempering": tempering_peers.tempered,
    "independence Metropolis": independence_peer.independence,
}
