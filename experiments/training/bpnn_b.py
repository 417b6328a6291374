"""BPNN-B as published: a learned readout in place of the Bethe value, without its guarantees.

    >>> operators, readout = shipped()
    >>> log_partition = read(operators, readout, generators.ising_grid(10, 10, 1.0))  # a scalar

Kuck et al., "Belief propagation neural networks" (NeurIPS 2020). Only compared with here: the
correction of two phases, ``bpnn_phases``, is better on the same grids.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from inference import training
from inference.message_passing.learned import bpnn_layers, bpnn_operators
from inference.problems import factor_graph

WEIGHTS = Path(__file__).parent / "weights" / "bpnn_b.npz"
LAYERS = 10


class Readout(nnx.Module):
    """BPNN-B: log Z from the pooled terms of the Bethe value of so many layers, by a network.

    Two linear maps, with the Bethe value of the last layer at the start. Pooling adds up factors
    and variables, so their order does not matter; the entries of a table are averaged over all
    orders of its axes. Which state of a variable is called 1 does matter.
    """

    def __init__(self, layers: int, arities: Sequence[int] = (2,)):
        if layers < 1:
            raise ValueError(f"expected at least one layer, given {layers}")
        self.layers, self.arities = layers, tuple(arities)
        size = 4 + 2 * sum(2**k for k in self.arities)
        last = np.zeros(layers * size)
        last[-size:] = 1.0
        self.first = nnx.Param(jnp.eye(layers * size, dtype=jnp.float32))
        self.second = nnx.Param(jnp.asarray(last, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(layers * size + 1, jnp.float32))

    def __call__(self, pooled: jax.Array) -> jax.Array:
        """log Z from ``bpnn_layers.pooled_terms`` of each layer, [layers, size]."""
        first, second, bias = (
            jnp.asarray(p[...], pooled.dtype) for p in (self.first, self.second, self.bias)
        )
        return jnp.vdot(second, first @ pooled.ravel() + bias[1:]) + bias[0]


def read(
    operators: bpnn_operators.Operators, readout: Readout, graph: factor_graph.FactorGraph
) -> jax.Array:
    """BPNN-B: layers from uniform messages, then the learned readout."""

    def layer(messages: bpnn_layers.Messages, _: None) -> tuple[bpnn_layers.Messages, jax.Array]:
        after = bpnn_layers.step(operators, graph, messages)
        return after, bpnn_layers.pooled_terms(graph, bpnn_layers.beliefs(graph, after))

    _, pooled = jax.lax.scan(
        jax.checkpoint(layer), bpnn_layers.start(graph), None, length=readout.layers
    )
    return readout(pooled) + jnp.asarray(graph.log_constant)


def begin() -> tuple[bpnn_operators.Operators, Readout]:
    """Operators and readout before training: those of BPNN-D, and the Bethe value."""
    return bpnn_operators.shipped(), Readout(LAYERS)


@functools.cache
def shipped() -> tuple[bpnn_operators.Operators, Readout]:
    """The trained operators and readout that come with the package."""
    return training.load(WEIGHTS, begin())
