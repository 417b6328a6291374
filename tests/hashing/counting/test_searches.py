import functools
import math
import signal

import numpy as np
import pytest

import reference
from hashing.counting import adaptive, searches, short_xor
from inference import limits, randomness
from inference.estimate import Claim
from inference.oracles import sat
from inference.problems import cnf, trivial
from inference.reduction import support

# Variable 9 is that of 1 and 2, and 10 to 40 are free.
CLAUSES = [[1, 2, -3], [-1, 4], [3, 5], [-2, -5, 6], [7, 8], [-9, 1], [-9, 2], [9, -1, -2]]
FORMULA = cnf.from_clauses(CLAUSES, num_variables=40)
COUNTERS = {
    "adaptive": functools.partial(adaptive.count, cutoff=2, repetitions=2),
    "short_xor": functools.partial(short_xor.count, trials=10),
}


def size(*assumptions):
    units = [[literal] for literal in assumptions]
    return reference.count_models(9, [*CLAUSES, *units]) << 31


@pytest.mark.parametrize("assumptions", [(), (-3,), (4, -9), (1, -1)])
@pytest.mark.parametrize("name", COUNTERS)
def test_free_variables_double_the_bound(name, assumptions):
    truth, hashed = size(*assumptions), []
    log_size = math.log(truth) if truth else -math.inf

    def open_session(formula):
        hashed.append(len(formula.sampling_set))
        return sat.SatSession(formula)

    options = {"seed": 1, "assumptions": assumptions, "open_session": open_session}
    for reduce, most in ((support.reduce, 9), (support.unreduced, 40)):
        result, info = COUNTERS[name](FORMULA, reduce=reduce, **options)
        assert info.status == "done"
        assert result.log_lower <= log_size <= result.log_upper
        assert hashed.pop() <= most
        if result.count is not None:
            assert (result.count, result.claim) == (truth, Claim.CERTAIN)


@pytest.mark.parametrize("name", COUNTERS)
def test_a_reduction_of_ones_own(name):
    reduction = support.reduce(FORMULA)
    given, _ = COUNTERS[name](FORMULA, seed=1, reduce=lambda *_, **__: reduction)
    assert given == COUNTERS[name](FORMULA, seed=1)[0]
    with pytest.raises(ValueError, match="expected assumptions or a reduction of one's own"):
        COUNTERS[name](FORMULA, assumptions=[1], reduce=lambda *_, **__: reduction)
    with pytest.raises(ValueError, match="expected assumptions among the variables 1..40, given"):
        COUNTERS[name](FORMULA, assumptions=[41])


@pytest.mark.parametrize("name", COUNTERS)
def test_seeds_of_any_kind(name, getkey):
    key = getkey()
    for seed in (7, np.int64(7), key, b"seven"):
        words = randomness.seed_words(seed)
        assert COUNTERS[name](FORMULA, seed=seed)[0] == COUNTERS[name](FORMULA, seed=words)[0]


@pytest.mark.parametrize("name", COUNTERS)
def test_ctrl_c_while_it_is_reduced(name):
    def reduce(*_, **__):
        signal.raise_signal(signal.SIGINT)

    result, info = COUNTERS[name](FORMULA, reduce=reduce)
    assert result == trivial.count(FORMULA)
    assert (info.status, info.oracle_calls) == ("interrupted", 0)


@pytest.mark.parametrize("name", COUNTERS)
def test_half_of_the_time_is_for_the_reduction(name):
    left = []

    def reduce(formula, *, deadline):
        left.append(deadline.left)
        return support.unreduced(formula)

    COUNTERS[name](FORMULA, timeout=100.0, reduce=reduce)
    assert 45.0 < left[0] <= 50.0


def test_how_attempts_end():
    def raising(error):
        raise error

    ends = [limits.OutOfTime(), KeyboardInterrupt(), MemoryError(), MemoryError("3 GiB")]
    ended = [searches.attempt(lambda error=error: raising(error)) for error in ends]
    assert [value for value, _ in ended] == [None] * 4
    assert [tuple(ending) for _, ending in ended] == [
        ("timeout", ""),
        ("interrupted", ""),
        ("failed", "out of memory"),
        ("failed", "out of memory: 3 GiB"),
    ]
    with pytest.raises(ZeroDivisionError):
        searches.attempt(lambda: 1 // 0)
