"""Two phases with cycle corrections: cycles, inputs, what training may not change, the entries."""

import itertools
import math

import jax
import networkx
import numpy as np
import pytest

from inference import estimate
from inference.exact import elimination
from inference.message_passing.learned import bpnn, bpnn_layers, bpnn_operators, bpnn_phases
from inference.problems import factor_graph, generators

EDGES = generators.ising_grid(4, 4, 1.0).groups[0].variables
BP = bpnn_operators.damping(0.0)
LOOPS = bpnn_phases.CycleNetwork()  # c = 0


def ferromagnet(seed, scale=1.0, field=0.3):
    rng = np.random.default_rng(seed)
    couplings, fields = rng.uniform(0, scale, len(EDGES)), rng.uniform(-field, field, 16)
    return generators.spin_model(EDGES, couplings, fields)


def phase_of(graph, iterations):
    start, options = bpnn_layers.start(graph), {"iterations": iterations, "tolerance": 1e-12}
    messages, *_ = bpnn_layers.solve(BP, graph, start, **options)
    return bpnn_phases.describe(graph, messages)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 5)])
def test_cycles_of_grids_are_their_faces(shape):
    graph = generators.ising_grid(*shape, 1.0)
    found = bpnn_phases.cycles(graph)
    assert found.shape == ((shape[0] - 1) * (shape[1] - 1), 4)
    assert len({frozenset(row) for row in found.tolist()}) == len(found)


def test_cycles_of_random_graphs_against_networkx():
    for seed in range(3):
        drawn = networkx.gnp_random_graph(9, 0.5, seed=seed)
        edges = np.array(drawn.edges)
        graph = generators.spin_model(edges, np.ones(len(edges)), np.zeros(9))
        expected = {
            frozenset(frozenset((c[i], c[i - 1])) for i in range(4))
            for c in networkx.simple_cycles(drawn, length_bound=4)
            if len(c) == 4
        }
        found = [
            frozenset(frozenset(edges[e].tolist()) for e in row)
            for row in bpnn_phases.cycles(graph).tolist()
        ]
        assert set(found) == expected and len(found) == len(expected)


def test_correlations_and_magnetisations_of_a_pair():
    rng = np.random.default_rng(0)
    table, unary = rng.normal(size=(2, 2)), rng.normal(size=(2, 2))
    graph = factor_graph.build([2, 2], [((0, 1), table), ((0,), unary[0]), ((1,), unary[1])])
    joint = np.exp(table + unary[0][:, None] + unary[1])
    joint /= joint.sum()
    one, both = joint[1].sum(), joint[:, 1].sum()
    covariance = joint[1, 1] - one * both
    with jax.enable_x64(True):
        phase = phase_of(graph, 10)
    expected = covariance / math.sqrt(one * (1 - one) * both * (1 - both))
    np.testing.assert_allclose(phase.correlations, [expected], rtol=1e-9)
    np.testing.assert_allclose(phase.magnetisations, [2 * one - 1, 2 * both - 1], rtol=1e-9)


def test_the_first_term_of_the_loop_series_is_exact_on_one_cycle():
    """Z = Z_Bethe (1 + the product of the correlations) where there is one loop."""
    rng = np.random.default_rng(1)
    edges = np.array([(0, 1), (1, 2), (3, 2), (0, 3), (3, 4)])
    graph = generators.spin_model(edges, rng.normal(size=5), rng.normal(size=5))
    found, info = bpnn.log_partition(graph, network=LOOPS)
    exact = elimination.log_partition(graph)[0].log_value
    assert (info.status, info.converged, info.phases, info.cycles) == ("done", True, 1, 1)
    assert info.residual < 1e-8 and info.seconds > 0
    assert found.log_value == pytest.approx(exact, abs=1e-7)
    plain, _ = bpnn_layers.log_partition(graph, operators=bpnn_operators.damping(0.3))
    assert abs(plain.log_value - exact) > 1e-3


def test_phases_are_added_up_and_loops_and_learning_bring_them_closer():
    errors = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        edges = generators.ising_grid(9, 9, 1.0).groups[0].variables
        couplings, fields = rng.uniform(0, 1.5, len(edges)), rng.uniform(-0.05, 0.05, 81)
        graph = generators.spin_model(edges, couplings, fields)
        parts = [
            bpnn_layers.log_partition(graph, operators=BP, log_ratio=ratio)[0].log_value
            for ratio in (bpnn_layers.CERTAIN, -bpnn_layers.CERTAIN)
        ]
        loops, info = bpnn.log_partition(graph, network=LOOPS)
        learned, _ = bpnn.log_partition(graph)
        assert info.phases == 2 and info.converged and info.cycles == 64
        assert learned.claim is estimate.Claim.NONE
        values = np.array([learned.log_value, loops.log_value, np.logaddexp(*parts)])
        errors.append(values - elimination.log_partition(graph)[0].log_value)
    learned, loops, both = np.sqrt(np.mean(np.square(errors), axis=0))
    assert learned < 0.5 * loops < 0.5 * both


