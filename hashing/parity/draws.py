"""Random parities on the host, drawn from seeds.

    >>> rows, rhs = draw_dense(derive(7, "round", 3), num_rows=20, num_columns=70)
    >>> rows.shape, rhs.shape
    ((20, 3), (20,))

A draw is a documented function of its 128-bit key: the raw Philox4x64 stream, split evenly between
the rows. So row i depends on (key, i, number of columns) alone, and a short draw is a prefix of a
longer one. Only numpy is imported, so solver workers draw their own rows without paying for jax;
rows are packed as in ``inference.problems.parity_rows``.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from inference import randomness
from inference.problems import parity_rows

_BLOCK_WORDS = 1 << 15  # of 64 bits, handled at once: they stay in a processor's cache
_FEW_DRAWN = 32  # parities at once, to see how many an assignment satisfies


def derive(key: Any, *labels: int | str) -> int:
    """The 128-bit key of one draw, from a seed and labels; a plain integer, so workers can take it.

    ``key`` is an integer seed or a JAX key, as ``inference.randomness.generator`` takes them.
    """
    low, high = randomness.generator(key, *labels).bit_generator.random_raw(2).tolist()
    return low | high << 64


def draw_dense(
    key: int, num_rows: int, num_columns: int, *, first: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Uniform rows and right sides: (uint32 [m, W], bool [m]), a pairwise independent family.

    Every bit is a fair coin; rows that come out zero stay. ``first`` is the number of the first
    row that is drawn.
    """
    rows = np.zeros((num_rows, parity_rows.num_words(num_columns)), dtype=np.uint32)
    rhs = np.zeros(num_rows, dtype=bool)
    for part, words, coins in _draw(key, first, num_rows, -(-num_columns // 64)):
        rows[part], rhs[part] = words[:, : rows.shape[1]], coins
    if num_columns % 32:
        rows[:, -1] &= np.uint32((1 << num_columns % 32) - 1)
    return rows, rhs


def draw_sparse(
    key: int, num_rows: int, num_columns: int, density: float, *, first: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose bits are 1 with probability ``density``, and fair right sides.

    The probability is ``density`` rounded to the nearest multiple of 2^-32; ``first`` as above.

    Raises:
      ValueError: the density lies outside [0, 1].
    """
    if not 0.0 <= density <= 1.0:
        raise ValueError(f"expected a density in [0, 1], given {density}")
    threshold = np.uint64(round(density * 2**32))
    rows = np.zeros((num_rows, parity_rows.num_words(num_columns)), dtype=np.uint32)
    rhs = np.zeros(num_rows, dtype=bool)
    for part, words, coins in _draw(key, first, num_rows, -(-num_columns // 2)):
        rows[part], rhs[part] = parity_rows.pack(words[:, :num_columns] < threshold), coins
    return rows, rhs


def _draw(
    key: int, first: int, num_rows: int, words_per_row: int
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Random words uint32 [some, 2 words_per_row] and coins bool [some], row after row.

    The slices count from 0; row 0 is number ``first`` in the stream.
    """
    stride = words_per_row + 1
    stream = np.random.Philox(key=key).advance(first * stride // 4)  # a step is four words
    stream.random_raw(first * stride % 4)
    step = max(1, _BLOCK_WORDS // stride)
    for start in range(0, num_rows, step):
        part = slice(start, min(start + step, num_rows))
        size = part.stop - start
        raw = stream.random_raw(size * stride).reshape(size, stride)
        words = np.ascontiguousarray(raw[:, 1:], dtype="<u8").view("<u4")
        coins = (raw[:, 0] & np.uint64(1)).astype(bool)
        yield part, words.reshape(size, 2 * words_per_row), coins


def num_leading(
    draw: Callable[[int, int], tuple[np.ndarray, np.ndarray]], assignments: np.ndarray, start: int
) -> np.ndarray:
    """How many parities of a random sequence hold before the first that does not: int [N].

    Args:
      draw: rows and right sides, from the number of the first one and how many.
      assignments: uint32 [N, W], which satisfy the first ``start``.
    """
    lengths, left = np.full(len(assignments), start), np.arange(len(assignments))
    while len(left):  # each holds with probability 1/2, so few are drawn
        holds = parity_rows.satisfied(*draw(start, _FEW_DRAWN), assignments[left])
        ends = np.concatenate([holds, np.zeros((len(left), 1), dtype=bool)], axis=1)
        lengths[left] = start + np.argmin(ends, axis=1)
        start, left = start + _FEW_DRAWN, left[holds.all(axis=1)]
    return lengths
