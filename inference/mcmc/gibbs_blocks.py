"""Sweeps of Gibbs sampling over tables of any arity and size, by gathers.

    >>> graph = factor_graph.build([2, 3], [((0, 1), [[0.5, 0.0, 0.0], [0.0, 0.5, -np.inf]])])
    >>> sweeps = prepare(graph, np.array([0, 1]))
    >>> sweeps.sweep(jax.random.key(0), jnp.zeros(2, jnp.int32)).tolist()
    [0, 0]

Inside a sweep variables are in the order of their blocks, so that a block is written in one piece.
A block is a part of a colour whose variables touch about as many factors: rows are padded to the
longest, and no hub makes them long for all.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from inference.mcmc import discrete_targets, threefry
from inference.problems import factor_graph


class Sweeps(NamedTuple):
    """A graph ready to be sampled.

    Attributes:
      sweep: ``sweep(key, position, beta=1.0) -> position``, int32 [V], of the density to a power
        above 0; the key is consumed.
      log_density: ``log_density(position)``, in nats.
    """

    sweep: Callable[..., jax.Array]
    log_density: Callable[[jax.Array], jax.Array]


class _Edges(NamedTuple):
    """Each variable of each table: where its row of entries starts and what moves it.

    Attributes:
      variables: int [E].
      starts: int [E], of the table among all entries laid end to end.
      strides: int [E], between entries for neighbouring states of the variable.
      others: int [E, K], the other variables of the table, 0 where there are fewer.
      other_strides: int [E, K], 0 there.
      arities: int [E].
    """

    variables: np.ndarray
    starts: np.ndarray
    strides: np.ndarray
    others: np.ndarray
    other_strides: np.ndarray
    arities: np.ndarray


class _Block(NamedTuple):
    """W variables that share no factor, with up to D factors of up to K other variables each.

    Attributes:
      log_unary: [W, S].
      starts: int32 [W, D]; padding starts at an entry of 0.
      strides: int32 [W, D].
      others: int32 [W, D, K], in the order of the blocks.
      other_strides: int32 [W, D, K].
    """

    log_unary: np.ndarray
    starts: np.ndarray
    strides: np.ndarray
    others: np.ndarray
    other_strides: np.ndarray


def prepare(graph: factor_graph.FactorGraph, colours: np.ndarray) -> Sweeps:
    """The sweeps of a graph of tables.

    Args:
      colours: int [V]; variables that share a factor have different ones.

    Raises:
      ValueError: there is no variable.
    """
    if not graph.num_variables:
        raise ValueError("expected at least one variable, given 0")
    entries, edges = _edges(graph)
    order, blocks = _blocks(np.asarray(graph.log_unary), edges, colours)
    rank = np.argsort(order)
    most = graph.log_unary.shape[1]

    def sweep(key: jax.Array, position: jax.Array, beta: Any = 1.0) -> jax.Array:
        table, at, states = jnp.asarray(entries), 0, position[order]
        words = 1 if most == 2 else most
        make = threefry.logistic if most == 2 else threefry.gumbel
        # Noise that is larger does what log densities do that are smaller.
        noise = make(key, len(order) * words, table.dtype).reshape(-1, words) / beta
        for block in blocks:
            end = at + len(block.log_unary)
            new = draw(_logits(block, table, states), noise[at:end], states[at:end])
            states = jax.lax.dynamic_update_slice(states, new, (at,))
            at = end
        return states[rank]

    return Sweeps(sweep, discrete_targets.log_density(graph))


def draw(logits: jax.Array, noise: jax.Array, old: jax.Array) -> jax.Array:
    """States int32 [W] of probabilities softmax(logits [W, S]); the old ones where all are -inf.

    Args:
      noise: logistic variates [W, 1] where S = 2, else Gumbel ones [W, S].
    """
    if logits.shape[1] == 2:
        new = (noise[:, 0] < logits[:, 1] - logits[:, 0]).astype(jnp.int32)
    else:
        new = jnp.argmax(logits + noise, axis=1).astype(jnp.int32)
    return jnp.where(jnp.max(logits, axis=1) > -jnp.inf, new, old)


def _logits(block: _Block, entries: jax.Array, states: jax.Array) -> jax.Array:
    """Log densities [W, S] of the states of a block's variables, up to a constant for each."""
    moved = jnp.sum(states[block.others] * block.other_strides, axis=2, dtype=jnp.int32)
    own = np.arange(block.log_unary.shape[1], dtype=np.int32)
    index = (moved + block.starts)[..., None] + block.strides[..., None] * own
    # Past a variable's domain this reads another entry, and the unary rules it out.
    terms = entries.at[index].get(mode="clip")  # [W, D, S]
    return jnp.asarray(block.log_unary, entries.dtype) + jnp.sum(terms, axis=1)


