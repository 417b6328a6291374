"""One call in a child process that can be stopped: a deadline, a memory limit, no debris.

    >>> call(math.factorial, 20, timeout=10).value
    2432902008176640000

For solvers that take no limit of their own. ``call`` waits for the result; a ``Child`` works beside
its parent, and what a generator has yielded there outlives it. A child is a fresh interpreter that
imports only the module of the function, so it starts in a tenth of a second and needs no guard in
the caller's script. It is in a session of its own, so Ctrl-C reaches only the parent, and it dies
with it.
"""

import contextlib
import inspect
import math
import os
import pathlib
import pickle
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from inference import answer, limits

POLL_SECONDS = 0.05  # between two looks at ``stop``
LEAST_MEMORY = 32  # mebibytes; with less a process cannot even load its solvers
_PARENT_DIED_SIGNAL = 1  # PR_SET_PDEATHSIG, see prctl(2)
_LENGTH = struct.Struct("<Q")  # of a value in the file that a child tells them in


def call(
    function: Callable,
    *arguments: Any,
    timeout: float | None = None,
    memory: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    pause: Callable[[], bool] = lambda: False,
    grace: float = 0.0,
) -> answer.Answer:
    """Runs ``function(*arguments)`` in a child process and waits for it.

    Args:
      function: importable by name.
      arguments: picklable, as is the result.
      timeout: seconds before the child is killed; None for no limit.
      memory: mebibytes the child may take, as for ``limit_memory``; None for no limit.
      stop: asked every few hundredths of a second; once it is true the child is killed.
      pause: asked as often; while it is true the child stands still.
      grace: seconds the child has left at Ctrl-C, which is passed on to it, to return a result.

    Returns:
      OPTIMAL with the result as ``value``, UNKNOWN at the time limit or a stop, or FAILED with a
      message: an exception, the memory limit, a crash.

    Raises:
      ValueError: the function cannot be imported by name, or the memory is below
        ``LEAST_MEMORY``.
      KeyboardInterrupt: and the child did not return a result in its grace.
    """
    check_memory(memory)
    _check_name(function)
    start = time.monotonic()
    child = _start_child(memory, function, arguments, subprocess.PIPE, subprocess.PIPE)
    with child:
        try:
            told = _communicate(child, start, timeout, stop, pause)
        except KeyboardInterrupt:
            told = _last_words(child, grace)
            if told is None:
                raise
        finally:
            child.kill()
            child.wait()
    seconds = time.monotonic() - start
    if told is None:
        return answer.Answer(answer.Status.UNKNOWN, seconds=seconds)
    return _read_reply(*told, child.returncode, seconds, memory)


class Told(NamedTuple):
    """What a child has said: its last value, and "running", "done" or "failed" with a message."""

    value: Any
    status: str
    message: str = ""


class Child:
    """A function at work in a child process; each value that it yields can be read at once.

        with Child(improve, problem) as child:
            child.wait(10.0)
        best = child.read().value

    Leaving the block kills it. What it had yielded by then in full is not lost.

    Args:
      function: importable by name; a generator, or one that returns a single value.
      arguments: picklable, as are the values.
      memory: mebibytes the child may take, as for ``limit_memory``; None for no limit.

    Raises:
      ValueError: the function cannot be imported by name, or the memory is below
        ``LEAST_MEMORY``.
    """

    def __init__(self, function: Callable, *arguments: Any, memory: int | None = None):
        check_memory(memory)
        _check_name(function)
        self._memory = memory
        # Files rather than pipes: nobody has to empty them while the child works.
        self._values, self._reply, self._errors = (tempfile.TemporaryFile() for _ in range(3))
        self._told: Told | None = None
        descriptor = self._values.fileno()
        request = (descriptor, function, arguments)
        files = (self._reply, self._errors)
        self._process = _start_child(memory, _tell, request, *files, kept=(descriptor,))

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

    def read(self) -> Told:
        """The last value told in full, None without one; what was killed stays "running"."""
        return self._told or self._read(self._process.poll() is None)

    def _read(self, is_running: bool) -> Told:
        value = _last_value(self._values.fileno())
        if is_running:
            return Told(value, "running")
        self._reply.seek(0)
        self._errors.seek(0)
        written, code = (self._reply.read(), self._errors.read()), self._process.returncode
        ended = _read_reply(*written, code, 0.0, self._memory)
        if ended.status is answer.Status.FAILED:
            return Told(value, "failed", ended.message.removeprefix("ValueError: "))
        return Told(value, "done")


def environment() -> dict[str, str]:
    """That of a child that must find this very package, wherever the parent found it."""
    root = str(pathlib.Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def limit(memory: int | None) -> None:
    """Limits this process, a worker: its memory, and its life to that of its parent."""
    _die_with(os.getppid())
    limit_memory(memory)


def limit_memory(memory: int | None) -> None:
    """Limits this process to some mebibytes more than it has now; None for no limit.

    What counts is private memory that can be written: not libraries, not address space that is
    only reserved. Python and numpy have some 100 MiB of it when they start, and more on machines of
    many cores, so this is left out. Beyond the limit allocations fail, in Python as MemoryError.
    """
    if memory is not None:
        import resource

        most = _taken() + memory * limits.MEBIBYTE
        resource.setrlimit(
            resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1])
        )


