"""Belief propagation neural networks as published: message passing with a learned operator.

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
and only where it converged. The claim of all entries is NONE. BPNN-B, a network in place of the
Bethe value, is only compared with, in ``experiments.training``.

All variables have two states. Functions of arrays run under ``jit``, ``grad`` and ``vmap`` over
potentials; the operators are in ``bpnn_operators``.
"""

import functools
import itertools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from inference import estimate, limits
from inference.message_passing import rules
from inference.message_passing.learned import bpnn_operators
from inference.problems import factor_graph

CERTAIN = 100.0  # log ratio of a message that starts all-up; -100 for all-down
_CHUNK = 50  # sweeps between two looks at the clock


class Messages(NamedTuple):
    """One array per factor group: normalised log messages [F, k, 2] in both directions."""

    to_factors: tuple[jax.Array, ...]
    to_variables: tuple[jax.Array, ...]


class Beliefs(NamedTuple):
    """Normalised log-probabilities: ``variables`` [V, 2], ``factors`` [F, 2, ..., 2] per group."""

    variables: jax.Array
    factors: tuple[jax.Array, ...]


class Info(NamedTuple):
    """How a run of BPNN-D ended.

    Attributes:
      status: "done", "timeout" or "interrupted".
      seconds: wall time.
      iterations: sweeps over all messages.
      converged: whether the largest change of a log ratio fell below the tolerance.
      residual: that change in the last sweep.
    """

    status: str
    seconds: float
    iterations: int
    converged: bool
    residual: float


@jax.jit
def start(graph: factor_graph.FactorGraph, log_ratio: float = 0.0) -> Messages:
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
def step(
    operators: bpnn_operators.Operators, graph: factor_graph.FactorGraph, messages: Messages
) -> Messages:
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


@jax.jit
def solve(
    operators: bpnn_operators.Operators,
    graph: factor_graph.FactorGraph,
    messages: Messages,
    *,
    iterations: int | jax.Array,
    tolerance: float,
) -> tuple[Messages, jax.Array, jax.Array]:
    """Layers until no log ratio changes by the tolerance; also their number and the last change.

    Under ``vmap`` each graph stops where it would alone.
    """

    def going(carry: tuple[Messages, jax.Array, jax.Array]) -> jax.Array:
        return (carry[1] < iterations) & (carry[2] >= tolerance)

    def body(carry: tuple[Messages, jax.Array, jax.Array]) -> tuple[Messages, jax.Array, jax.Array]:
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
    minus_entropy = (degree - 1)[:, None] * rules.expected(believed.variables, believed.variables)
    terms = [rules.expected(believed.variables, log_unary).sum(axis=0), minus_entropy.sum(axis=0)]
    for group, table in zip(graph.groups, believed.factors, strict=True):
        for kind in (
            rules.expected(table, jnp.asarray(group.log_potentials)),
            -rules.expected(table, table),
        ):
            pooled = kind.sum(axis=0)
            orders = list(itertools.permutations(range(pooled.ndim)))
            terms.append(sum(map(pooled.transpose, orders), 0.0 * pooled) / len(orders))
    return jnp.concatenate([term.ravel() for term in terms])


@jax.jit
def log_bethe(graph: factor_graph.FactorGraph, messages: Messages) -> jax.Array:
    """Bethe value of log Z in the form with beliefs; -inf where they contradict each other.

    Equal to ``edge_graph.bethe`` at fixed points; BPNN-B reads the terms of this form.
    """
    believed = beliefs(graph, messages)
    value = pooled_terms(graph, believed).sum() + jnp.asarray(graph.log_constant)
    possible = [rows.max(axis=tuple(range(1, rows.ndim))) for rows in jax.tree.leaves(believed)]
    return jnp.where(jnp.concatenate(possible).min(initial=0.0) > -jnp.inf, value, -jnp.inf)