def _edges(graph: factor_graph.FactorGraph) -> tuple[np.ndarray, _Edges]:
    """All entries of the tables end to end, after a 0 for padding; and their edges."""
    entries, parts = [np.zeros(1)], [list[np.ndarray]() for _ in _Edges._fields]
    most = max((group.variables.shape[1] for group in graph.groups), default=1)
    for group in graph.groups:
        variables, tables = np.asarray(group.variables), np.asarray(group.log_potentials)
        number, arity = variables.shape
        sizes = np.array(tables.shape[1:])
        strides = np.append(np.cumprod(sizes[:0:-1])[::-1], 1)
        starts = sum(map(np.size, entries)) + sizes.prod() * np.arange(number)
        entries.append(tables.ravel())
        for axis in range(arity):
            padding = ((0, 0), (0, most - arity))
            others = np.pad(np.delete(variables, axis, axis=1), padding)
            steps = np.pad(np.tile(np.delete(strides, axis), (number, 1)), padding)
            same = np.full(number, strides[axis]), others, steps, np.full(number, arity)
            for part, more in zip(parts, (variables[:, axis], starts, *same), strict=True):
                part.append(more)
    if not graph.groups:
        parts = [[np.zeros((0, 0) if "other" in name else 0, int)] for name in _Edges._fields]
    return np.concatenate(entries), _Edges(*map(np.concatenate, parts))


def _blocks(
    log_unary: np.ndarray, edges: _Edges, colours: np.ndarray
) -> tuple[np.ndarray, list[_Block]]:
    """The order of the variables, int [V], and the blocks that follow each other in it."""
    degrees = np.bincount(edges.variables, minlength=len(colours))
    arities = np.ones(len(colours), int)
    np.maximum.at(arities, edges.variables, edges.arities)
    # Padding to the next power of 4 at most, of either.
    kinds = np.stack([colours, _steps(degrees), _steps(arities - 1)], axis=1)
    _, which = np.unique(kinds, axis=0, return_inverse=True)
    order = np.argsort(which.reshape(-1), kind="stable")
    rank, by_variable = np.argsort(order), np.argsort(edges.variables, kind="stable")
    firsts = np.cumsum(degrees) - degrees
    blocks = []
    for own in np.split(order, np.cumsum(np.bincount(which.reshape(-1)))[:-1]):
        slots = np.arange(degrees[own].max(initial=0))
        is_slot = slots[None] < degrees[own][:, None]
        found = by_variable[np.where(is_slot, firsts[own][:, None] + slots[None], 0)]
        width = arities[own].max(initial=1) - 1
        steps = np.where(is_slot[..., None], edges.other_strides[found, :width], 0)
        arrays = (
            np.where(is_slot, edges.starts[found], 0),
            np.where(is_slot, edges.strides[found], 0),
            rank[edges.others[found, :width]],
            steps,
        )
        blocks.append(_Block(log_unary[own], *(array.astype(np.int32) for array in arrays)))
    return order, blocks


def _steps(sizes: np.ndarray) -> np.ndarray:
    """The exponent of the power of 4 that reaches each size, int; -1 for 0."""
    return np.where(sizes > 0, np.ceil(np.log2(np.maximum(sizes, 1)) / 2), -1).astype(int)
