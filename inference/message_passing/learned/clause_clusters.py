"""Formulas as few small tables: clauses of one scope become one factor, what is local is summed.

    >>> formula = cnf.from_clauses([[-1, 4], [-2, 4], [1, 2, -4], [1, 2], [2, 3], [1, 3]])
    >>> clusters = build([formula])  # 4 is a gate of 1 and 2 that nothing reads: it goes
    >>> [len(table.variables.T) for table in clusters.tables]  # of 1, 2, ... variables
    [0, 3, 0, 0, 0]

Belief propagation on single clauses counts each gate of a circuit several times over. Here every
clause joins a clause whose scope holds its own, variables of only one table are summed out,
variables that a table fixes are set everywhere, and axes a table does not depend on are dropped,
until nothing changes. All steps keep the number of models. They are vectorised over the clauses of
all formulas at once, so that a formula takes microseconds per literal; scopes are compared by
64-bit hashes. A clause of more than ``WIDTH`` literals is first split by gates into clauses of that
width, so no table has more than 2^WIDTH entries, whatever the length.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from inference import limits
from inference.problems import cnf, xor_clauses

WIDTH = 5  # variables of a table at most
FREE = -1


class Table(NamedTuple):
    """All tables over k variables; the first variable is the highest bit of the entry's number.

    Attributes:
      variables: int64 [k, F].
      values: float32 [2^k, F], the largest of each table 1.
    """

    variables: np.ndarray
    values: np.ndarray


class Clusters(NamedTuple):
    """Formulas side by side, their variables numbered through from 0.

    Attributes:
      tables: of 1 to ``WIDTH`` variables, in this order.
      formula: int64 [V], whose variable it is.
      log_constant: float64 [G], nats of what is summed out; -inf where a contradiction was found.
    """

    tables: tuple[Table, ...]
    formula: np.ndarray
    log_constant: np.ndarray


def build(
    formulas: Sequence[cnf.CNF], *, rounds: int = 10, deadline: limits.Deadline = limits.NEVER
) -> Clusters:
    """Joins, fixes and sums out until nothing changes, or for ``rounds`` rounds.

    The sum over all assignments of the product of a formula's tables, times exp(log_constant), is
    its number of models, whatever the number of rounds.

    Raises:
      ValueError: a formula has weights, or a sampling set that leaves variables out.
      OutOfTime: the deadline has passed.
    """
    for formula in formulas:
        _check(formula)
    deadline.check()
    codes, lengths, owner, of_clause = _concatenate(formulas)
    tables, repeats = _clause_tables(codes, lengths)
    long = lengths.max(initial=0) > WIDTH
    if repeats or long or any(len(formula.xors) for formula in formulas):
        rewritten = [_rewritten(formula) for formula in formulas]
        return build(rewritten, rounds=rounds, deadline=deadline)
    log_constant = np.zeros(len(formulas))
    log_constant[of_clause[lengths == 0]] = -np.inf
    gone, hashes = np.zeros(len(owner), dtype=bool), _hashes(len(owner))
    for _ in range(rounds):
        deadline.check()
        before = _size(tables)
        tables = _join_subsets([_join_equal(table, hashes) for table in tables], len(owner))
        fixed, times = _fixed(tables, len(owner)), _times(tables, len(owner))
        gone |= (fixed != FREE) | (times == 1)
        parts = [part for table in tables for part in _reduced(table, fixed, times)]
        tables = _scaled(parts, owner, log_constant)
        if _size(tables) == before:
            break
    free = owner[~gone & (_times(tables, len(owner)) == 0)]
    log_constant += math.log(2) * np.bincount(free, minlength=len(formulas))
    return Clusters(tuple(tables), owner, log_constant)


def _check(formula: cnf.CNF) -> None:
    if formula.log_weights is not None:
        raise ValueError("expected a formula without weights; formula.unweighted() drops them")
    n, projection = formula.num_variables, formula.projection
    if projection is not None and len(projection) < n:
        raise ValueError(f"expected all {n} variables in the sampling set, given {len(projection)}")


def _concatenate(formulas: Sequence[cnf.CNF]) -> tuple[np.ndarray, ...]:
    """Codes 2 variable + negative [L]; lengths [C]; whose each variable and each clause is."""
    sizes = np.array([formula.num_variables for formula in formulas], dtype=np.int64)
    counts = [len(formula.clauses) for formula in formulas]
    literals = [formula.clauses.values for formula in formulas]
    starts = np.repeat(np.cumsum(sizes) - sizes, [len(one) for one in literals])
    signed = np.concatenate([np.zeros(0, dtype=np.int32), *literals])
    offsets = [np.diff(formula.clauses.offsets) for formula in formulas]
    lengths = np.concatenate([np.zeros(0, dtype=np.int64), *offsets])
    codes = 2 * (np.abs(signed) - 1 + starts) + (signed < 0)
    numbers = np.arange(len(sizes))
    return codes, lengths, np.repeat(numbers, sizes), np.repeat(numbers, counts)


def _rewritten(formula: cnf.CNF) -> cnf.CNF:
    """The same number of models by clauses of at most ``WIDTH`` literals without repeats.

    Further variables are gates of others, so that each model extends in one way.
    """
    last, clauses = formula.num_variables, []
    for clause in formula.clauses.tolist():
        literals = sorted(set(clause))
        if any(-literal in literals for literal in literals):
            continue
        while len(literals) > WIDTH:
            last, inputs, literals = last + 1, literals[: WIDTH - 1], literals[WIDTH - 1 :]
            clauses += [[last, -literal] for literal in inputs] + [[-last, *inputs]]
            literals = [*literals, last]
        clauses.append(literals)
    xors = zip(formula.xors.tolist(), formula.xor_rhs.tolist())
    more, first_fresh = xor_clauses.encode_all(xors, first_fresh=last + 1)
    return cnf.from_clauses(clauses + more, num_variables=first_fresh - 1)


def _clause_tables(codes: np.ndarray, lengths: np.ndarray) -> tuple[list[Table], bool]:
    """A table per clause of up to ``WIDTH`` literals; whether any names a variable twice."""
    tables, repeats, starts = [], False, np.cumsum(lengths) - lengths
    for k in range(1, WIDTH + 1):
        rows = codes[starts[lengths == k] + np.arange(k)[:, None]]
        for turn in range(k):  # odd-even transposition: few rows, many columns
            for i in range(turn % 2, k - 1, 2):
                rows[i : i + 2] = np.minimum(rows[i], rows[i + 1]), np.maximum(rows[i], rows[i + 1])
        variables = rows >> 1
        repeats |= bool((variables[1:] == variables[:-1]).any())
        values = np.ones((2**k, rows.shape[1]), dtype=np.float32)
        values[(1 << np.arange(k)[::-1]) @ (rows & 1), np.arange(rows.shape[1])] = 0.0
        tables.append(Table(variables, values))
    return tables, repeats


def _join_equal(table: Table, hashes: np.ndarray) -> Table:
    """One table per scope, the product of those over it."""
    keys = hashes[table.variables].sum(axis=0)
    order = np.argsort(keys)
    keys = keys[order]
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    if len(first) == len(keys):
        return table
    values = np.multiply.reduceat(np.take(table.values, order, axis=1), first, axis=1)
    return Table(table.variables[:, order[first]], values)


def _join_subsets(tables: list[Table], num_variables: int) -> list[Table]:
    """Multiplies each table of two or more variables into one whose scope holds its own."""
    for j in range(1, len(tables)):
        for large in reversed(tables[j + 1 :]):
            if large.variables.size and tables[j].variables.size:
                joined = _join_pair(tables[j], large, num_variables)
                tables[j] = Table(*(np.compress(~joined, part, axis=1) for part in tables[j]))
    return tables


def _join_pair(small: Table, large: Table, num_variables: int) -> np.ndarray:
    """Joins what it can, in place in ``large``; which of ``small`` that were, bool [F]."""
    guests, hosts, axes = _inclusions(small.variables, large.variables, num_variables)
    joined = np.zeros(small.variables.shape[1], dtype=bool)
    joined[guests] = True
    for one in np.unique(axes):
        mine = np.flatnonzero(axes == one)
        factors, to = np.take(small.values, guests[mine], axis=1), hosts[mine]
        active = (factors != 1).any(axis=1)  # clauses exclude one state each
        for entry, row in enumerate(_projected(int(one), len(large.variables))):
            if active[row]:
                large.values[entry, to] *= factors[row]
    return joined


def _projected(axes: int, k: int) -> list[int]:
    """For each entry of a table over k variables, that of a table over some of its axes."""
    kept = [axis for axis in range(k) if axes >> axis & 1]
    states = itertools.product((0, 1), repeat=k)
    return [sum(state[axis] << i for i, axis in enumerate(reversed(kept))) for state in states]


def _inclusions(
    small: np.ndarray, large: np.ndarray, num_variables: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which scopes of ``small`` [j, N] lie in one of ``large`` [k, F]: N', F', axes as bits.

    Each scope looks at the large ones of that of its variables which is in the fewest.
    """
    k, width = large.shape
    one_column_each = (np.ones(large.size, bool), large.T.ravel(), np.arange(0, large.size + 1, k))
    rows = sparse.csc_array(one_column_each, shape=(num_variables, width)).tocsr()
    times = np.diff(rows.indptr)[small]
    rarest = times.argmin(axis=0)[None]
    counts = np.take_along_axis(times, rarest, axis=0)[0]
    starts = rows.indptr[np.take_along_axis(small, rarest, axis=0)[0]]
    guests = np.repeat(np.arange(len(counts)), counts)
    steps = np.arange(len(guests)) - np.repeat(np.cumsum(counts) - counts, counts)
    hosts = rows.indices[starts[guests] + steps]
    found = np.zeros((k, len(guests)), dtype=bool)
    there = np.take(large, hosts, axis=1)
    for variables in small:
        found |= there == variables[guests]
    inside = np.flatnonzero(found.sum(axis=0) == len(small))
    guests, first = np.unique(guests[inside], return_index=True)
    inside = inside[first]
    return guests, hosts[inside], (1 << np.arange(k)) @ found[:, inside]


