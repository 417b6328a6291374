"""Clauses and parities as factors without tables: O(k) numbers for k variables, not 2^k.

    >>> group = clause_group([[1, -2], [2, 3, -4]])
    >>> group.variables.tolist()
    [[0, 1, 0], [1, 2, 3]]
    >>> group.mask.tolist()
    [[True, True, False], [True, True, True]]

Every variable they name has two states, state 1 is true. A factor scores 0 where it holds and -inf
elsewhere. A row without any unmasked slot is padding and always holds. ``factor_graph`` gives both
classes on and handles them wherever it handles tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:  # it takes longer to load than all problems together
    from jaxtyping import Bool, Int32

Array = Any  # of numpy or JAX, traced ones and axes of ``vmap`` included
MAX_TABLE_VARIABLES = 20  # a table over them has 2^20 entries, 8 MiB


class ClauseGroup(NamedTuple):
    """Disjunctions of literals.

    Attributes:
      variables: distinct where unmasked; a masked slot names any variable.
      signs: True for the variable itself, False for its negation.
      mask: False for slots that do not count.
    """

    variables: Int32[Array, "F k"]
    signs: Bool[Array, "F k"]
    mask: Bool[Array, "F k"]


class ParityGroup(NamedTuple):
    """Exclusive-ors of variables.

    Attributes:
      variables: distinct where unmasked; a masked slot names any variable.
      rhs: what the exclusive-or of the unmasked variables must be.
      mask: False for slots that do not count.
    """

    variables: Int32[Array, "F k"]
    rhs: Bool[Array, " F"]
    mask: Bool[Array, "F k"]


def clause_group(clauses: Sequence[Sequence[int]]) -> ClauseGroup:
    """The group of non-empty clauses of signed literals, numbered as in DIMACS.

    Raises:
      ValueError: a clause is empty or repeats a variable.
    """
    variables, mask = _pad([np.abs(clause) - 1 for clause in clauses])
    signs = _pad([np.asarray(clause) > 0 for clause in clauses])[0].astype(bool)
    return ClauseGroup(variables, signs, mask)


def parity_group(xors: Sequence[Sequence[int]], rhs: Sequence[bool]) -> ParityGroup:
    """The group of non-empty exclusive-ors of variables numbered from 1.

    Raises:
      ValueError: an exclusive-or is empty or repeats a variable.
    """
    variables, mask = _pad([np.asarray(xor) - 1 for xor in xors])
    return ParityGroup(variables, np.asarray(rhs, dtype=bool), mask)


def log_scores(xp: ModuleType, group: ClauseGroup | ParityGroup, states: Array) -> Array:
    """0 or -inf per factor, [..., F], for the states [..., F, k] of its variables."""
    mask = xp.asarray(group.mask)
    if isinstance(group, ClauseGroup):
        true = (states == 1) == xp.asarray(group.signs)
        holds = (true & mask).any(axis=-1) | ~mask.any(axis=-1)
    else:
        odd = (states * mask).sum(axis=-1) % 2 == 1
        holds = (odd == xp.asarray(group.rhs)) | ~mask.any(axis=-1)
    return xp.where(holds, 0.0, -np.inf)


def restrict(
    group: ClauseGroup | ParityGroup, fixed: np.ndarray
) -> tuple[ClauseGroup | ParityGroup, bool]:
    """What is left of the factors when variables are fixed, and whether none is violated.

    Args:
      fixed: the state of each variable, -1 where it is free, int [V].
    """
    states = fixed[group.variables]
    known, mask = (states >= 0) & group.mask, np.asarray(group.mask)
    free = mask & ~known
    if isinstance(group, ClauseGroup):
        holds = (known & ((states == 1) == group.signs)).any(axis=1)
        left = ~holds & free.any(axis=1)
        held = group.mask.any(axis=1) & ~holds & ~left
        return ClauseGroup(group.variables[left], group.signs[left], free[left]), not held.any()
    rhs = np.asarray(group.rhs) ^ ((states * known).sum(axis=1) % 2 == 1)
    left = free.any(axis=1)
    violated = mask.any(axis=1) & ~left & rhs
    return ParityGroup(group.variables[left], rhs[left], free[left]), not violated.any()


def tables(group: ClauseGroup | ParityGroup) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Variables [F', k'] and log-tables [F', 2, ..., 2] of equal arity, padding left out.

    Raises:
      ValueError: a factor has more than ``MAX_TABLE_VARIABLES`` variables.
    """
    mask = np.asarray(group.mask)
    arities = mask.sum(axis=1)
    for arity in np.unique(arities[arities > 0]).tolist():
        if arity > MAX_TABLE_VARIABLES:
            limit = f"at most {MAX_TABLE_VARIABLES} variables in a clause or parity"
            raise ValueError(f"expected {limit} where tables are needed, given {arity}")
        rows = np.flatnonzero(arities == arity)
        slots = np.argsort(~mask[rows], axis=1, kind="stable")[:, :arity]
        variables = np.take_along_axis(np.asarray(group.variables)[rows], slots, axis=1)
        if isinstance(group, ClauseGroup):
            signs = np.take_along_axis(np.asarray(group.signs)[rows], slots, axis=1)
            yield variables, _clause_tables(signs)
        else:
            odd = np.indices((2,) * arity).sum(axis=0) % 2 == 1
            rhs = np.asarray(group.rhs)[rows].reshape(-1, *(1,) * arity)
            yield variables, np.where(odd == rhs, 0.0, -np.inf)


def _clause_tables(signs: np.ndarray) -> np.ndarray:
    """-inf where every literal is false, signs [F, k]."""
    tables = np.zeros((len(signs), *(2,) * signs.shape[1]))
    tables[(np.arange(len(signs)), *(~signs.T).astype(int))] = -np.inf
    return tables


def _pad(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of unequal length side by side, int32 [F, k] filled with 0, and what was not filled."""
    lengths = np.array([len(row) for row in rows], dtype=int)
    mask = np.arange(lengths.max(initial=1)) < lengths[:, None]
    padded = np.zeros(mask.shape, dtype=np.int32)
    padded[mask] = np.concatenate([np.zeros(0, dtype=np.int32), *rows])
    return padded, mask
