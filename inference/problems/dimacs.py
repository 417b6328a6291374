"""DIMACS CNF files in and out, in the dialects of model counters.

    >>> formula = parse(b"c p show 1 2 0\\np cnf 3 2\\n1 -3 0\\nx2 3 0\\n")
    >>> formula.num_clauses, len(formula.xors), formula.sampling_set.tolist()
    (1, 1, [1, 2])

Read are, besides clauses, which may share a line or span several:

- ``x1 2 -3 0``: the XOR of the literals is true;
- ``c ind V... 0`` and ``c p show V... 0``: sampling variables, several lines add up;
- ``c p weight L W 0``: the weight of a literal; where the other literal of the variable has none
  and W <= 1 it gets 1 - W, as in the Model Counting Competition;
- ``w V P`` (Cachet): weights P and 1 - P for the positive and negative literal, -1 for 1 and 1;
- ``c weights P1 N1 P2 N2 ...`` (MiniC2D): both weights of each variable, positive first.

Weights are decimal numbers or fractions, ``2/5``, and none is negative. Comments ``c NUMBER NAME``
name variables (``dimacs_names``).

Other comments are skipped. A wrong clause count, a missing final 0, CRLF and SATLIB's ``%`` at the
end are tolerated with a ``DimacsWarning``; anything else raises ``files.ParseError``. Both are one
line that starts ``FILE:LINE:``.
"""

import itertools
import os
import re
from collections.abc import Iterable, Iterator
from typing import IO

import numpy as np

from inference import files
from inference.problems import cnf, dimacs_names, dimacs_text, dimacs_weights
from inference.problems.dimacs_text import DimacsWarning, Special, Text

__all__ = ["DimacsWarning", "parse", "read", "write"]

_MAX_VARIABLES = 10**7  # declared ones cost the solvers 300 bytes each, mentioned or not
_BODY_BYTES = b"-0123456789 \t\n\r\v\f"
_GLUED = re.compile(rb"\d-|-(?![1-9])")
_BAD_TOKEN = re.compile(rb"(?<!\S)(?!(\d+|-[1-9]\d*)(?!\S))\S+")


def read(source: str | os.PathLike | IO[bytes], *, ignore_weights: bool = False) -> cnf.CNF:
    """Reads a formula from a path, an open binary file, or "-" for standard input.

    Data packed by gzip, xz or bzip2 is recognised by its first bytes, whatever the file's name.

    Args:
      source: where to read.
      ignore_weights: check the weight lines, but return the formula without weights.

    Raises:
      files.ParseError: the content is not a formula.
      OSError: the file cannot be read.
    """
    if isinstance(source, (str, os.PathLike)):
        return parse(files.read(source), files.name(source), ignore_weights=ignore_weights)
    name = str(getattr(source, "name", "<stream>"))
    data = files.unpacked(source.read(), name)
    return parse(data, name, ignore_weights=ignore_weights)


def parse(data: bytes, name: str = "<memory>", *, ignore_weights: bool = False) -> cnf.CNF:
    """The formula written in ``data``; ``name`` stands for the file in messages.

    Raises:
      files.ParseError: ``data`` is not a formula.
    """
    text = Text(name, data)
    special, body = dimacs_text.split(text)
    n, num_clauses = _header(text, special, body)
    clauses, xors = _clauses(text, body, n), _xors(text, special, n)
    if num_clauses not in (len(clauses), len(clauses) + len(xors)):
        found = f"expected {num_clauses} clauses, given {len(clauses) + len(xors)}"
        text.warn(special["header"][0].position, found)
    projection, weights = _projection(text, special, n), dimacs_weights.read(text, special, n)
    log_weights = None
    if weights and not ignore_weights:
        dimacs_weights.refuse_outside(text, weights, projection)
        log_weights = cnf.weight_table({x: one.log_weight for x, one in weights.items()}, n)
    return cnf.CNF(
        n,
        clauses,
        cnf.ragged(variables for variables, _ in xors),
        np.array([side for _, side in xors], dtype=bool),
        projection,
        log_weights,
        dimacs_names.read(special, n) or None,
    )


def write(
    formula: cnf.CNF, target: str | os.PathLike | IO[str], *, comments: Iterable[str] = ()
) -> None:
    """Writes a formula to a path or an open text file; reading it back gives an equal one.

    Weights come back equal up to the rounding of exp and log, and an XOR of no variables that
    holds is left out.
    """
    if isinstance(target, (str, os.PathLike)):
        with open(target, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in _lines(formula, comments))
    else:
        target.writelines(f"{line}\n" for line in _lines(formula, comments))


