"""Frequencies of the states of many independent chains against exact probabilities."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

import reference


def exact(num_states, log_factors):
    """The probability of every assignment of factors (variables, log table), [s1, ..., sV]."""
    linear = [(scope, np.exp(np.array(table, float)).tolist()) for scope, table in log_factors]
    scores = [score for _, score in reference.scores(num_states, linear)]
    return np.reshape(scores, num_states) / math.fsum(scores)


@functools.partial(jax.jit, static_argnums=(0, 3))
def last(algorithm, keys, starts, num_steps):
    """The states of chains from ``starts`` [C, V] after so many steps."""

    def one(key, start):
        def once(state, key):
            return algorithm.step(key, state)[0], None

        return jax.lax.scan(once, algorithm.init(start), jax.random.split(key, num_steps))[0]

    return jax.vmap(one)(keys, starts)


def p_value(algorithm, probabilities, *, num_chains=4000, num_steps=30, seed=0):
    """Of the chains' last states, all started in one that is possible; 0 for an impossible one.

    States of which fewer than five are expected are counted together. Their log densities must be
    those of their probabilities, up to a constant.
    """
    start = np.unravel_index(np.argmax(probabilities > 0), probabilities.shape)
    starts = np.tile(np.array(start, int), (num_chains, 1))
    state = last(algorithm, jax.random.split(jax.random.key(seed), num_chains), starts, num_steps)
    cells = np.ravel_multi_index(tuple(np.array(state.position).T), probabilities.shape)
    counts = np.bincount(cells, minlength=probabilities.size)
    expected = num_chains * probabilities.ravel()
    if counts[expected == 0].any():
        return 0.0
    constants = np.asarray(state.log_density) - np.log(expected[cells])
    np.testing.assert_allclose(constants, constants[0], atol=1e-4)
    is_rare = expected < 5
    counts = np.append(counts[~is_rare], counts[is_rare].sum())
    expected = np.append(expected[~is_rare], expected[is_rare].sum())
    keep = expected > 0
    return stats.chisquare(counts[keep], expected[keep]).pvalue if keep.sum() > 1 else 1.0


def check_log_density(algorithm, probabilities):
    """That ``init`` scores every assignment as it is likely, up to a constant; -inf for never."""
    states = np.array(list(itertools.product(*map(range, probabilities.shape))))
    found = np.asarray(jax.jit(jax.vmap(algorithm.init))(jnp.asarray(states)).log_density)
    with np.errstate(divide="ignore"):
        logs = np.log(probabilities).ravel()
    possible = logs > -np.inf
    np.testing.assert_array_equal(found[~possible], -np.inf)
    constant = found[possible][0] - logs[possible][0]
    np.testing.assert_allclose(found[possible] - constant, logs[possible], atol=1e-4)
