"""A count in a child process that is killed at its limits: then what holds at sight.

    >>> result, info = count(approxmc.count, formula, memory=512, timeout=60.0)
    >>> info.status, info.message
    ('failed', 'out of memory at the limit of 512 MiB')

For entries that keep no limit themselves. Solvers that run out of memory end their whole process.
"""

import pickle
import time
from collections.abc import Callable
from typing import Any, TypeVar

from inference import answer, estimate
from inference.problems import cnf, trivial
from inference.workers import process

I = TypeVar("I", bound=tuple)  # noqa: E741
# What the child may take at most to return what it has, at Ctrl-C or after its time limit.
GRACE_SECONDS = 3.0


def count(
    entry: Callable[..., tuple[estimate.Estimate, I]],
    formula: cnf.CNF,
    *,
    timeout: float | None = None,
    memory: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    grace: float = GRACE_SECONDS,
    **options: Any,
) -> tuple[estimate.Estimate, I | answer.Info]:
    """What ``entry(formula, timeout=timeout, **options)`` returns within its limits.

    Args:
      entry: importable by name.
      formula: what is counted.
      timeout: seconds, for the entry as well; None for no limit.
      memory: mebibytes that the child may take beyond what it has when it starts; None for no
        limit.
      stop: asked now and then; once it is true the child is killed.
      grace: seconds that the child has at most, at Ctrl-C or after the time limit, to return what
        it has. With 0 it is killed on the spot.
      options: of the entry; what another process can take.

    Returns:
      What the entry does; where the child was killed or died ``trivial.count``, with the status
      "timeout", "interrupted" or "failed" and a message.

    Raises:
      ValueError: the entry did, the memory is too small to start with, or an option cannot go to
        another process.
    """
    start = time.monotonic()
    _check_options(options)
    try:
        told = process.call(
            entry,
            formula,
            keywords=options | {"timeout": timeout},
            timeout=None if timeout is None else timeout + min(grace, 0.25 + timeout / 8),
            memory=memory,
            stop=stop,
            grace=grace,
        )
    except KeyboardInterrupt:
        return trivial.count(formula), answer.Info("interrupted", time.monotonic() - start)
    if told.status is answer.Status.OPTIMAL:
        result, info = told.value
        if memory is not None and info.message.startswith("out of memory"):
            info = info._replace(message=f"out of memory at the limit of {memory} MiB")
        return result, info
    if told.message.startswith("ValueError: "):
        raise ValueError(told.message.removeprefix("ValueError: "))
    status = "failed" if told.status is answer.Status.FAILED else "timeout"
    return trivial.count(formula), answer.Info(status, time.monotonic() - start, told.message)


def _check_options(options: dict[str, Any]) -> None:
    for name, value in options.items():
        try:
            pickle.dumps(value)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            message = f"expected {name} as another process can take it, given {value!r}"
            raise ValueError(message) from error
