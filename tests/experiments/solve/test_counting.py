import math
import signal
import time

import numpy as np
import pytest

import reference
from experiments import solve
from experiments.solve import methods
from inference.estimate import Claim
from inference.problems import cnf, generators

CHAIN = generators.chain(60)
EASY = cnf.from_clauses([[3, 4]], num_variables=7)
LATIN = generators.latin_square(8)  # no exact counter finishes this in a second


def log_chain_count(length):
    """Binet's formula, in logs."""
    return (length + 2) * math.log((1 + math.sqrt(5)) / 2) - math.log(5) / 2


@pytest.mark.parametrize("memory", [None, 4096])
def test_the_number_of_jobs_changes_no_answer(memory):
    one, _ = solve.count(CHAIN, method="approxmc", delta=0.05, seed=4)
    two, info = solve.count(CHAIN, method="approxmc", delta=0.05, seed=4, jobs=2, memory=memory)
    assert (one.log_value, one.log_lower, one.log_upper) == (
        two.log_value,
        two.log_lower,
        two.log_upper,
    )
    assert info.status == "done"


LARGE = generators.chain(400_000)  # its clauses alone are more than the limit in any solver
PLENTY = cnf.from_clauses([[1, 2, 3]], num_variables=26, projection=range(1, 25))


@pytest.mark.parametrize(
    ("method", "formula", "truth"),
    [
        ("approxmc", LARGE, log_chain_count(400_000)),
        ("adaptive", LARGE, log_chain_count(400_000)),
        ("short_xor", LARGE, log_chain_count(400_000)),
        ("exhaustive", PLENTY, math.log(7 * 2**21)),
        ("bpnn", generators.chain(20_000), log_chain_count(20_000)),
    ],
    ids=["approxmc", "adaptive", "short_xor", "exhaustive", "bpnn"],
)
def test_a_memory_limit_ends_with_a_valid_claim(method, formula, truth):
    start = time.monotonic()
    result, info = solve.count(formula, method=method, memory=32, timeout=20.0)
    assert (info.status, result.claim) == ("failed", Claim.CERTAIN)
    assert "out of memory at the limit of 32 MiB" in info.message
    assert result.log_lower <= truth <= result.log_upper
    assert result.log_upper == pytest.approx(len(formula.sampling_set) * math.log(2))
    assert time.monotonic() - start < 15


def test_memory_too_small_to_start_with_is_refused():
    for method in ("auto", "exact", "approxmc"):
        with pytest.raises(ValueError, match="expected at least 32 MiB of memory, given 31"):
            solve.count(EASY, method=method, memory=31)


def test_enumeration_keeps_a_time_limit():
    formula = cnf.from_clauses([[i, i + 1] for i in range(1, 26)] * 3000)
    start = time.monotonic()
    result, info = solve.count(formula, method="exhaustive", timeout=0.6)
    assert (info.status, result.claim) == ("timeout", Claim.CERTAIN)
    assert time.monotonic() - start < 3


@pytest.mark.parametrize("method", sorted(methods.lines("count")))
def test_every_method_answers(method):
    result, info = solve.count(EASY, method=method)
    assert info.status == "done"
    assert result.log_lower <= math.log(96) <= result.log_upper


def test_a_time_limit_leaves_a_valid_claim():
    result, info = solve.count(LATIN, method="exact", timeout=0.5)
    assert (info.status, result.claim) == ("timeout", Claim.CERTAIN)
    assert (result.log_lower, result.log_upper) == (
        -math.inf,
        pytest.approx(len(LATIN.sampling_set) * math.log(2)),
    )


def test_a_time_limit_on_weights_bounds_them_from_above():
    weights = np.random.default_rng(0).normal(size=(LATIN.num_variables, 2))
    formula = cnf.from_clauses(LATIN.clauses, log_weights=weights)
    result, info = solve.count(formula, timeout=0.5)
    assert (info.method, info.status, result.claim) == ("approxwmc", "timeout", Claim.CERTAIN)
    assert result.log_upper == pytest.approx(np.logaddexp(weights[:, 0], weights[:, 1]).sum())
    with pytest.raises(ValueError, match="expected no weights"):
        solve.count(formula, method="approxmc")


def interrupted(seconds, function):
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    # Again after a while: CPython drops an interrupt inside a callback of a weak reference.
    signal.setitimer(signal.ITIMER_REAL, seconds, 5.0)
    try:
        return function()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def test_ctrl_c_leaves_a_valid_claim():
    for method in ("auto", "exact", "approxmc"):
        formula = generators.random_ksat(5, 200, 400) if method == "approxmc" else LATIN
        result, info = interrupted(
            1.0, lambda method=method, formula=formula: solve.count(formula, method=method)
        )
        assert (info.status, math.isinf(result.log_upper)) == ("interrupted", False)


@pytest.mark.parametrize("method", ["exact", "exhaustive", "approxmc", "adaptive", "auto"])
def test_assumptions(method):
    clauses = [[1, 2], [-1, 3], [-3, 4, -2], [5, 6, -4]]
    truth = math.log(reference.count_models(6, [*clauses, [-3], [6]]))
    result, _ = solve.count(clauses, method=method, assumptions=[-3, 6])
    assert result.log_lower <= truth <= result.log_upper
    with pytest.raises(ValueError, match=r"variables 1\.\.6, given 7"):
        solve.count(clauses, method=method, assumptions=[7])


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        (
            "bpnn",
            {"epsilon": 0.5},
            "auto, exact, ganak, elimination, exhaustive, approxmc or approxwmc for epsilon",
        ),
        ("adaptive", {"epsilon": 0.5}, "approxwmc for epsilon, given adaptive"),
        ("bpnn", {"delta": 0.5}, "approxwmc, adaptive or short_xor for delta, given bpnn"),
        ("exact", {"checkpoint": "rounds"}, "auto or approxmc for checkpoint, given ganak"),
        ("adaptive", {"checkpoint": "rounds"}, "auto or approxmc for checkpoint, given adaptive"),
        (
            "exhaustive",
            {"reduction": ()},
            "auto, elimination, approxmc, approxwmc, adaptive or short_xor for reduction",
        ),
        (
            "auto",
            {"weights": {1: 0.5}, "checkpoint": "rounds"},
            "approxmc for checkpoint, given auto",
        ),
        ("auto", {"epsilon": 0.0}, "epsilon > 0, given 0.0"),
        ("exact", {"delta": 1.5}, r"delta in \(0, 1\), given 1.5"),
        ("exact", {"jobs": 0}, "at least 1 job, given 0"),
    ],
)
def test_nothing_that_is_given_is_ignored(method, given, message):
    with pytest.raises(ValueError, match=f"expected .*{message}") as raised:
        solve.count([[1, 2]], method=method, **given)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("method", ["exact", "exhaustive"])
def test_exact_counts_keep_any_tolerance(method):
    result, _ = solve.count(EASY, method=method, epsilon=0.01, delta=1e-3, jobs=2)
    assert result.count == 96


def test_unknown_methods_are_named():
    with pytest.raises(ValueError, match="expected a method among auto, exact, .* given 'magic'"):
        solve.count(EASY, method="magic")
    with pytest.raises(ValueError, match="given 'magic'"):
        solve.partition(generators.ising_grid(2, 2, 1.0), method="magic")


def test_what_users_print_takes_a_line():
    result, info = solve.count(EASY, method="exhaustive", seed=3)
    assert str(result).startswith("96 (log 4.56") and "\n" not in repr(result)
    assert str(info).startswith("exhaustive, done, ") and str(info).endswith(" s, seed 3")