def test_exchanged_states_and_other_numbers_change_nothing():
    graph, rng = ferromagnet(5, 1.5), np.random.default_rng(3)
    order, shuffle = rng.permutation(16), rng.permutation(len(EDGES))
    group = graph.groups[0]
    unary = np.empty_like(graph.log_unary)
    unary[order] = graph.log_unary[:, ::-1]
    table = group.log_potentials[shuffle].transpose(0, 2, 1)[:, ::-1, ::-1]
    pairs = order[group.variables[shuffle]][:, ::-1].astype(np.int32)
    other = graph._replace(log_unary=unary, groups=(factor_graph.FactorGroup(pairs, table),))
    values = [bpnn.log_partition(g)[0].log_value for g in (graph, other)]
    assert values[0] == pytest.approx(values[1], abs=1e-9)
    marginals = [bpnn.marginals(g)[0] for g in (graph, other)]
    np.testing.assert_allclose(marginals[0], marginals[1][order][:, ::-1], atol=1e-6)


def test_the_network_sees_no_gauge():
    """States of single variables exchanged: the fixed points move along, c stays."""
    graph = ferromagnet(4, 1.0)
    signs = np.where(np.random.default_rng(0).random(16) < 0.5, 1.0, -1.0)
    with jax.enable_x64(True):
        pairs, cycles = bpnn_phases.pairs(graph), bpnn_phases.cycles(graph)
        phase = phase_of(graph, 100)
        turned = phase._replace(
            magnetisations=signs * phase.magnetisations,
            correlations=signs[pairs].prod(axis=1) * phase.correlations,
        )
        readout = bpnn_phases.shipped()
        values = [bpnn_phases.corrected(readout, pairs, cycles, p, p) for p in (phase, turned)]
    assert float(values[0]) == pytest.approx(float(values[1]), abs=1e-9)


def test_exact_on_trees_with_hard_zeros_and_wide_factors():
    rng = np.random.default_rng(7)
    graph = factor_graph.build(
        [2, 2, 2, 2, 1],
        [((0, 1), [[0.0, -np.inf], [0.5, 1.0]]), ((1, 2, 3), rng.normal(size=(2, 2, 2)))],
    )
    found, info = bpnn.log_partition(graph)
    exact = elimination.log_partition(graph)[0].log_value
    assert (info.phases, info.cycles) == (1, 0)
    assert found.log_value == pytest.approx(exact, abs=1e-6)
    np.testing.assert_allclose(bpnn.marginals(graph)[0], elimination.marginals(graph)[0], atol=1e-6)


def test_marginals_weigh_the_phases():
    graph = ferromagnet(2, 2.0, 0.05)
    found, info = bpnn.marginals(graph)
    assert info.phases == 2
    np.testing.assert_allclose(found, elimination.marginals(graph)[0], atol=0.02)


def test_contradictions_and_small_graphs():
    zero = factor_graph.build([2, 2], [((0, 1), np.full((2, 2), -np.inf))])
    assert bpnn.log_partition(zero)[0].log_value == -math.inf
    np.testing.assert_array_equal(bpnn.marginals(zero)[0], np.zeros((2, 2)))
    nothing = factor_graph.build([], [], log_constant=0.7)
    assert bpnn.log_partition(nothing)[0].log_value == pytest.approx(0.7)


@pytest.mark.parametrize("seed", [3, b"abc", jax.random.key(0)])
def test_without_time_the_first_messages_answer(seed):
    value, info = bpnn.log_partition(ferromagnet(0), seed=seed, timeout=0.0)
    assert (info.status, info.iterations, info.converged) == ("timeout", 0, False)
    assert math.isfinite(value.log_value) and value.claim is estimate.Claim.NONE
    found, info = bpnn.marginals(ferromagnet(0), seed=seed, timeout=0.0)
    assert info.status == "timeout" and info.seconds >= 0
    np.testing.assert_allclose(found.sum(axis=1), 1.0)


def test_few_iterations_are_few_for_both_phases():
    _, info = bpnn.log_partition(ferromagnet(0), iterations=3, tolerance=0.0)
    assert (info.status, info.iterations, info.converged) == ("done", 6, False)
    assert 0 < info.residual < math.inf


def test_refused(monkeypatch):
    for entry in (bpnn.log_partition, bpnn.marginals):
        with pytest.raises(ValueError, match="tables and messages of at most 0 MiB, given"):
            entry(ferromagnet(0), memory=0)
    with pytest.raises(ValueError, match="two states, given one of 3"):
        bpnn.log_partition(factor_graph.build([3], []))
    monkeypatch.setattr(bpnn_phases, "MAX_CYCLES", 2)
    edges = np.array(list(itertools.combinations(range(6), 2)))
    complete = generators.spin_model(edges, np.ones(15), np.zeros(6))
    with pytest.raises(ValueError, match="expected at most 2 cycles"):
        bpnn.log_partition(complete)
