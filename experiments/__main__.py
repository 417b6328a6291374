"""``python -m experiments`` is the same as ``tally``."""

import importlib
import importlib.util
import os
import signal
import sys
import time
from pathlib import Path

_STARTED = time.monotonic()  # importing takes a while, and a time limit is that of the command
INTERRUPTED = 130  # the exit status after Ctrl-C


def main() -> int:
    """Runs the command line and returns its exit status."""
    stranger = _package_of_another()
    if stranger:
        print(f"tally: error: {stranger}", file=sys.stderr)
        return 2
    _keep_compilations()
    try:
        _import_numpy()
        from experiments.cli import main

        status = main.main(sys.argv[1:], started=_STARTED)
        if status == INTERRUPTED and "jax" in sys.modules:
            # What JAX still computes in threads of its own may crash while Python winds up.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        return status
    except KeyboardInterrupt:  # while importing
        print("tally: interrupted", file=sys.stderr)
        return INTERRUPTED


def _keep_compilations() -> None:
    """Has JAX keep what it compiles on disk, where its own variables do not say otherwise.

    The child processes inherit the variables. JAX makes the folder with the first thing it keeps;
    where it could not, nothing is kept.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(home, "tally", "jax")
    there = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")


def _import_numpy() -> None:
    """Imports numpy so that Ctrl-C never goes to the threads it starts.

    They inherit the mask. A solver that takes the signal for itself while it runs can then be kept
    from doing so by blocking it in the main thread alone.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    importlib.import_module("numpy")
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _package_of_another() -> str:
    """Our packages carry common names: says so if another one stands in the way of ours."""
    ours = Path(__file__).resolve().parents[1]
    for name in ("inference", "hashing"):
        spec = importlib.util.find_spec(name)
        found = Path(spec.origin).resolve().parents[1] if spec and spec.origin else None
        if found != ours:
            return f"expected the package {name!r} in {ours}, given one in {found or 'no file'}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
