"""Rounds over executors: one answer whoever runs them, and a valid claim whatever happens."""

import functools
import math
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent import futures

import numpy as np
import pytest

from hashing.counting import approxmc, guarantee, rounds, witness
from inference.estimate import Claim
from inference.oracles import sat
from inference.problems import cnf, generators
from inference.reduction import support
from inference.workers import dispatch

LARGE = generators.random_ksat(1, 16, 14)
QUESTIONS = {
    "large": (LARGE, {}),
    "five rounds": (LARGE, {"epsilon": 0.3}),
    "assumptions": (LARGE, {"assumptions": [3, -7, 11]}),
    "only empty cells": (LARGE, {"epsilon": 6.0}),
    "few": (generators.chain(7), {}),
    "listed": (generators.chain(10), {}),  # 144 models
    "none": (cnf.from_clauses([[1], [-1]]), {}),
    "all free": (cnf.from_clauses([], num_variables=40), {}),
}
# Tens of seconds at this tolerance.
SLOW, SLOW_EPSILON = generators.chain(60), 0.05
SLOW_TRUTH = math.log(generators.chain_count(60))


def spawned(workers):
    return futures.ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))


@pytest.fixture(scope="module")
def one_process():
    with spawned(1) as pool:
        yield pool


@pytest.fixture(scope="module")
def two_processes():
    with spawned(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def own_pool():
    with dispatch.open_pool(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def two_threads():
    with futures.ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def dask_cluster():
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
    )
    with cluster, distributed.Client(cluster) as client, client.get_executor() as executor:
        yield executor


@pytest.fixture
def backwards():
    return Backwards()


class Backwards(futures.Executor):
    """Runs what it was given within one poll, last task first."""

    def __init__(self):
        self.order, self._waiting = [], []

    def submit(self, function, task, *arguments):
        future = futures.Future()
        if not self._waiting:
            threading.Timer(0.05, self._run).start()
        self._waiting.append((future, function, task, arguments))
        return future

    def _run(self):
        for future, function, task, arguments in reversed(self._waiting):
            self.order.append(task.number)
            future.set_result(function(task, *arguments))


class Stalled(futures.Executor):
    """Accepts tasks and never runs one."""

    def submit(self, *_):
        return futures.Future()


def told(result):
    """What an answer says; of a full cell only that it was full."""
    found = result.witness.rounds
    cells = [(i, found[i].num_hashes, found[i].models.tolist()) for i in sorted(found)]
    if result.count is not None:  # any round can list all models
        cells = [cell[1:] for cell in cells]
    claim = (result.log_value, result.log_lower, result.log_upper, result.claim, result.count)
    return *claim, result.failure_lower, result.failure_upper, cells


@functools.cache
def alone(question, seed=7):
    formula, options = QUESTIONS[question]
    return told(approxmc.count(formula, seed=seed, **options)[0])


def task_of(question, number=0, **changes):
    """A round of a question as ``count`` would hand it out."""
    formula, options = QUESTIONS[question]
    scheme, reduction = guarantee.plan(options.get("epsilon", 0.8), 0.2), support.reduce(formula)
    key = witness.draw_key(b"i\7", formula.digest(), number)
    task = rounds.RoundTask(
        number, reduction.formula, key, scheme.threshold, 0, math.inf, sat.SatSession
    )
    return task._replace(**changes)


# ------------------------------------------------------------------------------------------------
# One answer.

EXECUTORS = ["one_process", "two_processes", "own_pool", "two_threads", "backwards", "dask_cluster"]


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("name", EXECUTORS)
def test_the_answer_is_the_same_over_any_executor(name, question, request):
    executor, (formula, options) = request.getfixturevalue(name), QUESTIONS[question]
    result, info = approxmc.count(formula, seed=7, executor=executor, **options)
    assert told(result) == alone(question)
    assert info.status == "done"
    assert info.oracle_calls > 0 or question == "all free"
    if name == "backwards" and len(info.rounds) > 1:
        assert executor.order == list(range(len(info.rounds)))[::-1]


@pytest.mark.parametrize("patience", [1e-9, 1e9])
def test_patience_changes_no_answer(patience, two_threads):
    formula, options = QUESTIONS["large"]
    result, info = approxmc.count(
        formula, seed=7, executor=two_threads, patience=patience, **options
    )
    assert told(result) == alone("large")
    assert info.status == "done"


# Near the number of models up to which they are listed, either way.
@pytest.mark.parametrize("length", range(10, 15))
def test_whether_models_are_listed_depends_on_no_executor(length, two_threads):
    formula = generators.chain(length)
    for seed in range(3):
        here, _ = approxmc.count(formula, seed=seed, delta=0.05)
        over, _ = approxmc.count(formula, seed=seed, delta=0.05, executor=two_threads)
        assert told(here) == told(over)


@pytest.mark.parametrize("start", [0, 1, 5, 9, 30])
@pytest.mark.parametrize("question", ["large", "only empty cells", "few"])
def test_a_round_is_the_same_from_any_start(question, start):
    usual, other = (rounds.run_round(task_of(question, start=s)) for s in (4, start))
    assert usual.finished.num_hashes == other.finished.num_hashes
    assert np.array_equal(usual.finished.models, other.finished.models)
    assert len(usual.finished.before) == len(other.finished.before)
    assert other.reached.small_level == other.finished.num_hashes


def test_a_task_travels():
    task = pickle.loads(pickle.dumps(task_of("large")))
    here, there = rounds.run_round(task_of("large")), rounds.run_round(task)
    assert np.array_equal(here.finished.models, there.finished.models)


# ------------------------------------------------------------------------------------------------
# Early ends.


def check_early(result, info, status):
    """A claim that holds, and says no more than it may."""
    assert info.status == status
    assert len(info.rounds) < info.scheme.rounds
    assert result.log_lower <= SLOW_TRUTH <= result.log_upper
    assert result.claim in (Claim.CERTAIN, Claim.PROBABLE)


@pytest.mark.parametrize("name", ["two_processes", "two_threads", "dask_cluster"])
def test_a_deadline_over_an_executor(name, request):
    executor = request.getfixturevalue(name)
    executor.submit(abs, 1).result()  # it has started
    start = time.monotonic()
    result, info = approxmc.count(
        SLOW, seed=1, epsilon=SLOW_EPSILON, timeout=0.8, executor=executor
    )
    assert time.monotonic() - start < 6
    check_early(result, info, "timeout")
    assert 0 < result.log_lower < result.log_upper < math.inf
    assert executor.submit(abs, -3).result(timeout=5) == 3  # workers are free again


@pytest.mark.parametrize("timeout", [0.0, 0.6])
def test_workers_that_never_start(timeout, monkeypatch):
    monkeypatch.setattr(rounds, "GRACE_SECONDS", 0.3)
    start = time.monotonic()
    result, info = approxmc.count(
        SLOW, seed=1, epsilon=SLOW_EPSILON, timeout=timeout, executor=Stalled()
    )
    assert time.monotonic() - start < timeout + rounds.GRACE_SECONDS + 1.5
    check_early(result, info, "timeout")


def test_a_stop_over_an_executor():
    asked = []
    result, info = approxmc.count(
        SLOW,
        seed=1,
        epsilon=SLOW_EPSILON,
        executor=Stalled(),
        progress=asked.append,
        stop=lambda: asked[-1].startswith("0 of"),
    )
    check_early(result, info, "timeout")


def kill(pool):
    for process in list(pool._processes.values()):
        process.kill()


@pytest.mark.parametrize("rounds_before", [0, 2])
def test_a_worker_that_is_killed(rounds_before):
    with spawned(2) as pool:

        def progress(text):
            if text.startswith(f"{rounds_before} of 9 rounds"):
                kill(pool)

        result, info = approxmc.count(
            SLOW, seed=3, epsilon=0.3, delta=0.1, executor=pool, progress=progress
        )
        check_early(result, info, "failed")
        assert "a worker died" in info.message and "\n" not in info.message
        assert len(info.rounds) >= rounds_before
        assert result.log_lower > -math.inf or not info.rounds


def test_a_pool_that_is_broken_already():
    with spawned(1) as pool:
        assert isinstance(pool.submit(os._exit, 3).exception(), futures.BrokenExecutor)
        result, info = approxmc.count(SLOW, seed=3, executor=pool)
    check_early(result, info, "failed")


class Deadly:
    """Opens sessions here; where it arrives, the process ends."""

    def __init__(self, *how):
        self._how = how

    def __call__(self, formula):
        return sat.SatSession(formula)

    def __reduce__(self):
        return self._how


def test_a_worker_that_exits():
    with spawned(1) as pool:
        result, info = approxmc.count(
            SLOW, seed=3, executor=pool, open_session=Deadly(os._exit, (3,))
        )
    check_early(result, info, "failed")


def test_an_error_in_a_round_is_an_error(two_processes):
    wrong = Deadly(functools.partial, (int, "not a session"))
    with pytest.raises(TypeError):
        approxmc.count(LARGE, seed=3, executor=two_processes, open_session=wrong)
    assert two_processes.submit(abs, -3).result(timeout=5) == 3


def test_ctrl_c_over_a_pool():
    start = time.monotonic()
    with dispatch.open_pool(2) as pool:
        pool.submit(abs, 1).result()
        # An alarm that acts as Ctrl-C; a thread that sends the signal can make CPython miss it.
        before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.8)
        try:
            result, info = approxmc.count(SLOW, seed=1, epsilon=SLOW_EPSILON, executor=pool)
        finally:
            signal.signal(signal.SIGALRM, before)
        workers = list(pool._processes.values())
    check_early(result, info, "interrupted")
    # A worker that the pool's own thread has just reaped passes for alive for a moment.
    while any(worker.is_alive() for worker in workers) and time.monotonic() - start < 10:
        time.sleep(0.05)
    assert time.monotonic() - start < 10


