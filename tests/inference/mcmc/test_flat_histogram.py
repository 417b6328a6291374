"""Densities of states against enumeration, and the spec's pigeonhole histograms."""

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import reference
from inference import limits
from inference.estimate import Claim
from inference.mcmc import (
    density,
    energy_terms,
    flat_histogram,
    flat_histogram_count,
    flat_histogram_moves,
    flat_histogram_runs,
    flat_histogram_starts,
)
from inference.problems import cnf, factor_graph, generators, logical_groups

HISTOGRAMS = {
    (3, 3): (6, 99, 183, 100, 75, 27, 12, 9, 0, 1),
    (4, 3): (0, 60, 486, 736, 775, 618, 375, 480, 144, 180, 148, 0, 63, 18, 0, 12, 0, 0, 1),
}
RULES = (
    flat_histogram_moves.plain,
    flat_histogram_moves.mixture(0.5),
    flat_histogram_moves.rejection_free,
)
SMALL = cnf.from_clauses(
    [[1, -2], [2, 3, -4], [-1, 4, 5], [5], [-3, -5], [-2, -4, -5], [1, 3, 4]],
    xors=[([1, 2, 3], True)],
)


def pigeonhole(pigeons, holes):
    place = 1 + np.arange(pigeons * holes).reshape(pigeons, holes)
    clauses = place.tolist()
    for hole in place.T.tolist():
        clauses += [[-a, -b] for a, b in itertools.combinations(hole, 2)]
    return cnf.from_clauses(clauses)


def violated(formula, x, costs=None):
    """What an assignment violates, by the definition."""
    clauses = [not any((x[abs(v) - 1] == 1) == (v > 0) for v in c) for c in formula.clauses]
    xors = [
        sum(x[v - 1] for v in vs) % 2 != side for vs, side in zip(formula.xors, formula.xor_rhs)
    ]
    costs = np.ones(len(clauses) + len(xors)) if costs is None else costs
    return float(np.dot([*clauses, *xors], costs))


def assignments(sizes):
    return np.array(list(itertools.product(*map(range, sizes)))).reshape(-1, len(sizes))


def exact_histogram(formula):
    values = [violated(formula, x) for x in assignments([2] * formula.num_variables)]
    return np.unique(values, return_counts=True)


def expect_close(found, energies, counts, tolerance):
    np.testing.assert_allclose(found.energies, energies, atol=1e-6)
    assert np.abs(found.log_count - np.log(counts)).max() < tolerance


# Energies


def test_energies_of_formulas_are_what_clauses_cost():
    clauses = [[1, -2, 3], [2, 2, -4], [1, -1], [-3, -4], [4]]
    formula = cnf.from_clauses(clauses, num_variables=6, xors=[([1, 3, 4], False), ([2, 3], True)])
    rng = np.random.default_rng(0)
    states = assignments([2] * 6)
    for costs in (None, np.array([1, 2, 5, 3, 1, 2, 4.0]) * 0.25, rng.uniform(size=7)):
        problem = energy_terms.of_formula(formula, costs)
        found = energy_terms.energies(problem.terms, states[:, problem.variables])
        expected = [violated(formula, x, costs) for x in states]
        np.testing.assert_allclose(found * problem.unit + problem.offset, expected, atol=1e-4)
        assert problem.variables.tolist() == [0, 1, 2, 3]
        assert math.isclose(problem.log_total, 6 * math.log(2))
    assert not problem.exact and energy_terms.of_formula(formula).exact


def mixed_graph():
    rng = np.random.default_rng(1)
    hard = np.array([[0.5, -np.inf], [0.0, 1.0], [-np.inf, 0.25]])
    factors = [((0, 1), hard), ((1, 2, 3), rng.normal(size=(2, 2, 2))), ((0,), rng.normal(size=3))]
    clauses = [logical_groups.clause_group([[2, -3]]), logical_groups.parity_group([[3, 4]], [1])]
    return factor_graph.build([3, 2, 2, 2, 1], factors, logical=clauses, log_constant=0.75)