def _header(text: Text, special: Special, body: bytes) -> tuple[int, int]:
    start = [xor.position for xor in special["xor"][:1]]
    start += [match.start() for match in [re.search(rb"\S", body)] if match]
    header = special["header"][0] if special["header"] else None
    if start and (header is None or min(start) < header.position):
        line = text.data[min(start) :].split(b"\n", 1)[0]
        raise text.error(min(start), f"a line {dimacs_text.HEADER} before the first clause", line)
    if header is None:
        raise text.error(0, f"a line {dimacs_text.HEADER}", "none in the whole file")
    position, fields = header
    if len(special["header"]) > 1:
        second = special["header"][1]
        raise text.error(second.position, "a single header", b" ".join(second.fields))
    sizes = [int(field) for field in fields[2:] if re.fullmatch(rb"\d{1,18}", field)]
    if fields[:2] != [b"p", b"cnf"] or len(fields) != 4 or len(sizes) != 2:
        raise text.error(position, dimacs_text.HEADER, b" ".join(fields))
    if sizes[0] > _MAX_VARIABLES:
        raise text.error(position, f"at most {_MAX_VARIABLES} variables", fields[2])
    return sizes[0], sizes[1]


def _clauses(text: Text, body: bytes, n: int) -> cnf.Ragged:
    if not body or body.isspace():
        return cnf.ragged([])
    if body.translate(None, _BODY_BYTES) or _GLUED.search(body):
        bad = _BAD_TOKEN.search(body)
        assert bad is not None
        raise text.error(bad.start(), "an integer", bad.group())
    tokens = np.fromstring(body, dtype=np.int64, sep=" ")
    outside = np.flatnonzero((tokens > n) | (tokens < -n))
    if outside.size:
        bad = next(itertools.islice(re.finditer(rb"\S+", body), int(outside[0]), None))
        raise text.error(bad.start(), dimacs_text.in_range("a literal", n), bad.group())
    if tokens[-1] != 0:
        text.warn(len(body.rstrip()), "expected 0 after the last clause, given none")
        tokens = np.append(tokens, 0)
    ends = np.flatnonzero(tokens == 0)
    offsets = np.zeros(len(ends) + 1, dtype=np.int64)
    offsets[1:] = ends - np.arange(len(ends))
    return cnf.Ragged(tokens[tokens != 0].astype(np.int32), offsets)


def _xors(text: Text, special: Special, n: int) -> list[tuple[list[int], bool]]:
    xors = []
    for line in special["xor"]:
        literals = dimacs_text.integers(text, line)
        for bad in (literal for literal in literals if abs(literal) > n):
            raise text.error(line.position, dimacs_text.in_range("a literal", n), str(bad))
        # A negative literal is its variable plus one; variables that occur twice cancel.
        odd = set[int]()
        for literal in literals:
            odd ^= {abs(literal)}
        negatives = sum(literal < 0 for literal in literals)
        xors.append((sorted(odd), negatives % 2 == 0))
    return xors


def _projection(text: Text, special: Special, n: int) -> np.ndarray | None:
    sets: dict[str, set[int]] = {}
    for kind in ("ind", "show"):
        for line in special[kind]:
            variables = dimacs_text.integers(text, line)
            for bad in (v for v in variables if not 1 <= v <= n):
                expected = dimacs_text.in_range("a sampling variable", n)
                raise text.error(line.position, expected, str(bad))
            sets.setdefault(kind, set()).update(variables)
    if len(sets) == 2 and sets["ind"] != sets["show"]:
        line = max(special["ind"][0], special["show"][0])
        raise text.error(line.position, "'c ind' and 'c p show' to agree", "two sampling sets")
    return np.array(sorted(next(iter(sets.values()))), dtype=np.int32) if sets else None


def _lines(formula: cnf.CNF, comments: Iterable[str]) -> Iterator[str]:
    xors = [(v, side) for v, side in zip(formula.xors.tolist(), formula.xor_rhs) if v or side]
    yield from (f"c {comment}".rstrip() for comment in comments)
    yield from (f"c {variable} {name}" for variable, name in (formula.names or {}).items())
    yield f"p cnf {formula.num_variables} {formula.num_clauses + len(xors)}"
    if formula.projection is not None:
        yield _spaced(["c p show", *formula.projection.tolist(), 0])
    if formula.log_weights is not None:
        for variable, (negative, positive) in enumerate(formula.log_weights.tolist(), start=1):
            yield f"c p weight {variable} {dimacs_weights.written(positive)} 0"
            yield f"c p weight {-variable} {dimacs_weights.written(negative)} 0"
    for clause in formula.clauses.tolist():
        yield _spaced([*clause, 0])
    for variables, side in xors:
        # A line asks for a true XOR of literals, so one sign stands for the side False.
        yield _spaced(["x", *variables, 0] if side else ["x", -variables[0], *variables[1:], 0])


def _spaced(items: list) -> str:
    return " ".join(map(str, items))
