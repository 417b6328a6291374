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
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from inference import answer, estimate, limits
from inference.exact import bucket_tree, orders
from inference.problems import factor_graph

Reduce = Callable[[np.ndarray, np.ndarray], Any]  # (table [S, ...], out [...]); spoils the table

MEMORY = 2048  # mebibytes
_BLOCK = 2**16  # entries worked on at once: half a megabyte stays in the cache
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
      order: variables as they were eliminated.
      width: induced width, the most variables in one message; a fixed variable counts nowhere.
      bytes_needed: of all tables held at one time, beyond the problem itself.
      seconds: wall time, the choice of the order included.
      log_value: log Z in nats.
      error: bound on the error of what is returned: nats of log Z, or of each probability.
    """

    order: tuple[int, ...]
    width: int
    bytes_needed: int
    seconds: float
    log_value: float
    error: float


def log_partition(
    graph: factor_graph.FactorGraph,
    *,
    order_fn: orders.Order = orders.best,
    memory: float = MEMORY,
) -> tuple[estimate.Estimate, Info]:
    """Exact log Z with a CERTAIN interval as wide as the rounding errors.

    Raises:
      TooWide: the tables need more than ``memory`` mebibytes.
    """
    start = time.perf_counter()
    model = bucket_tree.prepare(graph, order_fn)
    needed = _check_memory(model, model.plan.peak_entries, memory)
    log_value, _, _ = _upward(model, _log_sum, keep=False)
    error = _rounding_error(model, log_value) + float(graph.log_error)
    result = estimate.certain(log_value, error)
    seconds = time.perf_counter() - start
    return result, Info(model.plan.order, model.plan.width, needed, seconds, log_value, error)


def marginals(
    graph: factor_graph.FactorGraph,
    *,
    order_fn: orders.Order = orders.best,
    memory: float = MEMORY,
) -> tuple[np.ndarray, Info]:
    """Probabilities of the states of each variable, float64 [V, S]; all zero where Z = 0.

    Each is off by at most ``Info.error``.

    Raises:
      TooWide: the tables need more than ``memory`` mebibytes.
    """
    start = time.perf_counter()
    model = bucket_tree.prepare(graph, order_fn)
    plan = model.plan
    largest = max(map(plan.entries, plan.cliques), default=0)
    # The messages, their probabilities, and the table of a bucket with the sum it passes on.
    needed = _check_memory(model, 2 * plan.message_entries + 2 * largest, memory)
    log_value, buckets, messages = _upward(model, _log_sum, keep=True)
    probabilities = np.zeros(graph.log_unary.shape)
    if log_value > -np.inf:
        rows = _downward(plan, buckets, messages)
        for variable, row in zip(plan.order, rows, strict=True):
            probabilities[variable, model.states[variable]] = row
    error = _marginal_error(model, log_value, float(graph.log_error))
    seconds = time.perf_counter() - start
    return probabilities, Info(plan.order, plan.width, needed, seconds, log_value, error)


def maximize(
    graph: factor_graph.FactorGraph,
    *,
    order_fn: orders.Order = orders.best,
    memory: float = MEMORY,
) -> answer.Answer:
    """An assignment of greatest log-score: OPTIMAL, or INFEASIBLE where every score is -inf.

    ``value`` is its log-score in nats, ``bound`` is above it by the rounding errors alone, and
    ``assignments`` is int64 [1, V].

    Raises:
      TooWide: the tables need more than ``memory`` mebibytes.
    """
    start = time.perf_counter()
    model = bucket_tree.prepare(graph, order_fn)
    plan = model.plan
    _check_memory(model, plan.message_entries, memory)
    log_value, buckets, _ = _upward(model, _maximum, keep=True)
    if log_value == -np.inf:
        seconds = time.perf_counter() - start
        return answer.Answer(answer.Status.INFEASIBLE, -np.inf, -np.inf, seconds=seconds)
    chosen = np.zeros(len(plan.order), dtype=np.int64)  # by position
    for at in reversed(range(len(plan.order))):
        rows = (table[(slice(None), *chosen[scope[1:]])] for scope, table in buckets[at])
        chosen[at] = np.argmax(sum(rows, np.zeros(plan.sizes[at])))
    assignment = np.zeros((1, len(plan.order)), dtype=np.int64)
    for variable, state in zip(plan.order, chosen, strict=True):
        assignment[0, variable] = model.states[variable][state]
    value, error = factor_graph.score(graph, assignment[0]), _rounding_error(model, log_value)
    seconds = time.perf_counter() - start
    return answer.best(assignment, value, log_value, error, float(graph.log_error), seconds=seconds)


def compile_log_partition(
    graph: factor_graph.FactorGraph,
    *,
    order_fn: orders.Order = orders.best,
    memory: float = MEMORY,
) -> Callable[[factor_graph.FactorGraph], Any]:
    """A jitted function from graphs with the structure of this one to log Z in nats.

    The structure is ``num_states`` and the variables of the groups; it is taken from ``graph`` once
    and not looked at again, while hard zeros may change. ``vmap`` and ``grad`` work, in the dtype
    of the arrays; the gradient by ``log_unary`` is the marginals, 0 at hard zeros and where Z = 0.
    Compilation takes seconds for a few hundred variables: ``log_partition`` needs none.

    Raises:
      TooWide: what a float64 gradient keeps needs more than ``memory`` mebibytes.
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
    needed = 8 * sum(map(plan.entries, plan.cliques))
    if needed > memory * limits.MEBIBYTE:
        raise TooWide(plan.width, needed, memory)
    expected = jax.tree.map(np.shape, graph)

    def compiled_log_partition(graph: factor_graph.FactorGraph) -> Any:
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


