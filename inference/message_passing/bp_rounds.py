"""Rounds of belief propagation in any layout: the loop that is timed.

    >>> prepared = bp.prepare(generators.ising_grid(3, 3, 0.5))
    >>> limits, schedule = (1e-8, 1000), schedules.damped(0.5)
    >>> state = advance(prepared.layout, bp.init(prepared), (None, None), limits, schedule)
    >>> int(state.iteration) % EVERY, bool(state.converged[0])
    (0, True)

Convergence is looked at every ``EVERY`` rounds, for each graph of a batch alone; one that converged
stays where it is. What converged in float32, or in a layout that cuts, need not be a fixed point:
``confirmed`` asks one round of the general rules in float64. In float64 the layouts without cuts
are those rules. Where a variable has no state left, the general rules are what has to find that.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from inference.message_passing import edge_graph, schedules
from inference.message_passing.layouts import protocol
from inference.message_passing.rules import Array

EVERY = 8  # iterations from one look at convergence to the next
_FAR = 600.0  # nats beyond which two messages are alike: float64 layouts end at 700


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
    iteration: Array
    iterations: Array
    residuals: Array
    converged: Array


@functools.partial(jax.jit, static_argnames=("schedule",))
def advance(
    layout: protocol.Layout[Any],
    state: State,
    drawn: tuple[jax.Array | None, jax.Array | None],
    limits: tuple[Any, Any],
    schedule: schedules.Schedule,
) -> State:
    """Rounds until every graph has converged, or up to an iteration.

    Args:
      drawn: the key and the colours that schedules other than ``damped`` ask for, which need the
        layout ``general``.
      limits: the tolerance in nats, and the last iteration.
    """
    tolerance, last = limits
    number = len(state.converged)

    def mix(old: Any, new: Any, iteration: jax.Array) -> Any:
        if isinstance(schedule, schedules.damped):
            return layout.mix(old, new, schedule.weight)
        return schedule(drawn[0], iteration, old, new, drawn[1])

    def trip(state: State) -> State:
        count = jnp.minimum(EVERY, last - state.iteration)
        after, residuals = _rounds(layout, mix, state, count)
        if number > 1:  # graphs that converged before stay where they were
            after = layout.keep(state.converged, state.messages, after)
            residuals = jnp.where(state.converged, state.residuals, residuals)
        iterations = jnp.where(state.converged, state.iterations, state.iteration + count)
        made = state.iteration + count
        return State(after, made, iterations, residuals, residuals < tolerance)

    def goes_on(state: State) -> jax.Array:
        return (state.iteration < last) & ~jnp.all(state.converged)

    return jax.lax.while_loop(goes_on, trip, state)


def confirmed(
    model: edge_graph.EdgeModel, messages: Array, state: State, tolerance: float
) -> State:
    """Converged only where a round of a float64 model moves no message by more nats.

    Args:
      messages: those of the state, as ``edge_graph`` has them.
    """
    with jax.enable_x64(True):
        moved = np.asarray(moves(model, messages))
    refuted = state.converged & ~(moved <= tolerance)
    residuals = np.where(refuted, moved, state.residuals)
    return state._replace(residuals=residuals, converged=state.converged & ~refuted)


@jax.jit
def moves(model: edge_graph.EdgeModel, messages: jax.Array) -> jax.Array:
    """How far a round moves a message of each graph, nats [G]; inf where nothing is possible."""
    fresh = edge_graph.update(model, messages)
    # Of rows, which are normalised, only the small entries are far out.
    far = jnp.minimum(jnp.abs(messages), jnp.abs(fresh)) > _FAR
    alike = far & (jnp.sign(messages) == jnp.sign(fresh))
    moves = edge_graph.change(jnp.where(alike, fresh, messages), fresh)
    moves = jnp.where(model.edge_mask, jnp.nan_to_num(moves, nan=jnp.inf, posinf=jnp.inf), 0.0)
    lost = jnp.where(edge_graph.beliefs(model, messages).sum(axis=1) > 0, 0.0, jnp.inf)
    ids = jnp.concatenate([jnp.asarray(model.graph_ids)[model.edge_variables], model.graph_ids])
    return edge_graph.largest_by_graph(jnp.concatenate([moves, lost]), ids, model.num_graphs)


@jax.jit
def choose(layout: protocol.Layout[Any], keeps: jax.Array, old: State, new: State) -> State:
    """Old states of the graphs that keep them, bool [G], else new ones."""
    return State(
        layout.keep(keeps, old.messages, new.messages),
        jnp.maximum(old.iteration, new.iteration),
        *(jnp.where(keeps, a, b) for a, b in zip(old[2:], new[2:])),
    )


def _rounds(
    layout: protocol.Layout[Any], mix: Callable, state: State, count: jax.Array
) -> tuple[Any, jax.Array]:
    """Messages after so many rounds, and by how much the last would have moved each graph's."""
    start, number = state.iteration, len(state.converged)

    def one(i: jax.Array, carried: tuple[Any, Any]) -> tuple[Any, Any]:
        old, cavities = carried
        after = mix(old, layout.send(old, cavities), start + i)
        return after, layout.collect(after)

    # Cavities are carried, or XLA would make them again for every message that reads them.
    carried = state.messages, layout.collect(state.messages)
    before, cavities = jax.lax.fori_loop(0, count - 1, one, carried)
    fresh = layout.send(before, cavities)
    residuals = layout.change(before, fresh, number)
    return mix(before, fresh, start + count - 1), residuals
