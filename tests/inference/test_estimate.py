import dataclasses
import decimal
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from inference import estimate
from inference.estimate import Claim, Estimate

EXPECTED = Estimate(0.0, -1.0, 1.0, claim=Claim.EXPECTED)


def probable(lower, upper, failure_lower=0.1, failure_upper=0.1, value=None):
    value = (lower + upper) / 2 if value is None else value
    return Estimate(value, lower, upper, failure_lower, failure_upper, Claim.PROBABLE)


@pytest.mark.parametrize(
    "fields",
    [
        dict(log_value=math.nan),
        dict(log_value=0.0, log_lower=math.nan, claim=Claim.CERTAIN),
        dict(log_value=0.0, log_lower=0.0, claim=Claim.NONE),
        dict(log_value=0.0, log_lower=1.0, log_upper=0.0, claim=Claim.CERTAIN),
        dict(log_value=0.0, log_lower=0.0, failure_lower=0.1, claim=Claim.CERTAIN),
        dict(log_value=0.0, log_upper=0.0, failure_lower=0.1, claim=Claim.PROBABLE),
        dict(log_value=0.0, log_lower=0.0, failure_upper=0.1, claim=Claim.PROBABLE),
        dict(log_value=0.0, log_lower=0.0, failure_lower=1.0, claim=Claim.PROBABLE),
        dict(log_value=0.0, log_lower=0.0, failure_lower=-0.1, claim=Claim.PROBABLE),
    ],
)
def test_contradictory_estimates_are_refused(fields):
    with pytest.raises(ValueError):
        Estimate(**fields)


def test_bounds_in_expectation_may_cross():
    assert Estimate(0.0, 1.0, 0.0, claim=Claim.EXPECTED).log_lower == 1.0


def test_width():
    assert probable(1.0, 3.5).log_width == 2.5
    assert estimate.exact_count(0).log_width == 0.0
    assert Estimate(0.0).log_width == math.inf


COUNTS = [
    1,
    2,
    3,
    7,
    10**15 + 7,
    2**53 + 1,
    10**200 + 3,
    3**646,
    2**1024 - 1,
    2**1024,
    10**5000 + 9,
]


@pytest.mark.parametrize(
    "count", [*COUNTS, *(7**k + k for k in range(0, 4000, 97))], ids=lambda n: f"{n.bit_length()}b"
)
def test_an_exact_count_holds_the_true_logarithm(count):
    with decimal.localcontext(prec=60, Emax=decimal.MAX_EMAX):
        truth = decimal.Decimal(count).ln()
        result = estimate.exact_count(count)
        assert decimal.Decimal(result.log_lower) <= truth <= decimal.Decimal(result.log_upper)
    assert result.claim is Claim.CERTAIN and result.count == count
    assert result.log_width <= 1e-14 * max(1.0, float(truth))


def test_an_exact_count_of_zero():
    result = estimate.exact_count(0)
    assert (result.log_value, result.log_lower, result.log_upper) == (-math.inf,) * 3
    assert result.claim is Claim.CERTAIN and result.count == 0


@pytest.mark.parametrize("count", [0, 96])
def test_an_exact_count_that_may_be_wrong(count):
    result = estimate.exact_count(count, failure=1e-6)
    assert result.claim is Claim.PROBABLE
    assert (result.failure_lower, result.failure_upper) == (1e-6, 1e-6)


@pytest.mark.parametrize("log_value", [0.0, 1.0, -580.25, 9800.123, 1e15 / 3])
@pytest.mark.parametrize("log_error", [0.0, 1e-300, 1e-20, 1e-9, 0.3])
def test_certain_is_as_wide_as_its_error_or_wider(log_value, log_error):
    result = estimate.certain(log_value, log_error)
    value, error = Fraction(log_value), Fraction(log_error)
    assert Fraction(result.log_lower) <= value - error
    assert Fraction(result.log_upper) >= value + error
    assert result.log_width <= 2 * log_error * (1 + 1e-15) + 6 * math.ulp(log_value)
    assert result.claim is Claim.CERTAIN


def test_certain_zero_and_impossible_errors():
    result = estimate.certain(-math.inf, 0.5)
    assert (result.log_lower, result.log_upper, result.claim) == (
        -math.inf,
        -math.inf,
        Claim.CERTAIN,
    )
    for bad in (-1.0, math.nan):
        with pytest.raises(ValueError):
            estimate.certain(0.0, bad)


def majority_by_enumeration(rounds, failure):
    """Sum over all outcomes of all rounds, in fractions."""
    total = Fraction(0)
    for outcome in itertools.product([0, 1], repeat=rounds):
        if sum(outcome) > rounds / 2:
            failures = sum(outcome)
            total += failure**failures * (1 - failure) ** (rounds - failures)
    return float(total)


