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
from collections.abc import Iterator

import numpy as np

from inference.problems import factor_graph

_SPREAD = 1e-9  # nats by which sums may differ and still count as one number


def prune(graph: factor_graph.FactorGraph) -> factor_graph.FactorGraph:
    """A graph of the same Z, to within ``log_error``, without barren variables.

    The numbering is kept; a variable that has left has state 0 alone, with a log-potential of 0.
    Host only.
    """
    pruning = _Pruning(graph)
    pruning.remove_tables()
    pruning.remove_roots()
    return pruning.result()


class _Pruning:
    """A graph while factors leave it."""

    def __init__(self, graph: factor_graph.FactorGraph):
        self.graph, self.factors = graph, list(_tables(graph))
        self.degrees, self.names = _uses(graph)
        self.removed = np.zeros(len(self.factors), dtype=bool)
        self.constants, self.log_error = [float(graph.log_constant)], float(graph.log_error)
        self.log_unary = np.array(graph.log_unary, dtype=np.float64)
        self.point = np.where(np.arange(self.log_unary.shape[1]) == 0, 0.0, -np.inf)

    def remove_tables(self) -> None:
        """One by one, as long as some variables of a table are in no other factor."""
        pending = sorted({int(self.names[v]) for v in np.flatnonzero(self.degrees == 1)})
        while pending:
            at = pending.pop()
            if at < len(self.factors) and not self.removed[at] and self._remove(at):
                scope = self.factors[at][0]
                pending += [int(self.names[v]) for v in scope if self.degrees[v] == 1]

    def _remove(self, at: int) -> bool:
        """Takes out a table if its sums over what it has alone are one number."""
        scope, table = self.factors[at]
        own = [axis for axis, v in enumerate(scope) if self.degrees[v] == 1]
        low, high, rounding = _sums(table, [(a, self.log_unary[scope[a]]) for a in own])
        if not high - low <= _SPREAD:  # also where both are -inf
            return False
        self.removed[at] = True
        self.constants.append((low + high) / 2)
        self.log_error += (high - low) / 2 + rounding
        self.log_unary[[scope[axis] for axis in own]] = self.point
        self.degrees[scope] -= 1
        self.names[scope] -= at
        return True

    def remove_roots(self) -> None:
        """The variables that are in no factor, or no longer."""
        none = np.zeros(len(self.point))
        possible = (self.log_unary > -np.inf).sum(axis=1)
        for v in np.flatnonzero((self.degrees == 0) & (possible > 1)):
            states = self.log_unary[v, : self.graph.num_states[v]]
            value, _, rounding = _sums(states, [(0, none)])
            self.constants.append(value)
            self.log_error += rounding
            self.log_unary[v] = self.point

    def result(self) -> factor_graph.FactorGraph:
        """What is left; the graph itself where nothing has gone."""
        if len(self.constants) == 1:
            return self.graph
        total = math.fsum(self.constants)
        return self.graph._replace(
            log_unary=self.log_unary,
            groups=_left(self.graph.groups, self.removed),
            log_constant=np.float64(total),
            log_error=np.float64(self.log_error + 2.0**-53 * abs(total)),
        )


def _tables(graph: factor_graph.FactorGraph) -> Iterator[tuple[list[int], np.ndarray]]:
    for group in graph.groups:
        if isinstance(group, factor_graph.FactorGroup):
            yield from zip(group.variables.tolist(), group.log_potentials, strict=True)


def _uses(graph: factor_graph.FactorGraph) -> tuple[np.ndarray, np.ndarray]:
    """How many factors each variable is in, and the sum of their numbers.

    The sum names the last factor left. Tables come first, then clauses and parities.
    """
    degrees, names = np.zeros((2, graph.num_variables), dtype=np.int64)
    first = 0
    for group in sorted(graph.groups, key=lambda one: hasattr(one, "mask")):
        variables = np.asarray(group.variables)
        rows, slots = np.nonzero(getattr(group, "mask", np.ones_like(variables)))
        np.add.at(degrees, variables[rows, slots], 1)
        np.add.at(names, variables[rows, slots], first + rows)
        first += len(variables)
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


def _left(
    groups: tuple[factor_graph.Group, ...], removed: np.ndarray
) -> tuple[factor_graph.Group, ...]:
    """The groups without the tables that were removed."""
    left: list[factor_graph.Group] = []
    at = 0
    for group in groups:
        if isinstance(group, factor_graph.FactorGroup):
            kept = ~removed[at : at + len(group.variables)]
            at += len(group.variables)
            if not kept.any():
                continue
            group = factor_graph.FactorGroup(group.variables[kept], group.log_potentials[kept])
        left.append(group)
    return tuple(left)
