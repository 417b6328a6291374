"""The rounds of a hashing count, one after the other or over any executor.

    >>> for outcome in run_here(tasks): print(outcome.number, outcome.finished)

What a round finds is a function of its parities alone: the cells are nested, so the first small one
does not depend on where the search starts. A count is therefore the same whoever runs its rounds,
in any order.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Any, NamedTuple

import numpy as np

from hashing.counting import anytime, cells
from hashing.counting.witness import Round
from inference.problems import cnf

Stop = Callable[[], bool]
Progress = Callable[[str], None]

# How long a stopped worker may take to report what it has, and how often its parent looks.
GRACE_SECONDS, POLL_SECONDS = 2.0, 0.05


class Task(NamedTuple):
    """One round; with an importable ``open_session`` it can travel.

    ``deadline`` is a reading of ``time.time()``, which machines share, ``start`` a level to search
    from, None where nothing is known.
    """

    number: int
    formula: cnf.CNF
    draw_key: int
    threshold: int
    assumptions: tuple[int, ...]
    deadline: float
    open_session: Callable[[cnf.CNF], Any]
    start: int | None = None


class Outcome(NamedTuple):
    """What became of a round; ``finished`` is None where the time was too short."""

    number: int
    finished: Round | None
    reached: anytime.Reached
    calls: int
    interrupted: bool = False
    message: str = ""


def run_here(
    tasks: Sequence[Task], stop: Stop = lambda: False, progress: Progress = lambda _: None
) -> Iterator[Outcome]:
    """Outcomes in order, up to the first that is unfinished; each starts from the last level."""
    start = None
    for task in tasks:
        prefix = f"round {task.number + 1} of {tasks[-1].number + 1}, "
        outcome = run_round(task._replace(start=start), stop, _prefixed(progress, prefix))
        yield outcome
        if outcome.finished is None:
            return
        start = outcome.finished.num_hashes


def run_over(
    tasks: Sequence[Task],
    executor: futures.Executor,
    stop: Stop = lambda: False,
    progress: Progress = lambda _: None,
) -> Iterator[Outcome]:
    """Outcomes as they come, over an executor; all of them start from one level, found here."""
    progress("looking for the level")
    first = _nested(tasks[0], stop)
    try:
        start = locate(first, tasks[0].threshold, _monotonic(tasks[0].deadline))
        yield from _collect([t._replace(start=start) for t in tasks], executor, stop, progress)
    except cells.OutOfTime:
        yield Outcome(tasks[0].number, None, first.reached, first.calls)
    finally:
        first.close()


def run_round(
    task: Task, stop: Stop = lambda: False, progress: Progress = lambda _: None
) -> Outcome:
    """One round from its first query to its first small cell."""
    nested = _nested(task, stop)
    limit, deadline = task.threshold + 1, _monotonic(task.deadline)

    def is_small(level: int) -> bool:
        progress(f"{level} hashes")
        return nested.fill(level, limit, deadline) < limit

    finished, interrupted = None, False
    try:
        start = task.start
        if start is None:
            progress("looking for the level")
            start = locate(nested, task.threshold, deadline)
        finished = _finish(nested, first_level(is_small, start), limit)
    except cells.OutOfTime:
        pass
    except KeyboardInterrupt:
        interrupted = True
    finally:
        nested.close()
    return Outcome(task.number, finished, nested.reached, nested.calls, interrupted)


def locate(nested: cells.NestedCells, threshold: int, deadline: float) -> int:
    """Near the first small level: the deepest cell with a model has about one."""
    if nested.fill(0, 1, deadline) == 0:
        return 0
    top = nested.num_columns + 1
    # Down from the top, where parities leave little to search.
    empty = first_level(lambda level: nested.fill(level, 1, deadline) == 0, top)
    return max(0, empty - max(threshold, 1).bit_length() + 1)


def first_level(is_small: Callable[[int], bool], start: int) -> int:
    """The least m >= 0 with ``is_small(m)``, for a monotone predicate.

    Gallops from ``start`` with doubling steps, then bisects.
    """
    step, low, high = 1, -1, max(start, 0)
    if is_small(high):
        while high - step > low and is_small(high - step):
            high, step = high - step, 2 * step
        low = max(low, high - step)
    else:
        while not is_small(high + step):
            high, step = high + step, 2 * step
        low, high = high, high + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_small(middle) else (middle, high)
    return high


def _nested(task: Task, stop: Stop) -> cells.NestedCells:
    return cells.NestedCells(
        task.formula, task.open_session, task.draw_key, assumptions=task.assumptions, stop=stop
    )


def _finish(nested: cells.NestedCells, level: int, limit: int) -> Round:
    models = _sorted(nested.models(level))
    before = nested.models(level - 1)[:limit] if level else models[:0]
    return Round(level, models, _sorted(before))


def _sorted(models: np.ndarray) -> np.ndarray:
    return models[np.lexsort(models.T[::-1])] if models.size else models


def _collect(
    tasks: Sequence[Task], executor: futures.Executor, stop: Stop, progress: Progress
) -> Iterator[Outcome]:
    pending = {executor.submit(run_round, task) for task in tasks}
    last = tasks[0].deadline + GRACE_SECONDS
    try:
        while pending and not stop() and time.time() < last:
            progress(f"{len(tasks) - len(pending)} of {len(tasks)} rounds")
            done, pending = futures.wait(pending, POLL_SECONDS, futures.FIRST_COMPLETED)
            yield from map(_outcome, done)
    finally:
        for future in pending:
            future.cancel()


def _outcome(future: futures.Future) -> Outcome:
    try:
        return future.result()
    except futures.BrokenExecutor as error:  # a worker died, of its memory limit perhaps
        return Outcome(-1, None, anytime.Reached(), 0, message=f"a worker died: {error}")


def _prefixed(progress: Progress, prefix: str) -> Progress:
    return lambda text: progress(prefix + text)


def _monotonic(deadline: float) -> float:
    return time.monotonic() + deadline - time.time()
