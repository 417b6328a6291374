"""The compiled Bethe value: under jit, vmap and grad, on hard zeros, clauses and parities."""

import jax
import numpy as np
import pytest

from inference.exact import elimination
from inference.message_passing import bp, bp_compiled, edge_graph
from inference.problems import factor_graph, generators, logical_groups


def tree():
    """Three states, a hard zero, a clause and a parity, without cycles: Bethe is exact."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(3, 2))
    first[1, 0] = -np.inf
    factors = [((0, 1), first), ((1, 2), rng.normal(size=(2, 2)))]
    factors += [((v,), rng.normal(size=size)) for v, size in enumerate([3, 2, 2, 2, 2])]
    clause = logical_groups.clause_group([[3, -4]])
    parity = logical_groups.parity_group([[4, 5]], [True])
    return factor_graph.build([3, 2, 2, 2, 2], factors, logical=[clause, parity], log_constant=0.5)


def of_unary(compiled, graph):
    return jax.grad(lambda unary: compiled(graph._replace(log_unary=unary)))


def test_value_and_gradient_on_a_tree():
    graph = tree()
    rows, info = elimination.marginals(graph)
    with jax.enable_x64(True):
        compiled = bp_compiled.compile_log_partition(graph)
        value, gradient = compiled(graph), of_unary(compiled, graph)(graph.log_unary)
        assert value.dtype == np.float64
        assert float(value) == pytest.approx(info.log_value, abs=1e-7)
        np.testing.assert_allclose(gradient, rows, atol=1e-7)


def test_the_gradient_by_a_table_is_its_finite_difference():
    graph = generators.spin_glass_grid(0, 3, 3, 1.0, 0.3)
    with jax.enable_x64(True):
        compiled = bp_compiled.compile_log_partition(graph, tolerance=1e-13)

        def of_tables(tables):
            return compiled(with_tables(graph, tables))

        tables = graph.groups[0].log_potentials
        found = np.asarray(jax.grad(of_tables)(tables))
        for entry in [(0, 0, 0), (3, 1, 0), (7, 1, 1)]:
            step = np.zeros(tables.shape)
            step[entry] = 1e-4
            slope = (of_tables(tables + step) - of_tables(tables - step)) / 2e-4
            assert found[entry] == pytest.approx(float(slope), abs=1e-7)


def with_tables(graph, tables):
    return graph._replace(groups=(graph.groups[0]._replace(log_potentials=tables),))


def test_one_trace_serves_other_potentials_and_a_batch(monkeypatch):
    graph, calls = generators.spin_glass_grid(0, 3, 3, 0.5, 0.1), []
    bethe = edge_graph.bethe
    monkeypatch.setattr(edge_graph, "bethe", lambda *given: (calls.append(1), bethe(*given))[1])
    compiled = bp_compiled.compile_log_partition(graph)
    graphs = [generators.spin_glass_grid(seed, 3, 3, 0.5, 0.1) for seed in range(3)]
    values = [float(compiled(one)) for one in graphs]
    assert len(calls) == 1
    expected = [bp.log_partition(one)[0].log_value for one in graphs]
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), *graphs)
    np.testing.assert_allclose(jax.vmap(compiled)(batch), expected, rtol=1e-5)
    slopes = jax.vmap(lambda one: of_unary(compiled, one)(one.log_unary))(batch)
    np.testing.assert_allclose(slopes[1], bp.marginals(graphs[1])[0], atol=1e-4)


def test_nothing_possible_has_a_finite_gradient():
    never = factor_graph.build([2, 2], [((0, 1), np.full((2, 2), -np.inf)), ((0,), [0.0, -np.inf])])
    compiled = bp_compiled.compile_log_partition(never)
    assert float(compiled(never)) == -np.inf
    assert not np.asarray(of_unary(compiled, never)(never.log_unary)).any()


def test_another_structure_is_refused():
    compiled = bp_compiled.compile_log_partition(generators.ising_grid(2, 2, 0.5))
    with pytest.raises(ValueError, match="expected a graph of shapes"):
        compiled(generators.ising_grid(2, 3, 0.5))
