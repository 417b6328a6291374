"""What an elimination works on: factors in buckets, each waiting for the first of its variables.

    >>> graph = factor_graph.build([2, 3, 2], [((2, 1), np.zeros((2, 3)))])
    >>> model = prepare(factor_graph.condition(graph, {2: 0}), orders.min_fill)
    >>> model.plan.width, [scope for scope, _ in model.factors]
    (0, [[1], [2]])

A plan knows no tables, only who is eliminated when; it serves numpy and traced tables alike.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from inference.exact import orders
from inference.problems import factor_graph
from inference.problems.factor_graph import Array

Bucket = list[tuple[list[int], np.ndarray]]  # increasing positions; axes in the same order


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
    factors: Bucket  # all of them
    constants: list[float]  # nats, kept apart so that ``total`` rounds once
    states: list[np.ndarray]  # the states left, by variable

    def total(self, *values: float) -> float:
        """The values and the constants of the model together, rounded once."""
        return math.fsum([*values, *self.constants])

    def unaries(self) -> np.ndarray:
        """What the factors of one variable add up to, by position: [V, S], padded with -inf."""
        sizes = np.array(self.plan.sizes, dtype=np.int64)
        unaries = np.zeros((len(sizes), sizes.max(initial=1)))
        unaries[np.arange(unaries.shape[1]) >= sizes[:, None]] = -np.inf
        for scope, table in self.factors:
            if len(scope) == 1:
                unaries[scope[0], : table.size] += table
        return unaries

    def assignment(self, chosen: np.ndarray) -> np.ndarray:
        """The assignment int64 [V] of the graph from states by position."""
        assignment = np.zeros(len(chosen), dtype=np.int64)
        for variable, state in zip(self.plan.order, chosen, strict=True):
            assignment[variable] = self.states[variable][state]
        return assignment

    def by_variable(
        self, graph: factor_graph.FactorGraph, rows: Sequence[np.ndarray]
    ) -> np.ndarray:
        """Distributions by position as float [V, S] of the graph, 0 for impossible states."""
        found = np.zeros(graph.log_unary.shape)
        for variable, row in zip(self.plan.order, rows, strict=True):
            found[variable, self.states[variable]] = row
        return found


def prepare(graph: factor_graph.FactorGraph, order_fn: orders.Order) -> Model:
    """Drops impossible states, and from each table the variables it does not depend on."""
    graph = factor_graph.tabulate(graph)
    given = [([v], graph.log_unary[v, :size]) for v, size in enumerate(graph.num_states)]
    for group in graph.groups:
        given.extend(zip(group.variables.tolist(), group.log_potentials, strict=True))
    states = _possible_states(graph.num_states, given)
    constants = [float(graph.log_constant)]
    if not all(len(left) for left in states):
        constants.append(-np.inf)
        states = [left if len(left) else np.zeros(1, dtype=np.int64) for left in states]
    scopes, tables = [], []
    for scope, table in given:
        scope, table = _drop_constant_axes(scope, _restrict(scope, table, states))
        if scope:
            scopes.append(scope)
            tables.append(table)
        else:
            constants.append(table.item())
    plan = make_plan(scopes, [len(left) for left in states], order_fn)
    factors = [item for bucket in fill(plan, scopes, tables) for item in bucket]
    return Model(plan, factors, constants, states)


def _possible_states(num_states: np.ndarray, given: list) -> list[np.ndarray]:
    """States without those that some table rules out given the others: arc consistency."""
    possible = [np.arange(size) for size in num_states]
    zeros = [(scope, table == -np.inf) for scope, table in given]
    zeros = [(scope, zero) for scope, zero in zeros if zero.any()]
    tables_of: list[list[int]] = [[] for _ in possible]
    for at, (scope, _) in enumerate(zeros):
        for v in scope:
            tables_of[v].append(at)
    pending = list(range(len(zeros)))
    while pending:
        scope, zero = zeros[pending.pop()]
        zero = _restrict(scope, zero, possible)
        for axis, v in enumerate(scope):
            ruled_out = zero.all(axis=tuple(a for a in range(zero.ndim) if a != axis))
            if ruled_out.any():
                possible[v] = possible[v][~ruled_out]
                zero = zero.compress(~ruled_out, axis)
                pending.extend(tables_of[v])
    return possible


def _restrict(scope: list[int], table: np.ndarray, states: list[np.ndarray]) -> np.ndarray:
    if all(len(states[v]) == size for v, size in zip(scope, table.shape, strict=True)):
        return table
    return table[np.ix_(*(states[v] for v in scope))]


def _drop_constant_axes(scope: list[int], table: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Takes out variables that change nothing; a table of one variable keeps its states."""
    if len(scope) == 1 and table.size > 1:
        return scope, table
    kept: list[int] = []
    for v in scope:
        first = table.take([0], len(kept))
        if np.array_equal(table, np.broadcast_to(first, table.shape)):
            table = first.squeeze(len(kept))
        else:
            kept.append(v)
    return kept, table


def make_plan(scopes: list[list[int]], num_states: list[int], order_fn: orders.Order) -> Plan:
    """The plan for factors over these variables, in the order that ``order_fn`` finds.

    Raises:
      ValueError: the order is no permutation of the variables.
    """
    neighbours = find_neighbours(scopes, len(num_states))
    order = order_fn(neighbours, num_states)
    if sorted(order) != list(range(len(num_states))):
        raise ValueError(f"expected an order of {len(num_states)} variables, given {order}")
    position = {v: at for at, v in enumerate(order)}
    cliques = [[position[v] for v in clique] for clique in orders.cliques(neighbours, order)]
    return Plan(tuple(order), [num_states[v] for v in order], cliques)


def find_neighbours(scopes: Iterable[Sequence[int]], num_variables: int) -> list[set[int]]:
    """The variables that share a factor with each variable."""
    neighbours: list[set[int]] = [set() for _ in range(num_variables)]
    for scope in scopes:
        for v in scope:
            neighbours[v].update(scope)
    for v, around in enumerate(neighbours):
        around.discard(v)
    return neighbours


def fill(plan: Plan, scopes: list[list[int]], tables: Sequence[Array]) -> list[list]:
    """The factors by the position that eliminates them, their axes in order of elimination."""
    position = {v: at for at, v in enumerate(plan.order)}
    buckets: list[list] = [[] for _ in plan.order]
    for scope, table in zip(scopes, tables, strict=True):
        positions = [position[v] for v in scope]
        axes = sorted(range(len(positions)), key=positions.__getitem__)
        positions.sort()
        buckets[positions[0]].append((positions, table.transpose(axes)))
    return buckets


def aligned(plan: Plan, clique: list[int], scope: list[int], table: Array) -> Array:
    """The table with an axis of length 1 for each variable of the clique it does not have."""
    there = set(scope)
    return table.reshape([plan.sizes[at] if at in there else 1 for at in clique])
