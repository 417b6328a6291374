import contextlib
import fractions
import math
import signal
import time

import numpy as np
import pytest
from pysat import formula as pysat_formula

import reference
from experiments import solve
from experiments.solve import methods, race
from hashing.counting import approxmc
from inference import answer, estimate
from inference.estimate import Claim
from inference.exact import ganak
from inference.problems import cnf, dimacs, factor_graph, generators
from inference.workers import background

CHAIN, HARD = generators.chain(60), generators.random_ksat(5, 120, 120)
EASY = cnf.from_clauses([[3, 4]], num_variables=7)
LATIN = generators.latin_square(8)  # no exact counter finishes this in a second


def test_auto_counts_exactly_where_it_can(monkeypatch):
    monkeypatch.setattr(race, "HEAD_START", 60.0)  # however busy the machine is
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
        status = "timeout" if value is None or stop() else "done"
        return value, answer.Info(status, seconds)

    return count, told


def test_in_a_race_hashing_may_win(monkeypatch):
    count, told = slow_ganak(60.0)
    monkeypatch.setattr(ganak, "count", count)
    result, info = solve.count(CHAIN, seed=3)
    assert (info.method, info.status, told) == ("approxmc", "done", [True])
    assert result.log_lower <= math.log(generators.chain_count(60)) <= result.log_upper


def test_in_a_race_ganak_may_win(monkeypatch):
    exact = estimate.exact_count(generators.chain_count(60), failure=1e-6)
    monkeypatch.setattr(race, "HEAD_START", 0.01)
    monkeypatch.setattr(ganak, "count", slow_ganak(0.5, exact)[0])
    start = time.monotonic()
    result, info = solve.count(HARD, seed=3, epsilon=0.01)
    assert (info.method, info.status, result.count) == ("ganak", "done", exact.count)
    assert time.monotonic() - start < 10


def test_an_exact_answer_is_worth_a_short_wait(monkeypatch):
    exact = estimate.exact_count(generators.chain_count(60), failure=1e-6)
    hashed = estimate.bounded(41.0, 40.0, 43.0, 0.1, 0.1)

    def count_in_a_second(*_, **__):
        time.sleep(1.0)
        return hashed, answer.Info("done", 1.0)

    monkeypatch.setattr(approxmc, "count", count_in_a_second)
    monkeypatch.setattr(race, "HEAD_START", 0.0)
    monkeypatch.setattr(race, "EXACT_SHARE", 0.5)
    monkeypatch.setattr(ganak, "count", slow_ganak(1.3, exact)[0])
    assert solve.count(CHAIN, seed=3)[1].method == "ganak"
    monkeypatch.setattr(ganak, "count", slow_ganak(60.0, exact)[0])
    start = time.monotonic()
    assert solve.count(CHAIN, seed=3)[0] == hashed
    assert 1.4 < time.monotonic() - start < 5.0


