"""Weighted counts by hashing against enumeration, over seeds, and early ends of them."""

import functools
import math
import random
import signal
import time
from concurrent import futures

import numpy as np
import pytest
from scipy import stats

import reference
from hashing.counting import approxmc, approxwmc
from inference import estimate
from inference.estimate import Claim
from inference.exact import exhaustive
from inference.problems import cnf, generators
from inference.reduction import dyadic_weights, support

CLAUSES = generators.random_ksat(3, 14, 18).clauses.tolist()


def log_weights(seed, num_variables, variables, spread=1.0):
    """Two weights of each of some variables, neither dyadic nor adding up to one."""
    logs = np.zeros((num_variables, 2))
    rng = np.random.default_rng(seed)
    logs[np.array(variables) - 1] = rng.normal(0.0, spread, (len(variables), 2))
    return logs


def weighted(clauses, n, variables, spread=1.0, **more):
    return cnf.from_clauses(
        clauses, num_variables=n, log_weights=log_weights(1, n, variables, spread), **more
    )


FORMULAS = {
    "plain": weighted(CLAUSES, 14, range(1, 15)),
    "some": weighted(CLAUSES, 16, range(1, 15, 3)),
    "projected": weighted(CLAUSES, 14, range(2, 11), projection=range(2, 12)),
    "xors": weighted(CLAUSES[:9], 14, range(1, 9), xors=[([1, 5, 9, 14], True)]),
    "gates": weighted([*CLAUSES, [-15, 1, 2], [15, -1], [15, -2]], 15, range(1, 16, 2)),
    "tilted": weighted(CLAUSES[:12], 14, range(1, 7), 6.0),
}


@functools.cache
def truth_of(name):
    """By enumeration, in nats."""
    formula = FORMULAS[name]
    logs = np.where(np.isfinite(formula.log_weights), formula.log_weights, 0.0)
    weights = {
        sign * v: math.exp(logs[v - 1, int(sign > 0)])
        for v in range(1, formula.num_variables + 1)
        for sign in (-1, 1)
    }
    xors = list(zip(formula.xors.tolist(), formula.xor_rhs.tolist()))
    projection = None if formula.projection is None else formula.projection.tolist()
    return math.log(
        reference.count_models(
            formula.num_variables, formula.clauses.tolist(), xors, projection, weights
        )
    )


@functools.cache
def count_many(name, seeds, epsilon=0.8, delta=0.2):
    options = {"epsilon": epsilon, "delta": delta}
    return [approxwmc.count(FORMULAS[name], seed=seed, **options) for seed in range(seeds)]


def check_claim(results, log_truth, epsilon, delta=0.2):
    """The interval is as wide as was asked for, and the misses do not refute the failures."""
    for result, info in results:
        assert (result.claim, result.count, info.status) == (Claim.PROBABLE, None, "done")
        assert 0 < result.failure_lower + result.failure_upper <= delta
        assert result.log_width <= 2 * math.log1p(epsilon) + 1e-12
        assert result.log_lower <= result.log_value <= result.log_upper
        assert 0 < info.log_error <= approxwmc.ROUNDING * math.log1p(epsilon) + 1e-9
    below = sum(log_truth < result.log_lower for result, _ in results)
    above = sum(log_truth > result.log_upper for result, _ in results)
    worst = max(result.failure_lower for result, _ in results)
    assert stats.binom.sf(below - 1, len(results), worst) > 1e-4
    worst = max(result.failure_upper for result, _ in results)
    assert stats.binom.sf(above - 1, len(results), worst) > 1e-4


def check_mean(results, log_truth, epsilon):
    """Values of rounds spread around the truth: their median is not off by a factor."""
    errors = np.array([result.log_value - log_truth for result, _ in results])
    assert abs(np.median(errors)) < math.log1p(epsilon) / 3


@pytest.mark.parametrize("name", ["projected", "gates", "tilted"])
def test_claims(name):
    check_claim(count_many(name, 6), truth_of(name), 0.8)
    check_mean(count_many(name, 6), truth_of(name), 0.8)


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [0.8, 0.3, 6.0])
@pytest.mark.parametrize("name", FORMULAS)
def test_coverage(name, epsilon, capsys):
    results, truth = count_many(name, 300, epsilon), truth_of(name)
    check_claim(results, truth, epsilon)
    check_mean(results, truth, epsilon)
    below = sum(truth < result.log_lower for result, _ in results)
    above = sum(truth > result.log_upper for result, _ in results)
    stated = results[0][0].failure_lower, results[0][0].failure_upper
    with capsys.disabled():
        print(f"\n{name}, {epsilon}: {below} below, {above} above of 300, stated {stated}")


