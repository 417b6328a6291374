import math
from fractions import Fraction

import degenerate
import numpy as np
import pytest

import reference
from inference.estimate import Claim
from inference.exact import ganak
from inference.problems import cnf, generators, trivial


def solved(formula, **options):
    result, info = ganak.count(formula, timeout=60, **options)
    assert info.status == "done"
    return result


def random_formula(rng, n=8, **options):
    clauses = rng.choice([-1, 1], size=(12, 3)) * (1 + rng.integers(n, size=(12, 3)))
    return clauses.tolist(), cnf.from_clauses(clauses, num_variables=n, **options)


def test_the_claim_is_probable_with_zero_width():
    value = solved(cnf.from_clauses([[3, 4]], num_variables=7))
    assert (value.claim, value.count) == (Claim.PROBABLE, 96)
    assert value.failure_lower == value.failure_upper == 1e-6
    assert value.log_width < 1e-13


@pytest.mark.parametrize("seed", range(4))
def test_plain_and_projected_counts(seed):
    rng = np.random.default_rng(seed)
    xors = [(rng.choice(8, size=5, replace=False) + 1, bool(seed % 2))]
    projection = None if seed < 2 else [1, 3, 4, 8]
    clauses, formula = random_formula(rng, xors=xors, projection=projection)
    expected = reference.count_models(8, clauses, xors, projection)
    assert solved(formula).count == expected


@pytest.mark.parametrize("formula, expected", degenerate.FORMULAS)
def test_degenerate_formulas(formula, expected):
    assert solved(formula).count == expected


@pytest.mark.parametrize("projection, expected", [(None, 3 << 38), ([1, 5, 6], 8)])
def test_variables_in_no_clause(projection, expected):
    formula = cnf.from_clauses([[1, 2]], num_variables=40, projection=projection)
    assert solved(formula).count == expected


@pytest.mark.parametrize("seed", range(4))
def test_weighted_counts(seed):
    rng = np.random.default_rng(seed)
    projection = None if seed < 2 else [1, 3, 4, 8]
    counted = range(1, 9) if projection is None else projection
    weights = {s * v: Fraction(int(rng.integers(0, 9)), 4) for v in counted for s in (1, -1)}
    table = np.zeros((8, 2))
    for literal, weight in weights.items():
        log = math.log(weight) if weight else -math.inf
        table[abs(literal) - 1, int(literal > 0)] = log
    clauses, formula = random_formula(rng, projection=projection, log_weights=table)
    expected = reference.count_models(8, clauses, projection=projection, weights=weights)
    value = solved(formula)
    assert value.count is None
    if not expected:
        assert value.log_value == value.log_upper == -math.inf
    else:
        assert value.log_lower <= math.log(expected) <= value.log_upper
        assert value.log_width < 1e-10


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_the_interval_holds_where_one_variable_carries_the_whole_scale(n):
    for weight in (Fraction(1, 4), Fraction(3, 4), Fraction(1, 10)):
        table = np.zeros((n, 2))
        table[:] = math.log(1 - weight), math.log(weight)
        value = solved(cnf.from_clauses([[1]], num_variables=n, log_weights=table))
        assert value.log_lower <= math.log(weight) <= value.log_upper


@pytest.mark.parametrize("negative, positive", [(-2000, -2001), (3000, 3004), (-1, 0)])
def test_weights_far_outside_the_range_of_doubles(negative, positive):
    # One clause over two of seven variables of equal weights, in closed form.
    table = np.tile(np.array([negative, positive]) * math.log(2), (7, 1))
    value = solved(cnf.from_clauses([[1, 2]], num_variables=7, log_weights=table))
    ratio = Fraction(2) ** (negative - positive)
    relative = (1 + 2 * ratio) * (1 + ratio) ** 5
    expected = math.log(relative) + 7 * positive * math.log(2)
    assert value.log_value == pytest.approx(expected, rel=1e-14)
    assert value.log_lower <= expected <= value.log_upper


