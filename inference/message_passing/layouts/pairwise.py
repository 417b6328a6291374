"""Fast belief propagation on binary pairwise graphs without hard zeros.

    >>> graph = factor_graph.build([2, 2], [((0, 1), [[0.5, 0.0], [0.0, 0.5]])])
    >>> layout = prepare(edge_graph.prepare(graph))
    >>> round(float(layout.leave(layout.enter(np.ones(2)))[0]), 6)
    1.0

Every positive table over two binary variables is exp(c + g s + h t + J s t) for spins s, t = -1, 1.
With g and h moved to the variables a message depends on J and the cavity alone, and as the ratio
m(1) / m(0) it is (a r + 1) / (r + a), a = exp(2 J), without any exponential or logarithm. Ratios
are taken where no product of them can leave the range of the dtype; elsewhere, for couplings of
some tens of nats, log ratios are. Messages in and out are those of ``edge_graph``, and so are the
iterates: damping by one half of the logarithm is a square root of ratios.

Messages stand by the variable they go to, [d, W] for W variables of d neighbours, so that one
gather per iteration brings every cavity to the other end of its edge.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import ClassVar, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int32

from inference.message_passing import edge_graph
from inference.message_passing.rules import Array

_static = {"static": True}
M = TypeVar("M", jax.Array, tuple[jax.Array, ...])  # messages


class Arithmetic(NamedTuple):
    """How messages are represented and combined.

    Attributes:
      identity: the message that says nothing.
      combine, leave_out: of two values; of a combination and one part of it.
      transfer: what a factor makes of its strength and a cavity.
      mix: of the old message, the new one and the weight of the old one.
      from_log, to_log: log ratios to this representation and back.
    """

    identity: float
    combine: Callable
    leave_out: Callable
    transfer: Callable
    mix: Callable
    from_log: Callable
    to_log: Callable


def _transfer_ratio(strength: jax.Array, cavity: jax.Array) -> jax.Array:
    return (strength * cavity + 1) / (cavity + strength)


def _mix_ratios(old: jax.Array, new: jax.Array, weight: float) -> jax.Array:
    if weight == 0.5:
        return jnp.sqrt(old * new)
    return new if weight == 0 else jnp.exp(_mix_logs(jnp.log(old), jnp.log(new), weight))


def _transfer_log_ratio(strength: jax.Array, cavity: jax.Array) -> jax.Array:
    """logaddexp(2 J + x, 0) - logaddexp(2 J, x), as a clipped cavity and what rounds its corner."""
    apart, together = jnp.abs(cavity - strength), jnp.abs(cavity + strength)
    corner = jnp.log((1 + jnp.exp(-together)) / (1 + jnp.exp(-apart)))
    return _clip_cavity(strength, cavity) + corner


def _clip_cavity(strength: jax.Array, cavity: jax.Array) -> jax.Array:
    most = jnp.abs(strength)
    return jnp.sign(strength) * jnp.clip(cavity, -most, most)


def _mix_logs(old: jax.Array, new: jax.Array, weight: float) -> jax.Array:
    return new if weight == 0 else weight * old + (1 - weight) * new


def _same(value: jax.Array) -> jax.Array:
    return value


RATIOS = Arithmetic(1.0, jnp.multiply, jnp.divide, _transfer_ratio, _mix_ratios, jnp.exp, jnp.log)
LOGS = Arithmetic(0.0, jnp.add, jnp.subtract, _transfer_log_ratio, _mix_logs, _same, _same)
MAXIMA = LOGS._replace(transfer=_clip_cavity)  # the limit of temperature 0


class Combined(Generic[M]):
    """What layouts share that combine messages by an ``arithmetic``, arrays like ``graph_ids``."""

    cuts: ClassVar[bool] = False
    graph_ids: Array
    arithmetic: Arithmetic = LOGS

    def mix(self, old: M, new: M, weight: float) -> M:
        """Damping of the logarithms."""
        return jax.tree.map(lambda a, b: self.arithmetic.mix(a, b, weight), old, new)

    def change(self, old: M, new: M, num_graphs: int) -> jax.Array:
        """The largest change of a logarithm in each graph, [G]."""
        before, after = (map(self.arithmetic.to_log, jax.tree.leaves(m)) for m in (old, new))
        far = functools.reduce(jnp.maximum, (jnp.abs(b - a) for a, b in zip(before, after)))
        return edge_graph.largest_by_graph(far, self.graph_ids, num_graphs)

    def keep(self, frozen: Array, old: M, new: M) -> M:
        """Old messages for frozen graphs, bool [G], else new ones."""
        stays = frozen[self.graph_ids]
        return jax.tree.map(lambda a, b: jnp.where(stays, a, b), old, new)


class Ising(NamedTuple):
    """A binary pairwise graph as couplings and fields, on the host.

    Attributes:
      pairs: int [F, 2], in the order of the graph's factors.
      couplings: 2 J, [F].
      shifts: [F, 2], what is added to a message to get that of the graph's own table.
      fields: log ratios [V]; 0 for variables without neighbours.
      most: the largest absolute start message that cannot overflow ``arithmetic``.
    """

    pairs: np.ndarray
    couplings: np.ndarray
    shifts: np.ndarray
    fields: np.ndarray
    arithmetic: Arithmetic
    most: float


def ising(model: edge_graph.EdgeModel) -> Ising | None:
    """The couplings and fields of a model; None where it is not pairwise, binary and positive."""
    groups = [g for g in edge_graph.table_groups(model.groups) if g.variables.shape[1] == 2]
    if not (model.is_binary and groups) or len(groups) < len(model.groups):
        return None
    pairs = np.concatenate([group.variables for group in groups])
    tables = np.concatenate([group.log_potentials for group in groups]).astype(np.float64)
    size = len(model.log_unary)
    degrees = np.bincount(pairs.ravel(), minlength=size)
    joined = degrees > 0
    if not (np.isfinite(tables).all() and np.isfinite(model.log_unary[joined]).all()):
        return None
    couplings = (tables[:, 0, 0] + tables[:, 1, 1] - tables[:, 0, 1] - tables[:, 1, 0]) / 2
    first = (tables[:, 1, 0] + tables[:, 1, 1] - tables[:, 0, 0] - tables[:, 0, 1]) / 2
    second = (tables[:, 0, 1] + tables[:, 1, 1] - tables[:, 0, 0] - tables[:, 1, 0]) / 2
    shifts = np.stack([first, second], axis=1)
    fields = np.zeros(size)
    fields[joined] = model.log_unary[joined, 1] - model.log_unary[joined, 0]
    fields += np.bincount(pairs.ravel(), shifts.ravel(), size)
    strongest = np.abs(fields) + np.bincount(pairs.ravel(), np.repeat(np.abs(couplings), 2), size)
    limit = 80.0 if model.log_unary.dtype.itemsize <= 4 else 700.0
    most = min(limit / 2, (limit - np.abs(fields).max()) / max(degrees.max(), 1))
    arithmetic = MAXIMA if model.temperature == 0 else LOGS
    # The square root of damping takes the product of two messages over one edge.
    if arithmetic is LOGS and max(strongest.max(), 2 * np.abs(couplings).max()) < 0.75 * limit:
        arithmetic = RATIOS
    return Ising(pairs, couplings, shifts, fields, arithmetic, most)


@dataclasses.dataclass(frozen=True)
class Ports(Combined[M]):
    """How messages of ``edge_graph`` pass into a layout of log ratios or ratios, and out of it.

    Attributes:
      places: int32 [E], where each message stands in the layout's, end to end.
      shifts: [E], what is added to its log ratio there to get that of the graph's own table.
      most: the largest absolute log ratio that is let in.
    """

    places: Int32[Array, " E"]
    shifts: Float[Array, " E"]
    most: Float[Array, ""]
    arithmetic: Arithmetic = dataclasses.field(metadata=_static)

    def flat(self, messages: Array, size: int) -> jax.Array:
        """Log ratios [E] as ``size`` messages of the layout, end to end."""
        bare = jnp.asarray(messages, self.shifts.dtype) - self.shifts
        inside = self.arithmetic.from_log(jnp.clip(bare, -self.most, self.most))
        return jnp.full(size, self.arithmetic.identity, bare.dtype).at[self.places].set(inside)

    def leave(self, messages: M) -> jax.Array:
        """The log ratios [E] of ``edge_graph``."""
        flat = jnp.concatenate(jax.tree.leaves(messages))
        return self.arithmetic.to_log(flat[self.places]) + self.shifts


def ports(
    model: edge_graph.EdgeModel, spins: Ising, places: Array
) -> tuple[Array, Array, Array, Arithmetic]:
    """The fields of ``Ports`` for a layout with its messages at these places."""
    shifts = spins.shifts.ravel().astype(model.log_unary.dtype)
    return places.astype(np.int32), shifts, np.asarray(spins.most, shifts.dtype), spins.arithmetic


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pairwise(Ports[jax.Array]):
    """Messages [N] by the variable they go to; make it with ``prepare``.

    Attributes:
      fields: [W] per degree, as ``arithmetic`` represents them.
      strengths: [N], of the factor of each message; that of padding says nothing.
      partners: int32 [N], the message over the same edge the other way.
      graph_ids: int32 [N].
      shapes: (d, W) per degree.
    """

    fields: tuple[Float[Array, " _"], ...]
    strengths: Float[Array, " N"]
    partners: Int32[Array, " N"]
    graph_ids: Int32[Array, " N"]
    shapes: tuple[tuple[int, ...], ...] = dataclasses.field(metadata=_static)

    def enter(self, messages: Array) -> jax.Array:
        """Log ratios [E] of ``edge_graph`` in this layout."""
        return self.flat(messages, len(self.strengths))

    def collect(self, messages: jax.Array) -> jax.Array:
        """The cavity beside each message, [N]: its variable's field and other messages."""
        cavities, at = [], 0
        for (depth, width), field in zip(self.shapes, self.fields):
            own = messages[at : at + depth * width].reshape(depth, width)
            total = functools.reduce(self.arithmetic.combine, own, field)
            cavities.append(self.arithmetic.leave_out(total[None], own).ravel())
            at += depth * width
        return jnp.concatenate(cavities)

    def send(self, messages: jax.Array, cavities: jax.Array) -> jax.Array:
        """The messages that cavities make: one round of flooding."""
        incoming = cavities.at[self.partners].get(mode="promise_in_bounds")
        return self.arithmetic.transfer(self.strengths, incoming)


def prepare(model: edge_graph.EdgeModel) -> Pairwise | None:
    """The layout of a model, in numpy arrays; None where ``ising`` has none."""
    spins = ising(model)
    if spins is None:
        return None
    num_messages = sum(slots.size for slots in model.slots)
    partners = np.arange(num_messages, dtype=np.int32)
    partners[model.places] = model.places[np.arange(len(model.places)) ^ 1]  # slots 0 and 1
    strengths = np.zeros(num_messages)
    strengths[model.places] = np.repeat(spins.couplings, 2)
    owners = [np.broadcast_to(o, s.shape) for o, s in zip(model.owners, model.slots)]
    represent, dtype = representation(spins.arithmetic), model.log_unary.dtype
    return Pairwise(
        *ports(model, spins, model.places),
        tuple(represent(spins.fields[own]).astype(dtype) for own in model.owners),
        represent(strengths).astype(dtype),
        partners,
        model.graph_ids[np.concatenate([np.ravel(o) for o in owners])],
        tuple(slots.shape for slots in model.slots),
    )


def representation(arithmetic: Arithmetic) -> Callable:
    """``from_log`` in numpy."""
    return np.exp if arithmetic is RATIOS else np.asarray
