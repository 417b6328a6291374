import functools
import math

import enumerated
import numpy as np
import pytest
from scipy import stats

import reference
from hashing.counting import approxmc, guarantee, products
from inference import answer, limits
from inference.estimate import Claim
from inference.exact import exhaustive
from inference.oracles import sat
from inference.problems import cnf, generators
from inference.reduction import components, support

NEVER = lambda formula, deadline: None  # noqa: E731
# Connected, of some thousand models each.
PIECES = [
    cnf.from_clauses([i, -i - 1, i + 2] for i in range(1, 16)),
    cnf.from_clauses([i, i + 1, i + 2, i + 3] for i in range(1, 13)),
]


def beside(*formulas):
    """One formula of several that share no variable."""
    clauses, xors, sampled, n = [], [], [], 0
    for one in formulas:
        clauses += [[x + n if x > 0 else x - n for x in c] for c in one.clauses.tolist()]
        pairs = zip(one.xors.tolist(), one.xor_rhs.tolist())
        xors += [([v + n for v in vs], side) for vs, side in pairs]
        sampled += (one.sampling_set + n).tolist()
        n += one.num_variables
    return cnf.from_clauses(clauses, num_variables=n, xors=xors, projection=sampled)


def size(formula):
    models = listed().get(formula.digest())
    if models is not None:
        return len(models)
    pairs = list(zip(formula.xors.tolist(), formula.xor_rhs.tolist()))
    sampled = formula.sampling_set.tolist()
    return reference.count_models(formula.num_variables, formula.clauses.tolist(), pairs, sampled)


@functools.cache
def listed():
    """The models of the pieces, by digest."""
    return {one.digest(): exhaustive.models(one) for one in PIECES}


def by_list(formula):
    """A session over the models of a piece, without a solver; with one for other formulas."""
    models = listed().get(formula.digest())
    return sat.SatSession(formula) if models is None else enumerated.EnumeratedSession(models)


# ------------------------------------------------------------------------------------------------
# Parts.


def test_equal_parts_are_one_factor():
    pair, other = cnf.from_clauses([[1, 2], [-1, 3]]), cnf.from_clauses([[-1, 3], [2, 1]])
    odd = cnf.from_clauses([[1, 2]], xors=[([2, 1], True)])
    even = cnf.from_clauses([[1, 2]], xors=[([1, 2], False)])
    kept = cnf.from_clauses([[1, 2], [-1, 3]], projection=[1, 2])
    whole = beside(pair, other, odd, even, kept, pair)
    found = products.factors(components.split(whole))
    times = sorted(factor.times for factor in found)
    assert times == [1, 1, 1, 3]
    sizes = [len(factor.formula.sampling_set) for factor in found]
    assert sizes == sorted(sizes)
    assert math.prod(size(factor.formula) ** factor.times for factor in found) == size(whole)


@pytest.mark.parametrize("epsilon, delta", [(0.8, 0.2), (6.0, 0.01), (0.05, 0.5)])
def test_shares_multiply_and_add_up(epsilon, delta):
    hashed = [products.Factor(generators.random_ksat(0, n, 9), t) for n, t in [(30, 2), (200, 1)]]
    given = products.shares(hashed, epsilon, delta)
    factor = math.prod((1 + e) ** one.times for one, (e, _) in zip(hashed, given))
    assert factor == pytest.approx(1 + epsilon, rel=1e-12)
    assert sum(d for _, d in given) == pytest.approx(delta, rel=1e-12)
    assert products.shares(hashed[1:], epsilon, delta) == [(epsilon, delta)]


def test_the_whole_is_one_part():
    (part,) = products.whole(PIECES[0])
    assert part.formula is PIECES[0] and part.variables.tolist() == list(range(1, 18))


def test_what_is_cheap_is_counted_exactly():
    for formula in [PIECES[0], cnf.from_clauses([], num_variables=90), cnf.from_clauses([[]])]:
        number = products.exactly(formula, limits.NEVER)
        assert number == (size(formula) if formula.num_variables < 90 else 2**90)
    assert products.exactly(generators.chain(90), limits.NEVER) == generators.chain_count(90)
    assert products.exactly(generators.random_ksat(0, 200, 400), limits.NEVER) is None  # wide
    with pytest.raises(limits.OutOfTime):
        products.exactly(PIECES[0], limits.Deadline.after(0.0))


# ------------------------------------------------------------------------------------------------
# Counts.


