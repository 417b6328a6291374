"""Exact log Z, marginals and maximisers by bucket elimination.

    >>> graph = factor_graph.build([2, 2], [((0, 1), [[0.0, -np.inf], [0.0, 0.0]])])
    >>> estimate, info = log_partition(graph)
    >>> round(math.exp(estimate.log_value), 9), info.width
    (3.0, 1)

One path serves sum and maximum: the function that reduces an axis is an argument (Dechter, "Bucket
elimination: a unifying framework for reasoning", 1999). Marginals take one more pass, down the tree
of buckets (Lauritzen and Spiegelhalter, "Local computations with probabilities on graphical
structures", 1988). Time and memory grow with exp(width) of the order, which is found first: what
does not fit is refused as ``TooWide``. All is numpy float64 in log space without any compilation,
except ``compile_log_partition``, for repeats, batches and gradients.
"""

import functools
import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from inference import answer, estimate, limits
from inference.exact import bucket_tree, orders, passes
from inference.problems import factor_graph, trivial
from inference.problems.factor_graph import Array

MEMORY = 2048  # mebibytes
_EPSILON = 2.0**-52


class TooWide(ValueError):
    """The tables do not fit into the memory allowed."""

    def __init__(self, width: int, bytes_needed: int, memory: float):
        super().__init__(
            f"expected a model that needs at most {memory:.6g} MiB of tables, "
            f"given one that needs {bytes_needed / limits.MEBIBYTE:.6g} MiB (width {width})"
        )
        self.width, self.bytes_needed = width, bytes_needed


class Info(NamedTuple):
    """What an elimination took.

    Attributes:
      status: "done" or "timeout"; after the latter the figures are those of no elimination.
      seconds: wall time, the choice of the order included.
      order: variables as they were eliminated.
      width: induced width, the most variables in one message; a fixed variable counts nowhere.
      bytes_needed: of all tables held at one time, beyond the problem itself.
      log_value: log Z, or the greatest log-score, in nats; NaN where it is not known.
      error: bound on the error of what is returned: nats of ``log_value``, or of each probability.
    """

    status: str
    seconds: float
    order: tuple[int, ...] = ()
    width: int = 0
    bytes_needed: int = 0
    log_value: float = math.nan
    error: float = math.inf


def log_partition(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    order_fn: orders.Order | None = None,
) -> tuple[estimate.Estimate, Info]:
    """Exact log Z with a CERTAIN interval as wide as the rounding errors.

    Args:
      graph: clauses and parities are turned into tables.
      seed: nothing is drawn.
      timeout: seconds, looked at between buckets and between orders; then ``trivial``'s bounds.
      memory: mebibytes the tables may take, by default ``MEMORY``.
      order_fn: finds the order of elimination, by default the cheapest of ``orders.RULES``.

    Raises:
      TooWide: the tables need more than ``memory`` mebibytes.
    """
    deadline = limits.Deadline.after(timeout)
    try:
        model = _prepare(graph, order_fn, deadline)
        needed = _check_memory(model, model.plan.peak_entries, memory)
        log_value, _, _ = passes.upward(model, passes.log_sum, keep=False, deadline=deadline)
    except limits.OutOfTime:
        return trivial.log_partition(graph), Info("timeout", deadline.seconds)
    error = rounding_error(model, log_value) + float(graph.log_error)
    return estimate.certain(log_value, error), _info(model, deadline, needed, log_value, error)


def marginals(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    order_fn: orders.Order | None = None,
) -> tuple[np.ndarray, Info]:
    """Probabilities of the states of each variable, float64 [V, S]; all zero where Z = 0.

    Each is off by at most ``Info.error``; when time runs out they are those of each variable
    without its neighbours, and the error is infinite. Arguments and errors as ``log_partition``.
    """
    deadline = limits.Deadline.after(timeout)
    try:
        model = _prepare(graph, order_fn, deadline)
        # The messages, their probabilities, and the table of a bucket with the sum it passes on.
        largest = max(map(model.plan.entries, model.plan.cliques), default=0)
        needed = _check_memory(model, 2 * (model.plan.message_entries + largest), memory)
        up = passes.upward(model, passes.log_sum, keep=True, deadline=deadline)
        log_value, probabilities = up[0], np.zeros(graph.log_unary.shape)
        if log_value > -np.inf:
            rows = passes.downward(model.plan, *up[1:], deadline)
            probabilities = model.by_variable(graph, rows)
    except limits.OutOfTime:
        return trivial.marginals(graph), Info("timeout", deadline.seconds)
    error = _marginal_error(model, log_value, float(graph.log_error))
    return probabilities, _info(model, deadline, needed, log_value, error)


