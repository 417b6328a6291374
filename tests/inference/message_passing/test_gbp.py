"""Generalised BP against enumeration, elimination and known values."""

import math

import networkx as nx
import numpy as np
import pytest

import reference
from inference import estimate
from inference.exact import elimination
from inference.message_passing import gbp, region_graph
from inference.problems import factor_graph, generators, logical_groups


def bethe(graph):
    return []


def log_value(graph, regions=region_graph.affordable, **options):
    result, info = gbp.log_partition(graph, regions=regions, tolerance=1e-10, **options)
    assert info.converged and info.status == "done" and info.residual <= 1e-10
    assert result.claim is estimate.Claim.NONE
    return result.log_value


def in_logs(factors):
    with np.errstate(divide="ignore"):
        return [(scope, np.log(table)) for scope, table in factors]


def random_factors(rng, scopes, sizes, zeros):
    for scope in scopes:
        table = rng.exponential(size=[sizes[v] for v in scope])
        yield scope, np.where(rng.random(table.shape) < zeros, 0.0, table)


@pytest.mark.parametrize("zeros", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(5))
def test_trees_are_exact(seed, zeros):
    rng = np.random.default_rng(seed)  # one structure, so that it is compiled once
    sizes, scopes = [2, 3, 2, 1, 3, 2], [(0, 1), (2, 1), (3, 1), (4, 2, 5), (0,), (3,)]
    factors = list(random_factors(rng, scopes, sizes, zeros))
    graph = factor_graph.build(sizes, in_logs(factors))
    expected = reference.log_partition(sizes, factors)
    assert log_value(graph) == pytest.approx(expected, abs=1e-8)
    if expected > -math.inf:
        probabilities, _ = gbp.marginals(graph, tolerance=1e-10)
        for row, wanted in zip(probabilities, reference.marginals(sizes, factors)):
            np.testing.assert_allclose(row[: len(wanted)], wanted, atol=1e-8)
            assert not row[len(wanted) :].any()


@pytest.mark.parametrize("seed", range(3))
def test_cliques_of_a_junction_tree_are_exact(seed):
    rng = np.random.default_rng(seed)
    joined = nx.gnp_random_graph(7, 0.5, seed=seed)
    sizes = rng.integers(2, 4, size=7).tolist()
    scopes = [*map(tuple, joined.edges), (0, 1, 2)]
    factors = list(random_factors(rng, scopes, sizes, 0.1))
    graph = factor_graph.build(sizes, in_logs(factors))
    triangulated, _ = nx.complete_to_chordal_graph(
        nx.Graph([*joined.edges, (0, 1), (0, 2), (1, 2)])
    )
    expected = reference.log_partition(sizes, factors)
    found = log_value(graph, lambda graph: nx.find_cliques(triangulated))
    assert found == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (generators.ising_grid(3, 3, 0.5, 0.1), 7.9617759),
        (generators.ising_grid(2, 2, 1.0), 4.5077120),
        (
            generators.spin_model(np.array([[0, 1], [1, 2], [0, 2]]), -np.ones(3), np.zeros(3)),
            3.3807840,
        ),
    ],
)
def test_factors_alone_give_the_bethe_value(graph, expected):
    assert log_value(graph, bethe) == pytest.approx(expected, abs=1e-6)


def test_one_loop_is_exact_as_a_region():
    graph = generators.ising_grid(2, 2, 1.0)
    assert log_value(graph) == pytest.approx(4.7977137, abs=1e-7)


def glass(side, scale, field, seed):
    return generators.spin_glass_grid(seed, side, side, scale, field)


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_larger_regions_are_closer(scale):
    graph = glass(5, scale, 0.3, seed=2)
    exact = elimination.log_partition(graph)[0].log_value
    sets = (region_graph.loops_around, region_graph.short_loops, bethe)
    around, loops, plain = (abs(log_value(graph, one) - exact) for one in sets)
    assert around < loops < plain and around < 2e-3
    found, info = gbp.marginals(graph)
    assert info.converged
    np.testing.assert_allclose(found, elimination.marginals(graph)[0], atol=0.01)


