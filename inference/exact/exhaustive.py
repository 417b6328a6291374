"""Everything by enumeration, for small problems: counts, models, log Z and maximisers.

    >>> formula = cnf.from_clauses([[1, 2], [-2, 3]], num_variables=20)
    >>> odd = {"rows": np.ones((1, 20), dtype=bool), "rhs": np.array([True])}
    >>> count(formula)[0].count, count(formula, **odd)[0].count
    (524288, 262144)

All answers are CERTAIN, and nothing is drawn. A formula is counted in its ``truth_table``, the
joint states of a factor graph are scored in one array (``joint_states``).
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from inference import answer, estimate, limits
from inference.exact import joint_states, truth_table
from inference.problems import cnf, factor_graph, trivial

CHUNK_SUM = 1 << 16


class Info(NamedTuple):
    """How marginals came about; ``error`` is what each probability may be off by."""

    status: str
    seconds: float
    error: float


def count(
    formula: cnf.CNF,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    rows: np.ndarray | None = None,
    rhs: np.ndarray | None = None,
    max_variables: int = 26,
) -> tuple[estimate.Estimate, answer.Info]:
    """The number, or the total weight, of sampling-set assignments that extend to a model.

    With weights only the logarithm is known; the interval is then wider by the rounding of
    float64, (k + 8) S + 256 units of 2^-53 for k sampling variables whose largest finite absolute
    log-weights add up to S.

    Args:
      formula: weights and sampling set are respected.
      seed: nothing is drawn.
      timeout: seconds, looked at between chunks; then ``trivial.count``.
      memory: mebibytes the arrays may take; None for no limit.
      rows: bool [m, k], parity constraints over the sampling set, in its order.
      rhs: bool [m].
      max_variables: refuse larger formulas; time and memory double with each variable.

    Raises:
      ValueError: the formula has too many variables or takes too much memory, or the rows have the
        wrong shape.
    """
    deadline = limits.Deadline.after(timeout)
    rows, rhs = _checked(formula, rows, rhs, max_variables)
    limits.require_memory(_table_octets(formula), memory, "a truth table")
    try:
        table = truth_table.evaluate(formula, rows, rhs, deadline)
        return _count(formula, table, deadline), answer.Info("done", deadline.seconds)
    except limits.OutOfTime:
        return trivial.count(formula), answer.Info("timeout", deadline.seconds)


def models(
    formula: cnf.CNF,
    limit: int | None = None,
    *,
    rows: np.ndarray | None = None,
    rhs: np.ndarray | None = None,
    max_variables: int = 26,
) -> np.ndarray:
    """The first ``limit`` models, or all of them: bool [N, n], whatever the sampling set.

    Without a sampling set they come in the order of the binary number whose lowest digit is
    variable 1; with one, sampling variables count as the high digits.

    Arguments and errors are those of ``count``.
    """
    table = truth_table.evaluate(formula, *_checked(formula, rows, rhs, max_variables))
    indices = np.flatnonzero(truth_table.unpack(table, formula.num_variables))[:limit]
    return (indices[:, None] >> truth_table.positions(formula) & 1).astype(bool)


def log_partition(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    max_states: int = 1 << 24,
) -> tuple[estimate.Estimate, answer.Info]:
    """log Z of a factor graph by adding up all joint states.

    The interval allows for rounding: (T + 8) S + 256 units of 2^-53 for T variables and tables
    whose largest finite absolute log-potentials add up to S, and the graph's own ``log_error``.

    Args:
      graph: clauses and parities are turned into tables.
      seed: nothing is drawn.
      timeout: seconds, looked at between tables and chunks; then ``trivial``'s bounds.
      memory: mebibytes the arrays may take; None for no limit.
      max_states: refuse graphs of more joint states.

    Raises:
      ValueError: the graph has too many joint states, or they take too much memory.
    """
    deadline = limits.Deadline.after(timeout)
    tables = _tabulated(graph, max_states, memory, octets=12)
    try:
        scores = joint_states.scores(tables, deadline)
        chunks = np.split(scores, range(CHUNK_SUM, len(scores), CHUNK_SUM))
        constant, log_error = float(graph.log_constant), float(graph.log_error)
        found = _log_sum(chunks, joint_states.terms(tables), deadline, log_error, constant)
    except limits.OutOfTime:
        return trivial.log_partition(graph), answer.Info("timeout", deadline.seconds)
    return found, answer.Info("done", deadline.seconds)


def marginals(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    max_states: int = 1 << 24,
) -> tuple[np.ndarray, Info]:
    """Probabilities of the states of each variable, float64 [V, S]; all zero where Z = 0.

    A probability is a quotient of two sums, each as far off as ``log_partition`` says; a sum of n
    joint states errs by another n units. When time runs out they are those of each variable without
    its neighbours, and the error is infinite. Arguments and errors as ``log_partition``.
    """
    deadline = limits.Deadline.after(timeout)
    tables = _tabulated(graph, max_states, memory, octets=24)
    try:
        scores = joint_states.scores(tables, deadline)
        largest = float(scores.max(initial=-math.inf))
        if largest == -math.inf:
            return np.zeros(graph.log_unary.shape), Info("done", deadline.seconds, 0.0)
        deadline.check()
        probabilities = _marginals(tables, np.exp(scores - largest), deadline)
    except limits.OutOfTime:
        return trivial.marginals(graph), Info("timeout", deadline.seconds, math.inf)
    return probabilities, Info("done", deadline.seconds, _marginal_error(tables, len(scores)))


def maximize(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    rows: np.ndarray | None = None,
    rhs: np.ndarray | None = None,
    max_states: int = 1 << 24,
) -> tuple[answer.Answer, answer.Info]:
    """The best joint state, among those that satisfy the parity constraints if any are given.

    ``value`` is its log-score in nats, ``bound`` is above it by the rounding errors alone, and
    ``assignments`` is int32 [1, V]. If no state of positive probability is left the status is
    INFEASIBLE and both are -inf. When time runs out the answer is that of ``trivial.maximize``,
    without its assignment where the constraints rule it out.

    Args:
      graph: as for ``log_partition``, and so are the arguments left out here.
      rows: bool [m, V]; they may involve variables of two states only.
      rhs: bool [m].

    Raises:
      ValueError: as ``log_partition``, or rows of the wrong shape or over larger domains.
    """
    deadline = limits.Deadline.after(timeout)
    rows, rhs = truth_table.check_rows(rows, rhs, graph.num_variables)
    domains = np.asarray(graph.num_states)
    wide = np.flatnonzero(rows.any(axis=0) & (domains != 2))
    if wide.size:
        raise ValueError(f"expected rows over 2 states, variable {wide[0]} has {domains[wide[0]]}")
    tables = _tabulated(graph, max_states, memory, octets=12)
    try:
        scores = joint_states.scores(tables, deadline)
        for row, side in zip(rows, rhs):
            deadline.check()
            scores[joint_states.parities(row, domains) != side] = -math.inf
    except limits.OutOfTime:
        return _best_at_sight(graph, rows, rhs), answer.Info("timeout", deadline.seconds)
    index = int(np.argmax(scores))
    bound = float(scores[index]) + float(graph.log_constant)
    found = (index // joint_states.strides(domains) % domains).astype(np.int32)[None]
    value = -math.inf if bound == -math.inf else factor_graph.score(graph, found[0])
    info, log_error = answer.Info("done", deadline.seconds), float(graph.log_error)
    rounding = _rounding(joint_states.terms(tables))
    return answer.best(found, value, bound, rounding, log_error, seconds=info.seconds), info


def _checked(
    formula: cnf.CNF, rows: np.ndarray | None, rhs: np.ndarray | None, max_variables: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and right sides for a formula that is small enough."""
    if formula.num_variables > max_variables:
        given = formula.num_variables
        raise ValueError(f"expected at most {max_variables} variables, given {given}")
    return truth_table.check_rows(rows, rhs, len(formula.sampling_set))


