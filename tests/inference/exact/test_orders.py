"""Elimination orders against a slow elimination on sets of edges."""

import itertools
import math
import time

import networkx as nx
import numpy as np
import pytest

from inference.exact import orders

RULES = {
    orders.min_fill: lambda fill, degree, size: (fill, size),
    orders.min_degree: lambda fill, degree, size: (degree, size),
    orders.min_size: lambda fill, degree, size: (size, fill),
}
ALL = [*RULES, orders.min_frontier, orders.best]


def neighbours_of(graph):
    return [set(graph[v]) for v in range(len(graph))]


def random_graphs():
    for seed in range(25):
        rng = np.random.default_rng(seed)
        graph = nx.gnp_random_graph(int(rng.integers(1, 20)), rng.random(), seed=seed)
        yield neighbours_of(graph), rng.integers(1, 5, len(graph)).tolist()


def grid(rows, columns):
    graph = nx.grid_2d_graph(rows, columns)
    return neighbours_of(nx.convert_node_labels_to_integers(graph, ordering="sorted"))


def slow_elimination(neighbours, order):
    """The variables joined at each step."""
    edges = {frozenset((u, v)) for v, around in enumerate(neighbours) for u in around}
    for v in order:
        joined = {u for edge in edges if v in edge for u in edge} | {v}
        yield v, joined, edges
        edges = {edge for edge in edges if v not in edge}
        edges |= {frozenset(pair) for pair in itertools.combinations(joined - {v}, 2)}


def slow_greedy(neighbours, num_states, rule):
    left, order = set(range(len(neighbours))), []

    def score(v):
        *_, (_, joined, edges) = slow_elimination(neighbours, [*order, v])
        around = joined - {v}
        fill = sum(frozenset(p) not in edges for p in itertools.combinations(around, 2))
        size = round(sum(math.log(num_states[u]) for u in joined), 9)
        return rule(fill, len(around), size), v

    while left:
        order.append(min(left, key=score))
        left.remove(order[-1])
    return order


def width(neighbours, order):
    return max(map(len, orders.cliques(neighbours, order)), default=1) - 1


@pytest.mark.parametrize("order_fn", RULES)
def test_greedy_rules_follow_their_definition(order_fn):
    for neighbours, num_states in random_graphs():
        expected = slow_greedy(neighbours, num_states, RULES[order_fn])
        assert order_fn(neighbours, num_states) == expected


@pytest.mark.parametrize("order_fn", ALL)
def test_orders_are_permutations_and_leave_their_input(order_fn):
    for neighbours, num_states in random_graphs():
        before = [set(around) for around in neighbours]
        order = order_fn(neighbours, num_states)
        assert sorted(order) == list(range(len(neighbours)))
        assert neighbours == before


def test_cliques_are_the_variables_joined_at_each_step():
    for neighbours, num_states in random_graphs():
        order = np.random.default_rng(0).permutation(len(neighbours)).tolist()
        for clique, (v, joined, _) in zip(
            orders.cliques(neighbours, order), slow_elimination(neighbours, order), strict=True
        ):
            assert clique[0] == v
            assert set(clique) == joined
            assert [order.index(u) for u in clique] == sorted(order.index(u) for u in clique)


@pytest.mark.parametrize("order_fn", ALL)
def test_degenerate_graphs(order_fn):
    assert order_fn([], []) == []
    assert order_fn([set()], [3]) == [0]
    assert sorted(order_fn([set(), set(), set()], [2, 2, 2])) == [0, 1, 2]


@pytest.mark.parametrize("order_fn", ALL)
def test_widths_known_by_theory(order_fn):
    complete = neighbours_of(nx.complete_graph(6))
    assert width(complete, order_fn(complete, [2] * 6)) == 5
    path = neighbours_of(nx.path_graph(9))
    assert width(path, order_fn(path, [2] * 9)) == 1
    cycle = neighbours_of(nx.cycle_graph(9))
    assert width(cycle, order_fn(cycle, [2] * 9)) == 2
    if order_fn is not orders.min_frontier:  # a sweep is as wide as the tree's path decomposition
        tree = neighbours_of(nx.balanced_tree(2, 5))
        assert width(tree, order_fn(tree, [2] * len(tree))) == 1


@pytest.mark.parametrize("side", [2, 5, 12])
def test_the_sweep_finds_the_treewidth_of_grids_in_any_numbering(side):
    neighbours = grid(side, side)
    shuffled = np.random.default_rng(side).permutation(side * side)
    renamed = [set() for _ in neighbours]
    for v, around in enumerate(neighbours):
        renamed[shuffled[v]] = {int(shuffled[u]) for u in around}
    for given in (neighbours, renamed):
        assert width(given, orders.min_frontier(given, [2] * len(given))) == side


def test_sizes_count_and_not_only_degrees():
    # A hub of 9 states between leaves of 2: leaves first, though the hub comes first by number.
    star = [{1, 2, 3}, {0}, {0}, {0}]
    assert orders.min_size(star, [9, 2, 2, 2])[:2] == [1, 2]
    # Equal degree, unequal tables: the table of 2 * 2 * 2 states goes before those with a 9.
    path = [{1}, {0, 2}, {1, 3}, {2, 4}, {3}]
    assert orders.min_degree(path, [9, 9, 2, 2, 2])[0] == 4


def test_the_best_order_has_no_more_entries_than_any_rule():
    def entries(neighbours, num_states, order):
        cliques = orders.cliques(neighbours, order)
        return sum(math.prod(num_states[v] for v in clique) for clique in cliques)

    for neighbours, num_states in [*random_graphs(), (grid(6, 20), [2] * 120)]:
        each = [entries(neighbours, num_states, rule(neighbours, num_states)) for rule in ALL]
        assert each[-1] == min(each)


def test_cheapest_takes_the_order_with_fewest_entries():
    path = [{1}, {0, 2}, {1}]
    ends_first = orders.cheapest(lambda n, s: [1, 0, 2], lambda n, s: [0, 2, 1])
    assert ends_first(path, [2, 2, 2]) == [0, 2, 1]
    assert orders.cheapest(lambda n, s: [1, 0, 2])(path, [2, 2, 2]) == [1, 0, 2]


def test_a_grid_of_2500_variables_takes_no_minutes():
    neighbours = grid(50, 50)
    start = time.perf_counter()
    order = orders.best(neighbours, [2] * 2500)
    assert time.perf_counter() - start < 10.0  # half a second where it was written
    assert width(neighbours, order) == 50
