"""Formulas as 0-1 tables with a plan to eliminate their variables.

    >>> planned = plan(cnf.from_clauses([[1, 2], [2, 3]], projection=[1, 3]), hidden=[2])
    >>> planned.hidden, planned.plan.width
    (1, 2)

Variables outside the sampling set that it defines (``undefined``) are summed over as the others
are: they have one value. Those that it leaves open are eliminated first, by or; only these
constrain the order.
"""

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from inference import limits, randomness
from inference.exact import bucket_tree, orders
from inference.problems import cnf
from inference.reduction import chains

# Orders are sought again with other ties, once for so many entries, which take about as long; not
# where so many are left that no tie would bring them within reach.
TIES, ENTRIES_PER_TIE, MOST_ENTRIES = 12, 2.0**21, 2.0**33
# Orders by least degree are worse than what is found with patience, seldom by more than this.
GAIN = 2.0**6


class Planned(NamedTuple):
    """Tables in the order of their elimination.

    Attributes:
      plan: of the variables that occur in some table.
      factors: bool tables with their positions.
      hidden: so many positions, the first, are eliminated by or.
      variables: of the formula, the one of each position; links of chains are above all others.
      entries: of all tables that are made.
      impossible: whether there is an empty clause.
    """

    plan: bucket_tree.Plan
    factors: list[tuple[list[int], np.ndarray]]
    hidden: int
    variables: np.ndarray
    entries: float
    impossible: bool

    def given(self, states: Mapping[int, int]) -> "Planned":
        """The same where positions have these states, and no other."""
        sizes = [1 if at in states else size for at, size in enumerate(self.plan.sizes)]
        factors = []
        for scope, table in self.factors:
            index = [
                slice(states[at], states[at] + 1) if at in states else slice(2) for at in scope
            ]
            factors.append((scope, table[tuple(index)]))
        return self._replace(plan=self.plan._replace(sizes=sizes), factors=factors)

    def costliest(self) -> int | None:
        """The position of two states, not hidden, whose tables have the most entries."""
        costs = np.zeros(len(self.plan.sizes))
        for clique in self.plan.cliques:
            costs[clique] += self.plan.entries(clique)
        costs[: self.hidden], costs[np.array(self.plan.sizes) == 1] = -1, -1
        return int(np.argmax(costs)) if costs.max(initial=0) > 0 else None


class _Scopes(NamedTuple):
    """The variables of clauses and exclusive-ors, numbered from 0 without gaps."""

    short: chains.Chains
    scopes: list[list[int]]
    variables: list[int]  # of the formula
    hidden: set[int]

    def neighbours(self) -> list[set[int]]:
        return bucket_tree.find_neighbours(self.scopes, len(self.variables))


def plan(
    formula: cnf.CNF,
    *,
    hidden: Collection[int] = (),
    widest: int = 30,
    deadline: limits.Deadline = limits.NEVER,
) -> Planned:
    """The tables of a formula, and the cheapest order found.

    Args:
      formula: its weights are not looked at.
      hidden: variables that are eliminated by or: all that the sampling set leaves open.
      widest: no message has more variables.
      deadline: for the orders.

    Raises:
      orders.Wide: no order is as narrow.
      OutOfTime: the deadline passed.
    """
    best: tuple[float, _Scopes, list[int]] | None = None
    for scopes in _worth_a_try(formula, set(hidden), widest, deadline):
        for entries, order in _orders(scopes, widest, deadline):
            if best is None or entries < best[0]:
                best = entries, scopes, order
    if best is None:
        raise orders.Wide(widest + 1)
    return _planned(*best)


