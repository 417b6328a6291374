"""Draws from a factor graph by any kernel: starts, warm-up, thinning, limits, and doubts.

    >>> grid = generators.ising_grid(4, 4, 0.3)
    >>> drawn, info = draw(grid, lambda graph, *_: gibbs.gibbs(graph), num_samples=100)
    >>> str(drawn), info.converged
    ('100 samples, asymptotic, not independent', True)

Several chains run side by side from starts apart, in rounds. In each round as many states are
recorded as in the others, twice as far from each other as in the round before; the rounds before
are its warm-up, half of all steps. It ends where the chains of a round agree, so neither warm-up
nor thinning have to be chosen, and no more than two rounds are kept.

What is looked at are the energy and up to ``WATCHED`` variables. Chains that agree may all have
missed the same thing: the claim is ASYMPTOTIC, whatever they say.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from inference import limits, randomness, samples
from inference.mcmc import algorithm, diagnostics, discrete_targets, rank_statistics, starts
from inference.problems import factor_graph

RECORDS = 256  # states that a chain records in a round, or more where more are asked for
WATCHED = 1024  # variables, evenly spaced, whose R-hat and effective sample sizes are taken
_ENTRIES = 2**24  # of their chains, 128 MiB

#: ``prepare(graph, rng_key, positions)``: the kernel of a graph; it may try chains from int [C, V].
Prepare = Callable[[factor_graph.FactorGraph, jax.Array, jax.Array], algorithm.SamplingAlgorithm]


class Info(NamedTuple):
    """How the draws came about.

    Attributes:
      status: "done", "timeout" or "interrupted".
      seconds: wall time, compilation included.
      converged: whether chains agree after a warm-up: R-hat is at most 1.01, the effective sample
        size at least 400.
      iterations: steps that each chain has made.
      ess: the least bulk effective sample size of a variable or the energy, over ``num_records``.
      rhat: the largest rank-normalised split R-hat; with ``ess`` NaN where nothing has moved.
      acceptance: mean chance to accept a proposal, or a swap; NaN for kernels that reject none.
      num_chains: C.
      num_records: states that were recorded, of which the samples are a part, evenly spaced.
      num_frozen: variables of several states that have one state in all records.
      message: what else there is to know.
    """

    status: str
    seconds: float
    converged: bool
    iterations: int = 0
    ess: float = math.nan
    rhat: float = math.nan
    acceptance: float = math.nan
    num_chains: int = 0
    num_records: int = 0
    num_frozen: int = 0
    message: str = ""


class Records(NamedTuple):
    """What the chains of a round have recorded: ``filled`` of R rows are.

    Attributes:
      states: [R, C, V], of the smallest type.
      log_densities: in nats [R, C].
      acceptance: [R], mean over chains and steps.
    """

    states: np.ndarray
    log_densities: np.ndarray
    acceptance: np.ndarray
    filled: int = 0

    @property
    def is_whole(self) -> bool:
        return self.filled == len(self.states)


class State(NamedTuple):
    """Where a run is: the chains, what this round has recorded, and what the round before had."""

    chains: Any
    now: Records
    before: Records | None
    thin: int
    iterations: int
    settled: bool


def draw(
    graph: factor_graph.FactorGraph,
    prepare: Prepare,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    num_samples: int = 1000,
    num_chains: int = 8,
    iterations: int = 2**15,
) -> tuple[samples.Samples, Info]:
    """Samples of a graph, integer [N, V], by chains of a kernel.

    Args:
      graph: it may have hard zeros, clauses and parities, as far as the kernel takes them.
      prepare: makes the kernel.
      seed: of the starts and of all draws.
      timeout: seconds, looked at between records; compilation is not interrupted. Then there are
        those samples that have been recorded, none at worst.
      memory: mebibytes that tables and records may take.
      num_samples: N.
      num_chains: C.
      iterations: steps of a chain after which no other round begins; the second always does.

    Raises:
      ValueError: every assignment has weight 0, more memory is needed, or a number is out of range.
    """
    deadline = limits.Deadline.after(timeout)
    for name, given, least in (("num_samples", num_samples, 0), ("num_chains", num_chains, 1)):
        if given < least:
            raise ValueError(f"expected {name} of at least {least}, given {given}")
    length = max(RECORDS, math.ceil(num_samples / num_chains))
    limits.require_memory(_octets(graph, length * num_chains), memory, "tables and records")
    begin = starts.find(graph, num_chains, seed=seed, deadline=deadline)
    drawn = functools.partial(_samples, graph, num_samples)
    if begin is None:
        return drawn(None), Info("timeout", deadline.seconds, False, message=_NO_START)
    if not free(graph).any():
        rows = np.broadcast_to(begin, (length, *begin.shape))
        records = Records(rows, np.zeros((length, num_chains)), np.full(length, np.nan), length)
        return drawn(records), Info("done", deadline.seconds, True, num_chains=num_chains)
    state, status = _run(graph, prepare, begin, seed, length, iterations, deadline)
    # Records of a round that was cut are of chains that have had less warm-up than those before.
    records = state.now if state.now.is_whole or state.before is None else state.before
    return drawn(records), _info(graph, records, state, status, deadline.seconds)


_NO_START = "nothing drawn: no assignment of positive weight was found in time"


def free(graph: factor_graph.FactorGraph) -> np.ndarray:
    """Which variables have several states that are not ruled out on their own, bool [V]."""
    return (np.asarray(graph.log_unary) > -np.inf).sum(axis=1) > 1


def _run(
    graph: factor_graph.FactorGraph,
    prepare: Prepare,
    begin: np.ndarray,
    seed: Any,
    length: int,
    iterations: int,
    deadline: limits.Deadline,
) -> tuple[State, str]:
    """Rounds of ``length`` records until chains agree, or the steps or the time are over."""
    key_prepare, key_init, key_steps = jax.random.split(randomness.jax_key(seed), 3)
    positions, watched = jnp.asarray(begin), _watched(graph, length * len(begin))
    empty = functools.partial(_empty, length, len(begin), graph)
    if deadline.has_passed():
        return State(None, empty(), None, 1, 0, False), "timeout"
    kernel = prepare(graph, key_prepare, positions)
    record = _recorder(kernel, discrete_targets.log_density(graph), len(begin))
    bar = tqdm.tqdm(desc="sampling", unit=" steps", leave=False, disable=None)

    def advance(state: State) -> State:
        if state.now.is_whole:
            state = state._replace(now=empty(), before=state.now, thin=2 * state.thin)
        chains, *found = record(key_steps, state.chains, state.iterations, state.thin)
        now, total = _kept(state.now, found), state.iterations + state.thin
        bar.update(state.thin)
        settled = state.thin > 1 and now.is_whole and _agree(now, watched)
        return state._replace(chains=chains, now=now, iterations=total, settled=settled)

    def done(state: State) -> bool:
        following = state.iterations + 2 * state.thin * length
        is_last = state.thin > 1 and following > iterations
        return state.settled or (state.now.is_whole and is_last)

    with bar:
        keys = jax.random.split(key_init, len(begin))
        chains = jax.jit(jax.vmap(kernel.init))(positions, keys)
        return limits.run_until(advance, State(chains, empty(), None, 1, 0, False), done, deadline)


def _recorder(
    kernel: algorithm.SamplingAlgorithm,
    log_density: Callable[[jax.Array], jax.Array],
    num_chains: int,
) -> Callable:
    """A jitted function that makes some more steps and tells where they have led."""

    @jax.jit
    def record(key: jax.Array, chains: Any, done: Any, thin: Any) -> tuple:
        def once(at: Any, carry: tuple) -> tuple:
            chains, total = carry
            keys = jax.random.split(jax.random.fold_in(key, at), num_chains)
            chains, info = jax.vmap(kernel.step)(keys, chains)
            return chains, total + jnp.mean(acceptance(info), dtype=total.dtype)

        chains, total = jax.lax.fori_loop(done, done + thin, once, (chains, jnp.zeros(())))
        return chains, chains.position, jax.vmap(log_density)(chains.position), total / thin

    return record


def acceptance(info: Any) -> Any:
    """Chances to accept proposals or swaps, as a step's info says; NaN where none is rejected."""
    swaps = getattr(info, "swap_acceptance", jnp.nan)
    return jnp.asarray(getattr(info, "acceptance_rate", swaps))


