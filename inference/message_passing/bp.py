"""Belief propagation: Bethe log Z, marginals and maximisers of any factor graph.

    >>> graph = generators.ising_grid(3, 3, 0.5, 0.1)
    >>> estimate, info = log_partition(graph)
    >>> round(estimate.log_value, 7), info.converged, info.layout
    (7.9617759, True, 'stencil')

Sum-product at temperature 1, max-product at 0 and what lies between (Pearl, 1988; Kschischang, Frey
and Loeliger, 2001). Exact on trees; elsewhere the Bethe value is a claim of ``NONE``, though never
above log Z at the fixed points of attractive binary pairwise graphs (Ruozzi, "The Bethe partition
function of log-supermodular graphical models", NIPS 2012). What did not converge is flagged, and
nothing counts as converged that a round of the general rules in float64 still moves.

``log_partition``, ``marginals`` and ``maximize`` do everything; ``prepare``, ``init`` and ``run``
are their parts, for repeats, batches and timing; ``compile_log_partition`` is for gradients, and
inside ``jit`` and ``vmap``. The layout is chosen from the graph: ``stencil``
and ``pairwise`` for binary pairwise graphs without hard zeros, ``binary`` and ``tables`` for other
tables, ``general`` for clauses and parities and for schedules other than ``damped``. All make the
same iterates.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from inference import answer, estimate, limits, randomness
from inference.message_passing import (
    bp_binary,
    bp_general,
    bp_pairwise,
    bp_stencil,
    bp_tables,
    schedules,
)
from inference.problems import factor_graph

EVERY = 8  # iterations from one look at convergence to the next
_FAR = 600.0  # nats beyond which two messages are alike: float64 layouts end at 700
_WORK = 10**8  # messages computed between looks at the clock: a second at most


class State(NamedTuple):
    """Where a run stands.

    Attributes:
      messages: as the layout has them.
      iteration: int32, rounds made so far.
      iterations: int32 [G], the round at which each graph converged, or the last.
      residuals: [G], how far the next round of flooding would move a message, in nats.
      converged: bool [G].
    """

    messages: Any
    iteration: Any
    iterations: Any
    residuals: Any
    converged: Any


class Info(NamedTuple):
    """How a run ended.

    Attributes:
      status: "done", "timeout" or "interrupted".
      seconds: wall time, compilation included.
      converged: every graph has.
      iterations: the most that a graph took.
      residual: the largest of a graph, in nats.
      layout: ``stencil``, ``pairwise``, ``binary``, ``tables`` or ``general``.
      messages: float64 [E] or [E, S], for a warm start of a graph of the same factors.
    """

    status: str
    seconds: float
    converged: bool
    iterations: int
    residual: float
    layout: str
    messages: np.ndarray


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A graph ready to run: ``model`` in float64 for what is read off, ``layout`` to iterate."""

    model: bp_general.Model
    layout: Any
    temperature: float
    dtype: Any

    @property
    def layout_name(self) -> str:
        return type(self.layout).__name__.lower()


def prepare(
    graph: factor_graph.FactorGraph,
    *,
    graph_ids: np.ndarray | None = None,
    log_constants: np.ndarray | None = None,
    temperature: float = 1.0,
    dtype: Any = np.float64,
    fast: bool = True,
) -> Prepared:
    """The work on the host, once per graph.

    Args:
      graph_ids, log_constants: of a batch, see ``bp_batch.join``.
      temperature: 1 for sums, 0 for maxima; above 0 it divides the potentials.
      dtype: of the messages; what is read off them is float64 always.
      fast: whether a fast layout may be taken.
    """
    batched: dict[str, Any] = {
        "graph_ids": graph_ids,
        "log_constants": log_constants,
        "temperature": temperature,
    }
    model = bp_general.prepare(graph, **batched)
    small = bp_general.prepare(graph, dtype=dtype, **batched)
    layout: Any = None
    for module in (bp_stencil, bp_pairwise, bp_binary, bp_tables) if fast else ():
        layout = layout or module.prepare(small)
    if layout is None:
        layout = bp_general.General(small, model.graph_ids[model.edge_variables])
    with jax.enable_x64(True):
        layout = jax.tree.map(jnp.asarray, layout)
    return Prepared(model, layout, temperature, dtype)