@pytest.mark.parametrize("rounds", [1, 3, 5, 9])
@pytest.mark.parametrize(
    "failure", [Fraction(0), Fraction(1, 1000), Fraction(9, 25), Fraction(1, 2)]
)
def test_majority_tail_is_the_binomial_tail(rounds, failure):
    expected = majority_by_enumeration(rounds, failure)
    assert estimate.majority_tail(rounds, float(failure)) == pytest.approx(expected, rel=1e-12)


def test_majority_tail_at_the_edges():
    assert estimate.majority_tail(3, 1.0) == 1.0
    assert estimate.majority_tail(20001, 0.5) == pytest.approx(0.5, rel=1e-9)
    assert 0 < estimate.majority_tail(1501, 0.3) < 1e-50
    assert estimate.majority_tail(101, 1e-12) == 0.0


@pytest.mark.parametrize("rounds", [1, 3, 9])
def test_the_median_fails_as_often_as_it_says(rounds):
    # The truth is 0: a round is above it, below it or around it. Here the claim is tight.
    trials, over, under = 4000, 0.3, 0.15
    kinds = [
        probable(0.5, 2, over, under),
        probable(-2, -0.5, over, under),
        probable(-1, 1, over, under),
    ]
    drawn = np.random.default_rng(rounds).choice(3, p=[over, under, 0.55], size=(trials, rounds))
    medians = [estimate.median_of([kinds[i] for i in row]) for row in drawn]
    for wrong, stated in [
        (sum(m.log_lower > 0 for m in medians), medians[0].failure_lower),
        (sum(m.log_upper < 0 for m in medians), medians[0].failure_upper),
    ]:
        assert abs(wrong - trials * stated) < 4 * math.sqrt(trials * stated) + 1


def test_the_median_takes_each_side_by_itself():
    result = estimate.median_of([probable(0, 9), probable(2, 3), probable(1, 20, value=5)])
    assert (result.log_lower, result.log_upper, result.log_value) == (1, 9, 4.5)


def test_the_median_counts_the_worst_failure_of_each_side():
    parts = [probable(0, 1, 0.1, 0.2), probable(0, 1, 0.3, 0.0), probable(0, 1, 0.2, 0.1)]
    result = estimate.median_of(parts)
    assert result.failure_lower == pytest.approx(majority_by_enumeration(3, 0.3))
    assert result.failure_upper == pytest.approx(majority_by_enumeration(3, 0.2))


def test_the_median_drops_a_side_that_most_lack():
    missing = Estimate(0.0)
    result = estimate.median_of([probable(0, 1), missing, missing])
    assert result == missing
    result = estimate.median_of([probable(0, 1), probable(0, 1), missing])
    assert (result.log_lower, result.log_upper, result.claim) == (0, 1, Claim.PROBABLE)


def test_the_median_of_certain_estimates_is_certain():
    result = estimate.median_of([estimate.certain(x, 0.5) for x in (1.0, 1.25, 1.5)])
    assert result.claim is Claim.CERTAIN and result.log_value == 1.25


@pytest.mark.parametrize("number", [0, 2, 4])
def test_the_median_refuses_even_numbers(number):
    with pytest.raises(ValueError, match=f"odd number of estimates, given {number}"):
        estimate.median_of([probable(0, 1)] * number)


@pytest.mark.parametrize(
    "rule",
    [
        estimate.median_of,
        estimate.intersect,
        estimate.product,
        lambda e: estimate.choose(e, lambda x: x.log_width),
    ],
)
def test_every_rule_refuses_bounds_in_expectation(rule):
    with pytest.raises(ValueError, match="only in expectation"):
        rule([probable(0, 1), EXPECTED, probable(0, 1)])


def test_intersect_adds_failures_side_by_side():
    result = estimate.intersect([probable(0, 9, 0.1, 0.02), probable(-5, 4, 0.2, 0.03)])
    assert (result.log_lower, result.log_upper) == (0, 4)
    assert result.failure_lower == pytest.approx(0.3)
    assert result.failure_upper == pytest.approx(0.05)
    assert result.claim is Claim.PROBABLE


def test_intersect_takes_the_value_of_the_narrowest_into_the_interval():
    assert estimate.intersect([probable(0, 9), probable(1, 3, value=1.5)]).log_value == 1.5
    assert estimate.intersect([probable(2, 9), probable(1, 3, value=1.5)]).log_value == 2