@pytest.mark.parametrize("seed", range(30))
def test_exact_products_agree_with_enumeration(seed):
    rng = np.random.default_rng(seed)
    pieces = []
    for _ in range(int(rng.integers(2, 5))):
        literals = rng.integers(1, 5, (4, 2)) * rng.choice([-1, 1], (4, 2))
        projection = sorted({int(v) for v in rng.integers(1, 5, 3)}) if rng.random() < 0.5 else None
        xors = [([1, 3], True)] if rng.random() < 0.5 else []
        pieces.append(cnf.from_clauses(literals, num_variables=4, xors=xors, projection=projection))
    formula = beside(*pieces)
    for reduce in (support.reduce, support.unreduced):
        result, info = approxmc.count(formula, seed=seed, reduce=reduce)
        assert (result.claim, info.status) == (Claim.CERTAIN, "done")
        assert result.count == math.prod(map(size, pieces))


def test_many_equal_pairs_are_a_product():
    formula = cnf.from_clauses([[2 * i + 1, 2 * i + 2] for i in range(300)])
    result, info = approxmc.count(formula, reduce=support.unreduced)
    assert (result.count, result.witness, info.rounds) == (3**300, None, ())


def test_a_part_without_models_makes_the_count_zero():
    formula = beside(*PIECES, cnf.from_clauses([[1, 2], [1, -2], [-1, 2], [-1, -2]]))
    for exact in (products.exactly, NEVER):
        result, info = approxmc.count(formula, reduce=support.unreduced, exact=exact)
        assert (result.count, result.claim, info.status) == (0, Claim.CERTAIN, "done")


def test_one_hashed_part_has_all_of_epsilon_and_delta():
    large, small = generators.random_ksat(5, 40, 50), cnf.from_clauses([[1, 2, 3]])
    alone, how = approxmc.count(large, seed=3, reduce=support.unreduced)
    both, info = approxmc.count(beside(large, small), seed=3, reduce=support.unreduced)
    assert both.log_value == pytest.approx(alone.log_value + math.log(7))
    assert both.log_width == pytest.approx(alone.log_width)
    assert (both.failure_lower, both.failure_upper) == (alone.failure_lower, alone.failure_upper)
    assert both.witness is None
    assert [r.num_hashes for r in info.rounds] == [r.num_hashes for r in how.rounds]


def test_a_part_of_few_models_is_listed():
    fixed = cnf.from_clauses([[1, 2], *([-i, i + 1] for i in range(2, 19)), [-19, 1]])
    large = generators.random_ksat(5, 40, 50)
    _, info = approxmc.count(beside(large, fixed), exact=NEVER, reduce=support.unreduced)
    assert len(info.rounds) == 3  # all of them of the large one


def test_the_whole_has_a_witness_and_a_checkpoint_hashes_the_whole(tmp_path):
    formula = beside(*PIECES)
    result, _ = approxmc.count(formula, seed=1, split=products.whole, exact=NEVER)
    kept, _ = approxmc.count(formula, seed=1, checkpoint=tmp_path / "file", exact=NEVER)
    assert kept.log_value == result.log_value
    assert len(result.witness.rounds) == len(kept.witness.rounds) == 3


def hashed(formula, seed, epsilon=0.8, **options):
    """All parts are hashed."""
    options = {"reduce": support.unreduced, "exact": NEVER, "open_session": by_list} | options
    return approxmc.count(formula, seed=seed, epsilon=epsilon, **options)


@pytest.mark.parametrize(
    "epsilon, runs", [(0.8, 20), (6.0, 30), pytest.param(0.8, 400, marks=pytest.mark.slow)]
)
def test_coverage_of_two_hashed_parts(epsilon, runs):
    truth = math.log(math.prod(map(size, PIECES)))
    results = [hashed(beside(*PIECES), seed, epsilon) for seed in range(runs)]
    for result, info in results:
        assert result.failure_lower + result.failure_upper <= 0.2 * (1 + 1e-12)
        assert result.log_width <= 2 * math.log1p(epsilon) * (1 + 1e-12)
        levels = [one.num_hashes for one in info.rounds]
        assert (result.claim, info.status) == (Claim.PROBABLE, "done") and min(levels) > 0
    below = sum(result.log_lower > truth for result, _ in results)
    above = sum(result.log_upper < truth for result, _ in results)
    failure_lower, failure_upper = results[0][0].failure_lower, results[0][0].failure_upper
    assert stats.binom.sf(below - 1, runs, failure_lower) > 1e-3
    assert stats.binom.sf(above - 1, runs, failure_upper) > 1e-3
    assert len({result.log_value for result, _ in results}) > 10


