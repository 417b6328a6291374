"""Parity constraints as what solvers take: lists of DIMACS variables, or clauses.

>>> xors = to_xors(parity)                      # hashing.parity.gf2.Parity
>>> xors[0]
([3, 4, 9], True)
>>> clauses, next_fresh = to_clauses(xors, first_fresh=formula.num_variables + 1)
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hashing.parity import rows as parity_rows
from inference.problems import xor_clauses

if TYPE_CHECKING:
    from hashing.parity import gf2


def to_xors(parity: "gf2.Parity") -> list[tuple[list[int], bool]]:
    """Each row as its DIMACS variables and right side; padding rows are left out.

    Column j gives variable ``variables[j] + 1``; a zero row gives no variables.
    """
    num_rows = int(parity.num_rows)
    bits = parity_rows.unpack(np.asarray(parity.rows)[:num_rows], len(parity.variables))
    names = np.asarray(parity.variables) + 1
    return [(names[row].tolist(), bool(s)) for row, s in zip(bits, np.asarray(parity.rhs))]


def to_clauses(
    xors: Iterable[tuple[Sequence[int], bool]], *, first_fresh: int, cut: int = 4
) -> tuple[list[list[int]], int]:
    """Clauses that hold exactly where all XORs do, and the next free variable.

    Long XORs are cut into pieces of ``cut`` variables joined by fresh variables, which the others
    determine, so the number of models stays the same.
    """
    clauses = []
    for variables, rhs in xors:
        more, first_fresh = xor_clauses.encode(variables, rhs, first_fresh=first_fresh, cut=cut)
        clauses += more
    return clauses, first_fresh