def _traced_log_sum(table: Any) -> Any:
    """As ``_log_sum``, for traced tables, without NaN in the gradient."""
    import jax
    import jax.numpy as jnp

    shift = jax.lax.stop_gradient(jnp.max(table, axis=0, keepdims=True))
    shift = jnp.maximum(shift, jnp.finfo(table.dtype).min)
    total = jnp.sum(jnp.exp(table - shift), axis=0)
    # The inner where keeps the derivative of log away from 0, where it makes inf * 0 = NaN.
    return jnp.where(total > 0, jnp.log(jnp.where(total > 0, total, 1.0)) + shift[0], -jnp.inf)


def _upward(model: bucket_tree.Model, reduce_fn: Reduce, *, keep: bool) -> tuple[float, list, list]:
    """Eliminates all variables: the value, and with ``keep`` the buckets and the messages."""
    plan, constants = model.plan, list[float]()
    buckets: list[list] = [[] for _ in plan.order]
    messages: list[Any] = [None] * len(plan.order)
    for scope, table in model.factors:
        buckets[scope[0]].append((scope, table))
    with np.errstate(divide="ignore"):  # the logarithm of a zero sum
        for at, clique in enumerate(plan.cliques):
            if not buckets[at]:
                continue  # a variable with a single state
            message = _eliminate(plan, clique, buckets[at], reduce_fn)
            if len(clique) > 1:
                buckets[clique[1]].append((clique[1:], message))
            else:
                constants.append(message.item())
            if keep:
                messages[at] = message
            else:
                buckets[at] = []
    return model.total(*constants), buckets, messages