def _empty(length: int, num_chains: int, graph: factor_graph.FactorGraph) -> Records:
    states = np.empty((length, num_chains, graph.num_variables), _state_type(graph))
    return Records(states, np.empty((length, num_chains)), np.empty(length))


def _kept(records: Records, found: list) -> Records:
    for rows, row in zip(records[:3], found, strict=True):
        rows[records.filled] = row
    return records._replace(filled=records.filled + 1)


def _agree(records: Records, watched: np.ndarray) -> bool:
    rhat, ess = _quality(records, watched)
    return bool(rhat <= diagnostics.SETTLED and ess >= diagnostics.ENOUGH)


def _quality(records: Records, watched: np.ndarray) -> tuple[float, float]:
    """The largest R-hat and the least ESS of what has moved; NaN where nothing has.

    An energy that is not finite counts as one that chains do not agree on.
    """
    states = records.states[: records.filled, :, watched]
    energies = -records.log_densities[: records.filled, :, None]
    chains = np.moveaxis(np.concatenate([states, energies], axis=2), 0, 1)
    rhat, ess = rank_statistics.rhat(chains), rank_statistics.ess_bulk(chains)
    if np.isnan(rhat).all():
        return math.nan, math.nan
    if not np.isfinite(energies).all():
        return math.inf, 0.0
    return float(np.nanmax(rhat)), float(np.nanmin(ess))


