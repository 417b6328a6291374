"""Certain bounds of log Z by weighted mini-buckets, for models too wide to eliminate.

    >>> graph = generators.ising_grid(6, 6, 0.5, field=0.1)
    >>> estimate, info = log_partition(graph, i_bound=2)
    >>> estimate.claim, estimate.log_width < 2.0
    (<Claim.CERTAIN: 'certain'>, True)

Elimination in which no table may have more than 2^(i_bound + 1) entries: a larger one is split and
the parts are bounded apart (``power_sums``; Dechter and Rish, "Mini-buckets: a general scheme
for bounded inference", 2003; Liu and Ihler, "Bounding the partition function using Hoelder's
inequality", ICML 2011). What the parts are, and their weights, is free: cost moved between the
parts of a bucket, and weights, are fitted by L-BFGS. Every evaluation is a bound, so a time limit
only widens the interval. Host code in numpy float64, nothing is compiled.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from inference import answer, estimate, limits, randomness
from inference.bounds import cost_shifting, descent, entries, feasible, power_sums
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
      seconds: wall time.
      iterations: passes over the tree, up and down.
      i_bound: tables have at most 2^(i_bound + 1) entries, but for larger factors.
      is_exact: no bucket was split.
    """

    status: str
    seconds: float
    iterations: int
    i_bound: int
    is_exact: bool


class _Buckets(NamedTuple):
    """A model in mini-buckets: tables of each, and the largest absolute values that went in."""

    model: bucket_tree.Model
    tree: power_sums.Tree
    shifts: list[cost_shifting.Shift]
    tables: list[np.ndarray]
    sizes: list[list[float]]
    i_bound: int

    def sums(self, vector: np.ndarray, weights: np.ndarray) -> power_sums.PowerSums:
        """What the tables sum to after the shifts of a vector."""
        moved = cost_shifting.move(self.tables, self.shifts, vector)
        return power_sums.upward(self.tree, moved, weights, keep=True)

    def error(self, vector: np.ndarray, weights: np.ndarray) -> float:
        """Bound on the rounding of ``sums``, in nats."""
        sizes = cost_shifting.add_sizes(self.sizes, self.shifts, vector)
        return power_sums.rounding_error(self.tree, sizes, weights)

    def info(self, deadline: limits.Deadline, iterations: int, *statuses: str) -> Info:
        status = entries.ended(deadline, *statuses)
        return Info(status, deadline.seconds, iterations, self.i_bound, self.tree.is_exact)


def log_partition(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    i_bound: int | None = None,
    iterations: int = 100,
) -> tuple[estimate.Estimate, Info]:
    """Bounds of log Z on both sides, CERTAIN; the value is the upper one.

    Where no bucket is split the interval is as wide as the rounding. The lower side is the better
    of the reverse inequality and the score of one assignment; with hard zeros it may be -inf.

    Args:
      graph: clauses and parities become tables.
      seed: nothing is drawn here, only for ``maximize``.
      timeout: seconds, after which the best bounds so far are returned; each side is evaluated
        once in any case.
      memory: mebibytes for tables, by default 2048.
      i_bound: by default the largest for which a pass takes about a tenth of a second.
      iterations: most steps of L-BFGS for each side; 0 evaluates once.

    Raises:
      ValueError: the tables need more memory, or a clause is too wide for one.
    """
    deadline = limits.Deadline.after(timeout)
    graph, buckets = _prepare(graph, i_bound, memory, deadline)
    model, tree, log_error = buckets.model, buckets.tree, float(graph.log_error)
    above = _fit(buckets, cost_shifting.positive, 1.0, iterations, deadline.part(0.6))
    if tree.is_exact:
        result = estimate.certain(model.total(above.sums.log_value), above.error + log_error)
        return result, buckets.info(deadline, 1)
    lower = trivial.log_lower(graph, model.assignment(power_sums.decode(tree, above.sums)))
    fits = [above]
    if above.status != "interrupted":
        below = _fit(buckets, cost_shifting.reverse, -1.0, iterations, deadline)
        reverse = model.total(below.sums.log_value)
        lower = max(lower, estimate.below(reverse, below.error + log_error))
        fits.append(below)
    ends = [one.status for one in fits]
    if ends == ["timeout", "done"] and not deadline.has_passed():
        # The lower side needed less than its share of the time.
        above = _fit(buckets, cost_shifting.positive, 1.0, iterations, deadline, above.vector)
        fits.append(above)
        ends = [above.status]
    upper = estimate.above(model.total(above.sums.log_value), above.error + log_error)
    info = buckets.info(deadline, sum(one.passes for one in fits), *ends)
    return estimate.bounded(upper, lower, upper, 0.0, 0.0), info


