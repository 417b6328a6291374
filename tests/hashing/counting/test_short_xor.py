import functools
import itertools
import math
import signal
import time
import tracemalloc

import degenerate
import enumerated
import numpy as np
import pytest
from scipy import stats

from hashing.counting import short_xor
from hashing.parity import draws
from inference import answer, limits
from inference.estimate import Claim
from inference.oracles import sat
from inference.problems import cnf, generators, parity_rows
from inference.reduction import support

# As it is: what is free would be counted without hashing.
count = functools.partial(short_xor.count, reduce=support.unreduced)
ALL = np.array(list(itertools.product([False, True], repeat=12)))
RNG = np.random.default_rng(3)


def spread(kind, log2_size):
    """A set of 2^log2_size of the 12-bit points: a subcube, a Hamming ball or random ones."""
    order = {
        "cube": np.arange(len(ALL)),
        "ball": np.argsort(ALL.sum(axis=1), kind="stable"),
        "random": RNG.permutation(len(ALL)),
    }[kind]
    return ALL[order[: 2**log2_size]]


def unconstrained(num_variables):
    """What the lists of models pretend to be models of."""
    return cnf.from_clauses([], num_variables=num_variables)


def count_many(models, seeds, **options):
    options["open_session"] = lambda _: enumerated.EnumeratedSession(models)
    return [count(unconstrained(12), seed=seed, **options) for seed in seeds]


def check_valid(results, size, delta):
    """Neither side is wrong more often than it may be, nor both together."""
    below = sum(result.log_lower > math.log(size) for result, _ in results)
    above = sum(result.log_upper < math.log(size) for result, _ in results)
    for wrong, failure in ((below, delta / 2), (above, delta / 2), (below + above, delta)):
        assert stats.binom.sf(wrong - 1, len(results), failure) > 1e-3


# ------------------------------------------------------------------------------------------------
# The least probability z(q) that a cell of the worst set of q points is filled.

CASES = [(6, 3, 0.10), (6, 4, 0.20), (8, 4, 0.10), (8, 5, 0.15)]
LEAST = [0.211, 0.238, 0.166, 0.175]
SEEN = [(0.375, 0.617, 0.561), (0.494, 0.843, 0.681), (0.348, 0.517, 0.499), (0.404, 0.649, 0.586)]


def least_probability(n, m, q, f):
    """z(q) as the definition says, shell by shell with the last in part."""
    neighbours, total = q - 1, 0.0
    for w in range(1, n + 1):
        inside = min(neighbours, math.comb(n, w))
        total += inside * ((1 + (1 - 2 * f) ** w) / 2) ** m
        neighbours -= inside
    mu = q / 2**m
    variance = mu * (1 + total - mu)
    return mu**2 / (mu**2 + variance)


@pytest.mark.parametrize("case, least", list(zip(CASES, LEAST)))
def test_the_table_of_least_probabilities(case, least):
    log2_size, m, f = case
    z = least_probability(12, m, 2**log2_size, f)
    assert z == pytest.approx(least, abs=6e-4)
    assert short_xor.log_largest_size(12, m, z, f) == pytest.approx(log2_size * math.log(2))


