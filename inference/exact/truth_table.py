"""The truth table of a formula, 32 assignments to a word.

    >>> formula = cnf.from_clauses([[1, 2], [-2, 3]])
    >>> f"{evaluate(formula, *check_rows(None, None, 3))[0]:08b}"
    '11100010'

Bit i of word w says whether assignment 32 w + i is a model; ``positions`` says which variable is
which digit of that number. A fixed number of words is evaluated per call, so that one compilation
serves all formulas of about one size.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from inference import limits
from inference.problems import cnf

CHUNK_WORDS = 1 << 13
# Truth tables of the five variables that vary inside a word.
PATTERNS = (0xAAAAAAAA, 0xCCCCCCCC, 0xF0F0F0F0, 0xFF00FF00, 0xFFFF0000)
FULL = np.uint32(0xFFFFFFFF)


def evaluate(
    formula: cnf.CNF, rows: np.ndarray, rhs: np.ndarray, deadline: limits.Deadline = limits.NEVER
) -> np.ndarray:
    """The table, uint32 [max(1, 2^(n - 5))].

    Args:
      formula: of n variables.
      rows: bool [m, k], parity constraints over the sampling set, in its order.
      rhs: bool [m].
      deadline: looked at between chunks.

    Raises:
      OutOfTime: it passed.
    """
    n, num_words = formula.num_variables, max(1, (1 << formula.num_variables) // 32)
    clauses, parities = _clause_masks(formula), _parity_masks(formula, rows, rhs)
    chunks = []
    for first in range(0, num_words, CHUNK_WORDS):
        deadline.check()
        chunks.append(np.asarray(_evaluate(np.uint32(first), clauses, parities)))
    table = np.concatenate(chunks)[:num_words]
    return table if n >= 5 else table & np.uint32((1 << (1 << n)) - 1)


def unpack(table: np.ndarray, num_variables: int) -> np.ndarray:
    """Whether each assignment is a model: bool [2^n]."""
    octets = table.astype("<u4").view(np.uint8)
    return np.unpackbits(octets, count=1 << num_variables, bitorder="little").view(bool)


def positions(formula: cnf.CNF) -> np.ndarray:
    """The digit of each variable in the number of an assignment; sampling variables are high."""
    n, sampling = formula.num_variables, formula.sampling_set
    position = np.zeros(n, dtype=np.int64)
    position[sampling - 1] = np.arange(n - len(sampling), n)
    others = np.setdiff1d(np.arange(1, n + 1), sampling)
    position[others - 1] = np.arange(len(others))
    return position


def check_rows(
    rows: np.ndarray | None, rhs: np.ndarray | None, num_columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Parity constraints as bool [m, k] and [m]; none where None is given.

    Raises:
      ValueError: they have other shapes.
    """
    rows = np.zeros((0, num_columns), dtype=bool) if rows is None else np.asarray(rows, dtype=bool)
    rhs = np.zeros(0, dtype=bool) if rhs is None else np.asarray(rhs, dtype=bool)
    if rows.ndim != 2 or rows.shape[1] != num_columns or rhs.shape != rows.shape[:1]:
        raise ValueError(
            f"expected rows [m, {num_columns}] and rhs [m], given {rows.shape} and {rhs.shape}"
        )
    return rows, rhs


@jax.jit
def _evaluate(first: Array, clauses: tuple[Array, ...], parities: tuple[Array, ...]) -> Array:
    """``CHUNK_WORDS`` words of the truth table, from word ``first`` on."""
    care, falsifying, low = clauses
    mask, even = parities
    high = first + jax.lax.iota(jnp.uint32, CHUNK_WORDS)

    def meet_clause(i: Array, table: Array) -> Array:
        return table & jnp.where((high & care[i]) == falsifying[i], low[i], FULL)

    def meet_parity(i: Array, table: Array) -> Array:
        odd = jax.lax.population_count(high & mask[i]) & 1
        return table & (even[i] ^ -odd)

    table = jax.lax.fori_loop(0, len(care), meet_clause, jnp.full(CHUNK_WORDS, FULL))
    return jax.lax.fori_loop(0, len(mask), meet_parity, table)


def _clause_masks(formula: cnf.CNF) -> tuple[np.ndarray, ...]:
    """Per clause, uint32 [C]: which bits of a word's number its high literals look at, the value
    there that makes them all false, and the truth table of its low literals."""
    literals, lists = formula.clauses.values, len(formula.clauses)
    of_clause = np.repeat(np.arange(lists), np.diff(formula.clauses.offsets))
    holds = np.zeros((2, lists, formula.num_variables), dtype=bool)
    holds[(literals > 0).astype(int), of_clause, positions(formula)[np.abs(literals) - 1]] = True
    negative, positive = holds[:, ~(holds[0] & holds[1]).any(axis=1)]
    low = np.zeros(len(positive), dtype=np.uint32)
    for pattern, is_negative, is_positive in zip(PATTERNS, negative.T, positive.T):
        low |= np.where(is_positive, pattern, 0).astype(np.uint32)
        low |= np.where(is_negative, FULL ^ np.uint32(pattern), 0).astype(np.uint32)
    care, falsifying = _word_bits(positive | negative), _word_bits(negative)
    # A padding clause looks at nothing and expects 1 there, so it is never false.
    return _pad(care, 0, 64), _pad(falsifying, 1, 64), _pad(low, 0, 64)


def _parity_masks(formula: cnf.CNF, rows: np.ndarray, rhs: np.ndarray) -> tuple[np.ndarray, ...]:
    """Per XOR, uint32 [X]: its bits of a word's number, and where it holds if those are even."""
    position = positions(formula)
    of_xor = np.repeat(np.arange(len(formula.xors)), np.diff(formula.xors.offsets))
    times = np.zeros((len(formula.xors) + len(rows), formula.num_variables), dtype=np.int64)
    np.add.at(times, (of_xor, position[formula.xors.values - 1]), 1)
    times[len(formula.xors) :, position[formula.sampling_set - 1]] = rows
    member = times % 2 == 1
    even = np.where(np.concatenate([formula.xor_rhs, rhs]), 0, FULL).astype(np.uint32)
    for pattern, is_member in zip(PATTERNS, member.T):
        even ^= np.where(is_member, pattern, 0).astype(np.uint32)
    return _pad(_word_bits(member), 0, 8), _pad(even, FULL, 8)


def _word_bits(bits: np.ndarray) -> np.ndarray:
    """bool [C, n] as the bits of a word's number, so without the lowest five: uint32 [C]."""
    high = bits[:, 5:]
    return high.astype(np.uint32) @ (np.uint32(1) << np.arange(high.shape[1], dtype=np.uint32))


def _pad(values: np.ndarray, fill: int | np.uint32, least: int) -> np.ndarray:
    """Pads to a power of two, so that few lengths are ever compiled."""
    size = max(least, 1 << (len(values) - 1).bit_length())
    padded = np.full(size, fill, dtype=np.uint32)
    padded[: len(values)] = values
    return padded
