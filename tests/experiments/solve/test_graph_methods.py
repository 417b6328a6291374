import contextlib
import math
import time

import numpy as np
import pytest

import reference
from experiments import solve
from experiments.solve import decoding, graph_methods, graph_runs, methods
from inference import answer, estimate, limits
from inference.bounds import cutset
from inference.estimate import Claim
from inference.exact import elimination
from inference.message_passing import bp_rounds
from inference.problems import cnf, convert, factor_graph, generators
from inference.workers import background

GRID = generators.spin_glass_grid(1, 4, 4, scale=1.0)
TRUTH = elimination.log_partition(GRID)[0].log_value
QUESTIONS = ("log_partition", "marginals", "maximize")
CASES = [(question, one) for question in QUESTIONS for one in methods.lines(question)]
EXACT = [name for name, one in methods.answering("marginals").items() if one.is_exact]
INEXACT = [name for name, one in methods.answering("marginals").items() if not one.is_exact]
ASK = {
    "log_partition": solve.partition,
    "marginals": solve.marginals,
    "maximize": solve.maximize,
}


@pytest.mark.parametrize(("question", "method"), CASES)
def test_every_listed_method_answers(question, method):
    value, info = ASK[question](GRID, method=method)
    assert (info.method, info.status) == ("elimination" if method == "auto" else method, "done")
    if question == "log_partition":
        assert value.log_lower <= TRUTH <= value.log_upper
        assert abs(value.log_value - TRUTH) < 3.0
        certain = "certain" in methods.lines(question)[method] or method == "auto"
        assert value.claim is (Claim.CERTAIN if certain else Claim.NONE)
    elif question == "marginals":
        np.testing.assert_allclose(value.sum(axis=1), 1.0, atol=1e-6)
        assert np.abs(value - elimination.marginals(GRID)[0]).max() < 0.5
        exact = method in ("auto", *EXACT)
        assert info.claim is (Claim.CERTAIN if exact else Claim.NONE)
    else:
        assert value.value == pytest.approx(
            float(factor_graph.log_score(GRID, value.assignments[0]))
        )
        truth = elimination.maximize(GRID)[0].value
        assert value.value <= truth + 1e-9 and value.bound >= truth - 1e-9
        promised = "bound" in methods.lines(question)[method].replace("no bound", "")
        assert promised <= (value.bound < math.inf)


@pytest.mark.parametrize(("question", "method"), [case for case in CASES if case[1] not in EXACT])
def test_the_seed_is_what_draws(question, method):
    draws = method != "auto" and question in methods.answering(question)[method].draws
    seeds = (3, 3, 4) if draws else (3, 4)
    answers = [ASK[question](GRID, method=method, seed=seed) for seed in seeds]
    drawn = seeds if draws else [None] * 2
    assert [info.seed for _, info in answers] == list(drawn)
    values = [np.asarray(getattr(value, "log_value", value)) for value, _ in answers]
    if question == "maximize":
        values = [value.assignments for value, _ in answers]
    np.testing.assert_array_equal(values[0], values[1])


def test_seeds_change_the_trees():
    wide = generators.spin_glass_grid(2, 9, 9, scale=1.0)
    answers = [solve.partition(wide, method="trw", seed=seed)[0].log_value for seed in (0, 1)]
    assert answers[0] != answers[1]


@pytest.mark.parametrize("method", [*INEXACT, "exhaustive"])
def test_symmetric_models_have_good_maxima(method):
    graph = generators.ising_grid(4, 4, 0.4)  # marginals alone are all ties
    best, _ = solve.maximize(graph, method=method)
    assert best.value == pytest.approx(24 * 0.4)


WIDE = generators.spin_glass_grid(2, 9, 9, scale=1.0)
LITTLE = 1  # MiB: enough for bounds, not for elimination


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
    assert (info.claim, info.converged) == (Claim.NONE, True)
    best, _ = solve.maximize(WIDE, memory=LITTLE)
    truth = elimination.maximize(WIDE)[0].value
    assert best.value <= truth + 1e-9 and best.bound >= truth - 1e-9
    assert best.bound < math.inf


def test_the_default_budget_is_no_time_limit(monkeypatch):
    monkeypatch.setattr(graph_runs, "BUDGET", 0.05)
    _, info = solve.partition(WIDE, memory=LITTLE)
    assert info.status == "done"
    assert "refined for 0.05 s, the default without a time limit" in info.message


def test_a_time_limit_may_exceed_the_default_budget(monkeypatch):
    monkeypatch.setattr(graph_runs, "BUDGET", 0.05)
    given = []

    class Child(contextlib.AbstractContextManager):
        def __init__(self, work, question, graph, methods, asked, deadline, nice):
            given.append(deadline - time.monotonic())

        def __exit__(self, *_):
            pass

        def wait(self, seconds):
            return True

        def read(self):
            return background.ChildReport({}, "done")

    monkeypatch.setattr(background, "Child", Child)
    graph_runs.run("log_partition", GRID, "bp", seed=0, memory=None, timeout=80.0)
    assert given[0] > 70.0


