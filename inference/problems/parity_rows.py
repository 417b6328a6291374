"""Systems of parity constraints over GF(2) on the host: packed rows, row reduction, checks.

    >>> rows, rhs = pack(np.array([[1, 1, 0], [0, 1, 1]], dtype=bool)), np.array([True, False])
    >>> unpack(row_reduce(rows, rhs)[0], 3).astype(int).tolist()
    [[1, 0, 1], [0, 1, 1]]

Column j is bit j % 32 (from the low end) of word j // 32; bits past the last column are zero. Only
numpy is imported, so solver workers start fast.
"""

from collections.abc import Callable

import numpy as np

MOST_BYTES = 1 << 30  # that a system may take where users do not ask for it
_BLOCK_WORDS = 1 << 15  # of 64 bits, handled at once: they stay in a processor's cache
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


def row_reduce(
    rows: np.ndarray, rhs: np.ndarray, look: Callable[[], None] = lambda: None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same system with each pivot column in one row only (reduced row echelon form).

    On the host, for one system; ``hashing.parity.gf2`` has the kernel for many. Columns are cleared
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
