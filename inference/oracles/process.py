"""One call in a child process that can be stopped: a deadline, a memory limit, no debris.

    >>> call(math.factorial, 20, timeout=10).value
    2432902008176640000

For solvers that take no limit of their own. The child is a fresh interpreter that imports only the
module of the function, so it starts in a tenth of a second and needs no guard in the caller's
script. It is in a session of its own, so Ctrl-C reaches only the parent, and it dies with it.
"""

import os
import pathlib
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from inference import answer

_PARENT_DIED_SIGNAL = 1  # PR_SET_PDEATHSIG, see prctl(2)


def call(
    function: Callable,
    *arguments: Any,
    timeout: float | None = None,
    memory: int | None = None,
) -> answer.Answer:
    """Runs ``function(*arguments)`` in a child process and waits for it.

    Args:
      function: importable by name.
      arguments: picklable, as is the result.
      timeout: seconds before the child is killed; None for no limit.
      memory: bytes of address space the child may use; None for no limit.

    Returns:
      OPTIMAL with the result as ``value``, UNKNOWN at the time limit, or FAILED with a message:
      an exception, the memory limit, a crash.

    Raises:
      ValueError: the function cannot be imported by name.
    """
    if function.__module__ == "__main__" or "<" in function.__qualname__:
        raise ValueError(f"expected a function importable by name, given {function.__qualname__}")
    start = time.monotonic()
    with _start_child() as child:
        try:
            request = pickle.dumps((os.getpid(), memory)) + pickle.dumps((function, arguments))
            reply, errors = child.communicate(request, timeout)
        except subprocess.TimeoutExpired:
            return answer.Answer(answer.Status.UNKNOWN, seconds=time.monotonic() - start)
        finally:
            child.kill()
            child.wait()
    return _read_reply(reply, errors, child.returncode, time.monotonic() - start)


def _start_child() -> subprocess.Popen:
    # The child must find this very package, wherever the parent found it.
    root = str(pathlib.Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "inference.oracles.process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
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
