"""The layout that takes every graph and every schedule, of the messages as they are.

    >>> layout = prepare(edge_graph.prepare(factor_graph.build([2, 2], [((0, 1), np.eye(2))])))
    >>> layout.change(jnp.zeros(2), jnp.ones(2), 1).tolist()
    [1.0]

Clauses and parities are O(k) here, hard zeros are infinite, nothing is cut: the other layouts are
held to this one.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Int32

from inference.message_passing import edge_graph, schedules
from inference.message_passing.rules import Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class General:
    """Messages [E] or [E, S] of ``edge_graph``; make it with ``prepare``."""

    cuts: ClassVar[bool] = False
    model: edge_graph.EdgeModel
    edge_graphs: Int32[Array, " E"]

    def enter(self, messages: Array) -> jax.Array:
        """Messages in the dtype of the model."""
        return jnp.asarray(messages, self.model.log_unary.dtype)

    def leave(self, messages: jax.Array) -> jax.Array:
        """The messages."""
        return messages

    def collect(self, messages: jax.Array) -> jax.Array:
        """What each edge's variable tells its factor."""
        return edge_graph.cavities(self.model, messages)

    def send(self, messages: jax.Array, cavities: jax.Array) -> jax.Array:
        """The messages that cavities make: one round of flooding."""
        return edge_graph.send(self.model, cavities)

    def mix(self, old: jax.Array, new: jax.Array, weight: float) -> jax.Array:
        """Damping of the logarithms; infinite ones move at once."""
        return schedules.damped(weight)(None, 0, old, new, None)

    def change(self, old: jax.Array, new: jax.Array, num_graphs: int) -> jax.Array:
        """The largest change of a logarithm in each graph, [G]."""
        far = jnp.where(self.model.edge_mask, edge_graph.change(old, new), 0.0)
        return edge_graph.largest_by_graph(far, self.edge_graphs, num_graphs)

    def keep(self, frozen: Array, old: jax.Array, new: jax.Array) -> jax.Array:
        """Old messages for frozen graphs, bool [G], else new ones."""
        stays = frozen[self.edge_graphs]
        return jnp.where(stays.reshape(stays.shape + (1,) * (old.ndim - 1)), old, new)


def prepare(model: edge_graph.EdgeModel) -> General:
    """The layout of a model, any."""
    return General(model, model.graph_ids[model.edge_variables])
