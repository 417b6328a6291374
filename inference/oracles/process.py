"""One call in a child process that can be stopped: a deadline, a memory limit, no debris.

    >>> call(math.factorial, 20, timeout=10).value
    2432902008176640000

For solvers that take no limit of their own. The child is a fresh interpreter that imports only the
module of the function, so it starts in a tenth of a second and needs no guard in the caller's
script. It is in a session of its own, so Ctrl-C reaches only the parent, and it dies with it.
"""

import math
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, BinaryIO

from inference import answer

POLL_SECONDS = 0.05  # between two looks at ``stop``
_PARENT_DIED_SIGNAL = 1  # PR_SET_PDEATHSIG, see prctl(2)


def call(
    function: Callable,
    *arguments: Any,
    timeout: float | None = None,
    memory: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> answer.Answer:
    """Runs ``function(*arguments)`` in a child process and waits for it.

    Args:
      function: importable by name.
      arguments: picklable, as is the result.
      timeout: seconds before the child is killed; None for no limit.
      memory: bytes of address space the child may use; None for no limit.
      stop: asked every few hundredths of a second; once it is true the child is killed.

    Returns:
      OPTIMAL with the result as ``value``, UNKNOWN at the time limit or a stop, or FAILED with a
      message: an exception, the memory limit, a crash.

    Raises:
      ValueError: the function cannot be imported by name.
    """
    if function.__module__ == "__main__" or "<" in function.__qualname__:
        raise ValueError(f"expected a function importable by name, given {function.__qualname__}")
    start = time.monotonic()
    with tempfile.TemporaryFile() as request:
        pickle.dump((os.getpid(), memory), request)
        pickle.dump((function, arguments), request)
        request.seek(0)
        child = _start_child(request)
    with child:
        try:
            told = _communicate(child, start, timeout, stop)
        finally:
            child.kill()
            child.wait()
    seconds = time.monotonic() - start
    if told is None:
        return answer.Answer(answer.Status.UNKNOWN, seconds=seconds)
    return _read_reply(*told, child.returncode, seconds)


def environment() -> dict[str, str]:
    """That of a child that must find this very package, wherever the parent found it."""
    root = str(pathlib.Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def limit(memory: int | None) -> None:
    """Limits this process, a worker: the bytes it may use, and its life to that of its parent."""
    _die_with(os.getppid())
    if memory is not None:
        _limit_memory(memory)


def _communicate(
    child: subprocess.Popen, start: float, timeout: float | None, stop: Callable[[], bool]
) -> tuple[bytes, bytes] | None:
    """What the child wrote, None where the time limit or the stop came first."""
    while not stop():
        left = math.inf if timeout is None else start + timeout - time.monotonic()
        if left <= 0:
            break
        try:
            return child.communicate(timeout=min(left, POLL_SECONDS))
        except subprocess.TimeoutExpired:
            continue
    return None


def _start_child(request: BinaryIO) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "inference.oracles.process"],
        stdin=request,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        start_new_session=True,
    )


def _read_reply(reply: bytes, errors: bytes, code: int, seconds: float) -> answer.Answer:
    if reply:
        succeeded, value = pickle.loads(reply)
        if succeeded:
            return answer.Answer(answer.Status.OPTIMAL, value, seconds=seconds)
        return answer.Answer(answer.Status.FAILED, seconds=seconds, message=value)
    last_line = errors.decode(errors="replace").strip().rsplit("\n", 1)[-1]
    message = f"the child process ended with status {code}: {last_line or 'no message'}"
    return answer.Answer(answer.Status.FAILED, seconds=seconds, message=message)


def _main() -> None:
    """The child: one request on standard input, one reply on what was standard output."""
    parent, memory = pickle.load(sys.stdin.buffer)
    _die_with(parent)
    if memory is not None:
        _limit_memory(memory)
    function, arguments = pickle.load(sys.stdin.buffer)
    # Solvers print; the pipe is for the reply alone.
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        reply = (True, function(*arguments))
    except MemoryError:
        reply = (False, f"out of memory at the limit of {memory} bytes")
    except Exception as error:  # whatever went wrong is the answer
        reply = (False, f"{type(error).__name__}: {error}")
    with pipe:
        pickle.dump(reply, pipe)


def _die_with(parent: int) -> None:
    if sys.platform.startswith("linux"):
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(_PARENT_DIED_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the request reached the kernel
            os._exit(1)


def _limit_memory(memory: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


if __name__ == "__main__":
    _main()