def test_energies_of_models_are_their_scores_and_hard_zeros_lie_above():
    for graph, hard in ((mixed_graph(), 3), (generators.ising_grid(2, 3, 0.44, 0.11), 0)):
        problem = energy_terms.of_graph(graph)
        states = assignments(graph.num_states)
        found = energy_terms.energies(problem.terms, states[:, problem.variables])
        scores = factor_graph.log_score(graph, states)
        possible = np.isfinite(scores)
        energies = found * problem.unit + problem.offset
        np.testing.assert_allclose(energies[possible], -scores[possible], atol=1e-4)
        levels = energy_terms.levels(problem.terms, found, problem.num_levels)
        assert ((levels >= problem.terms.soft_levels) == ~possible).all()
        assert len(np.unique(levels[~possible])) == hard
    assert problem.exact and math.isclose(problem.unit, 0.22)


# Steps, against the law that they leave invariant


@functools.partial(jax.jit, static_argnames=("rule", "steps"))
def walk(rule, terms, log_count, most, walkers, key, steps):
    step = jax.vmap(rule.step, (None, None, None, 0, 0))

    def one(walkers, bits):
        walkers, _, weights = step(terms, log_count, most, bits, walkers)
        return walkers, weights

    number = walkers.position.shape[0]
    return jax.lax.scan(one, walkers, jax.random.bits(key, (steps, number, rule.words), np.uint32))


def last_states(rule, problem, sizes, log_count, *, most=1e9, number=2500, steps=80):
    """Where independent walkers are after some steps: state numbers, and what their steps weigh."""
    states = assignments(sizes)
    with jax.enable_x64(True):
        terms = jax.tree.map(jnp.asarray, problem.terms)
        first = states[np.random.default_rng(0).integers(len(states), size=number)].astype(np.int32)
        places = jnp.asarray(energy_terms.places(problem.terms, first))
        start = functools.partial(flat_histogram_moves.start, rule, terms)
        walkers = jax.vmap(start)(jnp.asarray(first), places)
        last, weights = walk(
            rule, terms, jnp.asarray(log_count), most, walkers, jax.random.key(3), steps
        )
    np.testing.assert_array_equal(  # what is updated step by step is what it would be from scratch
        last.energy, energy_terms.energies(problem.terms, np.asarray(last.position))
    )
    radix = np.array([math.prod(sizes[i + 1 :]) for i in range(len(sizes))])
    return np.asarray(last.position) @ radix, np.asarray(weights)


def p_value(seen, law):
    """Of state numbers against a law; chi-square."""
    counts = np.bincount(seen, minlength=len(law))
    if counts[law == 0].any():
        return 0.0
    expected = len(seen) * law[law > 0] / law.sum()
    return stats.chisquare(counts[law > 0], expected).pvalue


def flat_law(problem, sizes, log_count):
    found = energy_terms.energies(problem.terms, assignments(sizes))
    return np.exp(-log_count[energy_terms.levels(problem.terms, found, len(log_count))])


