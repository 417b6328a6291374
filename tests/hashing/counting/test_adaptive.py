import functools
import itertools
import math
import signal
import time

import degenerate
import enumerated
import numpy as np
import pytest
from scipy import stats

from hashing.counting import adaptive
from hashing.parity import row_laws
from inference import answer, estimate, limits, randomness
from inference.estimate import Claim
from inference.problems import cnf, generators
from inference.reduction import support

# As it is: what is free would be counted without hashing.
count = functools.partial(adaptive.count, reduce=support.unreduced)
BASELINE = {"repetitions": 1, "draw_rows": row_laws.biregular}
LAWS = {
    "baseline": BASELINE,
    "averaged": {"draw_rows": row_laws.biregular},
    "adaptive": {},
    "two ones": {"draw_rows": functools.partial(row_laws.adaptive, degree=2.0)},
    "dense": {"draw_rows": row_laws.dense},
}
RNG = np.random.default_rng(5)


def cube(num_free, num_frozen):
    """All assignments whose last variables are 0: bool [2^free, free + frozen]."""
    free = np.array(list(itertools.product([False, True], repeat=num_free)))
    return np.hstack([free, np.zeros((len(free), num_frozen), dtype=bool)])


SETS = {
    "random": np.unique(RNG.integers(2, size=(700, 12)).astype(bool), axis=0),
    "cube": cube(8, 4),
    "three quarters": cube(10, 0)[: 3 << 8],
    "sparse": cube(12, 0)[cube(12, 0).sum(axis=1) < 4],
}


def unconstrained(num_variables):
    """What the lists of models pretend to be models of."""
    return cnf.from_clauses([], num_variables=num_variables)


def count_many(models, seeds, **options):
    formula = unconstrained(models.shape[1])
    options["open_session"] = lambda _: enumerated.EnumeratedSession(models)
    return [count(formula, seed=seed, **options) for seed in seeds]


def open_search(models, seed=0, cutoff=4, repetitions=10, law=row_laws.adaptive, delta=0.05):
    """A search without a time limit, ready for trials."""
    formula = unconstrained(models.shape[1])
    search = adaptive._Levels(
        formula,
        seed=randomness.seed_words(seed),
        progress=lambda _: None,
        delta=delta,
        cutoff=cutoff,
        repetitions=repetitions,
        draw_rows=law,
        open_session=lambda _: enumerated.EnumeratedSession(models),
    )
    search._deadline = limits.NEVER
    return search


def cell_sizes(search, level, draws):
    """Sizes of single cells, whose models the search learns from up to the fourth."""
    search._repetitions, search._cutoff = 1, 2**20
    return np.array([search._trial(level, 4) for _ in range(draws)])


def averages(search, level, draws):
    return np.array([search._trial(level, search._cutoff) for _ in range(draws)])


def check_valid(results, size, delta):
    """Bounds above the true count do not refute their failure probability."""
    wrong = sum(result.log_lower > math.log(size) for result, _ in results)
    assert stats.binom.sf(wrong - 1, len(results), delta) > 1e-3
    assert all(result.failure_lower in (0.0, delta) for result, _ in results)


# ------------------------------------------------------------------------------------------------
# The rows.


