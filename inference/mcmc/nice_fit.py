"""A-NICE-MC from a log density alone: tempered seeds, training, and what to think of the result.

    >>> sampler, report = fit(jax.random.key(0), log_density, 2)
    >>> report.warnings
    ()
    >>> states = jax.vmap(sampler.init)(report.starts[:32])
    >>> states, draws = algorithm.run(jax.random.key(1), sampler, states, 1000)

The bootstrap of Song, Zhao and Ermon (NeurIPS 2017), section 4.2, trains on the chain's own draws,
and collapses without a sign where all chains begin in one mode. Here tempered sequential Monte
Carlo finds the modes first, a random walk is mixed in, training ends before the sampler is used,
and chains from opposite ends are compared with each other and with the tempered draws.
"""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from inference import limits
from inference.mcmc import (
    algorithm,
    likelihood,
    nice,
    nice_checks,
    nice_seeds,
    objectives,
    regions,
    saved_states,
)

Array = jax.Array
SNAPSHOTS = 2  # of all chains in the buffer
_SAVE_SECONDS = 30.0


class FitReport(NamedTuple):
    """How a fit went.

    Attributes:
      status: "done", "timeout" or "interrupted"; then the sampler is the one trained so far.
      seconds: wall time, compilation included.
      warnings: a line for each reason not to trust the sampler; none is no guarantee.
      starts: draws of the last round, [N, D], where chains may begin.
      losses: of each step of training.
      acceptance: of the learned moves, in each round.
      masses: of the regions among the chains after each round, [rounds, K]; the first row is that
        of the tempered seeds.
      regions: what the masses are of.
      checks: of the finished sampler.
      density_evaluations: by tempering, where each comes with its gradient, training and checks.
    """

    status: str
    seconds: float
    warnings: tuple[str, ...]
    starts: np.ndarray
    losses: np.ndarray
    acceptance: np.ndarray
    masses: np.ndarray
    regions: regions.Voronoi
    checks: nice_checks.Checks
    density_evaluations: int


class State(NamedTuple):
    """What the next round needs, and what the report tells of the last ones."""

    round: Any
    trained: Any
    chains: algorithm.State
    buffer: Array
    losses: np.ndarray
    acceptance: np.ndarray
    masses: np.ndarray


def fit(
    rng_key: Array,
    log_density: Callable[[Array], Array],
    dimension: int,
    *,
    objective: objectives.Training | None = None,
    starts: Any = None,
    scale: float = 10.0,
    num_chains: int = 4096,
    local_share: float = 0.1,
    checkpoint: str | Path | None = None,
    timeout: float | None = None,
) -> tuple[algorithm.SamplingAlgorithm, FitReport]:
    """Trains a sampler; its draws claim ``ASYMPTOTIC``, whatever training came to.

    Equal keys give equal samplers. A fit that was stopped goes on from its checkpoint, and ends as
    an unbroken one does, bit for bit.

    Args:
      rng_key: consumed.
      log_density: of a position [D], unnormalised, in nats; JAX differentiates it, as tempering
        moves along its gradient. A gradient that is not finite counts as 0.
      dimension: D.
      objective: how the bijection is trained and for how many rounds; by default
        ``likelihood.maximum_likelihood``.
      starts: where the caller's chains begin, [C, D]: checked, and the middle of the search.
      scale: standard deviation of the normal density that half of tempering starts from, the other
        half from twice as much; modes outside may be missed.
      num_chains: N, of training; all take a step after each round, which refills the buffer.
      local_share: of the random walk in the sampler.
      checkpoint: a folder that holds the state, written now and then and at the end.
      timeout: seconds for tempering and training; only training is cut.

    Raises:
      ValueError: ``starts`` are not [C, D], no seed has a positive density, or the checkpoint is of
        another fit.
    """
    deadline = limits.Deadline.after(timeout)
    chosen = objective or likelihood.maximum_likelihood(dimension)
    key_seeds, key_init, key_rounds, key_checks = jax.random.split(rng_key, 4)
    middle = nice_seeds.middle(starts, dimension)
    seeds = nice_seeds.temper(key_seeds, log_density, middle, scale, num_chains)
    found = regions.find(np.asarray(seeds.positions))
    width = jnp.asarray(regions.widths(found, np.asarray(seeds.positions)), middle.dtype)
    width = width / np.sqrt(dimension)
    state = _init(key_init, chosen, seeds, found)
    if checkpoint is not None and Path(checkpoint).exists():
        state = saved_states.restore(checkpoint, state)
    turn = functools.partial(_turn, log_density, chosen, width)
    advance = _rounds(key_rounds, turn, found, checkpoint)
    state, status = _train(advance, state, chosen.num_rounds, deadline)
    if checkpoint is not None:
        saved_states.save(checkpoint, state)
    trained, chains = state.trained, state.chains.position
    draw = functools.partial(_frozen, log_density, chosen, local_share, width, trained)
    done = nice_checks.check(key_checks, draw, chains, seeds, found)
    at, masses = int(state.round), state.masses[: int(state.round) + 1]
    spent = (
        int(seeds.density_evaluations) + at * num_chains + 2 * nice_checks.ENDS * nice_checks.DRAWS
    )
    report = FitReport(
        status,
        deadline.seconds,
        nice_checks.warnings(done, masses, starts, np.asarray(chains)),
        np.asarray(chains),
        state.losses[:at].reshape(-1),
        state.acceptance[:at],
        masses,
        found,
        done,
        spent,
    )
    return _sampler(log_density, chosen, local_share, width, trained), report