def _table_octets(formula: cnf.CNF) -> int:
    """Of the table, twice while its parts are joined, and of what ``_count`` makes of it."""
    n, k = formula.num_variables, len(formula.sampling_set)
    words = max(truth_table.CHUNK_WORDS, 1 << n >> 5)
    if formula.log_weights is None and k == n:
        return 9 * words
    return 8 * words + (1 << n) + (1 << k) + (0 if formula.log_weights is None else 32 * CHUNK_SUM)


def _count(formula: cnf.CNF, table: np.ndarray, deadline: limits.Deadline) -> estimate.Estimate:
    """The estimate that a truth table leads to."""
    num_sampling = len(formula.sampling_set)
    if formula.log_weights is None and num_sampling == formula.num_variables:
        return estimate.exact_count(int(np.bitwise_count(table).sum(dtype=np.int64)))
    bits = truth_table.unpack(table, formula.num_variables)
    alive = np.logical_or.reduce(bits.reshape(1 << num_sampling, -1), axis=1)
    if formula.log_weights is None:
        return estimate.exact_count(int(alive.sum()))
    log_weights = formula.log_weights[formula.sampling_set - 1]
    return _log_sum(_model_weights(alive, log_weights), list(log_weights), deadline)


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
    chunks: Iterable[np.ndarray],
    terms: list[np.ndarray],
    deadline: limits.Deadline,
    log_error: float = 0.0,
    constant: float = 0.0,
) -> estimate.Estimate:
    """log of the sum of exp over all chunks, each value a sum of one entry of each term."""
    sums = []
    for chunk in chunks:
        deadline.check()
        sums.append(_log_sum_exp(chunk))
    total = _log_sum_exp(np.array(sums))
    return estimate.certain(total + constant, _rounding(terms) + log_error)


