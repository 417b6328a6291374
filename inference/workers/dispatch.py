"""Many questions to one oracle, here or over any executor: order kept, failures named.

    >>> answers = solve_many(solve_cell, cells, executor=pool, timeout=60)
    >>> [a.status for a in answers]

An oracle is a function from one task to an ``Answer``. For a pool of processes it must be
importable by name, and the pool should be spawn-started.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any

from inference import answer, limits
from inference.workers import process


def solve_many(
    oracle: Callable[[Any], answer.Answer],
    tasks: Iterable[Any],
    *,
    executor: futures.Executor | None = None,
    timeout: float | None = None,
) -> list[answer.Answer]:
    """Answers in the order of the tasks.

    Args:
      oracle: answers one task; what it raises becomes a FAILED answer that names the task.
      tasks: the questions.
      executor: where they run; None for this process, one after the other.
      timeout: seconds for all of them. What has not started by then, or runs in a pool and has not
        ended, is UNKNOWN; a pool cannot stop a running task, so tasks need limits of their own.
    """
    deadline = limits.Deadline.after(timeout)
    if executor is None:
        return [_solve_here(oracle, i, task, deadline) for i, task in enumerate(tasks)]
    pending = submit(executor, oracle, tasks)
    try:
        return [_collect(i, future, deadline) for i, future in enumerate(pending)]
    finally:
        for future in pending:
            future.cancel()


def submit(
    executor: futures.Executor, function: Callable, tasks: Iterable[Any]
) -> list[futures.Future]:
    """Submits each task, so that processes and threads started for it leave Ctrl-C to others.

    They inherit that it is blocked. A worker that blocks it later is late: numpy has started
    threads by then, and a signal goes to any thread that accepts it, so that a solver's own handler
    would run and print.
    """
    with process.without_ctrl_c():
        return [executor.submit(function, task) for task in tasks]


class Watched(futures.Executor):
    """An executor that calls ``on_task`` before it takes a task."""

    def __init__(self, executor: futures.Executor, on_task: Callable[[], None]) -> None:
        self._executor, self._on_task = executor, on_task

    def submit(self, function: Callable, /, *arguments: Any, **options: Any) -> futures.Future:
        """As that of the executor."""
        self._on_task()
        return self._executor.submit(function, *arguments, **options)


@contextlib.contextmanager
def open_pool(workers: int, *, memory: int | None = None) -> Iterator[futures.Executor]:
    """A spawn-started pool of processes that leaves Ctrl-C to its parent and ends with the block.

    Tasks that still run then are killed. As always with spawned processes, a script that opens a
    pool needs the guard ``if __name__ == "__main__"``.

    Args:
      workers: number of processes.
      memory: mebibytes each may take, as for ``process.limit_memory``; one that needs more dies,
        and breaks the pool.

    Raises:
      ValueError: the memory is too small to start a worker.
    """
    process.check_memory(memory)
    context = multiprocessing.get_context("spawn")
    pool = futures.ProcessPoolExecutor(workers, context, _start_worker, (memory,))
    try:
        yield pool
    finally:
        alive = list((pool._processes or {}).values())  # from Python 3.14 on: kill_workers
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in alive:
            worker.kill()


def _start_worker(memory: int | None) -> None:
    # Solvers take Ctrl-C for themselves; blocked, it cannot reach them.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    os.environ["JAX_PLATFORMS"] = "cpu"  # a worker touches no device
    if memory is not None:
        # Of a worker that dies its parent tells; what solvers and threads say meanwhile is noise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    process.limit(memory)


def _solve_here(
    oracle: Callable, index: int, task: Any, deadline: limits.Deadline
) -> answer.Answer:
    if deadline.has_passed():
        return answer.Answer(answer.Status.UNKNOWN, message="not started in time")
    try:
        return oracle(task)
    except Exception as error:  # one broken task must not lose the others
        return _failure(index, error)


def _collect(index: int, future: futures.Future, deadline: limits.Deadline) -> answer.Answer:
    try:
        return future.result(deadline.timeout)
    except futures.TimeoutError:
        return answer.Answer(answer.Status.UNKNOWN, message="not finished in time")
    except Exception as error:
        return _failure(index, error)


def _failure(index: int, error: Exception) -> answer.Answer:
    message = f"task {index}: {type(error).__name__}: {error}"
    return answer.Answer(answer.Status.FAILED, message=message)
