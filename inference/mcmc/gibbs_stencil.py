"""Sweeps of Gibbs sampling over binary pairwise graphs whose neighbours lie at few distances.

    >>> graph = generators.ising_grid(2, 3, 0.5)
    >>> sweeps = prepare(graph, np.array([0, 1, 0, 1, 0, 1]))
    >>> float(sweeps.log_density(jnp.ones(6, jnp.int32)))
    3.5

In a grid numbered row by row neighbours are 1 and one row apart, round the end of the vector in a
torus. A sweep shifts the whole vector once for each distance, direction and colour and keeps what
is new of that colour: nothing is gathered or scattered, and each variable has one random word.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from inference.mcmc import gibbs_blocks, threefry
from inference.problems import factor_graph

MOST_OFFSETS = 6
LEAST_FILLED = 0.5  # of all pairs at these distances: what is missing is computed all the same


class _Stencil(NamedTuple):
    """Potentials as vectors over the variables.

    Attributes:
      log_unary: [2, V].
      tables: by distance d > 0, [2, 2, V]: what i and i + d score in states a and b, at [a, b, i].
      constant: what is left.
    """

    log_unary: np.ndarray
    tables: dict[int, np.ndarray]
    constant: float


def prepare(graph: factor_graph.FactorGraph, colours: np.ndarray) -> gibbs_blocks.Sweeps | None:
    """The sweeps of a graph of tables, None where it is of another kind or it would not pay.

    Args:
      colours: int [V]; variables that share a factor have different ones.
    """
    stencil = _lay_out(graph)
    if stencil is None:
        return None
    masks = colours == np.arange(colours.max() + 1)[:, None]
    field, terms = _fields(stencil)
    is_finite = all(np.isfinite(part).all() for part in (field, *sum(terms.values(), ())))

    def sweep(key: jax.Array, position: jax.Array, beta: Any = 1.0) -> jax.Array:
        noise = threefry.logistic(key, position.size, jnp.asarray(field).dtype) / beta

        def one(states: jax.Array, is_own: jax.Array) -> tuple[jax.Array, None]:
            log_odds = jnp.asarray(field)
            for neighbours, (high, low) in zip(_shifted(states, terms), terms.values()):
                log_odds += jnp.where(neighbours, high, low)
            new = noise < log_odds
            if not is_finite:  # NaN where both states are ruled out
                new = jnp.where(jnp.isnan(log_odds), states, new)
            return jnp.where(is_own, new, states), None

        # In a loop, or the compiler would draw the words again for every colour.
        return jax.lax.scan(one, position == 1, jnp.asarray(masks))[0].astype(jnp.int32)

    return gibbs_blocks.Sweeps(sweep, lambda position: _log_density(stencil, position == 1))


def _shifted(states: jax.Array, distances: Iterable[int]) -> list[jax.Array]:
    """For each distance d, of either sign, the states [V] of the variables i + d."""
    reach = max(map(abs, distances))
    wrapped = jnp.pad(states, reach, mode="wrap")
    return [wrapped[reach + d : reach + d + states.size] for d in distances]


def _log_density(stencil: _Stencil, states: jax.Array) -> jax.Array:
    terms = jnp.where(states, stencil.log_unary[1], stencil.log_unary[0])
    for ahead, table in zip(_shifted(states, stencil.tables), stencil.tables.values()):
        of_zero, of_one = (jnp.where(ahead, _slim(row[1]), _slim(row[0])) for row in table)
        terms += jnp.where(states, of_one, of_zero)
    # CPUs add many at a time in a product, one by one in a sum.
    ones = jnp.ones(terms.size, terms.dtype)
    return stencil.constant + jnp.dot(terms, ones, precision="highest")


def _fields(stencil: _Stencil) -> tuple[np.ndarray, dict[int, tuple[np.ndarray, np.ndarray]]]:
    """Log odds of state 1: by the unaries [V]; by a neighbour at each distance, for its 1 and 0."""
    terms = {}
    with np.errstate(invalid="ignore"):  # NaN where both states are ruled out
        for distance, table in stencil.tables.items():
            ahead, behind = table[1] - table[0], table[:, 1] - table[:, 0]
            terms[distance] = _slim(ahead[1]), _slim(ahead[0])
            behind = np.roll(behind, distance, axis=1)
            terms[-distance] = _slim(behind[1]), _slim(behind[0])
        return stencil.log_unary[1] - stencil.log_unary[0], terms


def _lay_out(graph: factor_graph.FactorGraph) -> _Stencil | None:
    size, shapes = graph.num_variables, {np.shape(g.log_potentials)[1:] for g in graph.groups}
    if shapes != {(2, 2)} or np.any(graph.num_states != 2):
        return None
    first, second = np.concatenate([group.variables for group in graph.groups]).T
    tables = np.concatenate([group.log_potentials for group in graph.groups])
    is_back = 2 * ((second - first) % size) > size  # the way round the end is shorter
    first, second = np.where(is_back, (second, first), (first, second))
    tables = np.where(is_back[:, None, None], tables.swapaxes(1, 2), tables)
    distances = (second - first) % size
    offsets, pairs = np.unique(distances), np.unique(distances * size + first)
    if len(offsets) > MOST_OFFSETS or len(pairs) < LEAST_FILLED * size * len(offsets):
        return None
    stencil = _Stencil(np.array(graph.log_unary.T, float), {}, float(graph.log_constant))
    for distance in offsets.tolist():
        own, table = distances == distance, np.zeros((size, 2, 2))
        np.add.at(table, first[own], tables[own])
        stencil = _added(stencil, distance, np.moveaxis(table, 0, 2))
    return stencil


def _added(stencil: _Stencil, distance: int, table: np.ndarray) -> _Stencil:
    """The stencil with a table [2, 2, V]; of a finite one only a single number is a pair's own."""
    log_unary, constant = stencil.log_unary, stencil.constant
    if np.isfinite(table).all():
        constant += table[0, 0].sum()
        of_first, of_second = table[1, 0] - table[0, 0], table[0, 1] - table[0, 0]
        shared = of_first + np.roll(of_second, distance)
        log_unary = np.stack([log_unary[0], log_unary[1] + shared])
        table = np.pad((table[1, 1] - table[0, 1] - of_first)[None, None], ((1, 0), (1, 0), (0, 0)))
    return _Stencil(log_unary, {**stencil.tables, distance: table}, constant)


def _slim(vector: np.ndarray) -> np.ndarray:
    """The vector, a single 0 where it holds nothing else, which costs nothing."""
    return vector if vector.any() else np.zeros(())
