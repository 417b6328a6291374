"""BPNN-B: where the readout starts, what it sees, and what does not matter."""

import itertools

import jax
import numpy as np
import pytest

from experiments.training import bpnn_b
from inference.message_passing.learned import bpnn_layers, bpnn_operators
from inference.problems import factor_graph, generators

BP = bpnn_operators.damping(0.0)
read = jax.jit(bpnn_b.read)


def grid():
    edges, rng = generators.ising_grid(3, 3, 1.0).groups[0].variables, np.random.default_rng(0)
    return generators.spin_model(edges, rng.uniform(0, 1, 12), rng.uniform(-0.1, 0.1, 9))


def random_operators(seed, rate):
    keys = jax.random.split(jax.random.key(seed))
    return tuple(bpnn_operators.Operator(rate, key, 1.0) for key in keys)


def random_readout(layers, arities=(2,)):
    readout = bpnn_b.Readout(layers, arities)
    noise = jax.random.normal(jax.random.key(0), readout.first.shape)
    readout.first.set_value(readout.first[...] + 0.1 * noise)
    return readout


def test_the_readout_starts_as_the_bethe_value_and_learns_from_all_layers():
    with jax.enable_x64(True):
        graph, operators = grid(), random_operators(2, 0.2)
        messages = bpnn_layers.start(graph)
        for _ in range(5):
            messages = bpnn_layers.step(operators, graph, messages)
        value = read(operators, bpnn_b.Readout(5), graph)
        bethe = float(bpnn_layers.log_bethe(graph, messages))
        assert float(value) == pytest.approx(bethe, abs=1e-9)
        assert abs(float(read(operators, random_readout(5), graph) - value)) > 0.1


def test_relabelling_changes_nothing():
    graph, rng = grid(), np.random.default_rng(2)
    order, flip = rng.permutation(9), rng.permutation(12)
    edges = order[graph.groups[0].variables][flip][:, ::-1].astype(np.int32)
    table = graph.groups[0].log_potentials[flip].transpose(0, 2, 1)
    unary = np.empty_like(graph.log_unary)
    unary[order] = graph.log_unary
    other = graph._replace(log_unary=unary, groups=(factor_graph.FactorGroup(edges, table),))
    operators, readout = random_operators(1, 0.5), random_readout(5)
    with jax.enable_x64(True):
        values = [read(operators, readout, one) for one in (graph, other)]
    np.testing.assert_allclose(values[0], values[1], atol=1e-10)


def test_axes_of_a_table_are_averaged_over():
    with jax.enable_x64(True):
        table = np.log(np.arange(1.0, 9.0).reshape(2, 2, 2))
        graphs = [
            factor_graph.build([2] * 3, [(axes, table.transpose(axes))])
            for axes in itertools.permutations(range(3))
        ]
        values = [read(BP, random_readout(2, (3,)), graph) for graph in graphs]
    np.testing.assert_allclose(values, values[0], atol=1e-10)


def test_a_readout_needs_layers():
    with pytest.raises(ValueError, match="at least one layer, given 0"):
        bpnn_b.Readout(0)
