"""Fast layouts make the same iterates as the plain kernel, and the entry picks them by itself."""

import chex
import jax
import networkx as nx
import numpy as np
import pytest

from inference.message_passing import bp, bp_rounds, schedules
from inference.message_passing.layouts import pairwise, stencil, tables
from inference.problems import factor_graph, generators


def glass(edges, size, scale, seed=0):
    rng = np.random.default_rng(seed)
    edges = np.array(edges)
    return generators.spin_model(edges, scale * rng.normal(size=len(edges)), rng.normal(size=size))


def random_pairs(size, edges, seed, zeros=0.0):
    """Binary pairwise tables of any kind, with parallel edges and, on demand, hard zeros."""
    rng = np.random.default_rng(seed)
    factors = [((v,), rng.normal(size=2)) for v in range(size)]
    for _ in range(edges):
        table = rng.normal(size=(2, 2))
        table[rng.random((2, 2)) < zeros] = -np.inf
        factors.append((rng.choice(size, 2, replace=False), table))
    return factor_graph.build([2] * size, factors)


def random_tables(seed, zeros, domains=(2, 3, 5)):
    rng = np.random.default_rng(seed)
    sizes = rng.choice(domains, size=12)
    factors = [((v,), rng.normal(size=size)) for v, size in enumerate(sizes)]
    for arity in [2, 2, 2, 2, 2, 2, 3, 3, 3, 4]:
        scope = rng.choice(12, arity, replace=False)
        table = rng.normal(size=sizes[scope])
        hard = rng.random(table.shape) < zeros
        hard[tuple(s // 2 for s in table.shape)] = False  # one assignment stays possible
        factors.append((scope, np.where(hard, -np.inf, table)))
    return factor_graph.build(sizes, factors)


def cube(side):
    joined = nx.convert_node_labels_to_integers(nx.grid_graph([side] * 3), ordering="sorted")
    return list(joined.edges), side**3


GRAPHS = {
    "stencil": generators.spin_glass_grid(1, 6, 7, 1.0),
    "stencil chain": generators.spin_model(np.array([[0, 1], [2, 1]]), np.ones(2), np.ones(3)),
    "stencil cube": glass(*cube(3), 0.4),
    "stencil conditioned": factor_graph.condition(
        generators.spin_glass_grid(2, 6, 6, 1.0), {7: 1, 21: 0}
    ),
    "stencil strong": generators.spin_glass_grid(3, 5, 5, 50.0),
    "pairwise": glass(nx.random_regular_graph(3, 30, seed=1).edges, 30, 0.5),
    "pairwise stars": glass([*nx.star_graph(20).edges, (1, 2), (5, 9)], 21, 0.5),
    "pairwise parallel": random_pairs(6, 20, 1),
    "pairwise strong": glass(nx.random_regular_graph(3, 30, seed=1).edges, 30, 100.0),
    "binary zeros": random_pairs(10, 10, 5, zeros=0.1),
    "binary arities": random_tables(3, 0.0, domains=(2,)),
    "binary arities and zeros": random_tables(4, 0.3, domains=(2,)),
    "tables": random_tables(1, 0.0),
    "tables with zeros": random_tables(2, 0.2),
    "tables of many states": random_tables(2, 0.1, domains=(1, 9, 13)),
}


def iterate(graph, *, fast, dtype=np.float64, temperature=1.0, weight=0.5, rounds=20, **options):
    prepared = bp.prepare(graph, fast=fast, dtype=dtype, temperature=temperature)
    schedule = schedules.damped(weight)
    state, _ = bp.run(
        prepared, bp.init(prepared), schedule=schedule, iterations=rounds, tolerance=0.0, **options
    )
    return prepared, state


QUICK = ("stencil", "stencil conditioned", "pairwise", "pairwise strong", "binary zeros", "tables")
CASES = [(name, 1.0, 0.5) for name in QUICK] + [("pairwise", 0.0, 0.0)]
MORE = [(name, 1.0, 0.5) for name in GRAPHS if name not in QUICK]
MORE += [(name, 0.0, 0.0) for name in ("stencil", "binary arities", "tables")]
MORE += [(name, 2.0, 0.3) for name in ("stencil", "tables with zeros")]
CASES += [pytest.param(*case, marks=pytest.mark.slow) for case in MORE]


@pytest.mark.parametrize("name, temperature, weight", CASES)
def test_iterates_are_those_of_the_plain_kernel(name, temperature, weight):
    graph, options = GRAPHS[name], {"temperature": temperature, "weight": weight}
    fast, got = iterate(graph, fast=True, **options)
    plain, want = iterate(graph, fast=False, **options)
    assert fast.layout_name == name.split()[0] and plain.layout_name == "general"
    assert got.iteration == want.iteration == 20
    given, expected = _rows(bp.messages(fast, got)), _rows(bp.messages(plain, want))
    np.testing.assert_array_equal(np.isinf(given), np.isinf(expected))
    finite = np.isfinite(expected)
    np.testing.assert_allclose(given[finite], expected[finite], atol=1e-9, rtol=1e-9)
    np.testing.assert_allclose(bp.beliefs(fast, got), bp.beliefs(plain, want), atol=1e-9)
    if temperature:
        np.testing.assert_allclose(bp.bethe(fast, got), bp.bethe(plain, want), rtol=1e-9)


def _rows(messages):
    """Rows of logarithms normalised; damping leaves them a constant apart."""
    if messages.ndim == 1:
        return messages
    return messages - np.logaddexp.reduce(messages, axis=1, keepdims=True)


FLOAT32 = ("stencil", "binary arities and zeros", "tables with zeros")


@pytest.mark.parametrize("name", FLOAT32)
def test_float32_reaches_the_same_fixed_points(name):
    fast, got = iterate(GRAPHS[name], fast=True, dtype=np.float32, rounds=300)
    plain, want = iterate(GRAPHS[name], fast=False, rounds=300)
    np.testing.assert_allclose(bp.beliefs(fast, got), bp.beliefs(plain, want), atol=2e-5)
    np.testing.assert_allclose(bp.bethe(fast, got), bp.bethe(plain, want), rtol=1e-5)


def test_small_blocks_join_larger_ones(monkeypatch):
    rng = np.random.default_rng(3)
    sizes = np.array([1, 2, 3, 4, 2, 3, 4])
    scopes = [(0, 1, 2), (1, 2, 3), (4, 5, 6), (4, 3, 6), (2, 5, 6)]
    values = [rng.normal(size=sizes[list(scope)]) for scope in scopes]
    graph = factor_graph.build(sizes, zip(scopes, values, strict=True))
    joined, plain = (bp.prepare(graph, fast=fast) for fast in (True, False))
    assert len(tables.edge_blocks(graph.groups)) == len(joined.layout.edges) == 4
    monkeypatch.setattr(tables, "_JOINED", 0)
    assert len(tables.edge_blocks(graph.groups)) > 4
    states = [bp.run(one, bp.init(one), iterations=20)[0] for one in (joined, plain)]
    found, expected = (bp.beliefs(*pair) for pair in zip((joined, plain), states))
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("coupling", [10.0, 100.0])
def test_strong_couplings_leave_the_ratios_and_stay_right(coupling):
    graph = generators.ising_grid(6, 6, coupling, 0.1)
    fast, got = iterate(graph, fast=True, dtype=np.float32, rounds=200)
    plain, want = iterate(graph, fast=False, rounds=200)
    assert fast.layout.arithmetic is pairwise.LOGS
    assert np.isfinite(bp.messages(fast, got)).all()
    np.testing.assert_allclose(bp.bethe(fast, got), bp.bethe(plain, want), rtol=1e-5)


def test_the_arithmetic_follows_couplings_and_temperature():
    weak, strong = generators.ising_grid(5, 5, 1.0), generators.ising_grid(5, 5, 15.0)
    arithmetic = [
        bp.prepare(graph, dtype=dtype, temperature=temperature).layout.arithmetic
        for graph, dtype, temperature in [
            (weak, np.float32, 1.0),
            (strong, np.float32, 1.0),
            (strong, np.float64, 1.0),
            (weak, np.float32, 0.0),
        ]
    ]
    ratios, logs, maxima = pairwise.RATIOS, pairwise.LOGS, pairwise.MAXIMA
    assert arithmetic == [ratios, logs, ratios, maxima]


def test_ratios_at_the_edge_of_float32_do_not_overflow():
    """The strongest couplings that ratios are taken for, all pulling one way, from any start."""
    for coupling in [6.0, 6.9, 7.1]:
        graph = generators.ising_grid(8, 8, coupling, 2.0)
        for start in schedules.ordered + (schedules.towards(1, 100.0), schedules.uniform):
            prepared = bp.prepare(graph, dtype=np.float32)
            state, _ = bp.run(prepared, bp.init(prepared, start), iterations=50)
            assert np.isfinite(bp.messages(prepared, state)).all()


def test_what_the_stencil_refuses():
    def layout(edges, size):
        return bp.prepare(glass(edges, size, 1.0)).layout_name

    assert layout([(0, 1), (0, 1), (1, 2)], 3) == "pairwise"  # parallel edges
    assert layout(nx.random_regular_graph(4, 40, seed=1).edges, 40) == "pairwise"
    assert layout([(0, 10), (20, 60)], 100) == "pairwise"  # would compute mostly nothing
    torus = nx.convert_node_labels_to_integers(nx.grid_2d_graph(6, 6, periodic=True))
    assert layout(torus.edges, 36) == "stencil"  # edges around are two more distances
    assert stencil.prepare(bp.prepare(random_tables(1, 0.0)).model) is None


def test_one_trace_serves_equal_shapes_and_any_limits():
    first, second = (generators.spin_glass_grid(seed, 4, 4, 1.0) for seed in (1, 2))
    traced = chex.assert_max_traces(bp_rounds.advance.__wrapped__, n=1)
    jitted = jax.jit(traced, static_argnames=("schedule",))
    for graph, limit in [(first, 3), (second, 30), (second, 1000)]:
        prepared = bp.prepare(graph)
        with jax.enable_x64(True):
            limits = (np.float64(1e-6), np.int32(limit))
            state = bp.init(prepared)
            jitted(prepared.layout, state, (None, None), limits, schedule=schedules.damped(0.5))