def _sampler(
    log_density: Callable[[Array], Array],
    objective: objectives.Training,
    local_share: float,
    width: Array,
    trained: Any,
) -> algorithm.SamplingAlgorithm:
    bijection = objective.bijection(trained)
    return nice.nice(log_density, bijection, local_share=local_share, local_scale=width)


# Jitted here and not for each fit: equal densities and objectives compile once.
@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _frozen(*arguments: Any) -> tuple[Array, nice.Info]:
    """Positions [C, T, D] and what each step tells, from the arguments of ``_sampler``, a key and
    starts [C, D]."""
    *made, rng_key, starts = arguments
    sampler = _sampler(*made)
    states = jax.vmap(sampler.init)(starts)
    return algorithm.run(
        rng_key,
        sampler,
        states,
        nice_checks.DRAWS,
        collect=lambda state, info: (state.position, info),
    )[1]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _turn(
    log_density: Callable[[Array], Array],
    objective: objectives.Training,
    width: Array,
    rng_key: Array,
    trained: Any,
    chains: algorithm.State,
    buffer: Array,
) -> tuple[Any, algorithm.State, Array, Array, Array]:
    """Training, then a step of all chains, whose positions replace the oldest of the buffer."""
    key_train, key_step = jax.random.split(rng_key)
    trained, losses = objective.advance(key_train, trained, buffer)
    kernel = _sampler(log_density, objective, 0.5, width, trained)
    keys = jax.random.split(key_step, len(chains.position))
    chains, told = jax.vmap(kernel.step)(keys, chains)
    buffer = jnp.concatenate([buffer[len(chains.position) :], chains.position])
    return trained, chains, buffer, losses, jnp.mean(told.acceptance_rate, where=~told.is_local)


def _init(
    rng_key: Array,
    objective: objectives.Training,
    seeds: nice_seeds.Seeds,
    found: regions.Voronoi,
) -> State:
    trained = objective.init(rng_key, seeds.positions)
    chains = algorithm.State(seeds.positions, seeds.log_densities)
    losses = jax.eval_shape(objective.advance, rng_key, trained, seeds.positions)[1]
    rounds = objective.num_rounds
    masses = np.full((rounds + 1, len(found.centres)), np.nan)
    masses[0] = found.masses(np.asarray(seeds.positions))
    blank = np.full((rounds, *losses.shape), np.nan), np.full(rounds, np.nan)
    buffer = jnp.concatenate([seeds.positions] * SNAPSHOTS)
    return State(0, trained, chains, buffer, *blank, masses)


def _rounds(
    rng_key: Array, turn: Callable, found: regions.Voronoi, checkpoint: str | Path | None
) -> Callable[[State], State]:
    """One round after another; the state is saved now and then."""
    saved = time.monotonic()

    def advance(state: State) -> State:
        nonlocal saved
        at = int(state.round)
        trained, chains, buffer, losses, rate = turn(jax.random.fold_in(rng_key, at), *state[1:4])
        history = [one.copy() for one in state[4:]]
        history[0][at], history[1][at] = losses, rate
        history[2][at + 1] = found.masses(np.asarray(chains.position))
        state = State(at + 1, trained, chains, buffer, *history)
        if checkpoint is not None and time.monotonic() > saved + _SAVE_SECONDS:
            saved_states.save(checkpoint, state)
            saved = time.monotonic()
        return state

    return advance


def _train(
    advance: Callable[[State], State], state: State, rounds: int, deadline: limits.Deadline
) -> tuple[State, str]:
    """Rounds until all are done or the time is over, under a bar on terminals."""
    begun = int(state.round)
    with tqdm.tqdm(total=rounds, initial=begun, desc="training", leave=False, disable=None) as bar:

        def shown(state: State) -> State:
            state = advance(state)
            at = int(state.round) - 1
            told = {"loss": np.mean(state.losses[at]), "acceptance": state.acceptance[at]}
            bar.set_postfix({name: f"{one:.3g}" for name, one in told.items()}, refresh=False)
            bar.update()
            return state

        return limits.run_until(shown, state, lambda one: int(one.round) >= rounds, deadline)