def test_each_round_is_drawn_for_its_part():
    twice = beside(PIECES[0], PIECES[0])
    result, info = hashed(twice, 0)
    alone, how = hashed(PIECES[0], 0, math.sqrt(1.8) - 1)
    assert result.log_value == pytest.approx(2 * alone.log_value)  # counted once
    assert result.failure_lower == alone.failure_lower
    assert len(info.rounds) == len(how.rounds)


def test_parts_with_too_small_shares_are_hashed_together(monkeypatch):
    formula = beside(*PIECES, PIECES[0])
    monkeypatch.setattr(products, "MOST_MODELS", 1000)
    result, info = hashed(formula, 1)
    together, _ = approxmc.count(
        beside(PIECES[1], PIECES[0], PIECES[0]),
        seed=1,
        split=products.whole,
        reduce=support.unreduced,
    )
    assert result.log_value == pytest.approx(together.log_value)
    assert result.log_width == pytest.approx(together.log_width)
    assert len(info.rounds) == guarantee.plan(0.8, 0.2).rounds
    monkeypatch.setattr(products, "MOST_MODELS", 100_000)
    _, info = hashed(formula, 1)
    assert len(info.rounds) == 18


def test_equal_seeds_give_equal_counts_also_in_a_child():
    formula = beside(*PIECES)
    here, info = approxmc.count(formula, seed=5, reduce=support.unreduced, epsilon=6.0)
    child, how = approxmc.count(formula, seed=5, reduce=support.unreduced, epsilon=6.0, memory=2000)
    assert here == child and info.oracle_calls == how.oracle_calls


# ------------------------------------------------------------------------------------------------
# Early ends.


def stopping_after(queries):
    """Opens sessions that find the deadline passed after so many queries, those of all together."""
    left = [queries]

    def open_session(formula):
        session = by_list(formula)
        honest = session.enumerate

        def enumerate_until(limit, **options):
            left[0] -= 1
            if left[0] >= 0:
                return honest(limit, **options)
            found = honest(limit // 2, **options)
            unknown = answer.Status.UNKNOWN
            return answer.Answer(unknown, found.value, assignments=found.assignments)

        session.enumerate = enumerate_until
        return session

    return open_session


def test_claims_hold_at_random_stopping_times():
    truth, rng = math.log(math.prod(map(size, PIECES))), np.random.default_rng(0)
    formula, stopped, below, above, runs = beside(*PIECES), 0, 0, 0, 30
    for seed in range(runs):
        queries = int(rng.integers(0, 50))
        result, info = hashed(formula, seed, open_session=stopping_after(queries))
        assert result.claim in (Claim.CERTAIN, Claim.PROBABLE)
        assert math.isfinite(result.log_upper)
        stopped += info.status == "timeout"
        below, above = below + (result.log_lower > truth), above + (result.log_upper < truth)
    assert stopped > runs / 3
    assert stats.binom.sf(max(below, above) - 1, runs, 0.2) > 1e-3


def test_finished_parts_keep_their_claim():
    session = stopping_after(35)
    result, info = hashed(beside(*PIECES), 0, open_session=session)
    truth = [math.log(size(one)) for one in PIECES]
    assert info.status == "timeout"
    assert truth[1] - 1 < result.log_lower <= sum(truth) <= result.log_upper
    none, info = hashed(beside(*PIECES), 0, timeout=0.0)
    assert (none.log_lower, none.claim, info.status) == (-math.inf, Claim.CERTAIN, "timeout")
    assert none.log_upper == pytest.approx(32 * math.log(2))
    known, _ = hashed(beside(*PIECES), 0, open_session=stopping_after(1))
    assert (known.log_lower, known.claim) == (0.0, Claim.CERTAIN)  # there is a model


def test_ctrl_c_keeps_what_is_known():
    asked = [0]

    def stop_at(number):
        def open_session(formula):
            asked[0] += 1
            if asked[0] == number:
                raise KeyboardInterrupt
            return sat.SatSession(formula)

        return open_session

    ends = set()
    for number in range(1, 12):
        asked[0] = 0
        result, info = hashed(beside(*PIECES), 0, open_session=stop_at(number))
        ends.add(info.status)
        assert result.log_lower <= math.log(math.prod(map(size, PIECES))) <= result.log_upper
    assert ends == {"interrupted"}
