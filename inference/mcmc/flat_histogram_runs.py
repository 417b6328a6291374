"""The two runs of flat-histogram walkers: weights are learnt, then held while visits are counted.

    walkers, status = ...adapt(job, start(job, ...), deadline=deadline)
    held, status = hold(job, learnt, steps=10**6, deadline=deadline)

All walkers share one log g. ln F is halved whenever every level that was seen has its share of the
visits, until levels / steps is more; from then on it is that (Belardinelli and Pereyra, "Fast
algorithm to calculate density of states", PRE 2007), as halving alone leaves an error that never
goes away.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from inference import limits
from inference.mcmc import energy_terms, flat_histogram_moves

DRAWN_STEPS = 128  # of each walker, whose random numbers are drawn at once
MOST_BLOCKS, SAME_BLOCKS = 16, 8  # of so many steps in a chunk; one more after each so many chunks
LONGEST_WAIT = 1e6  # of a rejection-free walker in one step, where weights are fixed


class Job(NamedTuple):
    """What does not change during a run.

    Attributes:
      rule: how walkers move.
      problem: the energies.
      terms: those of the problem, on the device.
      num_levels: L; the last one holds all higher energies.
      key: of the draws, never consumed.
    """

    rule: flat_histogram_moves.MoveRule
    problem: energy_terms.EnergyProblem
    terms: energy_terms.EnergyTerms
    num_levels: int
    key: Any


class Learnt(NamedTuple):
    """The state of the first run.

    Attributes:
      walkers: of W walkers, on the device.
      log_count: log g, float64 [L]; the least of those seen where a level was not seen.
      visits: float64 [L], since ln F was changed or a level first seen.
      seen: bool [L].
      increment: ln F.
      steps: of all walkers.
      chunks: how often random numbers were drawn.
    """

    walkers: Any
    log_count: np.ndarray
    visits: np.ndarray
    seen: np.ndarray
    increment: float
    steps: float = 0.0
    chunks: int = 0


class Held(NamedTuple):
    """The state of the second run, in which log g stands still.

    Attributes:
      walkers: on the device.
      counted: visits, moments, trips; see ``LevelVisits``.
      steps: of all walkers.
      chunks: as in ``Learnt``, counted on.
    """

    walkers: Any
    counted: Any
    steps: float
    chunks: int


class LevelVisits(NamedTuple):
    """What walkers leave behind.

    Attributes:
      visits: float64 [W, L].
      sums: float64 [2, L], of the energies there and of their squares, in units above the level's
        lowest energy.
      headed: bool [W], whether a walker has been up since it was last down.
      trips: int32 [W], how often each came down after it had been up.
    """

    visits: jax.Array
    sums: jax.Array
    headed: jax.Array
    trips: jax.Array


def start(job: Job, states: np.ndarray, increment: float) -> Learnt:
    """Walkers at states [W, V]."""
    places = energy_terms.places(job.problem.terms, states)
    found = energy_terms.energies(job.problem.terms, states)
    seen = np.zeros(job.num_levels, dtype=bool)
    seen[energy_terms.levels(job.problem.terms, found, job.num_levels)] = True
    walkers = _start(job.rule, job.terms, jnp.asarray(states, jnp.int32), jnp.asarray(places))
    zeros = np.zeros(job.num_levels)
    return Learnt(walkers, zeros, zeros, seen, increment)


def compiled(job: Job, learnt: Learnt) -> bool:
    """True, once there is what both runs call: time is divided between them afterwards."""
    counted = _nothing(learnt.walkers, job.num_levels)
    log_count, options = jnp.asarray(learnt.log_count), (0.0, 1.0, 0, 0, 1)
    _advance(job.rule, job.terms, job.key, learnt.walkers, log_count, options, counted)
    return True


def adapt(
    job: Job,
    learnt: Learnt,
    *,
    flatness: float,
    final: float,
    deadline: limits.Deadline,
) -> tuple[Learnt, str]:
    """Runs until ln F is below ``final``; with the status.

    Args:
      flatness: ln F is halved once the rarest level has this share of the mean visits.
      deadline: looked at after each chunk.
    """
    with tqdm.tqdm(desc="ln F", unit=" steps", leave=False, disable=None) as bar:

        def some_steps(learnt: Learnt) -> Learnt:
            bar.set_postfix_str(f"{learnt.increment:.1e}, {learnt.seen.sum()} levels", False)
            after = _adapted(job, learnt, flatness)
            bar.update(int(after.steps - learnt.steps))
            return after

        return limits.run_until(some_steps, learnt, lambda x: x.increment <= final, deadline)


def _adapted(job: Job, learnt: Learnt, flatness: float) -> Learnt:
    """After one chunk, and what follows from it for ln F."""
    walkers, log_count, counted = _advance(
        job.rule,
        job.terms,
        jax.random.fold_in(job.key, learnt.chunks),
        learnt.walkers,
        jnp.asarray(learnt.log_count),
        (learnt.increment, max(1.0, 1.0 / learnt.increment), 0, 0, _blocks(learnt.chunks)),
        _nothing(learnt.walkers, job.num_levels),
    )
    chunk = np.asarray(counted.visits).sum(axis=0)
    seen, steps = learnt.seen | (chunk > 0), learnt.steps + chunk.sum()
    is_new = bool((seen & ~learnt.seen).any())
    visits = np.zeros(job.num_levels) if is_new else learnt.visits + chunk
    values = np.array(log_count)
    values -= values[seen].min()
    values[~seen] = 0.0
    increment, slowest = learnt.increment, float(seen.sum() / steps)
    if visits[seen].min() >= flatness * visits[seen].mean() > 0:
        increment, visits = increment / 2, np.zeros(job.num_levels)
    if increment < slowest < 1.0:
        increment = min(slowest, learnt.increment)
    return Learnt(walkers, values, visits, seen, increment, steps, learnt.chunks + 1)


def hold(job: Job, learnt: Learnt, *, steps: float, deadline: limits.Deadline) -> tuple[Held, str]:
    """Runs so many steps of all walkers together with log g as it is; with the status."""
    log_count = jnp.asarray(learnt.log_count)
    low, high = ends(learnt)

    def some_steps(held: Held) -> Held:
        key = jax.random.fold_in(job.key, held.chunks)
        options = (0.0, LONGEST_WAIT, low, high, _blocks(held.chunks))
        walkers, _, counted = _advance(
            job.rule, job.terms, key, held.walkers, log_count, options, held.counted
        )
        total = float(np.asarray(counted.visits).sum())
        bar.update(min(int(total - held.steps), bar.total - bar.n))
        return Held(walkers, counted, total, held.chunks + 1)

    first = _nothing(learnt.walkers, job.num_levels)
    held = Held(learnt.walkers, first, 0.0, learnt.chunks)
    with tqdm.tqdm(total=int(steps), desc="fixed", leave=False, disable=None) as bar:
        return limits.run_until(some_steps, held, lambda x: x.steps >= steps, deadline)


def _blocks(chunks: int) -> int:
    """Of the next chunk: few at first, when ln F is large, more when looking up costs time."""
    return min(1 + chunks // SAME_BLOCKS, MOST_BLOCKS)


def ends(learnt: Learnt) -> tuple[int, int]:
    """The lowest level that was seen, and that of most states among the others."""
    low = int(np.argmax(learnt.seen))
    values = np.where(learnt.seen, learnt.log_count, -math.inf)
    values[low] = -math.inf
    return low, int(np.argmax(values)) if np.isfinite(values).any() else low


def _nothing(walkers: Any, num_levels: int) -> LevelVisits:
    number = walkers.position.shape[0]
    zeros = jnp.zeros((number, num_levels))
    headed, trips = jnp.zeros(number, bool), jnp.zeros(number, jnp.int32)
    return LevelVisits(zeros, jnp.zeros((2, num_levels)), headed, trips)


@functools.partial(jax.jit, static_argnames=("rule",))
def _start(rule: Any, terms: Any, states: Any, places: Any) -> Any:
    one = functools.partial(flat_histogram_moves.start, rule, terms)
    return jax.vmap(one)(states, places)


@functools.partial(jax.jit, static_argnames=("rule",))
def _advance(
    rule: flat_histogram_moves.MoveRule,
    terms: energy_terms.EnergyTerms,
    key: jax.Array,
    walkers: flat_histogram_moves.LevelWalker,
    log_count: jax.Array,
    options: tuple[Any, Any, Any, Any, Any],
    counted: LevelVisits,
) -> tuple[Any, jax.Array, LevelVisits]:
    """A chunk; ``options``: ln F, the longest wait, lowest and highest level, blocks of steps."""
    increment, most, low, high, blocks = options
    number, num_levels = counted.visits.shape
    step = jax.vmap(rule.step, (None, None, None, 0, 0))

    def one(carry: Any, bits: jax.Array) -> tuple[Any, None]:
        walkers, log_count, counted = carry
        walkers, energies, weights = step(terms, log_count, most, bits, walkers)
        levels = energy_terms.levels(terms, energies, num_levels)
        log_count = log_count.at[levels].add(increment * weights)
        return (walkers, log_count, count(counted, energies, levels, weights)), None

    def count(counted: LevelVisits, energies: Any, levels: Any, weights: Any) -> LevelVisits:
        above = (energies - (levels << terms.shift)).astype(weights.dtype)
        moments = jnp.stack([weights * above, weights * above**2])
        up, down = levels >= high, levels <= low
        return LevelVisits(
            counted.visits.at[jnp.arange(number), levels].add(weights),
            counted.sums.at[:, levels].add(moments),
            (counted.headed | up) & ~down,
            counted.trips + (counted.headed & down),
        )

    def block(index: Any, carry: Any) -> Any:
        shape = DRAWN_STEPS, number, rule.words
        bits = jax.random.bits(jax.random.fold_in(key, index), shape, jnp.uint32)
        return jax.lax.scan(one, carry, bits)[0]

    return jax.lax.fori_loop(0, blocks, block, (walkers, log_count, counted))
