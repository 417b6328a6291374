"""UAI files: MARKOV and BAYES models, evidence, and the competitions' result files.

    >>> graph = parse("MARKOV 2  2 3  1  2 0 1  6  1 0 2.5 1 1 1")
    >>> graph.num_variables, graph.groups[0].log_potentials.shape
    (2, (1, 2, 3))
    >>> partition_text(0.0)
    'PR\\n0.0\\n'

A file holds potentials, the graph their natural logarithms; a zero entry becomes -inf. The last
variable of a function runs fastest. BAYES tables are taken as they stand, normalised or not; of
those that are not the distributions of their last variable a warning tells.
"""

import bz2
import gzip
import itertools
import lzma
import math
import os
import pathlib
import re
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

import numpy as np

from inference import files
from inference.problems import factor_graph

Path = str | os.PathLike[str]

_PRINTED = 0.02  # by which probabilities printed with two digits may miss one
_MOST_STATES = 10**6  # of one variable: the unaries of all are padded to the most
_PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
}


def read(path: Path, evidence: Path | None = None) -> factor_graph.FactorGraph:
    """The model of a file, conditioned on an evidence file if given; "-" is standard input.

    Data packed by gzip, xz or bzip2 is recognised by its first bytes, whatever the file's name.

    Raises:
      files.ParseError: a file is not as it should be.
      OSError: a file cannot be read.
    """
    graph = parse(_read_text(path), files.name(path))
    if evidence is None:
        return graph
    return factor_graph.condition(graph, read_evidence(evidence, graph.num_states))


def read_evidence(path: Path, num_states: Sequence[int] | np.ndarray | None = None) -> dict:
    """State by variable. Reads ``k v s v s ...`` and, of UAI 2008, ``1  k v s v s ...``.

    An empty file is no evidence, as is a count of 0, after which numbers are left out with a
    warning. With ``num_states`` [V] variables and states are checked against their domains.

    Raises:
      files.ParseError: numbers are missing or left over, a variable has two states, or one is
        outside its domain.
      OSError: the file cannot be read.
    """
    numbers = _Numbers(_read_text(path), files.name(path))
    start = _evidence_start(numbers)
    evidence: dict[int, int] = {}
    last = None if num_states is None else len(num_states) - 1
    for at in range(start, len(numbers.values), 2):
        variable = numbers.integer(at, "a variable", 0, last)
        top = None if num_states is None else int(num_states[variable]) - 1
        state = numbers.integer(at + 1, f"a state of variable {variable}", 0, top)
        if evidence.setdefault(variable, state) != state:
            expected = f"variable {variable} in state {evidence[variable]} as before"
            numbers.fail(at + 1, expected)
    return evidence


def parse(text: str, name: str = "<text>") -> factor_graph.FactorGraph:
    """The model in ``text``; errors call it ``name``.

    Raises:
      files.ParseError: the text is not a UAI model.
    """
    header = _header(text, name)
    numbers = _Numbers(text, name, skipped=1)
    num_states, scopes, at = _structure(numbers)
    factors, at = _tables(numbers, at, num_states, scopes)
    if at < len(numbers.tokens):
        if not _ends_in_lists(text, len(numbers.tokens) - at):
            numbers.fail(at, "the end of the file")
        warnings.warn(f"{name}: lists after the last function are left out", stacklevel=2)
    if header == "BAYES":
        _warn_unless_normalised(name, len(num_states), factors)
    # A logarithm is rounded to within one unit in its last place, its argument to half of one.
    largest = math.fsum(factor_graph.magnitude(table) for _, table in factors)
    log_error = 2.0**-52 * (largest + len(factors))
    return factor_graph.build(num_states, factors, log_error=log_error)


