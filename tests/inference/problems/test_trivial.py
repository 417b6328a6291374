"""Claims at sight, against enumeration."""

import decimal
import fractions
import math

import numpy as np
import pytest
from small_models import build, random_model

import reference
from inference import answer, estimate
from inference.problems import cnf, convert, factor_graph, trivial

WEIGHTS = [fractions.Fraction(n, 4) for n in range(9)]


def random_formula(seed, is_weighted):
    """A formula, and its arguments for ``reference``."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 7))
    clauses = rng.choice([-1, 1], (seed % 5, 2)) * rng.integers(1, n + 1, (seed % 5, 2))
    projection = np.flatnonzero(rng.random(n) < 0.7) + 1 if seed % 2 else None
    counted = range(1, n + 1) if projection is None else projection.tolist()
    weights = {s * v: WEIGHTS[rng.integers(9)] for v in counted for s in (-1, 1)}
    table = np.zeros((n, 2))
    for literal, weight in weights.items():
        log = math.log(weight) if weight else -math.inf
        table[abs(literal) - 1, int(literal > 0)] = log
    formula = cnf.from_clauses(
        clauses, num_variables=n, projection=projection, log_weights=table if is_weighted else None
    )
    return formula, (n, clauses.tolist(), (), projection, weights if is_weighted else None)


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_counts_are_below_those_of_all_assignments(seed, is_weighted):
    formula, given = random_formula(seed, is_weighted)
    found = trivial.count(formula)
    assert found.log_lower == -math.inf
    everything = reference.count_models(given[0], [], (), *given[3:])
    if not everything:
        assert (found.claim, found.log_upper) == (estimate.Claim.CERTAIN, -math.inf)
        return
    assert found.claim is estimate.Claim.CERTAIN
    assert reference.count_models(*given) <= math.exp(found.log_upper)
    # As if there were no clause: attained, and not missed by much.
    assert 0 <= found.log_upper - math.log(everything) < 1e-9


@pytest.mark.parametrize("seed", range(40))
def test_partitions_and_maxima_lie_inside(seed):
    num_states, factors = random_model(seed)
    graph = build(num_states, factors)
    truth, found = reference.log_partition(num_states, factors), trivial.log_partition(graph)
    assert found.claim is estimate.Claim.CERTAIN
    assert found.log_lower <= truth + 1e-12 and truth <= found.log_upper
    best, score = trivial.maximize(graph), reference.map(num_states, factors)[1]
    assert best.value <= score + 1e-12 and score <= best.bound
    if best.assignments is not None:
        assert best.status is answer.Status.FEASIBLE
        assert best.value == factor_graph.score(graph, best.assignments[0])
    else:
        assert best.value == -math.inf
        assert (best.status is answer.Status.INFEASIBLE) == (best.bound == -math.inf)


@pytest.mark.parametrize("seed", range(20))
def test_an_assignment_bounds_from_below(seed):
    num_states, factors = random_model(seed)
    graph, rng = build(num_states, factors), np.random.default_rng(seed)
    graph = graph._replace(log_error=np.float64(0.25))
    assignment = rng.integers(np.array(num_states))
    lower = trivial.log_lower(graph, assignment)
    assert lower == trivial.log_partition(graph, assignment).log_lower
    assert lower < reference.log_partition(num_states, factors) - 0.2 or lower == -math.inf


def test_sides_hold_to_the_last_digit():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        constant = float(10.0 ** rng.uniform(-9, 9))
        tables = [(scope, 10.0 ** rng.uniform(-9, 9) * rng.normal(size=2)) for scope in [[0], [1]]]
        tables += [([0, 1], rng.normal(size=(2, 2)))]
        graph = factor_graph.build([2, 2], tables, log_constant=constant)
        scores = reference.exact_log_scores([2, 2], [*tables, ([], constant)])
        truth, found = reference.exact_log_partition(scores), trivial.log_partition(graph)
        assert decimal.Decimal(found.log_lower) <= truth <= decimal.Decimal(found.log_upper)
        assert max(scores.values()) <= decimal.Decimal(trivial.maximize(graph).bound)


def test_without_neighbours_marginals_are_exact():
    num_states, factors = [2, 3, 1], [((0,), [1, 3]), ((1,), [0, 2, 2])]
    found = trivial.marginals(build(num_states, factors))
    for row, expected in zip(found, reference.marginals(num_states, factors), strict=True):
        np.testing.assert_allclose(row, [*expected, *[0.0] * (3 - len(expected))])
    assert trivial.marginals(factor_graph.build([], [])).shape == (0, 1)


def test_a_variable_without_states_leaves_nothing():
    graph = factor_graph.build([2, 2], [((1,), [-math.inf, -math.inf])])
    assert not trivial.marginals(graph).any()
    assert trivial.maximize(graph).status is answer.Status.INFEASIBLE
    assert trivial.log_partition(graph).log_upper == -math.inf


def test_clauses_and_parities_count_as_nothing():
    formula = cnf.from_clauses([[1, 2]], num_variables=3, xors=[([1, 3], True)])
    graph = convert.clause_graph(formula)
    found, best = trivial.log_partition(graph), trivial.maximize(graph)
    assert found.log_upper == pytest.approx(3 * math.log(2))
    # The first state of each variable violates both: no lower side, no assignment.
    assert found.log_lower == -math.inf
    assert (best.status, best.bound) == (answer.Status.UNKNOWN, pytest.approx(0.0, abs=1e-9))
