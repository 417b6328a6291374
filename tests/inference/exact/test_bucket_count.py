"""Counts by reduction and elimination against enumeration, and integers of any size."""

import itertools
import math
import random
from fractions import Fraction

import numpy as np
import pytest

from inference import estimate
from inference.exact import bucket_count, elimination, residues, true_counts
from inference.problems import cnf, generators
from inference.reduction import support
from tests import reference


def literal(rng, variable):
    return variable if rng.random() < 0.5 else -variable


def gates(rng, n):
    """Clauses of an and, an exclusive-or, an equivalence, or at most one of several."""
    a, b, c = (literal(rng, v) for v in rng.sample(range(1, n + 1), 3))
    group = [literal(rng, v) for v in rng.sample(range(1, n + 1), rng.randint(3, min(n, 8)))]
    return rng.choice(
        [
            [[-c, a], [-c, b], [c, -a, -b]],
            [[-a, -b, -c], [a, b, -c], [a, -b, c], [-a, b, c]],
            [[a, -c], [-a, c]],
            [[-x, -y] for x, y in itertools.combinations(group, 2)],
        ]
    )


def draw(seed):
    """A formula as lists: variables, clauses, XORs, projection or None, weights or None."""
    rng = random.Random(seed)
    n = rng.randint(0, 11)
    clauses, xors = [], []
    for _ in range(rng.randint(0, 2 * n)):
        size = min(n, rng.choice([1, 2, 2, 3, 3, 3, 4, 9]))
        drawn = [rng.randint(1, n) for _ in range(size)]
        some = drawn if rng.random() < 0.1 else rng.sample(range(1, n + 1), size)
        clauses.append([literal(rng, v) for v in some])
    for _ in range(rng.choice([0, 0, 1, 3]) if n >= 3 else 0):
        clauses += gates(rng, n)
    for _ in range(rng.choice([0, 0, 1, 3]) if n else 0):
        xors.append((rng.sample(range(1, n + 1), rng.randint(0, n)), rng.random() < 0.5))
    clauses += [[]] if rng.random() < 0.02 else []
    projection = None
    if rng.random() < 0.5:
        projection = sorted(rng.sample(range(1, n + 1), rng.randint(0, n)))
    weights = None
    if rng.random() < 0.4:
        weights = {}
        for v in range(1, n + 1) if projection is None else projection:
            values = [0, 1, 1, 2, 3, Fraction(1, 3), Fraction(1, 1000)]
            weights |= {-v: rng.choice(values), v: rng.choice(values)}
    return n, clauses, xors, projection, weights


def log(number):
    return math.log(number) if number else -math.inf


def check(seed):
    n, clauses, xors, projection, weights = draw(seed)
    table = None
    if weights is not None:
        table = cnf.weight_table({x: log(w) for x, w in weights.items()}, n)
    formula = cnf.from_clauses(
        clauses, num_variables=n, xors=xors, projection=projection, log_weights=table
    )
    true = reference.count_models(n, clauses, [(v, int(s)) for v, s in xors], projection, weights)
    reduce = support.unreduced if seed % 3 == 0 else support.reduce
    found, info = bucket_count.count(formula, reduce=reduce)
    assert (info.status, found.claim) == ("done", estimate.Claim.CERTAIN)
    if weights is None:
        assert found.count == true
    elif not true:
        assert found.log_upper == -math.inf
    else:
        ulp = 2 * math.ulp(math.log(true))  # of this logarithm
        assert found.log_lower - ulp <= math.log(true) <= found.log_upper + ulp
        assert found.log_width < 1e-11


@pytest.mark.parametrize("block", range(10))
def test_random_formulas_against_enumeration(block):
    for seed in range(40 * block, 40 * block + 40):
        check(seed)


@pytest.mark.slow
def test_fifty_thousand_random_formulas():
    for seed in range(50_000):
        check(seed)


