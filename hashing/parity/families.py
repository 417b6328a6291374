"""Random parity constraints drawn on the device from typed keys.

    >>> parity = dense(jax.random.key(0), 20, jnp.arange(70))
    >>> parity.rows.shape, parity.rhs.shape
    ((20, 3), (20,))

A hash is h(x) = A x + b over GF(2); its cell is {x : A x = b}, one ``gf2.Parity``. The right sides
are fair coins in every family. Row i is drawn from the key and i alone, so the rows of a short
draw are a prefix of those of a longer one, and all bits come from ``jax.random.bits`` in uint32, so
that draws do not change with the precision setting. Zero rows stay as they are drawn.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hashing.parity import gf2


@functools.partial(jax.jit, static_argnames="num_rows")
def dense(key: Array, num_rows: int, variables: Array) -> gf2.Parity:
    """Rows of fair coins: a pairwise independent family.

    Args:
      key: typed key, consumed.
      num_rows: m.
      variables: int32 [n], what the columns stand for.
    """
    n = len(variables)

    def draw_row(key: Array) -> tuple[Array, Array]:
        words = jax.random.bits(key, (-(-n // 32) + 1,), jnp.uint32)
        # Bits past the last column are cleared by unpacking and packing again.
        return gf2.pack(gf2.unpack(words[1:], n)), words[0] % 2 == 1

    return _rows(draw_row, key, num_rows, variables)


def bernoulli(key: Array, num_rows: int, variables: Array, density: float) -> gf2.Parity:
    """Rows whose bits are 1 with probability ``density``, independently.

    The probability is ``density`` rounded to the nearest multiple of 2^-32. One trace serves all
    densities. Args as for ``dense``.

    Raises:
      ValueError: the density lies outside [0, 1].
    """
    if not 0.0 <= density <= 1.0:
        raise ValueError(f"expected a density in [0, 1], given {density}")
    threshold = round(density * 2**32)
    largest = np.uint32(max(threshold - 1, 0))
    return _bernoulli(key, num_rows, variables, largest, np.bool_(threshold > 0))


@functools.partial(jax.jit, static_argnames="num_rows")
def _bernoulli(
    key: Array, num_rows: int, variables: Array, largest: Array, is_positive: Array
) -> gf2.Parity:
    def draw_row(key: Array) -> tuple[Array, Array]:
        words = jax.random.bits(key, (len(variables) + 1,), jnp.uint32)
        return gf2.pack((words[1:] <= largest) & is_positive), words[0] % 2 == 1

    return _rows(draw_row, key, num_rows, variables)


@functools.partial(jax.jit, static_argnames=("num_rows", "row_weight"))
def fixed_weight(key: Array, num_rows: int, variables: Array, row_weight: int) -> gf2.Parity:
    """Rows with exactly ``row_weight`` ones, uniform among all such rows. Args as for ``dense``.

    Each row takes the columns of its largest random words; words that tie, with probability below
    n^2 2^-33 a row, favour low columns.

    Raises:
      ValueError: the weight lies outside 0..n.
    """
    n = len(variables)
    if not 0 <= row_weight <= n:
        raise ValueError(f"expected a row weight in 0..{n}, given {row_weight}")

    def draw_row(key: Array) -> tuple[Array, Array]:
        words = jax.random.bits(key, (n + 1,), jnp.uint32)
        _, columns = jax.lax.top_k(words[1:], row_weight)
        ones = jnp.zeros(n, dtype=bool).at[columns].set(True)
        return gf2.pack(ones), words[0] % 2 == 1

    return _rows(draw_row, key, num_rows, variables)


def _rows(draw_row, key: Array, num_rows: int, variables: Array) -> gf2.Parity:
    index = jnp.arange(num_rows, dtype=jnp.uint32)
    rows, rhs = jax.vmap(lambda i: draw_row(jax.random.fold_in(key, i)))(index)
    return gf2.Parity(rows, rhs, jnp.int32(num_rows), jnp.asarray(variables, dtype=jnp.int32))
