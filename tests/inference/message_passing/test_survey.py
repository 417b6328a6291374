"""Survey propagation against a slow version of its equations, trees and known complexities."""

import itertools
import math

import numpy as np
import pytest

import reference
from inference import answer
from inference.message_passing import survey
from inference.problems import cnf, generators

TREE = [[1, 2, -3], [3, 4], [-4, 5, 6], [-6, -7]]  # clauses share one variable at most, no cycle


def slow_surveys(clauses, start, rounds):
    """The equations of the paper in its own notation, edge by edge; biases and complexity."""
    eta = dict(start)  # by clause and literal
    n = max(abs(literal) for clause in clauses for literal in clause)

    def silent(literal, but=None):
        found = [(a, i) for a, c in enumerate(clauses) for i in c if i == literal and a != but]
        return math.prod(1 - eta[edge] for edge in found)

    def weights(a, literal):
        agree, oppose = silent(literal, a), silent(-literal, a)
        return (1 - oppose) * agree, (1 - agree) * oppose, agree * oppose

    for _ in range(rounds):
        ratios = {(a, i): weights(a, i)[0] / sum(weights(a, i)) for a, i in eta}
        eta = {(a, i): math.prod(ratios[a, j] for j in clauses[a] if j != i) for a, i in eta}
    biases, complexity = [], 0.0
    for a, clause in enumerate(clauses):
        each = [weights(a, i) for i in clause]
        complexity += math.log(math.prod(map(sum, each)) - math.prod(w[0] for w in each))
    for v in range(1, n + 1):
        agree, oppose = silent(v), silent(-v)
        parts = (1 - agree) * oppose, (1 - oppose) * agree, agree * oppose
        degree = sum(v in map(abs, clause) for clause in clauses)
        complexity -= (degree - 1) * math.log(sum(parts))
        biases.append([parts[0] / sum(parts), parts[1] / sum(parts)])
    return eta, np.array(biases).T, complexity


def test_the_equations_of_the_paper():
    formula = generators.random_ksat(1, 30, 129)  # with surveys that do not vanish
    clauses = formula.clauses.tolist()
    found, info = survey.surveys(formula, damping=0.0, tolerance=0.0, iterations=7, seed=3)
    assert info.iterations == 7 and not info.converged
    begin, _ = survey.surveys(formula, iterations=0, seed=3)
    edges = [(a, i) for a, clause in enumerate(clauses) for i in sorted(clause, key=abs)]
    start = dict(zip(edges, begin.warnings.ravel().tolist(), strict=True))
    eta, (positive, negative), _ = slow_surveys(clauses, start, 7)
    assert 0.1 < max(eta.values()) < 1.0
    np.testing.assert_allclose(found.warnings.ravel(), [eta[edge] for edge in edges], rtol=1e-9)
    np.testing.assert_allclose(found.positive, positive, rtol=1e-9)
    np.testing.assert_allclose(found.negative, negative, rtol=1e-9)


def test_both_forms_of_the_complexity_agree_at_a_fixed_point():
    formula = generators.random_ksat(1, 30, 129)
    clauses = formula.clauses.tolist()
    edges = [(a, i) for a, clause in enumerate(clauses) for i in sorted(clause, key=abs)]
    found, info = survey.surveys(formula, tolerance=1e-12, seed=3)
    assert info.converged and found.complexity > 0.1
    _, _, complexity = slow_surveys(clauses, dict(zip(edges, found.warnings.ravel())), 0)
    assert found.complexity == pytest.approx(complexity, abs=1e-9)


def test_a_tree_without_units_has_no_surveys():
    found, info = survey.surveys(cnf.from_clauses(TREE), damping=0.0)
    assert info.converged and info.status == "done"
    assert not found.warnings.any() and not found.positive.any() and not found.negative.any()
    assert found.complexity == 0.0


