"""Regions: loops, closure under intersection, counting numbers, layouts."""

import itertools

import networkx as nx
import numpy as np
import pytest

from inference.message_passing import region_graph, region_layout
from inference.problems import factor_graph, generators


def pairwise(num_variables, edges):
    return factor_graph.build([2] * num_variables, [(edge, np.zeros((2, 2))) for edge in edges])


@pytest.mark.parametrize("length", [2, 3, 4, 5, 7])
@pytest.mark.parametrize("density", [0.15, 0.3, 0.6])
def test_cycles_are_the_chordless_ones(length, density):
    graph = nx.gnp_random_graph(12, density, seed=length)
    found = region_graph._chordless_cycles(graph, length)
    cycles = nx.chordless_cycles(graph, length_bound=length)
    assert sorted(found) == sorted(tuple(sorted(cycle)) for cycle in cycles)


@pytest.mark.parametrize("density", [0.3, 0.6, 1.0])
def test_loops_are_independent_and_span_the_short_cycles(density):
    graph = nx.gnp_random_graph(10, density, seed=1)
    edges = {frozenset(edge): at for at, edge in enumerate(graph.edges)}
    cycles = [tuple(sorted(c)) for c in nx.chordless_cycles(graph, length_bound=4)]

    def rank(loops):
        rows = np.zeros((len(loops), len(edges)), dtype=bool)
        for row, loop in zip(rows, loops):
            row[
                [
                    edges[pair]
                    for pair in map(frozenset, itertools.combinations(loop, 2))
                    if pair in edges
                ]
            ] = True
        found = 0
        for column in range(len(edges)):
            pivots = np.flatnonzero(rows[found:, column]) + found
            if len(pivots):
                rows[[found, pivots[0]]] = rows[[pivots[0], found]]
                others = np.flatnonzero(rows[:, column])
                rows[others[others != found]] ^= rows[found]
                found += 1
        return found

    loops = region_graph.short_loops(pairwise(10, graph.edges))
    assert set(loops) <= set(cycles)
    assert rank(loops) == len(loops) == rank(cycles)
    if density == 1.0:
        assert all(loop[0] == 0 for loop in loops) and len(loops) == 36


def test_loops_around_a_grid_are_blocks():
    blocks = region_graph.loops_around(generators.ising_grid(4, 5, 1.0))
    sizes = sorted(map(len, blocks))
    assert sizes == [4] * 4 + [6] * 10 + [9] * 6


def test_affordable_steps_down():
    for side, sets in ((4, region_graph.loops_around), (30, region_graph.short_loops)):
        grid = generators.ising_grid(side, side, 1.0)
        assert region_graph.affordable(grid) == sets(grid)
    assert region_graph.affordable(pairwise(80, nx.complete_graph(80).edges)) == []


@pytest.mark.parametrize("seed", range(5))
def test_everything_counts_once(seed):
    rng = np.random.default_rng(seed)
    sets = [rng.choice(8, size=rng.integers(1, 6), replace=False) for _ in range(7)]
    graph = pairwise(8, [(0, 1), (3, 6), (2, 7)])
    regions = region_graph.build(graph, sets)
    every = [*zip(regions.outer, itertools.repeat(1)), *zip(regions.inner, regions.counting)]
    for scope in [{0, 1}, {3, 6}, {2, 7}, *({v} for v in range(8)), *map(set, sets)]:
        assert sum(count for region, count in every if scope <= set(region)) == 1
    for a, b in itertools.permutations(map(set, regions.outer), 2):
        assert not a <= b


def test_regions_that_change_nothing_are_left_out():
    grid = generators.ising_grid(4, 4, 1.0)
    regions = region_graph.build(grid, region_graph.loops_around(grid))
    assert regions.counting.tolist() == [-1, -1, -1, -1, 1]
    assert len(regions.inner[-1]) == 4
    # Here nothing but the variable in the middle, which counts 0, joins the two halves.
    sets = [(0, 1, 2), (0, 1, 3), (0, 4, 5), (0, 4, 6)]
    kept = region_graph.build(pairwise(7, []), sets)
    assert dict(zip(kept.inner, kept.counting.tolist())) == {(0, 1): -1, (0, 4): -1, (0,): -1}
    sets = [(0, 1, 2), (0, 1, 3), (1, 3, 4)]
    kept = region_graph.build(pairwise(5, []), sets)
    assert kept.inner == [(0, 1), (1, 3)]  # (1,) counts 0, and both keep it alike


def test_layout_of_mixed_domains():
    table = np.arange(6.0).reshape(3, 2)
    graph = factor_graph.build([2, 3, 4], [((1, 0), table), ((1, 2), np.zeros((3, 4)))])
    regions = region_graph.build(graph, [])
    assert regions.outer == [(0, 1), (1, 2)] and regions.inner == [(1,)]
    layout = region_layout.lay_out(graph, regions)
    np.testing.assert_array_equal(layout.log_tables[0][0].reshape(2, 3), table.T)
    assert [entries.shape for entries in layout.entries] == [(1, 3, 2), (1, 3, 4)]
    assert layout.belongs.tolist() == [0, 1, 2, 0, 1, 2]
    np.testing.assert_array_equal(layout.incoming[0][0, 0].reshape(2, 3), [[0, 1, 2]] * 2)


def test_a_region_of_unknown_variables_is_refused():
    with pytest.raises(ValueError, match=r"variables in 0\.\.1, given \(1, 2\)"):
        region_graph.build(pairwise(2, []), [(1, 2)])
