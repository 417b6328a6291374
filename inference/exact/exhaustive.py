"""Everything by enumeration, for small problems: counts, models, log Z and maximisers.

    >>> formula = cnf.from_clauses([[1, 2], [-2, 3]], num_variables=20)
    >>> count(formula).count, count(formula, rows=np.ones((1, 20), dtype=bool), rhs=[True]).count
    (524288, 262144)

All answers are CERTAIN. A truth table is evaluated 32 assignments to a word, a fixed number of
words per call, so that one compilation serves all formulas of about one size. The joint states of
a factor graph are scored in one array, 8 bytes each.
"""

import math
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from inference import answer, estimate
from inference.problems import cnf, factor_graph

CHUNK_WORDS = 1 << 13
CHUNK_SUM = 1 << 16
# Truth tables of the five variables that vary inside a word.
PATTERNS = (0xAAAAAAAA, 0xCCCCCCCC, 0xF0F0F0F0, 0xFF00FF00, 0xFFFF0000)
FULL = np.uint32(0xFFFFFFFF)


def count(
    formula: cnf.CNF, *, rows: Any = None, rhs: Any = None, max_variables: int = 26
) -> estimate.Estimate:
    """The number, or the total weight, of sampling-set assignments that extend to a model.

    With weights only the logarithm is known; the interval is then wider by the rounding of
    float64, (k + 8) S + 256 units of 2^-53 for k sampling variables whose largest finite absolute
    log-weights add up to S.

    Args:
      formula: weights and sampling set are respected.
      rows: bool [m, k], parity constraints over the sampling set, in its order.
      rhs: bool [m].
      max_variables: refuse larger formulas; time and memory double with each variable.

    Raises:
      ValueError: the formula has too many variables, or the rows have the wrong shape.
    """
    table = _truth_table(formula, rows, rhs, max_variables)
    num_sampling = len(formula.sampling_set)
    if formula.log_weights is None and num_sampling == formula.num_variables:
        return estimate.exact_count(int(np.bitwise_count(table).sum(dtype=np.int64)))
    cells = _bits(table, formula.num_variables).reshape(1 << num_sampling, -1)
    alive = np.logical_or.reduce(cells, axis=1)
    if formula.log_weights is None:
        return estimate.exact_count(int(alive.sum()))
    log_weights = formula.log_weights[formula.sampling_set - 1]
    return _log_sum(_model_weights(alive, log_weights), list(log_weights))


def models(
    formula: cnf.CNF,
    limit: int | None = None,
    *,
    rows: Any = None,
    rhs: Any = None,
    max_variables: int = 26,
) -> np.ndarray:
    """The first ``limit`` models, or all of them: bool [N, n], whatever the sampling set.

    Without a sampling set they come in the order of the binary number whose lowest digit is
    variable 1; with one, sampling variables count as the high digits.

    Args and errors are those of ``count``.
    """
    table = _truth_table(formula, rows, rhs, max_variables)
    indices = np.flatnonzero(_bits(table, formula.num_variables))[:limit]
    return (indices[:, None] >> _positions(formula) & 1).astype(bool)


def log_partition(
    graph: factor_graph.FactorGraph, *, max_states: int = 1 << 24
) -> estimate.Estimate:
    """log Z of a factor graph by adding up all joint states.

    The interval allows for rounding: (T + 8) S + 256 units of 2^-53 for T variables and tables
    whose largest finite absolute log-potentials add up to S, and the graph's own ``log_error``.

    Raises:
      ValueError: the graph has more than ``max_states`` joint states.
    """
    graph = factor_graph.tabulate(graph)
    scores = _scores(graph, max_states)
    chunks = np.split(scores, range(CHUNK_SUM, len(scores), CHUNK_SUM))
    return _log_sum(chunks, _terms(graph), float(graph.log_error), float(graph.log_constant))


class Info(NamedTuple):
    """``error``: what each probability may be off by."""

    error: float


def marginals(
    graph: factor_graph.FactorGraph, *, max_states: int = 1 << 24
) -> tuple[np.ndarray, Info]:
    """Probabilities of the states of each variable, float64 [V, S]; all zero where Z = 0.

    A probability is a quotient of two sums, each as far off as ``log_partition`` says; a sum of n
    joint states errs by another n units.

    Raises:
      ValueError: the graph has more than ``max_states`` joint states.
    """
    tables = factor_graph.tabulate(graph)
    scores = _scores(tables, max_states)
    found, largest = np.zeros(graph.log_unary.shape), float(scores.max(initial=-math.inf))
    if largest == -math.inf:
        return found, Info(0.0)
    weights = np.exp(scores - largest)
    total = float(weights.sum())
    strides = _strides(graph.num_states).tolist()
    for variable, (size, stride) in enumerate(zip(graph.num_states.tolist(), strides)):
        found[variable, :size] = weights.reshape(-1, size, stride).sum(axis=(0, 2)) / total
    terms = _terms(tables)
    size = math.fsum(map(factor_graph.magnitude, [*terms, graph.log_constant]))
    units = (len(terms) + 9) * size + 256 + len(scores)
    relative = 2.0**-52 * units + 2 * float(graph.log_error)
    return found, Info(math.expm1(min(relative, 700.0)) + 1e-300)


