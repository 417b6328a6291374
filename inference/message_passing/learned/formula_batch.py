"""Formulas side by side as padded arrays: what the kernel of ``bpnn_sat`` takes.

    >>> clusters = clause_clusters.build([cnf.from_clauses([[1, 2], [2, 3], [1, 3]])])
    >>> [tables.values.shape for tables in pack(clusters).tables]  # tables over 3 and 5 slots
    [(8, 64), (32, 0)]

Sizes are rounded up to a few, so that few kernels are compiled.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from inference.message_passing.learned import clause_clusters

_ARITIES = (3, clause_clusters.WIDTH)  # smaller tables are widened to the next of these
Array = np.ndarray | jax.Array


class TableBatch(NamedTuple):
    """Tables over k slots; a slot out of use says nothing and hears nothing.

    Attributes:
      variables: int32 [k, F].
      used: float32 [k, F], 1 or 0.
      values: float32 [2^k, F], the first slot in the highest bit.
      owner: int32 [F], the formula.
    """

    variables: Array
    used: Array
    values: Array
    owner: Array


class FormulaBatch(NamedTuple):
    """Formulas side by side, padded to a few sizes; the last formula owns the padding.

    Attributes:
      tables: for each of the kernel's arities.
      owner: int32 [V], the formula of each variable.
      formulas: float32 [G], zeros.
    """

    tables: tuple[TableBatch, ...]
    owner: Array
    formulas: Array


def pack(clusters: clause_clusters.Clusters, sizes: Sequence[int] | None = None) -> FormulaBatch:
    """Clusters as arrays of the kernel, padded to a few sizes or to ``sizes``.

    Args:
      sizes: numbers of variables, of formulas and of tables by arity; see ``needed``.
    """
    needs = needed(clusters)
    variables, formulas, *counts = [_padded(n) for n in needs] if sizes is None else sizes
    if any(size < need for size, need in zip((variables, formulas, *counts), needs)):
        raise ValueError(f"expected sizes of at least {needs}, given {sizes}")
    number = np.cumsum(_in_use(clusters)) - 1  # without variables that are in no table
    owner = np.full(variables, formulas - 1, dtype=np.int32)
    owner[: needs[0] - 1] = clusters.formula[_in_use(clusters)]
    tables, lower = [], 0
    for arity, size in zip(_ARITIES, counts):
        some = clusters.tables[lower:arity]
        tables.append(_widened(some, arity, size, number, owner))
        lower = arity
    return FormulaBatch(tuple(tables), owner, np.zeros(formulas, dtype=np.float32))


def needed(clusters: clause_clusters.Clusters) -> list[int]:
    """The least sizes for ``pack``: one variable and one formula more, for the padding."""
    counts = [table.variables.shape[1] for table in clusters.tables]
    low = _ARITIES[0]
    sizes = [int(_in_use(clusters).sum()) + 1, len(clusters.log_constant) + 1]
    return [*sizes, sum(counts[:low]), sum(counts[low:])]


def _in_use(clusters: clause_clusters.Clusters) -> np.ndarray:
    used = np.zeros(len(clusters.formula), dtype=bool)
    for table in clusters.tables:
        used[table.variables] = True
    return used


def _padded(size: int) -> int:
    """0 or a power of two from 64 on, with eighths between large ones: few kernels to compile."""
    power = 1 << max(size - 1, 63).bit_length() if size else 0
    step = power if power <= 4096 else power // 8
    return -(-size // step) * step if size else 0


def _widened(
    tables: Sequence[clause_clusters.Table],
    arity: int,
    size: int,
    number: np.ndarray,
    owner: np.ndarray,
) -> TableBatch:
    """Tables of up to ``arity`` variables in one array; further axes repeat what is there."""
    variables = np.full((arity, size), len(owner) - 1, dtype=np.int32)
    used = np.zeros((arity, size), dtype=np.float32)
    values = np.ones((*[2] * arity, size), dtype=np.float32)
    start = 0
    for table in tables:
        k, width = table.variables.shape
        place = slice(start, start + width)
        variables[:k, place] = number[table.variables]
        used[:k, place] = 1.0
        shape = (*[2] * k, *[1] * (arity - k), width)
        values[..., place] = table.values.reshape(shape)
        start += width
    return TableBatch(variables, used, values.reshape(2**arity, size), owner[variables[0]])
