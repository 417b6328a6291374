"""Tree-reweighted bounds: above log Z at every step, equal on acyclic models, anchors."""

import math

import numpy as np
import pytest
from small_models import build, random_model

import reference
from inference import limits
from inference.bounds import descent, forests, trw
from inference.estimate import Claim
from inference.exact import bucket_tree, elimination
from inference.problems import factor_graph, generators


@pytest.mark.parametrize("iterations", [0, 10])
def test_bounds_hold_on_random_models(iterations):
    for seed in range(150 if iterations == 0 else 25):
        model = random_model(seed)
        estimate, info = trw.log_partition(build(*model), num_trees=2, iterations=iterations)
        truth = reference.log_partition(*model)
        slack = 0.0 if truth == -math.inf else 1e-12 * (1 + abs(truth))
        assert estimate.claim is Claim.CERTAIN and info.status == "done"
        assert estimate.log_lower <= truth + slack
        assert estimate.log_upper >= truth - slack


@pytest.mark.parametrize("iterations", [0, 10])
def test_the_maximum_is_below_its_bound(iterations):
    for seed in range(100 if iterations == 0 else 20):
        model = random_model(seed)
        best, _ = trw.maximize(build(*model), seed=seed, num_trees=2, iterations=iterations)
        _, truth = reference.map(*model)
        slack = 0.0 if truth == -math.inf else 1e-12 * (1 + abs(truth))
        assert best.value <= truth + slack and best.bound >= truth - slack
        if best.assignments is not None:
            score = float(factor_graph.log_score(build(*model), best.assignments[0]))
            assert best.value == pytest.approx(score)


def test_the_bound_of_the_maximum_is_tight_where_nothing_is_frustrated():
    graph = generators.ising_grid(5, 5, 0.7, 0.1)
    best, info = trw.maximize(graph)
    assert info.status == "done" and info.converged
    assert best.value == pytest.approx(40 * 0.7 + 25 * 0.1)
    assert best.bound == pytest.approx(best.value, abs=1e-6)
    assert trw.maximize(graph, timeout=0.0)[1].status == "timeout"


def test_exact_on_acyclic_models():
    rng = np.random.default_rng(0)
    for size in (1, 2, 3, 9):
        sizes = rng.integers(1, 4, size=size).tolist()
        factors = [((v,), rng.random(sizes[v]).tolist()) for v in range(size)]
        at = 1
        while at < size:  # factors of two or three variables, each hung on what is there
            scope = [int(rng.integers(at)), *range(at, min(size, at + rng.integers(1, 3)))]
            shape = [sizes[v] for v in scope]
            factors.append((tuple(scope), np.maximum(rng.random(shape) - 0.2, 0).tolist()))
            at += len(scope) - 1
        estimate, info = trw.log_partition(build(sizes, factors))
        truth = reference.log_partition(sizes, factors)
        assert info.num_trees == 1 and info.converged
        assert estimate.log_value == pytest.approx(truth, abs=1e-12)
        assert estimate.log_lower <= truth <= estimate.log_upper + 1e-13


def test_anchor_of_the_cycle():
    estimate, info = trw.log_partition(generators.ising_grid(2, 2, 1.0), num_trees=4)
    expected = 4 * math.log(2) + 3 * math.log(math.cosh(4 / 3))
    assert estimate.log_value == pytest.approx(expected, abs=1e-9)
    assert expected == pytest.approx(4.8946745, abs=5e-8)
    assert info.num_trees == 4 and info.converged


def test_every_step_is_a_bound_and_fitting_lowers_it():
    graph = generators.spin_glass_grid(0, 5, 5, 2.0, 0.3)
    truth = elimination.log_partition(graph)[0].log_value
    bounds = [trw.log_partition(graph, iterations=n)[0].log_upper for n in (0, 1, 3, 30)]
    assert truth < bounds[3] < bounds[2] < bounds[1] < bounds[0]
    estimate, info = trw.log_partition(graph, timeout=0.0)
    assert info.status == "timeout" and info.iterations == 1
    assert truth <= estimate.log_upper < math.inf


def cover_of(graph, num_trees=4):
    model = bucket_tree.prepare(graph, lambda around, sizes: list(range(len(sizes))))
    return trw.make_cover(model, num_trees, np.random.default_rng(0))


