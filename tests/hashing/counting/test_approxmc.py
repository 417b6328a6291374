import dataclasses
import decimal
import functools
import math
import signal
import statistics
import time

import enumerated
import numpy as np
import pytest
from scipy import stats

import reference
from hashing.cells import levels, nested_cells
from hashing.counting import approxmc, guarantee, rounds, witness
from hashing.parity import draws
from inference import answer, limits, randomness
from inference.estimate import Claim, majority_tail
from inference.exact import exhaustive
from inference.oracles import sat
from inference.problems import cnf, generators, parity_rows
from inference.reduction import support

# Random 3-CNF with counts between 2^12 and 2^16, and what their names say.
FORMULAS = {
    "sparse": generators.random_ksat(1, 16, 14),
    "dense": generators.random_ksat(1, 20, 40),
    "projected": cnf.from_clauses(
        generators.random_ksat(3, 20, 30).clauses, projection=range(1, 17), num_variables=20
    ),
    "gates": cnf.from_clauses(
        [*generators.random_ksat(4, 14, 12).clauses.tolist(), [-15, 1, 2], [15, -1], [15, -2]],
        xors=[([3, 15, 16], True)],
        num_variables=17,
    ),
    "xors": cnf.from_clauses(
        generators.random_ksat(2, 19, 20).clauses,
        xors=[([1, 4, 9, 16], True), ([2, 3, 5, 7, 11], False)],
        num_variables=19,
    ),
}
TOLERANCES = (0.8, 0.3)


def sampled(formula):
    """The distinct assignments of the sampling set that extend to a model: bool [N, k]."""
    return np.unique(exhaustive.models(formula)[:, formula.sampling_set - 1], axis=0)


@functools.cache
def size_of(name):
    return len(sampled(FORMULAS[name]))


@functools.cache
def reduced(name):
    """The reduction, and the models of its residual formula over the support."""
    reduction = support.reduce(FORMULAS[name])
    return reduction, sampled(reduction.formula)


def count_many(name, epsilon, seeds, *, delta=0.2, solver=False):
    """(estimate, info) for each seed, over a list of the models or with the real solver."""
    options = {"epsilon": epsilon, "delta": delta}
    if not solver:
        reduction, models = reduced(name)
        options["reduce"] = lambda *_, **__: reduction
        options["open_session"] = functools.partial(enumerated.open_session, models)
    return [approxmc.count(FORMULAS[name], seed=seed, **options) for seed in seeds]


def value(one, info):
    """|cell(m)| 2^m 2^free of one round."""
    return len(one.models) * 2.0 ** (one.num_hashes + len(info.reduction.free))


# ------------------------------------------------------------------------------------------------
# The checks. Each returns nothing and raises AssertionError; the mutants below must fail one.


def check_claim(results, size, epsilon, delta=0.2):
    """The stated failures follow from the plan, and the misses do not refute them."""
    plan = guarantee.plan(epsilon, delta)
    below = sum(math.log(size) < e.log_lower for e, _ in results)
    above = sum(math.log(size) > e.log_upper for e, _ in results)
    over = majority_tail(plan.rounds, plan.failure_over)
    under = majority_tail(plan.rounds, plan.failure_under)
    assert over + under <= delta
    for result, info in results:
        assert len(info.rounds) == plan.rounds
        # A side that is certain without hashing cannot fail.
        most = (len(info.reduction.support) + len(info.reduction.free)) * math.log(2)
        assert 0 <= result.log_lower and result.log_upper <= most * (1 + 1e-15)
        assert result.failure_lower == (over if result.log_lower > 0 else 0)
        assert result.failure_upper == (under if result.log_upper < most else 0)
        width = pytest.approx(2 * math.log1p(epsilon))
        both = result.failure_lower and result.failure_upper
        assert result.log_width == width if both else result.log_width < 2 * math.log1p(epsilon)
    _check_rate(below, len(results), over)
    _check_rate(above, len(results), under)


