"""Variables that make no difference to Z: what a Bayesian network sums to one over.

    >>> table = np.log([[0.25, 0.75], [0.5, 0.5]])  # Pr(second | first)
    >>> graph = factor_graph.build([2, 2], [((0,), np.log([0.1, 0.9])), ((0, 1), table)])
    >>> prune(graph).groups, abs(float(prune(graph).log_constant)) < 1e-15
    ((), True)

A factor whose variables that appear nowhere else sum to the same number, whatever the others are,
is that number: it leaves the graph, with these variables. Others may then appear nowhere else, or
in no factor, and so on (Shachter, "Evaluating influence diagrams", 1986, of nodes without observed
descendants). What sums differ by, and their rounding, joins the graph's ``log_error``: bounds of Z
stay certain. Maxima and marginals ask for these variables: ``prune`` serves Z alone.
"""

import math
from typing import Any

import numpy as np

from inference.problems import factor_graph

_SPREAD = 1e-9  # nats by which sums may differ and still count as one number


def prune(graph: factor_graph.FactorGraph) -> factor_graph.FactorGraph:
    """A graph of the same Z, to within ``log_error``, without barren variables.

    The numbering is kept; a variable that has left has state 0 alone, with a log-potential of 0.
    Host only.
    """
    factors = [
        item
        for group in graph.groups
        if isinstance(group, factor_graph.FactorGroup)
        for item in zip(group.variables.tolist(), group.log_potentials, strict=True)
    ]
    degrees, names = _uses(graph, [scope for scope, _ in factors])
    pending = sorted({int(names[v]) for v in np.flatnonzero(degrees == 1)})
    removed, constants = np.zeros(len(factors), dtype=bool), [float(graph.log_constant)]
    log_error, log_unary = float(graph.log_error), np.array(graph.log_unary, dtype=np.float64)
    none = np.zeros(log_unary.shape[1])
    point = np.where(np.arange(len(none)) == 0, 0.0, -np.inf)
    while pending:
        at = pending.pop()
        if at >= len(factors) or removed[at]:
            continue
        scope, table = factors[at]
        own = [axis for axis, v in enumerate(scope) if degrees[v] == 1]
        low, high, rounding = _sums(table, [(a, log_unary[scope[a]]) for a in own])
        if not high - low <= _SPREAD:  # also where both are -inf
            continue
        removed[at] = True
        constants.append((low + high) / 2)
        log_error += (high - low) / 2 + rounding
        log_unary[[scope[axis] for axis in own]] = point
        degrees[scope] -= 1
        names[scope] -= at
        pending += [int(names[v]) for v in scope if degrees[v] == 1]
    possible = (log_unary > -np.inf).sum(axis=1)
    for v in np.flatnonzero((degrees == 0) & (possible > 1)):  # roots, once their children left
        value, _, rounding = _sums(log_unary[v, : graph.num_states[v]], [(0, none)])
        constants.append(value)
        log_error += rounding
        log_unary[v] = point
    if len(constants) == 1:
        return graph
    total = math.fsum(constants)
    log_error += 2.0**-53 * abs(total)
    groups = _left(graph.groups, removed)
    return graph._replace(
        log_unary=log_unary, groups=groups, log_constant=np.float64(total), log_error=log_error
    )


def _uses(
    graph: factor_graph.FactorGraph, scopes: list[list[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """How many factors each variable is in, and the sum of their numbers.

    The sum names the last factor left. Tables come first, then clauses and parities.
    """
    degrees, names = np.zeros((2, graph.num_variables), dtype=np.int64)
    tables, others = 0, len(scopes)
    for group in graph.groups:
        is_table = isinstance(group, factor_graph.FactorGroup)
        variables = np.asarray(group.variables)
        mask = np.ones(variables.shape, bool) if is_table else np.asarray(group.mask)
        first = tables if is_table else others
        rows = first + np.broadcast_to(np.arange(len(variables))[:, None], variables.shape)
        np.add.at(degrees, variables[mask], 1)
        np.add.at(names, variables[mask], rows[mask])
        tables += len(variables) if is_table else 0
        others += 0 if is_table else len(variables)
    return degrees, names


def _sums(table: np.ndarray, own: list[tuple[int, np.ndarray]]) -> tuple[float, float, float]:
    """The least and the largest log-sum over some axes with their unaries, and their rounding.

    With n terms of at most B in absolute value a log-sum errs by fewer than (k + 2) B + 2 n + 20
    units of 2^-53, as ``exact.elimination`` derives, where k unaries are added.
    """
    joint, bound = np.asarray(table, dtype=np.float64), float(factor_graph.magnitude(table))
    for axis, unary in own:
        shape = [-1 if a == axis else 1 for a in range(joint.ndim)]
        joint = joint + unary[: joint.shape[axis]].reshape(shape)
        bound += float(factor_graph.magnitude(unary))
    axes = tuple(axis for axis, _ in own)
    top = joint.max(axis=axes, keepdims=True)
    with np.errstate(divide="ignore"):
        sums = np.log(np.exp(joint - np.where(np.isfinite(top), top, 0.0)).sum(axis=axes))
    sums += top.reshape(sums.shape)
    terms = math.prod(joint.shape[axis] for axis in axes)
    units = (len(own) + 2) * bound + 2 * terms + 20 + 9 * math.log(terms)
    return float(sums.min()), float(sums.max()), 2.0**-52 * units


def _left(groups: tuple[Any, ...], removed: np.ndarray) -> tuple[Any, ...]:
    """The groups without the tables that were removed."""
    left, at = [], 0
    for group in groups:
        if isinstance(group, factor_graph.FactorGroup):
            kept = ~removed[at : at + len(group.variables)]
            at += len(group.variables)
            if not kept.any():
                continue
            group = type(group)(group.variables[kept], group.log_potentials[kept])
        left.append(group)
    return tuple(left)
