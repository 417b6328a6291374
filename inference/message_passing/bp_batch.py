"""Belief propagation on many graphs at once: of any shapes end to end, or of one shape by ``vmap``.

    >>> graphs = [generators.spin_glass_grid(seed, 4, 4, 1.0) for seed in range(3)]
    >>> graph, graph_ids, log_constants = join(graphs)
    >>> prepared = bp.prepare(graph, graph_ids=graph_ids, log_constants=log_constants)
    >>> state, _ = bp.run(prepared, bp.init(prepared))
    >>> bp.bethe(prepared, state).shape, state.converged.tolist()
    ((3,), [True, True, True])

Joined graphs run on one device, each until it has converged, and equal shapes do not matter: grids
of one width even share a stencil. Stacked graphs can be spread over devices.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from inference.message_passing import bp, bp_rounds, schedules
from inference.message_passing.bp_rounds import State
from inference.problems import factor_graph


def join(
    graphs: Sequence[factor_graph.FactorGraph],
) -> tuple[factor_graph.FactorGraph, np.ndarray, np.ndarray]:
    """Graphs of any shapes as one disconnected graph, with ``graph_ids`` and ``log_constants``."""
    states = max((graph.log_unary.shape[1] for graph in graphs), default=1)
    starts = np.cumsum([0, *(graph.num_variables for graph in graphs)])
    unary = [np.zeros((0, states))]
    groups: dict[Any, list[Any]] = {}
    for graph, start in zip(graphs, starts.tolist()):
        width = ((0, 0), (0, states - graph.log_unary.shape[1]))
        unary.append(np.pad(graph.log_unary, width, constant_values=-np.inf))
        for group in graph.groups:
            moved = group._replace(variables=np.asarray(group.variables) + np.int32(start))
            groups.setdefault((type(group), *(a.shape[1:] for a in group)), []).append(moved)
    merged = [type(g[0])(*(np.concatenate(arrays) for arrays in zip(*g))) for g in groups.values()]
    sizes = [np.zeros(0, np.int32), *(graph.num_states for graph in graphs)]
    joined = factor_graph.FactorGraph(
        np.concatenate(sizes), np.concatenate(unary), tuple(merged), np.float64(0.0)
    )
    ids = np.repeat(np.arange(len(graphs), dtype=np.int32), np.diff(starts))
    return joined, ids, np.array([float(graph.log_constant) for graph in graphs])


def run_stacked(
    prepared: Sequence[bp.Prepared],
    *,
    tolerance: float = 1e-6,
    iterations: int = 1000,
    sharding: jax.sharding.Sharding | None = None,
) -> list[State]:
    """Runs graphs of one shape and layout side by side; their states, for ``bp.bethe`` and others.

    From messages that say nothing, damped by one half.

    Args:
      sharding: of the leading axis, the graphs; their number is a multiple of the devices.

    Raises:
      ValueError: the graphs differ in shape or layout.
    """
    states = [bp.init(one) for one in prepared]
    shapes = {str(jax.tree.map(np.shape, one.layout)) for one in prepared}
    if len(shapes) != 1:
        raise ValueError(f"expected graphs of one shape and layout, given {len(shapes)}")
    with jax.enable_x64(True):
        layouts, stacked = (
            jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
            for trees in ([one.layout for one in prepared], states)
        )
        if sharding is not None:
            layouts, stacked = jax.device_put((layouts, stacked), sharding)
        found = _advance_stacked(layouts, stacked, tolerance, iterations)
        found = jax.tree.map(np.asarray, found)
    return [jax.tree.map(lambda leaf, i=i: leaf[i], found) for i in range(len(prepared))]


@jax.jit
def _advance_stacked(layouts: Any, states: State, tolerance: float, iterations: int) -> State:
    def one(layout: Any, state: State) -> State:
        limits, schedule = (tolerance, iterations), schedules.damped(0.5)
        return bp_rounds.advance(layout, state, (None, None), limits, schedule)

    return jax.vmap(one)(layouts, states)