@pytest.mark.parametrize("degree", [0.7, 1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("num_rows", [9, 10, 39, 40])
def test_ones_are_spread_evenly(degree, num_rows):
    rows = row_laws.biregular(np.random.default_rng(1), num_rows, np.zeros(40), degree)
    assert rows.dtype == bool and rows.shape == (num_rows, 40)
    assert rows.sum() == round(40 * degree)
    assert np.ptp(rows.sum(axis=0)) <= (degree != round(degree))
    assert np.ptp(rows.sum(axis=1)) <= 1 + (degree != round(degree))


def test_each_row_gets_one_column_of_each_block():
    frequencies = np.abs(np.linspace(-0.5, 0.5, 41))[:40]  # all different distances from 1/2
    best_first = np.argsort(np.abs(frequencies - 0.5))
    rows = row_laws.adaptive(np.random.default_rng(2), 10, frequencies)
    for block in best_first.reshape(4, 10):
        assert (rows[:, block].sum(axis=1) == 1).all()


def test_few_rows_are_dense():
    rows = row_laws.adaptive(np.random.default_rng(3), 2, np.full(10000, 0.5))
    assert abs(rows.mean() - 0.5) < 0.02
    rows = row_laws.adaptive(np.random.default_rng(3), 3, np.full(10000, 0.5))
    assert rows.sum() == 10000


def test_no_columns():
    assert row_laws.adaptive(np.random.default_rng(0), 3, np.zeros(0)).shape == (3, 0)


# ------------------------------------------------------------------------------------------------
# The gains of the paper.


class HalfFrozen:
    """2^20 models: 20 variables free, 20 zero. A cell is an affine space, so it needs no list."""

    ended = False

    def __init__(self, queries=10**9):
        self.calls, self.left = 0, queries  # then it takes Ctrl-C
        self._rows, self._rhs = np.zeros((0, 20), dtype=bool), np.zeros(0, dtype=bool)

    def close(self):
        pass

    def add_parities(self, rows, rhs):
        self._rows, self._rhs = rows[:, :20], rhs
        return []

    def enumerate(self, limit, *, assumptions=(), deadline=limits.NEVER):
        """The size by elimination, and uniform assignments in place of the models."""
        self.calls += 1
        if self.calls > self.left:
            raise KeyboardInterrupt
        size = min(self._size(), limit)
        some = np.zeros((size, 40), dtype=bool)
        some[:, :20] = np.random.default_rng(self.calls).integers(2, size=(size, 20))
        return found(answer.Status.FEASIBLE, some)

    def _size(self):
        augmented = np.hstack([self._rows, self._rhs[:, None]]).astype(np.uint8)
        rank = 0
        for column in range(20):
            pivots = rank + np.flatnonzero(augmented[rank:, column])
            if pivots.size:
                augmented[[rank, pivots[0]]] = augmented[[pivots[0], rank]]
                others = np.flatnonzero(augmented[:, column])
                augmented[others[others != rank]] ^= augmented[rank]
                rank += 1
        return 0 if augmented[rank:, 20].any() else 2 ** (20 - rank)


def found(status, models):
    return answer.Answer(status, len(models), assignments=models)


def test_rows_that_avoid_frozen_variables_have_no_variance():
    plain = open_search(cube(1, 39), law=row_laws.biregular)
    adapted = open_search(cube(1, 39))
    for search in (plain, adapted):
        search._session, search._open = HalfFrozen(), HalfFrozen
        cell_sizes(search, 8, 13)  # 52 models
    assert set(cell_sizes(adapted, 10, 300)) == {2**10}
    sizes = cell_sizes(plain, 10, 300)
    assert sizes.var() > 2**16
    assert sizes.mean() == pytest.approx(2**10, rel=4 * sizes.std() / 2**10 / math.sqrt(300))


def test_models_found_steer_later_rows():
    search = open_search(cube(8, 8))
    assert (search._frequencies() == 0.5).all()
    cell_sizes(search, 6, 40)
    frequencies = search._frequencies()
    assert (frequencies[8:] == 0).all() and (frequencies[:8] > 0.2).all()
    assert set(cell_sizes(search, 8, 50)) == {1}


def test_the_mean_of_ten_cells_has_a_tenth_of_the_variance():
    models = cube(8, 0)[RNG.permutation(256)[:64]]
    single, averaged = (
        open_search(models, cutoff=1000, repetitions=n, law=row_laws.biregular) for n in (1, 10)
    )
    variances = [np.var(averages(search, 4, 1000), ddof=1) for search in (single, averaged)]
    ratio = variances[0] / variances[1] / 10
    assert 1e-3 < stats.f.cdf(ratio, 999, 999) < 1 - 1e-3


@pytest.mark.parametrize("at_first", [4, 13, 39])
def test_the_average_does_not_depend_on_which_models_are_found_first(at_first):
    first, second = (open_search(SETS["random"], law=row_laws.biregular) for _ in range(2))
    for level in (5, 6, 7, 8, 9):
        average = first._trial(level, at_first)
        assert average == second._trial(level, 40)
        assert average == 4 if level < 7 else 0 < average <= 4


def test_a_large_cell_makes_up_for_empty_ones():
    # Every parity is over frozen variables, so one cell of a level in 2^level holds everything.
    def frozen_rows(generator, num_rows, frequencies):
        return np.eye(num_rows, 16, k=8, dtype=bool)

    search = open_search(cube(8, 8), law=frozen_rows)
    means = averages(search, 3, 200)
    # A cell counts up to s K = 40 models and the mean up to s = 4: one full cell fills the trial.
    assert set(means) == {0.0, 4.0}
    assert np.mean(means == 4.0) == pytest.approx(1 - (7 / 8) ** 10, abs=0.1)


def test_averaging_and_adapting_raise_the_bound():
    bits = {
        name: np.median(
            [
                count(
                    unconstrained(40), seed=seed, open_session=lambda _: HalfFrozen(), **LAWS[name]
                )[0].log_lower
                / math.log(2)
                for seed in range(9)
            ]
        )
        for name in ("baseline", "averaged", "adaptive")
    }
    assert bits["baseline"] < bits["averaged"] < bits["adaptive"] <= 20
    assert bits["adaptive"] >= 18


# ------------------------------------------------------------------------------------------------
# The test of a level.


def test_number_of_trials():
    # k = 12: levels 11, 10, 8, 4 and one statement for an early end.
    assert adaptive.num_tests(12) == 5
    assert adaptive.num_trials(12, 0.05) == math.ceil(8 * math.log(5 / 0.05)) == 37


@pytest.mark.parametrize("num_columns", [1, 2, 3, 8, 9, 64, 1000])
def test_the_levels_tested_are_at_most_so_many(num_columns):
    for start in range(1, num_columns):
        level, step, tested = start, 1, 0
        while level > 0:
            level, step, tested = level - step, 2 * step, tested + 1
        assert tested <= adaptive.num_tests(num_columns) - 1


def test_a_bet_on_a_false_statement_gains_nothing():
    for mean in (0.0, 0.1, 0.25):
        for low, high in ((0.0, 1.0), (0.0, 0.5), (mean, mean)):
            chance = (mean - low) / (high - low) if high > low else 0.0
            gain = chance * math.exp(adaptive.log_bet(high))
            gain += (1 - chance) * math.exp(adaptive.log_bet(low))
            assert gain <= 1 + 1e-12


def test_what_passes_the_papers_test_passes():
    for _ in range(500):
        trials = adaptive.num_trials(30, 0.05)
        averages = RNG.beta(*RNG.uniform(0.05, 2, size=2), size=trials)
        wealth = sum(map(adaptive.log_bet, averages))
        if averages.sum() >= trials / 2:
            assert wealth >= math.log(adaptive.num_tests(30) / 0.05)


def test_a_false_level_passes_seldom():
    # With s = K = 1 level 4 states |S| >= 4. A cell holds some of 3 models with probability 3/16.
    def first_four(generator, num_rows, frequencies):
        return np.eye(num_rows, 20, dtype=bool)

    delta, runs = 0.9, 1500
    passed = 0
    for seed in range(runs):
        search = open_search(cube(4, 16)[:3], seed, 1, 1, first_four, delta)
        passed += search._passes(4)
    allowed = delta / adaptive.num_tests(20)
    assert stats.binom.sf(passed - 1, runs, allowed) > 1e-3
    assert passed > 0


# ------------------------------------------------------------------------------------------------
# Counts.


@pytest.mark.parametrize("name", SETS)
def test_validity(name):
    results = count_many(SETS[name], range(100), delta=0.05)
    check_valid(results, len(SETS[name]), 0.05)
    assert sum(result.claim is Claim.PROBABLE for result, _ in results) > 90
    size = math.log(len(SETS[name]))
    assert np.median([result.log_lower for result, _ in results]) > size - math.log(16)


@pytest.mark.parametrize("law", LAWS)
def test_validity_of_other_laws(law):
    results = count_many(SETS["random"], range(20), **LAWS[law])
    check_valid(results, len(SETS["random"]), 0.05)
    assert any(info.level for _, info in results)


def test_mutant_level_off_by_one_is_caught(monkeypatch):
    honest = adaptive._Levels._passes

    def failing_level(self, level):
        passed = honest(self, level)
        self.passed += passed
        return passed

    models = cube(10, 0)[:480]  # just below a power of two
    check_valid(count_many(models, range(60)), len(models), 0.05)
    monkeypatch.setattr(adaptive._Levels, "_passes", failing_level)
    with pytest.raises(AssertionError):
        check_valid(count_many(models, range(60)), len(models), 0.05)


def test_what_is_claimed():
    models = SETS["random"]
    for result, info in count_many(models, range(5), delta=0.1):
        assert info.status == "done" and info.trials > 0 and info.oracle_calls > 0
        bound = math.log(4) + (info.level - 2) * math.log(2)
        assert result.log_lower == pytest.approx(bound, rel=1e-12)
        assert (result.failure_lower, result.failure_upper) == (0.1, 0.0)
        assert 12 * math.log(2) < result.log_upper < 12.001 * math.log(2)
        assert result.log_lower <= result.log_value <= result.log_upper


@pytest.mark.parametrize("law", ["baseline", "adaptive", "two ones"])
def test_with_the_solver(law):
    formula = generators.random_ksat(1, 60, 80)
    projected = cnf.from_clauses(formula.clauses, projection=range(1, 31), num_variables=60)
    for one in (formula, projected):
        first, info = count(one, seed=3, **LAWS[law])
        again, _ = count(one, seed=3, **LAWS[law])
        assert first.log_lower == again.log_lower > 8
        assert info.status == "done"


def test_small_counts_are_exact_and_certain():
    for num_models in (0, 1, 2, 39, 40):
        (result, info), *_ = count_many(SETS["random"][:num_models], [1])
        assert (result.count, result.claim, info.level) == (num_models, Claim.CERTAIN, 0)
    (result, _), *_ = count_many(SETS["random"][:41], [1])
    assert result.count is None


@pytest.mark.parametrize("law", ["baseline", "adaptive"])
def test_degenerate_formulas(law):
    for formula, expected in degenerate.FORMULAS:
        result, _ = count(formula, seed=0, **LAWS[law])
        assert (result.count, result.claim) == (expected, Claim.CERTAIN)


def test_all_assignments_are_models():
    # The level can be k - 1 at most: the bound is 2^(k - 1) with s = 4.
    for num_variables in (3, 6, 7, 70):
        result, info = count(unconstrained(num_variables), seed=0, **BASELINE)
        assert info.level < num_variables
        assert result.log_lower <= num_variables * math.log(2)
        if result.count is None:
            assert result.log_lower >= (num_variables - 4) * math.log(2)


def test_large_cutoffs_do_not_cross_the_upper_bound():
    for cutoff in (1, 3, 64, 200):
        for seed in range(5):
            result, _ = count(unconstrained(9), seed=seed, cutoff=cutoff, repetitions=1, delta=0.9)
            assert result.log_lower <= result.log_value <= result.log_upper


def test_equal_keys_give_equal_bounds(getkey):
    key = getkey()
    (first, _), (again, _) = count_many(SETS["random"], [key, key])
    assert first == again
    values = {result.log_value for result, _ in count_many(SETS["random"], range(5))}
    assert len(values) > 1


def test_arguments_are_checked():
    weighted = cnf.from_clauses([[1]], log_weights=np.zeros((1, 2)))
    with pytest.raises(ValueError, match="expected no weights"):
        count(weighted, seed=0)
    for options in ({"cutoff": 0}, {"repetitions": 0}):
        with pytest.raises(ValueError, match="of at least 1"):
            count(unconstrained(3), seed=0, **options)
    for delta in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="expected delta"):
            count(unconstrained(3), seed=0, delta=delta)


def test_progress_names_trial_and_level():
    seen = []
    count_many(SETS["random"], [0], progress=seen.append)
    assert seen[:2] == ["preprocessing", "all models, no parities"]
    assert seen[2:4] == ["trial 1, 1 parities", "trial 2, 2 parities"]


# ------------------------------------------------------------------------------------------------
# Early ends.


def test_claims_hold_at_random_stopping_times():
    rng, results, early = np.random.default_rng(0), [], 0
    for seed in range(150):
        session = HalfFrozen(int(rng.integers(0, 150)))
        results.append(
            count(unconstrained(40), seed=seed, delta=0.3, open_session=lambda _: session)
        )
        (result, info) = results[-1]
        assert info.status == ("done" if session.calls <= session.left else "interrupted")
        early += result.claim is Claim.PROBABLE and info.level == 0
    check_valid(results, 2**20, 0.3)
    assert early > 20


def test_the_bound_of_an_early_end():
    # E[average] 2^m <= |S| at each of the trials: Markov with delta / tests / (t (t + 1)).
    search = open_search(cube(20, 0)[:1], delta=0.3)
    search._all_models = found(answer.Status.FEASIBLE, np.zeros((41, 20)))
    search.trials, search._repetitions = 5, 1
    search._models = lambda rows, rhs, limit, deadline: np.zeros((3, 20), dtype=bool)
    search._trial(17, 4)
    bound = 3 * 2**17 * 0.3 / adaptive.num_tests(20) / (6 * 7)
    claim = search.claim()
    assert claim.log_lower == pytest.approx(math.log(bound))
    assert claim.failure_lower == 0.3


def test_a_time_limit_with_the_solver():
    formula = generators.random_ksat(5, 300, 900)
    start = time.monotonic()
    result, info = count(formula, seed=1, timeout=0.5, draw_rows=row_laws.dense)
    assert time.monotonic() - start < 5
    assert info.status in ("timeout", "done")
    assert 0 < result.log_lower < result.log_upper <= 300.001 * math.log(2)


def test_no_time_at_all():
    result, info = count(unconstrained(50), seed=1, timeout=0.0)
    assert info.status == "timeout"
    assert (result.log_lower, result.claim) == (-math.inf, Claim.CERTAIN)


def test_ctrl_c_ends_with_what_was_found():
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    formula = generators.random_ksat(5, 300, 900)
    result, info = count(formula, seed=1, draw_rows=row_laws.dense)
    signal.signal(signal.SIGALRM, before)
    assert info.status == "interrupted"
    assert result.log_lower > -math.inf
    assert isinstance(result, estimate.Estimate)


def test_levels_of_too_many_bits_are_left_alone(monkeypatch):
    formula = cnf.from_clauses([], num_variables=40)
    whole, _ = count(formula, seed=1)
    monkeypatch.setattr(adaptive, "MOST_BITS", 40 * 10)
    bounded, info = count(formula, seed=1)
    assert info.status == "done" and 0 < info.level < 10
    assert bounded.log_lower < whole.log_lower <= 40 * math.log(2)
