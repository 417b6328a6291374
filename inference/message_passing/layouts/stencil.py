"""The fastest belief propagation: binary pairwise graphs whose neighbours lie at few distances.

    >>> layout = prepare(edge_graph.prepare(generators.ising_grid(20, 20, 0.3)))
    >>> layout.offsets
    (1, 20)

In a grid numbered row by row, of any width and with edges missing, neighbours are 1 and one row
apart; so are those of a batch of grids of one width, of cubes (three distances) and of chains.
Messages are then whole vectors over the variables, one per distance and direction, an iteration
shifts vectors and gathers nothing. The arithmetic is that of ``pairwise``.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int32

from inference.message_passing import edge_graph
from inference.message_passing.layouts import pairwise
from inference.message_passing.rules import Array

_static = {"static": True}
MOST_OFFSETS = 4
LEAST_FILLED = 0.5  # of all edges at these distances: what is missing is computed all the same


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Stencil(pairwise.Ports[tuple[jax.Array, ...]]):
    """Vectors over variables; make it with ``prepare``.

    Its messages are a tuple with, for each distance d, those from variable i - d to i and those
    from i + d to i, each [V].

    Attributes:
      fields: [V], as the arithmetic represents them.
      strengths: [V] for each vector of messages; a missing edge says nothing.
      graph_ids: int32 [V].
      offsets: the distances d.
    """

    fields: Float[Array, " V"]
    strengths: tuple[Float[Array, " V"], ...]
    graph_ids: Int32[Array, " V"]
    offsets: tuple[int, ...] = dataclasses.field(metadata=_static)

    def enter(self, messages: Array) -> tuple[jax.Array, ...]:
        """Log ratios [E] of ``edge_graph`` in this layout."""
        flat = self.flat(messages, len(self.strengths) * len(self.fields))
        return tuple(flat.reshape(len(self.strengths), -1))

    def collect(self, messages: tuple[jax.Array, ...]) -> None:
        """Nothing is worth keeping: cavities are made where they are sent."""

    def send(self, messages: tuple[jax.Array, ...], cavities: None) -> tuple[jax.Array, ...]:
        """One round of flooding."""
        combine, transfer = self.arithmetic.combine, self.arithmetic.transfer
        pairs = list(zip(messages[::2], messages[1::2]))
        both = [combine(*pair) for pair in pairs]
        moved: list[jax.Array] = []
        for at, (offset, (behind, ahead)) in enumerate(zip(self.offsets, pairs)):
            others = functools.reduce(combine, both[:at] + both[at + 1 :], self.fields)
            to_ahead, to_behind = self.strengths[2 * at], self.strengths[2 * at + 1]
            moved.append(transfer(to_ahead, _shift(combine(others, behind), offset)))
            moved.append(transfer(to_behind, _shift(combine(others, ahead), -offset)))
        return tuple(moved)


def prepare(model: edge_graph.EdgeModel) -> Stencil | None:
    """The layout of a model, in numpy arrays; None where there is none or it would not pay."""
    spins = pairwise.ising(model)
    if spins is None:
        return None
    low, high = spins.pairs.min(axis=1), spins.pairs.max(axis=1)
    offsets, which = np.unique(high - low, return_inverse=True)
    size, number = len(model.log_unary), len(low)
    is_simple = len(offsets) <= MOST_OFFSETS and len(np.unique(which * size + low)) == number
    if not is_simple or number < LEAST_FILLED * (size * len(offsets) - offsets.sum()):
        return None
    strengths = np.zeros((2 * len(offsets), size))
    strengths[2 * which, high] = strengths[2 * which + 1, low] = spins.couplings
    from_behind = spins.pairs == high[:, None]  # the message goes to the higher one
    vectors = 2 * which[:, None] + ~from_behind
    represent, dtype = pairwise.representation(spins.arithmetic), model.log_unary.dtype
    return Stencil(
        *pairwise.ports(model, spins, (vectors * size + spins.pairs).ravel()),
        represent(spins.fields).astype(dtype),
        tuple(represent(strengths).astype(dtype)),
        model.graph_ids,
        tuple(offsets.tolist()),
    )


def _shift(vector: jax.Array, offset: int) -> jax.Array:
    """The vector moved on by so many places; ones come in, which strengths of 0 make irrelevant."""
    return jax.lax.pad(vector, jnp.ones((), vector.dtype), [(offset, -offset, 0)])
