"""Fast belief propagation on table factors over variables of two states.

    >>> graph = factor_graph.build([2, 2], [((0, 1), [[0.0, -np.inf], [0.0, 0.0]])])
    >>> layout = prepare(edge_graph.prepare(graph))
    >>> layout.enter(np.zeros(2)).tolist()
    [0.0, 0.0]

As ``tables``, with log ratios for messages: a factor multiplies probabilities, two logarithms
become one, and nothing is normalised. Log ratios beyond 80 nats (700 in float64) are cut there,
hard zeros among them, and count as infinite when they leave, where the graph has any.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int32

from inference.message_passing import edge_graph, rules
from inference.message_passing.layouts import tables
from inference.message_passing.rules import Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Binary(tables.Cut):
    """Messages [E] by block; make it with ``prepare``.

    Attributes:
      fields: log ratios [W] per degree.
      slots: int32 [d, W] per degree, where the messages to W variables stand, E where none does.
      tables: [2, ..., 2, N] per arity, the variable's own axis first, largest entry 1.
      others: int32 [k - 1, N] per arity, where the cavities of the further axes stand.
      places: int32 [E], where each message of ``edge_graph`` stands.
    """

    fields: tuple[Float[Array, " _"], ...]
    slots: tuple[Int32[Array, "_ _"], ...]
    tables: tuple[Float[Array, "2 ... _"], ...]
    others: tuple[Int32[Array, "_ _"], ...]
    places: Int32[Array, " E"]

    def enter(self, messages: Array) -> jax.Array:
        """Log ratios of ``edge_graph`` in this layout."""
        inside = jnp.clip(jnp.asarray(messages, self.fields[0].dtype), self.floor, -self.floor)
        return jnp.zeros_like(inside).at[self.places].set(inside)

    def leave(self, messages: jax.Array) -> jax.Array:
        """The log ratios of ``edge_graph``."""
        if self.has_zeros:
            is_hard = jnp.abs(messages) >= -0.99 * self.floor
            messages = jnp.where(is_hard, jnp.inf * jnp.sign(messages), messages)
        return messages[self.places]

    def collect(self, messages: jax.Array) -> jax.Array:
        """The cavity beside each slot as the ratio of its probabilities."""
        padded, cavities = jnp.pad(messages, (0, 1)), []
        for field, slots in zip(self.fields, self.slots):
            others = rules.exclusive(jnp.add, padded[slots], 0.0, axis=0)
            cavities.append(jnp.clip(others + field[None], self.floor, -self.floor).ravel())
        return jnp.exp(jnp.concatenate(cavities))

    def send(self, messages: jax.Array, cavities: jax.Array) -> jax.Array:
        """The messages that cavities make: one round of flooding."""
        tiny = math.exp(self.floor)
        parts = []
        for values, others in zip(self.tables, self.others):
            for at in others[::-1]:
                ratio = cavities.at[at].get(mode="promise_in_bounds")
                row = jnp.stack([jnp.minimum(1 / ratio, 1.0), jnp.minimum(ratio, 1.0)])
                values = tables.contract(values, row, self.combine)
            zero, one = (jnp.maximum(value, tiny) for value in values)
            parts.append(jnp.log(one / zero))
        return jnp.concatenate(parts)


def prepare(model: edge_graph.EdgeModel) -> Binary | None:
    """The layout of a model, in numpy arrays; None for other factors than tables, or large ones."""
    blocks = tables.edge_blocks(model.groups) if model.is_binary else None
    if not blocks:
        return None
    dtype, num_edges = model.log_unary.dtype, len(model.edge_variables)
    pieces = [piece for block in blocks.values() for piece in block]
    order = np.concatenate([piece.edges for piece in pieces])
    places = np.empty(num_edges + 1, np.int32)
    places[order], places[-1] = np.arange(num_edges), num_edges
    values, others = [], []
    for block in blocks.values():
        joined = np.concatenate([piece.tables for piece in block])
        values.append(np.ascontiguousarray(np.moveaxis(joined, 0, -1)).astype(dtype))
        around = np.concatenate([piece.others for piece in block])
        others.append(np.ascontiguousarray(model.places[around].T))
    with np.errstate(invalid="ignore"):  # a variable without any possible state
        fields = np.nan_to_num(
            model.log_unary[:, 1] - model.log_unary[:, 0], posinf=1e6, neginf=-1e6
        )
    return Binary(
        *tables.cut(model, model.graph_ids[model.edge_variables[order]]),
        tuple(fields[own].astype(dtype) for own in model.owners),
        tuple(places[slots] for slots in model.slots),
        tuple(values),
        tuple(others),
        places[:-1],
    )