def _fixed(tables: list[Table], num_variables: int) -> np.ndarray:
    """The only state some table leaves to a variable, else FREE: int8 [V]."""
    fixed = np.full(num_variables, FREE, dtype=np.int8)
    for table in tables:
        for variables, halves in zip(table.variables, _axes(table.values)):
            for state in (0, 1):
                fixed[variables[~halves[:, 1 - state].any(axis=(0, 1))]] = state
    return fixed


def _reduced(
    table: Table, fixed: np.ndarray, times: np.ndarray
) -> Iterator[tuple[np.ndarray, Table]]:
    """What is left of the tables, once per set of axes that go; with a variable of each scope."""
    values, goes = table.values.copy(), np.zeros(table.variables.shape, dtype=bool)
    state = fixed[table.variables]
    local = (times[table.variables] == 1) & (state == FREE)
    for axis, halves in enumerate(_axes(values)):
        for known in (0, 1):
            if (at := np.flatnonzero(state[axis] == known)).size:
                halves[:, 1 - known, :, at] = halves[:, known, :, at]
        if (at := np.flatnonzero(local[axis])).size:
            halves[..., at] = halves[..., at].sum(axis=1, keepdims=True)
        goes[axis] = (halves[:, 0] == halves[:, 1]).all(axis=(0, 1))
    pattern = (1 << np.arange(len(goes))) @ goes
    for one in np.unique(pattern):
        at = np.flatnonzero(pattern == one)
        gone = one >> np.arange(len(goes)) & 1 == 1
        index = tuple(0 if axis_gone else slice(None) for axis_gone in gone)
        kept = np.take(values, at, axis=1).reshape(*[2] * len(goes), -1)[index]
        variables = np.take(table.variables, at, axis=1)
        yield variables[0], Table(variables[~gone], kept.reshape(-1, len(at)))