def test_gradients_against_differences():
    rng = np.random.default_rng(0)
    scopes = [(0, 1), (1, 2), (2, 0), (0, 2, 3), (3, 1, 2)]
    tables = [rng.random(np.array([2, 3, 2, 2])[list(scope)]).tolist() for scope in scopes]
    cover = cover_of(build([2, 3, 2, 2], list(zip(scopes, tables, strict=True))))
    size = sum(len(t) * sum(t.shape[1:]) for t in cover.tables)
    at, direction = rng.normal(size=size), rng.normal(size=size)
    _, gradient, _ = trw.evaluate(cover, at)
    ahead, behind = (trw.evaluate(cover, at + s * 1e-6 * direction)[0] for s in (1, -1))
    assert size > 5 and np.abs(gradient).max() > 1e-3
    assert gradient @ direction == pytest.approx((ahead - behind) / 2e-6, rel=1e-6)


def test_parts_that_do_not_average_to_the_model_are_no_bound():
    graph = generators.ising_grid(3, 3, 0.1)
    truth = elimination.log_partition(graph)[0].log_value
    cover = cover_of(graph)
    size = sum(len(t) * sum(t.shape[1:]) for t in cover.tables)
    assert trw.evaluate(cover, np.zeros(size))[0] >= truth
    halved = cover._replace(unaries=cover.unaries - 0.5)  # copies of the unaries are lost
    assert trw.evaluate(halved, np.zeros(size))[0] < truth


def test_without_division_by_the_shares_there_is_no_bound():
    graph = generators.ising_grid(4, 4, 1.0, field=0.5)
    truth = elimination.log_partition(graph)[0].log_value
    cover = cover_of(graph, 8)
    shares = [m.mean(axis=0)[:, None, None] for m in cover.members]
    tables = [t * share for t, share in zip(cover.tables, shares, strict=True)]
    size = sum(len(t) * sum(t.shape[1:]) for t in tables)
    assert trw.evaluate(cover._replace(tables=tables), np.zeros(size))[0] < truth


def test_covers_are_acyclic_and_complete():
    for seed in range(40):
        num_states, factors = random_model(seed)
        scopes = [scope for scope, _ in factors if len(scope) > 1]
        parts = forests.cover(len(num_states), scopes, 3, np.random.default_rng(seed))
        assert len(parts) >= 3 and (parts.any(axis=0)).all()
        for part in parts:
            held = [scope for scope, is_in in zip(scopes, part, strict=True) if is_in]
            # A forest of factors and variables: one edge fewer than nodes, component by component.
            component = {v: {v} for v in range(len(num_states))}
            for scope in held:
                ends = [component[v] for v in scope]
                assert len({id(end) for end in ends}) == len(scope)
                joined = set().union(*ends)
                component.update(dict.fromkeys(joined, joined))


def test_marginals_on_a_tree_and_padding():
    model = ([2, 3, 2], [((0, 1), [[1, 2, 0], [0.5, 1, 3]]), ((1, 2), [[1, 4], [0, 1], [2, 2]])])
    found, _ = trw.marginals(build(*model))
    for row, expected in zip(found, reference.marginals(*model), strict=True):
        np.testing.assert_allclose(row, [*expected, *[0.0] * (3 - len(expected))], atol=1e-12)


def test_contradictions_and_empty_models():
    nothing = build([2, 2], [((0, 1), [[0, 1], [0, 0]]), ((0,), [0, 1])])
    assert trw.log_partition(nothing)[0].log_upper == -math.inf
    assert not trw.marginals(nothing)[0].any()
    assert trw.log_partition(build([], []))[0].log_value == 0.0
    assert trw.log_partition(build([3, 1], []))[0].log_value == pytest.approx(math.log(3))


def test_clauses_and_equal_seeds():
    group = factor_graph.ClauseGroup(
        np.array([[0, 1, 2]], dtype=np.int32), np.ones((1, 3), bool), np.ones((1, 3), bool)
    )
    graph = build([2, 2, 2], [])._replace(groups=(group,))
    assert trw.log_partition(graph)[0].log_value == pytest.approx(math.log(7))
    graph = generators.spin_glass_grid(0, 4, 4, 2.0, 0.3)
    first, again = (trw.log_partition(graph, seed=3)[0] for _ in range(2))
    assert first == again


def test_descents_stop_where_they_should():
    def bowl(x):
        return float(x @ x), 2 * x, "detail"

    found = descent.minimize(bowl, np.ones(2), deadline=limits.Deadline.after(0.0))
    assert (found.status, found.evaluations, found.detail) == ("timeout", 1, "detail")
    calls = []

    def stopped(x):
        calls.append(x)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return bowl(x)

    found = descent.minimize(stopped, np.array([1.0, -3.0]))
    assert found.status == "interrupted" and found.value < 10.0
    with pytest.raises(KeyboardInterrupt):
        descent.minimize(stopped, np.ones(2))
    limited = descent.minimize(lambda x: (-x.sum(), -np.ones(2), None), np.zeros(2), box=np.ones(2))
    np.testing.assert_allclose(limited.vector, 1.0)