def _samples(
    graph: factor_graph.FactorGraph, number: int, records: Records | None
) -> samples.Samples:
    """Up to N of the records, evenly spaced in each chain."""
    rows = np.zeros((0, graph.num_variables), _state_type(graph))
    if records is not None and records.filled and number:
        each = min(math.ceil(number / records.states.shape[1]), records.filled)
        chosen = (np.arange(each) + 1) * records.filled // each - 1
        rows = np.concatenate(list(records.states[chosen]))[:number].astype(rows.dtype)
    return samples.Samples(rows, samples.SampleClaim.ASYMPTOTIC, independent=False)


def _info(
    graph: factor_graph.FactorGraph, records: Records, state: State, status: str, seconds: float
) -> Info:
    num_chains = records.states.shape[1]
    if not records.filled:
        return Info(status, seconds, False, num_chains=num_chains, message="nothing drawn")
    rhat, ess = _quality(records, _watched(graph, records.log_densities.size))
    states = records.states[: records.filled]
    num_frozen = int((free(graph) & (states == states[:1, :1]).all(axis=(0, 1))).sum())
    acceptance = float(records.acceptance[: records.filled].mean())
    number = records.filled * num_chains
    notes = [f"{num_chains} chains, {number} states recorded"]
    notes += [] if math.isnan(acceptance) else [f"acceptance {acceptance:.2f}"]
    notes += [f"{num_frozen} of the variables never moved"] if num_frozen else []
    counts = (num_chains, number, num_frozen, ", ".join(notes))
    has_warmed_up = state.thin > (1 if records is state.now else 2)
    settled = has_warmed_up and rhat <= diagnostics.SETTLED and ess >= diagnostics.ENOUGH
    return Info(status, seconds, settled, state.iterations, ess, rhat, acceptance, *counts)


def _watched(graph: factor_graph.FactorGraph, records: int) -> np.ndarray:
    """Numbers of up to ``WATCHED`` of the free variables, evenly spaced; fewer of many records."""
    chosen, most = np.flatnonzero(free(graph)), min(WATCHED, max(1, _ENTRIES // records))
    return chosen[:: max(1, math.ceil(len(chosen) / most))]


def _state_type(graph: factor_graph.FactorGraph) -> np.dtype:
    return np.min_scalar_type(-max(1, graph.log_unary.shape[1]))


def _octets(graph: factor_graph.FactorGraph, records: int) -> float:
    """Of the tables and of two rounds of records."""
    tables = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(graph))
    return tables + 2.0 * records * (graph.num_variables * _state_type(graph).itemsize + 8)
