"""Belief propagation neural networks: message passing with a learned operator or readout.

    >>> graph = generators.ising_grid(3, 3, 1.0, 0.1)
    >>> estimate, info = log_partition(graph)
    >>> info.converged, estimate.log_value < elimination.log_partition(graph)[0].log_value
    (True, True)

Kuck, Chakraborty, Tang, Luo, Song, Sabharwal and Ermon, "Belief propagation neural networks"
(NeurIPS 2020). A layer of BPNN-D is a sweep of belief propagation (BP) in which a learned operator
H corrects each fresh message by its difference d = previous - fresh; H(d) = (1 - alpha) d is
damping, H = 0 is BP. Here H(d) = s (g(d) - g(0)) with a small network g for each direction, so
H(0) = 0 and every fixed point of BP is one of BPNN-D. The converse holds for ``Operator``: at a
fixed point d = H(d) + c 1, and the two entries of d have opposite signs because both messages are
normalised, so |d|_1 = |d_0 - d_1| = |H(d)_0 - H(d)_1| <= L |d|_1, where L is the Lipschitz
constant in the 1-norm; its weights are scaled so that L <= s < 1. At a fixed point the Bethe value
is therefore exact on trees, and a lower bound on log Z for attractive binary pairwise models
(Ruozzi, "The Bethe partition function of log-supermodular graphical models", NeurIPS 2012): there,
and only where it converged. ``Readout`` is BPNN-B: a network in place of the Bethe value, without
these guarantees. The claim of all entries is NONE.

All variables have two states. Functions of arrays run under ``jit`` and ``grad``, and ``vmap`` over
what ``stack`` returns, with ``stacked_axes``; operators are pytrees that can be called.
"""

import functools
import itertools
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from inference import estimate, training
from inference.message_passing import rules
from inference.problems import factor_graph

WEIGHTS = Path(__file__).parent / "weights"
CERTAIN = 100.0  # log ratio of a message that starts all-up; -100 for all-down
_CHUNK = 50  # sweeps between two looks at the clock

Operators = tuple[Callable[[Any], Any], Callable[[Any], Any]]  # for messages to factors, variables


class Messages(NamedTuple):
    """One array per factor group: normalised log messages [F, k, 2] in both directions."""

    to_factors: tuple[Any, ...]
    to_variables: tuple[Any, ...]


class Beliefs(NamedTuple):
    """Normalised log-probabilities: ``variables`` [V, 2], ``factors`` [F, 2, ..., 2] per group."""

    variables: Any
    factors: tuple[Any, ...]


class Info(NamedTuple):
    """How a run of BPNN-D ended.

    Attributes:
      status: "done", "timeout" or "interrupted".
      iterations: sweeps over all messages.
      converged: whether the largest change of a log ratio fell below the tolerance.
      residual: that change in the last sweep.
    """

    status: str
    iterations: int
    converged: bool
    residual: float


class Operator(nnx.Module):
    """H(d) = s (g(d) - g(0)), g(d) = relu(W2 relu(W1 d + b1) + b2), with 12 trained numbers.

    Starts near s relu(d), as published; ``key`` adds normal noise of size ``noise``. The rate s is
    not trained.
    """

    def __init__(self, rate: float = 0.05, key: Any = None, noise: float = 0.0):
        if not 0 <= rate < 1:
            raise ValueError(f"expected a rate in [0, 1), given {rate}")
        keys = jax.random.split(jax.random.key(0) if key is None else key, 4)
        draw = [noise * jax.random.normal(k, (2, 2), jnp.float32) for k in keys]
        self.rate = nnx.Param(jnp.asarray(rate, jnp.float32))
        self.weights = nnx.Param(jnp.stack([jnp.eye(2) + draw[0], jnp.eye(2) + draw[1]]))
        self.biases = nnx.Param(jnp.stack([draw[2][0], draw[3][0]]))

    def __call__(self, difference: jax.Array) -> jax.Array:
        """Corrections [..., 2] of messages with these differences [..., 2], previous - fresh."""
        dtype = difference.dtype
        # The largest column sum of |W| is its Lipschitz constant in the 1-norm; relu has 1.
        weights = jnp.asarray(self.weights[...], dtype)
        norms = jnp.abs(weights).sum(axis=1, keepdims=True).max(axis=2, keepdims=True)
        first, second = weights / jnp.maximum(norms, 1.0)
        b_first, b_second = jnp.asarray(self.biases[...], dtype)

        def g(d: jax.Array) -> jax.Array:
            hidden = jax.nn.relu(jnp.matmul(d, first.T) + _row(b_first, d))
            return jax.nn.relu(jnp.matmul(hidden, second.T) + _row(b_second, d))

        rate = jax.lax.stop_gradient(jnp.asarray(self.rate[...], dtype))
        return rate * (g(difference) - g(jnp.zeros_like(difference)))


