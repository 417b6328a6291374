"""Mini-buckets: certain on both sides for any model, weights, shifts and time limit."""

import math

import numpy as np
import pytest
from small_models import build, random_model

import reference
from inference.answer import Status
from inference.bounds import cost_shifting, mini_bucket, power_sums
from inference.estimate import Claim
from inference.exact import elimination
from inference.problems import factor_graph, generators


def check(estimate, truth):
    assert estimate.claim is Claim.CERTAIN
    # The reference is rounded as well.
    slack = 0.0 if truth == -math.inf else 1e-12 * (1 + abs(truth))
    assert estimate.log_lower <= truth + slack
    assert estimate.log_upper >= truth - slack


@pytest.mark.parametrize("iterations", [0, 5])
@pytest.mark.parametrize("i_bound", [0, 1, 2])
def test_bounds_hold_on_random_models(i_bound, iterations):
    split = 0
    for seed in range(80 if iterations == 0 else 30):
        model = random_model(seed)
        options = {"i_bound": i_bound, "iterations": iterations}
        estimate, info = mini_bucket.log_partition(build(*model), **options)
        check(estimate, reference.log_partition(*model))
        split += not info.is_exact
    assert split > 3


def test_not_splitting_is_exact():
    for seed in range(40):
        model = random_model(seed)
        estimate, info = mini_bucket.log_partition(build(*model))
        truth = reference.log_partition(*model)
        assert info.is_exact and info.status == "done"
        assert estimate.log_value == pytest.approx(truth, abs=1e-12)
        assert estimate.log_lower == estimate.log_upper or estimate.log_width < 1e-10
        assert estimate.log_lower <= truth + 1e-13 and truth - 1e-13 <= estimate.log_upper


def test_fitting_and_wider_tables_narrow_the_interval():
    graph = generators.spin_glass_grid(0, 5, 5, 2.0, 0.3)
    truth = elimination.log_partition(graph)[0]
    widths = []
    for i_bound in (1, 2, 4):
        fitted, _ = mini_bucket.log_partition(graph, i_bound=i_bound, iterations=15)
        rough, _ = mini_bucket.log_partition(graph, i_bound=i_bound, iterations=0)
        assert rough.log_lower <= fitted.log_lower <= truth.log_upper
        assert truth.log_lower <= fitted.log_upper <= rough.log_upper
        widths.append(fitted.log_width)
    assert widths[0] > 1.5 * widths[1] > 2 * widths[2]


def test_no_time_is_still_a_bound():
    graph = generators.spin_glass_grid(0, 6, 6, 2.0, 0.3)
    truth = elimination.log_partition(graph)[0].log_value
    estimate, info = mini_bucket.log_partition(graph, i_bound=2, timeout=0.0)
    assert info.status == "timeout" and info.iterations == 2
    check(estimate, truth)
    assert estimate.log_width < math.inf


def test_interrupted(monkeypatch):
    gradient, calls = cost_shifting.gradient, []

    def stop(*given):
        calls.append(given)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return gradient(*given)

    monkeypatch.setattr(cost_shifting, "gradient", stop)
    graph = generators.spin_glass_grid(0, 4, 4, 2.0, 0.3)
    estimate, info = mini_bucket.log_partition(graph, i_bound=1)
    assert info.status == "interrupted" and info.iterations == 3
    check(estimate, elimination.log_partition(graph)[0].log_value)


@pytest.mark.parametrize("given", [([], []), ([3, 1], []), ([2], [((0,), [0.0, 0.0])])])
def test_degenerate_models(given):
    estimate, info = mini_bucket.log_partition(build(*given), i_bound=0)
    assert info.is_exact
    assert estimate.log_value == pytest.approx(reference.log_partition(*given), abs=1e-14)


def test_gradients_against_differences():
    graph = generators.spin_glass_grid(0, 4, 4, 2.0, 0.3)
    _, buckets = mini_bucket._prepare(graph, 1, None)
    tree, tables = buckets.tree, buckets.tables
    shifts = cost_shifting.shifts(tree)
    rng = np.random.default_rng(0)
    at = 0.3 * rng.normal(size=len(cost_shifting.zeros(tree, shifts)))
    for weigh in (cost_shifting.positive, cost_shifting.reverse):

        def value(vector, weigh=weigh):
            weights, pull = weigh(tree, vector[len(vector) - len(tree.cliques) :])
            moved = cost_shifting.move(tables, shifts, vector)
            sums = power_sums.upward(tree, moved, weights, keep=True)
            return sums, pull

        sums, pull = value(at)
        gradient = cost_shifting.gradient(tree, sums, shifts, pull)
        direction = rng.normal(size=len(at))
        step = 1e-6 * direction
        slope = (value(at + step)[0].log_value - value(at - step)[0].log_value) / 2e-6
        assert gradient @ direction == pytest.approx(slope, rel=1e-6)


