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
    rows = xors.tolist()
    # How many XORs that are left a variable is in, and the sum of their numbers.
    left, total = [0] * (num_variables + 1), [0] * (num_variables + 1)
    for number, variables in enumerate(rows):
        for v in variables:
            left[v], total[v] = left[v] + 1, total[v] + number
    for v in kept.tolist():
        left[v] = 0  # never alone
    alone = [v for v, times in enumerate(left) if times == 1]
    while alone:
        variable = alone.pop()
        if left[variable] != 1:
            continue
        number = total[variable]
        for v in rows[number]:
            left[v], total[v] = left[v] - 1, total[v] - number
            if left[v] == 1:
                alone.append(v)
        rows[number] = []
    return cnf.ragged([row for row in rows if row])
