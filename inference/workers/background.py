"""A call in a child process that works beside its parent: what it has yielded outlives it.

    >>> with Child(improve, problem) as child:
    ...     child.wait(10.0)
    >>> best = child.read().value

The child is that of ``process``.
"""

import inspect
import os
import pickle
import signal
import struct
import subprocess
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

from inference import answer
from inference.workers import process

_LENGTH = struct.Struct("<Q")  # of a value in the file that a child tells them in


class ChildReport(NamedTuple):
    """What a child has said: its last value, and "running", "done" or "failed" with a message."""

    value: Any
    status: str
    message: str = ""


class Child:
    """A function at work in a child process; each value that it yields can be read at once.

    Leaving the block kills it. What it had yielded by then in full is not lost.

    Args:
      function: importable by name; a generator, or one that returns a single value.
      arguments: picklable, as are the values.
      memory: mebibytes the child may take, as for ``process.limit_memory``; None for no limit.

    Raises:
      ValueError: the function cannot be imported by name, or the memory is below
        ``process.LEAST_MEMORY``.
    """

    def __init__(self, function: Callable, *arguments: Any, memory: int | None = None):
        self._memory = memory
        # Files rather than pipes: nobody has to empty them while the child works.
        self._values, self._reply, self._errors = (tempfile.TemporaryFile() for _ in range(3))
        self._told: ChildReport | None = None
        descriptor = self._values.fileno()
        request = (descriptor, function, arguments)
        files = (self._reply, self._errors)
        self._process = process.start(memory, _tell, request, {}, *files, kept=(descriptor,))

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: Any) -> None:
        was_running = self._process.poll() is None
        self._process.kill()
        self._process.wait()
        self._told = self._read(was_running)
        for file in (self._values, self._reply, self._errors):
            file.close()

    def wait(self, seconds: float) -> bool:
        """Waits until it ends, at most so long; whether it has ended."""
        try:
            self._process.wait(max(seconds, 0.0))
        except subprocess.TimeoutExpired:
            return False
        return True

    def interrupt(self, seconds: float) -> None:
        """Has it end as after Ctrl-C, and waits at most so long for what it tells then."""
        self._process.send_signal(signal.SIGINT)
        self.wait(seconds)

    def read(self) -> ChildReport:
        """The last value told in full, None without one; what was killed stays "running"."""
        return self._told or self._read(self._process.poll() is None)

    def _read(self, is_running: bool) -> ChildReport:
        value = _last_value(self._values.fileno())
        if is_running:
            return ChildReport(value, "running")
        self._reply.seek(0)
        self._errors.seek(0)
        written, code = (self._reply.read(), self._errors.read()), self._process.returncode
        ended = process.read_reply(*written, code, 0.0, self._memory)
        if ended.status is answer.Status.FAILED:
            return ChildReport(value, "failed", ended.message.removeprefix("ValueError: "))
        return ChildReport(value, "done")


def _tell(descriptor: int, function: Callable, arguments: tuple) -> None:
    """In the child: writes what the function returns, or yields, each with its length before it."""
    result = function(*arguments)
    for value in result if inspect.isgenerator(result) else [result]:
        written = pickle.dumps(value)
        with os.fdopen(os.dup(descriptor), "ab") as file:
            file.write(_LENGTH.pack(len(written)) + written)


def _last_value(descriptor: int) -> Any:
    """The last of the values that are there in full; the child goes on writing meanwhile."""
    at, last, size = 0, None, os.fstat(descriptor).st_size
    while at + _LENGTH.size <= size:
        [length] = _LENGTH.unpack(os.pread(descriptor, _LENGTH.size, at))
        at += _LENGTH.size
        if at + length > size:
            break
        last = at, length
        at += length
    return None if last is None else pickle.loads(os.pread(descriptor, last[1], last[0]))
