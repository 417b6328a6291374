"""Certain bounds of log Z by weighted mini-buckets, for models too wide to eliminate.

    >>> graph = generators.ising_grid(6, 6, 0.5, field=0.1)
    >>> estimate, info = log_partition(graph, i_bound=2)
    >>> estimate.claim, estimate.log_width < 2.0
    (<Claim.CERTAIN: 'certain'>, True)

Elimination in which no table may have more than 2^(i_bound + 1) entries: a larger one is split and
the parts are bounded apart (``mini_bucket_tree``; Dechter and Rish, "Mini-buckets: a general scheme
for bounded inference", 2003; Liu and Ihler, "Bounding the partition function using Hoelder's
inequality", ICML 2011). What the parts are, and their weights, is free: cost moved between the
parts of a bucket, and weights, are fitted by L-BFGS. Every evaluation is a bound, so a time limit
only widens the interval. Host code in numpy float64, nothing is compiled.
"""

import functools
import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from inference import answer, estimate, limits, randomness
from inference.bounds import cost_shifting, descent, feasible, power_sums
from inference.exact import bucket_tree, orders
from inference.problems import factor_graph, trivial

MEMORY = 2048  # mebibytes
ORDERS = (orders.min_size, orders.min_fill, orders.min_degree, orders.min_frontier)
TEMPERATURES = (1.0, 0.1)
_PASS_ENTRIES = 2**21  # of all tables, where the i-bound is chosen here: a pass takes about 0.1 s
_ENTRY_BYTES = 24  # tables, shares and joint probabilities
_LOG_WEIGHT = 8.0  # weights of one bucket differ by at most exp(16)


class Info(NamedTuple):
    """What the bounds took.

    Attributes:
      status: "done", "timeout" or "interrupted".
      iterations: passes over the tree, up and down.
      i_bound: tables have at most 2^(i_bound + 1) entries, but for larger factors.
      is_exact: no bucket was split.
      seconds: wall time.
    """

    status: str
    iterations: int
    i_bound: int
    is_exact: bool
    seconds: float


class _Fitted(NamedTuple):
    """The best bound of a fit, and how it was found."""

    value: float
    error: float
    sums: power_sums.Sums
    vector: np.ndarray
    passes: int
    status: str


def log_partition(
    graph: factor_graph.FactorGraph,
    *,
    i_bound: int | None = None,
    iterations: int = 100,
    timeout: float | None = None,
    memory: float = MEMORY,
    order_fns: Sequence[orders.Order] = ORDERS,
) -> tuple[estimate.Estimate, Info]:
    """Bounds of log Z on both sides, CERTAIN; the value is the upper one.

    Where no bucket is split the interval is as wide as the rounding. The lower side is the better
    of the reverse inequality and the score of one assignment; with hard zeros it may be -inf.

    Args:
      graph: clauses and parities become tables.
      i_bound: by default the largest for which a pass takes about a tenth of a second.
      iterations: most steps of L-BFGS for each side; 0 evaluates once.
      timeout: seconds, after which the best bounds so far are returned.
      memory: mebibytes for tables.
      order_fns: orders of elimination, of which the one that begins lowest is fitted.

    Raises:
      ValueError: the tables need more memory, or a clause is too wide for one.
    """
    start = time.monotonic()
    graph = factor_graph.tabulate(graph)
    model, tree, tables, sizes, i_bound = _prepare(graph, i_bound, memory, order_fns, timeout)
    above = _fit(
        tree, tables, sizes, cost_shifting.positive, 1.0, iterations, 0.6 * _left(start, timeout)
    )
    upper, log_error = model.total(above.value), float(graph.log_error)
    if tree.is_exact:
        info = Info(above.status, 1, i_bound, True, time.monotonic() - start)
        return estimate.certain(upper, above.error + log_error), info
    decoded = feasible.assignment(model, power_sums.decode(tree, above.sums))
    lower, status, passes = trivial.log_lower(graph, decoded), above.status, above.passes
    if status != "interrupted":
        below = _fit(
            tree, tables, sizes, cost_shifting.reverse, -1.0, iterations, _left(start, timeout)
        )
        reverse = estimate.below(model.total(below.value), below.error + log_error)
        lower = max(lower, reverse)
        status = below.status if status == "done" or below.status == "interrupted" else status
        passes += below.passes
    if status == "timeout" and (seconds := _left(start, timeout)) > 0:
        # The lower side needed less than its share of the time.
        fit = functools.partial(_fit, tree, tables, sizes, cost_shifting.positive, 1.0)
        above = fit(iterations, seconds, above.vector)
        upper, status = model.total(above.value), above.status
        passes += above.passes
    info = Info(status, passes, i_bound, False, time.monotonic() - start)
    upper = estimate.above(upper, above.error + log_error)
    return estimate.bounded(upper, lower, upper, 0.0, 0.0), info