def test_a_users_limit_is_used(monkeypatch):
    asked = []

    def ask(question, graph, method, *, seed, memory, timeout, **options):
        asked.append((options.get("iterations"), round(timeout)))
        return estimate.bounded(1.0, 0.0, 2.0, 0.0, 0.0), solve.Info("done", 0.0, "mini_bucket")

    monkeypatch.setattr(graph_methods, "ask", ask)
    given = {"seed": 0, "memory": None, "deadline": limits.Deadline.after(80.0)}
    for is_limited in (True, False):
        found = graph_methods.answers(
            "log_partition", GRID, ["mini_bucket"], is_limited=is_limited, **given
        )
        assert list(found)[-1]["mini_bucket"][1].status == "done"
    assert asked == [(0, 8), (10**4, 80), (None, 80)]


def test_an_estimate_outside_certain_bounds_is_moved():
    above = estimate.bounded(1.0, 1.0, math.inf, 0.0, 0.0)
    below = estimate.bounded(3.0, 0.0, 3.0, 0.0, 0.0)
    result = graph_methods.inside([above, below], estimate.Estimate(9.0))
    assert (result.log_lower, result.log_value, result.log_upper) == (1.0, 3.0, 3.0)


def test_the_fall_back_leaves_out_what_does_not_fit():
    formula = cnf.from_clauses([range(1, 41), [-1, 2]])
    result, info = solve.partition(convert.clause_graph(formula))
    truth = math.log(3 * 2**38)
    assert (result.claim, result.log_lower <= truth <= result.log_upper) == (Claim.CERTAIN, True)
    assert result.log_value == pytest.approx(truth, abs=0.01)
    assert "mini_bucket: expected at most 20 variables in a clause" in info.message


def test_auto_keeps_what_mini_buckets_prove():
    optimal = answer.Answer(answer.Status.OPTIMAL, 2.0, 2.0)
    luckier = answer.Answer(answer.Status.FEASIBLE, 2.0 + 1e-15, math.inf)
    best = graph_methods.best_of([luckier, optimal])
    assert (best.status, best.value, best.bound) == (answer.Status.OPTIMAL, 2.0, 2.0)
    impossible = answer.Answer(answer.Status.INFEASIBLE, -math.inf, -math.inf)
    unknown = answer.Answer(answer.Status.UNKNOWN, -math.inf, math.inf)
    assert graph_methods.best_of([unknown, impossible]).status is answer.Status.INFEASIBLE


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_an_interrupt_leaves_what_there_is(monkeypatch, timeout):
    monkeypatch.setattr(background.Child, "wait", interrupt)
    monkeypatch.setattr(graph_methods, "ask", interrupt)
    result, info = solve.partition(GRID, timeout=timeout)
    assert (info.status, result.claim) == ("interrupted", Claim.CERTAIN)
    assert result.log_lower <= TRUTH <= result.log_upper
    best, info = solve.maximize(GRID, timeout=timeout, method="bp")
    assert (info.status, best.status) == ("interrupted", answer.Status.FEASIBLE)
    probabilities, info = solve.marginals(GRID, timeout=timeout)
    assert (info.status, info.claim, info.converged) == ("interrupted", Claim.NONE, False)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)


def interrupt(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize("stop", ["timeout", "interrupted"])
@pytest.mark.parametrize("method", ["bp", "mean_field", "mini_bucket", "gbp"])
def test_maxima_say_what_ended_them(monkeypatch, method, stop):
    wide = generators.spin_glass_grid(2, 10, 10, scale=1.0)
    if stop == "interrupted":
        monkeypatch.setattr(cutset, "cut", interrupt)
        monkeypatch.setattr(bp_rounds, "advance", interrupt)
    given = {"seed": 0, "memory": None, "timeout": 0.0 if stop == "timeout" else 60.0}
    options = {"bp": {"iterations": 10**7}, "mini_bucket": {"i_bound": 3, "iterations": 3}}.get(
        method, {}
    )
    best, told = graph_methods.ask("maximize", wide, method, **given, **options)
    assert told.status == stop
    assert best.value == pytest.approx(float(factor_graph.log_score(wide, best.assignments[0])))


@pytest.mark.parametrize("seed", range(20))
def test_decoding_ends_where_no_single_change_helps(seed):
    rng = np.random.default_rng(seed)
    tables = [rng.normal(size=(2, 3)), rng.normal(size=(3, 2)), rng.normal(size=(2, 2))]
    tables[0][0, 1] = -np.inf
    graph = factor_graph.build([2, 3, 2], zip([(0, 1), (1, 2), (0, 2)], tables))
    chances = rng.random((3, 3)) * np.isfinite(graph.log_unary)
    found, status = decoding.decode(graph, chances.argmax(axis=1), seed=0)
    assert status == "done"
    best = found.assignments[0]
    for variable, size in enumerate([2, 3, 2]):
        for state in range(size):
            other = best.copy()
            other[variable] = state
            assert factor_graph.log_score(graph, other) <= found.value + 1e-12


def test_decoding_finds_nothing_where_all_is_impossible():
    graph = factor_graph.build([2], [((0,), [-np.inf, -np.inf])])
    found, _ = decoding.decode(graph, np.zeros(1, dtype=int), seed=0)
    assert (found.status, found.value) == (answer.Status.UNKNOWN, -math.inf)


@pytest.mark.parametrize("method", INEXACT)
def test_clauses_and_parities(method):
    formula = cnf.from_clauses([[1, 2], [-2, 3, 4], [-1, -4]], xors=[([1, 3, 5], True)])
    truth = math.log(reference.count_models(5, formula.clauses.tolist(), [([1, 3, 5], True)]))
    result, _ = solve.partition(convert.clause_graph(formula), method=method)
    assert result.log_lower <= truth <= result.log_upper
    assert math.isfinite(result.log_value)