def _worth_a_try(
    formula: cnf.CNF, hidden: set[int], widest: int, deadline: limits.Deadline
) -> list[_Scopes]:
    """The formula as it is and with chains, those that a quick order finds narrow."""
    shortened = chains.shorten(formula)
    both = [chains.Chains(formula, []), *([shortened] if shortened.links else [])]
    found = []
    for scopes in (_scopes(short, hidden) for short in both):
        if max(map(len, scopes.scopes), default=0) <= widest + 1:
            entries = orders.quick_entries(
                scopes.neighbours(),
                first=scopes.hidden,
                widest=widest + math.log2(GAIN),
                deadline=deadline,
            )
            found.append((entries, scopes))
    least = min((entries for entries, _ in found), default=math.inf)
    most = min(GAIN * MOST_ENTRIES, GAIN * least)
    return [scopes for entries, scopes in found if entries <= most < math.inf]


def _scopes(short: chains.Chains, hidden: set[int]) -> _Scopes:
    """Links are hidden where one of their variables is."""
    first = short.formula.num_variables - len(short.links) + 1
    for link, defining in enumerate(short.links, first):
        if not hidden.isdisjoint(defining):
            hidden = hidden | {link}
    lists = [*short.formula.clauses.tolist(), *short.formula.xors.tolist()]
    variables = sorted({abs(literal) for one in lists for literal in one})
    number = {v: at for at, v in enumerate(variables)}
    scopes = [sorted({number[abs(literal)] for literal in one}) for one in lists]
    return _Scopes(short, scopes, variables, {number[v] for v in hidden if v in number})


def _orders(
    scopes: _Scopes, widest: int, deadline: limits.Deadline
) -> Iterator[tuple[float, list[int]]]:
    """Orders with the entries of their tables, more of them where tables are large."""
    neighbours, sizes = scopes.neighbours(), [2] * len(scopes.variables)
    options = {"first": scopes.hidden, "widest": widest, "deadline": deadline}
    least = math.inf
    for rule in (orders.min_fill, orders.min_degree):
        try:
            order = rule(neighbours, sizes, **options)
        except orders.Wide:
            continue
        entries = _entries(neighbours, order)
        least = min(least, entries)
        yield entries, order
    for seed in range(int(min(TIES, least // ENTRIES_PER_TIE)) if least < MOST_ENTRIES else 0):
        ties = randomness.generator(seed, "ties").permutation(len(sizes)).tolist()
        try:
            order = orders.min_fill(neighbours, sizes, ties=ties, **options)
        except orders.Wide:
            continue
        yield _entries(neighbours, order), order


def _entries(neighbours: Sequence[set[int]], order: Sequence[int]) -> float:
    return math.fsum(2.0 ** len(clique) for clique in orders.cliques(neighbours, order))


def _planned(entries: float, scopes: _Scopes, order: list[int]) -> Planned:
    tables = _tables(scopes.short.formula)
    impossible = not tables.pop((), np.ones((), dtype=bool)).item()
    plan = bucket_tree.make_plan(scopes.scopes, [2] * len(order), lambda *_: order)
    number = {v: at for at, v in enumerate(scopes.variables)}
    named = [[number[v] for v in scope] for scope in tables]
    buckets = bucket_tree.fill(plan, named, list(tables.values()))
    variables = np.array([scopes.variables[v] for v in order], dtype=np.int32)
    factors = list(itertools.chain.from_iterable(buckets))
    return Planned(plan, factors, len(scopes.hidden), variables, entries, impossible)


def _tables(formula: cnf.CNF) -> dict[tuple[int, ...], np.ndarray]:
    """A bool table for each set of variables that clauses and exclusive-ors have, increasing."""
    tables: dict[tuple[int, ...], np.ndarray] = {}

    def table(variables: Sequence[int]) -> np.ndarray:
        scope = tuple(sorted({abs(v) for v in variables}))
        return tables.setdefault(scope, np.ones([2] * len(scope), dtype=bool))

    for clause in formula.clauses.tolist():
        literals = sorted(set(clause), key=abs)
        of_clause = table(literals)
        if len(literals) == of_clause.ndim:  # else it always holds
            of_clause[tuple(int(literal < 0) for literal in literals)] = False
    for variables, side in zip(formula.xors.tolist(), formula.xor_rhs.tolist(), strict=True):
        of_xor = table(variables)
        of_xor &= np.indices(of_xor.shape).sum(axis=0) % 2 == side
    return tables
