"""Energies as sums of small tables of integers, which one changed variable updates in O(degree).

    >>> problem = of_formula(cnf.from_clauses([[1, 2], [-1, 3]]))
    >>> int(problem.terms.tables[places(problem.terms, np.array([[1, 0, 0]]))].sum())
    1

The energy of a formula is the number of violated clauses, or what they cost; that of a graphical
model is minus its log-score. Each term has a table and a *place* in it; a state more of a variable
adds strides to the places of its terms. A clause is a table over the number of its true literals.
Energies are integers times a unit, so that sums of millions of changes are exact.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from inference.problems import cnf, factor_graph, logical_groups

Array = Any  # of numpy or JAX, traced ones included
BLOCK = 32  # terms are padded to a multiple of it, and violated ones looked for block by block
MOST_LEVELS = 4096  # of levels that are found in tables of real numbers, or made by binning them
_FINE = 20  # a bin is 2^20 units wide, so rounding each entry to a unit does not matter


class EnergyTerms(NamedTuple):
    """What steps need: V variables that occur in terms, F terms with the padding.

    Attributes:
      tables: energies as integers, all tables end to end; entry 0 is that of padding.
      origins: int32 [F], the place of a term where every variable is in state 0.
      terms: int32 [V, D], the terms of each variable, filled up with one of padding.
      strides: int32 [V, D], what a state more adds to their places; 0 for padding.
      members: int32 [F, K], the variables of each term.
      member_strides: int32 [F, K]; 0 for padding.
      arities: int32 [F].
      num_states: int32 [V].
      shift: a soft energy e is at level ``e >> shift``.
      hard_shift: a hard zero costs ``1 << hard_shift``, more than all soft energies together.
      soft_levels: the number of levels without such costs.
    """

    tables: Array
    origins: Array
    terms: Array
    strides: Array
    members: Array
    member_strides: Array
    arities: Array
    num_states: Array
    shift: Array
    hard_shift: Array
    soft_levels: Array


class EnergyProblem(NamedTuple):
    """Terms, and what their integers mean.

    Attributes:
      terms: with numpy arrays.
      variables: int [V], the variables of the problem that occur in terms.
      unit: energy of the integer 1: clauses, costs or nats.
      offset: energy of the integer 0.
      num_levels: soft and hard ones together.
      exact: whether a level is one energy.
      log_total: nats, of the number of all states.
    """

    terms: EnergyTerms
    variables: np.ndarray
    unit: float
    offset: float
    num_levels: int
    exact: bool
    log_total: float


def places(terms: EnergyTerms, states: np.ndarray) -> np.ndarray:
    """Of all terms, int32 [N, F], for states [N, V]. Host only."""
    states = np.asarray(states)
    if not states.shape[1]:
        return np.repeat(terms.origins[None], len(states), axis=0)
    moved = states[:, terms.members] * terms.member_strides
    return (terms.origins + moved.sum(axis=-1)).astype(np.int32)


def energies(terms: EnergyTerms, states: np.ndarray) -> np.ndarray:
    """Integers [N] of states [N, V]. Host only."""
    return terms.tables[places(terms, states)].sum(axis=-1, dtype=terms.tables.dtype)


def levels(terms: EnergyTerms, energies: Array, num_levels: int) -> Array:
    """Of integer energies; the last of ``num_levels`` holds all above. Numpy or traced."""
    hard = energies >> terms.hard_shift
    above = (terms.soft_levels - 1 + hard) * (hard > 0)
    soft = (energies >> terms.shift) * (hard == 0)
    return (above + soft).clip(max=num_levels - 1)


def of_formula(
    formula: cnf.CNF, costs: Sequence[float] | np.ndarray | None = None, width: float | None = None
) -> EnergyProblem:
    """Of assignments of all variables: violated clauses and XORs, or the sum of what they cost.

    Args:
      formula: its weights and sampling set play no part.
      costs: of each clause and then each XOR; one each by default.
      width: as for ``of_graph``.

    Raises:
      ValueError: there is another number of costs, or one is negative or infinite.
    """
    number = len(formula.clauses) + len(formula.xors)
    costs = np.ones(number) if costs is None else np.asarray(costs, dtype=np.float64)
    if costs.shape != (number,) or not np.isfinite(costs).all() or (costs < 0).any():
        given = f"{costs.shape}" if costs.shape != (number,) else f"{costs.min()} to {costs.max()}"
        raise ValueError(f"expected {number} finite costs of at least 0, given {given}")
    builder = _Builder(np.full(formula.num_variables, 2))
    clauses, xors = costs[: len(formula.clauses)], costs[len(formula.clauses) :]
    for literals, cost in zip(formula.clauses, clauses):
        kept = np.unique(literals)
        if len(np.unique(np.abs(kept))) == len(kept):  # others always hold
            violated = np.arange(len(kept) + 1) == 0
            builder.add_literals(np.abs(kept) - 1, kept > 0, cost * violated)
    for variables, right, cost in zip(formula.xors, formula.xor_rhs, xors):
        violated = (np.arange(len(variables) + 1) % 2 == 1) != right
        builder.add_literals(variables - 1, np.ones(len(variables), bool), cost * violated)
    return builder.finish(width)


def of_graph(graph: factor_graph.FactorGraph, width: float | None = None) -> EnergyProblem:
    """Minus the log-scores of a model, in nats; hard zeros are levels of their own, above all else.

    Args:
      graph: of any factors.
      width: nats of a level. By default every energy is one where tables have few values, such as
        multiples of one coupling; else 1 nat, or more where that makes over ``MOST_LEVELS``.

    Raises:
      ValueError: the width is not above 0.
    """
    builder = _Builder(np.asarray(graph.num_states))
    builder.offset = -float(graph.log_constant)
    for variable, (row, size) in enumerate(zip(graph.log_unary, graph.num_states)):
        builder.add_table(np.array([variable]), -np.asarray(row[:size], np.float64))
    for group in graph.groups:
        if isinstance(group, factor_graph.FactorGroup):
            for variables, table in zip(group.variables, group.log_potentials):
                builder.add_table(variables, -np.asarray(table, np.float64))
        else:
            _add_logical(builder, group)
    return builder.finish(width)


class _Builder:
    """Gathers terms; tables hold real energies, +inf for hard zeros, until ``finish``."""

    def __init__(self, num_states: np.ndarray):
        self.num_states, self.offset = num_states, 0.0
        self._tables: list[np.ndarray] = [np.zeros(1)]
        self._starts: dict[bytes, int] = {}
        self._size, self._soft, self._hard = 1, 0.0, 0
        self._terms: list[tuple[np.ndarray, np.ndarray, int]] = []

    def add_literals(self, variables: np.ndarray, signs: np.ndarray, table: np.ndarray) -> None:
        """A term of the number of true literals, table [k + 1]."""
        self._add(variables, np.where(signs, 1, -1), table, int(np.sum(~signs)))

    def add_table(self, variables: np.ndarray, table: np.ndarray) -> None:
        """A term of the states of its variables, one axis each."""
        strides = np.array(table.strides) // table.itemsize
        self._add(variables, strides, np.ravel(table), 0)

    def _add(self, variables: np.ndarray, strides: np.ndarray, table: np.ndarray, at: int) -> None:
        finite = table[np.isfinite(table)]
        least = finite.min(initial=math.inf) if finite.size else 0.0
        self.offset += least
        table = table - least
        self._soft += finite.max(initial=least) - least
        self._hard += bool(np.isinf(table).any())
        if not len(variables) or (table == table[0]).all() and np.isfinite(table[0]):
            return
        key = table.tobytes()
        if key not in self._starts:
            self._starts[key] = self._size
            self._tables.append(table)
            self._size += len(table)
        self._terms.append((variables, strides, self._starts[key] + at))

    def finish(self, width: float | None) -> EnergyProblem:
        """Integer tables, and variables numbered anew."""
        tables = np.concatenate(self._tables)
        unit, shift = _unit(tables[np.isfinite(tables)], self._soft, width)
        whole = np.rint(np.where(np.isfinite(tables), tables, 0.0) / unit)
        most = int(np.rint(self._soft / unit)) + len(self._terms)
        hard_shift = max(most.bit_length(), shift + 1)
        whole = np.where(np.isfinite(tables), whole, 2.0**hard_shift)
        small = hard_shift + max(self._hard.bit_length(), 1) < 31
        soft_levels = (int(np.rint(self._soft / unit)) >> shift) + 1
        used = np.unique(np.concatenate([np.zeros(0, int), *(v for v, _, _ in self._terms)]))
        number = np.zeros(len(self.num_states) + 1, dtype=np.int32)
        number[used] = np.arange(len(used))
        renamed = [(number[v], strides, at) for v, strides, at in self._terms]
        shifts = [np.int32(shift), np.int32(hard_shift), np.int32(soft_levels)]
        terms = EnergyTerms._make(
            [
                whole.astype(np.int32 if small else np.int64),
                *_layout(renamed, len(used)),
                self.num_states[used].astype(np.int32),
                *shifts,
            ]
        )
        total = float(np.log(self.num_states).sum())
        levels = soft_levels + self._hard
        return EnergyProblem(terms, used, unit, self.offset, levels, shift == 0, total)


def _add_logical(
    builder: _Builder, group: logical_groups.ClauseGroup | logical_groups.ParityGroup
) -> None:
    is_clause = isinstance(group, logical_groups.ClauseGroup)
    for variables, side, mask in zip(group.variables, group[1], group.mask):
        scope, counted = np.asarray(variables)[mask], np.arange(mask.sum() + 1)
        if not len(scope):
            continue  # padding
        wrong = counted == 0 if is_clause else (counted % 2 == 1) != side
        signs = np.asarray(side)[mask] if is_clause else np.ones(len(scope), bool)
        builder.add_literals(scope, signs, np.where(wrong, np.inf, 0.0))


def _unit(values: np.ndarray, total: float, width: float | None) -> tuple[float, int]:
    """The energy of the integer 1, and by how many bits an integer is shifted to its level."""
    if width is not None and not 0 < width < math.inf:
        raise ValueError(f"expected a width above 0, given {width}")
    exact = _divisor(np.unique(values[values > 0]))
    if width is None and exact and total / exact <= MOST_LEVELS:
        return exact, 0
    if width is not None and exact and abs(width / exact - round(width / exact)) < 1e-9:
        # whole energies to a bin: no bin has more of them than another
        bins = round(width / exact)
        if bins & (bins - 1) == 0:
            return exact, bins.bit_length() - 1
    width = max(1.0, total / MOST_LEVELS) if width is None else width
    return width / 2**_FINE, _FINE


def _divisor(values: np.ndarray) -> float:
    """The largest number that all are multiples of, to nine digits; 0 where it is too small."""
    if not len(values):
        return 1.0
    most, found = float(values.max()), 0.0
    for value in values.tolist():
        while value > 1e-9 * most:
            found, value = value, math.fmod(found, value)
            value = min(value, found - value) if value > found / 2 else value
        if found < 1e-6 * most:
            return 0.0
    parts = values / found
    return found if np.abs(parts - np.rint(parts)).max() < 1e-6 else 0.0


def _layout(
    terms: list[tuple[np.ndarray, np.ndarray, int]], num_variables: int
) -> list[np.ndarray]:
    """Origins, terms and strides by variable, members, their strides, and arities."""
    size = BLOCK * (len(terms) // BLOCK + 1)
    arities = np.zeros(size, dtype=np.int32)
    arities[: len(terms)] = [len(v) for v, _, _ in terms]
    origins = np.zeros(size, dtype=np.int32)
    origins[: len(terms)] = [at for _, _, at in terms]
    members = np.zeros((size, max(arities.max(initial=0), 1)), dtype=np.int32)
    member_strides = np.zeros_like(members)
    for term, (variables, strides, _) in enumerate(terms):
        members[term, : len(variables)] = variables
        member_strides[term, : len(variables)] = strides
    row, slot = np.nonzero(np.arange(members.shape[1]) < arities[:, None])
    variable = members[row, slot]
    order = np.argsort(variable, kind="stable")
    row, slot, variable = row[order], slot[order], variable[order]
    degrees = np.bincount(variable, minlength=num_variables)
    rank = np.arange(len(variable)) - (np.cumsum(degrees) - degrees)[variable]
    mine = np.full((num_variables, degrees.max(initial=0)), len(terms), dtype=np.int32)
    mine[variable, rank] = row
    own = np.zeros_like(mine)
    own[variable, rank] = member_strides[row, slot]
    return [origins, mine, own, members, member_strides, arities]
