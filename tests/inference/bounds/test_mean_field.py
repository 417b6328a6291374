"""Mean field around exact sums: always below log Z, never falling, never below an assignment."""

import math

import numpy as np
import pytest
from small_models import build, random_model

import reference
from inference.answer import Status
from inference.bounds import coordinate_ascent, cutset, feasible, mean_field
from inference.exact import bucket_tree, elimination, orders
from inference.problems import factor_graph, generators


@pytest.mark.parametrize("i_bound", [0, 1, 2])
def test_below_log_z_and_above_the_assignment(i_bound):
    for seed in range(80):
        model = random_model(seed)
        graph, truth = build(*model), reference.log_partition(*model)
        estimate, info = mean_field.log_partition(graph, i_bound=i_bound, restarts=2)
        assert estimate.log_lower <= truth + 1e-12 * (1 + abs(truth)) or truth == -math.inf
        if truth == -math.inf:
            assert estimate.log_lower == -math.inf and info.assignment is None
            assert estimate.log_upper == -math.inf
        else:
            score = factor_graph.log_score(graph, info.assignment)
            assert -math.inf < score - 1e-10 <= estimate.log_lower


def test_anchor():
    graph = generators.ising_grid(3, 3, 0.5, field=0.1)
    estimate, info = mean_field.log_partition(graph, i_bound=0, leaves=1)
    assert estimate.log_value == pytest.approx(7.5920802, abs=5e-8)
    assert info.converged and info.status == "done"


def test_without_cuts_it_is_exact():
    graph = generators.ising_grid(4, 4, 0.7, field=0.2)
    truth = elimination.log_partition(graph)[0].log_value
    estimate, info = mean_field.log_partition(graph, i_bound=6)
    assert info.num_cut == 0
    assert truth - 1e-9 < estimate.log_lower <= truth


def test_wider_sums_are_closer():
    graph = generators.spin_glass_grid(0, 8, 8, 2.0, 0.3)
    bounds = [mean_field.log_partition(graph, i_bound=i)[0].log_lower for i in (0, 3, 6)]
    truth = elimination.log_partition(graph)[0].log_value
    assert bounds[0] + 1.0 < bounds[1] < bounds[2] < truth


def split_of(graph, i_bound):
    model = bucket_tree.prepare(graph, orders.min_fill)
    noise = np.zeros(graph.num_variables)
    return model, cutset.cut(model, 2.0 ** (i_bound + 1), noise)


@pytest.mark.parametrize("i_bound", [0, 2])
def test_ascents_never_fall(i_bound):
    for seed in range(10):
        graph = generators.spin_glass_grid(seed, 5, 5, 3.0, 0.3)
        _, split = split_of(graph, i_bound)
        state = coordinate_ascent.evaluate(
            split, coordinate_ascent.soft(split, np.random.default_rng(seed))
        )
        reads = coordinate_ascent.make_reads(split)
        for _ in range(20):
            following = coordinate_ascent.evaluate(
                split, coordinate_ascent.sweep(split, reads, state)
            )
            assert following.log_lower >= state.log_lower - 1e-9
            state = following


def test_neighbours_updated_together_fall():
    edges = np.array([(a, b) for a in range(8) for b in range(a)])
    graph = generators.spin_model(edges, np.full(len(edges), -0.6), np.full(8, 0.1))
    _, split = split_of(graph, 0)
    together = split._replace(colours=[np.arange(len(split.cut))])
    assert len(split.cut) == len(split.colours) == 7
    start = coordinate_ascent.evaluate(
        split, coordinate_ascent.soft(split, np.random.default_rng(0))
    )
    wrong = right = start
    for _ in range(5):
        wrong = coordinate_ascent.evaluate(
            split, coordinate_ascent.sweep(together, coordinate_ascent.make_reads(together), wrong)
        )
        right = coordinate_ascent.evaluate(
            split, coordinate_ascent.sweep(split, coordinate_ascent.make_reads(split), right)
        )
    assert wrong.log_lower < start.log_lower - 1.0 < right.log_lower


def test_what_is_kept_is_narrow():
    for i_bound in (0, 2, 4):
        _, split = split_of(generators.ising_grid(7, 7, 0.5), i_bound)
        sizes = [2 ** len(clique) for clique in split.tree.cliques]
        assert max(sizes) <= 2 ** (i_bound + 1) and split.tree.is_exact
        assert sorted([*split.kept, *split.cut]) == list(range(49))