def init(
    prepared: Prepared,
    start: schedules.Start = schedules.uniform,
    *,
    seed: Any = 0,
    messages: np.ndarray | None = None,
) -> State:
    """The state before the first round; given ``messages`` start warm and come first."""
    layout, number = prepared.layout, prepared.model.num_graphs
    with jax.enable_x64(True):
        given = start(seed, prepared.model) if messages is None else messages
        entered = _enter(layout, given)
    return State(
        entered,
        np.int32(0),
        np.zeros(number, np.int32),
        np.full(number, np.inf, prepared.dtype),
        np.zeros(number, bool),
    )


def run(
    prepared: Prepared,
    state: State,
    *,
    schedule: schedules.Schedule = schedules.damped(0.5),
    tolerance: float | None = None,
    iterations: int = 1000,
    seed: Any = 0,
    deadline: limits.Deadline = limits.NEVER,
) -> tuple[State, str]:
    """Rounds until every graph has converged, or so many more have been made; with the status.

    What ``confirm`` refutes, in float32 or a fast layout, does not count as converged.

    Args:
      schedule: which messages move, and how far; all but ``damped`` need ``fast=False``.
      tolerance: nats that a round of flooding may still move a message by where it has converged;
        1e-8 in float64 and 1e-5 in float32 by default, 0 never converges.
      deadline: looked at before the first round and a few times a second.
    """
    is_fast = not isinstance(prepared.layout, bp_general.General)
    if is_fast and not isinstance(schedule, schedules.damped):
        raise ValueError(f"expected a damped schedule in a fast layout, given {schedule}")
    if tolerance is None:
        tolerance = 1e-8 if np.dtype(prepared.dtype).itemsize > 4 else 1e-5
    end = int(state.iteration) + iterations
    rounds = max(EVERY, _WORK // max(len(prepared.model.edge_variables), 1))

    def some_rounds(state: State) -> State:
        until = min(int(state.iteration) + rounds, end)
        return advance(prepared.layout, state, drawn, (tolerance, until), schedule)

    def done(state: State) -> bool:
        return int(state.iteration) >= end or bool(np.asarray(state.converged).all())

    with jax.enable_x64(True):
        drawn = (None, None) if is_fast else _drawn(prepared, schedule, seed)
        state, status = limits.run_until(some_rounds, state, done, deadline)
    # All but the messages is numpy: float64 arrays of jax warn outside this context.
    state = State(state.messages, *(np.asarray(part) for part in state[1:]))
    return confirm(prepared, state, 100 * tolerance), status


def confirm(prepared: Prepared, state: State, tolerance: float) -> State:
    """Converged only where a round of the general rules in float64 moves no message by more nats.

    In float64 the layouts without cuts are those rules. Messages beyond 600 nats are alike. Where a
    variable has no state left, the general rules are what has to find that.
    """
    cuts = isinstance(prepared.layout, (bp_binary.Binary, bp_tables.Tables))
    if not state.converged.any() or not (cuts or np.dtype(prepared.dtype).itemsize <= 4):
        return state
    with jax.enable_x64(True):
        moves = np.asarray(_moves(prepared.model, messages(prepared, state)))
    refuted = state.converged & ~(moves <= tolerance)
    residuals = np.where(refuted, moves, state.residuals)
    return state._replace(residuals=residuals, converged=state.converged & ~refuted)


def messages(prepared: Prepared, state: State) -> np.ndarray:
    """Messages from factors to variables as ``bp_general`` has them, float64 [E] or [E, S]."""
    with jax.enable_x64(True):
        return np.asarray(_leave(prepared.layout, state.messages), np.float64)


def bethe(prepared: Prepared, state: State) -> np.ndarray:
    """Bethe log Z of each graph, float64 [G], times the temperature where it is above 0."""
    with jax.enable_x64(True):
        values = _bethe(prepared.model, messages(prepared, state))
    return np.asarray(values) * (prepared.temperature or 1.0)


def beliefs(prepared: Prepared, state: State) -> np.ndarray:
    """Marginals, or max-marginals, float64 [V, S]."""
    with jax.enable_x64(True):
        return np.asarray(_beliefs(prepared.model, messages(prepared, state)))


def best_of(
    prepared: Prepared,
    starts: Sequence[schedules.Start],
    *,
    schedule: schedules.Schedule = schedules.damped(0.5),
    tolerance: float | None = None,
    iterations: int = 1000,
    seed: Any = 0,
    deadline: limits.Deadline = limits.NEVER,
) -> tuple[State, str]:
    """Runs from each start; every graph keeps its converged run of largest Bethe value.

    Without a converged run it keeps the first. Arguments are those of ``run``; the time limit holds
    for all runs together.
    """
    options: Any = {"schedule": schedule, "tolerance": tolerance, "iterations": iterations}
    best, status, values = None, "done", np.full(prepared.model.num_graphs, -np.inf)
    for start in starts:
        state = init(prepared, start, seed=seed)
        state, status = run(prepared, state, seed=seed, deadline=deadline, **options)
        if len(starts) == 1:
            return state, status
        value = np.where(state.converged, bethe(prepared, state), -np.inf)
        if best is None:
            best, values = state, value
        else:
            keeps = value <= values
            best = _choose(prepared.layout, keeps, best, state)
            values = np.maximum(value, values)
        if status != "done":
            break
    if best is None:
        raise ValueError("expected at least one start, given none")
    return best, status


def log_partition(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    schedule: schedules.Schedule = schedules.damped(0.5),
    starts: Sequence[schedules.Start] = (schedules.uniform,),
    temperature: float = 1.0,
    dtype: Any = np.float64,
    tolerance: float | None = None,
    iterations: int = 1000,
) -> tuple[estimate.Estimate, Info]:
    """Bethe log Z at a fixed point, a claim of NONE; -inf proves nothing but is right where Z = 0.

    Args:
      seed: of starts and schedules that draw; those by default do not.
      timeout: seconds, checked a few times a second; the first value is that of the first start.
      memory: mebibytes that messages and tables may take, by ``bp_general.octets``.
      schedule: which messages move, and how far.
      starts: the converged run of largest value is kept; ``schedules.ordered`` for ferromagnets.
      temperature: t, for the approximation of t log sum exp(score / t).
      dtype: of messages.
      tolerance, iterations: as in ``run``.

    Raises:
      ValueError: more memory is needed, there is no start, or the temperature is negative.
    """
    begun = time.monotonic()
    rounds: Any = {"schedule": schedule, "tolerance": tolerance, "iterations": iterations}
    run = _solve(graph, starts, temperature, dtype, seed, timeout, memory, **rounds)
    return estimate.Estimate(float(bethe(*run[:2])[0])), _info(*run, begun)


def marginals(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    schedule: schedules.Schedule = schedules.damped(0.5),
    starts: Sequence[schedules.Start] = (schedules.uniform,),
    temperature: float = 1.0,
    dtype: Any = np.float64,
    tolerance: float | None = None,
    iterations: int = 1000,
) -> tuple[np.ndarray, Info]:
    """Beliefs of the variables, float64 [V, S]; arguments as for ``log_partition``.

    All zero where messages leave a variable no state, so that Z = 0.
    """
    begun = time.monotonic()
    rounds: Any = {"schedule": schedule, "tolerance": tolerance, "iterations": iterations}
    run = _solve(graph, starts, temperature, dtype, seed, timeout, memory, **rounds)
    rows = beliefs(*run[:2])
    rows = rows if (rows.sum(axis=1) > 0).all() else np.zeros_like(rows)
    return rows, _info(*run, begun)


def maximize(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    schedule: schedules.Schedule = schedules.damped(0.5),
    start: schedules.Start = schedules.uniform,
    dtype: Any = np.float64,
    tolerance: float | None = None,
    iterations: int = 1000,
) -> tuple[answer.Answer, Info]:
    """The state of largest max-marginal of every variable, by max-product; no bound is proven.

    Noise of a millionth of a nat on the unaries decides between ties, so on trees the answer is a
    maximiser to within that; the seed is that of the noise too. FEASIBLE with its log-score, or
    UNKNOWN where that is -inf. Other arguments are those of ``log_partition``.
    """
    begun = time.monotonic()
    rng = randomness.generator(seed, "bp")
    log_unary = np.asarray(graph.log_unary, np.float64)
    noisy = graph._replace(log_unary=log_unary + 1e-6 * rng.uniform(size=log_unary.shape))
    rounds: Any = {"schedule": schedule, "tolerance": tolerance, "iterations": iterations}
    run = _solve(noisy, (start,), 0.0, dtype, seed, timeout, memory, **rounds)
    assignment = np.argmax(np.where(log_unary > -np.inf, beliefs(*run[:2]), -1.0), axis=1)
    value, info = factor_graph.score(graph, assignment), _info(*run, begun)
    if value == -np.inf:
        return answer.Answer(answer.Status.UNKNOWN, value, seconds=info.seconds), info
    found = assignment[None]
    return answer.Answer(answer.Status.FEASIBLE, value, np.inf, found, info.seconds), info


def compile_log_partition(
    graph: factor_graph.FactorGraph,
    *,
    damping: float = 0.5,
    tolerance: float | None = None,
    iterations: int = 1000,
) -> Callable[[factor_graph.FactorGraph], Any]:
    """A jitted function from graphs with the structure of this one to Bethe log Z in nats.

    As ``elimination.compile_log_partition``, for models of any width, clauses and parities too: the
    structure is taken from ``graph`` once, potentials and hard zeros may change. ``jit``, ``vmap``
    and ``grad`` work, in the dtype of the arrays. At a fixed point the Bethe value is stationary in
    the messages, so its gradient is the beliefs: by ``log_unary`` those of the variables, by the
    tables those of the factors, 0 at hard zeros and where Z = 0. Where messages have not settled
    within ``iterations`` value and gradient are those of the last ones: ``log_partition`` tells.

    Args:
      damping, tolerance, iterations: as in ``schedules.damped`` and ``run``.
    """
    structure, expected = bp_general.prepare(graph), jax.tree.map(np.shape, graph)

    def compiled_log_partition(graph: factor_graph.FactorGraph) -> jax.Array:
        given = jax.tree.map(np.shape, graph)
        if given != expected:
            raise ValueError(f"expected a graph of shapes {expected}, given {given}")
        model = _with_potentials(structure, graph)
        precise = model.log_unary.dtype.itemsize > 4
        least = (1e-8 if precise else 1e-5) if tolerance is None else tolerance
        fixed = jax.lax.stop_gradient(model)
        messages = _settle(fixed, schedules.damped(damping), least, iterations)
        return bp_general.bethe(model, messages)[0]

    return jax.jit(compiled_log_partition)


def _with_potentials(
    structure: bp_general.Model, graph: factor_graph.FactorGraph
) -> bp_general.Model:
    """The model with the potentials of a graph, all of one dtype."""
    tables = [g.log_potentials for g in graph.groups if isinstance(g, factor_graph.FactorGroup)]
    dtype = jnp.result_type(graph.log_unary, *tables)
    values = [jnp.asarray(table, dtype) for table in tables]
    constants = jnp.asarray(graph.log_constant, dtype)[None]
    model = dataclasses.replace(structure, log_constants=constants)
    return bp_general.with_potentials(model, (jnp.asarray(graph.log_unary, dtype), tuple(values)))


def _settle(
    model: bp_general.Model, schedule: schedules.damped, tolerance: float, iterations: int
) -> jax.Array:
    """Messages of the general layout, from those that say nothing; traced."""

    def one(carried: tuple) -> tuple:
        messages, count, _ = carried
        fresh = bp_general.update(model, messages)
        moves = jnp.where(model.edge_mask, bp_general.change(messages, fresh), 0.0)
        mixed = schedule(None, count, messages, fresh, None)
        return mixed, count + 1, jnp.max(moves, initial=0.0)

    def goes_on(carried: tuple) -> jax.Array:
        return (carried[1] < iterations) & (carried[2] > tolerance)

    quiet = jnp.asarray(bp_general.start(model))
    begin = quiet, jnp.int32(0), jnp.asarray(jnp.inf, quiet.dtype)
    return jax.lax.while_loop(goes_on, one, begin)[0]


@functools.partial(jax.jit, static_argnames=("schedule",))
def advance(layout: Any, state: State, drawn: tuple, limits: tuple, schedule: Any) -> State:
    tolerance, limit = limits
    number = len(state.converged)

    def mix(old: Any, new: Any, iteration: Any) -> Any:
        if isinstance(layout, bp_general.General):
            return schedule(drawn[0], iteration, old, new, drawn[1])
        return layout.mix(old, new, schedule.weight)

    def trip(state: State) -> State:
        count = jnp.minimum(EVERY, limit - state.iteration)
        start = state.iteration

        def one(i: Any, carried: Any) -> Any:
            old, cavities = carried
            after = mix(old, layout.send(old, cavities), start + i)
            return after, layout.collect(after)

        # Cavities are carried, or XLA would make them again for every message that reads them.
        carried = state.messages, layout.collect(state.messages)
        before, cavities = jax.lax.fori_loop(0, count - 1, one, carried)
        fresh = layout.send(before, cavities)
        residuals = layout.change(before, fresh, number)
        after = mix(before, fresh, start + count - 1)
        if number > 1:  # graphs that converged before stay where they were
            after = layout.keep(state.converged, state.messages, after)
            residuals = jnp.where(state.converged, state.residuals, residuals)
        return State(
            after,
            start + count,
            jnp.where(state.converged, state.iterations, start + count),
            residuals,
            residuals < tolerance,
        )

    def goes_on(state: State) -> jax.Array:
        return (state.iteration < limit) & ~jnp.all(state.converged)

    return jax.lax.while_loop(goes_on, trip, state)


_enter = jax.jit(lambda layout, messages: layout.enter(messages))
_leave = jax.jit(lambda layout, messages: layout.leave(messages))
_bethe = jax.jit(bp_general.bethe)
_beliefs = jax.jit(bp_general.beliefs)


@jax.jit
def _moves(model: bp_general.Model, messages: jax.Array) -> jax.Array:
    """How far a round moves a message of each graph, nats [G]; inf where nothing is possible."""
    fresh = bp_general.update(model, messages)
    # Of rows, which are normalised, only the small entries are far out.
    far = jnp.minimum(jnp.abs(messages), jnp.abs(fresh)) > _FAR
    alike = far & (jnp.sign(messages) == jnp.sign(fresh))
    moves = bp_general.change(jnp.where(alike, fresh, messages), fresh)
    moves = jnp.where(model.edge_mask, jnp.nan_to_num(moves, nan=jnp.inf, posinf=jnp.inf), 0.0)
    lost = jnp.where(bp_general.beliefs(model, messages).sum(axis=1) > 0, 0.0, jnp.inf)
    ids = jnp.concatenate([jnp.asarray(model.graph_ids)[model.edge_variables], model.graph_ids])
    return bp_general.largest_by_graph(jnp.concatenate([moves, lost]), ids, model.num_graphs)


@jax.jit
def _choose(layout: Any, keeps: jax.Array, old: State, new: State) -> State:
    """Old states of the graphs that keep them, bool [G], else new ones."""
    return State(
        layout.keep(keeps, old.messages, new.messages),
        jnp.maximum(old.iteration, new.iteration),
        *(jnp.where(keeps, a, b) for a, b in zip(old[2:], new[2:])),
    )


def _solve(
    graph: factor_graph.FactorGraph,
    starts: Sequence[schedules.Start],
    temperature: float,
    dtype: Any,
    seed: Any,
    timeout: float | None,
    memory: int | None,
    *,
    schedule: schedules.Schedule,
    tolerance: float | None,
    iterations: int,
) -> tuple[Prepared, State, str]:
    """The best run; what ``confirm`` refutes runs again in float64, then in the general layout."""
    deadline = limits.Deadline.after(timeout)
    limits.require_memory(bp_general.octets(graph), memory, "messages and tables")
    is_damped = isinstance(schedule, schedules.damped)
    ways = dict.fromkeys([(np.dtype(dtype), is_damped), (np.dtype(float), is_damped)])
    options: Any = {"schedule": schedule, "tolerance": tolerance, "iterations": iterations}
    for precision, fast in [*ways, (np.dtype(float), False)]:
        prepared = prepare(graph, temperature=temperature, dtype=precision, fast=fast)
        state, status = best_of(prepared, starts, seed=seed, deadline=deadline, **options)
        is_refuted = not state.converged.all() and int(state.iterations.max()) < iterations
        if status != "done" or not is_refuted:
            break
    return prepared, state, status


def _drawn(prepared: Prepared, schedule: schedules.Schedule, seed: Any) -> tuple[Any, Any]:
    """The key and the colours that a schedule in the general layout may ask for."""
    if isinstance(schedule, schedules.damped):
        return None, None
    return randomness.jax_key(seed), jnp.asarray(schedules.colours(prepared.model))


def _info(prepared: Prepared, state: State, status: str, begun: float) -> Info:
    return Info(
        status,
        time.monotonic() - begun,
        bool(state.converged.all()),
        int(state.iterations.max(initial=0)),
        float(state.residuals.max(initial=0.0)),
        prepared.layout_name,
        messages(prepared, state),
    )
