"""How verbs parse their words: tyro, with its errors in one line, and the checks they share.

    arguments.parse(count.Count, ["formula.cnf", "--epsilon", "0.3"]).epsilon   # 0.3

The options of a verb are a dataclass named after it, whose docstrings are the help texts. Whatever
cannot be parsed raises ``UsageError`` with one line, where tyro itself would print a box.
"""

import contextlib
import dataclasses
import errno
import inspect
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from tyro.conf import arg

from inference import files, limits

T = TypeVar("T")
# What users meet of tyro's messages, and what is said in their place.
PLAIN_WORDS = {
    r"([^:]*).*literal for int\(\) with base 10: ('.*?')": r"\1: expected an integer, given \2",
    r"([^:]*).*could not convert string to float: ('.*?')": r"\1: expected a number, given \2",
    r"([^:]*).*valid parse for arguments: \[(.*?)\]": r"\1: expected numbers, given \2",
    r"missing value for argument '(--[\w-]+)'": r"\1: expected a value, given none",
    r"missing from tally .*?: (\S+)": r"expected \1, given none",
}
SEEDS = 2**32  # without 64-bit integers JAX makes one key of s and s + 2**32
Limit = Annotated[float | None, arg(metavar="SECONDS")]
Mebibytes = Annotated[int | None, arg(metavar="MIB")]


class UsageError(ValueError):
    """A command that cannot be carried out as given; the message is one line."""


def parse(
    kind: type[T],
    words: Sequence[str],
    methods: Mapping[str, str] | None = None,
    title: str = "Methods",
) -> T:
    """Parses the words after the verb, whose options are the fields of ``kind``.

    Args:
      kind: named after the verb; its docstring is the help text, and its ``check`` is called.
      words: those after the verb.
      methods: what the help text lists, by name; ``--method`` must be one of them.
      title: of that list.

    Raises:
      UsageError: they do not fit; one line, with the help command to call.
      SystemExit: help was asked for, and printed.
    """
    text = inspect.cleandoc(str(kind.__doc__))
    if methods is not None:
        rows = [f"  {name:<12} {line}" for name, line in methods.items()]
        text = "\n".join([text, "", f"{title}:", *rows])
    options = call_tyro(kind, kind.__name__.lower(), words, description=text)
    if hasattr(options, "check"):
        options.check()
    method = getattr(options, "method", None)
    if method is not None and methods is not None and method not in methods:
        raise UsageError(f"--method: expected one of {', '.join(methods)}, given {method!r}")
    return options


def left(timeout: float | None, started: float) -> float | None:
    """What importing and reading have left of a time limit that counts from ``started``."""
    return None if timeout is None else limits.Deadline(started + timeout).left


def check_timeout(timeout: float | None) -> None:
    """Raises UsageError for seconds that system calls refuse; they take up to 30 years."""
    if timeout is not None and not 0.0 < timeout < 1e9:
        raise UsageError(f"--timeout: expected seconds between 0 and 1e9, given {timeout}")


def check_memory(memory: int | None, least: int = 1) -> None:
    """Raises UsageError for mebibytes below ``least`` or beyond what system calls take."""
    if memory is not None and not least <= memory < 2**40:
        raise UsageError(f"--memory: expected {least} to 2^40 mebibytes, given {memory}")


def check_seed(seed: int) -> None:
    """Raises UsageError for what is no seed."""
    if not 0 <= seed < SEEDS:
        raise UsageError(f"--seed: expected 0 to {SEEDS - 1}, given {seed}")


def check_files(*paths: str | None) -> None:
    """Raises OSError for files that cannot be written, before the work and not after it."""
    for path in map(Path, filter(None, paths)):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if path.is_file() or not path.exists():  # no device, no pipe
            try:
                files.check_writable(path.parent)  # they are written beside and then moved
            except OSError as error:
                error.filename = str(path)
                raise


def call_tyro(kind: Any, verb: str, words: Sequence[str], **options: Any) -> Any:
    """What ``tyro.cli`` returns for a class, with its errors in one line; raises as ``parse``."""
    written = io.StringIO()
    try:
        with contextlib.redirect_stderr(written):
            return tyro.cli(
                kind,
                prog=f"tally {verb}",
                args=list(words),
                config=(tyro.conf.FlagCreatePairsOff,),
                **options,
            )
    except SystemExit as end:
        if end.code in (0, None):
            raise
        message = _in_plain_words(_first_rows(written.getvalue()), kind)
        raise UsageError(f"{message} (see tally {verb} --help)") from end


def _first_rows(box: str) -> str:
    """The message in tyro's box: what stands between its title and the first line across.

    Where the terminal has no box characters, lines across are made of hyphens.
    """
    rows: list[str] = []
    across = 0
    for line in box.splitlines():
        text = line.strip("│╭╮╰╯ ")
        if re.match("─|-{9}", text):
            across += 1
            if across == 2:
                break
            rows = []  # the title
        else:
            rows.append(text)
    message = " ".join(" ".join(rows).split()).removeprefix("Error parsing ")
    return message[:1].lower() + message[1:].rstrip(".")


def _in_plain_words(message: str, kind: Any) -> str:
    """A message of tyro's as `expected ..., given ...`, where it is one that users meet."""
    for pattern, words in PLAIN_WORDS.items():
        if found := re.match(pattern, message):
            return found.expand(words)
    if found := re.match(r"unrecognized options: ([^-].*)", message):
        fields = {field.name for field in dataclasses.fields(kind)}
        takes = next((name for name in ("file", "name", "path") if name in fields), "")
        takes = "name" if "config" in fields else takes  # of an experiment
        expected = f"one {takes}, given a second" if takes else "no more words, given"
        return f"expected {expected}: {found[1]}"
    return message.replace("unrecognized options", "unknown options")