def _eliminate(
    plan: bucket_tree.Plan, clique: list[int], bucket: list, reduce_fn: Reduce
) -> np.ndarray:
    """The message of a bucket, made block by block so that only the message takes memory."""
    shape = [plan.sizes[at] for at in clique]
    tables = sorted(
        (bucket_tree.aligned(plan, clique, *item) for item in bucket), key=lambda t: t.size
    )
    while len(tables) > 2 and 16 * tables[0].size * tables[1].size <= _BLOCK:
        tables[:2] = [tables[0] + tables[1]]  # small ones first: fewer passes over the large
    head, entries = 1, math.prod(shape)
    while entries > _BLOCK and head < len(shape):
        entries //= shape[head]
        head += 1
    message, work = np.empty(shape[1:]), np.empty((shape[0], *shape[head:]))
    for index in np.ndindex(*shape[1:head]):
        _add_up([_block(table, index) for table in tables], work)
        reduce_fn(work, message[(*index, ...)])
    return message


def _block(table: np.ndarray, index: tuple[int, ...]) -> np.ndarray:
    """The part at an index of the axes that follow the first; axes of length 1 broadcast."""
    there: list[Any] = [slice(None)]
    there += [i if size > 1 else 0 for i, size in zip(index, table.shape[1:], strict=False)]
    return table[tuple(there)]


def _add_up(tables: list[np.ndarray], out: np.ndarray) -> None:
    if len(tables) == 1:
        np.copyto(out, tables[0])
        return
    np.add(tables[0], tables[1], out=out)
    for table in tables[2:]:
        out += table


def _log_sum(table: np.ndarray, out: np.ndarray) -> None:
    """log(sum(exp(table))) over the first axis; where all is -inf the shift is finite: no NaN."""
    np.max(table, axis=0, out=out)
    shift = np.maximum(out, np.finfo(np.float64).min)
    table -= shift
    np.exp(table, out=table)
    np.sum(table, axis=0, out=out)
    np.log(out, out=out)
    out += shift


def _maximum(table: np.ndarray, out: np.ndarray) -> None:
    np.max(table, axis=0, out=out)


def _downward(plan: bucket_tree.Plan, buckets: list[list], messages: list[Any]) -> list[np.ndarray]:
    """Marginals by position, from the kept upward pass, which is consumed.

    Pr(clique) = Pr(message variables) exp(sum of tables - message), the last variable first; what
    goes to a child is this, summed to the child's message variables. That is the derivative of
    the upward pass, so impossible entries get 0 without a division.
    """
    children: list[list[int]] = [[] for _ in plan.order]
    for at, clique in enumerate(plan.cliques):
        if len(clique) > 1:
            children[clique[1]].append(at)
    probability: list[Any] = [1.0] * len(plan.order)  # of the message variables
    rows: list[Any] = [np.ones(1)] * len(plan.order)
    for at in reversed(range(len(plan.order))):
        clique = plan.cliques[at]
        if not buckets[at]:
            continue
        joint = np.zeros([plan.sizes[other] for other in clique])
        _add_up([joint, *(bucket_tree.aligned(plan, clique, *item) for item in buckets[at])], joint)
        joint -= np.maximum(messages[at], np.finfo(np.float64).min)
        np.exp(joint, out=joint)
        joint *= probability[at]
        rows[at] = joint.reshape(len(joint), -1).sum(axis=1)
        rows[at] /= rows[at].sum()
        for child in children[at]:
            there = set(plan.cliques[child][1:])
            gone = tuple(axis for axis, other in enumerate(clique) if other not in there)
            probability[child] = joint.sum(axis=gone)
        buckets[at], messages[at], probability[at] = [], None, None
    return rows


def _check_memory(model: bucket_tree.Model, entries: int, memory: float) -> int:
    """Bytes of so many entries, the factors (they may be copies) and the block worked on."""
    needed = 8 * (entries + sum(table.size for _, table in model.factors) + 4 * _BLOCK)
    if needed > memory * limits.MEBIBYTE:
        raise TooWide(model.plan.width, needed, memory)
    return needed


def _rounding_error(model: bucket_tree.Model, log_value: float) -> float:
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
    all, E of ``_rounding_error``: there numerator and Z of a probability each move by at most E.
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
    relative = 4 * _rounding_error(model, log_value) + 2 * _EPSILON * units + 2 * log_error
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
