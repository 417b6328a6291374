"""Boolean formulas in conjunctive normal form, with native XORs, a sampling set and weights.

    >>> formula = from_clauses([[3, 4]], num_variables=7)
    >>> formula.num_clauses, formula.sampling_set.tolist()
    (1, [1, 2, 3, 4, 5, 6, 7])

Variables are numbered from 1 and literals signed, as in DIMACS. Everything is stored in flat
numpy arrays, so a formula of a million clauses costs no Python object per clause.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # it takes longer to load than all problems together
    from jaxtyping import Bool, Float64, Int32, Int64

# One word that cannot be taken for a literal: no number, and no sign before it.
NAME = re.compile(r"(?!-)(?![+.]*\d[\d./]*([eE][-+]?\d+)?\Z)\S+")


@dataclasses.dataclass(frozen=True, eq=False)
class Ragged:
    """Lists of different lengths, end to end: list i is ``values[offsets[i]:offsets[i + 1]]``."""

    values: Int32[np.ndarray, " L"]
    offsets: Int64[np.ndarray, " C+1"]  # from 0 to L

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        if not -len(self) <= index < len(self):
            raise IndexError(f"list {index} of {len(self)}")
        index %= len(self)
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.values[a:b] for a, b in zip(self.offsets[:-1], self.offsets[1:]))

    def tolist(self) -> list[list[int]]:
        """Nested Python lists of Python integers, as the solvers take them."""
        return [x for part in self.parts() for x in part]

    def parts(self, size: int = 10_000) -> Iterator[list[list[int]]]:
        """``tolist()`` piece by piece: all at once they take twenty times the memory."""
        for first in range(0, len(self), size):
            offsets = self.offsets[first : first + size + 1]
            values = self.values[offsets[0] : offsets[-1]].tolist()
            ends = (offsets - offsets[0]).tolist()
            yield [values[a:b] for a, b in zip(ends[:-1], ends[1:])]


def ragged(lists: Iterable[Sequence[int] | np.ndarray]) -> Ragged:
    """Builds a ``Ragged`` from lists of integers.

    Raises:
      ValueError: a value is no integer of 32 bits.
    """
    kept = [np.asarray(x).reshape(-1) for x in lists]
    offsets = np.zeros(len(kept) + 1, dtype=np.int64)
    np.cumsum([len(x) for x in kept], out=offsets[1:])
    values = np.concatenate([np.zeros(0, dtype=np.int32), *(x for x in kept if x.size)])
    if values.dtype.kind not in "iu" or np.any(values != values.astype(np.int32)):
        raise ValueError(f"expected integers of 32 bits, given {values.dtype} {values.max()}")
    return Ragged(values.astype(np.int32), offsets)


def join(first: Ragged, second: Ragged) -> Ragged:
    """The lists of one after those of the other."""
    offsets = np.concatenate([first.offsets, second.offsets[1:] + len(first.values)])
    return Ragged(np.concatenate([first.values, second.values]), offsets)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class CNF:
    """A formula; build it with ``from_clauses`` or read it with ``problems.dimacs``.

    Attributes:
      num_variables: n; variables 1..n exist whether or not a clause mentions them.
      clauses: signed literals.
      xors: variables (positive) of each parity constraint; their XOR equals ``xor_rhs``.
      xor_rhs: of each of them.
      projection: the sampling set, increasing; None for all variables, empty for none.
      log_weights: in nats, column 0 for the negative literal; None to count.
      names: of some variables, for people; no part of the content.

    Raises:
      ValueError: a variable is out of range, a weight is NaN or +inf, a variable outside the
        sampling set has a weight other than one, or a name is none or that of two variables.
    """

    num_variables: int
    clauses: Ragged
    xors: Ragged
    xor_rhs: Bool[np.ndarray, " X"]
    projection: Int32[np.ndarray, " k"] | None = None
    log_weights: Float64[np.ndarray, "n 2"] | None = None
    names: Mapping[int, str] | None = None

    def __post_init__(self):
        n = self.num_variables
        if n < 0:
            raise ValueError(f"expected at least 0 variables, given {n}")
        _check_range("literal", self.clauses.values, n, signed=True)
        _check_range("XOR variable", self.xors.values, n)
        if len(self.xor_rhs) != len(self.xors):
            raise ValueError(f"expected {len(self.xors)} XOR sides, given {len(self.xor_rhs)}")
        if self.projection is not None:
            _check_range("sampling variable", self.projection, n)
            if np.any(np.diff(self.projection) <= 0):
                raise ValueError("expected increasing sampling variables without repeats")
        if self.log_weights is not None:
            self._check_weights(self.log_weights)
        if self.names:
            _check_names(self.names, n)

    def _check_weights(self, log_weights: np.ndarray) -> None:
        if log_weights.shape != (self.num_variables, 2):
            raise ValueError(
                f"expected weights of shape {(self.num_variables, 2)}, given {log_weights.shape}"
            )
        bad = np.isnan(log_weights) | (log_weights == np.inf)
        if bad.any():
            variable = int(np.flatnonzero(bad.any(axis=1))[0]) + 1
            raise ValueError(f"expected finite weights, given another for variable {variable}")
        outside = np.ones(self.num_variables, dtype=bool)
        outside[self.sampling_set - 1] = False
        weighted = np.flatnonzero(outside & (log_weights != 0).any(axis=1))
        if weighted.size:
            raise ValueError(
                f"expected weight 1 outside the sampling set, given another for {weighted[0] + 1}"
            )

    @property
    def num_clauses(self) -> int:
        return len(self.clauses)

    @property
    def sampling_set(self) -> np.ndarray:
        """The variables that are counted over, increasing int32 [k]."""
        if self.projection is None:
            return np.arange(1, self.num_variables + 1, dtype=np.int32)
        return self.projection

    def __repr__(self) -> str:
        """One line, whatever the sizes."""
        sizes = f"{self.num_variables} variables, {self.num_clauses} clauses"
        sizes += f", {len(self.xors)} XORs" if len(self.xors) else ""
        sizes += "" if self.projection is None else f", {len(self.projection)} sampled"
        return f"<CNF: {sizes}{'' if self.log_weights is None else ', weighted'}>"

    def unweighted(self) -> CNF:
        """The same formula without its weights."""
        return dataclasses.replace(self, log_weights=None)

    def is_satisfied(self, assignments: np.ndarray) -> np.ndarray:
        """Whether assignments bool [..., n] satisfy every clause and XOR: bool [...]."""
        assignments = np.asarray(assignments, dtype=bool)
        literals = self.clauses.values
        true = assignments[..., np.abs(literals) - 1] == (literals > 0)
        holds = _reduce(np.logical_or, true, self.clauses.offsets).all(axis=-1)
        parity = _reduce(np.logical_xor, assignments[..., self.xors.values - 1], self.xors.offsets)
        return holds & (parity == self.xor_rhs).all(axis=-1)

    def digest(self) -> str:
        """SHA-256 of the content, in hexadecimal; equal for equal formulas."""
        digest = hashlib.sha256(f"cnf {self.num_variables}".encode())
        parts = [self.clauses.values, self.clauses.offsets, self.xors.values, self.xors.offsets]
        parts += [self.xor_rhs, self.sampling_set]
        for part in parts if self.log_weights is None else [*parts, self.log_weights]:
            digest.update(f"{part.dtype} {part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()


def from_clauses(
    clauses: Iterable[Sequence[int] | np.ndarray],
    *,
    num_variables: int | None = None,
    xors: Iterable[tuple[Sequence[int], bool]] = (),
    projection: Iterable[int] | None = None,
    log_weights: np.ndarray | None = None,
    names: Mapping[int, str] | None = None,
) -> CNF:
    """A formula from lists of signed literals.

    Args:
      clauses: signed literals; an empty clause makes the formula unsatisfiable.
      num_variables: n; by default the largest variable mentioned anywhere.
      xors: pairs of positive variables and the value of their XOR; repeats cancel.
      projection: the sampling set, in any order; None for all variables.
      log_weights: [n, 2] in nats, column 0 for the negative literal.
      names: of some variables.

    Raises:
      ValueError: as ``CNF`` does.
    """
    clause_lists, xors = ragged(clauses), list(xors)
    xor_lists = ragged(_cancel_repeats(variables) for variables, _ in xors)
    sampling = None if projection is None else np.unique(np.array(list(projection), dtype=np.int32))
    if num_variables is None:
        mentioned = [clause_lists.values, xor_lists.values]
        mentioned += [] if sampling is None else [sampling]
        num_variables = max((int(np.abs(x).max()) for x in mentioned if x.size), default=0)
        num_variables = max(num_variables, 0 if log_weights is None else len(log_weights))
    return CNF(
        num_variables,
        clause_lists,
        xor_lists,
        np.array([bool(side) for _, side in xors], dtype=bool),
        sampling,
        None if log_weights is None else np.asarray(log_weights, dtype=np.float64),
        names,
    )


def exactly_one(literals: list[int]) -> list[list[int]]:
    """Clauses that hold exactly where one of the literals does."""
    return [literals, *([-a, -b] for a, b in itertools.combinations(literals, 2))]


def state_literals(sizes: Iterable[int]) -> tuple[list[list[int]], list[list[int]], int]:
    """Variables of any number of states in Booleans: one for two states, else one for each state.

    Returns:
      The literal of each state of each variable, the clauses that make exactly one of them true,
      and how many Booleans there are.
    """
    literals: list[list[int]] = []
    clauses: list[list[int]] = []
    used = 0
    for size in sizes:
        if size == 2:
            used += 1
            literals.append([-used, used])
            continue
        literals.append(list(range(used + 1, used + 1 + size)))
        clauses += exactly_one(literals[-1])
        used += size
    return literals, clauses, used


def weight_table(log_weights: Mapping[int, float], num_variables: int) -> np.ndarray:
    """Log-weights [n, 2] of a formula from those of some literals; 0 for the others."""
    table = np.zeros((num_variables, 2))
    for literal, log_weight in log_weights.items():
        table[abs(literal) - 1, int(literal > 0)] = log_weight
    return table


def _cancel_repeats(variables: Sequence[int]) -> np.ndarray:
    values, times = np.unique(np.asarray(variables), return_counts=True)
    return values[times % 2 == 1]


def _check_range(what: str, values: np.ndarray, n: int, signed: bool = False) -> None:
    size = np.abs(values) if signed else values
    bad = values[(size < 1) | (size > n)]
    if bad.size:
        raise ValueError(f"expected each {what} in 1..{n}, given {bad[0]}")


def _check_names(names: Mapping[int, str], n: int) -> None:
    _check_range("named variable", np.array(list(names)), n)
    if not all(map(NAME.fullmatch, names.values())):
        bad = next(name for name in names.values() if not NAME.fullmatch(name))
        raise ValueError(f"expected one word as a name, no number, given {bad!r}")
    if len(set(names.values())) < len(names):
        twice = next(x for x in names.values() if list(names.values()).count(x) > 1)
        raise ValueError(f"expected a name of its own for each variable, given {twice!r} twice")


def _reduce(operation: np.ufunc, values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Reduces the last axis list by list; an empty list gives False."""
    out = np.zeros((*values.shape[:-1], len(offsets) - 1), dtype=bool)
    filled = np.diff(offsets) > 0
    if filled.any():
        out[..., filled] = operation.reduceat(values, offsets[:-1][filled], axis=-1)
    return out
