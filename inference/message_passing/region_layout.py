"""Where the entries of the tables and messages of regions are.

>>> graph = factor_graph.build([2] * 3, [])
>>> layout = lay_out(graph, region_graph.build(graph, [(0, 1), (1, 2)]))
>>> [table.shape for table in layout.log_tables], layout.belongs.tolist()
([(2, 4)], [0, 1, 0, 1])
"""

import functools
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from inference.message_passing import region_graph
from inference.problems import factor_graph


class RegionLayout(NamedTuple):
    """Where entries are, with all outer tables end to end and all messages end to end.

    A pair is an outer region and an inner one inside it; it has a message in each direction, over
    the states of the inner region. Pairs of one number of inner and outer entries form a block.

    Attributes:
      log_tables: for each size T of an outer table float [R, T], the factors inside.
      incoming: for each size int32 [R, K, T], which message entry each table entry receives from
        each of up to K inner regions; past the end of the messages where there are fewer.
      entries: for each block int32 [P, s, T / s], the table entries of each inner state.
      belongs: int32 [M], the entry of the inner beliefs that a message entry adds to.
      counting: float [I], counting numbers by entry of the inner beliefs.
      convex: float [I], the part of them that keeps the free energy convex.
      num_parents: float [I], numbers of outer regions around.
      steps: float [I], one over the most inner regions that one of those outer regions has.
    """

    log_tables: tuple[np.ndarray, ...]
    incoming: tuple[np.ndarray, ...]
    entries: tuple[np.ndarray, ...]
    belongs: np.ndarray
    counting: np.ndarray
    convex: np.ndarray
    num_parents: np.ndarray
    steps: np.ndarray


def lay_out(graph: factor_graph.FactorGraph, regions: region_graph.Regions) -> RegionLayout:
    """Tables and indices for a graph of table factors; each enters one outer region."""
    sizes = np.asarray(graph.num_states)
    tables = _outer_tables(graph, regions.outer)
    starts = _starts([table.size for table in tables])
    inner_sizes = [region_graph.num_entries(sizes, region) for region in regions.inner]
    inner_starts = _starts(inner_sizes)
    pairs = [(at, other) for at, above in enumerate(regions.parents) for other in above]
    pairs.sort(key=lambda pair: (inner_sizes[pair[0]], tables[pair[1]].size))
    message_starts = _starts([inner_sizes[at] for at, _ in pairs])
    blocks: dict[tuple[int, int], list[np.ndarray]] = defaultdict(list)
    received: list[list[np.ndarray]] = [[] for _ in tables]
    belongs = [np.zeros(0, dtype=np.int32)]
    for (at, other), start in zip(pairs, message_starts):
        axes = tuple(regions.outer[other].index(variable) for variable in regions.inner[at])
        states = _projection(tables[other].shape, axes)
        received[other].append(start + states)
        entries = np.argsort(states, kind="stable").reshape(inner_sizes[at], -1)
        blocks[entries.shape].append(starts[other] + entries)
        belongs.append(np.arange(inner_sizes[at], dtype=np.int32) + inner_starts[at])
    by_size = defaultdict(list)
    for at, table in enumerate(tables):  # the smallest first
        by_size[table.size].append(at)
    return RegionLayout(
        tuple(np.stack([tables[at].ravel() for at in rows]) for rows in by_size.values()),
        tuple(
            _pad([received[at] for at in rows], size, sum(map(len, belongs)))
            for size, rows in by_size.items()
        ),
        tuple(np.stack(block).astype(np.int32) for block in blocks.values()),
        np.concatenate(belongs),
        *(np.repeat(row, inner_sizes) for row in _weights(regions)),
    )


def octets(graph: factor_graph.FactorGraph, regions: region_graph.Regions) -> int:
    """What ``lay_out`` of a graph of tables and messages over it take.

    40 for each entry of an outer table, 16 more for each inner region inside, and 64 for each
    entry of a message.
    """
    sizes = np.asarray(graph.num_states)
    tables = [region_graph.num_entries(sizes, region) for region in regions.outer]
    inside = sum(tables[other] for above in regions.parents for other in above)
    messages = (
        region_graph.num_entries(sizes, r) * len(a) for r, a in zip(regions.inner, regions.parents)
    )
    return 40 * sum(tables) + 16 * inside + 64 * sum(messages)


def logical_octets(graph: factor_graph.FactorGraph) -> float:
    """What clauses and parities take as tables: 8 for each of 2^k entries."""
    groups = (g for g in graph.groups if not isinstance(g, factor_graph.FactorGroup))
    return 8.0 * sum(np.exp2(np.sum(group.mask, axis=1)).sum() for group in groups)


def _weights(regions: region_graph.Regions) -> np.ndarray:
    """``counting``, ``convex``, ``num_parents`` and ``steps``, one column per inner region.

    An outer region makes up for one inner entropy that counts negatively, as the entropy of the
    rest given the inner region is concave: it is shared among all of them that are inside.
    """
    inside, negative = np.zeros((2, len(regions.outer)))
    for above, count in zip(regions.parents, regions.counting):
        inside[above] += 1
        negative[above] += count < 0
    rows = np.zeros((4, len(regions.inner)))
    for at, (above, count) in enumerate(zip(regions.parents, regions.counting)):
        convex = max(count, -(1 / negative[above]).sum()) if count < 0 else count
        rows[:, at] = count, convex, len(above), 1 / inside[above].max()
    return rows


def _starts(lengths: Sequence[int]) -> list[int]:
    return [0, *np.cumsum(lengths).tolist()][: len(lengths)]


def _outer_tables(
    graph: factor_graph.FactorGraph, outer: list[region_graph.Region]
) -> list[np.ndarray]:
    """The sum of the factors that each outer region is the first to contain."""
    sizes, index = np.asarray(graph.num_states), region_graph.Index(outer)
    tables = [np.zeros(sizes[list(region)]) for region in outer]

    def add(scope: Sequence[int], table: np.ndarray) -> None:
        at = index.containing(tuple(scope))[0]
        axes = [scope.index(variable) for variable in outer[at] if variable in scope]
        shape = [sizes[variable] if variable in scope else 1 for variable in outer[at]]
        tables[at] += table.transpose(axes).reshape(shape)

    for variable, size in enumerate(sizes.tolist()):
        add((variable,), np.asarray(graph.log_unary)[variable, :size])
    for group in graph.groups:
        for scope, table in zip(group.variables.tolist(), np.asarray(group.log_potentials)):
            add(scope, table)
    return tables


@functools.lru_cache(maxsize=1000)
def _projection(shape: tuple[int, ...], axes: tuple[int, ...]) -> np.ndarray:
    """The entry of the table over ``axes`` that each entry of a table falls on, int32 [T]."""
    entries = np.arange(math.prod(shape[axis] for axis in axes), dtype=np.int32)
    kept = [size if axis in axes else 1 for axis, size in enumerate(shape)]
    return np.broadcast_to(entries.reshape(kept), shape).ravel()


def _pad(received: list[list[np.ndarray]], size: int, fill: int) -> np.ndarray:
    """Lists of rows of T entries as int32 [R, K, T]."""
    padded = np.full((len(received), max(map(len, received)), size), fill, dtype=np.int32)
    for row, states in enumerate(received):
        padded[row, : len(states)] = np.reshape(states, (-1, size))
    return padded
