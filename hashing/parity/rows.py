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

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from inference import randomness

_BLOCK_WORDS = 1 << 15  # of 64 bits, handled at once: they stay in a processor's cache
_FEW_DRAWN = 32  # parities at once, to see how many an assignment satisfies
_FEW_ROWS = 512  # to change: below, tables of sums cost more than they save


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
        holds = satisfied(*draw(start, _FEW_DRAWN), assignments[left])
        ends = np.concatenate([holds, np.zeros((len(left), 1), dtype=bool)], axis=1)
        lengths[left] = start + np.argmin(ends, axis=1)
        start, left = start + _FEW_DRAWN, left[holds.all(axis=1)]
    return lengths


def row_reduce(
    rows: np.ndarray, rhs: np.ndarray, look: Callable[[], None] = lambda: None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same system with each pivot column in one row only (reduced row echelon form).

    On the host and for one system; ``gf2.row_reduce`` is the kernel for many. Columns are cleared
    64 at a time, by tables of sums of their pivot rows (Arlazarov, Dinic, Kronrod and Faradzhev,
    1970).

    Args:
      rows: uint32 [m, W].
      rhs: bool [m].
      look: called now and then; what it raises ends the reduction.

    Returns:
      Rows uint32 [m, W], zero rows last, their right sides, and the pivot columns int [r]. The
      system has no solution where a zero row has right side 1.
    """
    system = np.zeros((len(rows), -(-rows.shape[1] // 2) + 1), dtype="<u8")
    system.view("<u4")[:, : rows.shape[1]] = rows
    system[:, -1] = rhs
    pivots: list[int] = []
    for word in range(system.shape[1] - 1):
        look()
        rank = len(pivots)
        chosen, bits = _find_pivots(system[rank:, word])
        if not bits:
            continue
        block = _move_up(system, rank, rank + chosen)[:, word:]
        for row, bit in enumerate(bits):
            others = _ones(block[:, 0], bit)
            others = others[others != row]
            block[others] ^= block[row]
        _add_sums(system[:, word:], block, bits, look)
        system[rank : rank + len(bits), word:] = block
        pivots += [64 * word + bit for bit in bits]
    reduced = system.view("<u4")[:, : rows.shape[1]]
    return reduced, system[:, -1].astype(bool), np.array(pivots, dtype=np.int64)


def _find_pivots(words: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Independent rows of a uint64 column of 64 bits, and the bit that each of them clears."""
    filled = np.flatnonzero(words)
    words = words[filled]
    chosen, bits = [], []
    for bit in range(64 if len(words) else 0):
        ones = _ones(words, bit)
        if len(ones):
            words[ones] ^= words[ones[0]]  # itself too: it is not chosen again
            chosen.append(filled[ones[0]])
            bits.append(bit)
    return np.array(chosen, dtype=np.int64), bits


def _move_up(system: np.ndarray, rank: int, chosen: np.ndarray) -> np.ndarray:
    """A copy of the chosen rows; their places, from ``rank`` on, are free afterwards."""
    block, places = system[chosen], np.arange(rank, rank + len(chosen))
    system[np.setdiff1d(chosen, places)] = system[np.setdiff1d(places, chosen)]
    return block


def _add_sums(
    rows: np.ndarray, block: np.ndarray, bits: list[int], look: Callable[[], None]
) -> None:
    """Clears the bits of the first word in all rows, in place, by adding rows of the block."""
    mask = np.bitwise_or.reduce(np.uint64(1) << np.array(bits, dtype=np.uint64))
    filled = np.flatnonzero(rows[:, 0] & mask)
    if len(filled) < _FEW_ROWS:
        for row, bit in zip(block, bits):
            rows[filled[_ones(rows[filled, 0], bit)]] ^= row
        return
    tables = np.zeros((8, 256, block.shape[1]), dtype=np.uint64)
    for row, bit in zip(block, bits):
        tables[bit // 8, 1 << bit % 8] = row
    for size in (1 << i for i in range(8)):
        tables[:, size : 2 * size] = tables[:, :size] ^ tables[:, size, None]
    step = max(1, _BLOCK_WORDS // block.shape[1])
    sums = np.empty((step, block.shape[1]), dtype=np.uint64)
    for start in range(0, len(rows), step):
        look()
        part = rows[start : start + step]
        octets = np.ascontiguousarray(part[:, 0]).view(np.uint8).reshape(-1, 8)
        for table, index in zip(tables, octets.T):
            part ^= np.take(table, index, axis=0, out=sums[: len(part)], mode="clip")


def _ones(words: np.ndarray, bit: int) -> np.ndarray:
    return np.flatnonzero(words >> np.uint64(bit) & np.uint64(1))


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
    rows = np.zeros((num_rows, num_words(num_columns)), dtype=np.uint32)
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
    rows = np.zeros((num_rows, num_words(num_columns)), dtype=np.uint32)
    rhs = np.zeros(num_rows, dtype=bool)
    for part, words, coins in _draw(key, first, num_rows, -(-num_columns // 2)):
        rows[part], rhs[part] = pack(words[:, :num_columns] < threshold), coins
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