def test_weights_that_do_not_add_up_are_no_bound(monkeypatch):
    graph = generators.ising_grid(4, 4, 0.1)

    def short(tree, logits, total=1.0):
        return np.full(len(tree.cliques), 0.4), lambda gradient: 0.0 * gradient

    monkeypatch.setattr(cost_shifting, "positive", short)
    with pytest.raises(ValueError, match="log_lower <= log_upper"):
        mini_bucket.log_partition(graph, i_bound=1, iterations=0)


def test_a_lost_factor_is_no_bound(monkeypatch):
    graph = generators.ising_grid(4, 4, 1.0)
    fill = power_sums.fill
    monkeypatch.setattr(
        power_sums, "fill", lambda tree, tables: fill(tree, [tables[0] - 30.0, *tables[1:]])
    )
    with pytest.raises(ValueError, match="log_lower <= log_upper"):
        mini_bucket.log_partition(graph, i_bound=3)


def test_maximize_on_random_models():
    for seed in range(60):
        model = random_model(seed)
        answer, _ = mini_bucket.maximize(build(*model), i_bound=seed % 3, iterations=5)
        _, best = reference.map(*model)
        assert answer.bound >= best - 1e-12 * (1 + abs(best))
        if answer.status is Status.INFEASIBLE:
            assert best == -math.inf
        elif answer.status in (Status.OPTIMAL, Status.FEASIBLE):
            score = factor_graph.log_score(build(*model), answer.assignments[0])
            assert answer.value == pytest.approx(score, abs=1e-12)
            assert score <= best + 1e-12 * (1 + abs(best))
            if answer.status is Status.OPTIMAL:
                assert answer.value == pytest.approx(best, abs=1e-12)


def test_maximize_narrows():
    graph = generators.spin_glass_grid(0, 6, 6, 2.0, 0.3)
    best = elimination.maximize(graph)[0].value
    rough, fitted = (mini_bucket.maximize(graph, i_bound=4, iterations=n)[0] for n in (0, 20))
    assert fitted.value == pytest.approx(best, abs=1e-9)
    assert best - 1e-9 <= fitted.bound < best + (rough.bound - best) / 2


def test_marginals():
    model = ([2, 3, 2], [((0, 1), [[1, 2, 0], [0.5, 1, 3]]), ((1, 2), [[1, 4], [0, 1], [2, 2]])])
    found, info = mini_bucket.marginals(build(*model))
    assert info.is_exact
    for row, expected in zip(found, reference.marginals(*model), strict=True):
        np.testing.assert_allclose(row, [*expected, *[0.0] * (3 - len(expected))], atol=1e-12)
    graph = generators.spin_glass_grid(0, 4, 4, 1.0, 0.5)
    found, info = mini_bucket.marginals(graph, i_bound=2)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert not info.is_exact and info.iterations > 1
    np.testing.assert_allclose(found, elimination.marginals(graph)[0], atol=0.1)


def test_what_does_not_fit_is_refused():
    graph = generators.ising_grid(5, 5, 0.5)
    with pytest.raises(ValueError, match="at most 0.0001 MiB"):
        mini_bucket.log_partition(graph, i_bound=3, memory=1e-4)
    with pytest.raises(ValueError, match="at least 0"):
        mini_bucket.log_partition(graph, i_bound=-1)


def test_the_i_bound_chosen_here_fits_into_the_memory():
    graph = generators.spin_glass_grid(2, 9, 9, scale=1.0)
    truth = elimination.log_partition(graph)[0].log_value
    result, info = mini_bucket.log_partition(graph, memory=0.03)
    assert 0 < info.i_bound < 6 and not info.is_exact
    assert result.log_lower <= truth <= result.log_upper
    best, _ = mini_bucket.maximize(graph, memory=0.03)
    assert best.value <= elimination.maximize(graph)[0].value + 1e-9 <= best.bound + 1e-9


def test_the_upper_side_takes_what_the_lower_leaves(monkeypatch):
    ends, calls, fit = ["timeout", "done", "done"], [], mini_bucket._fit

    def one_step(buckets, weigh, sign, iterations, deadline, start=None):
        calls.append((sign, start is not None))
        found = fit(buckets, weigh, sign, 2, deadline, start)
        return found._replace(status=ends[len(calls) - 1])

    monkeypatch.setattr(mini_bucket, "_fit", one_step)
    graph = generators.spin_glass_grid(0, 5, 5, 1.0)
    result, info = mini_bucket.log_partition(graph, i_bound=2, timeout=600.0)
    assert calls == [(1.0, False), (-1.0, False), (1.0, True)] and info.status == "done"
    assert result.log_lower <= elimination.log_partition(graph)[0].log_value <= result.log_upper
