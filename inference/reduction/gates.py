"""Gates among the clauses of a formula: which variables, once known, make which other known.

    >>> formula = cnf.from_clauses([[1, -3], [2, -3], [-1, -2, 3], [4, 5], [-4, -5]])
    >>> found = find(formula)  # 3 is 1 and 2; 4 is not 5
    >>> found.variables.tolist()
    [[4, 5], [1, 2, 3]]
    >>> found.is_output.tolist()
    [True, True, False, False, True]

And-gates and or-gates with inputs of any polarity, exclusive-ors and other functions whose clauses
are over the same five variables at most, choices (if-then-else) and units are recognised. Kept is
only that an output is determined, not how. Everything is sorting and looking up, in arrays.

Ostrowski, Gregoire, Mazure and Sais, Recovering and Exploiting Structural Knowledge from CNF
Formulas (CP 2002).
"""

from typing import NamedTuple

import numpy as np

from inference import limits
from inference.problems import cnf
from inference.reduction import normal

MAX_SIZE = 5  # variables of gates whose clauses are all over the same ones
# Pairs of literals that are looked up for and-gates, for each literal of the formula. Shorter
# clauses come first.
PAIRS = 20
_PAIRS_AT_ONCE = 1 << 18
_MULTIPLIER = np.int64(0x1E3779B97F4A7C15)  # products wrap around


class Gates(NamedTuple):
    """Groups of variables: where all others of a group are known, so is an output of it.

    Attributes:
      variables: the groups, each without repeats.
      is_output: bool [L] along ``variables.values``, at least one in each group.
    """

    variables: cnf.Ragged
    is_output: np.ndarray


NONE = Gates(cnf.ragged([]), np.zeros(0, dtype=bool))


def find(formula: cnf.CNF, deadline: limits.Deadline = limits.NEVER) -> Gates:
    """The gates among the clauses of a formula without XORs and repeats, as ``normal`` has it.

    Raises:
      OutOfTime: before all were found.
    """
    literals, offsets = formula.clauses.values.astype(np.int64), formula.clauses.offsets
    codes = 2 * np.abs(literals) + (literals < 0)
    base = 2 * formula.num_variables + 2
    pairs = _rows(codes, offsets, 2)
    keys = normal.distinct(pairs[:, 0] * base + pairs[:, 1])
    found = []
    for size in range(1, MAX_SIZE + 1):
        deadline.check()
        rows = _rows(codes, offsets, size)
        rows, patterns = _by_variables(rows if size == 1 else rows[_in_company(rows >> 1)])
        is_output = _is_determined(patterns, size)
        is_gate = is_output.any(axis=1)
        found.append(_groups(rows[is_gate], is_output[is_gate]))
        if size == 3:
            found.append(_choices(rows[~is_gate], patterns[~is_gate]))
    found.append(_ands(codes, offsets, keys, base, deadline))
    return concatenate(found)


def concatenate(parts: list[Gates]) -> Gates:
    """All of them, over the same variables."""
    variables = parts[0].variables
    for part in parts[1:]:
        variables = cnf.join(variables, part.variables)
    return Gates(variables, np.concatenate([part.is_output for part in parts]))


def _rows(codes: np.ndarray, offsets: np.ndarray, size: int) -> np.ndarray:
    """The clauses of one size: int64 [m, size]."""
    starts = offsets[:-1][np.diff(offsets) == size]
    return codes[starts[:, None] + np.arange(size)]


def _groups(rows: np.ndarray, is_output: np.ndarray) -> Gates:
    """Groups of equal size, variables and outputs both [m, size]."""
    offsets = np.arange(len(rows) + 1, dtype=np.int64) * rows.shape[1]
    return Gates(cnf.Ragged(rows.reshape(-1).astype(np.int32), offsets), is_output.reshape(-1))


def _in_company(variables: np.ndarray) -> np.ndarray:
    """Which rows occur several times, and few others: bool [m]. Faster than sorting rows."""
    numbers = np.zeros(len(variables), dtype=np.int64)
    for column in variables.T:
        numbers = numbers * _MULTIPLIER + column
    increasing = np.sort(numbers)
    return _is_in(increasing[1:][increasing[1:] == increasing[:-1]], numbers)