def maximize(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    order_fn: orders.Order | None = None,
) -> tuple[answer.Answer, Info]:
    """An assignment of greatest log-score: OPTIMAL, or INFEASIBLE where every score is -inf.

    ``value`` is its log-score in nats, ``bound`` is above it by the rounding errors alone, and
    ``assignments`` is int64 [1, V]; when time runs out they are those of ``trivial.maximize``.
    Arguments and errors as ``log_partition``.
    """
    deadline = limits.Deadline.after(timeout)
    try:
        model = _prepare(graph, order_fn, deadline)
        needed = _check_memory(model, model.plan.message_entries, memory)
        log_value, buckets, _ = passes.upward(model, passes.maximum, keep=True, deadline=deadline)
    except limits.OutOfTime:
        return trivial.maximize(graph), Info("timeout", deadline.seconds)
    error, log_error = rounding_error(model, log_value), float(graph.log_error)
    assignment = _decode(model, buckets)
    value = factor_graph.score(graph, assignment) if log_value > -np.inf else -np.inf
    info = _info(model, deadline, needed, log_value, error)
    best = answer.best(assignment[None], value, log_value, error, log_error, seconds=info.seconds)
    return best, info


def compile_log_partition(
    graph: factor_graph.FactorGraph,
    *,
    memory: int | None = None,
    order_fn: orders.Order = orders.best,
) -> Callable[[factor_graph.FactorGraph], Array]:
    """A jitted function from graphs with the structure of this one to log Z in nats.

    The structure is ``num_states`` and the variables of the groups; it is taken from ``graph`` once
    and not looked at again, while hard zeros may change. ``vmap`` and ``grad`` work, in the dtype
    of the arrays; the gradient by ``log_unary`` is the marginals, 0 at hard zeros and where Z = 0.
    Compilation takes seconds for a few hundred variables: ``log_partition`` needs none.

    Raises:
      TooWide: what a float64 gradient keeps needs more than ``memory`` mebibytes, by default
        ``MEMORY``.
      ValueError: the graph has clauses or parities; ``factor_graph.tabulate`` it first.
    """
    import jax
    import jax.numpy as jnp

    if not all(isinstance(group, factor_graph.FactorGroup) for group in graph.groups):
        raise ValueError("expected table factors alone, given clauses or parities")
    sizes = graph.num_states.tolist()
    scopes = [[v] for v in range(graph.num_variables)]
    scopes += [scope for group in graph.groups for scope in group.variables.tolist()]
    plan = bucket_tree.make_plan(scopes, sizes, order_fn)
    _require(plan, 8 * sum(map(plan.entries, plan.cliques)), memory)
    expected = jax.tree.map(np.shape, graph)

    def compiled_log_partition(graph: factor_graph.FactorGraph) -> Array:
        given = jax.tree.map(np.shape, graph)
        if given != expected:
            raise ValueError(f"expected a graph of shapes {expected}, given {given}")
        tables = [jnp.asarray(graph.log_unary)[v, :size] for v, size in enumerate(sizes)]
        tables += [table for group in graph.groups for table in jnp.asarray(group.log_potentials)]
        buckets = bucket_tree.fill(plan, scopes, tables)
        total = jnp.asarray(graph.log_constant)
        for clique, bucket in zip(plan.cliques, buckets, strict=True):
            aligned = [bucket_tree.aligned(plan, clique, *item) for item in bucket]
            message = _traced_log_sum(functools.reduce(operator.add, aligned))
            if len(clique) > 1:
                buckets[clique[1]].append((clique[1:], message))
            else:
                total = total + message
        return jnp.where(total > -jnp.inf, total, -jnp.inf)  # cuts the gradient where Z = 0

    return jax.jit(compiled_log_partition)


def _traced_log_sum(table: Array) -> Array:
    """As ``passes.log_sum``, for traced tables, without NaN in the gradient."""
    import jax
    import jax.numpy as jnp

    shift = jax.lax.stop_gradient(jnp.max(table, axis=0, keepdims=True))
    shift = jnp.maximum(shift, jnp.finfo(table.dtype).min)
    total = jnp.sum(jnp.exp(table - shift), axis=0)
    # The inner where keeps the derivative of log away from 0, where it makes inf * 0 = NaN.
    return jnp.where(total > 0, jnp.log(jnp.where(total > 0, total, 1.0)) + shift[0], -jnp.inf)


def _prepare(
    graph: factor_graph.FactorGraph, order_fn: orders.Order | None, deadline: limits.Deadline
) -> bucket_tree.Model:
    deadline.check()
    if order_fn is None:
        order_fn = orders.cheapest(*orders.RULES, deadline=deadline)
    return bucket_tree.prepare(graph, order_fn)


