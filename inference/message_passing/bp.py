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
are their parts, for repeats, batches and timing; ``bp_compiled`` is for gradients, and inside
``jit`` and ``vmap``. The layout is chosen from the graph by ``layouts.protocol``; ``general`` it is
for schedules other than ``damped``. All make the same iterates.
"""

import dataclasses
import functools
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import DTypeLike

from inference import answer, estimate, limits, randomness
from inference.message_passing import bp_rounds, edge_graph, schedules
from inference.message_passing.bp_rounds import State
from inference.message_passing.layouts import general, protocol
from inference.problems import factor_graph

_WORK = 10**8  # messages computed between looks at the clock: a second at most


class Info(NamedTuple):
    """How a run ended.

    Attributes:
      status: "done", "timeout" or "interrupted".
      seconds: wall time, compilation included.
      converged: every graph has.
      iterations: the most that a graph took.
      residual: the largest of a graph, in nats.
      layout: its name among ``layouts``.
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

    model: edge_graph.EdgeModel
    layout: protocol.Layout[Any]
    temperature: float
    dtype: DTypeLike

    @property
    def layout_name(self) -> str:
        return type(self.layout).__name__.lower()


def prepare(
    graph: factor_graph.FactorGraph,
    *,
    temperature: float = 1.0,
    dtype: DTypeLike = np.float64,
    fast: bool = True,
    **batch: Any,
) -> Prepared:
    """The work on the host, once per graph.

    Args:
      temperature: 1 for sums, 0 for maxima; above 0 it divides the potentials.
      dtype: of the messages; what is read off them is float64 always.
      fast: whether a fast layout may be taken.
      batch: ``graph_ids`` and ``log_constants`` of a batch, see ``bp_batch.join``.
    """
    make = functools.partial(edge_graph.prepare, graph, temperature=temperature, **batch)
    model = make()
    small = model if np.dtype(dtype) == np.float64 else make(dtype=dtype)
    layout = protocol.choose(small) if fast else general.prepare(small)
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
        np.zeros((), np.int32),
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

    What ``bp_rounds.confirmed`` refutes, in float32 or a layout that cuts, has not converged.

    Args:
      schedule: which messages move, and how far; all but ``damped`` need ``fast=False``.
      tolerance: nats that a round of flooding may still move a message by where it has converged;
        1e-8 in float64 and 1e-5 in float32 by default, 0 never converges.
      deadline: looked at before the first round and a few times a second.
    """
    is_general = isinstance(prepared.layout, general.General)
    if not is_general and not isinstance(schedule, schedules.damped):
        raise ValueError(f"expected a damped schedule in a fast layout, given {schedule}")
    if tolerance is None:
        tolerance = 1e-8 if np.dtype(prepared.dtype).itemsize > 4 else 1e-5
    end = int(state.iteration) + iterations
    rounds = max(bp_rounds.EVERY, _WORK // max(len(prepared.model.edge_variables), 1))

    def some_rounds(state: State) -> State:
        until = min(int(state.iteration) + rounds, end)
        return bp_rounds.advance(prepared.layout, state, drawn, (tolerance, until), schedule)

    def done(state: State) -> bool:
        return int(state.iteration) >= end or bool(np.asarray(state.converged).all())

    with jax.enable_x64(True):
        drawn = schedules.drawn(schedule, prepared.model, seed)
        state, status = limits.run_until(some_rounds, state, done, deadline)
    # All but the messages is numpy: float64 arrays of jax warn outside this context.
    state = State(state.messages, *(np.asarray(part) for part in state[1:]))
    if state.converged.any() and (prepared.layout.cuts or np.dtype(prepared.dtype).itemsize <= 4):
        sent = messages(prepared, state)
        state = bp_rounds.confirmed(prepared.model, sent, state, 100 * tolerance)
    return state, status


def messages(prepared: Prepared, state: State) -> np.ndarray:
    """Messages from factors to variables as ``edge_graph`` has them, float64 [E] or [E, S]."""
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
    prepared: Prepared, starts: Sequence[schedules.Start], *, seed: Any = 0, **options: Any
) -> tuple[State, str]:
    """Runs from each start; every graph keeps its converged run of largest Bethe value.

    Without a converged run it keeps the first. ``options`` are those of ``run``; a time limit holds
    for all runs together.
    """
    best, status, values = None, "done", np.full(prepared.model.num_graphs, -np.inf)
    for start in starts:
        state, status = run(prepared, init(prepared, start, seed=seed), seed=seed, **options)
        if len(starts) == 1:
            return state, status
        value = np.where(state.converged, bethe(prepared, state), -np.inf)
        chosen = prepared.layout, value <= values
        best = state if best is None else bp_rounds.choose(*chosen, best, state)
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
    dtype: DTypeLike = np.float64,
    tolerance: float | None = None,
    iterations: int = 1000,
) -> tuple[estimate.Estimate, Info]:
    """Bethe log Z at a fixed point, a claim of NONE; -inf proves nothing but is right where Z = 0.

    Args:
      seed: of starts and schedules that draw; those by default do not.
      timeout: seconds, checked a few times a second; the first value is that of the first start.
      memory: mebibytes that messages and tables may take, by ``edge_graph.octets``.
      schedule: which messages move, and how far.
      starts: the converged run of largest value is kept; ``schedules.ordered`` for ferromagnets.
      temperature: t, for the approximation of t log sum exp(score / t).
      dtype: of messages.
      tolerance, iterations: as in ``run``.

    Raises:
      ValueError: more memory is needed, there is no start, or the temperature is negative.
    """
    begun = time.monotonic()
    options = {"schedule": schedule, "tolerance": tolerance, "iterations": iterations}
    solved = _solve(graph, starts, temperature, dtype, timeout, memory, seed=seed, **options)
    return estimate.Estimate(float(bethe(*solved[:2])[0])), _info(*solved, begun)


def marginals(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    schedule: schedules.Schedule = schedules.damped(0.5),
    starts: Sequence[schedules.Start] = (schedules.uniform,),
    temperature: float = 1.0,
    dtype: DTypeLike = np.float64,
    tolerance: float | None = None,
    iterations: int = 1000,
) -> tuple[np.ndarray, Info]:
    """Beliefs of the variables, float64 [V, S]; arguments as for ``log_partition``.

    All zero where messages leave a variable no state, so that Z = 0.
    """
    begun = time.monotonic()
    options = {"schedule": schedule, "tolerance": tolerance, "iterations": iterations}
    solved = _solve(graph, starts, temperature, dtype, timeout, memory, seed=seed, **options)
    rows = beliefs(*solved[:2])
    rows = rows if (rows.sum(axis=1) > 0).all() else np.zeros_like(rows)
    return rows, _info(*solved, begun)


def maximize(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    schedule: schedules.Schedule = schedules.damped(0.5),
    start: schedules.Start = schedules.uniform,
    dtype: DTypeLike = np.float64,
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
    options = {"schedule": schedule, "tolerance": tolerance, "iterations": iterations}
    solved = _solve(noisy, (start,), 0.0, dtype, timeout, memory, seed=seed, **options)
    assignment = np.argmax(np.where(log_unary > -np.inf, beliefs(*solved[:2]), -1.0), axis=1)
    value, info = factor_graph.score(graph, assignment), _info(*solved, begun)
    if value == -np.inf:
        return answer.Answer(answer.Status.UNKNOWN, value, seconds=info.seconds), info
    found = assignment[None]
    return answer.Answer(answer.Status.FEASIBLE, value, np.inf, found, info.seconds), info


_enter = jax.jit(lambda layout, messages: layout.enter(messages))
_leave = jax.jit(lambda layout, messages: layout.leave(messages))
_bethe = jax.jit(edge_graph.bethe)
_beliefs = jax.jit(edge_graph.beliefs)


def _solve(
    graph: factor_graph.FactorGraph,
    starts: Sequence[schedules.Start],
    temperature: float,
    dtype: DTypeLike,
    timeout: float | None,
    memory: int | None,
    **options: Any,
) -> tuple[Prepared, State, str]:
    """The best run; what is refuted runs again in float64, then in the general layout."""
    options["deadline"] = limits.Deadline.after(timeout)
    limits.require_memory(edge_graph.octets(graph), memory, "messages and tables")
    is_damped = isinstance(options["schedule"], schedules.damped)
    ways = dict.fromkeys([(np.dtype(dtype), is_damped), (np.dtype(float), is_damped)])
    for precision, fast in [*ways, (np.dtype(float), False)]:
        prepared = prepare(graph, temperature=temperature, dtype=precision, fast=fast)
        state, status = best_of(prepared, starts, **options)
        is_settled = state.converged.all() or int(state.iterations.max()) >= options["iterations"]
        if status != "done" or is_settled:
            break
    return prepared, state, status


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
