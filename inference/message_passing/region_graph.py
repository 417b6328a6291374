"""Regions of variables, how often each counts, and where the entries of their tables are.

    >>> regions = build(factor_graph.build([2] * 3, []), [(0, 1), (1, 2)])
    >>> regions.inner, regions.counting.tolist()
    ([(1,)], [-1])

Outer regions are the large sets; inner regions are all their intersections, and intersections of
those. Counting numbers make every variable and every factor count once: 1 for outer regions, for
others one minus those of all regions that contain them (Yedidia, Freeman and Weiss, "Constructing
free-energy approximations and generalized belief propagation algorithms", 2005, section V).
"""

import functools
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import networkx as nx
import numpy as np

from inference.problems import convert, factor_graph

MAX_LOOPS = 200_000  # looked at in dense graphs, a second or two

Region = tuple[int, ...]  # increasing variables


class Regions(NamedTuple):
    """Sets of variables.

    Attributes:
      outer: none contains another, smallest tables first; every factor and variable is in one.
      inner: intersections of outer regions, largest first.
      counting: counting numbers of the inner regions, int64.
      parents: for each inner region the outer regions that contain it, as indices.
    """

    outer: list[Region]
    inner: list[Region]
    counting: np.ndarray
    parents: list[list[int]]


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


def affordable(graph: factor_graph.FactorGraph) -> list[Region]:
    """``loops_around`` where they are not too large, else ``short_loops``, else nothing.

    Measured by the entries of each table, of all tables, and the pairs of regions that meet at a
    variable.
    """
    sizes = np.asarray(graph.num_states)
    loops = short_loops(graph)
    for sets, largest, most in ((_unions(loops), 2**10, 2**18), (loops, 2**16, 2**21)):
        entries = [_entries(sizes, one) for one in sets]
        meetings = np.bincount(np.concatenate([[0], *sets]).astype(int)) ** 2
        if max(entries, default=0) <= largest and max(sum(entries), meetings.sum()) <= most:
            return sets
    return []


def short_loops(graph: factor_graph.FactorGraph, length: int = 4) -> list[Region]:
    """Independent cycles of up to ``length`` variables, in the graph of who shares a factor.

    They have no chords, and none is a sum modulo 2 of others: with all triangles of a dense graph
    the free energy can be off by hundreds of nats. Those inside a factor come first, then short
    ones, so that a complete graph is left with the triangles at its first variable (Gelfand and
    Welling, "Generalized belief propagation on tree-robust structured region graphs", UAI 2012).
    """
    joined = convert.interaction_graph(graph)
    bits = {edge: 1 << at for at, edge in enumerate(sorted(map(_sorted, joined.edges)))}
    basis: dict[int, int] = {}
    kept = []
    factors = _Index(scope for group in graph.groups for scope in map(_sorted, group.variables))
    loops = itertools.islice(_chordless_cycles(joined, length), MAX_LOOPS)
    for loop in sorted(loops, key=lambda loop: (not factors.containing(loop), len(loop), loop)):
        cycle = sum(bits.get(pair, 0) for pair in itertools.combinations(loop, 2))
        while cycle.bit_length() in basis:
            cycle ^= basis[cycle.bit_length()]
        if cycle:
            basis[cycle.bit_length()] = cycle
            kept.append(loop)
    return kept


def loops_around(graph: factor_graph.FactorGraph, length: int = 4) -> list[Region]:
    """For each variable the union of its short loops: blocks of 3 x 3 on a square grid."""
    return _unions(short_loops(graph, length))


def build(graph: factor_graph.FactorGraph, sets: Iterable[Iterable[int]]) -> Regions:
    """Regions from outer ``sets``; what factors and variables are in none become sets as well.

    An inner region that counts 0 is left out where larger ones already force the outer regions
    around it to agree on it: it would only slow the messages down.

    Raises:
      ValueError: a set names a variable that there is not.
    """
    last = graph.num_variables - 1
    scopes = [_sorted(set(map(int, one))) for one in sets]
    for scope in scopes:
        if scope and not 0 <= scope[0] <= scope[-1] <= last:
            raise ValueError(f"expected regions of variables in 0..{last}, given {scope}")
    for group in graph.groups:
        scopes += [_sorted(scope) for scope in np.asarray(group.variables).tolist()]
    scopes += [(variable,) for variable in range(graph.num_variables)]
    sizes = np.asarray(graph.num_states)
    outer = sorted(_maximal(scopes), key=lambda region: (_entries(sizes, region), region))
    inner = sorted(_intersections(outer), key=lambda region: (-len(region), region))
    index = _Index(outer)
    parents = [index.containing(region) for region in inner]
    counting = _counting_numbers(inner, parents)
    kept = _needed(inner, parents, counting)
    return Regions(outer, [inner[at] for at in kept], counting[kept], [parents[at] for at in kept])


def lay_out(graph: factor_graph.FactorGraph, regions: Regions) -> RegionLayout:
    """Tables and indices for a graph of table factors; each enters one outer region."""
    sizes = np.asarray(graph.num_states)
    tables = _outer_tables(graph, regions.outer)
    starts = _starts([table.size for table in tables])
    inner_sizes = [_entries(sizes, region) for region in regions.inner]
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


