"""Factor graphs against products of table entries."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest

from inference.problems import factor_graph

NUM_STATES = [2, 3, 1, 2]
FACTORS = [
    ((), 0.25),
    ((1,), [-1.0, -math.inf, 0.5]),
    ((1,), [0.1, 0.2, 0.3]),
    ((0, 1), [[0.0, 1.0, 2.0], [3.0, -math.inf, 5.0]]),
    ((3, 0), [[0.1, 0.2], [0.3, 0.4]]),
    ((0, 3), [[0.5, 0.6], [-0.7, 0.8]]),
    ((2, 3, 1), [[[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]]),
]
ASSIGNMENTS = np.array(list(itertools.product(*map(range, NUM_STATES))))


def graph():
    return factor_graph.build(NUM_STATES, FACTORS, log_constant=0.5)


def slow_score(x):
    total = 0.5
    for variables, table in FACTORS:
        for v in variables:
            table = table[x[v]]
        total += table
    return total


def scores():
    return np.array([slow_score(x) for x in ASSIGNMENTS])


def test_build_groups_tables_by_exact_shape():
    built = graph()
    shapes = [group.log_potentials.shape for group in built.groups]
    assert shapes == [(2, 2, 2), (1, 2, 3), (1, 1, 2, 3)]
    assert built.groups[0].variables.tolist() == [[3, 0], [0, 3]]
    assert built.log_constant == 0.75
    assert built.num_variables == 4
    assert built.num_states.dtype == np.int32
    np.testing.assert_allclose(built.log_unary[1], [-0.9, -np.inf, 0.8])
    np.testing.assert_array_equal(built.log_unary[2], [0.0, -np.inf, -np.inf])
    leaves = [built.log_unary, built.log_constant, *(g.log_potentials for g in built.groups)]
    assert all(leaf.dtype == np.float64 for leaf in leaves)


def test_build_keeps_no_view_of_its_input():
    table = np.zeros((2, 2))
    built = factor_graph.build([2, 2], [((0, 1), table)])
    table[:] = 7.0
    assert factor_graph.log_score(built, np.zeros(2, dtype=int)) == 0.0


@pytest.mark.parametrize(
    ("num_states", "factors", "constant", "words"),
    [
        ([2, 2], [((0, 1), [[1.0, 2.0]])], 0.0, r"shape \(2, 2\) over \(0, 1\), given \(1, 2\)"),
        ([2], [((0,), 1.0)], 0.0, r"shape \(2,\)"),
        ([2], [((), [1.0])], 0.0, r"shape \(\)"),
        ([2, 2], [((0, 0), np.zeros((2, 2)))], 0.0, "without repeats"),
        ([2, 2], [((0, 2), np.zeros((2, 2)))], 0.0, r"variables in 0\.\.1, given 2"),
        ([2, 2], [((-1,), np.zeros(2))], 0.0, r"variables in 0\.\.1, given -1"),
        ([2, 0], [], 0.0, "at least one state per variable, given 0"),
        ([2], [((0,), [0.0, math.nan])], 0.0, "below"),
        ([2, 2], [((0, 1), [[0.0, math.inf], [0.0, 0.0]])], 0.0, "below"),
        ([2], [((), math.inf)], 0.0, "below"),
        ([2], [], math.nan, "below"),
        ([2], [((0,), [0.0, math.inf]), ((0,), [0.0, -math.inf])], 0.0, "below"),
    ],
)
def test_build_refuses(num_states, factors, constant, words):
    with pytest.raises(ValueError, match=words):
        factor_graph.build(num_states, factors, log_constant=constant)


@pytest.mark.parametrize("num_states", [[], [1], [3]])
def test_graphs_without_factors(num_states):
    built = factor_graph.build(num_states, [])
    assert built.num_variables == len(num_states)
    assert factor_graph.log_score(built, np.zeros((5, len(num_states)), dtype=int)).tolist() == (
        [0.0] * 5
    )


def test_log_score_in_numpy():
    np.testing.assert_allclose(factor_graph.log_score(graph(), ASSIGNMENTS), scores())
    batched = factor_graph.log_score(graph(), ASSIGNMENTS.reshape(3, 4, 4))
    np.testing.assert_allclose(batched, scores().reshape(3, 4))
    assert isinstance(factor_graph.log_score(graph(), ASSIGNMENTS[0]), np.floating)


def test_log_score_takes_booleans_as_states():
    built = factor_graph.build([2, 2], [((0, 1), [[0.0, 1.0], [2.0, 3.0]])])
    assert factor_graph.log_score(built, np.array([True, False])) == 2.0


def test_log_score_in_jax():
    import jax

    for score in (
        jax.jit(factor_graph.log_score),
        jax.vmap(factor_graph.log_score, in_axes=(None, 0)),
        lambda g, x: jax.jit(lambda x: factor_graph.log_score(g, x))(x),
    ):
        result = score(graph(), ASSIGNMENTS)
        assert isinstance(result, jax.Array)
        np.testing.assert_allclose(result, scores(), rtol=1e-5)


def test_the_gradient_of_log_score_counts_entries_and_has_no_nan():
    import jax

    def score(log_unary, x):
        return factor_graph.log_score(graph()._replace(log_unary=log_unary), x)

    for x in ASSIGNMENTS:  # some have a hard zero
        gradient = jax.grad(score)(graph().log_unary, x)
        np.testing.assert_array_equal(gradient, np.arange(3) == x[:, None])


@pytest.mark.parametrize(
    "evidence", [{}, {1: 2}, {1: 1}, {0: 0, 3: 1}, {0: 1, 1: 0, 2: 0}, {0: 1, 1: 2, 2: 0, 3: 0}]
)
def test_condition_keeps_what_agrees_and_forbids_the_rest(evidence):
    before = graph()
    fixed = factor_graph.condition(before, evidence)
    agrees = np.array([all(x[v] == s for v, s in evidence.items()) for x in ASSIGNMENTS])
    expected = np.where(agrees, scores(), -np.inf)
    np.testing.assert_allclose(factor_graph.log_score(fixed, ASSIGNMENTS), expected)
    for v, state in evidence.items():
        assert fixed.log_unary[v].tolist() == [0.0 if s == state else -np.inf for s in range(3)]
        assert all(v not in group.variables for group in fixed.groups)
    np.testing.assert_array_equal(fixed.num_states, NUM_STATES)
    np.testing.assert_allclose(factor_graph.log_score(before, ASSIGNMENTS), scores())


def test_tables_sliced_onto_one_variable_add_up():
    factors = [((0, v), [[1.0, 2.0], [3.0, 4.0]]) for v in (1, 2, 3)]
    fixed = factor_graph.condition(factor_graph.build([2] * 4, factors), {1: 0, 2: 1, 3: 1})
    assert fixed.groups == ()
    np.testing.assert_array_equal(fixed.log_unary[0], [5.0, 11.0])


def test_conditioning_in_steps_is_conditioning_at_once():
    steps = factor_graph.condition(factor_graph.condition(graph(), {0: 1}), {3: 0, 0: 1})
    at_once = factor_graph.condition(graph(), {0: 1, 3: 0})
    np.testing.assert_allclose(
        factor_graph.log_score(steps, ASSIGNMENTS), factor_graph.log_score(at_once, ASSIGNMENTS)
    )


def test_contradicting_steps_weigh_nothing():
    steps = factor_graph.condition(factor_graph.condition(graph(), {0: 1}), {0: 0})
    assert factor_graph.log_score(steps, ASSIGNMENTS).max() == -np.inf


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        ({4: 0}, r"variable in 0\.\.3, given 4"),
        ({-1: 0}, r"variable in 0\.\.3, given -1"),
        ({1: 3}, r"variable 1 in state 0\.\.2, given 3"),
        ({2: 1}, r"variable 2 in state 0\.\.0, given 1"),
        ({0: -1}, r"variable 0 in state 0\.\.1, given -1"),
    ],
)
def test_condition_refuses(evidence, words):
    with pytest.raises(ValueError, match=words):
        factor_graph.condition(graph(), evidence)


def test_scores_in_numpy_load_no_jax():
    code = (
        "import sys, numpy as np; from inference.problems import factor_graph as f;"
        "g = f.build([2, 2], [((0, 1), np.zeros((2, 2)))]);"
        "f.log_score(f.condition(g, {0: 1}), np.ones(2, dtype=int)); print('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_graphs_are_printed_on_one_line():
    graph = factor_graph.build([2, 3], [((0, 1), np.zeros((2, 3)))])
    assert repr(graph) == (
        "<FactorGraph: 2 variables of up to 3 states, 1 factors of two or more variables>"
    )
    assert repr(graph._replace(log_unary=None)).startswith("FactorGraph(")
