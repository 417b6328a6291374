"""A formula as clauses without repeats, for what reads clauses one by one.

>>> formula = cnf.from_clauses([[2, -1, 2], [1, -1]], xors=[([1, 3], True)])
>>> clauses_only(formula).clauses.tolist()
[[-1, 2], [1, 3], [-1, -3]]
"""

import dataclasses

import numpy as np

from inference import limits
from inference.problems import cnf, xor_clauses

_XORS_AT_ONCE = 1_000


def clauses_only(formula: cnf.CNF, deadline: limits.Deadline = limits.NEVER) -> cnf.CNF:
    """The same models: XORs as clauses, no tautologies, in each clause each variable once.

    Variables that cut long XORs come after the others; the same XORs are cut in the same way.

    Raises:
      OutOfTime: at the deadline.
    """
    clauses, fresh = formula.clauses, formula.num_variables + 1
    for first in range(0, len(formula.xors), _XORS_AT_ONCE):
        deadline.check()
        some = range(first, min(first + _XORS_AT_ONCE, len(formula.xors)))
        xors = [(formula.xors[i].tolist(), bool(formula.xor_rhs[i])) for i in some]
        more, fresh = xor_clauses.encode_all(xors, first_fresh=fresh)
        clauses = cnf.join(clauses, cnf.ragged(more))
    deadline.check()
    none = cnf.from_clauses([], num_variables=fresh - 1)
    return dataclasses.replace(none, clauses=_without_repeats(clauses, fresh))


def distinct(values: np.ndarray) -> np.ndarray:
    """As ``np.unique``, which hashes: ten times slower where most values are distinct."""
    values = np.sort(values)
    return values[np.diff(values, prepend=-1) > 0]


def _without_repeats(clauses: cnf.Ragged, base: int) -> cnf.Ragged:
    """Sorted clauses of distinct literals; ``base`` is more than any variable."""
    literals = clauses.values.astype(np.int64)
    owner = np.repeat(np.arange(len(clauses)), np.diff(clauses.offsets))
    keys = distinct(owner * (2 * base) + 2 * np.abs(literals) + (literals < 0))
    owner, codes = np.divmod(keys, 2 * base)
    both = (owner[1:] == owner[:-1]) & (codes[1:] ^ codes[:-1] == 1)
    holds = np.zeros(len(clauses), dtype=bool)
    holds[owner[1:][both]] = True
    left = ~holds[owner]
    sizes = np.bincount(owner[left], minlength=len(clauses))[~holds]
    values = (codes[left] >> 1) * np.where(codes[left] & 1, -1, 1)
    return cnf.Ragged(values.astype(np.int32), np.concatenate([[0], np.cumsum(sizes)]))
