"""Belief propagation to be differentiated: one compiled function per structure, implicit messages.

    >>> graph = generators.ising_grid(3, 3, 0.5, 0.1)
    >>> log_partition = compile_log_partition(graph)
    >>> round(float(log_partition(graph)), 3)
    7.962

``compile_log_partition`` is for Bethe values and their gradients, ``fixed_point`` for derivatives
of what is read off the messages, beliefs for example.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from inference.message_passing import edge_graph, schedules
from inference.problems import factor_graph


def compile_log_partition(
    graph: factor_graph.FactorGraph,
    *,
    damping: float = 0.5,
    tolerance: float | None = None,
    iterations: int = 1000,
) -> Callable[[factor_graph.FactorGraph], jax.Array]:
    """A jitted function from graphs with the structure of this one to Bethe log Z in nats.

    As ``elimination.compile_log_partition``, for models of any width, clauses and parities too: the
    structure is taken from ``graph`` once, potentials and hard zeros may change. ``jit``, ``vmap``
    and ``grad`` work, in the dtype of the arrays. At a fixed point the Bethe value is stationary in
    the messages, so its gradient is the beliefs: by ``log_unary`` those of the variables, by the
    tables those of the factors, 0 at hard zeros and where Z = 0. Where messages have not settled
    within ``iterations`` value and gradient are those of the last ones: ``bp.log_partition`` tells.

    Args:
      damping, tolerance, iterations: as in ``schedules.damped`` and ``bp.run``.
    """
    structure, expected = edge_graph.prepare(graph), jax.tree.map(np.shape, graph)

    def compiled_log_partition(graph: factor_graph.FactorGraph) -> jax.Array:
        given = jax.tree.map(np.shape, graph)
        if given != expected:
            raise ValueError(f"expected a graph of shapes {expected}, given {given}")
        model = _with_potentials(structure, graph)
        precise = model.log_unary.dtype.itemsize > 4
        least = (1e-8 if precise else 1e-5) if tolerance is None else tolerance
        fixed = jax.lax.stop_gradient(model)
        messages = _settle(fixed, schedules.damped(damping), least, iterations)
        return edge_graph.bethe(model, messages)[0]

    return jax.jit(compiled_log_partition)


def fixed_point(model: edge_graph.EdgeModel, messages: jax.Array) -> jax.Array:
    """The messages, which must be a fixed point, with its derivatives by the potentials.

    Forward and reverse mode solve the linearised update by GMRES (implicit function theorem).
    Infinite entries are constants.
    """
    messages = jax.lax.stop_gradient(messages)
    finite = jnp.isfinite(messages)

    def residual(free: jax.Array) -> jax.Array:
        # Maxima of -inf have no derivative; only entries that move are looked at.
        moved = edge_graph.update(model, jnp.where(finite, free, messages))
        return jnp.where(finite, jnp.where(finite, moved, 0.0), 0.0) - free

    def by_gmres(linear: Callable, right: jax.Array) -> jax.Array:
        return jax.scipy.sparse.linalg.gmres(linear, right, tol=1e-10, restart=50, maxiter=40)[0]

    def solve_linear(linear: Callable, right: jax.Array) -> jax.Array:
        return jax.lax.custom_linear_solve(linear, right, by_gmres, by_gmres)

    known = jnp.where(finite, messages, 0.0)
    found = jax.lax.custom_root(residual, known, lambda _, guess: guess, solve_linear)
    return jnp.where(finite, found, messages)


def _with_potentials(
    structure: edge_graph.EdgeModel, graph: factor_graph.FactorGraph
) -> edge_graph.EdgeModel:
    """The model with the potentials of a graph, all of one dtype."""
    tables = [g.log_potentials for g in graph.groups if isinstance(g, factor_graph.FactorGroup)]
    dtype = jnp.result_type(graph.log_unary, *tables)
    values = [jnp.asarray(table, dtype) for table in tables]
    constants = jnp.asarray(graph.log_constant, dtype)[None]
    model = dataclasses.replace(structure, log_constants=constants)
    return edge_graph.with_potentials(model, (jnp.asarray(graph.log_unary, dtype), tuple(values)))


def _settle(
    model: edge_graph.EdgeModel, schedule: schedules.damped, tolerance: float, iterations: int
) -> jax.Array:
    """Messages of the general layout, from those that say nothing; traced."""

    def one(carried: tuple) -> tuple:
        messages, count, _ = carried
        fresh = edge_graph.update(model, messages)
        moves = jnp.where(model.edge_mask, edge_graph.change(messages, fresh), 0.0)
        mixed = schedule(None, count, messages, fresh, None)
        return mixed, count + 1, jnp.max(moves, initial=0.0)

    def goes_on(carried: tuple) -> jax.Array:
        return (carried[1] < iterations) & (carried[2] > tolerance)

    quiet = jnp.asarray(edge_graph.start(model))
    begin = quiet, jnp.int32(0), jnp.asarray(jnp.inf, quiet.dtype)
    return jax.lax.while_loop(goes_on, one, begin)[0]
