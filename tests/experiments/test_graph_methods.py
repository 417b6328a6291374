import math

import numpy as np
import pytest

import reference
from experiments import solve
from experiments.harness import graph_methods
from inference import answer, estimate
from inference.estimate import Claim
from inference.exact import elimination
from inference.problems import cnf, convert, factor_graph, generators

GRID = generators.spin_glass_grid(1, 4, 4, scale=1.0)
TRUTH = elimination.log_partition(GRID)[0].log_value
LIMITS = {"seed": 0, "timeout": 60.0, "memory": None}


@pytest.mark.parametrize("method", graph_methods.METHODS)
def test_every_method_answers_what_it_says(method):
    result, info = solve.partition(GRID, method=method)
    assert (info.method, info.status) == (method, "done")
    assert result.log_lower <= TRUTH <= result.log_upper
    assert abs(result.log_value - TRUTH) < 3.0
    certain = "certain" in graph_methods.METHODS[method]
    assert result.claim is (Claim.CERTAIN if certain else Claim.NONE)


@pytest.mark.parametrize("method", graph_methods.METHODS)
def test_maxima_are_scored_again_and_bounds_hold(method):
    best, _ = solve.maximize(GRID, method=method)
    assert best.value == pytest.approx(float(factor_graph.log_score(GRID, best.assignments[0])))
    truth = elimination.maximize(GRID).value
    assert best.value <= truth + 1e-9 and best.bound >= truth - 1e-9


@pytest.mark.parametrize("method", graph_methods.METHODS)
def test_marginals_are_distributions(method):
    probabilities, _ = solve.marginals(GRID, method=method)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-6)
    exact, _ = elimination.marginals(GRID)
    assert np.abs(probabilities - exact).max() < 0.5


WIDE = generators.spin_glass_grid(2, 9, 9, scale=1.0)
LITTLE = 0.03  # MiB: enough for mini-buckets, not for elimination


def test_auto_falls_back_to_an_estimate_between_bounds():
    result, info = solve.partition(WIDE, memory=LITTLE)
    assert result.claim is Claim.CERTAIN
    assert result.log_lower <= elimination.log_partition(WIDE)[0].log_value <= result.log_upper
    assert result.log_lower <= result.log_value <= result.log_upper
    assert info.method == "bp+mean_field+mini_bucket"
    assert "bp converged after" in info.message and "MiB of tables" in info.message


def test_auto_falls_back_for_marginals_and_maxima():
    probabilities, info = solve.marginals(WIDE, memory=LITTLE)
    expected, _ = solve.marginals(WIDE, method="bp")
    np.testing.assert_array_equal(probabilities, expected)
    best, _ = solve.maximize(WIDE, memory=LITTLE)
    truth = elimination.maximize(WIDE).value
    assert best.value <= truth + 1e-9 and best.bound >= truth - 1e-9
    assert best.bound < math.inf


def test_an_estimate_outside_certain_bounds_is_moved(monkeypatch):
    answers = {
        "bp": estimate.Estimate(9.0),
        "mean_field": estimate.bounded(1.0, 1.0, math.inf, 0.0, 0.0),
        "mini_bucket": estimate.bounded(3.0, 0.0, 3.0, 0.0, 0.0),
    }
    told = graph_methods.Told("done")
    monkeypatch.setattr(graph_methods, "ask", lambda _, __, method, **___: (answers[method], told))
    result, _ = graph_methods.fall_back("log_partition", GRID, **LIMITS)
    assert (result.log_lower, result.log_value, result.log_upper) == (1.0, 3.0, 3.0)


def test_the_fall_back_leaves_out_what_does_not_fit():
    formula = cnf.from_clauses([range(1, 41), [-1, 2]])
    result, info = solve.partition(convert.clause_graph(formula))
    assert result.claim is Claim.NONE
    assert result.log_value == pytest.approx(math.log(3 * 2**38), abs=0.01)
    assert "mini_bucket: expected at most 20 variables" in info.message


def test_the_fall_back_keeps_what_mini_buckets_prove():
    possible = factor_graph.build([2, 2], [((0, 1), [[0.0, 1.0], [2.0, -np.inf]])])
    best, _ = graph_methods.fall_back("maximize", possible, **LIMITS)
    assert (best.status, best.value, best.bound) == (answer.Status.OPTIMAL, 2.0, 2.0)
    impossible = factor_graph.build([2, 2], [((0, 1), np.full((2, 2), -np.inf))])
    best, _ = graph_methods.fall_back("maximize", impossible, **LIMITS)
    assert (best.status, best.bound) == (answer.Status.INFEASIBLE, -math.inf)


def test_an_interrupt_ends_the_fall_back_with_what_there_is(monkeypatch):
    asked = []

    def ask(question, graph, method, **limits):
        asked.append(method)
        return estimate.Estimate(2.0), graph_methods.Told("interrupted")

    monkeypatch.setattr(graph_methods, "ask", ask)
    result, told = graph_methods.fall_back("log_partition", GRID, **LIMITS)
    assert (result.claim, told.status, asked) == (Claim.NONE, "interrupted", ["bp"])


@pytest.mark.parametrize("seed", range(20))
def test_decoding_ends_where_no_single_change_helps(seed):
    rng = np.random.default_rng(seed)
    tables = [rng.normal(size=(2, 3)), rng.normal(size=(3, 2)), rng.normal(size=(2, 2))]
    tables[0][0, 1] = -np.inf
    graph = factor_graph.build([2, 3, 2], zip([(0, 1), (1, 2), (0, 2)], tables))
    found = graph_methods.decode(graph, rng.random((3, 3)) * np.isfinite(graph.log_unary), 0.0)
    best = found.assignments[0]
    for variable, size in enumerate([2, 3, 2]):
        for state in range(size):
            other = best.copy()
            other[variable] = state
            assert factor_graph.log_score(graph, other) <= found.value


def test_decoding_finds_nothing_where_all_is_impossible():
    graph = factor_graph.build([2], [((0,), [-np.inf, -np.inf])])
    found = graph_methods.decode(graph, np.full((1, 2), 0.5), 0.0)
    assert (found.status, found.value) == (answer.Status.UNKNOWN, -math.inf)


@pytest.mark.parametrize("method", graph_methods.METHODS)
def test_clauses_and_parities(method):
    formula = cnf.from_clauses([[1, 2], [-2, 3, 4], [-1, -4]], xors=[([1, 3, 5], True)])
    truth = math.log(reference.count_models(5, formula.clauses.tolist(), [([1, 3, 5], True)]))
    result, _ = solve.partition(convert.clause_graph(formula), method=method)
    assert result.log_lower <= truth <= result.log_upper
    assert math.isfinite(result.log_value)