def _by_variables(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct sets of variables of clauses of one size, and which clauses there are over each.

    Returns:
      Variables [u, size], and for each a number whose bit p tells whether there is the clause whose
      negative literals are the bits of p.
    """
    size = rows.shape[1]
    patterns = (rows & 1) @ (1 << np.arange(size))
    order = np.lexsort(rows.T >> 1)
    variables, patterns = rows[order] >> 1, patterns[order]
    is_first = np.ones(len(rows), dtype=bool)
    is_first[1:] = (variables[1:] != variables[:-1]).any(axis=1)
    starts = np.flatnonzero(is_first)
    if not len(starts):
        return variables, patterns
    return variables[starts], np.bitwise_or.reduceat(np.int64(1) << patterns, starts)


def _is_determined(patterns: np.ndarray, size: int) -> np.ndarray:
    """Which variable has one value at most for each values of the others: bool [u, size].

    Clauses over the same variables exclude one assignment each, the bits of ``patterns``.
    """
    everything = (1 << (1 << size)) - 1
    found = np.zeros((len(patterns), size), dtype=bool)
    for position in range(size):
        step = 1 << position
        low = sum(1 << p for p in range(1 << size) if not p & step)
        swapped = (patterns & low) << step | patterns >> step & low
        found[:, position] = (patterns | swapped) == everything
    return found


def _choices(rows: np.ndarray, patterns: np.ndarray) -> Gates:
    """If-then-else: for each value of a condition an output equals some literal.

    Two clauses of three variables make two of them equal or opposite under one literal of the
    third; two such halves with one output and both values of one condition are a choice.
    """
    halves = [np.zeros((0, 4), dtype=np.int64)]
    for position in range(3):
        first, second = (p for p in range(3) if p != position)
        for value in range(2):
            shared = value << position
            for flips in ((0, 1 << first | 1 << second), (1 << first, 1 << second)):
                needed = sum(1 << (shared | flip) for flip in flips)
                some = rows[patterns & needed == needed]
                condition = some[:, position]
                for output, other in ((first, second), (second, first)):
                    # A clause with the condition negated speaks of where it is true.
                    columns = [some[:, output], condition, np.full(len(some), value)]
                    halves.append(np.stack([*columns, some[:, other]], axis=1))
    table = np.concatenate(halves)
    table = table[np.lexsort(table.T[::-1])]
    # One half for each output, condition and value is enough; both values stand side by side.
    is_new = np.ones(len(table), dtype=bool)
    is_new[1:] = (table[1:, :3] != table[:-1, :3]).any(axis=1)
    table = table[is_new]
    match = np.flatnonzero((table[1:, :2] == table[:-1, :2]).all(axis=1))
    four = np.stack([*table[match, :2].T, table[match, 3], table[match + 1, 3]], axis=1)
    four = four[four[:, 2] != four[:, 3]]
    is_output = np.zeros(four.shape, dtype=bool)
    is_output[:, 0] = True
    return _groups(four, is_output)


def _ands(
    codes: np.ndarray,
    offsets: np.ndarray,
    keys: np.ndarray,
    base: int,
    deadline: limits.Deadline,
) -> Gates:
    """Clauses that with pairs of one of their literals and each other, both negated, are a gate.

    In the clause o | -a | -b and the pairs -o | a and -o | b, o is the conjunction of a and b. The
    keys of pairs are increasing, of two codes below ``base`` each.
    """
    sizes = np.diff(offsets)
    degree = np.bincount(np.concatenate([keys // base, keys % base]), minlength=base)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    # Literals that stand in enough pairs, negated; those of short clauses first.
    candidates = np.flatnonzero((sizes[owner] > 2) & (degree[codes ^ 1] >= sizes[owner] - 1))
    candidates = candidates[np.argsort(sizes[owner[candidates]], kind="stable")]
    work = np.cumsum(sizes[owner[candidates]])
    candidates = candidates[work <= PAIRS * len(codes)]
    is_output = np.zeros(len(codes), dtype=bool)
    for part in _parts(candidates, work[: len(candidates)]):
        deadline.check()
        clause = owner[part]
        lengths = sizes[clause]
        ends = np.cumsum(lengths)
        inside = np.arange(lengths.sum()) - np.repeat(ends - lengths, lengths)
        others = codes[np.repeat(offsets[clause], lengths) + inside] ^ 1
        output = np.repeat(codes[part] ^ 1, lengths)
        key = np.minimum(output, others) * base + np.maximum(output, others)
        hits = np.add.reduceat(_is_in(keys, key), ends - lengths, dtype=np.int64)
        is_output[part] = hits == lengths - 1  # all but itself
    left = np.zeros(len(sizes), dtype=bool)
    left[owner[is_output]] = True
    variables = cnf.Ragged(
        (codes[left[owner]] >> 1).astype(np.int32), np.concatenate([[0], np.cumsum(sizes[left])])
    )
    return Gates(variables, is_output[left[owner]])


def _parts(items: np.ndarray, work: np.ndarray) -> list[np.ndarray]:
    """The items in pieces of not much more than ``_PAIRS_AT_ONCE``; ``work`` is cumulative."""
    if not len(items):
        return []
    ends = np.searchsorted(work, np.arange(_PAIRS_AT_ONCE, work[-1], _PAIRS_AT_ONCE))
    return [part for part in np.split(items, np.unique(ends)) if len(part)]


def _is_in(increasing: np.ndarray, values: np.ndarray) -> np.ndarray:
    if not len(increasing):
        return np.zeros(len(values), dtype=bool)
    place = np.minimum(np.searchsorted(increasing, values), len(increasing) - 1)
    return increasing[place] == values