def _rounding(terms: list[np.ndarray]) -> float:
    size = math.fsum(map(factor_graph.magnitude, terms))
    return 2.0**-53 * ((len(terms) + 8) * size + 256)


def _log_sum_exp(values: np.ndarray) -> float:
    largest = float(np.max(values, initial=-math.inf))
    if largest == -math.inf:
        return largest
    return largest + math.log(float(np.exp(values - largest).sum()))


def _tabulated(
    graph: factor_graph.FactorGraph, max_states: int, memory: int | None, octets: int
) -> factor_graph.FactorGraph:
    """The graph with tables alone, if its joint states are few enough at so many octets each."""
    graph = factor_graph.tabulate(graph)
    num_joint = math.prod(graph.num_states.tolist())
    if num_joint > max_states:
        raise ValueError(f"expected at most {max_states} joint states, given {num_joint}")
    limits.require_memory(octets * num_joint, memory, "an array of joint states")
    return graph


def _marginals(
    graph: factor_graph.FactorGraph, weights: np.ndarray, deadline: limits.Deadline
) -> np.ndarray:
    """Sums of the weights [N] of all joint states over all variables but one: [V, S]."""
    found, total = np.zeros(graph.log_unary.shape), float(weights.sum())
    strides = joint_states.strides(graph.num_states).tolist()
    for variable, (size, stride) in enumerate(zip(graph.num_states.tolist(), strides)):
        deadline.check()
        found[variable, :size] = weights.reshape(-1, size, stride).sum(axis=(0, 2)) / total
    return found


def _marginal_error(graph: factor_graph.FactorGraph, num_joint: int) -> float:
    terms = joint_states.terms(graph)
    size = math.fsum(map(factor_graph.magnitude, [*terms, graph.log_constant]))
    units = (len(terms) + 9) * size + 256 + num_joint
    relative = 2.0**-52 * units + 2 * float(graph.log_error)
    return math.expm1(min(relative, 700.0)) + 1e-300


def _best_at_sight(
    graph: factor_graph.FactorGraph, rows: np.ndarray, rhs: np.ndarray
) -> answer.Answer:
    """That of ``trivial``; its bound holds for fewer assignments too."""
    best = trivial.maximize(graph)
    if best.assignments is None or (rows @ best.assignments[0] % 2 == rhs).all():
        return best
    return answer.Answer(answer.Status.UNKNOWN, -math.inf, best.bound)