def write(graph: factor_graph.FactorGraph, path: Path) -> None:
    """Writes a MARKOV file, compressed where the name ends so; what is constant 1 is left out.

    Raises:
      ValueError: a finite log-potential has no positive float64 as its exponential, or a clause or
        parity is too long for a table.
    """
    graph = factor_graph.tabulate(graph)
    factors: list[tuple[list[int], np.ndarray]] = []
    if graph.log_constant:
        factors.append(([], np.asarray(graph.log_constant)))
    for variable, size in enumerate(graph.num_states):
        if np.any(graph.log_unary[variable, :size]):
            factors.append(([variable], graph.log_unary[variable, :size]))
    for group in graph.groups:
        factors.extend(zip(group.variables.tolist(), group.log_potentials, strict=True))
    lines = ["MARKOV", str(graph.num_variables), " ".join(map(str, graph.num_states.tolist()))]
    lines.append(str(len(factors)))
    lines.extend(" ".join(map(str, [len(scope), *scope])) for scope, _ in factors)
    lines.extend(f"{table.size}\n {_potentials(table)}" for _, table in factors)
    data = "".join(f"{line}\n" for line in lines).encode("ascii")
    pathlib.Path(path).write_bytes(_PACK.get(os.path.splitext(path)[1], bytes)(data))


def partition_text(log_partition: float) -> str:
    """The PR result file for log Z in nats; the file holds log10 Z."""
    return f"PR\n{log_partition / math.log(10)!r}\n"


def marginals_text(num_states: Sequence[int] | np.ndarray, marginals: np.ndarray) -> str:
    """The MAR result file for probabilities [V, S], padded past ``num_states`` [V]."""
    rows = [[size, *marginals[v, :size].tolist()] for v, size in enumerate(num_states)]
    return "MAR\n" + " ".join(map(str, [len(rows), *itertools.chain(*rows)])) + "\n"


def assignment_text(assignment: np.ndarray) -> str:
    """The MPE result file for one assignment [V]."""
    return "MPE\n" + " ".join(map(str, [len(assignment), *map(int, assignment)])) + "\n"


def _header(text: str, name: str) -> str:
    header = (text.split(maxsplit=1) or ["an empty file"])[0]
    if header not in ("MARKOV", "BAYES"):
        line = text[: max(text.find(header), 0)].count("\n") + 1
        if re.search(r"^p\s+cnf\b", text, re.MULTILINE):
            header = "a CNF formula, which `tally count` takes"
        raise files.ParseError(f"{name}:{line}: expected MARKOV or BAYES, given {header}")
    return header


def _structure(numbers: "_Numbers") -> tuple[list[int], list[list[int]], int]:
    """The numbers of states, the variables of each function, and where the tables start."""
    num_variables = numbers.integer(0, "the number of variables")
    at = 1 + num_variables
    num_states = [numbers.integer(i, "a number of states", 1, _MOST_STATES) for i in range(1, at)]
    num_factors, at = numbers.integer(at, "the number of functions"), at + 1
    scopes = []
    for _ in range(num_factors):
        arity = numbers.integer(at, "a number of variables", 0, num_variables)
        scopes.append(_scope(numbers, range(at + 1, at + 1 + arity), num_variables))
        at += 1 + arity
    return num_states, scopes, at


def _tables(
    numbers: "_Numbers", at: int, num_states: list[int], scopes: list[list[int]]
) -> tuple[list[tuple[list[int], np.ndarray]], int]:
    """Each function with the logarithms of its entries, and where they end."""
    with np.errstate(divide="ignore"):
        logs = np.log(numbers.values)
    factors = []
    for scope in scopes:
        shape = [num_states[variable] for variable in scope]
        size = math.prod(shape)
        numbers.integer(at, f"the number {size} of entries over {scope}", size, size)
        numbers.need(at + size, f"{size} entries over {scope}")
        factors.append((scope, logs[at + 1 : at + 1 + size].reshape(shape)))
        at += 1 + size
    return factors, at


def _warn_unless_normalised(
    name: str, num_variables: int, factors: list[tuple[list[int], np.ndarray]]
) -> None:
    """Of a Bayesian network: one distribution of each variable, the last one of its function."""
    off = [
        at
        for at, (scope, table) in enumerate(factors)
        if not scope or np.abs(np.exp(table).sum(axis=-1) - 1).max() > _PRINTED
    ]
    last = {scope[-1] for scope, _ in factors if scope}
    if off:
        given = f"function {off[0]} does not sum to 1 over its last variable"
    elif len(factors) != num_variables or len(last) != num_variables:
        given = f"{len(factors)} functions of {len(last)} last variables for {num_variables}"
    else:
        return
    warnings.warn(f"{name}: expected normalised BAYES tables, {given}", stacklevel=3)


