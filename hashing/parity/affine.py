"""All points of an affine subspace {x : A x = b} of small dimension, on the device.

    >>> coset = solve(rows, rhs, num_columns=70)      # rows uint32 [m, 3], rhs bool [m]
    >>> int(coset.dimension), sum(len(chunk) for chunk in chunks(coset))
    (10, 1024)

Point i is the particular solution plus the basis vectors at the ones of i, so any range of points
can be made on its own; ``points`` is the kernel, ``chunks`` the host loop over it.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hashing.parity import gf2


class Coset(NamedTuple):
    """The solutions of a system, as one solution plus the span of a basis.

    Attributes:
      solution: uint32 [W].
      basis: uint32 [n, W]; vectors past the dimension are zero.
      dimension: int32 scalar.
      consistent: bool scalar; without it there is no point, whatever the other fields say.
    """

    solution: Array
    basis: Array
    dimension: Array
    consistent: Array


@functools.partial(jax.jit, static_argnames="num_columns")
def solve(rows: Array, rhs: Array, num_columns: int) -> Coset:
    """The coset of solutions of rows uint32 [m, W], right sides bool [m]."""
    reduced = gf2.row_reduce(rows, rhs)
    basis, dimension = gf2.null_space(reduced, num_columns)
    return Coset(gf2.particular_solution(reduced), basis, dimension, reduced.consistent)


@functools.partial(jax.jit, static_argnames="size")
def points(coset: Coset, first: Array, size: int) -> Array:
    """Points ``first`` to ``first + size - 1``: uint32 [size, W].

    Indices are below 2^32 and reach past 2^dimension only into repetitions.
    """
    index = jnp.asarray(first, jnp.uint32) + jax.lax.iota(jnp.uint32, size)
    made = jnp.broadcast_to(coset.solution, (size, len(coset.solution)))

    def add_vector(i: Array, made: Array) -> Array:
        chosen = (index >> i.astype(jnp.uint32)) & 1 == 1
        return made ^ jnp.where(chosen[:, None], coset.basis[i][None, :], jnp.uint32(0))

    if last := min(32, len(coset.basis)):
        made = jax.lax.fori_loop(jnp.int32(0), jnp.int32(last), add_vector, made)
    return made


def chunks(coset: Coset, size: int = 1 << 16, max_dimension: int = 30) -> Iterator[np.ndarray]:
    """All points, each once, ``size`` at a time: uint32 [at most size, W].

    Raises:
      ValueError: the dimension is above ``max_dimension``, which is itself at most 32.
    """
    if not coset.consistent:
        return
    dimension = int(coset.dimension)
    if dimension > min(max_dimension, 32):
        raise ValueError(f"expected dimension at most {max_dimension}, given {dimension}")
    total = 1 << dimension
    for first in range(0, total, size):
        yield np.asarray(points(coset, np.uint32(first), size))[: total - first]
