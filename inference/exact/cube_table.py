"""The count of a very small formula, from the table of all its assignments in numpy.

    >>> number_of_models(cnf.from_clauses([[1, 2], [-2, 3]], num_variables=5))
    16

A clause is false on one face of the cube of all assignments. Nothing is compiled, so thousands of
small formulas take a moment; ``exhaustive`` is for larger ones.
"""

import numpy as np

from inference.problems import cnf

MOST_VARIABLES = 18


def number_of_models(formula: cnf.CNF) -> int:
    """The number of sampling-set assignments that extend to a model; weights play no part.

    Raises:
      ValueError: the formula has more than ``MOST_VARIABLES`` variables.
    """
    n = formula.num_variables
    if n > MOST_VARIABLES:
        raise ValueError(f"expected at most {MOST_VARIABLES} variables, given {n}")
    table = np.ones((2,) * n, dtype=bool)
    for clause in formula.clauses.tolist():
        if not any(-x in clause for x in clause):
            face: list[slice | int] = [slice(None)] * n
            for x in clause:
                face[abs(x) - 1] = int(x < 0)
            table[tuple(face)] = False
    for variables, side in zip(formula.xors.tolist(), formula.xor_rhs.tolist()):
        parity = np.zeros((1,) * n, dtype=bool)
        for v in variables:
            parity = parity ^ np.arange(2, dtype=bool).reshape((-1,) + (1,) * (n - v))
        table &= parity == side
    sampled = set(formula.sampling_set.tolist())
    return int(table.any(axis=tuple(v - 1 for v in range(1, n + 1) if v not in sampled)).sum())
