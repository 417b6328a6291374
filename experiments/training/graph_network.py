"""A graph network without belief propagation, which BPNN models are compared with.

    >>> network = shipped()
    >>> log_partition = network(generators.ising_grid(10, 10, 1.0))  # a scalar

Trained by ``bpnn_training``, on the same grids as the others.
"""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
from flax import nnx

from inference import training
from inference.problems import factor_graph

WEIGHTS = Path(__file__).parent / "weights" / "gnn.npz"
LAYERS = 10
WIDTH = 4


class GraphNetwork(nnx.Module):
    """The published baseline without belief propagation: GIN layers with edge inputs, sum pooling.

    Xu, Hu, Leskovec and Jegelka, "How powerful are graph neural networks?" (ICLR 2019). Each layer
    adds up relu(neighbour + edge) and applies two linear maps; the sums over all variables of all
    layers go through a last network.
    """

    def __init__(self, key: jax.Array | None = None, layers: int = LAYERS, width: int = WIDTH):
        rngs = nnx.Rngs(jax.random.key(0) if key is None else key)

        def linear(inputs: int, outputs: int) -> nnx.Linear:
            return nnx.Linear(inputs, outputs, param_dtype=jnp.float32, rngs=rngs)

        sizes = [1] + [width] * (layers - 1)
        self.edges = nnx.List([linear(1, size) for size in sizes])
        self.first = nnx.List([linear(size, width) for size in sizes])
        self.second = nnx.List([linear(width, width) for _ in sizes])
        self.last = nnx.List([linear(layers * width, layers * width), linear(layers * width, 1)])

    def __call__(self, graph: factor_graph.FactorGraph) -> jax.Array:
        """log Z of one spin model, from fields and couplings."""
        state = (graph.log_unary[:, 1:] - graph.log_unary[:, :1]) / 2
        ends = graph.groups[0].variables
        couplings = graph.groups[0].log_potentials[:, 0, 0][:, None]
        pooled = []
        for edge, first, second in zip(self.edges, self.first, self.second, strict=True):
            sent = jax.nn.relu(state[ends[:, ::-1]] + edge(couplings)[:, None])
            heard = jnp.zeros_like(state).at[ends].add(sent)
            state = jax.nn.relu(second(jax.nn.relu(first(state + heard))))
            pooled.append(state.sum(axis=0))
        hidden = jax.nn.relu(self.last[0](jnp.concatenate(pooled)))
        return self.last[1](hidden)[0]


@functools.cache
def shipped() -> GraphNetwork:
    """The trained network that comes with the package."""
    return training.load(WEIGHTS, GraphNetwork())