LOG_COUNT = np.array([1.0, 2.5, 3.0, 2.0, 0.7, 0.1, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_aimed_and_plain_steps_keep_the_flat_law(share):
    problem = energy_terms.of_formula(SMALL)
    law = flat_law(problem, [2] * 5, LOG_COUNT)
    rule = flat_histogram_moves.mixture(share) if share else flat_histogram_moves.plain
    assert p_value(last_states(rule, problem, [2] * 5, LOG_COUNT)[0], law) > 1e-4


def test_a_mixture_without_its_correction_is_caught(monkeypatch):
    problem = energy_terms.of_formula(SMALL)
    law = flat_law(problem, [2] * 5, LOG_COUNT)
    monkeypatch.setattr(flat_histogram_moves, "_chance", lambda *_: jnp.ones(()))
    rule = flat_histogram_moves.mixture.__wrapped__(0.5)
    assert p_value(last_states(rule, problem, [2] * 5, LOG_COUNT)[0], law) < 1e-10


def test_states_of_several_values_keep_the_flat_law():
    problem, sizes = energy_terms.of_graph(mixed_graph(), width=0.5), [3, 2, 2, 2]
    assert problem.variables.tolist() == [0, 1, 2, 3]  # the last one has one state
    log_count = np.linspace(2.0, 0.0, problem.num_levels)
    seen, _ = last_states(flat_histogram_moves.plain, problem, sizes, log_count)
    assert p_value(seen, flat_law(problem, sizes, log_count)) > 1e-4


def acceptance_rates(problem, log_count):
    """Of leaving each of 2^5 states: the mean over flips of what Metropolis accepts."""
    states = assignments([2] * 5)
    found = energy_terms.energies(problem.terms, states)
    weights = log_count[energy_terms.levels(problem.terms, found, len(log_count))]
    flipped = np.arange(32)[:, None] ^ (1 << np.arange(5))
    return np.minimum(1.0, np.exp(weights[:, None] - weights[flipped])).mean(axis=1)


def test_without_rejections_walkers_leave_as_often_as_the_law_says():
    problem, rule = energy_terms.of_formula(SMALL), flat_histogram_moves.rejection_free
    rates = acceptance_rates(problem, LOG_COUNT)
    law = flat_law(problem, [2] * 5, LOG_COUNT)
    # Every step is a move, so a state comes up in proportion to how often it is left.
    seen, weights = last_states(rule, problem, [2] * 5, LOG_COUNT)
    assert p_value(seen, law * rates) > 1e-4
    assert p_value(seen, law) < 1e-10
    np.testing.assert_allclose(weights.mean(), law.sum() / (law * rates).sum(), rtol=0.02)
    # Cut after 1.5 steps on the way, it stays with what is left of the wait.
    seen, weights = last_states(rule, problem, [2] * 5, LOG_COUNT, most=1.5)
    leaving = 1.0 - (1.0 - rates) ** 1.5
    assert p_value(seen, law * rates / leaving) > 1e-4
    assert weights.max() <= 1.5


# Whole runs


@pytest.mark.parametrize("size", HISTOGRAMS)
def test_pigeonhole_histograms(size):
    histogram = np.array(HISTOGRAMS[size])
    found, info = flat_histogram.density_of_states(
        pigeonhole(*size), seed=1, final_increment=3e-5, fixed_steps=1e6
    )
    levels = np.flatnonzero(histogram)
    expect_close(found, levels, histogram[levels], 0.06)
    assert (info.status, info.message, found.merged) == ("done", "", False)
    assert info.increment <= 3e-5 and info.round_trips > 1000 and info.round_walkers == 64
    assert np.abs((found.log_count - np.log(histogram[levels])) / found.standard_error).max() < 5
    if size == (3, 3):
        assert abs(math.exp(found.count().log_value) / 6 - 1) < 0.15
        assert found.count().claim is Claim.NONE
    else:
        assert found.count().log_value == -math.inf


def job_of(formula, rule, seed=0):
    problem = energy_terms.of_formula(formula)
    terms = jax.tree.map(jnp.asarray, problem.terms)
    return flat_histogram_runs.Job(rule, problem, terms, problem.num_levels, jax.random.key(seed))


def test_weights_that_change_on_acceptance_alone_are_caught():
    def step(terms, log_count, most, bits, walker):
        after, energy, weight = flat_histogram_moves.plain.step(
            terms, log_count, most, bits, walker
        )
        moved = (after.position != walker.position).any()
        return after, energy, weight * moved

    mutant = flat_histogram_moves.plain._replace(step=step)
    formula, histogram = pigeonhole(4, 3), np.array(HISTOGRAMS[4, 3])
    states = np.random.default_rng(0).integers(2, size=(64, 12))
    errors = []
    for rule in (flat_histogram_moves.plain, mutant):
        looks = itertools.count()
        deadline = limits.Deadline.after(None, lambda: next(looks) >= 36)
        with jax.enable_x64(True):
            job = job_of(formula, rule)
            learnt = flat_histogram_runs.start(job, states, 1.0)
            learnt, _ = flat_histogram_runs.adapt(
                job, learnt, flatness=0.9, final=1e-9, deadline=deadline
            )
        levels = np.flatnonzero(learnt.seen)
        error = learnt.log_count[levels] - np.log(np.maximum(histogram[levels], 1))
        errors.append((np.ptp(error), learnt.increment))
    (right, small), (wrong, large) = errors
    assert right < 0.5 and small < 1e-3
    assert wrong > 10 and large > 0.1


def test_equal_seeds_give_equal_answers_from_one_trace():
    formula = pigeonhole(3, 3)
    options = {"final_increment": 1e-3, "fixed_steps": 1e4}
    first, _ = flat_histogram.density_of_states(formula, seed=5, **options)
    traces = flat_histogram_runs._advance._cache_size()
    again, _ = flat_histogram.density_of_states(formula, seed=5, **options)
    other, _ = flat_histogram.density_of_states(formula, seed=jax.random.key(6), **options)
    np.testing.assert_array_equal(first.log_count, again.log_count)
    np.testing.assert_array_equal(first.standard_error, again.standard_error)
    assert (first.log_count != other.log_count).any()
    assert flat_histogram_runs._advance._cache_size() == traces


def test_without_time_there_is_an_answer_that_says_so():
    found, info = flat_histogram.density_of_states(pigeonhole(3, 3), timeout=0.0)
    assert info.status == "timeout" and "no steps" in info.message
    assert not np.isnan(found.log_count).any() and np.isinf(found.standard_error).all()
    assert math.isclose(found.log_partition(0.0), 9 * math.log(2))
    result, info = flat_histogram_count.count(generators.random_ksat(0, 30, 90), timeout=0.0)
    assert info.status == "timeout" and result.log_lower == -math.inf
    assert (result.claim, result.log_upper > 20) == (Claim.CERTAIN, True)


def test_an_interrupt_leaves_what_was_learnt(monkeypatch):
    chunks, advance = itertools.count(), flat_histogram_runs._adapted

    def interrupted(*arguments):
        if next(chunks) == 30:
            raise KeyboardInterrupt
        return advance(*arguments)

    monkeypatch.setattr(flat_histogram_runs, "_adapted", interrupted)
    found, info = flat_histogram.density_of_states(pigeonhole(3, 3), seed=2)
    assert info.status == "interrupted" and "no standard errors" in info.message
    assert len(found.energies) == 9 and np.isinf(found.standard_error).all()
    assert abs(found.count().log_value - math.log(6)) < 1.5


def test_too_few_round_trips_are_told():
    options = {"final_increment": 1e-2, "fixed_steps": 64}
    _, info = flat_histogram.density_of_states(pigeonhole(3, 3), **options)
    assert "came down to energy 0" in info.message and info.round_trips < 256


def test_formulas_without_anything_to_walk_over():
    none = cnf.from_clauses([], num_variables=3)
    always = cnf.from_clauses([[1, -1]], num_variables=3)
    never = cnf.from_clauses([[], []], num_variables=3)
    for formula, energy in ((none, 0), (always, 0), (never, 2)):
        found, info = flat_histogram.density_of_states(formula)
        assert (found.energies.tolist(), info.status) == ([energy], "done")
        assert math.isclose(found.log_count[0], 3 * math.log(2)) and found.standard_error[0] == 0
        result, _ = flat_histogram_count.count(formula)
        assert math.isclose(result.log_value, -math.inf if energy else 3 * math.log(2))
    found, _ = flat_histogram.density_of_states(cnf.from_clauses([]))
    assert found.log_count.tolist() == [0.0] and found.log_partition(2.0) == 0.0


def test_one_variable_and_no_model():
    options = {"final_increment": 1e-4, "fixed_steps": 1e5}
    formula = cnf.from_clauses([[1], [-1], [1]], num_variables=1)
    found, info = flat_histogram.density_of_states(formula, **options)
    expect_close(found, [1, 2], [1, 1], 0.02)
    assert found.count().log_value == -math.inf


def test_log_z_at_all_temperatures():
    graph = generators.ising_grid(3, 3, 1.0, 0.5)
    found, info = flat_histogram.density_of_scores(graph, seed=3, final_increment=3e-5)
    assert info.message == "" and (found.variances == 0).all()
    scores = factor_graph.log_score(graph, assignments([2] * 9))
    for beta in (-0.5, 0.0, 0.1, 0.5, 1.0, 5.0):
        expected = np.logaddexp.reduce(beta * scores)
        error = found.log_partition_error(beta)
        assert abs(found.log_partition(beta) - expected) <= 5 * error + 1e-9 and error < 0.1
    step = 1e-4
    slope = (found.log_partition(1 - step) - found.log_partition(1 + step)) / (2 * step)
    assert math.isclose(found.mean_energy(1.0), slope, rel_tol=1e-4)


def test_models_with_hard_zeros_and_bins():
    graph = mixed_graph()
    found, _ = flat_histogram.density_of_scores(
        graph, seed=4, width=0.25, final_increment=1e-4, fixed_steps=5e5
    )
    scores = factor_graph.log_score(graph, assignments(graph.num_states))
    log_z = np.logaddexp.reduce(scores)
    assert abs(found.log_partition(1.0) - log_z) < 5 * found.log_partition_error(1.0) + 0.005
    np.testing.assert_allclose(found.energies[0], -scores.max(), atol=0.25)
    impossible = np.isinf(scores).sum()
    hard = np.isinf(found.energies)
    assert abs(np.logaddexp.reduce(found.log_count[hard]) - math.log(impossible)) < 0.1


def test_counts_of_what_is_left_after_reduction():
    clauses = generators.random_ksat(2, 16, 40).clauses.tolist()
    gates = [[-17, 1], [-17, 2], [17, -1, -2], [18, 19], [-20, 21, 22]]
    formula = cnf.from_clauses([*clauses, *gates], num_variables=23)
    result, info = flat_histogram_count.count(formula, seed=1, final_increment=3e-5)
    models = reference.count_models(16, clauses) * 3 * 7 * 2
    assert result.claim is Claim.NONE and info.status == "done" and info.message == ""
    assert abs(result.log_value - math.log(models)) < 5 * info.standard_error
    assert 0 < info.standard_error < 0.1
    projected = dataclasses.replace(formula, projection=np.arange(1, 17, dtype=np.int32))
    expected = math.log(reference.count_models(16, clauses))
    result, info = flat_histogram_count.count(projected, seed=1, final_increment=3e-5)
    assert abs(result.log_value - expected) < 5 * info.standard_error


def test_a_product_without_models_is_minus_infinity():
    formula = cnf.from_clauses([[1], [-1], [2, 3]])
    result, _ = flat_histogram_count.count(formula)
    assert (result.log_value, result.claim) == (-math.inf, Claim.NONE)


def test_starts_are_models_for_half_of_the_walkers():
    formula = generators.random_ksat(1, 20, 60)
    xors = dataclasses.replace(SMALL, clauses=cnf.ragged([[1, -2], [4, 5]]))
    for one in (formula, xors):
        rng = np.random.default_rng(0)
        states = flat_histogram_starts.half_models(one, rng, 20, limits.NEVER)
        assert one.is_satisfied(states[10:]).all()
        assert len(np.unique(states[10:], axis=0)) > 3
    none = cnf.from_clauses([[1], [-1]])
    assert flat_histogram_starts.half_models(none, rng, 4, limits.NEVER).shape == (4, 1)


def test_standard_errors_are_those_of_a_mean():
    rng = np.random.default_rng(0)
    visits = rng.poisson(1000, size=(50, 3)).astype(float)
    moments = np.zeros((2, 3))
    found = density.from_visits(np.zeros(3), visits, moments, math.log(3), False)
    # A share p of n steps has a relative error of sqrt((1 - p) / (n p)).
    np.testing.assert_allclose(found.standard_error, math.sqrt(2 / 3 / 50_000), rtol=0.4)
    visits[1:, 2] = 0
    alone = density.from_visits(np.zeros(3), visits, moments, math.log(3), False)
    assert np.isfinite(alone.log_count).all() and np.isinf(alone.standard_error[2])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"walkers": 1}, "expected at least 8 walkers, given 1"),
        ({"flatness": 1.0}, "expected a flatness between 0 and 1, given 1.0"),
        ({"final_increment": 0.0}, "expected a final increment between 0 and 1, given 0.0"),
        ({"fixed_steps": math.inf}, "expected at least 0 fixed steps, given inf"),
        ({"highest": 0}, "expected a highest level of at least 1, given 0"),
        ({"costs": [1.0]}, "expected 12 finite costs of at least 0, given"),
        ({"memory": 0.001}, "expected walkers and tables of at most 0.001 MiB"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        flat_histogram.density_of_states(pigeonhole(3, 3), **options)


def test_what_would_be_ignored_is_refused():
    weighted = cnf.from_clauses([[1, 2]], log_weights=np.zeros((2, 2)))
    open_ = cnf.from_clauses([[1, 2, 3], [-1, 4], [2, 4]], projection=[1, 2])
    with pytest.raises(ValueError, match="all count alike, given weights"):
        flat_histogram.density_of_states(weighted)
    with pytest.raises(ValueError, match="all count alike, given a sampling set"):
        flat_histogram.density_of_states(open_)
    with pytest.raises(ValueError, match="without weights"):
        flat_histogram_count.count(weighted)
    with pytest.raises(ValueError, match="expected two states a variable"):
        flat_histogram.density_of_scores(mixed_graph(), rule=flat_histogram_moves.rejection_free)
    with pytest.raises(ValueError, match="expected a share"):
        flat_histogram_moves.mixture(1.0)
    with pytest.raises(ValueError, match="expected a width above 0"):
        flat_histogram.density_of_scores(mixed_graph(), width=0.0)


def test_merged_levels_hold_all_above():
    formula = pigeonhole(3, 3)
    found, _ = flat_histogram.density_of_states(
        formula, highest=3, final_increment=3e-5, fixed_steps=3e5
    )
    histogram = HISTOGRAMS[3, 3]
    assert found.merged
    np.testing.assert_allclose(found.energies[:3], [0, 1, 2])
    counts = [*histogram[:3], sum(histogram[3:])]
    assert np.abs(found.log_count - np.log(counts)).max() < 0.1
    mean = np.dot(histogram[3:], np.arange(3, 10)) / sum(histogram[3:])
    assert abs(found.energies[3] - mean) < 0.02
    with pytest.raises(ValueError, match="expected beta of at least 0"):
        found.log_partition(-1.0)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("size", HISTOGRAMS)
def test_pigeonhole_histograms_to_the_end(size, rule):
    histogram = np.array(HISTOGRAMS[size])
    levels = np.flatnonzero(histogram)
    for seed in range(3):
        found, info = flat_histogram.density_of_states(
            pigeonhole(*size), seed=seed, rule=rule, final_increment=1e-6, fixed_steps=1e6
        )
        expect_close(found, levels, histogram[levels], 0.06)
        assert info.message == ""


@pytest.mark.slow
def test_standard_errors_cover_the_truth():
    formula = generators.random_ksat(3, 12, 36)
    energies, counts = exact_histogram(formula)
    scores = []
    for seed in range(40):
        found, _ = flat_histogram.density_of_states(formula, seed=seed, final_increment=1e-4)
        np.testing.assert_array_equal(found.energies, energies)
        scores.append((found.log_count - np.log(counts)) / found.standard_error)
    scores = np.array(scores)
    print(np.sqrt((scores**2).mean(axis=0)).round(2), np.abs(scores).max())
    assert 0.7 < np.sqrt((scores**2).mean()) < 1.4