class Readout(nnx.Module):
    """BPNN-B: log Z from the pooled terms of the Bethe value of ``sweeps`` layers, by a network.

    Two linear maps, with the Bethe value of the last layer at the start. Pooling adds up factors
    and variables, so their order does not matter; the entries of a table are averaged over all
    orders of its axes. Which state of a variable is called 1 does matter.
    """

    def __init__(self, sweeps: int, arities: Sequence[int] = (2,)):
        if sweeps < 1:
            raise ValueError(f"expected at least one sweep, given {sweeps}")
        self.sweeps, self.arities = sweeps, tuple(arities)
        size = 4 + 2 * sum(2**k for k in self.arities)
        last = np.zeros(sweeps * size)
        last[-size:] = 1.0
        self.first = nnx.Param(jnp.eye(sweeps * size, dtype=jnp.float32))
        self.second = nnx.Param(jnp.asarray(last, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(sweeps * size + 1, jnp.float32))

    def __call__(self, pooled: jax.Array) -> jax.Array:
        """log Z from ``pooled_terms`` of each layer, [sweeps, size]."""
        first, second, bias = (
            jnp.asarray(p[...], pooled.dtype) for p in (self.first, self.second, self.bias)
        )
        return jnp.vdot(second, first @ pooled.ravel() + bias[1:]) + bias[0]


def one_sided(operator: Operator) -> Operator:
    """Weights changed so that only what moves a message to state 0 is damped.

    From messages that favour neither state this leads to one ordered phase.
    """
    turn = jnp.array([[-1.0, 0.0], [0.0, 0.0]], jnp.float32)
    operator.weights.set_value(operator.weights[...].at[1].add(turn))
    return operator


def damping(alpha: float) -> Operators:
    """H(d) = alpha d for both directions: damped BP, and BP itself for 0."""
    operator = jax.tree_util.Partial(jnp.multiply, alpha)
    return operator, operator


@jax.jit
def start(graph: factor_graph.FactorGraph, log_ratio: Any = 0.0) -> Messages:
    """Messages in favour of state 1 by a log ratio: 0, or ``CERTAIN`` for the all-up start."""
    dtype = jnp.result_type(graph.log_unary, float)
    to_factors = tuple(
        jnp.broadcast_to(rules.to_rows(jnp.asarray(log_ratio, dtype)), (*group.variables.shape, 2))
        for group in graph.groups
    )
    to_variables = tuple(
        jnp.where(log_ratio == 0.0, rows, rules.table_messages(group.log_potentials, rows))
        for group, rows in zip(graph.groups, to_factors, strict=True)
    )
    return Messages(to_factors, to_variables)


@jax.jit
def step(operators: Operators, graph: factor_graph.FactorGraph, messages: Messages) -> Messages:
    """One layer of BPNN-D: all messages to factors, then all messages to variables."""
    to_factor, to_variable = operators
    fresh = _to_factors(graph, messages.to_variables)
    to_factors = tuple(map(functools.partial(_corrected, to_factor), messages.to_factors, fresh))
    fresh = [
        rules.table_messages(group.log_potentials, rows)
        for group, rows in zip(graph.groups, to_factors, strict=True)
    ]
    to_variables = map(functools.partial(_corrected, to_variable), messages.to_variables, fresh)
    return Messages(to_factors, tuple(to_variables))


def run(
    operators: Operators, graph: factor_graph.FactorGraph, messages: Messages, sweeps: Any
) -> Messages:
    """``sweeps`` layers; differentiable where ``sweeps`` is a Python number."""
    body = jax.checkpoint(lambda m: step(operators, graph, m))
    if isinstance(sweeps, int):
        return jax.lax.scan(lambda m, _: (body(m), None), messages, None, length=sweeps)[0]
    return jax.lax.fori_loop(0, sweeps, lambda _, m: body(m), messages)


@jax.jit
def solve(
    operators: Operators,
    graph: factor_graph.FactorGraph,
    messages: Messages,
    *,
    sweeps: Any,
    tolerance: float,
) -> tuple[Messages, Any, Any]:
    """Layers until no log ratio changes by the tolerance; also their number and the last change.

    Under ``vmap`` each graph stops where it would alone.
    """

    def going(carry: tuple[Messages, Any, Any]) -> Any:
        return (carry[1] < sweeps) & (carry[2] >= tolerance)

    def body(carry: tuple[Messages, Any, Any]) -> tuple[Messages, Any, Any]:
        after = step(operators, graph, carry[0])
        return after, carry[1] + 1, _change(carry[0], after)

    dtype = jnp.result_type(graph.log_unary, float)
    return jax.lax.while_loop(going, body, (messages, jnp.int32(0), jnp.asarray(jnp.inf, dtype)))


@jax.jit
def beliefs(graph: factor_graph.FactorGraph, messages: Messages) -> Beliefs:
    """Beliefs of variables and of factors."""
    log_unary = jnp.asarray(graph.log_unary)
    factors = []
    for group, rows in zip(graph.groups, messages.to_factors, strict=True):
        table = jnp.asarray(group.log_potentials)
        for slot in range(rows.shape[1]):
            shape = [2 if axis == slot else 1 for axis in range(rows.shape[1])]
            table = table + rows[:, slot].reshape(-1, *shape)
        factors.append(rules.normalize(table.reshape(len(table), -1)).reshape(table.shape))
    return Beliefs(rules.normalize(_totals(graph, messages.to_variables, log_unary)), (*factors,))


def pooled_terms(graph: factor_graph.FactorGraph, believed: Beliefs) -> jax.Array:
    """The terms of the Bethe value by state, [size]; log Z_B - log_constant is their sum.

    Two numbers each for the unaries' energy and the variables' entropy; for each group 2^k for the
    energy and 2^k for the entropy.
    """
    log_unary = jnp.asarray(graph.log_unary)
    degree = jnp.zeros(len(log_unary), log_unary.dtype)
    for group in graph.groups:
        degree = degree.at[jnp.ravel(group.variables)].add(1.0)
    minus_entropy = (degree - 1)[:, None] * _product(believed.variables, believed.variables)
    terms = [_product(believed.variables, log_unary).sum(axis=0), minus_entropy.sum(axis=0)]
    for group, table in zip(graph.groups, believed.factors, strict=True):
        for kind in (_product(table, jnp.asarray(group.log_potentials)), -_product(table, table)):
            pooled = kind.sum(axis=0)
            orders = list(itertools.permutations(range(pooled.ndim)))
            terms.append(sum(map(pooled.transpose, orders), 0.0 * pooled) / len(orders))
    return jnp.concatenate([term.ravel() for term in terms])


@jax.jit
def log_bethe(graph: factor_graph.FactorGraph, messages: Messages) -> jax.Array:
    """Bethe value of log Z in the form with beliefs; -inf where they contradict each other."""
    believed = beliefs(graph, messages)
    value = pooled_terms(graph, believed).sum() + jnp.asarray(graph.log_constant)
    possible = [rows.max(axis=tuple(range(1, rows.ndim))) for rows in jax.tree.leaves(believed)]
    return jnp.where(jnp.concatenate(possible).min(initial=0.0) > -jnp.inf, value, -jnp.inf)


def read(operators: Operators, readout: Readout, graph: factor_graph.FactorGraph) -> jax.Array:
    """BPNN-B: layers from uniform messages, then the learned readout."""

    def layer(messages: Messages, _: None) -> tuple[Messages, Any]:
        after = step(operators, graph, messages)
        return after, pooled_terms(graph, beliefs(graph, after))

    _, pooled = jax.lax.scan(jax.checkpoint(layer), start(graph), None, length=readout.sweeps)
    return readout(pooled) + jnp.asarray(graph.log_constant)


def log_partition(
    graph: factor_graph.FactorGraph,
    *,
    operators: Operators | None = None,
    log_ratio: float = 0.0,
    sweeps: int = 1000,
    tolerance: float = 1e-8,
    timeout: float | None = None,
) -> tuple[estimate.Estimate, Info]:
    """Bethe value of log Z by BPNN-D, float64.

    Args:
      operators: H for the messages to factors and to variables; the shipped ones by default.
      log_ratio: of the first messages: 0, or ``CERTAIN`` and its negative for the ordered starts.
      timeout: seconds; the value of the messages reached by then is what comes back.

    Raises:
      ValueError: a variable has more than two states.
    """
    with jax.enable_x64(True):
        prepared = prepare(graph)
        options: Any = {"sweeps": sweeps, "tolerance": tolerance, "timeout": timeout}
        chosen = shipped() if operators is None else operators
        messages, info = iterate(chosen, prepared, start(prepared, log_ratio), **options)
        return estimate.Estimate(float(log_bethe(prepared, messages))), info


def marginals(
    graph: factor_graph.FactorGraph,
    *,
    operators: Operators | None = None,
    log_ratio: float = 0.0,
    sweeps: int = 1000,
    tolerance: float = 1e-8,
    timeout: float | None = None,
) -> tuple[np.ndarray, Info]:
    """Beliefs of the variables by BPNN-D, float64 [V, S]; arguments as in ``log_partition``."""
    with jax.enable_x64(True):
        prepared = prepare(graph)
        options: Any = {"sweeps": sweeps, "tolerance": tolerance, "timeout": timeout}
        chosen = shipped() if operators is None else operators
        messages, info = iterate(chosen, prepared, start(prepared, log_ratio), **options)
        believed = np.exp(np.asarray(beliefs(prepared, messages).variables))
        return believed[:, : graph.log_unary.shape[1]], info


def iterate(
    operators: Operators,
    graph: factor_graph.FactorGraph,
    messages: Messages,
    *,
    sweeps: int,
    tolerance: float,
    timeout: float | None = None,
) -> tuple[Messages, Info]:
    """``solve`` from the host, with a time limit; Ctrl-C ends it as well."""
    limit = math.inf if timeout is None else time.perf_counter() + timeout
    done, residual, status = 0, math.inf, "done"
    try:
        while done < sweeps and residual >= tolerance:
            if time.perf_counter() >= limit:
                status = "timeout"
                break
            now = min(_CHUNK, sweeps - done)
            reached = solve(operators, graph, messages, sweeps=now, tolerance=tolerance)
            messages, done, residual = reached[0], done + int(reached[1]), float(reached[2])
    except KeyboardInterrupt:
        status = "interrupted"
    return messages, Info(status, done, residual < tolerance, residual)


def prepare(graph: factor_graph.FactorGraph) -> factor_graph.FactorGraph:
    """The same model with tables of two states an axis only, as the functions here want it.

    Raises:
      ValueError: a variable has more than two states.
    """
    most = int(np.max(graph.num_states, initial=0))
    if most > 2:
        raise ValueError(f"expected variables of two states, given one of {most}")
    single = np.flatnonzero(np.asarray(graph.num_states) == 1)
    graph = factor_graph.condition(factor_graph.tabulate(graph), dict.fromkeys(single.tolist(), 0))
    missing = ((0, 0), (0, 2 - graph.log_unary.shape[1]))
    return graph._replace(log_unary=np.pad(graph.log_unary, missing, constant_values=-np.inf))


def stack(graphs: Sequence[factor_graph.FactorGraph]) -> factor_graph.FactorGraph:
    """Graphs of one structure as one, with a first axis on potentials: see ``stacked_axes``.

    Raises:
      ValueError: they differ in more than potentials.
    """
    first = graphs[0]
    for graph in graphs:
        same = len(graph.groups) == len(first.groups) and all(
            np.array_equal(a.variables, b.variables)
            for a, b in zip(graph.groups, first.groups, strict=True)
        )
        if not same or not np.array_equal(graph.num_states, first.num_states):
            raise ValueError("expected graphs of one structure, given several")
    groups = tuple(
        group._replace(log_potentials=np.stack([g.groups[i].log_potentials for g in graphs]))
        for i, group in enumerate(first.groups)
    )
    log_unary = np.stack([graph.log_unary for graph in graphs])
    constants = np.array([graph.log_constant for graph in graphs], dtype=np.float64)
    return first._replace(log_unary=log_unary, groups=groups, log_constant=constants)


def stacked_axes(graph: factor_graph.FactorGraph) -> factor_graph.FactorGraph:
    """What ``vmap`` wants as ``in_axes`` for a stacked graph."""
    groups = tuple(factor_graph.FactorGroup(None, 0) for _ in graph.groups)
    return factor_graph.FactorGraph(None, 0, groups, 0, None)


@functools.cache
def shipped() -> Operators:
    """The trained operators that come with the package."""
    return training.load(WEIGHTS / "bpnn_d.npz", (Operator(), Operator()))


def _corrected(operator: Callable, previous: jax.Array, fresh: jax.Array) -> jax.Array:
    """The fresh messages, corrected where neither is a hard zero."""
    known = (previous > -jnp.inf) & (fresh > -jnp.inf)
    difference = jnp.where(known, previous, 0.0) - jnp.where(known, fresh, 0.0)
    return rules.normalize(fresh + operator(difference))


def _to_factors(graph: factor_graph.FactorGraph, to_variables: tuple[Any, ...]) -> list[jax.Array]:
    """Fresh messages to factors: the unary and the messages of all other factors.

    Own messages are subtracted from the sum of all, hard zeros counted apart.
    """
    log_unary = jnp.asarray(graph.log_unary)
    finite = [jnp.where(rows > -jnp.inf, rows, 0.0) for rows in to_variables]
    zero = [(rows == -jnp.inf).astype(log_unary.dtype) for rows in to_variables]
    sums = _totals(graph, finite, log_unary)
    zeros = _totals(graph, zero, jnp.zeros_like(log_unary))
    fresh = []
    for group, own, own_zero in zip(graph.groups, finite, zero, strict=True):
        others = jnp.where(zeros[group.variables] > own_zero, -jnp.inf, sums[group.variables] - own)
        fresh.append(rules.normalize(others))
    return fresh


def _totals(graph: factor_graph.FactorGraph, to_variables: Any, total: jax.Array) -> jax.Array:
    """``total`` [V, 2] plus all messages of each variable."""
    for group, rows in zip(graph.groups, to_variables, strict=True):
        total = total.at[jnp.ravel(group.variables)].add(rows.reshape(-1, 2))
    return total


def _change(before: Messages, after: Messages) -> jax.Array:
    """The largest change of a log ratio of messages to variables."""
    changes = [jnp.zeros(1, jnp.result_type(float))]
    for old, new in zip(before.to_variables, after.to_variables, strict=True):
        ratios = rules.to_log_ratios(old), rules.to_log_ratios(new)
        same = ratios[0] == ratios[1]  # infinite ones too
        changes.append(jnp.where(same, 0.0, jnp.abs(ratios[0] - ratios[1])).ravel())
    return jnp.concatenate(changes).max()


def _product(log_probability: jax.Array, values: jax.Array) -> jax.Array:
    """exp(log_probability) values, 0 where the probability is 0."""
    possible = log_probability > -jnp.inf
    return jnp.where(possible, jnp.exp(log_probability) * jnp.where(possible, values, 0.0), 0.0)


def _row(vector: jax.Array, like: jax.Array) -> jax.Array:
    """A vector with as many axes as an array, against silent broadcasting of ranks."""
    return vector.reshape((1,) * (like.ndim - 1) + (-1,))
