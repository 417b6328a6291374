import contextlib
import math
import time

import numpy as np
import pytest

import reference
from experiments import solve
from inference import answer
from inference.estimate import Claim
from inference.problems import factor_graph, generators
from inference.workers import background

GRAPH = generators.spin_glass_grid(1, 3, 3, scale=1.0)


@pytest.mark.parametrize("method", ["auto", "elimination", "exhaustive"])
@pytest.mark.parametrize("timeout", [None, 60.0])
def test_partition_and_maximum(method, timeout):
    result, info = solve.partition(GRAPH, method=method, timeout=timeout)
    exact, _ = solve.partition(GRAPH)
    assert info.status == "done"
    assert result.log_value == pytest.approx(exact.log_value, rel=1e-12)
    best, _ = solve.maximize(GRAPH, method=method, timeout=timeout)
    assert best.status is answer.Status.OPTIMAL
    assert best.value == pytest.approx(float(factor_graph.log_score(GRAPH, best.assignments[0])))


@pytest.mark.parametrize("timeout", [None, 60.0])
@pytest.mark.parametrize("method", ["auto", "elimination", "exhaustive"])
def test_exact_marginals_have_a_proven_error(method, timeout):
    probabilities, info = solve.marginals(GRAPH, method=method, timeout=timeout)
    assert (info.claim, info.status) == (Claim.CERTAIN, "done")
    factors = [([v], np.exp(GRAPH.log_unary[v]).tolist()) for v in range(9)]
    for group in GRAPH.groups:
        factors += zip(group.variables.tolist(), np.exp(group.log_potentials).tolist())
    expected = np.array(reference.marginals([2] * 9, factors))
    assert 0.0 < info.error < 1e-11
    assert np.abs(probabilities - expected).max() <= info.error + 1e-14


@pytest.mark.parametrize("method", ["auto", "elimination", "exhaustive", "gbp", "mini_bucket"])
def test_impossible_models_have_no_marginals(method):
    graph = factor_graph.build([2, 2, 2], [((0, 1), np.full((2, 2), -np.inf))])
    with pytest.raises(ValueError, match="expected a model with marginals, given one where"):
        solve.marginals(graph, method=method)


def test_what_does_not_fit_says_what_it_would_need():
    with pytest.raises(ValueError, match=r"MiB of tables.*width 12.*methods: auto, "):
        solve.partition(generators.ising_grid(12, 12, 1.0), method="elimination", memory=0.001)
    with pytest.raises(ValueError, match="MiB of tables"):  # the same from a child process
        solve.marginals(
            generators.ising_grid(12, 12, 1.0), method="elimination", memory=0.001, timeout=60.0
        )


@pytest.mark.parametrize("seed", range(5))
def test_the_bounds_of_a_time_limit_hold(seed, monkeypatch):
    monkeypatch.setattr(background, "Child", Stuck)
    rng = np.random.default_rng(seed)
    states = [2, 3, 2, 2]
    scopes = [(0,), (1,), (0, 1), (1, 2), (3, 1)]
    tables = [rng.exponential(size=[states[v] for v in scope]) for scope in scopes]
    tables[2][0, 0] = 0.0
    with np.errstate(divide="ignore"):
        graph = factor_graph.build(states, zip(scopes, map(np.log, tables), strict=True))
    factors = [(scope, table.tolist()) for scope, table in zip(scopes, tables)]
    result, info = solve.partition(graph, method="elimination", timeout=0.1)
    assert (info.status, result.claim) == ("timeout", Claim.CERTAIN)
    assert result.log_lower <= reference.log_partition(states, factors) <= result.log_upper
    best, _ = solve.maximize(graph, method="elimination", timeout=0.1)
    assert (best.status is answer.Status.FEASIBLE) == (best.value > -math.inf)
    assert best.value <= reference.map(states, factors)[1] + 1e-12
    assert best.bound >= reference.map(states, factors)[1]


class Stuck(contextlib.AbstractContextManager):
    """A child process that never answers."""

    def __init__(self, *_):
        pass

    def __exit__(self, *_):
        pass

    def wait(self, seconds):
        time.sleep(seconds)
        return False

    def read(self):
        return background.ChildReport(None, "running")


def test_what_a_maximum_gives_at_the_time_limit():
    table, limits = np.log([[1.0, 3.0], [7.0, 0.3]]), {"method": "elimination", "timeout": 1e-6}
    best, info = solve.maximize(factor_graph.build([2, 2], [((0, 1), table)]), **limits)
    assert (info.status, best.status) == ("timeout", answer.Status.FEASIBLE)
    assert (best.value, best.assignments.tolist()) == (table[0, 0], [[0, 0]])
    table[0, 0] = -np.inf
    best, _ = solve.maximize(factor_graph.build([2, 2], [((0, 1), table)]), **limits)
    assert (best.status, best.value, best.assignments) == (answer.Status.UNKNOWN, -math.inf, None)
    assert best.bound >= math.log(7.0)


def test_a_maximum_prints_in_a_line():
    best, _ = solve.maximize(GRAPH)
    assert str(best).startswith("optimal, value ") and "\n" not in str(best)
