"""Linear algebra over GF(2) on packed uint32 words: jitted for one system, batched by vmap.

    >>> reduced = row_reduce(rows, rhs)                            # uint32 [m, W], bool [m]
    >>> bool(reduced.consistent), int(reduced.rank)
    (True, 12)
    >>> many = jax.jit(jax.vmap(row_reduce))(batch, sides)  # [B, m, W], [B, m]

Column j is bit j % 32 of word j // 32, as ``parity_rows`` packs it; bits past the last
column must be zero. Zero rows are equations like any other: 0 = 0 always holds, 0 = 1 never.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class Parity(NamedTuple):
    """Parity constraints over chosen variables: row i asks that rows[i] . x = rhs[i] over GF(2).

    Attributes:
      rows: uint32 [m, W], W = ceil(n / 32).
      rhs: bool [m].
      num_rows: int32 scalar; rows past it are padding and mean nothing.
      variables: int32 [n]; column j stands for variable ``variables[j]``, numbered from 0.
    """

    rows: Any
    rhs: Any
    num_rows: Any
    variables: Any


class Reduced(NamedTuple):
    """A system in reduced row echelon form, zero rows last.

    Attributes:
      rows: uint32 [m, W].
      rhs: bool [m].
      pivots: int32 [m], the pivot column of each row; 32 W where the row is zero.
      rank: int32 scalar.
      consistent: bool scalar, whether the system has a solution.
    """

    rows: Array
    rhs: Array
    pivots: Array
    rank: Array
    consistent: Array


@jax.jit
def pack(bits: Array) -> Array:
    """Packs bool [..., n] into uint32 [..., W]."""
    n = bits.shape[-1]
    padded = jnp.pad(bits, [(0, 0)] * (bits.ndim - 1) + [(0, -n % 32)])
    grouped = padded.reshape(*bits.shape[:-1], -(-n // 32), 32).astype(jnp.uint32)
    return jnp.sum(grouped << _shifts(bits.ndim), axis=-1, dtype=jnp.uint32)


@functools.partial(jax.jit, static_argnames="num_columns")
def unpack(words: Array, num_columns: int) -> Array:
    """Unpacks uint32 [..., W] into bool [..., num_columns]."""
    bits = (words[..., None] >> _shifts(words.ndim)) & 1
    bits = bits.reshape(*words.shape[:-1], 32 * words.shape[-1])
    return bits[..., :num_columns].astype(bool)


@jax.jit
def apply(rows: Array, assignments: Array) -> Array:
    """The products of rows uint32 [m, W] with assignments uint32 [..., W]: bool [..., m]."""
    common = assignments[..., None, :] & jnp.expand_dims(rows, range(assignments.ndim - 1))
    # The XOR of all words has the parity of all their bits, so one bit count suffices.
    folded = jax.lax.reduce(common, jnp.uint32(0), jax.lax.bitwise_xor, (common.ndim - 1,))
    return (jax.lax.population_count(folded) & 1).astype(bool)


@jax.jit
def satisfied(parity: Parity, assignments: Array) -> Array:
    """Whether assignments uint32 [..., W] satisfy every row that is not padding: bool [...]."""
    parity = clear_padding(parity)
    sides = jnp.expand_dims(parity.rhs, range(assignments.ndim - 1))
    return jnp.all(apply(parity.rows, assignments) == sides, axis=-1)


@jax.jit
def clear_padding(parity: Parity) -> Parity:
    """The same constraints with 0 = 0 in the padding, ready for ``row_reduce``."""
    used = jnp.arange(parity.rhs.shape[0], dtype=jnp.int32) < parity.num_rows
    rows = jnp.where(used[:, None], parity.rows, jnp.uint32(0))
    return parity._replace(rows=rows, rhs=parity.rhs & used)


@jax.jit
def row_reduce(rows: Array, rhs: Array) -> Reduced:
    """Brings rows uint32 [m, W] with right sides bool [m] to reduced row echelon form.

    The form is the unique one: pivots increase, and a pivot column holds a single one.
    """
    m, num_words = rows.shape
    pivots = jnp.full(m, 32 * num_words, dtype=jnp.int32)
    state = (rows, rhs, pivots, jnp.int32(0))
    if steps := min(m, 32 * num_words):
        state = jax.lax.fori_loop(0, steps, lambda _, s: _eliminate(*s), state)
    rows, rhs, pivots, rank = state
    zero = jnp.arange(m, dtype=jnp.int32) >= rank
    return Reduced(rows, rhs, pivots, rank, ~jnp.any(rhs & zero))


@jax.jit
def rank(rows: Array) -> Array:
    """The rank of rows uint32 [m, W]: int32 scalar."""
    return row_reduce(rows, jnp.zeros(rows.shape[0], dtype=bool)).rank


@jax.jit
def particular_solution(reduced: Reduced) -> Array:
    """The solution uint32 [W] with zero in every free column; meaningless if inconsistent."""
    units = _units(reduced.pivots, reduced.rows.shape[1])
    return jnp.sum(jnp.where(reduced.rhs[:, None], units, 0), axis=0, dtype=jnp.uint32)


@functools.partial(jax.jit, static_argnames="num_columns")
def null_space(reduced: Reduced, num_columns: int) -> tuple[Array, Array]:
    """A basis of {x : rows . x = 0}: (uint32 [n, W], its dimension as int32 scalar).

    Basis vector i is one in the i-th free column and zero in the other free columns; the vectors
    past the dimension are zero.
    """
    num_words = reduced.rows.shape[1]
    columns = jnp.arange(num_columns, dtype=jnp.int32)
    entries = unpack(reduced.rows, num_columns).astype(jnp.uint32)
    # Pivot columns are distinct units, so this sum of products carries nothing.
    bound = entries.T @ _units(reduced.pivots, num_words)
    is_pivot = jnp.any(columns[:, None] == reduced.pivots[None, :], axis=1)
    vectors = jnp.where(is_pivot[:, None], 0, bound | _units(columns, num_words))
    return vectors[jnp.argsort(is_pivot, stable=True)], num_columns - reduced.rank


def _eliminate(rows: Array, rhs: Array, pivots: Array, rank: Array) -> tuple[Array, ...]:
    """Finds the next pivot, if there is one, swaps it into place and clears its column."""
    index = jnp.arange(rhs.shape[0], dtype=jnp.int32)
    left = index >= rank
    union = jax.lax.reduce(
        jnp.where(left[:, None], rows, 0), jnp.uint32(0), jax.lax.bitwise_or, (0,)
    )
    column = _lowest_bit(union)
    found = column < 32 * rows.shape[1]
    holds = jnp.any((rows & _units(column[None], rows.shape[1])) != 0, axis=1)
    source = jnp.where(found, jnp.argmax(holds & left), rank).astype(jnp.int32)
    row, side = rows[source], rhs[source]
    others = holds & (index != source)
    rows = jnp.where(others[:, None], rows ^ row[None, :], rows)
    rhs = rhs ^ (others & side)
    rows = rows.at[source].set(rows[rank]).at[rank].set(row)
    rhs = rhs.at[source].set(rhs[rank]).at[rank].set(side)
    return rows, rhs, pivots.at[rank].set(column), rank + found


def _shifts(num_leading: int) -> Array:
    """0..31 along the last axis, after ``num_leading`` axes of size one."""
    return jax.lax.broadcasted_iota(jnp.uint32, (1,) * num_leading + (32,), num_leading)


def _lowest_bit(words: Array) -> Array:
    """The lowest column that is set in uint32 [W], or 32 W."""
    bits = jax.lax.population_count((words & -words) - 1).astype(jnp.int32)
    columns = 32 * jnp.arange(len(words), dtype=jnp.int32) + bits
    return jnp.min(columns, where=words != 0, initial=32 * len(words))


def _units(columns: Array, num_words: int) -> Array:
    """Unit vectors uint32 [len(columns), W]; zero for a column past the last word."""
    bits = jnp.uint32(1) << (columns % 32).astype(jnp.uint32)
    words = jnp.arange(num_words, dtype=jnp.int32)
    return jnp.where(columns[:, None] // 32 == words[None, :], bits[:, None], jnp.uint32(0))
