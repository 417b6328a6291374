"""Parallel tempering, tuned for a target to the most effective draws an evaluation.

    >>> Setting("walk", temperatures=3, moves=2, lowest=0.05, first=1.0, last=8.0).evaluations
    6

``tune_tempering`` looks for such a setting; ``tempered`` is a peer of ``sampler_peers.PEERS``.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from experiments.harness import continuous_targets, peer_runs
from inference.mcmc import algorithm, diagnostics, mala, random_walk, tempering

BURN_IN = 500


@dataclasses.dataclass(frozen=True)
class Setting:
    """How a target is tempered."""

    kernel: str
    """``walk`` or ``mala``."""
    temperatures: int
    """How many, R."""
    moves: int
    """Of every chain before a round of swaps."""
    lowest: float
    """The last power of the density."""
    first: float
    """Scale of the steps at power 1; for MALA the square root of twice the step size."""
    last: float
    """The same at the last power; in between geometric in the power."""

    @property
    def evaluations(self) -> int:
        """Densities, or gradients, a draw."""
        return self.temperatures * self.moves


class Tuned(NamedTuple):
    """What ``tune_tempering`` found.

    Attributes:
      setting: the best.
      ess_an_evaluation: its ``settled_ess`` by evaluations, measured anew.
      tried: of every setting the same, as measured while searching.
    """

    setting: Setting
    ess_an_evaluation: float
    tried: dict[Setting, float]


def tune_tempering(
    key: jax.Array,
    target: continuous_targets.Target,
    *,
    kernels: Sequence[str] = ("walk", "mala"),
    temperatures: Sequence[int] = range(2, 9),
    most_moves: int = 5,
    num_chains: int = 128,
    num_draws: int = 1000,
    num_rounds: int = 3,
) -> Tuned:
    """The setting of most ``settled_ess`` an evaluation, of chains that start from the target.

    For each kernel and number of temperatures the lowest power, the scales and the moves change one
    after the other by factors for as long as it pays, from small first steps and from steps as wide
    as the target. Each setting has its own ladder of equal rejection rates.

    Args:
      num_rounds: how often they all change at most.
    """
    key_start, key_search, key_final = jax.random.split(key, 3)
    starts = target.sample(key_start, num_chains)
    tried: dict[Setting, float] = {}
    pairs = [(kernel, number) for kernel in kernels for number in temperatures]
    measures = {kernel: _measure(target, kernel, num_draws) for kernel in kernels}

    def value(setting: Setting) -> float:
        if setting not in tried:
            tried[setting] = _rate(key_search, target, setting, starts, measures[setting.kernel])
        return tried[setting]

    width = float(np.mean(target.standard_deviation))
    cases = [(*pair, first) for pair in pairs for first in (width / 4, width)]
    for kernel, number, first in tqdm.tqdm(cases, "tempering", leave=False, disable=None):
        best = Setting(kernel, number, 1, 0.05, first, width)
        for _ in range(num_rounds):
            before = value(best)
            for neighbours in (_lows, _firsts, _lasts, functools.partial(_moves, most_moves)):
                best = _climb(best, neighbours, value)
            if value(best) <= 1.02 * before:
                break
    best = max(tried, key=lambda setting: tried[setting])
    again = [
        _rate(key, target, best, starts, measures[best.kernel])
        for key in jax.random.split(key_final, 4)
    ]
    return Tuned(best, float(np.mean(again)), tried)


def tempered(
    key: jax.Array, target: continuous_targets.Target, num_chains: int, num_draws: int, starts: Any
) -> peer_runs.PeerRun:
    """Parallel tempering as ``SETTINGS`` has it, tuned here for a target that it does not have."""
    key_tune, key_ladder, key_warm, key_draw = jax.random.split(key, 4)
    begun, setting = time.perf_counter(), SETTINGS.get(target.name)
    if setting is None:
        few: dict[str, Any] = {"temperatures": (2, 4, 8), "num_rounds": 1}
        setting = tune_tempering(key_tune, target, **few).setting
    geometric, scales = (
        np.geomspace(1.0, setting.lowest, setting.temperatures),
        (setting.first, setting.last),
    )
    build = builder(target, setting.kernel, setting.lowest, scales, setting.moves)
    options: dict[str, Any] = {"of_state": lambda state: state.log_density}
    ladder = tempering.adapt_ladder(
        key_ladder, build, target.log_density, geometric, jnp.asarray(starts), **options
    )
    adapted = time.perf_counter() - begun
    chain = tempering.parallel_tempering(build, target.log_density, ladder.betas, **options)

    def warm(key: jax.Array, starts: jax.Array) -> Any:
        return algorithm.run(key, chain, jax.vmap(chain.init)(starts), 1, thin=BURN_IN)[0]

    def draws(key: jax.Array, states: Any) -> jax.Array:
        return algorithm.run(key, chain, states, num_draws)[1]

    states, compile_warm, seconds_warm = peer_runs.timed(warm, key_warm, jnp.asarray(starts))
    found, compile_draw, seconds = peer_runs.timed(draws, key_draw, states)
    taken = num_chains * setting.evaluations
    is_walk = setting.kernel == "walk"
    return peer_runs.PeerRun(
        np.asarray(found),
        compile_warm + compile_draw,
        seconds,
        density_evaluations=taken * num_draws if is_walk else 0,
        gradient_evaluations=0 if is_walk else taken * num_draws,
        note=f"{setting.temperatures} temperatures from {setting.lowest}, {setting.moves} moves of "
        f"{setting.kernel}, scales {setting.first:.2g} to {setting.last:.2g}",
        seconds_warmup=adapted + seconds_warm,
        warmup_evaluations=taken * (BURN_IN + 8 * 200),
    )


def builder(
    target: continuous_targets.Target, kernel: str, lowest: Any, scales: Any, moves: Any
) -> Callable[[Any], algorithm.SamplingAlgorithm]:
    """From a power to so many moves at it; the scales [2] are those at the ends of the ladder."""

    def build(beta: Any) -> algorithm.SamplingAlgorithm:
        share = jnp.log(beta) / jnp.log(lowest)
        scale = scales[0] ** (1 - share) * scales[1] ** share
        if kernel == "walk":
            one = random_walk.random_walk(target.log_density, scale, beta)
        else:
            one = mala.mala(target.log_density, scale**2 / 2, beta)

        def step(key: jax.Array, state: Any) -> tuple[Any, None]:
            def again(number: Any, state: Any) -> Any:
                return one.step(jax.random.fold_in(key, number), state)[0]

            return jax.lax.fori_loop(0, moves, again, state), None

        return algorithm.SamplingAlgorithm(one.init, step)

    return build


def _measure(
    target: continuous_targets.Target, kernel: str, num_draws: int
) -> Callable[..., tuple[jax.Array, jax.Array, Any]]:
    """Jitted: draws [C, T, D], acceptances [R - 1] and last states; one program for each R."""

    @jax.jit
    def measure(
        key: jax.Array, betas: jax.Array, scales: jax.Array, moves: jax.Array, positions: Any
    ) -> tuple[jax.Array, jax.Array, Any]:
        build = builder(target, kernel, betas[-1], scales, moves)
        chain = tempering.parallel_tempering(
            build, target.log_density, betas, of_state=lambda state: state.log_density
        )
        states, (draws, acceptance) = algorithm.run(
            key,
            chain,
            jax.vmap(chain.init)(positions),
            num_draws,
            collect=lambda state, info: (state.position, info.swap_acceptance),
        )
        return draws, acceptance[:, num_draws // 2 :].mean((0, 1)), states.position

    return measure


def _rate(
    key: jax.Array,
    target: continuous_targets.Target,
    setting: Setting,
    starts: jax.Array,
    measure: Callable[..., tuple[jax.Array, jax.Array, Any]],
) -> float:
    """``settled_ess`` an evaluation, with a ladder that was adapted to the setting."""
    betas, positions = np.geomspace(1.0, setting.lowest, setting.temperatures), starts
    arguments = jnp.array([setting.first, setting.last]), jnp.asarray(setting.moves)
    for key_round in jax.random.split(key, 3 if setting.temperatures > 2 else 1):
        ladder = jnp.asarray(betas, jnp.result_type(float))
        draws, acceptance, positions = measure(key_round, ladder, *arguments, positions)
        betas = tempering.equalised(betas, 1 - np.asarray(acceptance, float))
    return settled_ess(target, draws) / (draws.shape[1] * setting.evaluations)


def settled_ess(target: continuous_targets.Target, draws: Any) -> float:
    """The reference ESS of chains [C, T, D], but no more than the spread of their means allows.

    It adds correlations up to the first that is small. Where temperatures are nearly equal, walkers
    take turns at the first, and their own correlations come after many small ones.
    """
    statistic = np.asarray(target.statistic(jnp.asarray(draws)), np.float64)
    variance = target.standard_deviation**2
    spread = np.mean((statistic.mean(axis=1) - target.mean) ** 2, axis=0)
    reference = diagnostics.reference_ess(statistic, target.mean, variance)
    return min(reference, float(np.min(variance / spread)))


def _climb(
    best: Setting,
    neighbours: Callable[[Setting], list[Setting]],
    value: Callable[[Setting], float],
) -> Setting:
    """The setting from which no neighbour is better."""
    while True:
        other = max(neighbours(best), key=value, default=best)
        if value(other) <= value(best):
            return best
        best = other


def _lows(setting: Setting) -> list[Setting]:
    lows = [setting.lowest / 2, setting.lowest * 2]
    return [dataclasses.replace(setting, lowest=low) for low in lows if 1e-3 < low < 0.9]


def _firsts(setting: Setting) -> list[Setting]:
    return [dataclasses.replace(setting, first=setting.first * one) for one in (0.625, 1.6)]


def _lasts(setting: Setting) -> list[Setting]:
    return [dataclasses.replace(setting, last=setting.last * one) for one in (0.625, 1.6)]


def _moves(most: int, setting: Setting) -> list[Setting]:
    moves = [setting.moves - 1, setting.moves + 1]
    return [dataclasses.replace(setting, moves=one) for one in moves if 1 <= one <= most]


# Of most ``settled_ess`` an evaluation, found by ``tune_tempering``, rounded. On mog6 two to six
# temperatures are as good as each other there, and the jumps from mode to mode that steps of this
# scale make at power 1 do about as much as swaps.
SETTINGS = {
    "ring": Setting("walk", 2, 1, 0.2, 2.4, 2.3),
    "mog2": Setting("walk", 4, 1, 0.0125, 0.43, 7.1),
    "mog6": Setting("walk", 5, 1, 0.1, 5.7, 3.6),
    "ring5": Setting("walk", 2, 1, 0.2, 3.2, 2.0),
}