SCRIPT = """
import time
from hashing.counting import approxmc
from inference.workers import dispatch
from inference.problems import generators

if __name__ == "__main__":
    with dispatch.open_pool(2) as pool:
        _, info = approxmc.count(generators.chain(60), seed=1, epsilon=0.05, executor=pool,
            progress=lambda text: print(text, flush=True),
        )
    print(info.status)
"""


def test_ctrl_c_at_a_terminal_reaches_all_processes(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, path], start_new_session=True, **pipes) as child:
        try:
            while "rounds" not in (line := child.stdout.readline()):
                assert line, child.stderr.read()
            time.sleep(1.0)
            os.killpg(child.pid, signal.SIGINT)
            out, errors = child.communicate(timeout=10)
        finally:
            child.kill()
    assert out.splitlines()[-1] == "interrupted"
    assert (errors, child.returncode) == ("", 0)


@pytest.mark.slow
def test_a_dask_worker_that_dies():
    distributed = pytest.importorskip("distributed")
    import dask

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(n_workers=1, dashboard_address="127.0.0.1:0") as cluster,
        distributed.Client(cluster) as client,
    ):
        pids = list(client.run(os.getpid).values())

        def progress(text):
            if text.startswith("2 of") and pids:
                os.kill(pids.pop(), signal.SIGKILL)

        options = {"epsilon": 0.3, "delta": 0.1, "progress": progress, "timeout": 30}
        result, info = approxmc.count(SLOW, seed=3, executor=client.get_executor(), **options)
    check_early(result, info, "failed")
