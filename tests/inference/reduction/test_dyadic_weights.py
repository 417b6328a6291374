"""Rewritten formulas against enumeration, errors of fractions against exact arithmetic."""

import itertools
import math
import random
from fractions import Fraction

import numpy as np
import pytest

import reference
from inference import limits
from inference.problems import cnf
from inference.reduction import dyadic_weights

DOUBLES = 1e-12  # nats


def projected_count(formula):
    """How many assignments of the sampling set extend to a model, all assignments in one array."""
    n = formula.num_variables
    states = (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1
    holds = np.ones(2**n, dtype=bool)
    for clause in formula.clauses.tolist():
        columns = [states[:, abs(x) - 1] == (x > 0) for x in clause]
        holds &= np.any(columns, axis=0) if clause else False
    for variables, side in zip(formula.xors.tolist(), formula.xor_rhs.tolist()):
        holds &= states[:, [v - 1 for v in variables]].sum(axis=1) % 2 == side
    return len(np.unique(states[holds][:, formula.sampling_set - 1], axis=0))


def table(weights, num_variables):
    """Log-weights of exact weights by literal."""
    logs = {x: math.log(w) if w else -math.inf for x, w in weights.items()}
    return cnf.weight_table(logs, num_variables)


def random_problem(rng, weights):
    """Clauses, XORs, projection and the weights of some sampling variables, as keywords."""
    n = rng.randint(1, 4)

    def some(size):
        return [rng.choice([-1, 1]) * rng.randint(1, n) for _ in range(size)]

    clauses = [some(rng.choice([1, 2, 2, 3])) for _ in range(rng.randint(0, 3))]
    xors = [([*{abs(x) for x in some(3)}], rng.random() < 0.5)] if rng.random() < 0.3 else []
    n += rng.randint(0, 1)
    projection = rng.choice([None, sorted(rng.sample(range(1, n + 1), rng.randint(0, n)))])
    sampled = range(1, n + 1) if projection is None else projection
    chosen = {v: rng.choice(weights) for v in sampled if rng.random() < 0.8}
    signed = {sign * v: w for v, pair in chosen.items() for sign, w in zip((-1, 1), pair)}
    return {
        "num_variables": n,
        "clauses": clauses,
        "xors": xors,
        "projection": projection,
        "weights": signed,
    }


def build(num_variables, clauses, xors=(), projection=None, weights=()):
    return cnf.from_clauses(
        clauses,
        num_variables=num_variables,
        xors=xors,
        projection=projection,
        log_weights=table(dict(weights), num_variables),
    )


def check(problem, log_error):
    """The weighted count lies where the rewritten formula says; returns what was rewritten."""
    same = dyadic_weights.rewrite(build(**problem), log_error)
    truth, count = reference.count_models(**problem), projected_count(same.formula)
    assert same.formula.log_weights is None
    assert same.log_error <= log_error + DOUBLES
    if truth == 0:
        assert count == 0 or same.log_factor == -math.inf
        return same
    log_truth = math.log(Fraction(truth).numerator) - math.log(Fraction(truth).denominator)
    assert abs(log_truth - same.log_factor - math.log(count)) <= same.log_error
    return same


F = Fraction
DYADIC = [(F(1, 4), F(3, 4)), (F(5), F(3)), (F(7, 64), F(1, 64)), (F(2), F(2)), (F(0), F(3))]
OTHERS = [(F(1, 3), F(2, 3)), (F(1, 10), F(7)), (F(9), F(0)), (F(1), F(1)), (F(0), F(0))]


@pytest.mark.parametrize("seed", range(60))
def test_the_count_of_the_rewritten_formula_is_the_weighted_count(seed):
    rng = random.Random(seed)
    exact = check(random_problem(rng, DYADIC), 1e-3)
    assert exact.log_error < DOUBLES
    check(random_problem(rng, DYADIC + OTHERS), rng.choice([0.1, 0.5, 2.0]))


@pytest.mark.parametrize("number", [1, 3, 5, 11, 31, 33, 63])
def test_a_comparison_holds_for_so_many_numbers(number):
    bits = range(2, 8)
    models = reference.models(7, dyadic_weights.comparison(-1, number, bits))
    values = {sum(x << i for i, x in enumerate(rest)): first for first, *rest in models}
    assert len(models) == len(values) == 64
    assert {value for value, first in values.items() if not first} == set(range(number))


def test_errors_of_fractions_add_up_to_what_was_asked_for():
    rng = np.random.default_rng(0)
    for scale, asked in itertools.product([0.01, 1.0, 30.0, 700.0], [1e-6, 0.01, 0.5]):
        odds = rng.random(40) * scale
        number, bits = dyadic_weights.fractions(odds, asked)
        assert (number % 2 == 1).all() and (number >= 1).all() and (bits >= 1).all()
        total = 0.0
        for k, m, log_odds in zip(number.tolist(), bits.tolist(), odds.tolist()):
            rest = 2**m - k
            assert k <= rest
            # By exact integers: log is that of a rational number near 1.
            shift = Fraction(rest, k) / Fraction(math.exp(log_odds))
            total += abs(math.log(shift)) / 2
        assert total <= asked + DOUBLES


def test_fractions_take_few_bits():
    log = np.log
    number, bits = dyadic_weights.fractions(log([3.0, 1.0, 7.0, 13 / 3]), 1e-9)
    assert list(zip(number.tolist(), bits.tolist())) == [(1, 2), (1, 1), (1, 3), (3, 4)]
    # Twice the error takes a bit less, a hundred times as many variables seven bits more.
    each = {
        (count, asked): dyadic_weights.fractions(log(np.full(count, 2.0)), asked)[1].mean()
        for count, asked in [(1, 0.06), (100, 0.06)]
    }
    assert each[1, 0.06] <= 5 and each[100, 0.06] <= 12


def test_what_is_fixed_or_mentioned_nowhere_takes_no_bits():
    weights = {-1: F(1, 7), 1: F(2, 7), -2: F(1, 9), 2: F(5), -3: F(2), 3: F(1, 3)}
    problem = {"num_variables": 4, "clauses": [[-1], [2, 4]], "weights": weights}
    same = check(problem, 0.01)
    assert same.formula.num_variables == 4 + same.bits
    assert same.formula.sampling_set.tolist() == [4, *range(5, 5 + same.bits)]
    assert same.log2_tilt == pytest.approx(math.log2(45))
    alone = check(problem | {"clauses": [[-1], [2]]}, 0.01)
    assert (alone.bits, alone.log2_tilt, alone.formula.num_variables) == (0, 0.0, 4)
    assert alone.formula.sampling_set.tolist() == [4]
    assert alone.log_error < DOUBLES


def test_a_formula_without_weights_comes_back():
    formula = cnf.from_clauses([[1, 2]])
    assert dyadic_weights.rewrite(formula, 0.1) == (formula, 0.0, 0.0, 0, 0.0)
    assert dyadic_weights.possible(formula) is formula


def test_equal_weights_are_exact_and_take_no_variables():
    formula = cnf.from_clauses([[1, 2]], log_weights=np.full((2, 2), -1e5))
    same = dyadic_weights.rewrite(formula, 0.1)
    assert (same.bits, same.log_factor, projected_count(same.formula)) == (0, -2e5, 3)
    assert 0 < same.log_error < 1e-9


@pytest.mark.parametrize("log_ratio", [100.0, 690.8, 1380.0])
def test_weights_that_are_far_apart(log_ratio):
    logs = np.array([[0.0, -log_ratio], [-log_ratio, 3.0]])
    for clauses, truth in [
        ([[1, 2]], 3.0),  # the heavy ones, e^3 (1 + e^-2 log_ratio e^...) up to doubles
        ([[1, -2]], np.logaddexp(-log_ratio + 3.0, -log_ratio)),
    ]:
        same = dyadic_weights.rewrite(cnf.from_clauses(clauses, log_weights=logs), 1e-3)
        assert same.log_error <= 1e-3 + 1e-9 and same.bits < 2 * (log_ratio / math.log(2) + 20)
        log_count = _log_count(clauses, same, log_ratio)
        assert abs(same.log_factor + log_count - truth) <= same.log_error


def _log_count(clauses, same, log_ratio):
    """Of two chains whose literals the clauses tie: from the fractions themselves."""
    number, bits = dyadic_weights.fractions(np.array([log_ratio, log_ratio + 3.0]), 1e-3)
    assert same.bits == bits.sum()
    small = [int(k) for k in number]
    large = [2 ** int(m) - k for k, m in zip(small, bits)]
    ways = {(1, -2): small[0] * small[1], (1, 2): small[0] * large[1]}
    ways |= {(-1, 2): large[0] * large[1], (-1, -2): large[0] * small[1]}
    holds = [
        number
        for literals, number in ways.items()
        if all(any(x in literals for x in clause) for clause in clauses)
    ]
    return math.log(sum(holds))


def test_what_cannot_be_rewritten_is_refused():
    far = np.array([[0.0, 0.0], [0.0, -1500.0]])
    with pytest.raises(ValueError, match="expected weights .* 2\\^2000, given 2\\^2164 for 2"):
        dyadic_weights.rewrite(cnf.from_clauses([[1, 2]], log_weights=far), 0.1)
    some = cnf.from_clauses([[1, 2]], log_weights=far / 10)
    with pytest.raises(limits.OutOfTime):
        dyadic_weights.rewrite(some, 0.1, deadline=limits.Deadline.after(0.0))
