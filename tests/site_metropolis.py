"""A plain chain over finite states, its coupled spins, and a test of their frequencies."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

import reference
from inference.mcmc import algorithm, metropolis
from inference.problems import factor_graph

SPINS, COUPLING = 4, 2.0


class Position(NamedTuple):
    position: jax.Array


def chain(log_density, beta):
    """Flips one of two-state variables at a time; hard zeros stay hard at power 0."""

    def init(position, rng_key=None):
        return Position(jnp.asarray(position))

    def step(key, state):
        key_site, key_accept = jax.random.split(key)
        site = jax.random.randint(key_site, (), 0, state.position.shape[0])
        moved = Position(state.position.at[site].set(1 - state.position[site]))
        gain = log_density(moved.position) - log_density(state.position)
        return metropolis.accept(key_accept, beta * gain, state, moved)

    return algorithm.SamplingAlgorithm(init, step)


def factors():
    """A ring of spins that like to agree, the first rather up; two states are ruled out."""
    table = [[1.0, np.exp(-COUPLING)], [np.exp(-COUPLING), 1.0]]
    agree = [((v, (v + 1) % SPINS), table) for v in range(SPINS)]
    return [*agree, ((0,), [1.0, 2.0]), ((0, 1, 2), [[[1, 1], [0, 1]], [[1, 1], [1, 1]]])]


def graph():
    with np.errstate(divide="ignore"):
        return factor_graph.build(
            [2] * SPINS, [(scope, np.log(np.asarray(table))) for scope, table in factors()]
        )


def probabilities():
    """Of all states in lexicographic order, by enumeration."""
    scores = np.array([score for _, score in reference.scores([2] * SPINS, factors())])
    return scores / scores.sum()


def frequencies(positions):
    """How often each state was seen, [2 ** SPINS]."""
    codes = np.asarray(positions).reshape(-1, SPINS) @ 2 ** np.arange(SPINS)[::-1]
    return np.bincount(codes, minlength=2**SPINS)


def p_value(positions):
    """Of independent positions [N, SPINS]; 0 where one is ruled out."""
    seen, expected = frequencies(positions), probabilities()
    if seen[expected == 0].any():
        return 0.0
    return stats.chisquare(seen[expected > 0], seen.sum() * expected[expected > 0]).pvalue
