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
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import optimize

from inference import answer, estimate
from inference.exact import bucket_tree, orders
from inference.message_passing import mini_bucket_tree as trees
from inference.problems import factor_graph

MEMORY_LIMIT = 2**31  # bytes
_PASS_ENTRIES = 2**21  # of all tables, where the i-bound is chosen here: a pass takes about 0.1 s
_SHIFT_ENTRIES = 2**5  # of each cost that is moved
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


class _Shift(NamedTuple):
    """A table over what two mini-buckets share: added to the one, taken from the other."""

    nodes: tuple[int, int]
    shapes: list[list[int]]
    others: list[tuple[int, ...]]
    place: slice  # in the vector of all parameters


class _Fitted(NamedTuple):
    """The best bound of a fit, and how it was found."""

    value: float
    error: float
    sums: trees.Sums
    vector: np.ndarray
    passes: int
    status: str


Weigh = Callable[[trees.Tree, np.ndarray], tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]]


def log_partition(
    graph: factor_graph.FactorGraph,
    *,
    i_bound: int | None = None,
    iterations: int = 100,
    timeout: float | None = None,
    memory_limit: int = MEMORY_LIMIT,
    order_fn: orders.Order = orders.best,
) -> tuple[estimate.Estimate, Info]:
    """Bounds of log Z on both sides, CERTAIN; the value is the upper one.

    Where no bucket is split the interval is as wide as the rounding. The lower side is the better
    of the reverse inequality and the score of one assignment; with hard zeros it may be -inf.

    Args:
      graph: clauses and parities become tables.
      i_bound: by default the largest for which a pass takes about a tenth of a second.
      iterations: most steps of L-BFGS for each side; 0 evaluates once.
      timeout: seconds, after which the best bounds so far are returned.
      memory_limit: bytes.
      order_fn: order of elimination.

    Raises:
      ValueError: the tables need more memory, or a clause is too wide for one.
    """
    start = time.monotonic()
    graph = factor_graph.tabulate(graph)
    model = bucket_tree.prepare(graph, order_fn)
    tree, i_bound = _grow(model, i_bound, memory_limit)
    tables = trees.fill(tree, [table for _, table in model.factors])
    left = (math.inf if timeout is None else timeout) - (time.monotonic() - start)
    above = _fit(tree, tables, _positive, 1.0, iterations, 0.7 * left)
    upper = above.value + model.constant
    error = above.error + float(graph.log_error) + 2.0**-50 * (abs(model.constant) + abs(upper))
    if tree.is_exact:
        info = Info(above.status, 1, i_bound, True, time.monotonic() - start)
        return estimate.certain(upper, error if upper > -math.inf else 0.0), info
    lower, status, passes = assignment_bound(graph, _decoded(model, tree, above)), above.status, 0
    if status != "interrupted":
        left = math.inf if timeout is None else timeout - (time.monotonic() - start)
        below = _fit(tree, tables, _reverse, -1.0, iterations, left)
        slack = below.error + float(graph.log_error) + 2.0**-50 * abs(model.constant)
        lower = max(lower, below.value + model.constant - slack - 2.0**-50 * abs(below.value))
        status, passes = below.status if status == "done" else status, below.passes
    info = Info(status, above.passes + passes, i_bound, False, time.monotonic() - start)
    return estimate.bounded(upper + error, lower, upper + error, 0.0, 0.0), info