@contextlib.contextmanager
def limited(memory: int | None) -> Iterator[None]:
    """``limit_memory`` for the length of a block."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    try:
        limit_memory(memory)
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def check_memory(memory: int | None) -> None:
    """Raises ValueError where a limit is too small to start with."""
    if memory is not None and memory < LEAST_MEMORY:
        raise ValueError(f"expected at least {LEAST_MEMORY} MiB of memory, given {memory}")


@contextlib.contextmanager
def without_ctrl_c() -> Iterator[None]:
    """Blocks Ctrl-C in this thread; processes and threads that start meanwhile inherit that."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _communicate(
    child: subprocess.Popen,
    start: float,
    timeout: float | None,
    stop: Callable[[], bool],
    pause: Callable[[], bool],
) -> tuple[bytes, bytes] | None:
    """What the child wrote, None where the time limit or the stop came first."""
    paused = False
    while not stop():
        if pause() != paused:
            paused = not paused
            child.send_signal(signal.SIGSTOP if paused else signal.SIGCONT)
        left = math.inf if timeout is None else start + timeout - time.monotonic()
        if left <= 0:
            break
        try:
            return child.communicate(timeout=min(left, POLL_SECONDS))
        except subprocess.TimeoutExpired:
            continue
    return None


def _check_name(function: Callable) -> None:
    if function.__module__ == "__main__" or "<" in function.__qualname__:
        raise ValueError(f"expected a function importable by name, given {function.__qualname__}")


def _last_words(child: subprocess.Popen, grace: float) -> tuple[bytes, bytes] | None:
    """Passes Ctrl-C on; what the child replies to it, if anything."""
    if not grace:
        return None
    child.send_signal(signal.SIGINT)
    try:
        told = child.communicate(timeout=grace)
    except subprocess.TimeoutExpired:
        return None
    return told if told[0] else None


def _start_child(
    memory: int | None,
    function: Callable,
    arguments: tuple,
    reply: BinaryIO | int,
    errors: BinaryIO | int,
    kept: tuple[int, ...] = (),
) -> subprocess.Popen:
    # Ctrl-C is blocked while the child imports numpy, so that the threads this starts leave it to
    # the main one: a solver's handler would swallow it in another.
    with without_ctrl_c(), tempfile.TemporaryFile() as request:
        for part in (os.getpid(), function, memory, arguments):
            pickle.dump(part, request)
        request.seek(0)
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "inference.workers.process"],
            stdin=request,
            stdout=reply,
            stderr=errors,
            env=environment(),
            start_new_session=True,
            pass_fds=kept,
        )


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


def _read_reply(
    reply: bytes, errors: bytes, code: int, seconds: float, memory: int | None
) -> answer.Answer:
    if reply:
        succeeded, value = pickle.loads(reply)
        if succeeded:
            return answer.Answer(answer.Status.OPTIMAL, value, seconds=seconds)
        return answer.Answer(answer.Status.FAILED, seconds=seconds, message=value)
    last_line = errors.decode(errors="replace").strip().rsplit("\n", 1)[-1]
    message = f"the child process ended with status {code}: {last_line or 'no message'}"
    if memory is not None:  # what solvers say when they cannot allocate tells users nothing
        message = f"out of memory at the limit of {memory} MiB, or crashed with status {code}"
    return answer.Answer(answer.Status.FAILED, seconds=seconds, message=message)


def _main() -> None:
    """The child: one request on standard input, one reply on what was standard output."""
    sys.set_int_max_str_digits(0)  # solvers write counts of any size as text
    request = sys.stdin.buffer
    _die_with(pickle.load(request))
    function, memory = pickle.load(request), pickle.load(request)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    # Solvers print; the pipe is for the reply alone.
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        limit_memory(memory)
        reply = (True, function(*pickle.load(request)))
    except MemoryError:
        reply = (False, f"out of memory at the limit of {memory} MiB")
    except Exception as error:  # whatever went wrong is the answer
        reply = (False, f"{type(error).__name__}: {error}")
        if memory is not None and "bad_alloc" in str(error):
            reply = (False, f"out of memory at the limit of {memory} MiB")
    with pipe:
        pickle.dump(reply, pipe)


def _die_with(parent: int) -> None:
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None).prctl(_PARENT_DIED_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the request reached the kernel
            os._exit(1)


def _taken() -> int:
    """The bytes that a limit of data counts, 0 where the system does not say."""
    try:
        status = pathlib.Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return 1024 * int(re.findall(r"^VmData:\s*(\d+) kB", status, re.MULTILINE)[0])


if __name__ == "__main__":
    _main()