def maximize(
    graph: factor_graph.FactorGraph,
    *,
    key: Any = 0,
    i_bound: int | None = None,
    iterations: int = 100,
    timeout: float | None = None,
    memory: float = MEMORY,
    order_fns: Sequence[orders.Order] = ORDERS,
) -> answer.Answer:
    """An assignment int64 [1, V], decoded and then improved, and a proven bound of every log-score.

    The cost shifts are fitted to the bound of log Z at falling temperatures, where it approaches
    the maximum, and then maxima are taken. ``key`` (integer seed or JAX key) draws the searches of
    ``feasible``; the other arguments and errors as ``log_partition``.
    """
    start = time.monotonic()
    graph = factor_graph.tabulate(graph)
    model, tree, tables, sizes, _ = _prepare(graph, i_bound, memory, order_fns, timeout)
    shifts = cost_shifting.shifts(tree)
    vector = cost_shifting.zeros(tree, shifts)
    bound, error, states = _maxima(tree, tables, sizes, shifts, vector)
    ends = {"done"}
    for temperature in () if tree.is_exact else TEMPERATURES:
        weigh = functools.partial(cost_shifting.positive, total=temperature)
        seconds = _left(start, timeout) / 3
        fitted = _fit(tree, tables, sizes, weigh, 1.0, iterations, seconds, vector)
        vector = fitted.vector
        fresh = _maxima(tree, tables, sizes, shifts, vector)
        bound, error, states = min((bound, error, states), fresh, key=lambda one: one[0] + one[1])
        ends.add(fitted.status)
        if fitted.status == "interrupted" or _left(start, timeout) <= 0:
            break
    bound = model.total(bound)
    if not tree.is_exact:
        rng = randomness.generator(key, "mini_bucket")
        deadline = time.monotonic() + _left(start, timeout)
        found = feasible.search(model, rng, start=states, deadline=deadline)
        states = states if found.states is None else found.states
        ends.add(found.status)
    assignment = feasible.assignment(model, states)[None]
    value, log_error = factor_graph.score(graph, assignment[0]), float(graph.log_error)
    seconds = time.monotonic() - start
    told: dict[str, Any] = {"seconds": seconds, "message": answer.cut_short(*ends)}
    return answer.best(assignment, value, bound, error, log_error, **told)


def marginals(
    graph: factor_graph.FactorGraph,
    *,
    i_bound: int | None = None,
    iterations: int = 100,
    timeout: float | None = None,
    memory: float = MEMORY,
    order_fns: Sequence[orders.Order] = ORDERS,
) -> tuple[np.ndarray, Info]:
    """Pseudo-marginals float64 [V, S] of the upper bound, averaged over the parts of a bucket.

    Exact where no bucket is split, otherwise without a claim; all zero where Z = 0 was proven.
    Arguments and errors as ``log_partition``.
    """
    start = time.monotonic()
    graph = factor_graph.tabulate(graph)
    model, tree, tables, sizes, i_bound = _prepare(graph, i_bound, memory, order_fns, timeout)
    above = _fit(
        tree, tables, sizes, cost_shifting.positive, 1.0, iterations, _left(start, timeout)
    )
    found = np.zeros(graph.log_unary.shape)
    if model.total(above.value) > -math.inf:
        joints, _ = power_sums.downward(tree, above.sums)
        for position, bucket in enumerate(tree.buckets):
            rows = [joints[node].reshape(tree.sizes[position], -1).sum(axis=1) for node in bucket]
            variable = model.plan.order[position]
            found[variable, model.states[variable]] = np.mean(rows, axis=0)
    seconds = time.monotonic() - start
    return found, Info(above.status, above.passes, i_bound, tree.is_exact, seconds)


def _maxima(
    tree: power_sums.Tree,
    tables: list[np.ndarray],
    sizes: list[list[float]],
    shifts: list[cost_shifting.Shift],
    vector: np.ndarray,
) -> tuple[float, float, np.ndarray]:
    """A bound of every score without the constants, its rounding, and what it decodes to."""
    weights = np.zeros(len(tree.cliques))
    moved = cost_shifting.move(tables, shifts, vector)
    sums = power_sums.upward(tree, moved, weights, keep=True)
    error = power_sums.rounding_error(tree, cost_shifting.add_sizes(sizes, shifts, vector), weights)
    return sums.log_value, error, power_sums.decode(tree, sums)