def maximize(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    i_bound: int | None = None,
    iterations: int = 100,
) -> tuple[answer.Answer, Info]:
    """An assignment int64 [1, V], decoded and then improved, and a proven bound of every log-score.

    The cost shifts are fitted to the bound of log Z at falling temperatures, where it approaches
    the maximum, and then maxima are taken. ``seed`` (integer, JAX key or bytes) draws the searches
    of ``feasible``; the other arguments and errors as ``log_partition``.
    """
    deadline = limits.Deadline.after(timeout)
    graph, buckets = _prepare(graph, i_bound, memory, deadline)
    best, passes, ends = _fit_maxima(buckets, iterations, deadline)
    states = best.states
    if not buckets.tree.is_exact:
        rng = randomness.generator(seed, "mini_bucket")
        found = feasible.search(buckets.model, rng, start=states, deadline=deadline)
        states = states if found.states is None else found.states
        ends = [*ends, found.status]
    bound, info = buckets.model.total(best.bound), buckets.info(deadline, passes, *ends)
    return entries.best(graph, buckets.model, states, bound, best.error), info


def marginals(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    i_bound: int | None = None,
    iterations: int = 100,
) -> tuple[np.ndarray, Info]:
    """Pseudo-marginals float64 [V, S] of the upper bound, averaged over the parts of a bucket.

    Exact where no bucket is split, otherwise without a claim; all zero where Z = 0 was proven.
    Arguments and errors as ``log_partition``.
    """
    deadline = limits.Deadline.after(timeout)
    graph, buckets = _prepare(graph, i_bound, memory, deadline)
    above = _fit(buckets, cost_shifting.positive, 1.0, iterations, deadline)
    rows = [np.zeros(size) for size in buckets.tree.sizes]
    if buckets.model.total(above.sums.log_value) > -math.inf:
        joints, _ = power_sums.downward(buckets.tree, above.sums)
        for position, bucket in enumerate(buckets.tree.buckets):
            size = buckets.tree.sizes[position]
            parts = [joints[node].reshape(size, -1).sum(axis=1) for node in bucket]
            rows[position] = np.mean(parts, axis=0)
    info = buckets.info(deadline, above.passes, above.status)
    return buckets.model.by_variable(graph, rows), info


class _Maxima(NamedTuple):
    """A bound of every score without the constants, its rounding, and what it decodes to."""

    bound: float
    error: float
    states: np.ndarray


def _fit_maxima(
    buckets: _Buckets, iterations: int, deadline: limits.Deadline
) -> tuple[_Maxima, int, list[str]]:
    """The lowest bound at any temperature, the passes taken, and how the fits ended."""
    vector = cost_shifting.zeros(buckets.tree, buckets.shifts)
    maxima, passes = [_maxima(buckets, vector)], 1
    ends: list[str] = []
    for temperature in () if buckets.tree.is_exact else TEMPERATURES:
        weigh = functools.partial(cost_shifting.positive, total=temperature)
        fitted = _fit(buckets, weigh, 1.0, iterations, deadline.part(1 / 3), vector)
        vector = fitted.vector
        maxima.append(_maxima(buckets, vector))
        passes += fitted.passes + 1
        ends.append(fitted.status)
        if fitted.status == "interrupted" or deadline.has_passed():
            break
    return min(maxima, key=lambda one: one.bound + one.error), passes, ends


def _maxima(buckets: _Buckets, vector: np.ndarray) -> _Maxima:
    weights = np.zeros(len(buckets.tree.cliques))
    sums, error = buckets.sums(vector, weights), buckets.error(vector, weights)
    return _Maxima(sums.log_value, error, power_sums.decode(buckets.tree, sums))


