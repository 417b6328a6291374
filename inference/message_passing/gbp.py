"""Generalised belief propagation on regions, by default unions of short loops.

    >>> graph = generators.ising_grid(4, 4, 0.5, 0.1)  # log Z = 15.0310, Bethe gives 14.8910
    >>> estimate, info = log_partition(graph)
    >>> round(estimate.log_value, 3), info.converged
    (15.031, True)

Messages go between outer regions and the inner regions they contain (Heskes, Albers and Kappen,
"Approximate inference and constrained optimization", UAI 2003). Fixed points are the stationary
points of the region free energy of Yedidia, Freeman and Weiss, "Constructing free-energy
approximations and generalized belief propagation algorithms" (2005). Exact where the outer regions
are the cliques of a junction tree, with any other regions an estimate without a claim.

The plain iteration diverges at strong couplings, so this is the double loop of the first paper. In
turn, what is concave in the free energy is made linear at the current beliefs, and messages descend
on the convex rest. They all move at once by a share 1/K of what they would move alone, with K inner
regions in an outer one; by Jensen's inequality the concave dual then cannot fall.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import DTypeLike

from inference import answer, estimate, limits
from inference.message_passing import region_graph, region_layout, rules
from inference.problems import factor_graph

ROUND = 10  # updates of all messages for each linear part
ROUNDS = 20  # between looks at the clock

Sets = Callable[[factor_graph.FactorGraph], Iterable[Iterable[int]]]


def log_partition(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    regions: Sets = region_graph.affordable,
    tolerance: float = 1e-6,
    iterations: int = 10000,
    dtype: DTypeLike = np.float64,
) -> tuple[estimate.Estimate, answer.Settled]:
    """The region estimate of log Z; no claim. -inf where messages prove that Z = 0.

    Args:
      graph: any; clauses and parities become tables.
      seed: nothing is drawn.
      timeout: seconds, looked at every ``ROUND * ROUNDS`` updates.
      memory: mebibytes that tables and messages may take, by ``region_layout.octets``.
      regions: makes the outer regions, sets of variables; factors in none of them are added.
        ``region_graph`` has ``short_loops``, fast, the larger and more accurate ``loops_around``,
        and ``affordable``, which chooses. Time grows with the tables they span.
      tolerance: on the residual, in nats.
      iterations: updates of all messages, rounded up to ``ROUND * ROUNDS``.
      dtype: of messages and tables.

    Raises:
      ValueError: more memory is needed, or a clause is too long for a table.
    """
    log_value, _, info = _run(graph, timeout, memory, regions, tolerance, iterations, dtype)
    return estimate.Estimate(log_value + float(graph.log_constant)), info


def marginals(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    regions: Sets = region_graph.affordable,
    tolerance: float = 1e-6,
    iterations: int = 10000,
    dtype: DTypeLike = np.float64,
) -> tuple[np.ndarray, answer.Settled]:
    """Region estimates of the states' probabilities, float64 [V, S]; all zero where Z = 0.

    Arguments are those of ``log_partition``.
    """
    log_value, beliefs, info = _run(graph, timeout, memory, regions, tolerance, iterations, dtype)
    probabilities = np.zeros(np.shape(graph.log_unary))
    if log_value == -np.inf:
        return probabilities, info
    sizes = np.asarray(graph.num_states)
    # The smallest region of a variable comes last.
    for region, row in reversed(beliefs):
        table = row.reshape(sizes[list(region)])
        for axis, variable in enumerate(region):
            others = tuple({*range(len(region))} - {axis})
            probabilities[variable, : sizes[variable]] = table.sum(axis=others)
    return probabilities, info


class State(NamedTuple):
    """Log-messages from inner to outer regions, in the order of a layout.

    Attributes:
      messages: float [M].
      linear: float [M], what the linear part of the free energy adds to them.
      residual: the largest move that any of them still wants to make; inf at first.
      iterations: updates so far.
    """

    messages: jax.Array
    linear: jax.Array
    residual: jax.Array
    iterations: jax.Array


def init(layout: region_layout.RegionLayout) -> State:
    """Messages that say nothing, in the dtype of the tables."""
    dtype = layout.counting.dtype
    zeros = jnp.zeros(len(layout.belongs), dtype)
    return State(zeros, zeros, jnp.asarray(jnp.inf, dtype), jnp.asarray(0, jnp.int32))


def step(layout: region_layout.RegionLayout, state: State) -> State:
    """One update of all messages with the linear part as it is."""
    to_inner, beliefs = _inner(layout, state)
    fresh = _normalise(layout, _minus(beliefs[layout.belongs], to_inner))
    move = _difference(fresh, state.messages)
    messages = state.messages + layout.steps[layout.belongs] * move
    return State(messages, state.linear, jnp.abs(move).max(initial=0.0), state.iterations + 1)


def linearise(layout: region_layout.RegionLayout, state: State) -> State:
    """The same total messages, their linear part taken at the present beliefs."""
    _, beliefs = _inner(layout, state)
    shares = ((layout.convex - layout.counting) / layout.num_parents)[layout.belongs]
    normalised = _normalise(layout, beliefs[layout.belongs])
    linear = jnp.where(shares > 0, shares * normalised, 0.0)
    move = jnp.abs(_difference(linear, state.linear)).max(initial=0.0)
    messages = _minus(state.messages + state.linear, linear)
    return State(messages, linear, jnp.maximum(state.residual, move), state.iterations)


def _run(
    graph: factor_graph.FactorGraph,
    timeout: float | None,
    memory: int | None,
    regions: Sets,
    tolerance: float,
    iterations: int,
    dtype: DTypeLike,
) -> tuple[float, list[tuple[region_graph.Region, np.ndarray]], answer.Settled]:
    """The free energy with its sign turned, the outer regions with their probabilities [T]."""
    begun, deadline = time.monotonic(), limits.Deadline.after(timeout)
    limits.require_memory(region_layout.logical_octets(graph), memory, "tables of logical factors")
    graph = factor_graph.tabulate(graph)
    built = region_graph.build(graph, regions(graph))
    limits.require_memory(region_layout.octets(graph, built), memory, "tables of regions")
    layout = region_layout.lay_out(graph, built)
    with jax.enable_x64(True):
        layout = jax.tree.map(lambda x: x.astype(dtype) if x.dtype == np.float64 else x, layout)
        layout = jax.tree.map(jnp.asarray, layout)
        state, status = limits.run_until(
            lambda state: _advance(layout, state, tolerance),
            init(layout),
            lambda state: not (state.residual > tolerance and state.iterations < iterations),
            deadline,
        )
        log_value, outer = _read_out(layout, state)
        rows = [row for tables in outer for row in np.asarray(tables, np.float64)]
        residual, made = float(state.residual), int(state.iterations)
    seconds = time.monotonic() - begun
    info = answer.Settled(status, seconds, residual <= tolerance, made, residual)
    return float(log_value), list(zip(built.outer, rows, strict=True)), info


@jax.jit
def _advance(layout: region_layout.RegionLayout, state: State, tolerance: float) -> State:
    """``ROUNDS`` rounds, fewer where all settles."""
    last = state.iterations + ROUND * ROUNDS

    def one_round(state: State) -> State:
        state = jax.lax.fori_loop(0, ROUND, lambda _, state: step(layout, state), state)
        return linearise(layout, state)

    return jax.lax.while_loop(
        lambda state: (state.residual > tolerance) & (state.iterations < last), one_round, state
    )


@jax.jit
def _read_out(
    layout: region_layout.RegionLayout, state: State
) -> tuple[jax.Array, list[jax.Array]]:
    """Minus the region free energy, and the outer beliefs as probabilities.

    Not ``edge_graph.bethe``: regions are no factors, and away from fixed points, where a run that
    was cut short ends, only the form with beliefs is that of this free energy.
    """
    total, outer = jnp.zeros((), layout.counting.dtype), []
    for log_tables, table in zip(layout.log_tables, _outer(layout, state), strict=True):
        log_beliefs = table - rules.log_sum(table, -1)[:, None]
        outer.append(jnp.exp(log_beliefs))
        energy, entropy = (rules.expected(log_beliefs, x).sum() for x in (log_tables, log_beliefs))
        total += energy - entropy
        total = jnp.where((table.max(axis=1) == -jnp.inf).any(), -jnp.inf, total)
    _, beliefs = _inner(layout, state)
    shares = (layout.counting / layout.num_parents)[layout.belongs]
    for block, share in zip(
        _blocks(layout, beliefs[layout.belongs]), _blocks(layout, shares), strict=True
    ):
        log_beliefs = block - rules.log_sum(block, -1)[:, None]
        total -= rules.expected(log_beliefs, share * log_beliefs).sum()
    return total, outer


def _outer(layout: region_layout.RegionLayout, state: State) -> list[jax.Array]:
    """Log-beliefs of the outer regions [R, T], not normalised."""
    received = jnp.append(state.messages + state.linear, 0.0)
    return [
        jnp.add(tables, received[incoming].sum(axis=1))
        for tables, incoming in zip(layout.log_tables, layout.incoming, strict=True)
    ]


def _inner(layout: region_layout.RegionLayout, state: State) -> tuple[jax.Array, jax.Array]:
    """Messages to the inner regions [M] and their log-beliefs [I], not normalised."""
    none = state.messages[:0]
    tables = jnp.concatenate([none, *(table.ravel() for table in _outer(layout, state))])
    projected = [rules.log_sum(tables[entries], -1).ravel() for entries in layout.entries]
    to_inner = _minus(jnp.concatenate([none, *projected]), state.messages)
    to_inner = _normalise(layout, to_inner)
    beliefs = jax.ops.segment_sum(to_inner, layout.belongs, len(layout.counting))
    return to_inner, beliefs / (layout.num_parents + layout.convex)


def _blocks(layout: region_layout.RegionLayout, entries: jax.Array) -> list[jax.Array]:
    """Message entries [M] as one array [P, s] per block."""
    shapes = [block.shape[:2] for block in layout.entries]
    ends = np.cumsum([0, *(pairs * states for pairs, states in shapes)])
    return [entries[a:b].reshape(shape) for a, b, shape in zip(ends, ends[1:], shapes)]


def _normalise(layout: region_layout.RegionLayout, messages: jax.Array) -> jax.Array:
    """The largest entry of each message becomes 0."""
    blocks = _blocks(layout, messages)
    least = jnp.finfo(messages.dtype).min  # against -inf - -inf
    shifted = [b - jnp.maximum(b.max(axis=1, keepdims=True), least) for b in blocks]
    return jnp.concatenate([messages[:0], *(block.ravel() for block in shifted)])


def _minus(a: jax.Array, b: jax.Array) -> jax.Array:
    """a - b, where -inf in ``a`` stays and b = -inf has it in ``a`` as well."""
    return a - jnp.where(b == -jnp.inf, 0.0, b)


def _difference(a: jax.Array, b: jax.Array) -> jax.Array:
    """a - b, 0 where both are -inf; b = -inf has it in ``a`` as well."""
    return jnp.where(a == b, 0.0, _minus(a, b))