def _prepare(
    graph: factor_graph.FactorGraph,
    i_bound: int | None,
    memory: float,
    order_fns: Sequence[orders.Order],
    timeout: float | None = None,
) -> tuple[bucket_tree.Model, power_sums.Tree, list[np.ndarray], list[list[float]], int]:
    """Model, tree, tables, their sizes and i-bound, for the order whose bound begins lowest.

    A fifth of the time may go into trying orders.
    """
    start = time.monotonic()
    best: Any = None
    for order_fn in order_fns:
        model = bucket_tree.prepare(graph, order_fn)
        tree, grown = _grow(model, i_bound, memory)
        tables = power_sums.fill(tree, [table for _, table in model.factors])
        upper = power_sums.upward(tree, tables, tree.even_weights()).log_value
        if best is None or (not tree.is_exact, upper) < best[0]:
            sizes = power_sums.sizes_of(tree, [factor_graph.magnitude(t) for _, t in model.factors])
            best = ((not tree.is_exact, upper), (model, tree, tables, sizes, grown))
        if tree.is_exact or (timeout is not None and _left(start, timeout) < 0.8 * timeout):
            break
    return best[1]


def _left(start: float, timeout: float | None) -> float:
    return math.inf if timeout is None else max(0.0, timeout - (time.monotonic() - start))


def _grow(
    model: bucket_tree.Model, i_bound: int | None, memory: float
) -> tuple[power_sums.Tree, int]:
    """The tree of the i-bound, or of the largest one that keeps a pass short."""
    sizes, scopes = model.plan.sizes, [scope for scope, _ in model.factors]
    if i_bound is None:
        most = min(_PASS_ENTRIES, int(memory * limits.MEBIBYTE) // _ENTRY_BYTES)
        i_bound = max(1, int(math.log2(most / (4 * len(sizes) + 1) + 1)))
        tree = power_sums.grow(sizes, scopes, 2.0 ** (i_bound + 1))
        while tree.num_entries > most and i_bound > 0:
            i_bound -= 1
            tree = power_sums.grow(sizes, scopes, 2.0 ** (i_bound + 1))
        while not tree.is_exact:
            larger = power_sums.grow(sizes, scopes, 2.0 ** (i_bound + 2))
            if larger.num_entries > most:
                break
            tree, i_bound = larger, i_bound + 1
    elif i_bound >= 0:
        tree = power_sums.grow(sizes, scopes, 2.0 ** (i_bound + 1))
    else:
        raise ValueError(f"expected an i-bound of at least 0, given {i_bound}")
    needed = _ENTRY_BYTES * tree.num_entries
    if needed > memory * limits.MEBIBYTE:
        expected = f"expected tables of at most {memory:.6g} MiB"
        raise ValueError(
            f"{expected}, given an i-bound of {i_bound} that needs {needed / limits.MEBIBYTE:.6g}"
        )
    return tree, i_bound


def _fit(
    tree: power_sums.Tree,
    tables: list[np.ndarray],
    sizes: list[list[float]],
    weigh: cost_shifting.Weigh,
    sign: float,
    iterations: int,
    seconds: float,
    start: np.ndarray | None = None,
) -> _Fitted:
    """Minimises ``sign`` times the bound over shifts and weights; at least one evaluation."""
    shifts = cost_shifting.shifts(tree)
    vector = cost_shifting.zeros(tree, shifts) if start is None else start
    box = np.full(len(vector), np.inf)
    box[len(vector) - len(tree.cliques) :] = _LOG_WEIGHT

    def evaluate(at: np.ndarray) -> tuple[float, np.ndarray, Any]:
        weights, pull = weigh(tree, at[len(at) - len(tree.cliques) :])
        moved = cost_shifting.move(tables, shifts, at)
        sums = power_sums.upward(tree, moved, weights, keep=True)
        if not math.isfinite(sums.log_value):
            return sign * sums.log_value, np.zeros_like(at), (weights, sums)
        gradient = sign * cost_shifting.gradient(tree, sums, shifts, pull)
        return sign * sums.log_value, gradient, (weights, sums)

    steps = iterations if shifts else 0
    found = descent.minimize(evaluate, vector, iterations=steps, seconds=seconds, box=box)
    weights, sums = found.detail
    error = power_sums.rounding_error(
        tree, cost_shifting.add_sizes(sizes, shifts, found.vector), weights
    )
    return _Fitted(sums.log_value, error, sums, found.vector, found.evaluations, found.status)