def test_a_count_far_below_the_largest_possible_one():
    # 3000 variables forced to the lighter literal: 2^-3000 of the largest weight, in one window
    # after another.
    n = 3000
    table = np.zeros((n, 2))
    table[:, 1] = -math.log(2)
    formula = cnf.from_clauses([[v] for v in range(1, n + 1)], log_weights=table)
    assert solved(formula).log_value == pytest.approx(-n * math.log(2), rel=1e-13)


def test_zero_weights_that_leave_no_model():
    table = np.zeros((3, 2))
    table[0] = -np.inf
    value = solved(cnf.from_clauses([[1, 2]], num_variables=3, log_weights=table))
    assert value.log_value == -math.inf
    table[0, 1] = 0.0
    value = solved(cnf.from_clauses([[-1], [2, 3]], num_variables=3, log_weights=table))
    assert value.log_value == value.log_upper == -math.inf


def test_weights_too_far_apart_are_refused():
    table = np.zeros((1, 2))
    table[0, 0] = -1000.0
    with pytest.raises(ValueError, match="expected weights of one variable within a factor"):
        ganak.count(cnf.from_clauses([[1]], log_weights=table))


def test_the_time_limit():
    formula = generators.latin_square(9)
    for timeout in (0, 0.5):
        found, info = ganak.count(formula, timeout=timeout)
        assert (found, info.status) == (trivial.count(formula), "timeout")
        assert timeout <= info.seconds < timeout + 5


def test_a_stop_is_an_end_in_time():
    assert ganak.count(generators.latin_square(9), stop=lambda: True)[1].status == "timeout"


def test_out_of_memory_leaves_the_trivial_bound():
    formula = generators.latin_square(9)
    found, info = ganak.count(formula, memory=40, timeout=60)
    assert (found, info.status) == (trivial.count(formula), "failed")
    assert "40 MiB" in info.message
    with pytest.raises(ValueError, match="expected at least 32 MiB of memory, given 31"):
        ganak.count(formula, memory=31)


@pytest.mark.parametrize("seed", [2**40 + 1, np.int64(3), b"seed", np.zeros(2, "u4")])
def test_seeds_of_any_kind(seed):
    assert solved(cnf.from_clauses([[1, 2]], num_variables=3), seed=seed).count == 6


def test_counts_of_any_size():
    found, _ = ganak.count(cnf.from_clauses([[1, 2]], num_variables=15_000))
    assert found.count == 3 * 2**14_998  # over 4300 digits, where Python refuses by default


def log_of_chain(log_weights):
    """The weighted count of clauses over neighbours, by adding up from left to right, in nats."""
    off, on = log_weights[0]
    for negative, positive in log_weights[1:]:
        off, on = on + negative, np.logaddexp(off, on) + positive
    return np.logaddexp(off, on)


@pytest.mark.parametrize("seed", range(4))
def test_weights_far_apart_take_few_counts(seed, monkeypatch):
    n, counts, honest = 400, [], ganak._count_scaled
    log_weights = np.random.default_rng(seed).uniform(-30, 30, size=(n, 2))
    formula = cnf.from_clauses([[i, i + 1] for i in range(1, n)], log_weights=log_weights)

    def counted(*arguments):
        counts.append(honest(*arguments))
        return counts[-1]

    monkeypatch.setattr(ganak, "_count_scaled", counted)
    found = ganak._count_weighted(formula, *ganak._scaled_weights(log_weights), seed)
    assert found == pytest.approx(log_of_chain(log_weights), rel=1e-12)
    assert len(counts) <= 2


@pytest.mark.parametrize("bits", [-90_000, -7_000, 0])
def test_a_model_that_says_little_is_made_up_for(bits, monkeypatch):
    log_weights = np.random.default_rng(1).uniform(-30, 30, size=(150, 2))
    formula = cnf.from_clauses([[i, i + 1] for i in range(1, 150)], log_weights=log_weights)
    monkeypatch.setattr(ganak, "_log2_of_a_model", lambda *_: bits)
    scaled = ganak._scaled_weights(log_weights)
    monkeypatch.setattr(ganak, "_TOP_LOG2", 100)
    monkeypatch.setattr(ganak, "_BOTTOM_LOG2", -100)
    found = ganak._count_weighted(formula, *scaled, 0)
    assert found == pytest.approx(log_of_chain(log_weights), rel=1e-12)
