"""Frequencies of the states of many independent chains against exact probabilities."""

import functools
import math

import jax
import numpy as np
from scipy import stats

import reference
from inference.problems import factor_graph


class Parts:
    """Models side by side in one graph, as compiling is what takes long; each checked by itself.

    A model is its numbers of states and factors (variables, log table).
    """

    def __init__(self, *models):
        self.sizes = [sizes for sizes, _ in models]
        self.probabilities = [exact(*model) for model in models]
        ends = np.cumsum([0, *map(len, self.sizes)])
        shifted = [
            ([int(at) + v for v in scope], table)
            for at, (_, factors) in zip(ends, models)
            for scope, table in factors
        ]
        self.graph = factor_graph.build(sum(self.sizes, []), shifted)

    def p_value(self, algorithm, **options):
        """As ``p_value`` below, of these models."""
        return p_value(algorithm, *self.probabilities, **options)


def p_value(algorithm, *probabilities, num_chains=2500, num_steps=20, seed=0):
    """Of the chains' last states, all from one start: the least of the models side by side.

    0 where a state came up that is impossible. Log densities must be those of the probabilities, up
    to a constant.
    """
    firsts = [np.unravel_index(np.argmax(p > 0), p.shape) for p in probabilities]
    starts = np.tile(np.concatenate(firsts), (num_chains, 1))
    keys = jax.random.split(jax.random.key(seed), num_chains)
    state = last(algorithm, keys, starts, num_steps)
    positions, logs, values = np.asarray(state.position), -np.asarray(state.log_density), []
    ends = np.cumsum([np.ndim(one) for one in probabilities])
    for of_model, one in zip(np.split(positions, ends[:-1], axis=1), probabilities):
        seen = one[tuple(of_model.T)]
        if not seen.all():
            return 0.0
        logs = logs + np.log(seen)
        values.append(_chi_square(of_model, one))
    np.testing.assert_allclose(logs, logs[0], atol=1e-4)
    return min(values)


def exact(num_states, log_factors):
    """The probability of every assignment, [s1, ..., sV], by enumeration."""
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


def _chi_square(positions, probabilities):
    """The p-value; states of which fewer than five are expected are counted together."""
    cells = np.ravel_multi_index(tuple(positions.T), probabilities.shape)
    counts = np.bincount(cells, minlength=probabilities.size)
    expected = len(positions) * probabilities.ravel()
    is_rare = expected < 5
    counts = np.append(counts[~is_rare], counts[is_rare].sum())
    expected = np.append(expected[~is_rare], expected[is_rare].sum())
    keep = expected > 0
    return stats.chisquare(counts[keep], expected[keep]).pvalue if keep.sum() > 1 else 1.0