def maximize(
    graph: factor_graph.FactorGraph,
    *,
    i_bound: int | None = None,
    iterations: int = 100,
    timeout: float | None = None,
    memory_limit: int = MEMORY_LIMIT,
    order_fn: orders.Order = orders.best,
) -> answer.Answer:
    """A decoded assignment int64 [1, V] and a proven upper bound of every log-score.

    The cost shifts are fitted to the bound of log Z at falling temperatures, where it approaches
    the maximum, and then maxima are taken. Arguments and errors as ``log_partition``.
    """
    start = time.monotonic()
    graph = factor_graph.tabulate(graph)
    model = bucket_tree.prepare(graph, order_fn)
    tree, i_bound = _grow(model, i_bound, memory_limit)
    tables = trees.fill(tree, [table for _, table in model.factors])
    shifts = _shifts(tree)
    vector, bound, best = _zeros(tree, shifts), math.inf, -math.inf
    assignment = np.zeros((1, graph.num_variables), dtype=np.int64)
    status = "done"
    for temperature in (0.0,) if tree.is_exact else (0.0, 1.0, 0.1, 0.01):
        left = math.inf if timeout is None else timeout - (time.monotonic() - start)
        if status != "done" or left <= 0 < temperature:
            break
        if temperature:
            weigh = functools.partial(_positive, total=temperature)
            fitted = _fit(tree, tables, weigh, 1.0, iterations, left / 2, vector)
            vector, status = fitted.vector, "done" if fitted.status == "timeout" else fitted.status
        moved = _move(tables, shifts, vector)
        sums = trees.upward(tree, moved, np.zeros(len(tree.cliques)), keep=True)
        error = trees.rounding_error(tree, moved, np.zeros(len(tree.cliques)))
        value = sums.log_value + model.constant
        bound = min(bound, value + error + 2.0**-50 * (abs(value) + abs(model.constant)))
        candidate = _assignment(model, trees.decode(tree, sums))
        score = float(factor_graph.log_score(graph, candidate)[0])
        if score > best:
            best, assignment = score, candidate
    seconds = time.monotonic() - start
    if bound == -math.inf:
        return answer.Answer(answer.Status.INFEASIBLE, -math.inf, -math.inf, seconds=seconds)
    if best == -math.inf:
        return answer.Answer(answer.Status.UNKNOWN, -math.inf, bound, seconds=seconds)
    solved = answer.Status.OPTIMAL if tree.is_exact else answer.Status.FEASIBLE
    return answer.Answer(solved, best, max(bound, best), assignment, seconds)


def assignment_bound(graph: factor_graph.FactorGraph, assignment: np.ndarray) -> float:
    """The log-score of an assignment [V], less its rounding: a lower bound of log Z."""
    score = float(factor_graph.log_score(graph, assignment))
    if score == -math.inf:
        return score
    sizes = [np.abs(graph.log_unary[np.arange(len(assignment)), assignment])]
    for group in graph.groups:
        sizes.append(
            factor_graph.magnitude(group.log_potentials.reshape(len(group.variables), -1), axis=1)
        )
    terms = np.concatenate([*sizes, np.abs([graph.log_constant])])
    return score - float(graph.log_error) - 2.0**-53 * (len(terms) + 1) * float(terms.sum())


def _grow(
    model: bucket_tree.Model, i_bound: int | None, memory_limit: int
) -> tuple[trees.Tree, int]:
    """The tree of the i-bound, or of the largest one that keeps a pass short."""
    scopes = [scope for scope, _ in model.factors]
    if i_bound is not None:
        if i_bound < 0:
            raise ValueError(f"expected an i-bound of at least 0, given {i_bound}")
        tree = trees.grow(model.plan.sizes, scopes, 2.0 ** (i_bound + 1))
    else:
        tree, i_bound = trees.grow(model.plan.sizes, scopes, 4.0), 1
        while not tree.is_exact and i_bound < 20:
            larger = trees.grow(model.plan.sizes, scopes, 2.0 ** (i_bound + 2))
            if 24 * larger.num_entries > memory_limit or larger.num_entries > _PASS_ENTRIES:
                break
            tree, i_bound = larger, i_bound + 1
    needed = 24 * tree.num_entries  # tables, shares and joint probabilities
    if needed > memory_limit:
        expected = f"expected tables of at most {memory_limit} bytes"
        raise ValueError(f"{expected}, given an i-bound of {i_bound} that needs {needed}")
    return tree, i_bound


def _shifts(tree: trees.Tree) -> list[_Shift]:
    """One table per further mini-bucket of a split bucket, shared with the first."""
    found, at = [], 0
    for bucket in tree.buckets:
        for node in bucket[1:]:
            nodes = (bucket[0], node)
            shared = sorted(set(tree.cliques[nodes[0]]) & set(tree.cliques[node]))
            while math.prod(tree.sizes[v] for v in shared) > _SHIFT_ENTRIES and len(shared) > 1:
                shared.pop()
            cliques = [tree.cliques[one] for one in nodes]
            size = math.prod(tree.sizes[v] for v in shared)
            shapes = [tree.shape(shared, clique) for clique in cliques]
            others = [tree.others(shared, clique) for clique in cliques]
            found.append(_Shift(nodes, shapes, others, slice(at, at + size)))
            at += size
    return found


def _zeros(tree: trees.Tree, shifts: list[_Shift]) -> np.ndarray:
    """All parameters: the shifts, then one number for the weight of each mini-bucket."""
    return np.zeros((shifts[-1].place.stop if shifts else 0) + len(tree.cliques))


