"""The joint states of a factor graph in one array, 8 bytes each; variable 0 runs fastest.

    >>> graph = factor_graph.build([2, 2], [((0,), [0.0, 1.0]), ((1,), [0.0, 2.0])])
    >>> scores(graph).tolist()
    [0.0, 1.0, 2.0, 3.0]

Graphs hold tables alone here; see ``factor_graph.tabulate``.
"""

import numpy as np

from inference import limits
from inference.problems import factor_graph


def scores(graph: factor_graph.FactorGraph, deadline: limits.Deadline = limits.NEVER) -> np.ndarray:
    """Log-scores of all joint states, without the constant: float64 [N].

    Raises:
      OutOfTime: the deadline passed between two tables.
    """
    domains, log_unary = np.asarray(graph.num_states), np.asarray(graph.log_unary)
    tables: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {v: [] for v in range(len(domains))}
    for group in graph.groups:
        for scope, table in zip(*map(np.asarray, group)):
            tables[int(max(scope))].append((scope, table))
    found = np.zeros(1)
    deadline.check()
    # A table joins as soon as all its variables have, so most work is done on short arrays.
    for variable, last in tables.items():
        unary = log_unary[variable, : domains[variable]]
        found = (unary[:, None] + found).reshape(-1)
        deadline.check()
        for scope, table in last:
            _add_table(found, scope, table, domains)
    return found


def _add_table(
    scores: np.ndarray, scope: np.ndarray, table: np.ndarray, domains: np.ndarray
) -> None:
    """Adds a table in place to the scores of the variables up to the largest of its scope."""
    order, steps, shape, size = np.argsort(-scope), strides(domains), [], len(scores)
    for variable in scope[order]:
        shape += [size // int(steps[variable] * domains[variable]), int(domains[variable])]
        size = int(steps[variable])
    axes = [1 if i % 2 == 0 else n for i, n in enumerate(shape)]
    # A view, so adding to it adds to the scores.
    view = scores.reshape(*shape, size)
    view += table.transpose(order).reshape(*axes, 1)


def terms(graph: factor_graph.FactorGraph) -> list[np.ndarray]:
    """The tables of which a score takes one entry each."""
    return [*graph.log_unary, *(table for g in graph.groups for table in g.log_potentials)]


def parities(row: np.ndarray, domains: np.ndarray) -> np.ndarray:
    """The parity of the variables in ``row`` for all joint states: bool [N]."""
    odd = np.zeros(1, dtype=bool)
    for is_member, size in zip(row, domains):
        odd = np.concatenate([odd, ~odd]) if is_member else np.tile(odd, size)
    return odd


def strides(domains: np.ndarray) -> np.ndarray:
    """How far apart in the array are two states of a variable that follow each other: [V]."""
    return np.cumprod(np.concatenate([[1], domains[:-1]]))
