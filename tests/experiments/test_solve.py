import contextlib
import math
import signal
import time

import numpy as np
import pytest

import reference
from experiments import solve
from inference import answer, estimate
from inference.estimate import Claim
from inference.oracles import ganak, process
from inference.problems import cnf, factor_graph, generators

CHAIN, HARD = generators.chain(60), generators.random_ksat(5, 120, 120)
EASY = cnf.from_clauses([[3, 4]], num_variables=7)
LATIN = generators.latin_square(8)  # no exact counter finishes this in a second


def test_auto_counts_exactly_where_it_can(monkeypatch):
    monkeypatch.setattr(solve, "HEAD_START", 60.0)  # however busy the machine is
    result, info = solve.count(EASY)
    assert (result.count, info.method, info.status) == (96, "ganak", "done")


def slow_ganak(seconds, value=None):
    """A counter that answers, or gives up, after some time, and sees when it is told to stop."""
    told = []

    def count(formula, *, stop, **_):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not stop():
            time.sleep(0.01)
        told.append(stop())
        status = answer.Status.UNKNOWN if value is None or stop() else answer.Status.OPTIMAL
        return answer.Answer(status, value)

    return count, told


def test_in_a_race_hashing_may_win(monkeypatch):
    count, told = slow_ganak(60.0)
    monkeypatch.setattr(ganak, "count", count)
    result, info = solve.count(CHAIN, seed=3)
    assert (info.method, info.status, told) == ("approxmc", "done", [True])
    assert result.log_lower <= math.log(generators.chain_count(60)) <= result.log_upper


def test_in_a_race_ganak_may_win(monkeypatch):
    exact = estimate.exact_count(generators.chain_count(60), failure=1e-6)
    monkeypatch.setattr(solve, "HEAD_START", 0.01)
    monkeypatch.setattr(ganak, "count", slow_ganak(0.5, exact)[0])
    start = time.monotonic()
    result, info = solve.count(HARD, seed=3, epsilon=0.01)
    assert (info.method, info.status, result.count) == ("ganak", "done", exact.count)
    assert time.monotonic() - start < 10


def test_a_race_without_a_winner_ends_in_time(monkeypatch):
    monkeypatch.setattr(ganak, "count", slow_ganak(60.0)[0])
    start = time.monotonic()
    result, info = solve.count(HARD, seed=3, epsilon=0.01, timeout=1.5)
    assert (info.method, info.status) == ("approxmc", "timeout")
    assert -math.inf < result.log_lower < result.log_upper < math.inf
    assert time.monotonic() - start < 8


@pytest.mark.parametrize("memory", [None, 2**34])
def test_the_number_of_jobs_changes_no_answer(memory):
    one, _ = solve.count(CHAIN, method="approxmc", delta=0.05, seed=4)
    two, info = solve.count(CHAIN, method="approxmc", delta=0.05, seed=4, jobs=2, memory=memory)
    assert (one.log_value, one.log_lower, one.log_upper) == (
        two.log_value,
        two.log_lower,
        two.log_upper,
    )
    assert info.status == "done"


def test_a_memory_limit_ends_hashing_with_a_valid_claim():
    result, info = solve.count(CHAIN, method="approxmc", memory=2**24)
    assert info.status == "failed" and "worker died" in info.message
    assert result.log_lower <= math.log(generators.chain_count(60)) <= result.log_upper


def test_auto_survives_a_broken_exact_counter(monkeypatch):
    broken = answer.Answer(answer.Status.FAILED, message="out of memory")
    monkeypatch.setattr(ganak, "count", lambda *_, **__: broken)
    result, info = solve.count(EASY)
    assert (info.method, info.message) == ("approxmc", "out of memory")
    assert result.log_lower <= math.log(96) <= result.log_upper
    with pytest.raises(ValueError, match="ganak failed: out of memory"):
        solve.count(EASY, method="exact")


@pytest.mark.parametrize("method", sorted(solve.COUNT_METHODS))
def test_every_method_answers(method):
    result, info = solve.count(EASY, method=method)
    assert info.status == "done"
    assert result.log_lower <= math.log(96) <= result.log_upper


def test_a_time_limit_leaves_a_valid_claim():
    result, info = solve.count(LATIN, method="exact", timeout=0.5)
    assert (info.status, result.claim) == ("timeout", Claim.CERTAIN)
    assert (result.log_lower, result.log_upper) == (
        -math.inf,
        pytest.approx(len(LATIN.sampling_set) * math.log(2)),
    )


def test_a_time_limit_on_weights_bounds_them_from_above():
    weights = np.random.default_rng(0).normal(size=(LATIN.num_variables, 2))
    formula = cnf.from_clauses(LATIN.clauses, log_weights=weights)
    result, info = solve.count(formula, timeout=0.5)
    assert (info.method, info.status, result.claim) == ("ganak", "timeout", Claim.CERTAIN)
    assert result.log_upper == pytest.approx(np.logaddexp(weights[:, 0], weights[:, 1]).sum())
    with pytest.raises(ValueError, match="expected no weights"):
        solve.count(formula, method="approxmc")


def interrupted(seconds, function):
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return function()
    finally:
        signal.signal(signal.SIGALRM, before)


def test_ctrl_c_leaves_a_valid_claim():
    for method in ("auto", "exact", "approxmc"):
        formula = generators.random_ksat(5, 200, 400) if method == "approxmc" else LATIN
        result, info = interrupted(
            1.0, lambda method=method, formula=formula: solve.count(formula, method=method)
        )
        assert (info.status, math.isinf(result.log_upper)) == ("interrupted", False)


def test_unknown_methods_are_named():
    with pytest.raises(ValueError, match="expected a method among auto, exact, .* given 'magic'"):
        solve.count(EASY, method="magic")
    with pytest.raises(ValueError, match="given 'magic'"):
        solve.partition(generators.ising_grid(2, 2, 1.0), method="magic")


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
    with pytest.raises(ValueError, match=r"bytes of tables.*width 12.*methods: auto, "):
        solve.partition(generators.ising_grid(12, 12, 1.0), method="elimination", memory=1000)
    with pytest.raises(ValueError, match="bytes of tables"):  # the same from a child process
        solve.marginals(
            generators.ising_grid(12, 12, 1.0), method="elimination", memory=1000, timeout=60.0
        )


@pytest.mark.parametrize("seed", range(5))
def test_the_bounds_of_a_time_limit_hold(seed, monkeypatch):
    monkeypatch.setattr(process, "Child", Stuck)
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
        return process.Told(None, "running")


def test_what_a_maximum_gives_at_the_time_limit():
    table, limits = np.log([[1.0, 3.0], [7.0, 0.3]]), {"method": "elimination", "timeout": 1e-6}
    best, info = solve.maximize(factor_graph.build([2, 2], [((0, 1), table)]), **limits)
    assert (info.status, best.status) == ("timeout", answer.Status.FEASIBLE)
    assert (best.value, best.assignments.tolist()) == (table[0, 0], [[0, 0]])
    table[0, 0] = -np.inf
    best, _ = solve.maximize(factor_graph.build([2, 2], [((0, 1), table)]), **limits)
    assert (best.status, best.value, best.assignments) == (answer.Status.UNKNOWN, -math.inf, None)
    assert best.bound >= math.log(7.0)
