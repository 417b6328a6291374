"""Moves of flat-histogram walkers: one flip, rejection-free, or aimed at violated clauses.

    rule = mixture(0.5)                       # or ``plain``, ``rejection_free``
    walker = rule.init(terms, states, places, energy)
    walker, energy, weight = rule.step(terms, log_count, most, bits, walker)

Every rule leaves the law invariant that has a state of level E in proportion to exp(-log_count[E]),
where every level is as likely as any other. It is exact for weights that stand still; while they
are adapted it is as exact as they are slow.

Wang and Landau, "Efficient, multiple-range random walk algorithm to calculate the density of
states" (PRL 2001); for formulas Ermon, Gomes and Selman, "Computing the density of states of
Boolean formulas" (CP 2010) and "Accelerated adaptive Markov chain for partition function
computation" (NIPS 2011). The rejection-free rule is that of Bortz, Kalos and Lebowitz (1975).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from inference.mcmc import energy_terms
from inference.mcmc.energy_terms import EnergyTerms


class LevelWalker(NamedTuple):
    """Where one walker is.

    Attributes:
      position: int32 [V], its states.
      places: int32 [F], of all terms.
      energy: an integer.
      kept: what the rule updates from step to step.
    """

    position: jax.Array
    places: jax.Array
    energy: jax.Array
    kept: Any


class MoveRule(NamedTuple):
    """How walkers move.

    Attributes:
      name: for people.
      words: random numbers of 32 bits that a step takes.
      init: ``init(terms, position, places) -> kept``.
      step: ``step(terms, log_count, most, bits, walker) -> (walker, energy, weight)``: the energy
        to be counted and how often, at most ``most`` times.
      check: raises ValueError for terms that it cannot walk over.
    """

    name: str
    words: int
    init: Callable[..., Any]
    step: Callable[..., tuple[LevelWalker, jax.Array, jax.Array]]
    check: Callable[[EnergyTerms], None] = lambda terms: None


def start(
    rule: MoveRule, terms: EnergyTerms, position: jax.Array, places: jax.Array
) -> LevelWalker:
    """One walker at states int32 [V], whose terms are at int32 [F]."""
    energy = terms.tables[places].sum(dtype=terms.tables.dtype)
    return LevelWalker(position, places, energy, rule.init(terms, position, places))


def _uniform(bits: jax.Array) -> jax.Array:
    """In (0, 1), never an end, so its logarithm is finite: float64."""
    return (bits.astype(jnp.float64) + 0.5) * 2.0**-32


def _below(bits: jax.Array, number: jax.Array) -> jax.Array:
    """An integer below ``number``; uneven by 2^-32 times it."""
    return (bits % number.astype(jnp.uint32)).astype(jnp.int32)


def _changed(
    terms: EnergyTerms, bits: jax.Array, walker: LevelWalker, variable: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """One of the other states of a variable: it, its terms, their places then, the energy then."""
    state, size = walker.position[variable], terms.num_states[variable]
    new = (state + 1 + _below(bits, jnp.maximum(size - 1, 1))) % size
    mine = terms.terms[variable]
    before = walker.places[mine]
    after = before + terms.strides[variable] * (new - state)
    change = terms.tables[after] - terms.tables[before]
    return new, mine, after, walker.energy + change.sum(dtype=walker.energy.dtype)


def _moved(
    walker: LevelWalker, accepted: jax.Array, variable: jax.Array, change: tuple, kept: Any
) -> LevelWalker:
    """The walker after what was proposed, or as it was."""
    new, mine, after, energy = change
    state = walker.position[variable]
    before = walker.places[mine]
    return LevelWalker(
        walker.position.at[variable].set(jnp.where(accepted, new, state)),
        walker.places.at[mine].set(jnp.where(accepted, after, before)),
        jnp.where(accepted, energy, walker.energy),
        kept,
    )


def _log_counts(terms: EnergyTerms, log_count: jax.Array, energies: jax.Array) -> jax.Array:
    return log_count[energy_terms.levels(terms, energies, log_count.shape[0])]


def _plain_step(
    terms: EnergyTerms, log_count: jax.Array, most: jax.Array, bits: jax.Array, walker: LevelWalker
) -> tuple[LevelWalker, jax.Array, jax.Array]:
    """A uniform variable, one of its other states, Metropolis; counted where it ends."""
    variable = _below(bits[0], jnp.uint32(terms.num_states.shape[0]))
    change = _changed(terms, bits[1], walker, variable)
    here = _log_counts(terms, log_count, walker.energy)
    there = _log_counts(terms, log_count, change[-1])
    accepted = jnp.log(_uniform(bits[2])) < here - there
    walker = _moved(walker, accepted, variable, change, ())
    return walker, walker.energy, jnp.ones((), log_count.dtype)


def _all_changes(terms: EnergyTerms, position: jax.Array, places: jax.Array) -> jax.Array:
    """How flipping each variable would change the energy [V], from scratch: O(V D)."""
    before = places[terms.terms]
    after = before + terms.strides * (1 - 2 * position)[:, None]
    change = terms.tables[after] - terms.tables[before]
    return change.sum(axis=1, dtype=terms.tables.dtype)


def _free_step(
    terms: EnergyTerms, log_count: jax.Array, most: jax.Array, bits: jax.Array, walker: LevelWalker
) -> tuple[LevelWalker, jax.Array, jax.Array]:
    """The mean wait until a flip is accepted, at most ``most`` steps, then that flip.

    Of a walker that would wait longer all steps are counted and it stays: by the lack of memory
    nothing is lost.
    """
    here = _log_counts(terms, log_count, walker.energy)
    there = _log_counts(terms, log_count, walker.energy + walker.kept)
    # Rates in float32: of what they decide, a part in 10^7 is lost in the noise.
    rates = jnp.exp(jnp.minimum(here - there, 0.0).astype(jnp.float32))
    variable, rate = _pick(rates, _uniform(bits[0]).astype(jnp.float32))
    rate = jnp.clip(rate.astype(log_count.dtype) / len(rates), 1e-30, 1.0 - 2.0**-53)
    leaving = -jnp.expm1(most * jnp.log1p(-rate))
    change = _changed(terms, bits[1], walker, variable)
    accepted = _uniform(bits[2]) < leaving
    kept = _updated(terms, walker, accepted, variable, change)
    return _moved(walker, accepted, variable, change, kept), walker.energy, leaving / rate


def _updated(
    terms: EnergyTerms, walker: LevelWalker, accepted: jax.Array, variable: jax.Array, change: tuple
) -> jax.Array:
    """``_all_changes`` after a flip: what the members of its terms see in them, new less old."""
    _, mine, after, _ = change
    before = walker.places[mine]
    members = terms.members[mine]  # [D, K]
    strides = terms.member_strides[mine] * (1 - 2 * walker.position[members])

    def seen(places: jax.Array) -> jax.Array:
        return terms.tables[places[:, None] + strides] - terms.tables[places][:, None]

    own = walker.kept[variable]
    changes = walker.kept.at[members].add(jnp.where(accepted, seen(after) - seen(before), 0))
    return changes.at[variable].set(jnp.where(accepted, -own, own))


def _pick(weights: jax.Array, uniform: jax.Array) -> tuple[jax.Array, jax.Array]:
    """An index in proportion to weights [N], and their sum; first a block, then inside it."""
    side = int(len(weights) ** 0.5)
    padded = jnp.pad(weights, (0, -len(weights) % side))
    sums = jnp.cumsum(padded.reshape(-1, side).sum(axis=1))
    target = uniform * sums[-1]
    block = jnp.minimum(jnp.sum(sums <= target), len(sums) - 1)
    inside = jnp.cumsum(padded[block * side + jnp.arange(side)])
    rest = target - sums[block] + inside[-1]
    place = block * side + jnp.minimum(jnp.sum(inside <= rest), side - 1)
    return jnp.minimum(place, len(weights) - 1), sums[-1]


def _check_free(terms: EnergyTerms) -> None:
    if (terms.num_states > 2).any():
        most = int(terms.num_states.max())
        raise ValueError(f"expected two states a variable without rejections, given {most}")


@functools.cache  # one rule, one trace
def mixture(share: float) -> MoveRule:
    """With this probability a variable of a violated clause is proposed, else any; Metropolis.

    The share is below 1, so that every state can be reached.

    Raises:
      ValueError: it is not in [0, 1).
    """
    if not 0.0 <= share < 1.0:
        raise ValueError(f"expected a share of at least 0 and below 1, given {share}")

    def step(
        terms: EnergyTerms,
        log_count: jax.Array,
        most: jax.Array,
        bits: jax.Array,
        walker: LevelWalker,
    ) -> tuple[LevelWalker, jax.Array, jax.Array]:
        total = walker.kept.sum()
        aimed = (_uniform(bits[0]) < share) & (total > 0)
        anywhere = _below(bits[3], jnp.uint32(terms.num_states.shape[0]))
        variable = jnp.where(aimed, _aim(terms, bits[3], bits[4], walker), anywhere)
        change = _changed(terms, bits[1], walker, variable)
        _, mine, after, energy = change
        before = (terms.tables[walker.places[mine]] > 0).astype(jnp.int32)
        violated = (terms.tables[after] > 0).astype(jnp.int32)
        forth = _chance(terms, share, mine, before, total)
        back = _chance(terms, share, mine, violated, total + (violated - before).sum())
        here = _log_counts(terms, log_count, walker.energy)
        there = _log_counts(terms, log_count, energy)
        ratio = here - there + jnp.log(back) - jnp.log(forth)
        accepted = jnp.log(_uniform(bits[2])) < ratio
        blocks = mine // energy_terms.BLOCK
        kept = walker.kept.at[blocks].add(jnp.where(accepted, violated - before, 0))
        walker = _moved(walker, accepted, variable, change, kept)
        return walker, walker.energy, jnp.ones((), log_count.dtype)

    return MoveRule(f"mixture of {share:g}", 5, _violated, step)


def _violated(terms: EnergyTerms, position: jax.Array, places: jax.Array) -> jax.Array:
    """How many terms of each block have energy, int32 [F / BLOCK]."""
    return (terms.tables[places] > 0).reshape(-1, energy_terms.BLOCK).sum(axis=1, dtype=jnp.int32)


def _aim(terms: EnergyTerms, first: jax.Array, second: jax.Array, walker: LevelWalker) -> jax.Array:
    """A uniform variable of a uniform term that has energy; any where there is none."""
    sums = jnp.cumsum(walker.kept)
    rank = _below(first, jnp.maximum(sums[-1], 1))
    block = jnp.minimum(jnp.sum(sums <= rank), len(sums) - 1)
    rank = rank - sums[block] + walker.kept[block]
    inside = block * energy_terms.BLOCK + jnp.arange(energy_terms.BLOCK)
    found = jnp.cumsum(terms.tables[walker.places[inside]] > 0)
    term = block * energy_terms.BLOCK + jnp.minimum(jnp.sum(found <= rank), energy_terms.BLOCK - 1)
    slot = _below(second, jnp.maximum(terms.arities[term], 1))
    return terms.members[term, slot]


def _chance(
    terms: EnergyTerms, share: float, mine: jax.Array, violated: jax.Array, total: jax.Array
) -> jax.Array:
    """Of proposing a variable whose terms are ``mine``, where those are violated."""
    uniform = 1.0 / terms.num_states.shape[0]
    arity = jnp.maximum(terms.arities[mine], 1).astype(jnp.float64)
    aimed = (violated / arity).sum() / jnp.maximum(total, 1)
    return jnp.where(total > 0, share * aimed + (1.0 - share) * uniform, uniform)


plain = MoveRule("plain", 3, lambda terms, position, places: (), _plain_step)
rejection_free = MoveRule("rejection-free", 3, _all_changes, _free_step, _check_free)