@pytest.mark.parametrize("n, m", [(1, 1), (2, 5), (12, 3), (12, 12), (30, 20)])
@pytest.mark.parametrize("f", [0.01, 0.1, 0.3, 0.499, 0.5])
def test_the_largest_size_inverts_the_least_probability(n, m, f):
    before = 0.0
    for q in sorted(q for q in {1, 2, n + 1, n + 2, 2**n // 3, 2**n - 1} if 0 < q < 2**n):
        z = least_probability(n, m, q, f)
        assert z >= before - 1e-12
        assert short_xor.log_largest_size(n, m, z, f) == pytest.approx(math.log(q), abs=1e-6)
        before = z


def test_largest_size_at_half_density_in_closed_form():
    # z = q / (q + 2^m - 1).
    for n, m, p in [(12, 5, 0.3), (100, 60, 0.01), (1000, 900, 0.9), (5, 3, 0.999)]:
        size = math.log(2**m - 1) + math.log(p) - math.log1p(-p)
        expected = min(size, n * math.log(2))
        assert short_xor.log_largest_size(n, m, p, 0.5) == pytest.approx(expected, rel=1e-12)


def test_largest_size_of_hundreds_of_variables():
    exact = least_probability(300, 150, 2**160, 0.03)
    computed = short_xor.log_largest_size(300, 150, exact, 0.03)
    assert computed == pytest.approx(160 * math.log(2), abs=1e-6)
    assert math.isfinite(short_xor.log_largest_size(5000, 4000, 1e-3, 0.002))
    assert short_xor.log_largest_size(40, 3, 1.0, 0.1) == 40 * math.log(2)


@pytest.mark.parametrize("case, seen", list(zip(CASES, SEEN)))
def test_cells_are_filled_as_often_as_the_bounds_say(case, seen):
    log2_size, m, f = case
    number = 4000
    for kind, expected in zip(("cube", "random", "ball"), seen):
        points = parity_rows.pack(spread(kind, log2_size))
        filled = sum(
            parity_rows.satisfied(*draws.draw_sparse(draws.derive(1, kind, i), m, 12, f), points)
            .all(axis=1)
            .any()
            for i in range(number)
        )
        error = 4 * math.sqrt(expected * (1 - expected) / number)
        assert filled / number == pytest.approx(expected, abs=0.012 + error)
        assert least_probability(12, m, 2**log2_size, f) <= filled / number + error


@pytest.mark.parametrize("hits, trials", [(0, 50), (1, 50), (25, 50), (50, 50), (3, 3)])
def test_confidence_limits(hits, trials):
    lower, upper = short_xor.confidence_limits(hits, trials, 0.03)
    expected = stats.binomtest(hits, trials).proportion_ci(0.94, method="exact")
    assert (lower, upper) == pytest.approx((expected.low, expected.high), abs=1e-9)


# ------------------------------------------------------------------------------------------------
# Counts.


@pytest.mark.parametrize("density", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("kind", ["cube", "ball", "random"])
def test_coverage(kind, density):
    models = spread(kind, 9)
    results = count_many(models, range(34), delta=0.1, trials=50, density=density)
    check_valid(results, len(models), 0.1)
    assert density < 0.2 or all(result.claim is Claim.PROBABLE for result, _ in results)
    assert all(info.status == "done" and len(info.levels) == 50 for _, info in results)


def test_half_density_is_tight_from_both_sides():
    results = count_many(spread("random", 9), range(10), delta=0.1, trials=200, density=0.5)
    bits = np.array([(r.log_lower, r.log_value, r.log_upper) for r, _ in results]) / math.log(2)
    assert (bits[:, 0] > 9 - 1.5).all() and (bits[:, 2] < 9 + 1.5).all()
    assert (np.abs(bits[:, 1] - 9) <= 1).all()
    assert all((r.failure_lower, r.failure_upper) == (0.05, 0.05) for r, _ in results)


def test_what_the_trials_found_derives_again():
    models = spread("ball", 8)
    ((_, info),) = count_many(models, [4], trials=30, density=0.2)
    digest, points = unconstrained(12).digest(), parity_rows.pack(models)
    for index, (filled_to, empty_from) in enumerate(info.levels):
        key = draws.derive(4, "short_xor", digest, index)
        rows, rhs = draws.draw_sparse(key, 12, 12, 0.2)
        holds = parity_rows.satisfied(rows, rhs, points)
        deepest = np.logical_and.accumulate(holds, axis=1).sum(axis=1).max()
        assert (filled_to, empty_from) == (deepest, deepest + 1)


@pytest.mark.parametrize("step", [-2, 2])
def test_mutant_levels_off_by_two_are_caught(monkeypatch, step):
    models = spread("random", 9)
    options = {"delta": 0.1, "trials": 400, "density": 0.5}
    check_valid(count_many(models, range(12), **options), len(models), 0.1)
    honest = short_xor._Trials.claim

    def shifted(self):
        self.levels = [(max(0, a + step), b + step) for a, b in self.levels]
        return honest(self)

    monkeypatch.setattr(short_xor._Trials, "claim", shifted)
    with pytest.raises(AssertionError):
        check_valid(count_many(models, range(12), **options), len(models), 0.1)


def test_mutant_dense_formula_for_short_parities_is_caught(monkeypatch):
    # Cells of a cube under short parities are seldom filled: as if they were long, far too few.
    models = spread("cube", 9)
    options = {"delta": 0.1, "trials": 100, "density": 0.03}
    check_valid(count_many(models, range(12), **options), len(models), 0.1)
    honest = short_xor.log_largest_size
    monkeypatch.setattr(short_xor, "log_largest_size", lambda n, m, p, f: honest(n, m, p, 0.5))
    with pytest.raises(AssertionError):
        check_valid(count_many(models, range(12), **options), len(models), 0.1)


@pytest.mark.parametrize("density", [0.1, 0.5])
def test_the_solver_and_the_list_of_models_give_the_same_bounds(density):
    clauses = generators.random_ksat(1, 18, 24).clauses
    formula = cnf.from_clauses(clauses, projection=range(1, 13), num_variables=18)
    both = np.array(list(itertools.product([False, True], repeat=18)))
    models = np.unique(both[formula.is_satisfied(both)][:, :12], axis=0)
    sessions = (sat.SatSession, lambda _: enumerated.EnumeratedSession(models))
    (by_solver, info), (by_list, _) = (
        count(formula, seed=3, density=density, open_session=open_session)
        for open_session in sessions
    )
    assert (by_solver.log_lower, by_solver.log_upper) == (by_list.log_lower, by_list.log_upper)
    assert by_solver.log_lower <= math.log(len(models)) <= by_solver.log_upper
    assert info.oracle_calls > 50


def test_small_counts_are_exact_and_certain():
    for num_models in (0, 1, 63):
        ((result, info),) = count_many(ALL[:num_models], [1])
        assert (result.count, result.claim) == (num_models, Claim.CERTAIN)
        assert info.levels.shape == (0, 2)
    ((result, _),) = count_many(ALL[:64], [1])
    assert (result.count, result.claim) == (None, Claim.PROBABLE)


def test_degenerate_formulas():
    for formula, expected in degenerate.FORMULAS:
        result, _ = count(formula, seed=0)
        assert (result.count, result.claim) == (expected, Claim.CERTAIN)


def test_all_assignments_are_models():
    for num_variables in (6, 7, 40):
        result, info = count(unconstrained(num_variables), seed=0, trials=20)
        size = num_variables * math.log(2)
        assert result.log_lower <= size <= result.log_upper
        assert (info.levels <= num_variables + 1).all()


def test_the_usual_density():
    assert short_xor.usual_density(1) == short_xor.usual_density(8) == 0.5
    assert short_xor.usual_density(100) == pytest.approx(0.1382, abs=1e-4)
    formula = generators.random_ksat(1, 40, 40)
    by_default, _ = count(formula, seed=2)
    assert by_default == count(formula, seed=2, density=short_xor.usual_density(40))[0]


def test_equal_keys_give_equal_bounds(getkey):
    key = getkey()
    (first, _), (again, _) = count_many(spread("random", 9), [key, key])
    assert first == again


def test_arguments_are_checked():
    weighted = cnf.from_clauses([[1]], log_weights=np.zeros((1, 2)))
    with pytest.raises(ValueError, match="expected no weights"):
        count(weighted, seed=0)
    for density in (0.0, 0.51, math.nan):
        with pytest.raises(ValueError, match="expected a density"):
            count(unconstrained(3), seed=0, density=density)
    with pytest.raises(ValueError, match="at least 1 trial"):
        count(unconstrained(3), seed=0, trials=0)
    for delta in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="expected delta"):
            count(unconstrained(3), seed=0, delta=delta)


# ------------------------------------------------------------------------------------------------
# Early ends.


class CutAtTimes(enumerated.EnumeratedSession):
    """Gives up on some queries, and takes Ctrl-C after a number of them."""

    def __init__(self, models, rng, queries):
        super().__init__(models)
        self._rng, self._left = rng, queries

    def enumerate(self, limit, **options):
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt
        if self.calls and self._rng.random() < 0.1:
            self.calls += 1
            return answer.Answer(answer.Status.UNKNOWN, 0, assignments=np.zeros((0, 12), bool))
        return super().enumerate(limit, **options)


def test_claims_hold_where_queries_are_cut():
    rng, models, results = np.random.default_rng(0), spread("random", 9), []
    for seed in range(100):
        session = CutAtTimes(models, rng, int(rng.integers(0, 250)))
        results.append(
            count(
                unconstrained(12), seed=seed, density=0.5, delta=0.1, open_session=lambda _: session
            )
        )
    check_valid(results, len(models), 0.1)
    assert {info.status for _, info in results} == {"timeout", "interrupted"}
    lengths = [len(info.levels) for _, info in results]
    assert min(lengths) <= 1 and max(lengths) == 50
    narrower = [r.log_upper < 12 * math.log(2) and i.status == "timeout" for r, i in results]
    assert any(narrower)


def test_no_time_at_all():
    result, info = count(unconstrained(50), seed=1, timeout=0.0)
    assert info.status == "timeout"
    assert (result.log_lower, result.claim) == (-math.inf, Claim.CERTAIN)


def test_a_time_limit_with_the_solver():
    formula = generators.random_ksat(5, 200, 500)
    result, info = count(formula, seed=1, timeout=1.0, density=0.5)
    assert info.status == "timeout" and info.seconds < 6
    assert 0 < result.log_lower < result.log_upper <= 200.001 * math.log(2)


def test_ctrl_c_ends_with_what_was_found():
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    result, info = count(generators.random_ksat(5, 200, 500), seed=1, density=0.5)
    signal.signal(signal.SIGALRM, before)
    assert info.status == "interrupted"
    assert result.log_lower > -math.inf


def test_parities_are_drawn_when_they_are_needed():
    num_columns = 200_000
    session = enumerated.open_session(
        np.zeros((1, num_columns), dtype=bool), cnf.from_clauses([], num_variables=num_columns)
    )
    tracemalloc.start()
    sequence = short_xor._Sequence(session, 1, num_columns, 1e-4)
    sequence.is_empty(300, limits.NEVER)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 250e6  # the bits of one draw of 300 would take 600 MB


def test_the_clock_is_looked_at_between_draws():
    formula = cnf.from_clauses([], num_variables=100_000)
    start = time.monotonic()
    result, info = count(formula, seed=1, timeout=1.0)
    assert info.status == "timeout" and time.monotonic() - start < 4
    assert result.log_lower <= 100_000 * math.log(2) <= result.log_upper * (1 + 1e-12)
