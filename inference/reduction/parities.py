"""Variables that parity constraints define by others, by elimination over GF(2).

    >>> formula = cnf.from_clauses([], xors=[([1, 2, 3], True), ([2, 3, 4], False)])
    >>> drop(formula, formula.sampling_set)
    array([3, 4], dtype=int32)

A solver would need as many conflicts as they have assignments.
"""

import numpy as np

from inference import limits
from inference.problems import cnf, parity_rows


def drop(
    formula: cnf.CNF, kept: np.ndarray, deadline: limits.Deadline = limits.NEVER
) -> np.ndarray:
    """What is left of the variables when those are dropped that XORs define by the others.

    Args:
      formula: only its XORs matter. Too many for ``parity_rows.MOST_BYTES`` define nothing.
      kept: increasing int32 [k].
      deadline: when to raise OutOfTime.
    """
    xors = _entangled(formula.xors, kept, formula.num_variables)
    mentioned = np.unique(xors.values)
    if len(xors) * len(mentioned) // 8 > parity_rows.MOST_BYTES:
        return kept
    # Other columns are cleared first: the rows that are left mention none of them.
    columns = np.concatenate([np.setdiff1d(mentioned, kept), np.intersect1d(mentioned, kept)])
    place = np.zeros(formula.num_variables + 1, dtype=np.int64)
    place[columns] = np.arange(len(columns))
    rows = np.zeros((len(xors), parity_rows.num_words(len(columns))), dtype=np.uint32)
    for row, variables in zip(rows, xors):
        column = place[variables]
        np.bitwise_or.at(row, column // 32, np.uint32(1) << (column % 32).astype(np.uint32))
    rhs = np.zeros(len(rows), dtype=bool)
    _, _, pivots = parity_rows.row_reduce(rows, rhs, deadline.check)
    return np.setdiff1d(kept, columns[pivots])


def _entangled(xors: cnf.Ragged, kept: np.ndarray, num_variables: int) -> cnf.Ragged:
    """Without XORs that say nothing of the others: one of their variables is in no other, nor kept.

    As each is taken away, the next may be of that kind.
    """
    is_kept = np.zeros(num_variables + 1, dtype=bool)
    is_kept[kept] = True
    left = np.bincount(xors.values, minlength=num_variables + 1)
    owner = np.repeat(np.arange(len(xors)), np.diff(xors.offsets))
    total = np.bincount(xors.values, weights=owner, minlength=num_variables + 1).astype(np.int64)
    alone = np.flatnonzero((left == 1) & ~is_kept).tolist()
    is_alive = np.ones(len(xors), dtype=bool)
    while alone:
        variable = alone.pop()
        if left[variable] != 1:
            continue
        xor = total[variable]
        is_alive[xor] = False
        left[xors[xor]] -= 1
        total[xors[xor]] -= xor
        alone += [v for v in xors[xor].tolist() if left[v] == 1 and not is_kept[v]]
    return cnf.ragged([xors[i] for i in np.flatnonzero(is_alive)])