def _decode(model: bucket_tree.Model, buckets: list[bucket_tree.Bucket]) -> np.ndarray:
    """The best states given those chosen before, from the last variable to the first: [V]."""
    chosen = np.zeros(len(buckets), dtype=np.int64)  # by position
    for at in reversed(range(len(buckets))):
        rows = (table[(slice(None), *chosen[scope[1:]])] for scope, table in buckets[at])
        chosen[at] = np.argmax(sum(rows, np.zeros(model.plan.sizes[at])))
    return model.assignment(chosen)


def _info(
    model: bucket_tree.Model,
    deadline: limits.Deadline,
    needed: int,
    log_value: float,
    error: float,
) -> Info:
    order, width = model.plan.order, model.plan.width
    return Info("done", deadline.seconds, order, width, needed, log_value, error)


def _check_memory(model: bucket_tree.Model, entries: int, memory: int | None) -> int:
    """Bytes of so many entries, the factors (they may be copies) and the block worked on."""
    factors = sum(table.size for _, table in model.factors)
    return _require(model.plan, 8 * (entries + factors + 4 * passes.BLOCK), memory)


def _require(plan: bucket_tree.Plan, needed: int, memory: int | None) -> int:
    allowed = MEMORY if memory is None else memory
    if needed > allowed * limits.MEBIBYTE:
        raise TooWide(plan.width, needed, allowed)
    return needed


def rounding_error(model: bucket_tree.Model, log_value: float) -> float:
    """Bound on the error of the upward pass in nats, of first order with a factor 2 to spare.

    Let u = 2^-53 and let the t tables of a bucket with S states be bounded by B in sum (finite
    entries). Adding them errs by at most (t - 1) u B, since no partial sum exceeds B. Subtracting
    the maximum errs by u d at distance d below it, which moves the sum of exponentials, at least 1,
    by u d exp(-d) <= u / e per term; exp errs by 8 u (NumPy's vector library stays within 4 units
    in the last place) and the summation by (S - 1) u: together (2 S + 7) u of the sum. Its
    logarithm, at most log S, errs by 8 u log S, and adding the maximum back by u (B + log S). Log-
    sum-exp and maximum do not enlarge errors of their input, and each message is used once: so the
    errors of all buckets add up. The message is bounded by B + log S.
    """
    plan, error = model.plan, abs(log_value)  # the last term: adding up all constants at once
    for (count, bound), states in zip(_loads(model), plan.sizes, strict=True):
        error += count * bound + 2 * states + 7 + 9 * math.log(states)
    return _EPSILON * error


def _marginal_error(model: bucket_tree.Model, log_value: float, log_error: float) -> float:
    """Bound on the error of every probability, of first order with a factor 2 to spare.

    The computed messages are the exact ones of a model whose log-scores are off by at most E in
    all, E of ``rounding_error``: there numerator and Z of a probability each move by at most E.
    On the way down, dividing by a computed message instead of the exact sum brings its own error
    back, at most E again, besides the rounding D below; dividing a row by its sum doubles both. So
    4 E + 2 D; where ``log_error`` moves the scores themselves, twice that more.

    For D, a bucket of t tables bounded by B in sum, with S states and n entries, adds t
    tables to zeros and subtracts the message (t u B + u (2 B + log S)), takes exp (8 u), multiplies
    (u), and adds up at most n products, for its child and for the row ((n - 1) u each); the row is
    divided by its sum ((S + 1) u). Each is relative and met at most once by any row, so all add up.
    What underflows is below 1e-300.
    """
    if log_value == -np.inf:
        return 0.0  # they are all zero, as they should be
    plan, units = model.plan, 0.0
    for at, (count, bound) in enumerate(_loads(model)):
        states = plan.sizes[at]
        units += (count + 2) * bound + math.log(states) + states + 10
        units += 2 * plan.entries(plan.cliques[at])
    relative = 4 * rounding_error(model, log_value) + 2 * _EPSILON * units + 2 * log_error
    return math.expm1(min(relative, 700.0)) + 1e-300


def _loads(model: bucket_tree.Model) -> list[tuple[int, float]]:
    """How many tables each bucket adds up, messages included, and what bounds their sum."""
    plan = model.plan
    loads = [(0, 0.0)] * len(plan.order)

    def add(at: int, bound: float) -> None:
        loads[at] = loads[at][0] + 1, loads[at][1] + bound

    for scope, table in model.factors:
        add(scope[0], float(factor_graph.magnitude(table)))
    for at, clique in enumerate(plan.cliques):
        if len(clique) > 1:
            add(clique[1], loads[at][1] + math.log(plan.sizes[at]))
    return loads