def test_a_factor_that_is_lost_is_caught(monkeypatch):
    honest = dyadic_weights.rewrite

    def halved(*arguments, **options):
        same = honest(*arguments, **options)
        return same._replace(log_factor=same.log_factor - math.log(2))

    monkeypatch.setattr(dyadic_weights, "rewrite", halved)
    results = [approxwmc.count(FORMULAS["tilted"], seed=seed) for seed in range(4)]
    with pytest.raises(AssertionError):
        check_mean(results, truth_of("tilted"), 0.8)


# ------------------------------------------------------------------------------------------------
# Formulas of all kinds.


def random_problem(rng):
    """For ``reference.count_models``: few variables, weights of any size, 0 among them."""
    n = rng.randint(1, 5)

    def some(size):
        return [rng.choice([-1, 1]) * rng.randint(1, n) for _ in range(size)]

    clauses = [some(rng.choice([1, 2, 3])) for _ in range(rng.randint(0, 4))]
    xors = [(sorted({abs(x) for x in some(3)}), True)] if rng.random() < 0.3 else []
    n += rng.randint(0, 2)
    projection = rng.choice([None, sorted(rng.sample(range(1, n + 1), rng.randint(0, n)))])
    sampled = range(1, n + 1) if projection is None else projection
    values = [0.0, 1.0, 0.5, 0.1, 3.0, 1e-30, 1e30, 0.3, 0.3]
    weights = {sign * v: rng.choice(values) for v in sampled for sign in (-1, 1)}
    return {
        "num_variables": n,
        "clauses": clauses,
        "xors": xors,
        "projection": projection,
        "weights": {x: w for x, w in weights.items() if rng.random() < 0.7},
    }


def build(num_variables, clauses, xors=(), projection=None, weights=()):
    logs = {x: math.log(w) if w else -math.inf for x, w in dict(weights).items()}
    return cnf.from_clauses(
        clauses,
        num_variables=num_variables,
        xors=xors,
        projection=projection,
        log_weights=cnf.weight_table(logs, num_variables),
    )


@pytest.mark.parametrize("most_listed", [approxwmc.MOST_LISTED, -1])
@pytest.mark.parametrize("reduce", [support.reduce, support.unreduced])
def test_formulas_of_all_kinds(reduce, most_listed, monkeypatch):
    monkeypatch.setattr(approxwmc, "MOST_LISTED", most_listed)
    certain, zero = 0, 0
    for seed in range(14):
        problem = random_problem(random.Random(seed))
        formula = build(**problem)
        digest = formula.digest()
        result, info = approxwmc.count(formula, seed=seed, reduce=reduce, delta=0.01)
        truth = reference.count_models(**problem)
        assert (info.status, result.count, result.witness) == ("done", None, None)
        if truth == 0:
            assert (result.claim, result.log_upper) == (Claim.CERTAIN, -math.inf)
        else:
            # Seeds are fixed, so this cannot fail by chance.
            assert result.log_lower <= math.log(truth) <= result.log_upper
        certain += result.claim is Claim.CERTAIN
        zero += truth == 0
        if most_listed > 0 and result.claim is Claim.CERTAIN and truth:
            assert result.log_width < 1e-10
        assert formula.digest() == digest
    assert certain > zero > 1


def test_assumptions():
    formula = FORMULAS["gates"]
    whole = exhaustive.count(formula)[0].log_value
    parts = [approxwmc.count(formula, seed=0, assumptions=[x, 4])[0] for x in (3, -3)]
    parts += [approxwmc.count(formula, seed=0, assumptions=[-4])[0]]
    total = np.logaddexp.reduce([part.log_value for part in parts])
    assert abs(total - whole) < math.log(1.8)
    with pytest.raises(ValueError, match="expected assumptions among the variables 1..15"):
        approxwmc.count(formula, assumptions=[16])