def check_rounds(results, size, epsilon):
    """Single rounds miss at most as often as the theory's p_L and p_U say."""
    plan, width = guarantee.plan(epsilon, 0.2), math.log1p(epsilon)
    values = [
        plan.log_value(r) + len(info.reduction.free) * math.log(2)
        for _, info in results
        for r in info.rounds
    ]
    _check_rate(sum(v > math.log(size) + width for v in values), len(values), plan.failure_over)
    _check_rate(sum(v < math.log(size) - width for v in values), len(values), plan.failure_under)


def check_mean(results, size):
    """|cell(m)| 2^m at the stopping level has mean |S|: within 3 standard errors."""
    each_seed = [statistics.fmean(value(r, info) for r in info.rounds) for _, info in results]
    error = statistics.stdev(each_seed) / math.sqrt(len(each_seed))
    assert abs(statistics.fmean(each_seed) - size) <= 3 * error


def check_independent(results):
    """The first two rounds of a seed are uncorrelated: |t| of Pearson's r below 4."""
    first, second = np.array([[value(r, info) for r in info.rounds[:2]] for _, info in results]).T
    r = np.corrcoef(first, second)[0, 1]
    assert abs(r) * math.sqrt(len(results)) < 4


def check_replay(results, name, epsilon):
    """The cells of the witness are those of the rows that derive from seed, digest and round."""
    reduction, models = reduced(name)
    models, threshold = parity_rows.pack(models), guarantee.plan(epsilon, 0.2).threshold
    for result, _ in results:
        found = result.witness
        assert found.digest == FORMULAS[name].digest()
        assert np.array_equal(found.support, reduction.support)
        for index, one in found.rounds.items():
            key = draws.derive(found.seed, "approxmc", found.digest, index)
            rows, rhs = draws.draw_dense(key, one.num_hashes, len(found.support))
            inside = parity_rows.satisfied(rows, rhs, models)
            expected = models[inside.all(axis=1)]
            assert len(expected) <= threshold < inside[:, :-1].all(axis=1).sum()
            assert np.array_equal(np.unique(one.models, axis=0), np.unique(expected, axis=0))
            assert len(one.models) == len(expected)
            before = np.unique(one.before, axis=0)
            assert len(before) == len(one.before) == threshold + 1
            assert parity_rows.satisfied(rows[:-1], rhs[:-1], before).all()
            assert {r.tobytes() for r in before} <= {r.tobytes() for r in models}


def _check_rate(misses, trials, failure):
    """Not refuted at the level of one in a thousand."""
    assert stats.binom.sf(misses - 1, trials, failure) > 1e-3


# ------------------------------------------------------------------------------------------------
# The constants.


@pytest.mark.parametrize(
    "epsilon, delta, rounds",
    [(0.8, 0.2, 3), (0.8, 0.1, 5), (0.8, 0.05, 7), (0.8, 0.01, 11), (0.8, 0.001, 19)]
    + [(0.3, 0.2, 5), (0.3, 0.1, 9), (0.3, 0.05, 11), (0.3, 0.01, 21)]
    + [(1.5, 0.2, 3), (1.5, 0.05, 5), (1.5, 0.01, 9), (4.0, 0.2, 1), (4.0, 0.05, 3)]
    + [(4.0, 0.01, 5), (5, 0.2, 5), (5, 0.05, 9), (7, 0.2, 3), (7, 0.05, 7), (15, 0.2, 1)]
    + [(15, 0.05, 3)],
)
def test_number_of_rounds(epsilon, delta, rounds):
    assert guarantee.plan(epsilon, delta).rounds == rounds


def test_threshold_and_rounding_constants():
    plan = guarantee.plan(0.8, 0.2)
    assert (plan.threshold, plan.failure_under, plan.failure_over) == (72, 0.157, 0.169)
    assert plan.scale(0) == pytest.approx(49.815 / math.sqrt(2))
    assert plan.scale(60) == 60
    assert guarantee.plan(5.0, 0.2).scale(0) == pytest.approx(1.257 / 2, abs=1e-3)
    assert guarantee.plan(5.0, 0.2).failure_over == pytest.approx(1 / 4.772, abs=1e-4)