def octets(graph: factor_graph.FactorGraph, regions: Regions) -> int:
    """What ``lay_out`` of a graph of tables and messages over it take.

    40 for each entry of an outer table, 16 more for each inner region inside, and 64 for each
    entry of a message.
    """
    sizes = np.asarray(graph.num_states)
    tables = [_entries(sizes, region) for region in regions.outer]
    inside = sum(tables[other] for above in regions.parents for other in above)
    messages = (_entries(sizes, r) * len(a) for r, a in zip(regions.inner, regions.parents))
    return 40 * sum(tables) + 16 * inside + 64 * sum(messages)


def logical_octets(graph: factor_graph.FactorGraph) -> float:
    """What clauses and parities take as tables: 8 for each of 2^k entries."""
    groups = (g for g in graph.groups if not isinstance(g, factor_graph.FactorGroup))
    return 8.0 * sum(np.exp2(np.sum(group.mask, axis=1)).sum() for group in groups)


def _chordless_cycles(joined: nx.Graph, length: int) -> Iterator[Region]:
    """By their smallest variable, along paths without shortcuts.

    ``networkx.chordless_cycles`` does the same, in minutes where this takes a tenth of a second.
    """
    around = {variable: set(joined[variable]) for variable in joined}
    paths = sorted(map(_sorted, joined.edges), reverse=True) if length >= 3 else []
    while paths:
        path = paths.pop()
        for following in sorted(around[path[-1]]):
            touched = around[following].intersection(path[:-1])
            if following <= path[0] or following in path or not touched <= {path[0]}:
                continue
            if touched and following > path[1]:  # closed, in one of its two directions
                yield _sorted((*path, following))
            elif not touched and len(path) + 1 < length:
                paths.append((*path, following))


def _sorted(variables: Iterable[int]) -> Region:
    return tuple(sorted(variables))


def _unions(loops: list[Region]) -> list[Region]:
    unions: dict[int, set[int]] = defaultdict(set)
    for loop in loops:
        for variable in loop:
            unions[variable].update(loop)
    return [_sorted(union) for union in unions.values()]


class _Index:
    """Which of some regions contain a set of variables."""

    def __init__(self, regions: Iterable[Region] = ()):
        self._around: dict[int, set[int]] = defaultdict(set)
        self.regions: list[Region] = []
        for region in regions:
            self.add(region)

    def add(self, region: Region) -> None:
        for variable in region:
            self._around[variable].add(len(self.regions))
        self.regions.append(region)

    def containing(self, region: Region) -> list[int]:
        return sorted(set.intersection(*(self._around[variable] for variable in region)))

    def touching(self, region: Region) -> set[int]:
        return set().union(*(self._around[variable] for variable in region))


def _maximal(scopes: Iterable[Region]) -> list[Region]:
    """The sets contained in no other, without repeats."""
    kept = _Index()
    for scope in sorted(set(scopes), key=len, reverse=True):
        if scope and not kept.containing(scope):
            kept.add(scope)
    return kept.regions


def _intersections(outer: list[Region]) -> set[Region]:
    """All non-empty intersections of two or more outer regions."""
    index, members = _Index(outer), [set(region) for region in outer]
    found: set[Region] = set()
    fresh = list(outer)
    while fresh:
        region = fresh.pop()
        for other in index.touching(region):
            common = _sorted(members[other].intersection(region))
            if common != region and common not in found:
                found.add(common)
                fresh.append(common)
    return found


def _counting_numbers(inner: list[Region], parents: list[list[int]]) -> np.ndarray:
    """One minus the counting numbers of all that contains a region; ``inner``: largest first."""
    index = _Index(inner)
    counting = np.zeros(len(inner), dtype=np.int64)
    for at, region in enumerate(inner):
        above = [other for other in index.containing(region) if other != at]
        counting[at] = 1 - len(parents[at]) - counting[above].sum()
    return counting


def _needed(inner: list[Region], parents: list[list[int]], counting: np.ndarray) -> list[int]:
    """The inner regions that count, and those that alone make some outer regions agree."""
    kept: list[int] = []
    index = _Index()
    for at, region in enumerate(inner):  # the largest first
        larger = index.containing(region)
        links = nx.Graph()
        links.add_nodes_from(parents[at])
        for other in larger:
            nx.add_path(links, parents[kept[other]])
        if counting[at] or not nx.is_connected(links):
            kept.append(at)
            index.add(region)
    return kept


def _weights(regions: Regions) -> np.ndarray:
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


def _entries(sizes: np.ndarray, region: Region) -> int:
    return math.prod(sizes[list(region)].tolist())


def _starts(lengths: Sequence[int]) -> list[int]:
    return [0, *np.cumsum(lengths).tolist()][: len(lengths)]


def _outer_tables(graph: factor_graph.FactorGraph, outer: list[Region]) -> list[np.ndarray]:
    """The sum of the factors that each outer region is the first to contain."""
    sizes, index = np.asarray(graph.num_states), _Index(outer)
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
