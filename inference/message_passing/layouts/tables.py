"""Fast belief propagation on table factors of any arity and domain.

    >>> graph = factor_graph.build([2, 3], [((0, 1), np.zeros((2, 3)))])
    >>> layout = prepare(edge_graph.prepare(graph))
    >>> layout.enter(edge_graph.start(edge_graph.prepare(graph))).shape
    (5,)

Messages are logarithms, as in ``edge_graph``; a factor multiplies probabilities, scaled so that the
largest is 1. Every edge has its factor's table with its own variable's axis first; edges whose
tables have like shapes, rounded up, form one block, so that a model of many small groups is a few
array operations. Edges run along the last axis, which is what vector units work on.

What lies more than 80 nats below the largest entry (700 in float64) is lifted to there, hard zeros
among them, and counts as a hard zero when it leaves the layout again, where the graph has any.
"""

import dataclasses
import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int32

from inference.message_passing import edge_graph, rules
from inference.message_passing.layouts import pairwise
from inference.message_passing.rules import Array
from inference.problems import factor_graph

_static = {"static": True}
MOST_ENTRIES = 2**24  # of all tables, one per edge, rounded up
_UNROLLED = 256  # terms of a sum that is written out
_JOINED = 2**9  # table entries more, where a block is padded to join another: rounds stay as fast
_LOWEST = -1e6  # of a unary, so that no difference is NaN


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class VariableBlock:
    """Variables of like degree and domain.

    Attributes:
      log_unary: [S, W].
      entries: int32 [d, S, W], where the messages to them stand; past the degree, at the end.
    """

    log_unary: Float[Array, "S W"]
    entries: Int32[Array, "d S W"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class EdgeBlock:
    """Edges of like tables.

    Attributes:
      tables: [S, s2, ..., sk, N], the variable's axis first, largest entry 1.
      others: for each further axis an int32 [s, N], where the cavity of its variable stands.
    """

    tables: Float[Array, "... N"]
    others: tuple[Int32[Array, "_ N"], ...]


@dataclasses.dataclass(frozen=True)
class Cut(pairwise.Combined[jax.Array]):
    """What layouts of tables share: logarithms far out are cut.

    Attributes:
      graph_ids: int32 [M].
      floor: the smallest logarithm.
      has_zeros: whether a state is impossible, or past a domain.
    """

    cuts: ClassVar[bool] = True
    graph_ids: Int32[Array, " M"]
    floor: float = dataclasses.field(metadata=_static)
    has_zeros: bool = dataclasses.field(metadata=_static)
    temperature: int = dataclasses.field(metadata=_static)

    @property
    def combine(self) -> Callable:
        """Sums over states, or maxima."""
        return jnp.maximum if self.temperature == 0 else jnp.add


def cut(model: edge_graph.EdgeModel, graph_ids: Array) -> tuple[Array, float, bool, int]:
    """The fields of ``Cut`` for the layout of a model."""
    log_unary, tables = edge_graph.potentials(model)
    has_zeros = not all(np.isfinite(values).all() for values in (log_unary, *tables))
    floor = -80.0 if model.log_unary.dtype.itemsize <= 4 else -700.0
    return graph_ids, floor, has_zeros, model.temperature


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Tables(Cut):
    """Messages [M] by block, state and edge; make it with ``prepare``.

    Attributes:
      places: int32 [E, S], where each message of ``edge_graph`` stands, M past its domain.
    """

    variables: tuple[VariableBlock, ...]
    edges: tuple[EdgeBlock, ...]
    places: Int32[Array, "E S"]

    def enter(self, messages: Array) -> jax.Array:
        """Messages of ``edge_graph`` in this layout."""
        empty = jnp.zeros(len(self.graph_ids) + 1, self.variables[0].log_unary.dtype)
        rows = jnp.asarray(messages)
        top = jnp.max(rows, axis=-1, keepdims=True)
        inside = jnp.maximum(rows - jnp.where(jnp.isfinite(top), top, 0.0), self.floor)
        return empty.at[self.places].set(inside.astype(empty.dtype))[:-1]

    def leave(self, messages: jax.Array) -> jax.Array:
        """Messages as ``edge_graph`` has them."""
        if self.has_zeros:
            messages = jnp.where(messages <= 0.99 * self.floor, -jnp.inf, messages)
        return rules.normalize(jnp.append(messages, -jnp.inf)[self.places])

    def collect(self, messages: jax.Array) -> jax.Array:
        """The cavity beside each message, as scaled probabilities."""
        padded = jnp.pad(messages, (0, 1))
        return jnp.concatenate([_cavities(block, padded, self.floor) for block in self.variables])

    def send(self, messages: jax.Array, cavities: jax.Array) -> jax.Array:
        """The messages that cavities make: one round of flooding."""
        parts = [_outgoing(block, cavities, self.combine, self.floor) for block in self.edges]
        return jnp.concatenate(parts)


def _cavities(block: VariableBlock, messages: jax.Array, floor: float) -> jax.Array:
    """Scaled probabilities, d, S and W end to end."""
    others = rules.exclusive(jnp.add, messages[block.entries], 0.0, axis=0)
    logs = others + block.log_unary[None]
    return jnp.exp(jnp.maximum(logs - jnp.max(logs, axis=1, keepdims=True), floor)).ravel()


def _outgoing(block: EdgeBlock, incoming: jax.Array, combine: Callable, floor: float) -> jax.Array:
    """Logarithms, S and N end to end; cavities and tables are scaled, so sums are at most s^k."""
    values = block.tables
    for at in reversed(block.others):
        values = contract(values, incoming[at], combine)
    return jnp.log(jnp.maximum(values, math.exp(floor))).ravel()


def contract(values: Array, row: Array, combine: Callable) -> Array:
    """Multiplies by a row [s, N] and sums, or maximises, over the last axis but one."""
    if values.size // values.shape[-1] <= _UNROLLED:
        wide = row.reshape(len(row), *(1,) * (values.ndim - 2), -1)
        return functools.reduce(combine, [values[..., x, :] * wide[x] for x in range(len(row))])
    product = values * row.reshape(*(1,) * (values.ndim - 2), *row.shape)
    return jnp.max(product, -2) if combine is jnp.maximum else jnp.sum(product, -2)


def prepare(model: edge_graph.EdgeModel) -> Tables | None:
    """The layout of a model, in numpy arrays; None for other factors than tables, or large ones."""
    blocks = edge_blocks(model.groups)
    if not blocks:
        return None
    num_edges, dtype = len(model.edge_variables), model.log_unary.dtype
    starts, strides = np.zeros((2, num_edges + 1), np.int64)
    first = 0
    for (size, *_), pieces in blocks.items():
        edges = np.concatenate([piece.edges for piece in pieces])
        starts[edges], strides[edges] = first + np.arange(len(edges)), len(edges)
        first += size * len(edges)
    starts[num_edges] = first  # nothing stands there
    domains = np.ones(len(model.log_unary), np.int64)
    for group in edge_graph.table_groups(model.groups):
        domains[group.variables] = group.log_potentials.shape[1:]
    states = np.arange(model.log_unary.shape[1])
    places = starts[:-1, None] + states * strides[:-1, None]
    places = np.where(states < domains[model.edge_variables][:, None], places, first)
    ids = np.zeros(first + 1, np.int32)
    ids[places] = model.graph_ids[model.edge_variables][:, None]
    variables, at = _variable_blocks(model, domains, starts, strides)
    return Tables(
        *cut(model, ids[:-1]),
        tuple(variables),
        tuple(_edge_block(key, pieces, at, dtype) for key, pieces in blocks.items()),
        places.astype(np.int32),
    )


class Piece(NamedTuple):
    """A slot of a group: tables [F, S, s2, ...], its edges [F], those of the others [F, k-1]."""

    tables: np.ndarray
    edges: np.ndarray
    others: np.ndarray


def _round_up(size: int) -> int:
    """The next size among 1, 2, 3, 4, 6, 8, 12, 16, ..."""
    power = 2 ** max(size - 1, 0).bit_length()
    return size if size < 3 else (3 * power // 4 if size <= 3 * power // 4 else power)


def _rounded_entries(group: factor_graph.FactorGroup) -> int:
    number, arity = group.variables.shape
    return number * arity * math.prod(map(_round_up, group.log_potentials.shape[1:]))


def edge_blocks(groups: Sequence[edge_graph.Group]) -> dict[tuple[int, ...], list[Piece]] | None:
    """Slots by rounded shape: their own axis, then the others from large to small.

    None where there are other factors than tables, or where tables would take too much memory.
    """
    own = edge_graph.table_groups(groups)
    if len(own) < len(groups) or sum(map(_rounded_entries, own)) > MOST_ENTRIES:
        return None
    blocks: dict[tuple[int, ...], list[Piece]] = {}
    first = 0
    for group in own:
        number, arity = group.variables.shape
        edges = first + np.arange(number * arity).reshape(number, arity)
        first += edges.size
        shape = [_round_up(size) for size in group.log_potentials.shape[1:]]
        peaks = group.log_potentials.reshape(number, -1).max(axis=1, initial=-np.inf)
        peaks = np.where(np.isfinite(peaks), peaks, 0.0).reshape(-1, *(1,) * arity)
        tables = np.zeros((number, *shape))
        inside = tuple(slice(size) for size in group.log_potentials.shape[1:])
        tables[(slice(None), *inside)] = np.exp(group.log_potentials - peaks)
        for slot in range(arity):
            others = sorted(set(range(arity)) - {slot}, key=lambda j: -shape[j])
            axes = (0, slot + 1, *(j + 1 for j in others))
            piece = Piece(tables.transpose(axes), edges[:, slot], edges[:, others])
            blocks.setdefault(piece.tables.shape[1:], []).append(piece)
    return _joined(blocks)


def _joined(blocks: dict[tuple[int, ...], list[Piece]]) -> dict[tuple[int, ...], list[Piece]]:
    """Small blocks padded into larger shapes: each block costs a third of a second to compile."""
    kept = dict(blocks)
    for key in sorted(blocks, key=math.prod):
        number = sum(len(piece.edges) for piece in kept[key])
        larger = [
            other
            for other in kept
            if len(other) == len(key) and other != key and all(map(operator.ge, other, key))
        ]
        best = min(larger, key=math.prod, default=key)
        if best == key or number * (math.prod(best) - math.prod(key)) > _JOINED:
            continue
        kept[best] = kept[best] + [_padded(piece, best) for piece in kept.pop(key)]
    return kept


def _padded(piece: Piece, shape: tuple[int, ...]) -> Piece:
    more = [(0, 0), *((0, a - b) for a, b in zip(shape, piece.tables.shape[1:]))]
    return piece._replace(tables=np.pad(piece.tables, more))


def _edge_block(key: tuple, pieces: list[Piece], at: tuple, dtype: np.dtype) -> EdgeBlock:
    starts, strides, depths = at  # of cavities
    tables = np.concatenate([piece.tables for piece in pieces])
    others = np.concatenate([piece.others for piece in pieces]).T
    # Past a variable's states the table is 0, so any cavity there will do.
    rows = (
        starts[edges] + np.minimum(np.arange(size)[:, None], depths[edges] - 1) * strides[edges]
        for size, edges in zip(key[1:], others)
    )
    return EdgeBlock(
        np.ascontiguousarray(np.moveaxis(tables, 0, -1)).astype(dtype),
        tuple(row.astype(np.int32) for row in rows),
    )


def _variable_blocks(
    model: edge_graph.EdgeModel, domains: np.ndarray, starts: np.ndarray, strides: np.ndarray
) -> tuple[list[VariableBlock], tuple[np.ndarray, ...]]:
    """The blocks, and where the cavity of each edge starts, with the stride of its states.

    And how many of these there are.
    """
    blocks, first, at = [], 0, np.zeros((3, len(starts)), np.int64)
    rounded = np.array([_round_up(size) for size in domains.tolist()])
    for slots, owners in zip(model.slots, model.owners):
        for size in np.unique(rounded[owners]).tolist():
            mine = rounded[owners] == size
            edges, width = slots[:, mine], int(mine.sum())
            states = np.arange(size)[:, None]
            entries = starts[edges][:, None] + states * strides[edges][:, None]
            log_unary = np.full((size, width), -np.inf)
            kept = min(size, model.log_unary.shape[1])
            log_unary[:kept] = model.log_unary[owners[mine], :kept].T
            lifted = np.maximum(log_unary, _LOWEST).astype(model.log_unary.dtype)
            blocks.append(VariableBlock(lifted, entries.astype(np.int32)))
            depth = np.arange(len(edges))[:, None]
            at[0, edges], at[1, edges] = first + depth * size * width + np.arange(width), width
            at[2, edges] = size
            first += edges.size * size
    return blocks, (at[0], at[1], at[2])