def test_dense_graphs_stay_sane():
    edges = np.array(nx.complete_graph(9).edges)
    rng = np.random.default_rng(0)
    graph = generators.spin_model(edges, rng.normal(size=len(edges)) / 3, rng.normal(size=9) / 5)
    exact = elimination.log_partition(graph)[0].log_value
    assert abs(log_value(graph, region_graph.short_loops) - exact) < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("side", [10, 15])
@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("seed", range(3))
def test_grids_within_a_hundredth_of_a_nat(side, scale, seed):
    graph = glass(side, scale, 1.0, seed)
    exact = elimination.log_partition(graph)[0].log_value
    assert abs(gbp.log_partition(graph)[0].log_value - exact) < 0.01


def test_clauses_and_parities():
    clauses, xors = [[1, -2, 3], [-3, 4], [2, 4, 5]], [([1, 4, 5], True)]
    graph = factor_graph.build(
        [2] * 5,
        [],
        logical=[
            logical_groups.clause_group(clauses),
            logical_groups.parity_group([[1, 4, 5]], [True]),
        ],
    )
    whole = log_value(graph, lambda graph: [range(5)])
    expected = reference.count_models(5, clauses, xors)
    assert math.exp(whole) == pytest.approx(expected, rel=1e-9)
    assert abs(log_value(graph) - math.log(expected)) < 0.2


def test_a_contradiction_is_minus_infinity():
    equal, unequal = (np.where(np.eye(2) == one, 0.0, -np.inf) for one in (1, 0))
    graph = factor_graph.build([2] * 3, [((0, 1), equal), ((1, 2), equal), ((0, 2), unequal)])
    result, info = gbp.log_partition(graph)
    assert result.log_value == -math.inf
    assert not gbp.marginals(graph)[0].any()
    pinned = factor_graph.build(
        [2, 2], [((0,), [0, -np.inf]), ((1,), [0, -np.inf]), ((0, 1), unequal)]
    )
    assert gbp.log_partition(pinned, regions=bethe)[0].log_value == -math.inf


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (factor_graph.build([], [], log_constant=2.0), 2.0),
        (factor_graph.build([3], []), math.log(3)),
        (factor_graph.build([1, 2], [((0,), [0.5])], log_constant=1.0), 1.5 + math.log(2)),
        (factor_graph.build([2] * 4, [], log_constant=-math.inf), -math.inf),
    ],
)
def test_degenerate_graphs(graph, expected):
    assert log_value(graph) == pytest.approx(expected)
    assert gbp.marginals(graph)[0].shape == graph.log_unary.shape


def test_single_precision():
    graph = generators.ising_grid(3, 3, 0.5, 0.1)
    result, info = gbp.log_partition(graph, dtype=np.float32, tolerance=1e-4)
    assert info.converged and result.log_value == pytest.approx(8.0906795, abs=2e-3)


def test_limits_and_interruptions_leave_an_estimate(monkeypatch):
    graph = glass(4, 1.0, 1.0, seed=0)
    result, info = gbp.log_partition(graph, timeout=0.0)
    assert info.status == "timeout" and not info.converged and math.isfinite(result.log_value)
    result, info = gbp.log_partition(graph, iterations=0)
    assert info.status == "done" and not info.converged and info.iterations == 0

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(gbp, "_advance", interrupted)
    result, info = gbp.log_partition(graph)
    assert info.status == "interrupted" and math.isfinite(result.log_value)


def test_equal_structures_share_a_trace():
    gbp.log_partition(glass(4, 1.0, 1.0, seed=0))
    before = gbp._advance._cache_size()
    for seed in (1, 2):
        gbp.log_partition(glass(4, 2.0, 0.5, seed=seed))
    assert gbp._advance._cache_size() == before
