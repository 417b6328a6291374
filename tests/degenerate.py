"""Formulas at the edges, with how many models each has over its sampling set."""

from inference.problems import cnf

# Clauses, number of variables, sampling set, models.
CASES = [
    ([], 0, None, 1),
    ([], 1, None, 2),
    ([], 2, None, 4),
    ([[]], 3, None, 0),
    ([[1], [-1]], 2, None, 0),
    ([[1, 2]], 4, [], 1),
    ([[1], [-1]], 4, [], 0),
    ([[3]], 5, [1, 5], 4),
]
FORMULAS = [
    (cnf.from_clauses(clauses, num_variables=n, projection=projection), models)
    for clauses, n, projection, models in CASES
]