@pytest.mark.parametrize("seed", range(60))
def test_cases_of_cut_variables_add_up(seed, monkeypatch):
    monkeypatch.setattr(residues, "BLOCK", 4)
    monkeypatch.setattr(bucket_count, "_octets", lambda plan: 1 + plan.peak_entries * 2**17)
    n, clauses, xors, projection, _ = draw(seed)
    formula = cnf.from_clauses(clauses, num_variables=n, xors=xors, projection=projection)
    true = reference.count_models(n, clauses, [(v, int(s)) for v, s in xors], projection)
    try:
        found, _ = bucket_count.count(formula, reduce=support.unreduced, tables=1)
    except elimination.TooWide:
        return
    assert found.count == true


def test_large_integers_and_many_primes():
    pairs = [[2 * i + 1, 2 * i + 2] for i in range(400)]  # 3^400
    links = [[-2 * i - 2, -2 * i - 3] for i in range(399)]
    found, info = bucket_count.count(cnf.from_clauses([*pairs, *links]), reduce=support.unreduced)
    before = (1, 1, 1)  # by the two variables of the last pair: 10, 01, 11
    for _ in range(399):
        first, second, both = before
        total = first + second + both
        before = first, total, first  # the second variable of a pair excludes the next first
    assert found.count == sum(before) and info.width <= 2


def test_domino_tilings():
    found, _ = bucket_count.count(generators.domino_tilings(8, 8))
    assert found.count == 12988816


def test_too_wide_is_refused_before_it_is_tried():
    formula = generators.random_ksat(1, 200, 200)
    with pytest.raises(elimination.TooWide, match="width"):
        bucket_count.count(formula, tables=1)


def test_no_time_leaves_what_holds_at_sight():
    found, info = bucket_count.count(cnf.from_clauses([[1, 2]]), timeout=0)
    assert info.status == "timeout" and found.log_upper == pytest.approx(2 * math.log(2))


@pytest.mark.parametrize("seed", range(120))
def test_each_variable_against_enumeration(seed):
    n, clauses, xors, projection, _ = draw(seed)
    sides = [(v, int(s)) for v, s in xors]
    formula = cnf.from_clauses(clauses, num_variables=n, xors=xors, projection=projection)
    each, info = true_counts.count_each(formula)
    assert info.status == "done"
    assert each.total == reference.count_models(n, clauses, sides, projection)
    for variable, true in zip(each.variables.tolist(), each.true, strict=True):
        given = [*clauses, [variable]]
        assert true == reference.count_models(n, given, sides, projection)


def independent_sets(node, size, held):
    """Of the binary tree below a node: those without it and those with it; ``held`` is in all."""
    if node > size:
        return 1, 0
    ways = [independent_sets(child, size, held) for child in (2 * node, 2 * node + 1)]
    without, having = math.prod(map(sum, ways)), math.prod(one for one, _ in ways)
    return (0 if node == held else without), having


@pytest.mark.parametrize("at_once", [1, 3, 32])
def test_each_of_large_counts_with_any_number_of_primes_at_once(at_once, monkeypatch):
    monkeypatch.setattr(bucket_count, "PRIMES_AT_ONCE", at_once)
    size = 127
    formula = cnf.from_clauses([[-node, -(node // 2)] for node in range(2, size + 1)])
    each, _ = true_counts.count_each(formula)
    assert each.total == sum(independent_sets(1, size, None)) > 2**80
    for variable, true in zip(each.variables.tolist(), each.true, strict=True):
        assert true == sum(independent_sets(1, size, variable))


def test_each_refuses_what_it_cannot_answer():
    formula = cnf.from_clauses([[1, 2, 3]], projection=[1, 2])
    with pytest.raises(ValueError, match="sampling set, given 3"):
        true_counts.count_each(formula, variables=np.array([3]))
    weighted = cnf.from_clauses([[1]], log_weights=np.zeros((1, 2)))
    with pytest.raises(ValueError, match="no weights"):
        true_counts.count_each(weighted)
    each, info = true_counts.count_each(formula, timeout=0)
    assert (info.status, each.true, each.total) == ("timeout", (), None)


def test_primes_and_remainders():
    primes = residues.largest_primes(40).astype(int).tolist()
    assert primes == sorted(set(primes), reverse=True) and primes[0] < 2**26
    assert all(p % d for p in primes for d in range(2, 8193))
    number = 3**500
    assert residues.num_primes(500 * math.log2(3)) <= 40
    assert residues.chinese_remainder([number % p for p in primes], primes) == number
