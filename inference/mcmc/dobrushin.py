"""How far variables depend on each other, and the temperature at which they hardly do.

    >>> round(influence(generators.ising_grid(8, 8, 0.2)), 3)  # 4 tanh(0.2)
    0.789

A change of one variable moves the conditional distribution of another by at most tanh(d / 4) in
total variation, where d is the most that the change adds to a difference of log densities. Where
these sum to less than 1 for every variable (Dobrushin's condition), Gibbs sampling forgets its
start after a number of sweeps that grows as the logarithm of the number of variables (Weitz,
"Combinatorial criteria for uniqueness of Gibbs measures", 2005). Beyond that it may still be fast.
"""

import itertools

import numpy as np

from inference.problems import factor_graph

_LEAST = 1e-3  # of the powers to which the density is raised


def influence(graph: factor_graph.FactorGraph, beta: float = 1.0) -> float:
    """The most that all others may move a variable; Dobrushin's condition holds below 1.

    Args:
      beta: of the density raised to this power. Hard zeros stay what they are at any.
    """
    return _most(*_differences(graph), beta, graph.num_variables)


def mixing_beta(graph: factor_graph.FactorGraph) -> float:
    """The largest power up to 1 at which the condition holds, or that of a thousandth without one.

    Hard zeros, which hold at any power, are left out.
    """
    variables, differences = _differences(graph)
    soft = np.isfinite(differences)
    given = variables[soft], differences[soft]
    low, high = _LEAST, 1.0
    if _most(*given, high, graph.num_variables) < 1.0:
        return high
    for _ in range(20):
        middle = np.sqrt(low * high)
        is_weak = _most(*given, middle, graph.num_variables) < 1.0
        low, high = (middle, high) if is_weak else (low, middle)
    return float(low)


def _most(variables: np.ndarray, differences: np.ndarray, beta: float, number: int) -> float:
    sums = np.bincount(variables, np.tanh(beta * differences / 4), minlength=number)
    return float(sums.max(initial=0.0))


def _differences(graph: factor_graph.FactorGraph) -> tuple[np.ndarray, np.ndarray]:
    """For each ordered pair in a factor the one that is moved and how far, in nats: [P] and [P]."""
    moved, by = [np.zeros(0, int)], [np.zeros(0)]
    for group in graph.groups:
        variables = np.asarray(group.variables)
        if not isinstance(group, factor_graph.FactorGroup):
            others = np.maximum(np.asarray(group.mask).sum(axis=1, keepdims=True) - 1, 0)
            held = np.asarray(group.mask) & (others > 0)
            moved.append(np.repeat(variables[held], np.broadcast_to(others, held.shape)[held]))
            by.append(np.full(len(moved[-1]), np.inf))
            continue
        for own, other in itertools.permutations(range(variables.shape[1]), 2):
            moved.append(variables[:, own])
            by.append(_mixed(np.asarray(group.log_potentials), own + 1, other + 1))
    return np.concatenate(moved), np.concatenate(by)


def _mixed(tables: np.ndarray, own: int, other: int) -> np.ndarray:
    """The largest difference in ``own`` of a difference in ``other``, of each table [F, ...]."""
    tables = np.moveaxis(tables, (own, other), (1, 2))
    found = np.zeros(len(tables))
    for first, second in itertools.combinations(range(tables.shape[2]), 2):
        with np.errstate(invalid="ignore"):  # of two hard zeros
            change = np.nan_to_num(
                tables[:, :, first] - tables[:, :, second], posinf=np.inf, neginf=-np.inf
            )
            spread = np.nan_to_num(change.max(axis=1) - change.min(axis=1), posinf=np.inf)
        found = np.maximum(found, spread.reshape(len(tables), -1).max(axis=1, initial=0.0))
    return found
