import functools
import importlib
import math
import sys
import time

import jax
import pytest

from hashing.counting import adaptive, approxmc, short_xor
from inference import answer, estimate
from inference.estimate import Claim
from inference.problems import cnf, generators, trivial
from inference.reduction import support
from inference.workers import within

CHAIN = generators.chain(30)
HARD = generators.random_ksat(5, 200, 400)
# Solvers need far more than 32 MiB for it.
LARGE = cnf.from_clauses([[i, i + 1] for i in range(1, 600_000)])
COUNTERS = {
    "approxmc": approxmc.count,
    "adaptive": adaptive.count,
    "short_xor": functools.partial(short_xor.count, trials=5),
}


def told(result):
    interval = result.log_value, result.log_lower, result.log_upper
    return *interval, result.failure_lower, result.failure_upper, result.claim, result.count


@pytest.mark.parametrize("kind", ["integer", "bytes", "key"])
@pytest.mark.parametrize("name", COUNTERS)
def test_counts_within_memory_are_those_without(name, kind):
    seed = {"integer": 7, "bytes": b"seven", "key": jax.random.key(7)}[kind]
    here, _ = COUNTERS[name](CHAIN, seed=seed)
    there, info = COUNTERS[name](CHAIN, seed=seed, memory=2048, timeout=200.0)
    assert told(there) == told(here)
    assert (info.status, info.message) == ("done", "") and info.oracle_calls > 0
    assert type(info)._fields[:4] == ("status", "seconds", "message", "oracle_calls")


@pytest.mark.parametrize("name", COUNTERS)
def test_too_little_memory_leaves_what_holds_at_sight(name):
    result, info = COUNTERS[name](LARGE, memory=32)
    assert (result.log_lower, result.claim) == (-math.inf, Claim.CERTAIN)
    assert result.log_upper == pytest.approx(trivial.count(LARGE).log_upper)
    assert info.status == "failed"
    assert "out of memory at the limit of 32 MiB" in info.message
    assert info.seconds > 0 and info.oracle_calls == 0


@pytest.mark.parametrize("memory", [None, 512])
@pytest.mark.parametrize("name", COUNTERS)
def test_no_time_leaves_what_holds_at_sight(name, memory):
    start = time.monotonic()
    result, info = COUNTERS[name](HARD, timeout=0.0, memory=memory)
    assert (info.status, result.claim) == ("timeout", Claim.CERTAIN)
    assert result.log_lower == -math.inf
    assert result.log_upper == pytest.approx(200 * math.log(2))
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("name", COUNTERS)
def test_what_cannot_be_limited_is_refused(name):
    with pytest.raises(ValueError, match="expected at least 32 MiB of memory, given 31"):
        COUNTERS[name](CHAIN, memory=31)
    with pytest.raises(ValueError, match="expected reduce as another process can take it, given"):
        COUNTERS[name](CHAIN, memory=64, reduce=lambda *_, **__: support.unreduced(CHAIN))
    with pytest.raises(ValueError, match="expected delta in"):
        COUNTERS[name](CHAIN, memory=64, delta=2.0)


def test_an_executor_and_a_limit_are_refused():
    with pytest.raises(ValueError, match="expected an executor or a limit on memory, given both"):
        approxmc.count(CHAIN, memory=64, executor=object())


def test_a_stop_kills_the_child():
    start = time.monotonic()
    result, info = approxmc.count(HARD, memory=512, stop=lambda: time.monotonic() > start + 0.5)
    assert told(result) == told(trivial.count(HARD))
    assert info.status == "timeout" and time.monotonic() - start < 5
    assert info.rounds == () and info.scheme.rounds == 3


# ------------------------------------------------------------------------------------------------
# Any entry.


ENTRIES = """
import time
from inference import answer, estimate

def refuses(formula, *, timeout):
    raise ValueError("of the entry")

def breaks(formula, *, timeout):
    raise RuntimeError("broken")

def sleeps(formula, *, timeout):
    time.sleep(600.0)

def starves(formula, *, timeout):
    return estimate.exact_count(3), answer.Info("failed", 0.0, "out of memory: 3 GiB")
"""


@pytest.fixture
def entries(monkeypatch, tmp_path):
    """Importable here and in a child."""
    (tmp_path / "counting_entries.py").write_text(ENTRIES)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    yield importlib.import_module("counting_entries")
    del sys.modules["counting_entries"]


def test_a_value_error_of_the_entry_is_one_here(entries):
    with pytest.raises(ValueError, match="^of the entry$"):
        within.count(entries.refuses, CHAIN)


def test_any_other_error_is_a_failure(entries):
    result, info = within.count(entries.breaks, CHAIN)
    assert told(result) == told(trivial.count(CHAIN))
    assert (type(info), info.status) == (answer.Info, "failed")
    assert info.message == "RuntimeError: broken"


def test_what_ignores_its_time_limit_is_killed(entries):
    for grace, least in ((0.0, 0.5), (1.0, 0.8)):
        start = time.monotonic()
        result, info = within.count(entries.sleeps, CHAIN, timeout=0.5, grace=grace)
        assert (info.status, told(result)) == ("timeout", told(trivial.count(CHAIN)))
        assert least < time.monotonic() - start < 5


def test_the_entry_says_what_its_memory_was_too_small_for(entries):
    result, info = within.count(entries.starves, CHAIN, memory=64)
    assert info.message == "out of memory at the limit of 64 MiB"
    assert result == estimate.exact_count(3)
    assert within.count(entries.starves, CHAIN)[1].message == "out of memory: 3 GiB"