def test_intersect_of_certain_and_one_sided_estimates():
    above = Estimate(4.0, log_upper=4.0, claim=Claim.CERTAIN)
    below = Estimate(1.0, log_lower=1.0, failure_lower=0.25, claim=Claim.PROBABLE)
    result = estimate.intersect([above, below])
    assert (result.log_lower, result.log_upper) == (1, 4)
    assert (result.failure_lower, result.failure_upper) == (0.25, 0)
    assert estimate.intersect([above, above]).claim is Claim.CERTAIN
    assert estimate.intersect([Estimate(2.0)]) == Estimate(2.0)


def test_intersect_drops_a_side_that_may_always_fail():
    result = estimate.intersect([probable(0, 1, 0.5, 0.1), probable(0, 1, 0.5, 0.1)])
    assert (result.log_lower, result.log_upper) == (-math.inf, 1)
    assert (result.failure_lower, result.failure_upper) == (0, 0.2)


def test_intersect_raises_where_nothing_is_left():
    with pytest.raises(estimate.EmptyIntersection):
        estimate.intersect([probable(0, 1), probable(1.5, 2)])
    with pytest.raises(estimate.EmptyIntersection):
        estimate.intersect([estimate.exact_count(0), estimate.exact_count(1)])
    touching = estimate.intersect([probable(0, 1), probable(1, 2)])
    assert touching.log_lower == touching.log_upper == 1
    with pytest.raises(ValueError, match="given none"):
        estimate.intersect([])


def test_a_product_adds_logarithms_and_failures():
    result = estimate.product([probable(0, 9, 0.1, 0.02), probable(-5, 4, 0.2, 0.03)], [2, 1])
    assert (result.log_value, result.claim) == (8.5, Claim.PROBABLE)
    assert result.log_lower == pytest.approx(-5) and result.log_upper == pytest.approx(22)
    assert result.failure_lower == pytest.approx(0.3)
    assert result.failure_upper == pytest.approx(0.05)


@pytest.mark.parametrize("seed", range(20))
def test_a_product_rounds_outward(seed):
    rng = np.random.default_rng(seed)
    values = (rng.standard_normal(7) * 10.0 ** rng.integers(-9, 9, 7)).tolist()
    times = rng.integers(1, 1000, 7).tolist()
    result = estimate.product([estimate.certain(x, 0.0) for x in values], times)
    truth = sum((Fraction(x) * n for x, n in zip(values, times)), Fraction(0))
    assert Fraction(result.log_lower) < truth < Fraction(result.log_upper)
    assert result.claim is Claim.CERTAIN
    size = sum(abs(x) * n for x, n in zip(values, times))
    assert result.log_width <= 2.0**-50 * size


def test_a_product_of_counts_is_their_product():
    result = estimate.product([estimate.exact_count(3), estimate.exact_count(5)], [10_000, 2])
    assert (result.count, result.claim) == (3**10_000 * 25, Claim.CERTAIN)
    unsure = estimate.exact_count(5, failure=0.25)
    result = estimate.product([estimate.exact_count(3), unsure, unsure])
    assert (result.count, result.failure_lower, result.failure_upper) == (75, 0.5, 0.5)
    assert estimate.product([unsure] * 4).claim is Claim.NONE


def test_a_product_with_zero_is_zero():
    zero, unknown = estimate.exact_count(0), Estimate(3.0)
    for others in ([probable(0, 1)], [unknown, estimate.exact_count(7)], [zero]):
        assert estimate.product([*others, zero]) == zero
    unsure = estimate.exact_count(0, failure=0.25)
    assert estimate.product([probable(0, 1), unsure]) == unsure


def test_a_product_of_ones_is_one():
    one, at_least_one = estimate.exact_count(1), estimate.bounded(0.0, 0.0, math.inf, 0, 0)
    assert estimate.product([one, one], [5, 1]) == one
    assert estimate.product([at_least_one, one, at_least_one]) == at_least_one


def test_a_product_lacks_the_sides_that_a_factor_lacks():
    above = Estimate(4.0, log_upper=4.0, claim=Claim.CERTAIN)
    result = estimate.product([above, probable(0, 1, 0.1, 0.2)])
    assert result.log_lower == -math.inf and result.log_upper == pytest.approx(5)
    assert (result.failure_lower, result.failure_upper) == (0, 0.2)
    assert estimate.product([above, Estimate(1.0)]).claim is Claim.NONE
    with pytest.raises(ValueError, match="given none"):
        estimate.product([])


def test_a_product_covers_as_often_as_it_says():
    rng, trials, truth = np.random.default_rng(0), 4000, 2.0 + 3 * 1.0
    below = above = 0
    for _ in range(trials):
        shifts = rng.choice([-1.5, 0.0, 1.5], 2, p=[0.1, 0.7, 0.2])
        parts = [probable(x - 1 + s, x + 1 + s, 0.2, 0.1) for x, s in zip((2.0, 1.0), shifts)]
        result = estimate.product(parts, [1, 3])
        below, above = below + (truth < result.log_lower), above + (truth > result.log_upper)
    assert 0 < below <= trials * result.failure_lower
    assert 0 < above <= trials * result.failure_upper