def _move(tables: list[np.ndarray], shifts: list[_Shift], vector: np.ndarray) -> list[np.ndarray]:
    moved = list(tables)
    for shift in shifts:
        for node, shape, sign in zip(shift.nodes, shift.shapes, (-1.0, 1.0), strict=True):
            moved[node] = moved[node] + sign * vector[shift.place].reshape(shape)
    return moved


def _positive(
    tree: trees.Tree, logits: np.ndarray, total: float = 1.0
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Positive weights, ``total`` in each bucket, and what turns their gradient into logits'."""
    owner = np.array([clique[0] for clique in tree.cliques])
    powers = np.exp(logits)
    shares = powers / np.bincount(owner, powers)[owner]

    def pull(gradient: np.ndarray) -> np.ndarray:
        return total * shares * (gradient - np.bincount(owner, shares * gradient)[owner])

    return total * shares, pull


def _reverse(
    tree: trees.Tree, logits: np.ndarray
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """One weight of each bucket at least 1, the others negative, 1 together."""
    owner = np.array([clique[0] for clique in tree.cliques])
    is_first = np.zeros(len(owner), dtype=bool)
    is_first[[bucket[0] for bucket in tree.buckets]] = True
    negative = np.where(is_first, 0.0, -np.exp(logits - 3.0))
    weights = np.where(is_first, 1.0 - np.bincount(owner, negative)[owner], negative)

    def pull(gradient: np.ndarray) -> np.ndarray:
        first = np.bincount(owner, np.where(is_first, gradient, 0.0))[owner]
        return negative * (gradient - first)

    return weights, pull


class _OutOfTime(Exception):
    """A fit is at its time limit."""


def _fit(
    tree: trees.Tree,
    tables: list[np.ndarray],
    weigh: Weigh,
    sign: float,
    iterations: int,
    seconds: float,
    start: np.ndarray | None = None,
) -> _Fitted:
    """Minimises ``sign`` times the bound over shifts and weights; at least one evaluation."""
    shifts = _shifts(tree)
    vector = _zeros(tree, shifts) if start is None else start
    deadline, best, passes = (
        time.monotonic() + seconds,
        _Fitted(sign * math.inf, 0.0, trees.Sums(0.0, [], [], []), vector, 0, "done"),
        0,
    )

    def evaluate(at: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal best, passes
        if passes and time.monotonic() > deadline:
            raise _OutOfTime
        passes += 1
        weights, pull = weigh(tree, at[len(at) - len(tree.cliques) :])
        moved = _move(tables, shifts, at)
        sums = trees.upward(tree, moved, weights, keep=True)
        if sign * sums.log_value < sign * best.value or passes == 1:
            error = trees.rounding_error(tree, moved, weights)
            best = _Fitted(sums.log_value, error, sums, at.copy(), passes, "done")
        return sign * sums.log_value, sign * _gradient(tree, sums, shifts, pull)

    status = "done"
    try:
        value, gradient = evaluate(vector)
        if iterations and shifts and math.isfinite(value):
            limits = np.full(len(vector), np.inf)
            limits[-len(tree.cliques) :] = _LOG_WEIGHT
            optimize.minimize(
                evaluate,
                vector,
                jac=True,
                method="L-BFGS-B",
                bounds=optimize.Bounds(-limits, limits),
                options={"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": 20},
            )
    except _OutOfTime:
        status = "timeout"
    except KeyboardInterrupt:
        status = "interrupted"
    return best._replace(passes=passes, status=status)


def _gradient(
    tree: trees.Tree,
    sums: trees.Sums,
    shifts: list[_Shift],
    pull: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    joints, outer = trees.downward(tree, sums)
    parts = []
    for shift in shifts:
        first, other = (
            joints[node].sum(axis=gone)
            for node, gone in zip(shift.nodes, shift.others, strict=True)
        )
        parts.append((other - first).ravel())
    by_weight = np.array(
        [
            0.0 if entropy is None else float((above * entropy).sum())
            for above, entropy in zip(outer, sums.entropies, strict=True)
        ]
    )
    return np.concatenate([*parts, pull(by_weight)])


def _assignment(model: bucket_tree.Model, chosen: np.ndarray) -> np.ndarray:
    """States [1, V] from those left by position."""
    assignment = np.zeros((1, len(chosen)), dtype=np.int64)
    for variable, state in zip(model.plan.order, chosen, strict=True):
        assignment[0, variable] = model.states[variable][state]
    return assignment


def _decoded(model: bucket_tree.Model, tree: trees.Tree, fitted: _Fitted) -> np.ndarray:
    return _assignment(model, trees.decode(tree, fitted.sums))[0]