def _prepare(
    graph: factor_graph.FactorGraph,
    i_bound: int | None,
    memory: float | None,
    deadline: limits.Deadline = limits.NEVER,
) -> tuple[factor_graph.FactorGraph, _Buckets]:
    """The graph with tables alone, in mini-buckets for the order whose bound begins lowest.

    A fifth of the time may go into trying orders.
    """
    memory, trials = MEMORY if memory is None else memory, deadline.part(0.2)
    graph = entries.tabulate(graph, memory)
    best: tuple[float, _Buckets] | None = None
    for order_fn in ORDERS:
        model = bucket_tree.prepare(graph, order_fn)
        tree, grown = _grow(model, i_bound, memory)
        shifts = cost_shifting.shifts(tree)
        tables = power_sums.fill(tree, [table for _, table in model.factors])
        sizes = power_sums.sizes_of(tree, [factor_graph.magnitude(t) for _, t in model.factors])
        even, _ = cost_shifting.positive(tree, np.zeros(len(tree.cliques)))
        upper = power_sums.upward(tree, tables, even).log_value
        if best is None or tree.is_exact or upper < best[0]:
            best = upper, _Buckets(model, tree, shifts, tables, sizes, grown)
        if tree.is_exact or trials.has_passed():
            break
    assert best is not None
    return graph, best[1]


def _grow(
    model: bucket_tree.Model, i_bound: int | None, memory: float
) -> tuple[power_sums.Tree, int]:
    """The tree of the i-bound, or of the largest one that keeps a pass short.

    Raises:
      ValueError: its tables need more mebibytes.
    """
    if i_bound is None:
        most = min(_PASS_ENTRIES, int(memory * limits.MEBIBYTE) // _ENTRY_BYTES)
        tree, i_bound = _largest(model, most)
    elif i_bound >= 0:
        tree = _tree(model, i_bound)
    else:
        raise ValueError(f"expected an i-bound of at least 0, given {i_bound}")
    what = f"tables for an i-bound of {i_bound}"
    limits.require_memory(_ENTRY_BYTES * tree.num_entries, memory, what)
    return tree, i_bound


def _tree(model: bucket_tree.Model, i_bound: int) -> power_sums.Tree:
    scopes = [scope for scope, _ in model.factors]
    return power_sums.grow(model.plan.sizes, scopes, 2.0 ** (i_bound + 1))


def _largest(model: bucket_tree.Model, most: int) -> tuple[power_sums.Tree, int]:
    """The tree of the largest i-bound with at most so many entries; at the least of 0."""
    i_bound = max(1, int(math.log2(most / (4 * len(model.plan.sizes) + 1) + 1)))
    tree = _tree(model, i_bound)
    while tree.num_entries > most and i_bound > 0:
        i_bound -= 1
        tree = _tree(model, i_bound)
    while not tree.is_exact:
        larger = _tree(model, i_bound + 1)
        if larger.num_entries > most:
            break
        tree, i_bound = larger, i_bound + 1
    return tree, i_bound


Detail = tuple[np.ndarray, power_sums.PowerSums]  # the weights, and what they sum to


class _Fitted(NamedTuple):
    """The best bound of a fit, and how it was found."""

    sums: power_sums.PowerSums
    error: float
    vector: np.ndarray
    passes: int
    status: str


def _fit(
    buckets: _Buckets,
    weigh: cost_shifting.Weigh,
    sign: float,
    iterations: int,
    deadline: limits.Deadline,
    start: np.ndarray | None = None,
) -> _Fitted:
    """Minimises ``sign`` times the bound over shifts and weights; at least one evaluation."""
    tree, shifts = buckets.tree, buckets.shifts
    vector = cost_shifting.zeros(tree, shifts) if start is None else start
    box = np.full(len(vector), np.inf)
    box[len(vector) - len(tree.cliques) :] = _LOG_WEIGHT

    def evaluate(at: np.ndarray) -> tuple[float, np.ndarray, Detail]:
        weights, pull = weigh(tree, at[len(at) - len(tree.cliques) :])
        sums = buckets.sums(at, weights)
        if not math.isfinite(sums.log_value):
            return sign * sums.log_value, np.zeros_like(at), (weights, sums)
        gradient = sign * cost_shifting.gradient(tree, sums, shifts, pull)
        return sign * sums.log_value, gradient, (weights, sums)

    steps = iterations if shifts else 0
    found = descent.minimize(evaluate, vector, iterations=steps, deadline=deadline, box=box)
    weights, sums = found.detail
    error = buckets.error(found.vector, weights)
    return _Fitted(sums, error, found.vector, found.evaluations, found.status)
