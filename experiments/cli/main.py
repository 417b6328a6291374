"""The command line: ``tally VERB ...``, the same as ``python -m experiments VERB ...``.

    main.main(["count", "formula.cnf", "--epsilon", "0.3"])     # prints; returns the exit status

Each verb is a file of the folder ``verbs``, found there by its name and imported when it is asked
for: a dataclass of the same name holds its options and help text, ``main(words, started)`` carries
it out. Results go to standard output, progress and warnings to standard error. Whatever goes wrong
ends in one line there and exit status 2. Nothing imported here loads JAX, so an easy count takes
half a second.
"""

import contextlib
import difflib
import importlib
import io
import os
import pkgutil
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from experiments.cli import arguments, verbs

TRACEBACK = "TALLY_TRACEBACK"  # set in the environment, errors show where they come from
VERBS = tuple(sorted(found.name for found in pkgutil.iter_modules(verbs.__path__)))


def main(words: Sequence[str], *, started: float | None = None) -> int:
    """Carries out one command and returns the exit status: 0, 2 for errors, 130 for Ctrl-C.

    Time limits count from ``started``, a reading of ``time.monotonic()``, by default from now.
    """
    started = time.monotonic() if started is None else started
    sys.set_int_max_str_digits(0)  # counts are printed in full
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name must not cost the answer
    try:
        with _one_line_warnings():
            _dispatch(list(words), started)
            sys.stdout.flush()
        return 0
    except SystemExit as end:  # tyro printed a help text
        return int(end.code or 0)
    except BrokenPipeError:
        # Whoever read our output has gone; without this Python complains again while exiting.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("tally: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        print(f"tally: error: {_one_line(error)}", file=sys.stderr)
        return 2


def _dispatch(words: list[str], started: float) -> None:
    verb = words[0] if words else "--help"
    if verb == "help" and words[1:]:  # `tally help VERB`
        verb, words = words[1], [words[1], "--help"]
    if verb in ("-h", "--help", "help"):
        print(_overview())
    elif verb == "--version":
        import importlib.metadata

        print(f"tally {importlib.metadata.version('tally-inference')}")
    elif verb in VERBS:
        _module(verb).main(words[1:], started)
    else:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of: {', '.join(VERBS)}"
        raise arguments.UsageError(f"unknown command {verb!r}, {hint}")


def _module(verb: str) -> ModuleType:
    return importlib.import_module(f"{verbs.__name__}.{verb}")


def _overview() -> str:
    kinds = {verb: getattr(_module(verb), verb.capitalize()) for verb in VERBS}
    lines = [f"  {verb:<10} {kind.__doc__.splitlines()[0]}" for verb, kind in kinds.items()]
    return "\n".join(
        [
            "Tally counts, integrates and maximises over exponentially large discrete spaces,",
            "and says with every number what it guarantees.",
            "",
            "usage: tally COMMAND ...",
            "",
            *lines,
            "",
            "`tally COMMAND --help` explains one; `tally count` alone counts a shipped formula.",
            f"With {TRACEBACK}=1 in the environment errors show where they come from.",
        ]
    )


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Warnings meant for users become one line each; those for developers stay quiet."""

    def show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"tally: warning: {' '.join(str(message).split())}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show_warning
        yield


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        reason = error.strerror or type(error).__name__
        return f"{error.filename}: {reason[:1].lower()}{reason[1:]}"
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, ValueError | ImportError):
        return text or type(error).__name__
    return f"{type(error).__name__}: {text} ({TRACEBACK}=1 shows where)"