def test_without_weights_it_counts_models():
    formula = cnf.from_clauses([[1, 2, 3], [-1, 4]], num_variables=7)
    result, info = approxwmc.count(formula)
    assert (result.claim, result.count, info.bits, info.message) == (Claim.CERTAIN, None, 0, "")
    assert result.log_value == pytest.approx(approxmc.count(formula)[0].log_value, abs=1e-12)
    free, _ = approxwmc.count(cnf.from_clauses([], num_variables=90))
    assert free.log_lower <= 90 * math.log(2) <= free.log_upper


def test_equal_seeds_give_equal_counts():
    formula = FORMULAS["projected"]
    values = [approxwmc.count(formula, seed=seed)[0].log_value for seed in (b"1", b"1", 2, 3)]
    assert values[0] == values[1] and len(set(values)) > 1


def test_bits_tilt_and_rounding_are_told():
    clauses = [[v, v + 1] for v in range(1, 30)]
    logs = np.tile(np.log([0.25, 0.75]), (30, 1))
    _, exact = approxwmc.count(cnf.from_clauses(clauses, log_weights=logs))
    assert exact.bits == 60 and exact.log2_tilt == pytest.approx(30 * math.log2(3))
    assert exact.log_error < 1e-11
    result, _ = approxwmc.count(cnf.from_clauses([[1, 2], [3, 4], [5, 6]], log_weights=2.1 * logs))
    # No more than all weight there is, and then that side cannot fail.
    most = 30 * np.logaddexp(*2.1 * logs[0])
    assert most < result.log_value + math.log(1.8)
    assert (result.log_upper, result.failure_upper) == (pytest.approx(most), 0.0)
    assert exact.message.startswith("60 bits for weights of tilt 2^47.55, rounded by at most ")
    _, rounded = approxwmc.count(cnf.from_clauses(clauses, log_weights=2 * logs))
    assert rounded.bits > 60 and rounded.log_error > 1e-3
    assert rounded.hashing.reduction.formula.log_weights is None


# ------------------------------------------------------------------------------------------------
# What is refused, and early ends.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0.0}, "expected epsilon > 0"),
        ({"delta": 1.0}, "expected delta in"),
        ({"epsilon": 1e-14}, "expected epsilon of at least .* for such weights"),
        ({"memory": 1}, "expected at least 32 MiB"),
        ({"memory": 100, "executor": futures.ThreadPoolExecutor()}, "executor or a limit on mem"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        approxwmc.count(FORMULAS["plain"], **options)


def test_a_reduction_has_to_keep_what_has_weights():
    formula = FORMULAS["gates"]
    reduced = support.reduce(formula.unweighted())
    with pytest.raises(ValueError, match="expected a reduction that keeps the variables"):
        approxwmc.count(formula, reduce=lambda *_, **__: reduced)
    kept = support.reduce(formula.unweighted(), keep=range(1, 16))
    result, _ = approxwmc.count(formula, reduce=lambda *_, **__: kept)
    assert result.log_lower <= truth_of("gates") <= result.log_upper


def large():
    return weighted(generators.random_ksat(5, 120, 120).clauses, 120, range(1, 121))


@pytest.mark.parametrize("timeout", [0.0, 0.02, 0.8])
def test_a_time_limit_leaves_what_holds(timeout):
    start = time.monotonic()
    result, info = approxwmc.count(large(), epsilon=0.05, timeout=timeout)
    assert time.monotonic() - start < timeout + 5
    assert info.status == "timeout" and result.claim in (Claim.CERTAIN, Claim.PROBABLE)
    assert result.log_lower < result.log_upper < math.inf


def test_a_stop_ends_it():
    begun = time.monotonic()
    result, info = approxwmc.count(large(), stop=lambda: time.monotonic() > begun + 0.3)
    assert info.status == "timeout" and result.log_upper < math.inf


def test_ctrl_c_ends_with_what_was_found():
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    result, info = approxwmc.count(large(), epsilon=0.05)
    signal.signal(signal.SIGALRM, before)
    assert info.status == "interrupted" and result.log_upper < math.inf


def test_a_limit_of_memory():
    result, info = approxwmc.count(FORMULAS["projected"], seed=2, memory=2000)
    same, _ = approxwmc.count(FORMULAS["projected"], seed=2)
    assert (info.status, result.log_value) == ("done", same.log_value)
    assert info.bits > 0 and isinstance(result, estimate.Estimate)
