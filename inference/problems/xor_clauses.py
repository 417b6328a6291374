"""Parity constraints as clauses, for solvers without native XORs.

>>> encode([1, 2], True, first_fresh=3)
([[1, 2], [-1, -2]], 3)
"""

import itertools
from collections.abc import Iterable, Sequence

from inference.problems import cnf

_CUT = 4  # variables in one piece


def encode(variables: Sequence[int], rhs: bool, *, first_fresh: int) -> tuple[list[list[int]], int]:
    """Clauses that hold exactly where the XOR of ``variables`` equals ``rhs``.

    Longer XORs are cut into a chain of pieces of four variables, joined by fresh variables whose
    values the others determine, so the number of models stays the same.

    Args:
      variables: distinct positive variables.
      rhs: the value of their XOR.
      first_fresh: the first number free for a fresh variable.

    Returns:
      The clauses and the next free number.
    """
    left, clauses = list(variables), []
    while len(left) > _CUT:
        piece, left = left[: _CUT - 1], [*left[_CUT - 1 :], first_fresh]
        clauses += _direct([*piece, first_fresh], False)
        first_fresh += 1
    return clauses + _direct(left, rhs), first_fresh


def encode_all(
    xors: Iterable[tuple[Sequence[int], bool]], *, first_fresh: int
) -> tuple[list[list[int]], int]:
    """Clauses that hold exactly where all XORs do, and the next free number; as ``encode``."""
    clauses = []
    for variables, rhs in xors:
        more, first_fresh = encode(variables, rhs, first_fresh=first_fresh)
        clauses += more
    return clauses, first_fresh


def encode_formula(formula: cnf.CNF) -> tuple[list[list[int]], int]:
    """The XORs of a formula as clauses, its last variable before all fresh ones; as ``encode``."""
    xors = zip(formula.xors.tolist(), formula.xor_rhs.tolist())
    return encode_all(xors, first_fresh=formula.num_variables + 1)


def _direct(variables: list[int], rhs: bool) -> list[list[int]]:
    """One clause for each assignment of the wrong parity, excluding it."""
    wrong = (
        bits
        for bits in itertools.product((False, True), repeat=len(variables))
        if sum(bits) % 2 != rhs
    )
    return [[-v if bit else v for v, bit in zip(variables, bits)] for bits in wrong]