def test_choose_pays_for_all():
    wide, narrow = probable(0, 9, 0.1, 0.2), probable(3, 4, 0.3, 0.05)
    narrow = dataclasses.replace(narrow, witness="w", count=33)
    result = estimate.choose([wide, narrow], lambda e: e.log_width)
    assert (result.log_lower, result.log_upper, result.log_value) == (3, 4, 3.5)
    assert result.failure_lower == pytest.approx(0.4)
    assert result.failure_upper == pytest.approx(0.25)
    assert (result.witness, result.count) == ("w", 33)


def test_choose_among_too_many_claims_nothing():
    exact = estimate.exact_count(8, failure=0.4)
    result = estimate.choose([exact] * 3, lambda e: e.log_width)
    assert (result.claim, result.count) == (Claim.NONE, None)
    with pytest.raises(ValueError, match="given none"):
        estimate.choose([], lambda e: e.log_width)


@pytest.mark.parametrize(
    "given, expected",
    [
        ((0, 0, 1, 0, 0), (0, 1, 0, 0, Claim.CERTAIN)),
        ((0, 0, 1, 0.1, 0), (0, 1, 0.1, 0, Claim.PROBABLE)),
        ((0, 0, 1, 1.0, 0), (-math.inf, 1, 0, 0, Claim.CERTAIN)),
        ((0, 0, 1, 0.1, 1.2), (0, math.inf, 0.1, 0, Claim.PROBABLE)),
        ((0, 0, 1, 1.0, 1.0), (-math.inf, math.inf, 0, 0, Claim.NONE)),
        ((0, -math.inf, 1, 0.5, 0.1), (-math.inf, 1, 0, 0.1, Claim.PROBABLE)),
        ((0, 0, math.inf, 0.1, 0.5), (0, math.inf, 0.1, 0, Claim.PROBABLE)),
        ((0, -math.inf, math.inf, 0.5, 0.5), (-math.inf, math.inf, 0, 0, Claim.NONE)),
        ((-math.inf,) * 3 + (0, 0), (-math.inf, -math.inf, 0, 0, Claim.CERTAIN)),
        ((-math.inf,) * 3 + (0.1, 0.2), (-math.inf, -math.inf, 0.1, 0.2, Claim.PROBABLE)),
        ((-math.inf,) * 3 + (0.1, 1.0), (-math.inf, math.inf, 0, 0, Claim.NONE)),
    ],
)
def test_bounded_makes_the_strongest_claim(given, expected):
    result = estimate.bounded(*given)
    lower, upper, failure_lower, failure_upper, claim = expected
    assert (result.log_lower, result.log_upper) == (lower, upper)
    assert (result.failure_lower, result.failure_upper) == (failure_lower, failure_upper)
    assert result.claim is claim


def test_doubling():
    exact = estimate.doubled(estimate.exact_count(5), 70)
    assert (exact.count, exact.claim) == (5 << 70, Claim.CERTAIN)
    probable = estimate.doubled(estimate.exact_count(5, failure=0.1), 3)
    assert (probable.count, probable.failure_lower) == (40, 0.1)
    bounds = estimate.bounded(1.0, 0.5, 2.0, 0.1, 0.2)
    assert estimate.doubled(bounds, 0) == bounds
    shifted = estimate.doubled(bounds, 10)
    assert shifted.log_value == pytest.approx(1.0 + 10 * math.log(2))
    assert shifted.log_lower < 0.5 + 10 * math.log(2) < shifted.log_upper - 1.4
    assert (shifted.failure_lower, shifted.failure_upper) == (0.1, 0.2)
    nothing = estimate.doubled(estimate.Estimate(-math.inf), 10)
    assert (nothing.log_lower, nothing.log_upper) == (-math.inf, math.inf)


def test_estimates_are_printed_on_one_line():
    assert str(estimate.exact_count(96)) == (
        "96 (log 4.564348191) in [4.564348191, 4.564348191], certain"
    )
    one = estimate.bounded(3.0, 2.0, 4.0, 0.1, 0.0)
    assert str(one) == "log 3 in [2, 4], probable, wrong below with probability 0.1"
    assert str(estimate.Estimate(3.0)) == "log 3, no claim"
    assert "log_lower=2.0" in repr(one) and "<Claim.PROBABLE: 'probable'>" in repr(one)
    huge = estimate.exact_count(10**5000)  # more digits than Python turns into text
    assert str(huge).startswith("log 11512.92546 in") and "count=0x" in repr(huge)