class _Numbers:
    """The numbers of a file by position, and where they stand if one is wrong.

    Lines are looked up only for an error, so that reading is one pass of ``float``.
    """

    def __init__(self, text: str, name: str, skipped: int = 0):
        self.text, self.name, self.skipped = text, name, skipped
        self.tokens = text.split()[skipped:]
        try:
            if "_" in text:  # Python's float takes 1_0 for 10
                raise ValueError
            self.values = np.fromiter(map(float, self.tokens), np.float64, len(self.tokens))
        except ValueError:
            self.fail([_is_number(token) for token in self.tokens].index(False), "a number")
        bad = np.flatnonzero(~((self.values >= 0) & (self.values < np.inf)))
        if bad.size:
            self.fail(int(bad[0]), "a finite number of at least 0")

    def integer(self, at: int, what: str, lowest: int = 0, highest: int | None = None) -> int:
        """The integer at a position, between two bounds."""
        self.need(at, what)
        value = self.values[at].item()
        if not (
            value.is_integer() and lowest <= value <= (math.inf if highest is None else highest)
        ):
            limits = f"{lowest} or more" if highest is None else f"{lowest}..{highest}"
            self.fail(at, what if lowest == highest else f"{what} in {limits}")
        return int(value)

    def need(self, at: int, what: str) -> None:
        """Refuses a file that ends at or before a position."""
        if at >= len(self.tokens):
            self.fail(len(self.tokens), what)

    def fail(self, at: int, expected: str) -> NoReturn:
        left, line = at + self.skipped, 0
        for line, content in enumerate(self.text.splitlines(), 1):
            left -= len(content.split())
            if left < 0:
                break
        given = self.tokens[at] if at < len(self.tokens) else "the end of the file"
        raise files.ParseError(f"{self.name}:{max(line, 1)}: expected {expected}, given {given}")


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return "_" not in token


def _scope(numbers: _Numbers, positions: range, num_variables: int) -> list[int]:
    scope: list[int] = []
    for at in positions:
        scope.append(numbers.integer(at, "a variable", 0, num_variables - 1))
        if scope[-1] in scope[:-1]:
            numbers.fail(at, "each variable of a function once")
    return scope


def _ends_in_lists(text: str, count: int) -> bool:
    """Whether the last ``count`` numbers are lines that each hold a list and its length.

    Files of 2006 carry evidence and queries in such lines behind the model.
    """
    for line in reversed(text.splitlines()):
        words = line.split()
        count -= len(words)
        if not all(word.isdigit() for word in words):
            return False
        if words and len(words) - 1 not in (int(words[0]), 2 * int(words[0])):
            return False
        if count <= 0:
            break
    return count == 0


def _evidence_start(numbers: _Numbers) -> int:
    """Position of the first pair; the count before it is checked, for both dialects."""
    length = len(numbers.values)
    if length == 0:
        return 0
    count = numbers.integer(0, "the number of evidence variables")
    if count == 0:
        if length > 1:
            warnings.warn(f"{numbers.name}: numbers after an evidence count of 0", stacklevel=4)
        return length
    start = 1
    if count == 1 and length % 2 == 0:  # the number of samples comes first
        count, start = numbers.integer(1, "the number of evidence variables"), 2
    numbers.need(start + 2 * count - 1, f"{count} pairs of variable and state")
    if length > start + 2 * count:
        numbers.fail(start + 2 * count, f"the end after {count} pairs of variable and state")
    return start


def _potentials(table: np.ndarray) -> str:
    with np.errstate(over="ignore"):
        values = np.exp(table)
    if np.any((values == 0) & (table > -np.inf)) or np.any(values == np.inf):
        raise ValueError("expected log-potentials with a positive float64 as exponential")
    return " ".join(map(repr, values.ravel().tolist()))


def _read_text(path: Path) -> str:
    try:
        return files.read(path).decode("ascii")
    except UnicodeDecodeError as error:
        message = f"{files.name(path)}:1: expected text, given other bytes"
        raise files.ParseError(message) from error
