"""What several verbs print: how an answer came about, JSON, and how the command ends."""

import json
import sys
from typing import Any

from experiments.harness import claims

COMMENT, PLAIN = "c o {} {}", "{:<9} {}"  # a name and a text, in the competition's lines and ours


def print_how(line: str, info: Any, outcome: str, seconds: float) -> None:
    """Prints the method with its status, effort and seed, and its message as a note."""
    calls = f", oracle calls {info.oracle_calls}" if info.oracle_calls else ""
    seed = "nothing drawn" if info.seed is None else f"seed {info.seed}"
    text = f"{info.method}, {outcome}, {seconds:.2f} s{calls}, {seed}"
    print(line.format("method", text))
    if info.message:
        print(line.format("note", " ".join(info.message.split())))


def print_object(**fields: Any) -> None:
    """Prints one JSON object on one line; infinities become the strings "inf" and "-inf"."""
    print(json.dumps(claims.plain(fields), allow_nan=False))


def finish(info: Any) -> None:
    """After the best valid answer is printed: says how it ended, unless all is well.

    Raises:
      KeyboardInterrupt: it was interrupted.
      ValueError: it failed.
    """
    sys.stdout.flush()
    if info.status == "interrupted":
        raise KeyboardInterrupt
    if info.status == "failed":
        raise ValueError(f"{info.method} failed: {info.message}")