@pytest.mark.parametrize("epsilon", [0, -1, math.inf, math.nan, 1e-200, 1e154, 1e200])
def test_epsilon_out_of_range(epsilon):
    with pytest.raises(ValueError, match="expected epsilon > 0"):
        guarantee.plan(epsilon, 0.2)


@pytest.mark.parametrize("delta", [0, 1, -0.1, math.nan])
def test_delta_out_of_range(delta):
    with pytest.raises(ValueError, match="expected delta in"):
        guarantee.plan(0.8, delta)


@pytest.mark.parametrize("level", [0, 1, 2, 5, 9, 64, 1000])
@pytest.mark.parametrize("start", [0, 1, 2, 8, 9, 100])
def test_first_small_level_from_any_start(level, start):
    asked = []

    def size(m):
        asked.append(m)
        return min(73, 50 * 2 ** max(level - m, -6) // 1) if m < level else 50 >> min(m - level, 9)

    assert levels.first_small(size, start, 73) == level
    assert len(asked) == len(set(asked)) <= 2 * math.log2(2 + abs(level - start)) + 3


def test_an_empty_cell_leads_back_step_by_step():
    asked = []

    def size(m):
        asked.append(m)
        return min(73, int(73 * 2.0 ** (989 - m)))

    assert levels.first_small(size, 1000, 73) == 990
    assert len(asked) <= 5 and min(asked) >= 980


@pytest.mark.parametrize("level", [0, 1, 2, 3, 7, 8, 9, 64, 1000])
@pytest.mark.parametrize("start", [0, 1, 2, 8, 9, 100])
def test_first_level_from_any_start(level, start):
    asked = []
    found = levels.first_level(lambda m: asked.append(m) or m >= level, start)
    assert found == level
    assert min(asked) >= 0
    assert len(asked) <= 2 * math.log2(2 + abs(level - start)) + 3


# ------------------------------------------------------------------------------------------------
# Counts.


@pytest.mark.parametrize("epsilon", TOLERANCES)
@pytest.mark.parametrize("name", FORMULAS)
def test_coverage(name, epsilon):
    results, size = count_many(name, epsilon, range(100)), size_of(name)
    assert 2**12 <= size <= 2**16
    check_claim(results, size, epsilon)
    check_rounds(results, size, epsilon)
    check_mean(results, size)
    check_independent(results)
    check_replay(results[:10], name, epsilon)


@pytest.mark.parametrize("epsilon", [1.5, 4.0, 5.0, 7.0, 15.0])
def test_coverage_of_large_tolerances(epsilon):
    results, size = count_many("dense", epsilon, range(200)), size_of("dense")
    check_claim(results, size, epsilon)
    check_rounds(results, size, epsilon)


@pytest.mark.parametrize("name", FORMULAS)
def test_the_solver_and_the_list_of_models_give_the_same_answer(name):
    by_list = count_many(name, 0.8, range(3))
    by_solver = count_many(name, 0.8, range(3), solver=True)
    for (a, _), (b, _) in zip(by_list, by_solver):
        assert (a.log_value, a.log_lower, a.log_upper) == (b.log_value, b.log_lower, b.log_upper)
    check_replay(by_solver, name, 0.8)


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", TOLERANCES)
@pytest.mark.parametrize("name", FORMULAS)
def test_coverage_with_the_solver(name, epsilon, capsys):
    results = count_many(name, epsilon, range(500), solver=True)
    size, plan = size_of(name), guarantee.plan(epsilon, 0.2)
    free = len(results[0][1].reduction.free) * math.log(2)
    logs = np.array([[plan.log_value(r) + free for r in i.rounds] for _, i in results])
    raw = np.array([[value(r, i) for r in i.rounds] for _, i in results])
    each, width = raw.mean(axis=1), math.log1p(epsilon)
    deviation = (each.mean() - size) / (each.std(ddof=1) / math.sqrt(len(each)))
    with capsys.disabled():
        print(
            f"\n{name} epsilon {epsilon}: |S| {size}, "
            f"final below {sum(math.log(size) > e.log_upper for e, _ in results)}"
            f" above {sum(math.log(size) < e.log_lower for e, _ in results)} of {len(results)}, "
            f"rounds under {np.mean(logs < math.log(size) - width):.4f}"
            f" (theory {plan.failure_under}) over {np.mean(logs > math.log(size) + width):.4f}"
            f" (theory {plan.failure_over}), "
            f"mean cell(m) 2^m off by {deviation:+.2f} standard errors"
        )
    check_claim(results, size, epsilon)
    check_rounds(results, size, epsilon)
    check_mean(results, size)
    check_independent(results)
    check_replay(results[:20], name, epsilon)


@pytest.mark.parametrize("solver", ["cadical153", "glucose4"])
def test_other_solvers(solver):
    session = functools.partial(sat.SatSession, solver=solver)
    formula = FORMULAS["projected"]
    other, _ = approxmc.count(formula, seed=5, open_session=session)
    usual, _ = approxmc.count(formula, seed=5)
    assert other.log_value == usual.log_value


def test_small_counts_are_exact_and_certain():
    clauses = [[1, 2, 3], [-1, 4], [2, -4, 5], [-3], [6, 5]]
    for projection in (None, [1, 2], []):
        formula = cnf.from_clauses(clauses, projection=projection)
        result, info = approxmc.count(formula, seed=0)
        expected = reference.count_models(6, clauses, projection=projection)
        assert (result.claim, result.count) == (Claim.CERTAIN, expected)
        assert [r.num_hashes for r in info.rounds] == [0]


@pytest.mark.parametrize("epsilon", [0.8, 5.0])
def test_unsatisfiable(epsilon):
    result, info = approxmc.count(cnf.from_clauses([[1], [-1]]), seed=0, epsilon=epsilon)
    assert (result.count, result.claim, info.status) == (0, Claim.CERTAIN, "done")
    assert result.log_value == result.log_upper == -math.inf


def test_free_variables_count():
    result, _ = approxmc.count(cnf.from_clauses([[3, 4]], num_variables=60), seed=1)
    assert result.log_lower <= math.log(3 * 2**58) <= result.log_upper


def test_equal_keys_give_equal_counts(getkey):
    key, formula = getkey(), FORMULAS["sparse"]
    first, again = (approxmc.count(formula, seed=key)[0] for _ in range(2))
    assert first.log_value == again.log_value
    assert first.witness.seed == again.witness.seed == randomness.seed_words(key)
    others = {approxmc.count(formula, seed=seed)[0].log_value for seed in range(5)}
    assert len(others) > 1


def test_weights_are_refused():
    formula = cnf.from_clauses([[1]], log_weights=np.zeros((1, 2)))
    with pytest.raises(ValueError, match="expected no weights"):
        approxmc.count(formula, seed=0)
    assert approxmc.count(formula.unweighted(), seed=0)[0].count == 1


def test_progress_names_round_and_level():
    seen = []
    approxmc.count(FORMULAS["sparse"], seed=0, progress=seen.append)
    assert seen[:2] == ["preprocessing", "looking for the level"]
    assert seen[-1].startswith("round 3 of 3, ")


# ------------------------------------------------------------------------------------------------
# Early ends: a weaker claim, never a wrong one.


class StopsAfter(enumerated.EnumeratedSession):
    """After a number of queries finds the deadline passed with half a cell in hand."""

    def __init__(self, models, left):
        super().__init__(models)
        self._left = left

    def enumerate(self, limit, **options):
        self._left[0] -= 1
        found = super().enumerate(limit if self._left[0] >= 0 else limit // 2, **options)
        if self._left[0] < 0:
            unknown = answer.Status.UNKNOWN
            return answer.Answer(unknown, found.value, assignments=found.assignments)
        return found


def stopped_count(name, seed, queries, **options):
    reduction, models = reduced(name)
    left = [queries]
    return approxmc.count(
        FORMULAS[name],
        seed=seed,
        reduce=lambda *_, **__: reduction,
        open_session=lambda _: StopsAfter(models, left),
        **options,
    )


@pytest.mark.parametrize("epsilon", [0.8, 0.3, 6.0])
@pytest.mark.parametrize("runs", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_claims_hold_at_random_stopping_times(epsilon, runs, capsys):
    rng, truth = np.random.default_rng(0), math.log(size_of("gates"))
    below, above, stopped = 0, 0, 0
    calls = max(info.oracle_calls for _, info in count_many("gates", epsilon, range(5)))
    for seed in range(runs):
        queries = int(rng.integers(0, calls))
        result, info = stopped_count("gates", seed, queries, epsilon=epsilon)
        assert info.status in ("done", "timeout")
        assert result.claim in (Claim.CERTAIN, Claim.PROBABLE)
        assert result.log_lower > -math.inf or queries <= 1
        stopped += info.status == "timeout"
        below += truth < result.log_lower
        above += truth > result.log_upper
        outside = not result.log_lower <= truth <= result.log_upper
        assert not (outside and result.claim is Claim.CERTAIN)
    if runs > 1000:
        with capsys.disabled():
            print(f"\nepsilon {epsilon}: {stopped} of {runs} stopped, {below} below, {above} above")
    _check_rate(below, runs, 0.1)
    _check_rate(above, runs, 0.1)
    assert stopped > runs / 2


def test_bounds_appear_early_and_tighten():
    widths = {}
    for queries in range(40):
        result, info = stopped_count("gates", 3, queries)
        widths[queries] = result.log_upper - result.log_lower
        assert len(info.rounds) < 2 or widths[queries] <= 4 * math.log(1.8)
    assert widths[0] == math.inf
    assert widths[39] < 2 * math.log(1.8) + 1e-9
    assert sum(4 < w < math.inf for w in widths.values()) > 3


def test_most_rounds_done_give_an_interval_that_holds_the_complete_one():
    complete, info = count_many("gates", 0.3, [7])[0]
    stopped = []
    for queries in range(info.oracle_calls):
        one, how = stopped_count("gates", 7, queries, epsilon=0.3)
        if len(how.rounds) > 2 and how.status == "timeout":
            stopped.append(one)
    assert stopped
    for one in stopped:
        assert one.log_lower <= complete.log_lower <= complete.log_upper <= one.log_upper
        assert one.failure_lower == complete.failure_lower


def test_a_time_limit_with_the_solver():
    formula = generators.random_ksat(5, 120, 120)
    start = time.monotonic()
    result, info = approxmc.count(formula, seed=1, epsilon=0.05, timeout=1.0)
    assert time.monotonic() - start < 6
    assert info.status == "timeout"
    assert -math.inf < result.log_lower < result.log_upper <= 120.001 * math.log(2)


def test_ctrl_c_ends_with_what_was_found():
    formula = generators.random_ksat(5, 120, 120)
    # An alarm that acts as Ctrl-C; a thread that sends the signal can make CPython miss it.
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    result, info = approxmc.count(formula, seed=1, epsilon=0.05, timeout=60)
    signal.signal(signal.SIGALRM, before)
    assert info.status == "interrupted"
    assert result.log_lower > -math.inf


def test_bounds_of_an_early_end_hold_beyond_the_last_digit():
    for n in range(1, 70):
        result, _ = approxmc.count(cnf.from_clauses([], num_variables=n), seed=1, timeout=0.0)
        assert decimal.Decimal(result.log_upper) >= n * decimal.Decimal(2).ln()


def test_no_time_at_all():
    result, info = approxmc.count(FORMULAS["sparse"], seed=1, timeout=0.0)
    assert info.status == "timeout"
    assert (result.log_lower, result.claim) == (-math.inf, Claim.CERTAIN)
    assert result.log_upper == pytest.approx(16 * math.log(2))


# ------------------------------------------------------------------------------------------------
# Mutants: each breaks the counter in one place and must be caught by the check named.

SEEDS = range(100)


def caught(check, *arguments):
    with pytest.raises(AssertionError):
        check(*arguments)


def test_mutant_single_round_is_caught(monkeypatch):
    honest = guarantee.plan
    monkeypatch.setattr(guarantee, "plan", lambda *a: honest(*a)._replace(rounds=1))
    results = count_many("dense", 0.3, SEEDS)
    monkeypatch.undo()
    caught(check_claim, results, size_of("dense"), 0.3)


def test_mutant_cells_times_one_and_a_half_is_caught(monkeypatch):
    honest = nested_cells.NestedCells.models

    def inflated(self, level):
        found = honest(self, level)
        return np.concatenate([found, found[: len(found) // 2]])

    monkeypatch.setattr(nested_cells.NestedCells, "models", inflated)
    results = count_many("dense", 0.3, SEEDS)
    caught(check_mean, results, size_of("dense"))
    caught(check_replay, results, "dense", 0.3)


@pytest.mark.parametrize("step", [-1, 1])
def test_mutant_level_off_by_one_is_caught(monkeypatch, step):
    honest = rounds.Round
    monkeypatch.setattr(rounds, "Round", lambda level, *models: honest(level + step, *models))
    results = count_many("dense", 0.3, SEEDS)
    caught(check_mean, results, size_of("dense"))
    caught(check_claim, results, size_of("dense"), 0.3)


def test_mutant_one_hash_for_all_rounds_is_caught(monkeypatch):
    honest = witness.draw_key
    monkeypatch.setattr(witness, "draw_key", lambda seed, digest, index: honest(seed, digest, 0))
    results = count_many("dense", 0.3, SEEDS)
    caught(check_independent, results)
    caught(check_replay, results, "dense", 0.3)


def test_mutant_parities_redrawn_at_each_level_is_caught(monkeypatch):
    honest = nested_cells.NestedCells

    class Redrawn(honest):
        """A fresh sequence for every query."""

        def __init__(self, formula, open_session, draw_key, **options):
            super().__init__(formula, open_session, draw_key, **options)
            self._fresh = lambda level: honest(formula, open_session, draw_key + level, **options)

        def fill(self, level, limit, deadline=limits.NEVER):
            return self._fresh(level).fill(level, limit, deadline)

        def models(self, level):
            fresh = self._fresh(level)
            fresh.fill(level, 10**6)
            return fresh.models(level)

    monkeypatch.setattr(nested_cells, "NestedCells", Redrawn)
    results = count_many("dense", 0.3, range(20))
    caught(check_replay, results, "dense", 0.3)


def test_mutant_a_sampled_variable_taken_for_defined_is_caught(monkeypatch):
    reduction, models = reduced("gates")
    smaller = np.unique(models[:, 1:], axis=0)
    columns = reduction.formula.sampling_set
    wrong = reduction._replace(
        formula=dataclasses.replace(reduction.formula, projection=columns[1:])
    )
    results = [
        approxmc.count(
            FORMULAS["gates"],
            seed=seed,
            epsilon=0.3,
            reduce=lambda *_, **__: wrong,
            open_session=functools.partial(enumerated.open_session, smaller),
        )
        for seed in SEEDS
    ]
    caught(check_mean, results, size_of("gates"))


@pytest.mark.parametrize("change", [-1, 1])
def test_mutant_free_variables_miscounted_is_caught(monkeypatch, change):
    reduction, models = reduced("gates")
    free = np.arange(len(reduction.free) + change)
    results = [
        approxmc.count(
            FORMULAS["gates"],
            seed=seed,
            epsilon=0.3,
            reduce=lambda *_, **__: reduction._replace(free=free),
            open_session=functools.partial(enumerated.open_session, models),
        )
        for seed in SEEDS
    ]
    caught(check_mean, results, size_of("gates"))
    caught(check_claim, results, size_of("gates"), 0.3)


def test_parities_that_take_too_much_memory_end_the_count(monkeypatch):
    formula = generators.chain(60)
    whole, _ = approxmc.count(formula, seed=1)
    monkeypatch.setattr(parity_rows, "MOST_BYTES", 200)
    early, info = approxmc.count(formula, seed=1)
    assert info.status == "failed"
    assert "out of memory" in info.message and "parities over" in info.message
    truth = math.log(generators.chain_count(60))
    assert early.log_lower <= truth <= early.log_upper
    assert early.log_upper - early.log_lower > whole.log_upper - whole.log_lower
