"""Regions of variables, and how often each counts.

    >>> regions = build(factor_graph.build([2] * 3, []), [(0, 1), (1, 2)])
    >>> regions.inner, regions.counting.tolist()
    ([(1,)], [-1])

Outer regions are the large sets; inner regions are all their intersections, and intersections of
those. Counting numbers make every variable and every factor count once: 1 for outer regions, for
others one minus those of all regions that contain them (Yedidia, Freeman and Weiss, "Constructing
free-energy approximations and generalized belief propagation algorithms", 2005, section V).
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
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


class Index:
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


def affordable(graph: factor_graph.FactorGraph) -> list[Region]:
    """``loops_around`` where they are not too large, else ``short_loops``, else nothing.

    Measured by the entries of each table, of all tables, and the pairs of regions that meet at a
    variable.
    """
    sizes = np.asarray(graph.num_states)
    loops = short_loops(graph)
    for sets, largest, most in ((_unions(loops), 2**10, 2**18), (loops, 2**16, 2**21)):
        entries = [num_entries(sizes, one) for one in sets]
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
    factors = Index(scope for group in graph.groups for scope in map(_sorted, group.variables))
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
    outer = sorted(_maximal(scopes), key=lambda region: (num_entries(sizes, region), region))
    inner = sorted(_intersections(outer), key=lambda region: (-len(region), region))
    index = Index(outer)
    parents = [index.containing(region) for region in inner]
    counting = _counting_numbers(inner, parents)
    kept = _needed(inner, parents, counting)
    return Regions(outer, [inner[at] for at in kept], counting[kept], [parents[at] for at in kept])


def num_entries(sizes: np.ndarray, region: Region) -> int:
    """Of the table over a region."""
    return math.prod(sizes[list(region)].tolist())


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


def _maximal(scopes: Iterable[Region]) -> list[Region]:
    """The sets contained in no other, without repeats."""
    kept = Index()
    for scope in sorted(set(scopes), key=len, reverse=True):
        if scope and not kept.containing(scope):
            kept.add(scope)
    return kept.regions


def _intersections(outer: list[Region]) -> set[Region]:
    """All non-empty intersections of two or more outer regions."""
    index, members = Index(outer), [set(region) for region in outer]
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
    index = Index(inner)
    counting = np.zeros(len(inner), dtype=np.int64)
    for at, region in enumerate(inner):
        above = [other for other in index.containing(region) if other != at]
        counting[at] = 1 - len(parents[at]) - counting[above].sum()
    return counting


def _needed(inner: list[Region], parents: list[list[int]], counting: np.ndarray) -> list[int]:
    """The inner regions that count, and those that alone make some outer regions agree."""
    kept: list[int] = []
    index = Index()
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
