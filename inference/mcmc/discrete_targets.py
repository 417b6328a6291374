"""Log densities over finite states, as the discrete kernels take them.

    >>> graph = generators.ising_grid(2, 2, 0.5)
    >>> float(log_density(graph)(jnp.zeros(4, int)))
    2.0
    >>> float(relaxed_log_density(graph)(jax.nn.one_hot(jnp.zeros(4, int), 2)))
    2.0

A kernel wants a function of states, int [V], or one of indicators, float [V, S], that it can
differentiate. Any other function of the same shape will do in their place.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from inference.problems import factor_graph

#: Nats that stand for a hard zero where a gradient is to be taken.
FLOOR = -1e4


def log_density(graph: factor_graph.FactorGraph) -> Callable[[jax.Array], jax.Array]:
    """The log-score in nats of states, int [V]; -inf where the model rules them out."""
    return lambda states: factor_graph.log_score(graph, states)


def relaxed_log_density(graph: factor_graph.FactorGraph) -> Callable[[jax.Array], jax.Array]:
    """The log-score in nats of indicators [V, S], linear in each variable's row.

    Its gradient at an indicator holds the change of the log-score for each change of one variable,
    which is what informed proposals ask for. Hard zeros are ``FLOOR``, so it is finite.
    """
    graph = factor_graph.tabulate(graph)
    log_unary = np.maximum(graph.log_unary, FLOOR)
    groups = [(one.variables, np.maximum(one.log_potentials, FLOOR)) for one in graph.groups]

    def score(indicators: jax.Array) -> jax.Array:
        total = jnp.maximum(graph.log_constant, FLOOR) + jnp.sum(log_unary * indicators)
        for variables, tables in groups:
            terms = jnp.asarray(tables, indicators.dtype)
            for axis, size in reversed(list(enumerate(tables.shape[1:]))):
                row = indicators[variables[:, axis], :size]  # [F, S]
                terms = jnp.einsum("f...s,fs->f...", terms, row)
            total += terms.sum()
        return total

    return score
