"""Limits on time and memory: one clock, one exception, one loop that keeps them.

    >>> deadline = Deadline.after(10.0)
    >>> run_until(lambda x: x / 2, 1.0, lambda x: x < 0.1, deadline)
    (0.0625, 'done')

Every entry takes ``timeout`` in seconds and ``memory`` in mebibytes, None for no limit. The clock
is that of ``time.monotonic()``, which all processes of a machine share.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import TypeVar

MEBIBYTE = 2**20
S = TypeVar("S")


class OutOfTime(Exception):
    """The time was over inside a computation that has nothing to return yet."""


def _never() -> bool:
    return False


@dataclasses.dataclass(frozen=True)
class Deadline:
    """When to stop: at a moment on the clock, or once ``stop`` answers true.

    Attributes:
      at: a reading of ``time.monotonic()``; infinite without a limit.
      stop: asked as often as the clock is looked at.
      start: a reading of the clock when the work began.
    """

    at: float = math.inf
    stop: Callable[[], bool] = _never
    start: float = dataclasses.field(default_factory=time.monotonic, compare=False)

    @classmethod
    def after(cls, timeout: float | None, stop: Callable[[], bool] = _never) -> "Deadline":
        """In so many seconds; without a limit for None."""
        return cls(math.inf if timeout is None else time.monotonic() + timeout, stop)

    @property
    def seconds(self) -> float:
        """Wall time since the start."""
        return time.monotonic() - self.start

    @property
    def left(self) -> float:
        """Seconds, at least 0."""
        return max(0.0, self.at - time.monotonic())

    @property
    def timeout(self) -> float | None:
        """The seconds that are left as an entry takes them: None without a limit."""
        return None if self.at == math.inf else self.left

    def has_passed(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self.at or self.stop()

    def check(self) -> None:
        """Raises OutOfTime once the time is over."""
        if self.has_passed():
            raise OutOfTime

    def part(self, share: float) -> "Deadline":
        """When this share of the time that is left has gone."""
        now = time.monotonic()
        return dataclasses.replace(self, at=now + share * max(0.0, self.at - now))


NEVER = Deadline()


def run_until(
    advance: Callable[[S], S], state: S, done: Callable[[S], bool], deadline: Deadline = NEVER
) -> tuple[S, str]:
    """Advances until a state is done or the time is over.

    Returns:
      The last state, and "done", "timeout" or, after Ctrl-C, "interrupted".
    """
    try:
        while not done(state):
            if deadline.has_passed():
                return state, "timeout"
            state = advance(state)
    except KeyboardInterrupt:
        return state, "interrupted"
    return state, "done"


def require_memory(octets: float, memory: float | None, what: str) -> None:
    """Raises ValueError where ``what`` takes more octets than ``memory`` mebibytes."""
    if memory is not None and octets > memory * MEBIBYTE:
        needed = octets / MEBIBYTE
        raise ValueError(
            f"expected {what} of at most {memory:.6g} MiB, given one of {needed:.6g} MiB"
        )
