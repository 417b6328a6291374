"""One call in a child process that can be stopped: a deadline, a memory limit, no debris.

    >>> call(math.factorial, 20, timeout=10).value
    2432902008176640000

For solvers that take no limit of their own. A child is a fresh interpreter that imports only the
module of the function, so it starts in a tenth of a second and needs no guard in the caller's
script. It is in a session of its own, so Ctrl-C reaches only the parent, and it dies with it.
"""

import contextlib
import os
import pathlib
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from inference import answer, limits

POLL_SECONDS = 0.05  # between two looks at ``stop``
LEAST_MEMORY = 32  # mebibytes; with less a process cannot even load its solvers
_PARENT_DIED_SIGNAL = 1  # PR_SET_PDEATHSIG, see prctl(2)


def call(
    function: Callable,
    *arguments: Any,
    keywords: dict[str, Any] | None = None,
    timeout: float | None = None,
    memory: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    pause: Callable[[], bool] = lambda: False,
    grace: float = 0.0,
) -> answer.Answer:
    """Runs ``function(*arguments, **keywords)`` in a child process and waits for it.

    Args:
      function: importable by name; what its module imports takes none of the memory.
      arguments: picklable, as is the result.
      keywords: picklable.
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
    begun, deadline = time.monotonic(), limits.Deadline.after(timeout, stop)
    request = function, arguments, keywords or {}
    child = start(memory, *request, subprocess.PIPE, subprocess.PIPE)
    with child:
        try:
            told = _communicate(child, deadline, pause)
        except KeyboardInterrupt:
            told = _last_words(child, grace)
            if told is None:
                raise
        finally:
            child.kill()
            child.wait()
    seconds = time.monotonic() - begun
    if told is None:
        return answer.Answer(answer.Status.UNKNOWN, seconds=seconds)
    return read_reply(*told, child.returncode, seconds, memory)


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
    child: subprocess.Popen, deadline: limits.Deadline, pause: Callable[[], bool]
) -> tuple[bytes, bytes] | None:
    """What the child wrote, None where the deadline came first."""
    paused = False
    while not deadline.has_passed():
        if pause() != paused:
            paused = not paused
            child.send_signal(signal.SIGSTOP if paused else signal.SIGCONT)
        try:
            return child.communicate(timeout=min(deadline.left, POLL_SECONDS))
        except subprocess.TimeoutExpired:
            continue
    return None


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


def start(
    memory: int | None,
    function: Callable,
    arguments: tuple,
    keywords: dict[str, Any],
    reply: BinaryIO | int,
    errors: BinaryIO | int,
    kept: tuple[int, ...] = (),
) -> subprocess.Popen:
    """A child at work, whose reply ``read_reply`` reads; ``kept`` are files that it shares.

    Raises:
      ValueError: as for ``call``.
    """
    check_memory(memory)
    if function.__module__ == "__main__" or "<" in function.__qualname__:
        raise ValueError(f"expected a function importable by name, given {function.__qualname__}")
    # Ctrl-C is blocked while the child imports numpy, so that the threads this starts leave it to
    # the main one: a solver's handler would swallow it in another.
    with without_ctrl_c(), tempfile.TemporaryFile() as request:
        for part in (os.getpid(), function, memory, (arguments, keywords)):
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


def read_reply(
    reply: bytes, errors: bytes, code: int, seconds: float, memory: int | None
) -> answer.Answer:
    """What a child that ended has written, as ``call`` returns it."""
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
        # What the arguments import, as scipy, may hang for ever under a limit.
        arguments, keywords = pickle.load(request)
        with limited(memory):  # the reply is written without one
            reply = (True, function(*arguments, **keywords))
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
