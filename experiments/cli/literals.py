"""Literals that users give, by name or number: after ``--assume`` and in ``--condition`` files.

>>> named = cnf.from_clauses([[1, 2, 3]], names={1: "NET", 3: "USB"})
>>> from_words(named, "NET,-USB 2")
[1, -3, 2]
"""

from collections.abc import Sequence

from experiments.solve import formulas
from inference import files
from inference.problems import cnf


def joined(words: Sequence[str]) -> list[str]:
    """A command's words with those after ``--assume`` as one, ``--assume=NET -USB``.

    They reach to the next word that starts with ``--``; else ``-USB`` would be taken for an option.
    """
    others, given, is_literal = [], [], False
    for word in words:
        if word.startswith("--"):
            is_literal = word == "--assume" or word.startswith("--assume=")
            given += [word.removeprefix("--assume=")] if word.startswith("--assume=") else []
            others += [] if is_literal else [word]
        else:
            (given if is_literal else others).append(word)
    return [*others, f"--assume={' '.join(given)}"] if given else others


def from_words(formula: cnf.CNF, text: str) -> list[int]:
    """The literals of words that commas or spaces part; a name may have commas of its own.

    Raises:
      ValueError: one is none of the formula.
    """
    names = set((formula.names or {}).values())
    words = [
        part
        for word in text.split()
        for part in ([word] if word.removeprefix("-") in names else word.split(","))
        if part
    ]
    try:
        return formulas.literals(formula, words)
    except ValueError as error:
        raise ValueError(f"--assume: {error}") from error


def from_file(formula: cnf.CNF, path: str) -> list[int]:
    """The literals of a file, parted by spaces and lines; ``# ...`` and ``c ...`` are comments.

    Raises:
      files.ParseError: one is none of the formula.
      OSError: the file cannot be read.
    """
    found = []
    lines = files.read(path).decode("utf-8", "backslashreplace").split("\n")
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if words and words[0] != "c" and not words[0].startswith("#"):
            try:
                found += formulas.literals(formula, words)
            except ValueError as error:
                raise files.ParseError(f"{files.name(path)}:{number}: {error}") from error
    return found