def test_ganak_stands_aside_while_hashing_ends_soon(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    asked = 90.0, 0.8, 0.2, 2  # three rounds
    assert not race._stands_aside([], *asked, math.inf)
    pooled = [100.0, 100.01]  # two rounds are left, after one that took 10 seconds
    assert race._stands_aside(pooled, *asked, math.inf)
    assert not race._stands_aside(pooled, *asked, 19.0)
    assert not race._stands_aside([100.0] * 20, 90.0, 0.8, 0.001, 2, math.inf)
    now = 114.0
    assert race._stands_aside(pooled, *asked, math.inf)
    now = 116.0
    assert not race._stands_aside(pooled, *asked, math.inf)


def test_a_race_without_a_winner_ends_in_time(monkeypatch):
    monkeypatch.setattr(ganak, "count", slow_ganak(60.0)[0])
    start = time.monotonic()
    result, info = solve.count(HARD, seed=3, epsilon=0.01, timeout=1.5)
    assert (info.method, info.status) == ("approxmc", "timeout")
    assert -math.inf < result.log_lower < result.log_upper < math.inf
    assert time.monotonic() - start < 8


@pytest.mark.parametrize("memory", [None, 4096])
def test_the_number_of_jobs_changes_no_answer(memory):
    one, _ = solve.count(CHAIN, method="approxmc", delta=0.05, seed=4)
    two, info = solve.count(CHAIN, method="approxmc", delta=0.05, seed=4, jobs=2, memory=memory)
    assert (one.log_value, one.log_lower, one.log_upper) == (
        two.log_value,
        two.log_lower,
        two.log_upper,
    )
    assert info.status == "done"


@pytest.mark.parametrize("method", ["approxmc", "adaptive", "short_xor", "exhaustive", "bpnn"])
def test_a_memory_limit_ends_with_a_valid_claim(method):
    many, few = [[i, i + 1] for i in range(1, 40_000)], [[1, 2, 3]]
    formula = cnf.from_clauses(few, num_variables=26, projection=range(1, 25))
    if method == "bpnn":
        formula = cnf.from_clauses(few, num_variables=26)
    elif method != "exhaustive":
        formula = cnf.from_clauses(many)
    start = time.monotonic()
    result, info = solve.count(formula, method=method, memory=32, timeout=2.0)
    assert (info.status, result.claim) in (("failed", Claim.CERTAIN), ("timeout", Claim.CERTAIN))
    assert "out of memory at the limit of 32 MiB" in info.message or info.status == "timeout"
    assert result.log_lower in (-math.inf, 0.0)  # a first model may have been found
    assert result.log_upper == pytest.approx(len(formula.sampling_set) * math.log(2))
    assert time.monotonic() - start < 10


def test_memory_too_small_to_start_with_is_refused():
    for method in ("auto", "exact", "approxmc"):
        with pytest.raises(ValueError, match="expected at least 32 MiB of memory, given 31"):
            solve.count(EASY, method=method, memory=31)


def test_enumeration_keeps_a_time_limit():
    formula = cnf.from_clauses([[i, i + 1] for i in range(1, 26)] * 3000)
    start = time.monotonic()
    result, info = solve.count(formula, method="exhaustive", timeout=0.6)
    assert (info.status, result.claim) == ("timeout", Claim.CERTAIN)
    assert time.monotonic() - start < 3


def test_auto_survives_a_broken_exact_counter(monkeypatch):
    broken = None, answer.Info("failed", 0.0, "out of memory")
    monkeypatch.setattr(ganak, "count", lambda *_, **__: broken)
    result, info = solve.count(EASY)
    assert (info.method, info.message) == ("approxmc", "out of memory")
    assert result.log_lower <= math.log(96) <= result.log_upper
    with pytest.raises(ValueError, match="ganak failed: out of memory"):
        solve.count(EASY, method="exact")


@pytest.mark.parametrize("method", sorted(methods.lines("count")))
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


def test_what_counts_as_a_formula(tmp_path):
    clauses = [[1, 2], [-1, 3], [-3, 4, -2]]
    expected = reference.count_models(4, clauses)
    path = tmp_path / "f.cnf"
    dimacs.write(cnf.from_clauses(clauses), path)
    given = [clauses, [tuple(c) for c in clauses], np.array([[1, 2], [-1, 3]]), str(path), path]
    given.append(pysat_formula.CNF(from_clauses=clauses))
    for one in given:
        truth = (
            reference.count_models(3, [[1, 2], [-1, 3]])
            if isinstance(one, np.ndarray)
            else expected
        )
        assert solve.count(one, method="exhaustive")[0].count == truth
    text = "c p show 1 2 0\np cnf 4 3\n" + "".join(f"{' '.join(map(str, c))} 0\n" for c in clauses)
    projected = pysat_formula.CNF(from_string=text)
    assert solve.count(projected, method="exhaustive")[0].count == 3
    weighted, limited = pysat_formula.WCNF(), pysat_formula.CNFPlus()
    limited.extend(clauses)
    assert solve.count(limited, method="exhaustive")[0].count == expected
    weighted.append([1, 2])
    limited.append([[1, 2, 3], 1], is_atmost=True)
    for bad, message in (
        (weighted, "a formula of clauses alone, given soft clauses"),
        (limited, "a formula of clauses alone, given cardinality constraints"),
        (7, "a CNF, a path or lists of literals, given int"),
        ([1, 2], "lists of literals as clauses, given 1"),
        (["1 2"], "lists of literals as clauses, given '1 2'"),
        ([[1, 0]], "literals other than 0 in clauses, given 0"),
    ):
        with pytest.raises(ValueError, match=f"expected {message}"):
            solve.count(bad)


@pytest.mark.parametrize("method", ["exact", "exhaustive", "approxmc", "adaptive", "auto"])
def test_assumptions(method):
    clauses = [[1, 2], [-1, 3], [-3, 4, -2], [5, 6, -4]]
    truth = math.log(reference.count_models(6, [*clauses, [-3], [6]]))
    result, _ = solve.count(clauses, method=method, assumptions=[-3, 6])
    assert result.log_lower <= truth <= result.log_upper
    with pytest.raises(ValueError, match="of the variables 1..6, given 7"):
        solve.count(clauses, method=method, assumptions=[7])


def test_weights_by_literal():
    given = {1: 0.25, -2: 3.0, 2: 0.5, -4: fractions.Fraction(2, 5), 3: 0}
    pairs = {1: (0.75, 0.25), 2: (3.0, 0.5), 3: (1.0, 0.0), 4: (0.4, 0.6), 5: (1.0, 1.0)}
    clauses = [[1, 2], [-1, 3, 5], [-3, 4, -2]]
    total = sum(
        math.prod(pairs[v][model[v - 1]] for v in pairs) for model in reference.models(5, clauses)
    )
    for method in ("exact", "exhaustive"):
        result, _ = solve.count(clauses, method=method, weights=given)
        assert math.exp(result.log_value) == pytest.approx(total, rel=1e-12)
    for bad, message in (
        ({1: -0.5}, "expected a weight of at least 0 for 1, given -0.5"),
        ({-2: math.nan}, "expected a weight of at least 0 for -2, given nan"),
        ({1: math.inf}, "expected a weight of at least 0 for 1, given inf"),
        ({-1: 2.0}, "expected a weight for 1 too: that of -1 is 2.0"),
        ({0: 0.5}, "expected a literal of the variables 1..5, given 0"),
        ({9: 0.5}, "expected a literal of the variables 1..5, given 9"),
    ):
        with pytest.raises(ValueError, match=message):
            solve.count(clauses, weights=bad)


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("bpnn", {"epsilon": 0.5}, "auto, exact, ganak, exhaustive or approxmc for epsilon"),
        ("adaptive", {"epsilon": 0.5}, "approxmc for epsilon, given adaptive"),
        ("bpnn", {"delta": 0.5}, "approxmc, adaptive or short_xor for delta, given bpnn"),
        ("exact", {"checkpoint": "rounds"}, "auto or approxmc for checkpoint, given ganak"),
        ("adaptive", {"checkpoint": "rounds"}, "auto or approxmc for checkpoint, given adaptive"),
        ("exhaustive", {"reduction": ()}, "auto, approxmc, adaptive or short_xor for reduction"),
        ("auto", {"weights": {1: 0.5}, "checkpoint": "rounds"}, "for checkpoint, given ganak"),
        ("auto", {"epsilon": 0.0}, "epsilon > 0, given 0.0"),
        ("exact", {"delta": 1.5}, r"delta in \(0, 1\), given 1.5"),
        ("exact", {"jobs": 0}, "at least 1 job, given 0"),
    ],
)
def test_nothing_that_is_given_is_ignored(method, given, message):
    with pytest.raises(ValueError, match=f"expected .*{message}") as raised:
        solve.count([[1, 2]], method=method, **given)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("method", ["exact", "exhaustive"])
def test_exact_counts_keep_any_tolerance(method):
    result, _ = solve.count(EASY, method=method, epsilon=0.01, delta=1e-3, jobs=2)
    assert result.count == 96


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


def test_what_users_print_takes_a_line():
    result, info = solve.count(EASY, method="exhaustive", seed=3)
    assert str(result).startswith("96 (log 4.56") and "\n" not in repr(result)
    assert str(info).startswith("exhaustive, done, ") and str(info).endswith(" s, seed 3")
    best, _ = solve.maximize(GRAPH)
    assert str(best).startswith("optimal, value ") and "\n" not in str(best)
