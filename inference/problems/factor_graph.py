"""Factor graphs: log p(x) = log_constant + sum of the factors' log-potentials - log Z.

    >>> graph = build([2, 2], [((0, 1), [[0.5, 0.0], [0.0, 0.5]])])
    >>> float(log_score(graph, np.array([1, 1])))
    0.5

Variables and states are numbered from 0. All ``log_*`` are in nats, a hard zero is -inf. Problems
hold numpy float64; they are pytrees, so they pass through ``jit`` and ``vmap``.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from inference.problems import logical_groups
from inference.problems.logical_groups import Array, ClauseGroup, ParityGroup

if TYPE_CHECKING:  # it takes longer to load than all problems together
    from jaxtyping import Float, Int32


class FactorGroup(NamedTuple):
    """All table factors of one exact table shape.

    Attributes:
      variables: of each factor.
      log_potentials: [F, s1, ..., sk]; axis j + 1 belongs to ``variables[:, j]``.
    """

    variables: Int32[Array, "F k"]
    log_potentials: Float[Array, "F ..."]


Group = FactorGroup | ClauseGroup | ParityGroup


class FactorGraph(NamedTuple):
    """A graphical model; make one with ``build`` or read it with ``problems.uai``.

    Attributes:
      num_states: of each variable.
      log_unary: padded with -inf past ``num_states``.
      groups: each a ``Group``: table factors of two or more variables, one ``FactorGroup`` per
        table shape, and logical factors; ``tabulate`` turns all into tables.
      log_constant: the factors of no variable.
      log_error: how far log Z may be off because values were rounded when the graph was made;
        CERTAIN intervals are wider by it.
    """

    num_states: Int32[Array, " V"]
    log_unary: Float[Array, "V S"]
    groups: tuple[Any, ...]  # as most code asks for tables alone, and has tabulated before
    log_constant: Float[Array, ""]
    log_error: Float[Array, ""] | float = 0.0

    @property
    def num_variables(self) -> int:
        return self.num_states.shape[-1]

    def __repr__(self) -> str:
        """One line, whatever the sizes."""
        try:
            factors = sum(group.variables.shape[-2] for group in self.groups)
            variables, states = self.log_unary.shape[-2:]
        except AttributeError:  # while JAX takes the tree apart, fields hold anything
            return f"FactorGraph{tuple(self)}"
        sizes = f"{variables} variables of up to {states} states"
        return f"<FactorGraph: {sizes}, {factors} factors of two or more variables>"


Pieces = dict[tuple[int, ...], list[tuple[np.ndarray, np.ndarray]]]  # by shape: variables, tables


def build(
    num_states: Sequence[int] | np.ndarray,
    factors: Iterable[tuple[Sequence[int], np.ndarray | Sequence | float]],
    *,
    logical: Iterable[ClauseGroup | ParityGroup] = (),
    log_constant: float = 0.0,
    log_error: float = 0.0,
) -> FactorGraph:
    """A factor graph from ``(variables, log_table)`` pairs.

    Args:
      num_states: number of states of each variable, [V].
      factors: the axes of each table follow its variables; a table of no variable is a number.
      logical: clauses and parities, over variables of two states.
      log_constant: nats added to every log-score.
      log_error: nats by which the given tables may be off, summed over the factors.

    Raises:
      ValueError: a domain is empty, a variable is out of range or repeated, a table has the wrong
        shape, or a value is NaN or +inf.
    """
    domains = np.asarray(num_states, dtype=np.int32).reshape(-1)
    if domains.size and domains.min() < 1:
        raise ValueError(f"expected at least one state per variable, given {domains.min()}")
    log_unary = np.full((domains.size, int(domains.max(initial=1))), -np.inf)
    log_unary[np.arange(log_unary.shape[1]) < domains[:, None]] = 0.0
    sizes, constants, added = domains.tolist(), [float(log_constant)], _Sums(domains.size)
    pieces: Pieces = defaultdict(list)
    for variables, values in factors:
        scope = tuple(int(v) for v in variables)
        table = np.asarray(values, dtype=np.float64)
        _check_factor(scope, table, sizes)
        pieces[table.shape].append((np.array([scope], dtype=np.int32), table[None]))
    groups = _place(pieces, log_unary, constants, added)
    total, rounding = _sum(constants)
    for values in (log_unary, total, *(group.log_potentials for group in groups)):
        if np.isnan(values).any() or np.max(values, initial=-np.inf) == np.inf:
            raise ValueError("expected log-potentials below +inf, given NaN or +inf")
    logical = tuple(logical)
    for group in logical:
        _check_logical(group, domains)
    log_error += rounding + added.rounding()
    return FactorGraph(domains, log_unary, (*groups, *logical), total, np.float64(log_error))


def log_score(graph: FactorGraph, assignments: Array) -> Array:
    """Unnormalised log-probability in nats of assignments [..., V], in shape [...].

    Numpy in, numpy out; also runs inside ``jit``, ``vmap`` and ``grad``. A state past a variable's
    domain but inside the padding scores -inf or is refused as an index; others are not checked.
    """
    xp = _namespace((assignments, *graph[1:2], graph.log_constant, *sum(graph.groups, ())))
    score = xp.asarray(graph.log_constant)
    for terms in _entries(xp, graph, xp.asarray(assignments).astype(np.int32)):
        score = score + terms.sum(axis=-1)
    return score


def score(graph: FactorGraph, assignment: np.ndarray) -> float:
    """The log-score in nats of one assignment [V]: the exact sum, rounded once. Host only."""
    entries = _entries(np, graph, np.asarray(assignment).astype(np.int32))
    return math.fsum(itertools.chain([float(graph.log_constant)], *map(np.ravel, entries)))


def _entries(xp: ModuleType, graph: FactorGraph, states: Array) -> Iterator[Array]:
    """What the unaries [..., V] and each group [..., F] score for the states [..., V]."""
    yield xp.asarray(graph.log_unary)[np.arange(graph.num_variables), states]
    for group in graph.groups:
        scoped = xp.take(states, xp.asarray(group.variables), axis=-1)  # [..., F, k]
        if not isinstance(group, FactorGroup):
            yield logical_groups.log_scores(xp, group, scoped)
            continue
        index = (np.arange(scoped.shape[-2]), *(scoped[..., j] for j in range(scoped.shape[-1])))
        yield xp.asarray(group.log_potentials)[index]


def condition(graph: FactorGraph, evidence: Mapping[int, int]) -> FactorGraph:
    """The graph with some variables fixed; exp(log Z) becomes the weight of the evidence.

    The numbering is kept: a fixed variable keeps its states, its ``log_unary`` is 0 at the given
    state and -inf elsewhere, and it leaves every table. What it scored, and tables with all
    variables fixed, move into ``log_constant``. Host only.

    Raises:
      ValueError: a variable or a state is out of range.
    """
    fixed = _fixed(graph, evidence)
    log_unary, constants = np.array(graph.log_unary, dtype=np.float64), [float(graph.log_constant)]
    pieces: Pieces = defaultdict(list)
    added = _Sums(graph.num_variables)
    added.add(np.arange(graph.num_variables), log_unary)
    logical = []
    for group in graph.groups:
        if not isinstance(group, FactorGroup):
            left, possible = logical_groups.restrict(group, fixed)
            logical += [left] if len(left.variables) else []
            constants += [] if possible else [-np.inf]
            continue
        for variables, tables in _slice(group, fixed):
            pieces[tables.shape[1:]].append((variables, tables))
    groups = (*_place(pieces, log_unary, constants, added), *logical)
    known = np.flatnonzero(fixed >= 0)
    total, rounding = _sum([*constants, *log_unary[known, fixed[known]]])
    log_unary[known] = -np.inf
    log_unary[known, fixed[known]] = 0.0
    error = graph.log_error + rounding + added.rounding()
    return FactorGraph(graph.num_states, log_unary, groups, total, np.float64(error))


def tabulate(graph: FactorGraph) -> FactorGraph:
    """The same graph with tables alone; as it is where it has no others. Host only.

    Raises:
      ValueError: a clause or parity has too many variables for a table.
    """
    if all(isinstance(group, FactorGroup) for group in graph.groups):
        return graph
    log_unary = np.array(graph.log_unary, dtype=np.float64)
    pieces: Pieces = defaultdict(list)
    for group in graph.groups:
        is_table = isinstance(group, FactorGroup)
        for variables, tables in [group] if is_table else logical_groups.tables(group):
            pieces[tables.shape[1:]].append((variables, tables))
    # Of 0 and -inf are those of one variable, and there is no number: nothing is rounded.
    groups = _place(pieces, log_unary, [], _Sums(graph.num_variables))
    return graph._replace(log_unary=log_unary, groups=groups)


def magnitude(table: np.ndarray, axis: int | None = None) -> Array:
    """The largest absolute value among the finite entries, 0 where there is none."""
    return np.abs(np.where(np.isfinite(table), table, 0.0)).max(axis=axis, initial=0.0)


class _Sums:
    """How often tables were added to a variable, and how large they were."""

    def __init__(self, num_variables: int):
        self._times, self._sizes = np.zeros(num_variables), np.zeros(num_variables)

    def add(self, variables: np.ndarray, tables: np.ndarray) -> None:
        """Notes that a row of tables [F, S] was added to each of the variables [F]."""
        np.add.at(self._times, variables, 1)
        np.add.at(self._sizes, variables, magnitude(tables, axis=1))

    def rounding(self) -> float:
        """Bound on the sum over variables: each addition but the first errs by 2^-53 of a sum."""
        return 2.0**-53 * float((np.maximum(self._times - 1, 0) * self._sizes).sum())


def _sum(values: list[float]) -> tuple[np.float64, float]:
    """The sum, rounded once, and a bound on its rounding."""
    total = math.fsum(values)
    rounding = 2.0**-53 * abs(total) if len(values) > 1 and math.isfinite(total) else 0.0
    return np.float64(total), rounding


def _check_factor(scope: tuple[int, ...], table: np.ndarray, sizes: list[int]) -> None:
    for variable in scope:
        if not 0 <= variable < len(sizes):
            raise ValueError(f"expected variables in 0..{len(sizes) - 1}, given {variable}")
    if len(set(scope)) < len(scope):
        raise ValueError(f"expected variables without repeats, given {scope}")
    expected = tuple(sizes[variable] for variable in scope)
    if table.shape != expected:
        raise ValueError(f"expected a table of shape {expected} over {scope}, given {table.shape}")


def _check_logical(group: ClauseGroup | ParityGroup, domains: np.ndarray) -> None:
    variables, mask = np.asarray(group.variables), np.asarray(group.mask)
    last = len(domains) - 1
    for variable in variables[(variables < 0) | (variables > last)]:
        raise ValueError(f"expected variables in 0..{last}, given {variable}")
    named = np.sort(np.where(mask, variables, -1 - np.arange(mask.shape[1])), axis=1)
    for row in np.flatnonzero((np.diff(named, axis=1) == 0).any(axis=1)):
        raise ValueError(f"expected variables without repeats, given {variables[row].tolist()}")
    for variable in variables[mask & (domains[variables] != 2)]:
        given = f"variable {variable} has {domains[variable]}"
        raise ValueError(f"expected two states in clauses and parities, {given}")


def _fixed(graph: FactorGraph, evidence: Mapping[int, int]) -> np.ndarray:
    """The state of each variable, -1 where it is free: int [V]."""
    fixed = np.full(graph.num_variables, -1)
    for variable, state in evidence.items():
        if not 0 <= variable < graph.num_variables:
            raise ValueError(f"expected variable in 0..{graph.num_variables - 1}, given {variable}")
        if not 0 <= state < graph.num_states[variable]:
            last = graph.num_states[variable] - 1
            raise ValueError(f"expected variable {variable} in state 0..{last}, given {state}")
        fixed[variable] = state
    return fixed


def _place(
    pieces: Pieces, log_unary: np.ndarray, constants: list[float], added: _Sums
) -> tuple[FactorGroup, ...]:
    """One group per shape of two or more axes, in their order; smaller tables are added in place.

    Tables of one variable go to ``log_unary`` and are noted in ``added``, numbers to ``constants``.
    """
    groups = []
    for shape in sorted(pieces, key=lambda shape: (len(shape), shape)):
        variables, tables = map(np.concatenate, zip(*pieces[shape], strict=True))
        if len(shape) > 1:
            groups.append(FactorGroup(variables, tables))
        elif shape:
            with np.errstate(invalid="ignore"):  # +inf with -inf is NaN, refused by ``build``
                np.add.at(log_unary, (variables, np.arange(*shape)), tables)
            added.add(variables[:, 0], tables)
        else:
            constants += tables.tolist()
    return tuple(groups)


def _slice(group: FactorGroup, fixed: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Free variables [F, k'] and sliced tables, once per pattern of fixed axes."""
    states = fixed[group.variables]
    for pattern in np.unique(states >= 0, axis=0):
        rows = np.flatnonzero(((states >= 0) == pattern).all(axis=1))
        index = [states[rows, j] if known else slice(None) for j, known in enumerate(pattern)]
        tables = np.asarray(group.log_potentials, dtype=np.float64)[(rows, *index)]
        yield np.asarray(group.variables)[rows][:, ~pattern], tables


def _namespace(arrays: tuple[Array, ...]) -> ModuleType:
    """``jax.numpy`` where any array is a jax array or traced, otherwise numpy; imports nothing."""
    jax = sys.modules.get("jax")
    if jax is not None and any(isinstance(array, jax.Array) for array in arrays):
        return jax.numpy
    return np
