"""What a layout of messages offers, and all of them in order, fastest first.

    >>> layout = choose(edge_graph.prepare(generators.ising_grid(3, 3, 0.5)))
    >>> type(layout).__name__, isinstance(layout, Layout)
    ('Stencil', True)

A new layout is one file with a class and a ``prepare``, and one row of ``LAYOUTS``.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import jax

from inference.message_passing import edge_graph
from inference.message_passing.layouts import binary, general, pairwise, stencil, tables
from inference.message_passing.rules import Array

M = TypeVar("M")  # messages: an array, or a tuple of arrays


@runtime_checkable
class Layout(Protocol[M]):
    """A model prepared for fast rounds: a pytree of arrays; its methods are traced by JAX.

    The messages are those of ``edge_graph`` in another order and representation M, logarithms or
    ratios. However they are laid out, every round makes the same messages, up to rounding and to
    what ``cuts`` tells.

    Attributes:
      cuts: whether logarithms far out are cut, hard zeros among them; what converges must then
        stand a round of ``edge_graph``.
    """

    cuts: ClassVar[bool]

    def enter(self, messages: Array) -> M:
        """Messages of ``edge_graph``, [E] or [E, S], in this layout; cut to what it can hold."""

    def leave(self, messages: M) -> jax.Array:
        """The way back: log ratios [E] or normalised rows [E, S], in the order of the edges."""

    def collect(self, messages: M) -> Any:
        """The cavities: what each edge's variable tells its factor, as ``send`` wants it."""

    def send(self, messages: M, cavities: Any) -> M:
        """One round of flooding: every message anew from the cavities of these messages."""

    def mix(self, old: M, new: M, weight: float) -> M:
        """Messages whose logarithms are ``weight`` of the old plus the rest of the new ones."""

    def change(self, old: M, new: M, num_graphs: int) -> jax.Array:
        """The largest change of a logarithm in each graph, [G], in nats; not of padding."""

    def keep(self, frozen: Array, old: M, new: M) -> M:
        """The old messages of frozen graphs, bool [G], and the new ones of the others."""


#: Each layout with what makes it from a model, None where it does not fit.
LAYOUTS: dict[type[Layout[Any]], Callable[[edge_graph.EdgeModel], Layout[Any] | None]] = {
    stencil.Stencil: stencil.prepare,
    pairwise.Pairwise: pairwise.prepare,
    binary.Binary: binary.prepare,
    tables.Tables: tables.prepare,
    general.General: general.prepare,
}


def choose(model: edge_graph.EdgeModel) -> Layout[Any]:
    """The first layout that takes a model."""
    return next(layout for make in LAYOUTS.values() if (layout := make(model)) is not None)
