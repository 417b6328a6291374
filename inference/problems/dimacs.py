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

Weights are decimal numbers or fractions, ``2/5``, and none is negative.

Other comments are skipped. A wrong clause count, a missing final 0, CRLF and SATLIB's ``%`` at the
end are tolerated with a ``DimacsWarning``; anything else raises ``ParseError``. Both are one line
that starts ``FILE:LINE:``.
"""

import bz2
import decimal
import gzip
import itertools
import lzma
import math
import re
import sys
import warnings
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from inference.problems import cnf

_HEADER = "'p cnf VARIABLES CLAUSES'"
_MAX_VARIABLES = 10**7  # declared ones cost the solvers 300 bytes each, mentioned or not
_UNPACK = {b"\x1f\x8b": gzip.decompress, b"\xfd7zXZ\0": lzma.decompress, b"BZh": bz2.decompress}
_SPECIAL_LINE = re.compile(rb"^[^\S\n]*[^\s\d-].*", re.MULTILINE)
_BODY_BYTES = b"-0123456789 \t\n\r\v\f"
_GLUED = re.compile(rb"\d-|-(?![1-9])")
_BAD_TOKEN = re.compile(rb"(?<!\S)(?!(\d+|-[1-9]\d*)(?!\S))\S+")
_INTEGER = re.compile(rb"\d{1,18}|-[1-9]\d{0,17}")
_NUMBER = re.compile(rb"\+?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,9})?")
_FRACTION = re.compile(rb"\+?(\d+)/(\d*[1-9]\d*)")


class ParseError(ValueError):
    """A file that cannot be read; the text is one line, ``FILE:LINE: expected ..., given ...``."""


class DimacsWarning(UserWarning):
    """A fault in a file that does not change its meaning."""


def read(source: str | Path | IO[bytes], *, ignore_weights: bool = False) -> cnf.CNF:
    """Reads a formula from a path, an open binary file, or "-" for standard input.

    Data packed by gzip, xz or bzip2 is recognised by its first bytes, whatever the file's name.

    Args:
      source: where to read.
      ignore_weights: check the weight lines, but return the formula without weights.

    Raises:
      ParseError: the content is not a formula.
      OSError: the file cannot be read.
    """
    if isinstance(source, (str, Path)):
        name = "<stdin>" if source == "-" else str(source)
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    else:
        name, data = str(getattr(source, "name", "<stream>")), source.read()
    return parse(_unpacked(data, name), name, ignore_weights=ignore_weights)


def parse(data: bytes, name: str = "<memory>", *, ignore_weights: bool = False) -> cnf.CNF:
    """The formula written in ``data``; ``name`` stands for the file in messages.

    Raises:
      ParseError: ``data`` is not a formula.
    """
    text = _Text(name, data)
    special, body = _split(text)
    n, num_clauses = _header(text, special, body)
    clauses, xors = _clauses(text, body, n), _xors(text, special, n)
    if num_clauses not in (len(clauses), len(clauses) + len(xors)):
        found = f"expected {num_clauses} clauses, given {len(clauses) + len(xors)}"
        text.warn(special["header"][0].position, found)
    projection, weights = _projection(text, special, n), _weights(text, special, n)
    if not ignore_weights:
        _refuse_weights_outside(text, weights, projection)
    return cnf.CNF(
        n,
        clauses,
        cnf.ragged(variables for variables, _ in xors),
        np.array([side for _, side in xors], dtype=bool),
        projection,
        _weight_table(weights, n) if weights and not ignore_weights else None,
    )


def write(formula: cnf.CNF, target: str | Path | IO[str], *, comments: Iterable[str] = ()) -> None:
    """Writes a formula to a path or an open text file; reading it back gives an equal one.

    Weights come back equal up to the rounding of exp and log, and an XOR of no variables that
    holds is left out.
    """
    if isinstance(target, (str, Path)):
        with open(target, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in _lines(formula, comments))
    else:
        target.writelines(f"{line}\n" for line in _lines(formula, comments))


class _Line(NamedTuple):
    """A line that is not made of clauses: where it starts and its fields, keywords left out."""

    position: int
    fields: list[bytes]


class _Weight(NamedTuple):
    log_weight: float
    position: int


class _Text:
    """The bytes of a file and its name, for messages with line numbers."""

    def __init__(self, name: str, data: bytes):
        self.name, self.data = name, data
        if b"\r\n" in data:
            self.warn(data.find(b"\r\n"), "expected lines that end in LF, given CRLF")
            self.data = data.replace(b"\r\n", b"\n")
        if not self.data or self.data.isspace():
            raise self.error(0, f"a line {_HEADER}", "an empty file")
        if b"\0" in self.data:
            raise self.error(self.data.find(b"\0"), "text", "binary data")
        if self.data.split(None, 1)[0] in (b"MARKOV", b"BAYES"):
            verbs = "which `tally partition`, `marginals` and `map` take"
            raise self.error(0, f"a line {_HEADER}", f"a UAI model, {verbs}")

    def error(self, position: int, expected: str, given: str | bytes) -> ParseError:
        return ParseError(f"{self.place(position)}: expected {expected}, given {_shown(given)}")

    def warn(self, position: int, message: str) -> None:
        warnings.warn(f"{self.place(position)}: {message}", DimacsWarning, stacklevel=3)

    def place(self, position: int) -> str:
        line = self.data.count(b"\n", 0, position) + 1
        return f"{self.name}:{line}"

    def is_last_line(self, position: int) -> bool:
        end = self.data.find(b"\n", position)
        return end < 0 or self.data[end:].isspace()


def _shown(given: str | bytes) -> str:
    if isinstance(given, str):
        return given
    text = given.decode("ascii", "backslashreplace")
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _unpacked(data: bytes, name: str) -> bytes:
    for magic, unpack in _UNPACK.items():
        if data.startswith(magic):
            try:
                return unpack(data)
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
                message = f"{name}:1: expected whole packed data, given {str(error).strip()!r}"
                raise ParseError(message) from error
    return data


def _split(text: _Text) -> tuple[dict[str, list[_Line]], bytes]:
    """The lines that are not clauses, by kind, and the rest with those lines blanked."""
    kinds = ("header", "xor", "w", "ind", "show", "weight", "weights")
    special: dict[str, list[_Line]] = {kind: [] for kind in kinds}

    def take(match: re.Match[bytes]) -> bytes:
        kind, fields = _kind(match.group())
        if kind == "unknown":
            expected = f"a clause, a comment, an XOR or {_HEADER}"
            raise text.error(match.start(), expected, b" ".join(fields))
        if kind in special:
            special[kind].append(_Line(match.start(), fields))
        return b" " * len(match.group())  # so that positions stay

    return special, _SPECIAL_LINE.sub(take, _before_end_mark(text))


def _kind(line: bytes) -> tuple[str, list[bytes]]:
    head = line.split(None, 3)
    if head[0] == b"p":
        return "header", line.split()
    if head[0] == b"w":
        return "w", line.split()[1:]
    if head[0].startswith(b"x"):
        return "xor", line.strip()[1:].split()
    if not head[0].startswith(b"c"):
        return "unknown", line.split()
    if head[0] == b"c" and len(head) > 1 and head[1] in (b"ind", b"weights"):
        return head[1].decode(), line.split()[2:]
    if head[:2] == [b"c", b"p"] and len(head) > 2 and head[2] in (b"show", b"weight"):
        return head[2].decode(), line.split()[3:]
    return "comment", []


def _before_end_mark(text: _Text) -> bytes:
    # SATLIB's uniform random formulas end in a line "%", a line "0" and an empty line.
    mark = re.search(rb"^[^\S\n]*%", text.data, re.MULTILINE)
    if mark is None:
        return text.data
    rest = text.data[mark.end() :].strip()
    if rest not in (b"", b"0"):
        raise text.error(mark.start(), "nothing after the end mark '%'", rest.split(b"\n")[0])
    text.warn(mark.start(), "expected no end mark, given '%'")
    return text.data[: mark.start()]


def _header(text: _Text, special: dict[str, list[_Line]], body: bytes) -> tuple[int, int]:
    start = [xor.position for xor in special["xor"][:1]]
    start += [match.start() for match in [re.search(rb"\S", body)] if match]
    header = special["header"][0] if special["header"] else None
    if start and (header is None or min(start) < header.position):
        line = text.data[min(start) :].split(b"\n", 1)[0]
        raise text.error(min(start), f"a line {_HEADER} before the first clause", line)
    if header is None:
        raise text.error(0, f"a line {_HEADER}", "none in the whole file")
    position, fields = header
    if len(special["header"]) > 1:
        second = special["header"][1]
        raise text.error(second.position, "a single header", b" ".join(second.fields))
    sizes = [int(field) for field in fields[2:] if re.fullmatch(rb"\d{1,18}", field)]
    if fields[:2] != [b"p", b"cnf"] or len(fields) != 4 or len(sizes) != 2:
        raise text.error(position, _HEADER, b" ".join(fields))
    if sizes[0] > _MAX_VARIABLES:
        raise text.error(position, f"at most {_MAX_VARIABLES} variables", fields[2])
    return sizes[0], sizes[1]


def _clauses(text: _Text, body: bytes, n: int) -> cnf.Ragged:
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
        raise text.error(bad.start(), _range("a literal", n), bad.group())
    if tokens[-1] != 0:
        text.warn(len(body.rstrip()), "expected 0 after the last clause, given none")
        tokens = np.append(tokens, 0)
    ends = np.flatnonzero(tokens == 0)
    offsets = np.zeros(len(ends) + 1, dtype=np.int64)
    offsets[1:] = ends - np.arange(len(ends))
    return cnf.Ragged(tokens[tokens != 0].astype(np.int32), offsets)


def _range(what: str, n: int) -> str:
    return f"{what} of the variables 1..{n}"


def _integers(text: _Text, line: _Line) -> list[int]:
    """The integers before the final 0 of a line."""
    fields = line.fields
    for field in fields:
        if not _INTEGER.fullmatch(field):
            raise text.error(line.position, "integers and a final 0", field)
    if fields[-1:] != [b"0"]:
        if not text.is_last_line(line.position):
            raise text.error(line.position, "a final 0", b" ".join(fields))
        text.warn(line.position, "expected a final 0, given none")
        fields = [*fields, b"0"]
    numbers = [int(field) for field in fields[:-1]]
    if 0 in numbers:
        raise text.error(line.position, "one 0, at the end of the line", b" ".join(fields))
    return numbers


def _xors(text: _Text, special: dict[str, list[_Line]], n: int) -> list[tuple[list[int], bool]]:
    xors = []
    for line in special["xor"]:
        literals = _integers(text, line)
        for bad in (literal for literal in literals if abs(literal) > n):
            raise text.error(line.position, _range("a literal", n), str(bad))
        # A negative literal is its variable plus one; variables that occur twice cancel.
        odd = set[int]()
        for literal in literals:
            odd ^= {abs(literal)}
        negatives = sum(literal < 0 for literal in literals)
        xors.append((sorted(odd), negatives % 2 == 0))
    return xors


def _projection(text: _Text, special: dict[str, list[_Line]], n: int) -> np.ndarray | None:
    sets: dict[str, set[int]] = {}
    for kind in ("ind", "show"):
        for line in special[kind]:
            variables = _integers(text, line)
            for bad in (v for v in variables if not 1 <= v <= n):
                raise text.error(line.position, _range("a sampling variable", n), str(bad))
            sets.setdefault(kind, set()).update(variables)
    if len(sets) == 2 and sets["ind"] != sets["show"]:
        line = max(special["ind"][0], special["show"][0])
        raise text.error(line.position, "'c ind' and 'c p show' to agree", "two sampling sets")
    return np.array(sorted(next(iter(sets.values()))), dtype=np.int32) if sets else None


def _weights(text: _Text, special: dict[str, list[_Line]], n: int) -> dict[int, _Weight]:
    """The weight of each literal of the variables that have weights, in nats."""
    weights: dict[int, _Weight] = {}
    for position, literal, log_weight in _given_weights(text, special, n):
        known = weights.setdefault(literal, _Weight(log_weight, position))
        if not math.isclose(known.log_weight, log_weight, rel_tol=1e-12, abs_tol=1e-12):
            elsewhere = text.place(known.position)
            raise text.error(position, f"the weight of literal {literal} at {elsewhere}", "another")
    return weights


def _given_weights(
    text: _Text, special: dict[str, list[_Line]], n: int
) -> Iterator[tuple[int, int, float]]:
    for line in special["w"]:
        variable, weight = _cachet_weight(text, line, n)
        free = weight == -1
        yield line.position, variable, 0.0 if free else _log(weight)
        yield line.position, -variable, 0.0 if free else _log_complement(weight)
    for line in special["weights"]:
        if len(line.fields) != 2 * n:
            raise text.error(line.position, f"{2 * n} weights", str(len(line.fields)))
        for i, field in enumerate(line.fields):
            literal = -(i // 2 + 1) if i % 2 else i // 2 + 1
            yield line.position, literal, _log(_number(text, line, field, b"%d" % literal))
    yield from _competition_weights(text, special["weight"], n)


def _competition_weights(
    text: _Text, lines: list[_Line], n: int
) -> Iterator[tuple[int, int, float]]:
    given = {}
    form = "'c p weight LITERAL WEIGHT 0'"
    for line in lines:
        if line.fields[-1:] != [b"0"]:
            raise text.error(line.position, form, b" ".join(line.fields))
        literal, weight = _literal_and_number(text, line, line.fields[:-1], n, form)
        given[literal] = line.position, weight
        yield line.position, literal, _log(weight)
    for literal, (position, weight) in given.items():
        if -literal not in given:
            if weight > 1:
                raise text.error(position, f"a weight for literal {-literal} as well", "none")
            yield position, -literal, _log_complement(weight)


def _cachet_weight(text: _Text, line: _Line, n: int) -> tuple[int, decimal.Decimal]:
    form = "'w VARIABLE PROBABILITY'"
    fields = line.fields[:-1] if line.fields[2:] == [b"0"] else line.fields
    if fields[1:] and re.fullmatch(rb"-1(\.0*)?", fields[1]):
        fields = [fields[0], b"1"]
        variable, weight = _literal_and_number(text, line, fields, n, form)[0], decimal.Decimal(-1)
    else:
        variable, weight = _literal_and_number(text, line, fields, n, form)
    if variable < 0 or weight > 1:
        raise text.error(line.position, form, b" ".join(line.fields))
    return variable, weight


def _literal_and_number(
    text: _Text, line: _Line, fields: list[bytes], n: int, form: str
) -> tuple[int, decimal.Decimal]:
    if len(fields) != 2 or not _INTEGER.fullmatch(fields[0]):
        raise text.error(line.position, form, b" ".join(line.fields))
    literal = int(fields[0])
    if not 1 <= abs(literal) <= n:
        raise text.error(line.position, _range("a literal", n), fields[0])
    return literal, _number(text, line, fields[1], fields[0])


def _number(text: _Text, line: _Line, field: bytes, literal: bytes) -> decimal.Decimal:
    if found := _FRACTION.fullmatch(field):
        above, below = (decimal.Decimal(part.decode()) for part in found.groups())
        return above / below
    if not _NUMBER.fullmatch(field):
        expected = f"a finite weight of at least 0 for literal {literal.decode()}"
        raise text.error(line.position, expected, field)
    return decimal.Decimal(field.decode())


def _log(weight: decimal.Decimal) -> float:
    if not weight:
        return -math.inf
    if sys.float_info.min <= weight <= sys.float_info.max:
        return math.log(weight)
    with decimal.localcontext(Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN):
        return float(weight.ln())  # a float would underflow or overflow here


def _log_complement(weight: decimal.Decimal) -> float:
    return _log(1 - weight) if weight > 0.5 else math.log1p(-weight)


def _refuse_weights_outside(
    text: _Text, weights: dict[int, _Weight], projection: np.ndarray | None
) -> None:
    if projection is None:
        return
    counted = set(projection.tolist())
    for literal, (log_weight, position) in weights.items():
        if log_weight != 0 and abs(literal) not in counted:
            expected = "weight 1 for a variable outside the sampling set"
            raise text.error(position, expected, f"another one for literal {literal}")


def _weight_table(weights: dict[int, _Weight], n: int) -> np.ndarray:
    table = np.zeros((n, 2))
    for literal, (log_weight, _) in weights.items():
        table[abs(literal) - 1, int(literal > 0)] = log_weight
    return table


def _lines(formula: cnf.CNF, comments: Iterable[str]) -> Iterator[str]:
    xors = [(v, side) for v, side in zip(formula.xors.tolist(), formula.xor_rhs) if v or side]
    yield from (f"c {comment}".rstrip() for comment in comments)
    yield f"p cnf {formula.num_variables} {formula.num_clauses + len(xors)}"
    if formula.projection is not None:
        yield _spaced(["c p show", *formula.projection.tolist(), 0])
    if formula.log_weights is not None:
        for variable, (negative, positive) in enumerate(formula.log_weights.tolist(), start=1):
            yield f"c p weight {variable} {_exp(positive)} 0"
            yield f"c p weight {-variable} {_exp(negative)} 0"
    for clause in formula.clauses.tolist():
        yield _spaced([*clause, 0])
    for variables, side in xors:
        # A line asks for a true XOR of literals, so one sign stands for the side False.
        yield _spaced(["x", *variables, 0] if side else ["x", -variables[0], *variables[1:], 0])


def _spaced(items: list) -> str:
    return " ".join(map(str, items))


def _exp(log_weight: float) -> str:
    if log_weight == -math.inf or -700 < log_weight < 700:
        return repr(math.exp(log_weight))
    with decimal.localcontext(Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, prec=20):
        return str(decimal.Decimal(log_weight).exp())
