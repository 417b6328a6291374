"""What an elimination works on: factors in buckets, each waiting for the first of its variables.

    >>> graph = factor_graph.build([2, 3, 2], [((2, 1), np.zeros((2, 3)))])
    >>> model = prepare(factor_graph.condition(graph, {2: 0}), orders.min_fill)
    >>> model.plan.width, [scope for scope, _ in model.factors]
    (0, [[0], [1]])

A plan knows no tables, only who is eliminated when; it serves numpy and traced tables alike.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from inference.exact import orders
from inference.problems import factor_graph


class Plan(NamedTuple):
    """Who is eliminated when. Variables are named by position: 0 is eliminated first."""

    order: tuple[int, ...]  # variable by position
    sizes: list[int]  # states by position
    cliques: list[list[int]]  # increasing positions; [0] is eliminated, [1:] is its message

    @property
    def width(self) -> int:
        """The most variables in one message."""
        return max((len(clique) - 1 for clique in self.cliques), default=0)

    @property
    def message_entries(self) -> int:
        """Entries of all messages together."""
        return sum(self.entries(clique[1:]) for clique in self.cliques)

    @property
    def peak_entries(self) -> int:
        """Most entries of messages at one time, if each is freed where it has been used."""
        held = peak = 0
        arrived = [0] * len(self.order)
        for at, clique in enumerate(self.cliques):
            made = self.entries(clique[1:])
            peak = max(peak, held + made)
            held += made - arrived[at]
            if len(clique) > 1:
                arrived[clique[1]] += made
        return peak

    def entries(self, positions: Sequence[int]) -> int:
        return math.prod(self.sizes[at] for at in positions)


class Model(NamedTuple):
    """A factor graph without its impossible states, ready for elimination."""

    plan: Plan
    factors: list[tuple[list[int], np.ndarray]]  # increasing positions; axes in the same order
    constant: float
    states: list[np.ndarray]  # the states left, by variable


def prepare(graph: factor_graph.FactorGraph, order_fn: orders.Order) -> Model:
    """Drops states that ``log_unary`` rules out, and from tables variables with a single state."""
    states = [np.flatnonzero(row > -np.inf) for row in np.asarray(graph.log_unary)]
    constants = [float(graph.log_constant)]
    if not all(len(left) for left in states):
        constants.append(-np.inf)
        states = [left if len(left) else np.zeros(1, dtype=np.int64) for left in states]
    whole = [len(left) == size for left, size in zip(states, graph.num_states, strict=True)]
    given = [([v], graph.log_unary[v, :size]) for v, size in enumerate(graph.num_states)]
    for group in graph.groups:
        given.extend(zip(group.variables.tolist(), group.log_potentials, strict=True))
    scopes, tables = [], []
    for scope, table in given:
        if not all(whole[v] for v in scope):
            table = table[np.ix_(*(states[v] for v in scope))]
        scope = [v for v in scope if len(states[v]) > 1]
        if scope:
            scopes.append(scope)
            tables.append(table.reshape([len(states[v]) for v in scope]))
        else:
            constants.append(table.item())
    plan = make_plan(scopes, [len(left) for left in states], order_fn)
    factors = [item for bucket in fill(plan, scopes, tables) for item in bucket]
    return Model(plan, factors, math.fsum(constants), states)


def make_plan(scopes: list[list[int]], num_states: list[int], order_fn: orders.Order) -> Plan:
    """The plan for factors over these variables, in the order that ``order_fn`` finds."""
    neighbours: list[set[int]] = [set() for _ in num_states]
    for scope in scopes:
        for v in scope:
            neighbours[v].update(scope)
    for v, around in enumerate(neighbours):
        around.discard(v)
    order = order_fn(neighbours, num_states)
    position = {v: at for at, v in enumerate(order)}
    cliques = [[position[v] for v in clique] for clique in orders.cliques(neighbours, order)]
    return Plan(tuple(order), [num_states[v] for v in order], cliques)


def fill(plan: Plan, scopes: list[list[int]], tables: Sequence[Any]) -> list[list]:
    """The factors by the position that eliminates them, their axes in order of elimination."""
    position = {v: at for at, v in enumerate(plan.order)}
    buckets: list[list] = [[] for _ in plan.order]
    for scope, table in zip(scopes, tables, strict=True):
        positions = [position[v] for v in scope]
        axes = sorted(range(len(positions)), key=positions.__getitem__)
        positions.sort()
        buckets[positions[0]].append((positions, table.transpose(axes)))
    return buckets


def aligned(plan: Plan, clique: list[int], scope: list[int], table: Any) -> Any:
    """The table with an axis of length 1 for each variable of the clique it does not have."""
    there = set(scope)
    return table.reshape([plan.sizes[at] if at in there else 1 for at in clique])
