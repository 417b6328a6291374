"""Weights in DIMACS files: the three kinds of lines ``dimacs`` names, and how they are written.

>>> text = dimacs_text.Text("f.cnf", b"p cnf 1 0\\nc p weight 1 0.25 0\\n")
>>> given = read(text, dimacs_text.split(text)[0], 1)
>>> [given[literal].log_weight for literal in (-1, 1)] == [math.log(0.75), math.log(0.25)]
True
"""

import decimal
import math
import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from inference.problems import dimacs_text
from inference.problems.dimacs_text import Line, Special, Text

_NUMBER = re.compile(rb"\+?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,9})?")
_FRACTION = re.compile(rb"\+?(\d+)/(\d*[1-9]\d*)")


class Weight(NamedTuple):
    """Of a literal, in nats, and where it was read."""

    log_weight: float
    position: int


def read(text: Text, special: Special, n: int) -> dict[int, Weight]:
    """The weight of each literal of the variables that have weights, in nats."""
    weights: dict[int, Weight] = {}
    for position, literal, log_weight in _given_weights(text, special, n):
        known = weights.setdefault(literal, Weight(log_weight, position))
        if not math.isclose(known.log_weight, log_weight, rel_tol=1e-12, abs_tol=1e-12):
            elsewhere = text.place(known.position)
            raise text.error(position, f"the weight of literal {literal} at {elsewhere}", "another")
    return weights


def _given_weights(text: Text, special: Special, n: int) -> Iterator[tuple[int, int, float]]:
    for line in special["w"]:
        yield from _cachet_weights(text, line, n)
    for line in special["weights"]:
        if len(line.fields) != 2 * n:
            raise text.error(line.position, f"{2 * n} weights", str(len(line.fields)))
        for i, field in enumerate(line.fields):
            literal = -(i // 2 + 1) if i % 2 else i // 2 + 1
            yield line.position, literal, _log(_number(text, line, field, b"%d" % literal))
    yield from _competition_weights(text, special["weight"], n)


def _competition_weights(text: Text, lines: list[Line], n: int) -> Iterator[tuple[int, int, float]]:
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


def _cachet_weights(text: Text, line: Line, n: int) -> Iterator[tuple[int, int, float]]:
    form = "'w VARIABLE PROBABILITY'"
    fields = line.fields[:-1] if line.fields[2:] == [b"0"] else line.fields
    is_free = bool(fields[1:] and re.fullmatch(rb"-1(\.0*)?", fields[1]))
    if is_free:
        fields = [fields[0], b"1"]
    variable, weight = _literal_and_number(text, line, fields, n, form)
    if variable < 0 or weight > 1:
        raise text.error(line.position, form, b" ".join(line.fields))
    yield line.position, variable, _log(weight)
    yield line.position, -variable, 0.0 if is_free else _log_complement(weight)


def _literal_and_number(
    text: Text, line: Line, fields: list[bytes], n: int, form: str
) -> tuple[int, decimal.Decimal]:
    if len(fields) != 2 or not dimacs_text.INTEGER.fullmatch(fields[0]):
        raise text.error(line.position, form, b" ".join(line.fields))
    literal = int(fields[0])
    if not 1 <= abs(literal) <= n:
        raise text.error(line.position, dimacs_text.in_range("a literal", n), fields[0])
    return literal, _number(text, line, fields[1], fields[0])


def _number(text: Text, line: Line, field: bytes, literal: bytes) -> decimal.Decimal:
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


def refuse_outside(text: Text, weights: dict[int, Weight], projection: np.ndarray | None) -> None:
    """Raises ParseError where a variable that is not counted over has a weight other than one."""
    if projection is None:
        return
    counted = set(projection.tolist())
    for literal, (log_weight, position) in weights.items():
        if log_weight != 0 and abs(literal) not in counted:
            expected = "weight 1 for a variable outside the sampling set"
            raise text.error(position, expected, f"another one for literal {literal}")


def written(log_weight: float) -> str:
    """A weight in decimal digits, whatever its size."""
    if log_weight == -math.inf or -700 < log_weight < 700:
        return repr(math.exp(log_weight))
    with decimal.localcontext(Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, prec=20):
        return str(decimal.Decimal(log_weight).exp())
