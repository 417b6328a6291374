"""Rows of parity constraints over GF(2) on the host: packed words, seeded draws, checks of models.

    >>> rows, rhs = draw_dense(derive(7, "round", 3), num_rows=20, num_columns=70)
    >>> models = pack(np.zeros((5, 70), dtype=bool))
    >>> satisfied(rows, rhs, models).shape, rows.shape
    ((5, 20), (20, 3))

Column j is bit j % 32 (from the low end) of word j // 32; bits past the last column are zero. Only
numpy is imported, so solver workers draw their own rows without paying for jax. A draw is a
documented function of its 128-bit key: the raw Philox4x64 stream, split evenly between the rows.
So row i depends on (key, i, number of columns) alone, and a short draw is a prefix of a longer one.
"""

from typing import Any

import numpy as np

from inference import randomness


def num_words(num_columns: int) -> int:
    """Words of 32 bits that hold ``num_columns`` bits."""
    return -(-num_columns // 32)


def pack(bits: np.ndarray) -> np.ndarray:
    """Packs bool [..., n] into uint32 [..., W] with W = ceil(n / 32)."""
    bits = np.asarray(bits, dtype=bool)
    octets = np.packbits(bits, axis=-1, bitorder="little")
    missing = 4 * num_words(bits.shape[-1]) - octets.shape[-1]
    octets = np.pad(octets, [(0, 0)] * (bits.ndim - 1) + [(0, missing)])
    return np.ascontiguousarray(octets).view("<u4").astype(np.uint32)


def unpack(words: np.ndarray, num_columns: int) -> np.ndarray:
    """Unpacks uint32 [..., W] into bool [..., n]; the inverse of ``pack``.

    Raises:
      ValueError: W is not the number of words for ``num_columns``.
    """
    words = np.ascontiguousarray(words, dtype="<u4")
    if words.shape[-1] != num_words(num_columns):
        raise ValueError(
            f"expected {num_words(num_columns)} words for {num_columns} columns, "
            f"given {words.shape[-1]}"
        )
    octets = words.view(np.uint8)
    return np.unpackbits(octets, axis=-1, count=num_columns, bitorder="little").astype(bool)


def satisfied(rows: np.ndarray, rhs: np.ndarray, assignments: np.ndarray) -> np.ndarray:
    """Which assignment satisfies which parity constraint: bool [N, m].

    Args:
      rows: uint32 [m, W].
      rhs: bool [m].
      assignments: uint32 [N, W].
    """
    if rows.shape[1] != assignments.shape[1]:
        raise ValueError(
            f"expected assignments of {rows.shape[1]} words, given {assignments.shape[1]}"
        )
    common = np.zeros((len(assignments), len(rows)), dtype=np.uint32)
    # XOR of the words keeps the parity of all their bits, so one count at the end suffices.
    for row_words, assignment_words in zip(rows.T, assignments.T):
        common ^= assignment_words[:, None] & row_words
    return (np.bitwise_count(common) & 1).astype(bool) == rhs


def row_reduce(rows: np.ndarray, rhs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same system with each pivot column in one row only (reduced row echelon form).

    On the host and for one system; ``gf2.row_reduce`` is the kernel for many.

    Args:
      rows: uint32 [m, W].
      rhs: bool [m].

    Returns:
      Rows uint32 [m, W], zero rows last, their right sides, and the pivot columns int [r]. The
      system has no solution where a zero row has right side 1.
    """
    system = np.concatenate([rows, np.asarray(rhs, dtype=np.uint32)[:, None]], axis=1)
    pivots: list[int] = []
    for column in range(32 * rows.shape[1]):
        rank = len(pivots)
        ones = np.flatnonzero(system[:, column // 32] >> np.uint32(column % 32) & 1)
        below = ones[np.searchsorted(ones, rank) :]
        if not len(below):
            continue
        system[[rank, below[0]]] = system[[below[0], rank]]
        # The row that was swapped down had no one here, unless it stayed in place.
        others = ones[(ones != rank) & (ones != below[0])]
        system[others] ^= system[rank]
        pivots.append(column)
    return system[:, :-1], system[:, -1].astype(bool), np.array(pivots, dtype=np.int64)


def derive(key: Any, *labels: int | str) -> int:
    """The 128-bit key of one draw, from a seed and labels; a plain integer, so workers can take it.

    ``key`` is an integer seed or a JAX key, as ``inference.randomness.generator`` takes them.
    """
    low, high = randomness.generator(key, *labels).bit_generator.random_raw(2).tolist()
    return low | high << 64


def draw_dense(key: int, num_rows: int, num_columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Uniform rows and right sides: (uint32 [m, W], bool [m]), a pairwise independent family.

    Every bit is a fair coin; rows that come out zero stay.
    """
    words, rhs = _draw(key, num_rows, -(-num_columns // 64))
    rows = words[:, : num_words(num_columns)].astype(np.uint32)
    if num_columns % 32:
        rows[:, -1] &= np.uint32((1 << num_columns % 32) - 1)
    return rows, rhs


def draw_sparse(
    key: int, num_rows: int, num_columns: int, density: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose bits are 1 with probability ``density``, and fair right sides.

    The probability is ``density`` rounded to the nearest multiple of 2^-32.

    Raises:
      ValueError: the density lies outside [0, 1].
    """
    if not 0.0 <= density <= 1.0:
        raise ValueError(f"expected a density in [0, 1], given {density}")
    words, rhs = _draw(key, num_rows, -(-num_columns // 2))
    threshold = np.uint64(round(density * 2**32))
    return pack(words[:, :num_columns] < threshold), rhs


def _draw(key: int, num_rows: int, words_per_row: int) -> tuple[np.ndarray, np.ndarray]:
    """Random words uint32 [m, 2 words_per_row] and coins bool [m], row after row in the stream."""
    raw = np.random.Philox(key=key).random_raw(num_rows * (words_per_row + 1))
    raw = raw.reshape(num_rows, words_per_row + 1)
    rhs = (raw[:, 0] & np.uint64(1)).astype(bool)
    words = np.ascontiguousarray(raw[:, 1:], dtype="<u8").view("<u4")
    return words.reshape(num_rows, 2 * words_per_row), rhs
