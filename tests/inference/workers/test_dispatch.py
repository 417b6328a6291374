import functools
import math
import multiprocessing
import time
from concurrent import futures

import pytest

from inference import answer
from inference.workers import dispatch, process


def double(task):
    if task == 3:
        raise ValueError("three is too many")
    time.sleep(0.05 * (5 - task))  # later tasks finish first
    return answer.Answer(answer.Status.OPTIMAL, 2 * task)


def nap(task):
    time.sleep(task)
    return answer.Answer(answer.Status.OPTIMAL, task)


@pytest.fixture(params=["here", "threads"])
def executor(request):
    if request.param == "here":
        yield None
    else:
        with futures.ThreadPoolExecutor(4) as pool:
            yield pool


def test_order_is_kept_and_failures_are_named(executor):
    answers = dispatch.solve_many(double, range(5), executor=executor)
    assert [a.value for a in answers] == [0, 2, 4, None, 8]
    assert answers[3].status is answer.Status.FAILED
    assert answers[3].message == "task 3: ValueError: three is too many"


def test_the_time_limit_leaves_the_rest_unknown(executor):
    answers = dispatch.solve_many(
        nap, [0.0, 0.7, 0.7, 0.7, 0.7, 0.7], executor=executor, timeout=0.4
    )
    assert answers[0].status is answer.Status.OPTIMAL
    assert answers[-1].status is answer.Status.UNKNOWN


def test_no_tasks(executor):
    assert dispatch.solve_many(double, [], executor=executor) == []


def test_a_pool_of_processes():
    oracle = functools.partial(process.call, math.factorial)
    spawn = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(2, mp_context=spawn) as pool:
        answers = dispatch.solve_many(oracle, [5, -1, 3], executor=pool, timeout=60)
    assert [a.value for a in answers] == [120, None, 6]
    assert answers[1].status is answer.Status.FAILED