def _scaled(
    parts: list[tuple[np.ndarray, Table]], owner: np.ndarray, log_constant: np.ndarray
) -> list[Table]:
    """The tables by number of variables; their maxima go to ``log_constant``, in place."""
    kept: list[list[Table]] = [[] for _ in range(WIDTH + 1)]
    for anyone, table in parts:
        largest = table.values.max(axis=0, initial=0.0)
        with np.errstate(divide="ignore"):
            logs = np.log(largest)
        log_constant += np.bincount(owner[anyone], logs, len(log_constant))
        values = table.values / np.where(largest > 0, largest, 1)
        kept[len(table.variables)].append(Table(table.variables, values))
    return [_stacked(k, tables) for k, tables in enumerate(kept)][1:]


def _stacked(k: int, tables: list[Table]) -> Table:
    empty = Table(np.zeros((k, 0), dtype=np.int64), np.zeros((2**k, 0), dtype=np.float32))
    return Table(*(np.concatenate(parts, axis=1) for parts in zip(empty, *tables)))


def _axes(values: np.ndarray) -> Iterator[np.ndarray]:
    """Views [2^i, 2, 2^(k-1-i), F] of tables [2^k, F], one per axis i."""
    for axis in range(len(values).bit_length() - 1):
        yield values.reshape(2**axis, 2, len(values) >> (axis + 1), -1)


def _size(tables: list[Table]) -> int:
    return sum(table.variables.size for table in tables)


def _times(tables: list[Table], num_variables: int) -> np.ndarray:
    """How many tables each variable is in: int64 [V]."""
    every = np.concatenate([table.variables.ravel() for table in tables])
    return np.bincount(every, minlength=num_variables)


def _hashes(size: int) -> np.ndarray:
    """Pseudo-random uint64 [size] (splitmix64), equal every time."""
    mixed = np.arange(1, size + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))
