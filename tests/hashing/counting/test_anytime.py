"""Bounds at any time: closed forms, and misses in simulated rounds over sets of known size."""

import functools
import math

import numpy as np
import pytest
from scipy import optimize, stats

from hashing.cells import nested_cells
from hashing.counting import anytime
from hashing.parity import draws
from inference.estimate import binomial_tail
from inference.problems import parity_rows

NOTHING = nested_cells.Reached()


def reached(product=-math.inf, level=math.inf):
    return nested_cells.Reached(product, level)


# ------------------------------------------------------------------------------------------------
# Closed forms.


@pytest.mark.parametrize("delta", [0.9, 0.2, 0.01, 1e-9])
@pytest.mark.parametrize("threshold", [0, 1, 72, 500])
def test_one_round(threshold, delta):
    lower, upper = anytime.bounds([reached(30.0, 41)], threshold, delta)
    assert lower == pytest.approx(30.0 + math.log(delta / 2), abs=1e-9)
    # The larger root of (u - t)^2 = u (1 / p - 1).
    odds = 2 / delta - 1
    root = threshold + odds / 2 + math.sqrt(odds * threshold + odds**2 / 4)
    assert upper == pytest.approx(41 * math.log(2) + math.log(root), abs=1e-9)


def test_three_rounds_spend_the_failure_over_two_ranks():
    rounds, delta = [reached(10.0, 20), reached(12.0, 18), reached(11.0, 19)], 0.2
    chances = [
        optimize.brentq(lambda p: stats.binom.sf(k - 1, 3, p) - delta / 4, 1e-9, 1 - 1e-9)
        for k in (1, 2)
    ]
    lower, upper = anytime.bounds(rounds, 0, delta)
    expected = [12.0 + math.log(chances[0]), 11.0 + math.log(chances[1])]
    assert lower == pytest.approx(max(expected), abs=1e-6)
    expected = [m * math.log(2) + math.log(1 / p - 1) for m, p in zip((18, 19), chances)]
    assert upper == pytest.approx(min(expected), abs=1e-6)


@pytest.mark.parametrize("trials", [1, 2, 3, 9, 31])
@pytest.mark.parametrize("failure", [0.3, 0.05, 1e-6])
def test_chances_are_largest_and_safe(trials, failure):
    for at_least in range(1, trials + 1):
        p = anytime._chance(trials, at_least, failure)
        assert binomial_tail(trials, at_least, p) <= failure
        assert binomial_tail(trials, at_least, p * (1 + 1e-9)) > failure


@pytest.mark.parametrize("threshold", [0, 1, 72, 10**5])
@pytest.mark.parametrize("failure", [0.9, 0.5, 0.02, 1e-9])
def test_means_of_failure_are_least_and_safe(threshold, failure):
    def cantelli(u):
        return u / (u + (u - threshold) ** 2)

    u = anytime._mean_of_failure(threshold, failure)
    assert u > threshold
    assert cantelli(u) <= failure * (1 + 1e-9)
    assert cantelli(threshold + (u - threshold) * (1 - 1e-6)) > failure


# ------------------------------------------------------------------------------------------------
# Degenerate and monotone.


@pytest.mark.parametrize("number", [1, 3, 19])
@pytest.mark.parametrize("threshold", [0, 72])
def test_nothing_known_bounds_nothing(number, threshold):
    assert anytime.bounds([NOTHING] * number, threshold, 0.2) == (-math.inf, math.inf)


def test_one_side_without_the_other():
    lower, upper = anytime.bounds([reached(5.0), NOTHING, NOTHING], 72, 0.2)
    assert -math.inf < lower < 5.0 and upper == math.inf
    lower, upper = anytime.bounds([reached(level=9), NOTHING, NOTHING], 72, 0.2)
    assert lower == -math.inf and 9 * math.log(2) < upper < math.inf


def test_what_is_reached_later_only_tightens():
    rng = np.random.default_rng(0)
    for threshold in (0, 72):
        rounds = [NOTHING] * 7
        lower, upper = anytime.bounds(rounds, threshold, 0.2)
        for _ in range(60):
            i = int(rng.integers(7))
            rounds[i] = reached(
                max(rounds[i].log_product, rng.uniform(0, 20)),
                min(rounds[i].small_level, int(rng.integers(10, 40))),
            )
            tighter = anytime.bounds(rounds, threshold, 0.2)
            assert tighter[0] >= lower and tighter[1] <= upper
            lower, upper = tighter
        assert lower > 0 and upper < math.inf


def test_order_of_rounds_says_nothing():
    rounds = [reached(10.0, 20), reached(12.0, 18), NOTHING, reached(11.0, 19), reached(3.0)]
    assert anytime.bounds(rounds, 72, 0.1) == anytime.bounds(rounds[::-1], 72, 0.1)


