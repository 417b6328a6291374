"""The rounds of a hashing count, one after the other or over any executor.

    >>> for outcome in run(tasks): print(outcome.number, outcome.finished)

What a round finds is a function of its parities alone: the cells are nested, so the first small one
does not depend on where the search starts. A count is therefore the same whoever runs its rounds,
in any order.
"""

import collections
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import NamedTuple

import numpy as np

from hashing.cells import levels, nested_cells
from hashing.counting import searches
from hashing.counting.witness import Round
from inference import limits
from inference.oracles import protocol
from inference.problems import cnf
from inference.workers import dispatch

DEATHS = (futures.BrokenExecutor, MemoryError)
Stop = Callable[[], bool]

# Up to this start there may be few enough models to list them all instead of hashing.
WORTH_LISTING = 3
# How long a stopped worker may take to report what it has, and how often its parent looks.
GRACE_SECONDS, POLL_SECONDS = 2.0, 0.01


class RoundTask(NamedTuple):
    """One round; with an importable ``open_session`` it can travel.

    ``deadline`` is a reading of ``time.time()``, which machines share, ``start`` a level to search
    from; up to ``exact_limit`` models are worth listing.
    """

    number: int
    formula: cnf.CNF
    draw_key: int
    threshold: int
    exact_limit: int
    deadline: float
    open_session: Callable[[cnf.CNF], protocol.SatSession]
    start: int = 0


class RoundOutcome(NamedTuple):
    """What became of a round; ``finished`` is None where it was cut, ``ending`` says by what.

    ``level`` is told once, before the first round, where it is no use to list all models: a level
    to search from.
    """

    number: int
    finished: Round | None
    reached: nested_cells.Reached
    calls: int
    ending: searches.Ending = searches.Ending()
    level: int | None = None


def run(
    tasks: Sequence[RoundTask],
    start: int | None = None,
    executor: futures.Executor | None = None,
    stop: Stop = lambda: False,
    progress: searches.Progress = lambda _: None,
    patience: float = 0.0,
) -> Iterator[RoundOutcome]:
    """Outcomes of the rounds, over an executor or, where there is none, here.

    Args:
      tasks: the rounds, at least one.
      start: a level to search from. Where none is known the cells of the first round show one, and
        whether all models are few enough to list, which ends the count.
      executor: where rounds run; None for here.
      stop: asked between queries; once it is true no more outcomes come.
      progress: called with a line that says where the count is.
      patience: rounds that are left go to the executor once they would take longer than this here,
        in seconds; by default all go.
    """
    first = _nested(tasks[0])
    try:
        if start is None:
            progress("looking for the level")
            start, ending = searches.attempt(lambda: locate(first, tasks[0], stop))
            listed = start is not None and first.reached.small_level == 0
            finished = Round(0, _sorted(first.models(0)), first.models(0)[:0]) if listed else None
            ends, over_all = start is None or listed, executor is not None and not patience
            calls = first.calls if ends or over_all else 0  # else counted with the round
            level = None if ends else start
            yield RoundOutcome(tasks[0].number, finished, first.reached, calls, ending, level)
            if start is None or listed:
                return
        left, began = [task._replace(start=start) for task in tasks], time.monotonic()
        nested: nested_cells.NestedCells | None = first
        expected = 0.0
        while left and (executor is None or expected < patience):
            prefix = f"round {left[0].number + 1} of {tasks[-1].number + 1}, "
            outcome = run_round(left[0], stop, lambda text: progress(prefix + text), nested)
            yield outcome
            if outcome.finished is None:
                return
            left = [task._replace(start=outcome.finished.num_hashes) for task in left[1:]]
            nested = None
            expected = (time.monotonic() - began) / (len(tasks) - len(left)) * len(left)
        if executor is not None and left:
            yield from _run_over(left, executor, stop, progress)
    finally:
        first.close()


def run_round(
    task: RoundTask,
    stop: Stop = lambda: False,
    progress: searches.Progress = lambda _: None,
    nested: nested_cells.NestedCells | None = None,
) -> RoundOutcome:
    """One round up to its first small cell, in cells that may know models already."""
    nested = _nested(task) if nested is None else nested
    limit, deadline = task.threshold + 1, _deadline(task, stop)

    def size(level: int) -> int:
        progress(f"{level} hashes")
        return nested.fill(level, limit, deadline)

    level, ending = searches.attempt(lambda: levels.first_small(size, task.start, limit))
    nested.close()
    finished = None if level is None else _finish(nested, level, limit)
    return RoundOutcome(task.number, finished, nested.reached, nested.calls, ending)


def locate(nested: nested_cells.NestedCells, task: RoundTask, stop: Stop = lambda: False) -> int:
    """Near the first small level; all models are listed where that is early."""
    deadline = _deadline(task, stop)
    if nested.fill(0, 1, deadline) == 0:
        return 0
    # Down from the top, where parities leave little to search, to the first empty cell. The cell
    # before it has about one model.
    top = nested.num_columns + 1
    empty = levels.first_level(lambda level: nested.fill(level, 1, deadline) == 0, top)
    start = max(0, empty - max(task.threshold, 1).bit_length())
    if start <= WORTH_LISTING:
        nested.fill(0, task.exact_limit, deadline)
    return start


def _nested(task: RoundTask) -> nested_cells.NestedCells:
    return nested_cells.NestedCells(task.formula, task.open_session, task.draw_key)


def _finish(nested: nested_cells.NestedCells, level: int, limit: int) -> Round:
    models = _sorted(nested.models(level))
    before = nested.models(level - 1)[:limit] if level else models[:0]
    return Round(level, models, _sorted(before))


def _sorted(models: np.ndarray) -> np.ndarray:
    return models[np.lexsort(models.T[::-1])] if models.size else models


def _run_over(
    tasks: Sequence[RoundTask],
    executor: futures.Executor,
    stop: Callable[[], bool],
    progress: searches.Progress,
) -> Iterator[RoundOutcome]:
    """As they come."""
    done: collections.deque[futures.Future] = collections.deque()
    try:
        pending = dispatch.submit(executor, run_round, tasks)
    except futures.BrokenExecutor as error:
        yield _died(error)
        return
    for future in pending:
        # Not futures.wait: Ctrl-C inside one of its locks could leave it locked.
        future.add_done_callback(done.append)
    last, number = tasks[0].deadline + GRACE_SECONDS, 0
    try:
        while number < len(tasks) and not stop() and time.time() < last:
            progress(f"{number} of {len(tasks)} rounds")
            if not done:
                time.sleep(POLL_SECONDS)
                continue
            yield _outcome(done.popleft())
            number += 1
    finally:
        for future in pending:
            future.cancel()


def _outcome(future: futures.Future) -> RoundOutcome:
    try:
        return future.result()
    except Exception as error:
        # Of its memory limit, perhaps. Dask has an exception of its own.
        if isinstance(error, DEATHS) or type(error).__name__ == "KilledWorker":
            return _died(error)
        raise


def _died(error: Exception) -> RoundOutcome:
    text = " ".join(str(error).split())
    ending = searches.Ending("failed", f"a worker died: {text}")
    return RoundOutcome(-1, None, nested_cells.Reached(), 0, ending)


def _deadline(task: RoundTask, stop: Stop) -> limits.Deadline:
    return limits.Deadline(time.monotonic() + task.deadline - time.time(), stop)