def test_units_propagate_as_certain_warnings():
    found, info = survey.surveys(cnf.from_clauses([[1], [-1, -2], [2, 3], [-3, 4, 5]]), damping=0.0)
    assert info.converged
    np.testing.assert_allclose(found.positive, [1, 0, 1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(found.negative, [0, 1, 0, 0, 0], atol=1e-12)
    assert found.complexity == pytest.approx(0.0, abs=1e-12)


def test_at_rho_one_a_tree_is_counted():
    found, info = survey.surveys(cnf.from_clauses(TREE), rho=1.0, tolerance=1e-12)
    models = np.array(reference.models(7, TREE))
    assert info.converged
    assert math.exp(found.complexity) == pytest.approx(len(models))
    np.testing.assert_allclose(found.positive, models.mean(axis=0))
    np.testing.assert_allclose(found.negative, 1 - models.mean(axis=0))


def test_complexity_of_random_satisfiability():
    easy, info = survey.surveys(generators.random_ksat(1, 3000, 3000 * 36 // 10))
    assert info.converged and not (easy.warnings > 1e-5).any()
    assert easy.complexity == pytest.approx(0.0, abs=1e-3)
    hard, info = survey.surveys(generators.random_ksat(1, 3000, 3000 * 42 // 10))
    assert info.converged and 0.1 < hard.warnings.mean() < 0.25
    assert 0.002 < hard.complexity / 3000 < 0.012
    again, _ = survey.surveys(generators.random_ksat(1, 3000, 3000 * 42 // 10), seed=5)
    assert again.complexity == pytest.approx(hard.complexity, abs=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_decimation_decides_small_formulas(seed):
    formula = generators.random_ksat(seed, 10, 44)
    expected = reference.models(10, formula.clauses.tolist())
    found, info = survey.decimate(formula, seed=seed, fraction=0.1)
    if expected:
        assert found.status is answer.Status.OPTIMAL and found.value == 1
        assert tuple(found.assignments[0].astype(int).tolist()) in expected
    else:
        assert found.status is answer.Status.INFEASIBLE and found.assignments is None


@pytest.mark.slow
@pytest.mark.parametrize("size", [1000, 2000])
@pytest.mark.parametrize("seed", range(3))
def test_decimation_solves_near_the_threshold(size, seed):
    formula = generators.random_ksat(seed, size, size * 42 // 10)
    found, info = survey.decimate(formula, seed=seed, timeout=60.0)
    assert found.status is answer.Status.OPTIMAL
    assert formula.is_satisfied(found.assignments[0])
    assert int(info.message.split()[0]) > size // 4


def test_decimation_follows_the_surveys():
    formula = generators.random_ksat(1, 500, 2050)
    found, info = survey.decimate(formula, timeout=30.0)
    assert formula.is_satisfied(found.assignments[0])
    assert int(info.message.split()[0]) > 50


@pytest.mark.parametrize(
    ("clauses", "size", "count"),
    [([], 0, 1), ([], 3, 8), ([[1, -1]], 1, 2), ([[2, 2]], 2, 2), ([[1], [-1]], 1, 0)],
)
def test_degenerate_formulas(clauses, size, count):
    formula = cnf.from_clauses(clauses, num_variables=size)
    found, info = survey.surveys(formula)
    assert info.converged and found.positive.shape == (size,)
    assert np.isfinite(found.positive).all() and not math.isnan(found.complexity)
    decided, info = survey.decimate(formula)
    if count:
        assert decided.assignments.shape == (1, size) and formula.is_satisfied(
            decided.assignments[0]
        )
    else:
        assert decided.status is answer.Status.INFEASIBLE


def test_sampling_sets_and_weights_play_no_part():
    weights = np.log([[1.0, 3.0], [1.0, 1.0]])
    formula = cnf.from_clauses([[1, 2]], projection=[1], log_weights=weights)
    assert survey.decimate(formula)[0].assignments.shape == (1, 2)


def test_what_is_refused():
    with pytest.raises(ValueError, match="clauses alone, given 1 XORs"):
        survey.surveys(cnf.from_clauses([[1, 2]], xors=[([1, 2], True)]))
    with pytest.raises(ValueError, match="given an empty one"):
        survey.decimate(cnf.from_clauses([[1], []]))


def test_limits_and_interruptions(monkeypatch):
    formula = generators.random_ksat(0, 50, 200)
    assert survey.surveys(formula, timeout=0.0)[1].status == "timeout"
    decided, info = survey.decimate(formula, timeout=0.0)
    assert decided.status is answer.Status.UNKNOWN and info.status == "timeout"

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(survey, "_advance", interrupted)
    found, info = survey.surveys(formula)
    assert info.status == "interrupted" and np.isfinite(found.positive).all()
    decided, info = survey.decimate(formula)
    assert decided.status is answer.Status.UNKNOWN and info.status == "interrupted"


def test_equal_sizes_share_a_trace():
    formulas = [generators.random_ksat(seed, 60, 240) for seed in range(3)]
    survey.decimate(formulas[0])
    before = survey._advance._cache_size()
    for formula, rho in itertools.product(formulas, (0.0, 0.5)):
        survey.surveys(formula, rho=rho, damping=0.1)
    assert survey._advance._cache_size() == before
