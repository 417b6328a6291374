"""Whether what converged in float32, or in a layout that cuts, is a fixed point all the same.

    >>> model = edge_graph.prepare(generators.ising_grid(3, 3, 0.5, 0.1))
    >>> float(moves(model, edge_graph.start(model))[0]) > 0.01
    True

One round of the general rules in float64 tells. In float64 the layouts without cuts are those
rules. Where a variable has no state left, the general rules are what has to find that.
"""

import jax
import jax.numpy as jnp
import numpy as np

from inference.message_passing import edge_graph
from inference.message_passing.bp_rounds import State
from inference.message_passing.rules import Array

_FAR = 600.0  # nats beyond which two messages are alike: float64 layouts end at 700


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