def log_partition(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    operators: bpnn_operators.Operators | None = None,
    log_ratio: float = 0.0,
    iterations: int = 1000,
    tolerance: float = 1e-8,
) -> tuple[estimate.Estimate, Info]:
    """Bethe value of log Z by BPNN-D, float64; claim NONE.

    Args:
      seed: nothing is drawn.
      timeout: seconds; the value of the messages reached by then is what comes back.
      memory: mebibytes of tables and messages.
      operators: H for the messages to factors and to variables; the shipped ones by default.
      log_ratio: of the first messages: 0, or ``CERTAIN`` and its negative for the ordered starts.

    Raises:
      ValueError: a variable has more than two states, or there is too little memory.
    """
    options: Any = {"iterations": iterations, "tolerance": tolerance}
    with jax.enable_x64(True):
        prepared, messages, info = _solve(graph, timeout, memory, operators, log_ratio, **options)
        return estimate.Estimate(float(log_bethe(prepared, messages))), info


def marginals(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    operators: bpnn_operators.Operators | None = None,
    log_ratio: float = 0.0,
    iterations: int = 1000,
    tolerance: float = 1e-8,
) -> tuple[np.ndarray, Info]:
    """Beliefs of the variables by BPNN-D, float64 [V, S]; arguments as in ``log_partition``."""
    options: Any = {"iterations": iterations, "tolerance": tolerance}
    with jax.enable_x64(True):
        prepared, messages, info = _solve(graph, timeout, memory, operators, log_ratio, **options)
        believed = np.exp(np.asarray(beliefs(prepared, messages).variables))
        return believed[:, : graph.log_unary.shape[1]], info


def iterate(
    operators: bpnn_operators.Operators,
    graph: factor_graph.FactorGraph,
    messages: Messages,
    *,
    iterations: int,
    tolerance: float,
    deadline: limits.Deadline = limits.NEVER,
) -> tuple[Messages, Info]:
    """``solve`` from the host, within a time limit; Ctrl-C ends it as well."""
    began = time.monotonic()

    def advance(state: tuple[Messages, int, float]) -> tuple[Messages, int, float]:
        before, number, _ = state
        most = min(_CHUNK, iterations - number)
        after, more, residual = solve(
            operators, graph, before, iterations=most, tolerance=tolerance
        )
        return after, number + int(more), float(residual)

    def is_done(state: tuple[Messages, int, float]) -> bool:
        return state[1] >= iterations or not state[2] >= tolerance

    state, status = limits.run_until(advance, (messages, 0, math.inf), is_done, deadline)
    reached, number, residual = state
    seconds = time.monotonic() - began
    return reached, Info(status, seconds, number, residual < tolerance, residual)


def octets(graph: factor_graph.FactorGraph) -> float:
    """What the tables and messages of a graph take, known before they are made."""
    total = 0.0
    for group in graph.groups:
        is_table = isinstance(group, factor_graph.FactorGroup)
        degrees = np.sum(np.ones_like(group.variables) if is_table else group.mask, axis=1)
        total += 8.0 * float(np.sum(2.0**degrees + 4.0 * degrees))
    return total


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


def _solve(
    graph: factor_graph.FactorGraph,
    timeout: float | None,
    memory: int | None,
    operators: bpnn_operators.Operators | None,
    log_ratio: float,
    **options: Any,
) -> tuple[factor_graph.FactorGraph, Messages, Info]:
    """The graph prepared, the messages reached, and how it went."""
    began, deadline = time.monotonic(), limits.Deadline.after(timeout)
    limits.require_memory(octets(graph), memory, "tables and messages")
    prepared, chosen = prepare(graph), operators or bpnn_operators.shipped()
    messages, info = iterate(
        chosen, prepared, start(prepared, log_ratio), deadline=deadline, **options
    )
    return prepared, messages, info._replace(seconds=time.monotonic() - began)


def _corrected(operator: Callable, previous: jax.Array, fresh: jax.Array) -> jax.Array:
    """The fresh messages, corrected where neither is a hard zero."""
    known = (previous > -jnp.inf) & (fresh > -jnp.inf)
    difference = jnp.where(known, previous, 0.0) - jnp.where(known, fresh, 0.0)
    return rules.normalize(fresh + operator(difference))


def _to_factors(
    graph: factor_graph.FactorGraph, to_variables: tuple[jax.Array, ...]
) -> list[jax.Array]:
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


def _totals(
    graph: factor_graph.FactorGraph, to_variables: Sequence[jax.Array], total: jax.Array
) -> jax.Array:
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