def test_safer_is_wider_and_more_rounds_planned_help_no_claim():
    rounds = [reached(10.0, 20), reached(12.0, 18), reached(11.0, 19)]
    widths, lowers = [], []
    for delta in (0.8, 0.2, 0.01, 1e-6, 1e-12):
        lower, upper = anytime.bounds(rounds, 72, delta)
        widths.append(upper - lower)
    for extra in (0, 2, 6, 20):
        lowers.append(anytime.bounds([*rounds, *[NOTHING] * extra], 72, 0.2)[0])
    assert widths == sorted(widths)
    assert lowers == sorted(lowers, reverse=True)


@pytest.mark.parametrize("delta", [1e-30, 1e-50, 1e-70, 1e-290])
def test_tiny_failure_probabilities(delta):
    lower, upper = anytime.bounds([reached(10.0, 20)] * 5, 72, delta)
    assert -math.inf < lower < upper < math.inf
    assert lower < 10.0 + math.log(delta) / 3


def test_failure_probabilities_beyond_doubles_bound_nothing():
    assert anytime.bounds([reached(10.0, 20)], 72, 1e-310) == (-math.inf, math.inf)


# ------------------------------------------------------------------------------------------------
# Misses: every level of every round is looked at, so a bound that holds here holds at any time.

COLUMNS, LEVELS = 12, 24


POINTS = {
    # Without structure: cells have about Poisson many.
    "spread": np.random.default_rng(5).choice(1 << COLUMNS, size=600, replace=False),
    # A linear subspace: its cells are empty, or large, as often as can be.
    "flat": np.arange(1 << 9),
}


@functools.cache
def simulate(name, threshold, trials=1500, rounds=5):
    """What rounds reach that look at all levels: ``trials`` lists of ``rounds``."""
    points = POINTS[name]
    bits = (points[:, None] >> np.arange(COLUMNS) & 1).astype(bool)
    models, found = parity_rows.pack(bits), []
    for number in range(trials * rounds):
        rows, rhs = draws.draw_dense(draws.derive(1, number), LEVELS, COLUMNS)
        inside = np.cumprod(parity_rows.satisfied(rows, rhs, models), axis=1).sum(axis=0)
        sizes = np.concatenate([[len(points)], inside])
        products = sizes * 2.0 ** np.arange(LEVELS + 1)
        found.append(reached(math.log(products.max()), int(np.argmax(sizes <= threshold))))
    return [found[i : i + rounds] for i in range(0, len(found), rounds)]


def check_misses(monkeypatch, name, threshold, delta=0.2):
    """Misses refute neither side; returns them."""
    for slow in ("_chance", "_mean_of_failure"):
        monkeypatch.setattr(anytime, slow, functools.cache(getattr(anytime, slow)))
    truth, rng = math.log(len(POINTS[name])), np.random.default_rng(2)
    below, above, trials = 0, 0, simulate(name, threshold)
    for rounds in trials:
        lower, upper = anytime.bounds(rounds, threshold, delta)
        below += upper < truth
        above += lower > truth
        stopped = [r if rng.random() < 0.6 else NOTHING for r in rounds]
        early = anytime.bounds(stopped, threshold, delta)
        assert early[0] <= lower and upper <= early[1]
    assert stats.binom.sf(above - 1, len(trials), delta / 2) > 1e-3
    assert stats.binom.sf(below - 1, len(trials), delta / 2) > 1e-3
    return below, above


@pytest.mark.parametrize("name", POINTS)
@pytest.mark.parametrize("threshold", [0, 72])
def test_misses_stay_within_the_claim(monkeypatch, name, threshold):
    below, above = check_misses(monkeypatch, name, threshold)
    assert above > 0  # the bound can fail, so the test can
    assert below > 0 or (name, threshold) != ("flat", 0)


def caught(monkeypatch, *arguments, **options):
    with pytest.raises(AssertionError):
        check_misses(monkeypatch, *arguments, **options)


def test_mutant_the_tail_of_the_next_rank_is_caught(monkeypatch):
    honest = anytime._chance
    monkeypatch.setattr(anytime, "_chance", lambda t, k, f: honest(t, min(k + 1, t), f))
    caught(monkeypatch, "spread", 72)
    caught(monkeypatch, "flat", 0)


def test_mutant_every_rank_spends_the_whole_failure_is_caught(monkeypatch):
    honest = anytime._chance
    monkeypatch.setattr(anytime, "_chance", lambda t, k, f: honest(t, k, 3 * f))
    caught(monkeypatch, "flat", 0, delta=0.4)


def test_mutant_a_small_cell_taken_for_a_small_mean_is_caught(monkeypatch):
    monkeypatch.setattr(anytime, "_mean_of_failure", lambda threshold, p: threshold + 1.0)
    caught(monkeypatch, "flat", 0)
    caught(monkeypatch, "spread", 72)