def test_more_cases_raise_the_bound_up_to_log_z():
    graph = generators.spin_glass_grid(1, 5, 5, 2.0, 0.3)
    truth = elimination.log_partition(graph)[0].log_value
    bounds = [
        mean_field.log_partition(graph, i_bound=1, leaves=n)[0].log_lower for n in (1, 4, 2**9)
    ]
    assert bounds[0] < bounds[1] < bounds[2] <= truth
    assert bounds[2] == pytest.approx(truth, abs=1e-9)  # nine or fewer are cut: all cases exact


def test_conditioning_is_where_it_starts():
    graph = generators.spin_glass_grid(3, 5, 5, 2.0, 0.3)
    model, split = split_of(graph, 2)
    states = np.random.default_rng(0).integers(2, size=25)
    state = coordinate_ascent.evaluate(split, cutset.point_mass(split, states))
    chosen = model.assignment(states)
    cut = [model.plan.order[v] for v in split.cut]
    fixed = factor_graph.condition(graph, {v: int(chosen[v]) for v in cut})
    expected = elimination.log_partition(fixed)[0].log_value
    assert model.total(state.log_lower) == pytest.approx(expected, abs=1e-10)


def test_equal_seeds_equal_bounds_and_time_limits():
    graph = generators.spin_glass_grid(0, 6, 6, 2.0, 0.3)
    first, again = (mean_field.log_partition(graph, seed=3, i_bound=2)[0] for _ in range(2))
    assert first == again
    estimate, info = mean_field.log_partition(graph, i_bound=2, timeout=0.0)
    assert info.status == "timeout" and -math.inf < estimate.log_lower <= first.log_lower


def test_interrupted(monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(coordinate_ascent, "ascend", stop)
    graph = generators.spin_glass_grid(0, 4, 4, 2.0, 0.3)
    estimate, info = mean_field.log_partition(graph, i_bound=1)
    assert info.status == "interrupted"
    score = factor_graph.log_score(graph, info.assignment)
    assert estimate.log_lower == pytest.approx(score, abs=1e-9)


def test_marginals_and_maximize():
    graph = generators.spin_glass_grid(0, 4, 4, 0.3, 0.5)
    exact = elimination.marginals(graph)[0]
    uncut, info = mean_field.marginals(graph, i_bound=6)
    np.testing.assert_allclose(uncut, exact, atol=1e-9)
    found, info = mean_field.marginals(graph, i_bound=2)
    assert info.num_cut and info.converged
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    np.testing.assert_allclose(found, exact, atol=0.05)
    answer, info = mean_field.maximize(graph, i_bound=2)
    assert info.status == "done"
    assert answer.status is Status.FEASIBLE and answer.bound == math.inf
    assert answer.value == pytest.approx(elimination.maximize(graph)[0].value)
    nothing = build([2, 2], [((0, 1), [[0, 1], [0, 0]]), ((0,), [0, 1])])
    assert mean_field.maximize(nothing)[0].status is Status.INFEASIBLE
    assert not mean_field.marginals(nothing)[0].any()


def test_searches_find_what_is_possible_and_mostly_the_maximum():
    found_best = 0
    for seed in range(60):
        num_states, factors = random_model(seed)
        model = bucket_tree.prepare(build(num_states, factors), orders.min_fill)
        found = feasible.search(model, np.random.default_rng(0), i_bound=1)
        _, best = reference.map(num_states, factors)
        assert found.is_impossible == (found.states is None) == (best == -math.inf)
        assert found.log_score <= best + 1e-9 or best == -math.inf
        found_best += found.log_score >= best - 1e-9
    assert found_best >= 45


def test_a_solver_finds_what_is_possible():
    ring = [((i, (i + 1) % 9), [[0, 1, 1], [1, 0, 1], [1, 1, 0]]) for i in range(9)]
    model = bucket_tree.prepare(build([3] * 9, ring), orders.min_fill)
    solved = feasible.possible(model)
    assert feasible.score(model, solved.assignments[0]) == 0.0
    scopes = [(a, b) for a in range(4) for b in range(a)]  # a clique of four in three colours
    clique = [(scope, [[0, 1, 1], [1, 0, 1], [1, 1, 0]]) for scope in scopes]
    model = bucket_tree.prepare(build([3] * 4, clique), orders.min_fill)
    assert feasible.possible(model).assignments is None
