"""Parity constraints as what solvers take: lists of DIMACS variables.

>>> xors = to_xors(parity)                      # hashing.parity.gf2.Parity
>>> xors[0]
([3, 4, 9], True)

For solvers without XORs, ``inference.problems.xor_clauses.encode_all`` turns these into clauses.
"""

from typing import TYPE_CHECKING

import numpy as np

from inference.problems import parity_rows

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