def maximize(
    graph: factor_graph.FactorGraph,
    rows: Any = None,
    rhs: Any = None,
    *,
    max_states: int = 1 << 24,
) -> answer.Answer:
    """The best joint state, among those that satisfy the parity constraints if any are given.

    ``value`` is its log-score in nats, ``bound`` is above it by the rounding errors alone, and
    ``assignments`` is int32 [1, V]. If no state of positive probability is left the status is
    INFEASIBLE and both are -inf.

    Args:
      graph: at most ``max_states`` joint states.
      rows: bool [m, V]; they may involve variables of two states only.
      rhs: bool [m].

    Raises:
      ValueError: too many joint states, or rows of the wrong shape or over larger domains.
    """
    started = time.perf_counter()
    rows, rhs = _check_rows(rows, rhs, graph.num_variables)
    domains = np.asarray(graph.num_states)
    wide = np.flatnonzero(rows.any(axis=0) & (domains != 2))
    if wide.size:
        raise ValueError(f"expected rows over 2 states, variable {wide[0]} has {domains[wide[0]]}")
    graph = factor_graph.tabulate(graph)
    scores = _scores(graph, max_states)
    for row, side in zip(rows, rhs):
        scores[_parities(row, domains) != side] = -math.inf
    index = int(np.argmax(scores))
    bound, seconds = float(scores[index]) + float(graph.log_constant), time.perf_counter() - started
    if bound == -math.inf:
        return answer.Answer(answer.Status.INFEASIBLE, bound, bound, seconds=seconds)
    found = (index // _strides(domains) % domains).astype(np.int32)[None]
    value, rounding = factor_graph.score(graph, found[0]), _rounding(_terms(graph))
    return answer.best(found, value, bound, rounding, float(graph.log_error), seconds=seconds)


def _truth_table(formula: cnf.CNF, rows: Any, rhs: Any, max_variables: int) -> np.ndarray:
    """Bit i of word w says whether assignment 32 w + i is a model: uint32 [max(1, 2^(n - 5))]."""
    n = formula.num_variables
    if n > max_variables:
        raise ValueError(f"expected at most {max_variables} variables, given {n}")
    rows, rhs = _check_rows(rows, rhs, len(formula.sampling_set))
    clauses, parities = _clause_masks(formula), _parity_masks(formula, rows, rhs)
    num_words = max(1, (1 << n) // 32)
    chunks = [
        np.asarray(_evaluate(np.uint32(first), clauses, parities))
        for first in range(0, num_words, CHUNK_WORDS)
    ]
    table = np.concatenate(chunks)[:num_words]
    return table if n >= 5 else table & np.uint32((1 << (1 << n)) - 1)


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
    holds[(literals > 0).astype(int), of_clause, _positions(formula)[np.abs(literals) - 1]] = True
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
    position = _positions(formula)
    of_xor = np.repeat(np.arange(len(formula.xors)), np.diff(formula.xors.offsets))
    times = np.zeros((len(formula.xors) + len(rows), formula.num_variables), dtype=np.int64)
    np.add.at(times, (of_xor, position[formula.xors.values - 1]), 1)
    times[len(formula.xors) :, position[formula.sampling_set - 1]] = rows
    member = times % 2 == 1
    even = np.where(np.concatenate([formula.xor_rhs, rhs]), 0, FULL).astype(np.uint32)
    for pattern, is_member in zip(PATTERNS, member.T):
        even ^= np.where(is_member, pattern, 0).astype(np.uint32)
    return _pad(_word_bits(member), 0, 8), _pad(even, FULL, 8)


def _positions(formula: cnf.CNF) -> np.ndarray:
    """The digit of each variable in the number of an assignment; sampling variables are high."""
    n, sampling = formula.num_variables, formula.sampling_set
    position = np.zeros(n, dtype=np.int64)
    position[sampling - 1] = np.arange(n - len(sampling), n)
    others = np.setdiff1d(np.arange(1, n + 1), sampling)
    position[others - 1] = np.arange(len(others))
    return position


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


def _bits(table: np.ndarray, num_variables: int) -> np.ndarray:
    octets = table.astype("<u4").view(np.uint8)
    return np.unpackbits(octets, count=1 << num_variables, bitorder="little").view(bool)


def _check_rows(rows: Any, rhs: Any, num_columns: int) -> tuple[np.ndarray, np.ndarray]:
    rows = np.zeros((0, num_columns), dtype=bool) if rows is None else np.asarray(rows, dtype=bool)
    rhs = np.zeros(0, dtype=bool) if rhs is None else np.asarray(rhs, dtype=bool)
    if rows.ndim != 2 or rows.shape[1] != num_columns or rhs.shape != rows.shape[:1]:
        raise ValueError(
            f"expected rows [m, {num_columns}] and rhs [m], given {rows.shape} and {rhs.shape}"
        )
    return rows, rhs


def _model_weights(alive: np.ndarray, log_weights: np.ndarray) -> Iterator[np.ndarray]:
    """The log-weights of the assignments that are alive, some at a time."""
    low, high = _subset_sums(log_weights[:16]), _subset_sums(log_weights[16:])
    for chunk, offset in zip(alive.reshape(len(high), len(low)), high):
        yield offset + low[chunk]


def _subset_sums(log_weights: np.ndarray) -> np.ndarray:
    """Sums of log_weights[j, bit j of i] for all i: float64 [2^k]."""
    sums = np.zeros(1)
    for negative, positive in log_weights:
        sums = np.concatenate([sums + negative, sums + positive])
    return sums


def _log_sum(
    chunks: Iterable[np.ndarray], terms: list[Any], log_error: float = 0.0, constant: float = 0.0
) -> estimate.Estimate:
    """log of the sum of exp over all chunks, each value a sum of one entry of each term."""
    total = _log_sum_exp(np.array([_log_sum_exp(chunk) for chunk in chunks]))
    return estimate.certain(total + constant, _rounding(terms) + log_error)


def _rounding(terms: list[Any]) -> float:
    size = math.fsum(map(factor_graph.magnitude, terms))
    return 2.0**-53 * ((len(terms) + 8) * size + 256)


def _terms(graph: factor_graph.FactorGraph) -> list[Any]:
    """The tables of which a score takes one entry each."""
    return [*graph.log_unary, *(table for g in graph.groups for table in g.log_potentials)]


def _log_sum_exp(values: np.ndarray) -> float:
    largest = float(np.max(values, initial=-math.inf))
    if largest == -math.inf:
        return largest
    return largest + math.log(float(np.exp(values - largest).sum()))


def _scores(graph: factor_graph.FactorGraph, max_states: int) -> np.ndarray:
    """Log-scores of all joint states without the constant, variable 0 fastest: float64 [N]."""
    graph = jax.tree.map(np.asarray, graph)
    domains = graph.num_states
    num_joint = math.prod(domains.tolist())
    if num_joint > max_states:
        raise ValueError(f"expected at most {max_states} joint states, given {num_joint}")
    tables: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {v: [] for v in range(len(domains))}
    for group in graph.groups:
        for scope, table in zip(group.variables, group.log_potentials):
            tables[int(max(scope))].append((scope, table))
    scores = np.zeros(1)
    # A table joins as soon as all its variables have, so most work is done on short arrays.
    for variable, last in tables.items():
        unary = graph.log_unary[variable, : domains[variable]]
        scores = (unary[:, None] + scores).reshape(-1)
        for scope, table in last:
            _add_table(scores, scope, table, domains)
    return scores


def _add_table(
    scores: np.ndarray, scope: np.ndarray, table: np.ndarray, domains: np.ndarray
) -> None:
    """Adds a table in place to the scores of the variables up to the largest of its scope."""
    order, strides, shape, size = np.argsort(-scope), _strides(domains), [], len(scores)
    for variable in scope[order]:
        shape += [size // int(strides[variable] * domains[variable]), int(domains[variable])]
        size = int(strides[variable])
    axes = [1 if i % 2 == 0 else n for i, n in enumerate(shape)]
    # A view, so adding to it adds to the scores.
    view = scores.reshape(*shape, size)
    view += table.transpose(order).reshape(*axes, 1)


def _parities(row: np.ndarray, domains: np.ndarray) -> np.ndarray:
    """The parity of the variables in ``row`` for all joint states, variable 0 fastest: bool."""
    odd = np.zeros(1, dtype=bool)
    for is_member, size in zip(row, domains):
        odd = np.concatenate([odd, ~odd]) if is_member else np.tile(odd, size)
    return odd


def _strides(domains: np.ndarray) -> np.ndarray:
    return np.cumprod(np.concatenate([[1], domains[:-1]]))
