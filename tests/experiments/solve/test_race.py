import math
import time

import pytest

from experiments import solve
from experiments.solve import race
from hashing.counting import approxmc
from inference import answer, estimate
from inference.exact import bucket_count, elimination, ganak
from inference.problems import cnf, generators

CHAIN, HARD = generators.chain(60), generators.random_ksat(5, 120, 120)
EASY = cnf.from_clauses([[3, 4]], num_variables=7)


def test_auto_is_certain_where_it_can(monkeypatch):
    monkeypatch.setattr(race, "CERTAIN_LEAST", 60.0)  # however busy the machine is
    monkeypatch.setattr(race, "CERTAIN_MOST", 60.0)
    result, info = solve.count(EASY)
    assert (result.count, info.method, info.status) == (96, "elimination", "done")
    assert result.claim is estimate.Claim.CERTAIN


@pytest.fixture
def too_wide(monkeypatch):
    """Elimination is no use."""

    def refuse(*_, **__):
        raise elimination.TooWide(99, 2**99, 2048)

    monkeypatch.setattr(bucket_count, "prepare", refuse)


def slow_ganak(seconds, value=None):
    """A counter that answers, or gives up, after some time, and sees when it is told to stop."""
    told = []

    def count(formula, *, stop, **_):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not stop():
            time.sleep(0.01)
        told.append(stop())
        status = "timeout" if value is None or stop() else "done"
        return value, answer.Info(status, seconds)

    return count, told


def test_in_a_race_hashing_may_win(monkeypatch, too_wide):
    count, told = slow_ganak(60.0)
    monkeypatch.setattr(ganak, "count", count)
    result, info = solve.count(CHAIN, seed=3)
    assert (info.method, info.status, told) == ("approxmc", "done", [True])
    assert result.log_lower <= math.log(generators.chain_count(60)) <= result.log_upper


def test_in_a_race_ganak_may_win(monkeypatch, too_wide):
    exact = estimate.exact_count(generators.chain_count(60), failure=1e-6)
    monkeypatch.setattr(ganak, "count", slow_ganak(0.5, exact)[0])
    start = time.monotonic()
    result, info = solve.count(HARD, seed=3, epsilon=0.01)
    assert (info.method, info.status, result.count) == ("ganak", "done", exact.count)
    assert time.monotonic() - start < 10


def test_an_exact_answer_is_worth_a_short_wait(monkeypatch, too_wide):
    exact = estimate.exact_count(generators.chain_count(60), failure=1e-6)
    hashed = estimate.bounded(41.0, 40.0, 43.0, 0.1, 0.1)

    def count_in_a_second(*_, **__):
        time.sleep(1.0)
        return hashed, answer.Info("done", 1.0)

    monkeypatch.setattr(approxmc, "count", count_in_a_second)
    monkeypatch.setattr(race, "EXACT_SHARE", 0.5)
    monkeypatch.setattr(ganak, "count", slow_ganak(1.3, exact)[0])
    assert solve.count(CHAIN, seed=3)[1].method == "ganak"
    monkeypatch.setattr(ganak, "count", slow_ganak(60.0, exact)[0])
    start = time.monotonic()
    assert solve.count(CHAIN, seed=3)[0] == hashed
    assert 1.4 < time.monotonic() - start < 5.0


def prepared(expected, seconds, status="done"):
    """An elimination that should take some time, and takes some other."""

    class Prepared:
        width = 3
        seconds = expected

    def solve_it(_, *, deadline):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            deadline.check()
            time.sleep(0.01)
        return estimate.exact_count(7), answer.Info(status, seconds)

    return lambda *_, **__: Prepared(), solve_it


def test_what_is_certain_is_worth_a_wait_after_ganak(monkeypatch):
    exact = estimate.exact_count(7, failure=1e-6)
    monkeypatch.setattr(ganak, "count", slow_ganak(0.2, exact)[0])
    for seconds, method in ((0.4, "elimination"), (20.0, "ganak")):
        prepare, solve_it = prepared(0.4, seconds)
        monkeypatch.setattr(bucket_count, "prepare", prepare)
        monkeypatch.setattr(bucket_count, "solve", solve_it)
        start = time.monotonic()
        assert solve.count(HARD)[1].method == method
        assert time.monotonic() - start < 5


def test_long_eliminations_come_after_hashing(monkeypatch):
    monkeypatch.setattr(ganak, "count", slow_ganak(60.0)[0])
    monkeypatch.setattr(race, "BUDGET", 0.1)
    prepare, solve_it = prepared(0.3, 0.3)
    monkeypatch.setattr(bucket_count, "prepare", prepare)
    monkeypatch.setattr(bucket_count, "solve", solve_it)
    result, info = solve.count(HARD, seed=3, epsilon=0.01)  # which hashing does not end
    assert (result.count, info.method) == (7, "elimination")
    monkeypatch.setattr(race, "PATIENCE", 200.0)
    assert solve.count(CHAIN, seed=3)[1].method == "approxmc"


def test_weights_race_as_well(monkeypatch, too_wide):
    monkeypatch.setattr(ganak, "count", slow_ganak(60.0)[0])
    weights = {1: 0.25, 2: 0.25}
    result, info = solve.count([[1, 2]], weights=weights)
    assert info.method == "approxwmc"
    assert result.log_lower <= math.log(7 / 16) <= result.log_upper


def test_ganak_stands_aside_while_hashing_ends_soon(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    asked = 90.0, 0.8, 0.2, 2  # three rounds
    assert not race._stands_aside([], *asked, math.inf)
    pooled = [100.0, 100.01]  # two rounds are left, after one that took 10 seconds
    assert race._stands_aside(pooled, *asked, math.inf)
    assert not race._stands_aside(pooled, *asked, 19.0)
    assert not race._stands_aside([100.0] * 20, 90.0, 0.8, 0.001, 2, math.inf)
    now = 114.0
    assert race._stands_aside(pooled, *asked, math.inf)
    now = 116.0
    assert not race._stands_aside(pooled, *asked, math.inf)


def test_a_race_without_a_winner_ends_in_time(monkeypatch, too_wide):
    monkeypatch.setattr(ganak, "count", slow_ganak(60.0)[0])
    start = time.monotonic()
    result, info = solve.count(HARD, seed=3, epsilon=0.01, timeout=1.5)
    assert (info.method, info.status) == ("approxmc", "timeout")
    assert -math.inf < result.log_lower < result.log_upper < math.inf
    assert time.monotonic() - start < 8


def test_auto_survives_a_broken_exact_counter(monkeypatch, too_wide):
    broken = None, answer.Info("failed", 0.0, "out of memory")
    monkeypatch.setattr(ganak, "count", lambda *_, **__: broken)
    result, info = solve.count(EASY)
    assert (info.method, info.message) == ("approxmc", "out of memory")
    assert result.log_lower <= math.log(96) <= result.log_upper
    with pytest.raises(ValueError, match="ganak failed: out of memory"):
        solve.count(EASY, method="exact")
