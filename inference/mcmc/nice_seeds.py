"""Where training begins: draws of tempered sequential Monte Carlo from broad starts.

>>> seeds = temper(jax.random.key(0), log_density, jnp.zeros(2), 10.0, 4096)
>>> seeds.runs.shape
(4, 1024, 2)
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from inference.mcmc import algorithm, annealing, mala, metropolis

Array = jax.Array
#: Breadths of the independent runs in units of the caller's scale: modes that only a broader start
#: finds show in the normaliser.
BREADTHS = (1.0, 1.0, 2.0, 2.0)
_ACCEPTANCE = 0.57  # the best of Langevin moves


class Seeds(NamedTuple):
    """Draws, and how far the runs agree.

    Attributes:
      positions: [N, D], of all runs together, each in proportion to its normaliser.
      log_densities: at the positions, [N], in nats.
      runs: [R, N / R, D], of each run.
      log_normalizers: estimates of log Z by each run, [R], in nats.
      is_finished: whether each run came to the target.
      density_evaluations: of all, as many with their gradient.
    """

    positions: Array
    log_densities: Array
    runs: Array
    log_normalizers: Array
    is_finished: Array
    density_evaluations: Array


def temper(
    rng_key: Array,
    log_density: Callable[[Array], Array],
    middle: Array,
    scale: float,
    number: int,
) -> Seeds:
    """So many particles in all, from normal densities around ``middle`` [D]; jitted here.

    Raises:
      ValueError: the density is zero, or not a number, at every particle.
    """
    each = -(-number // len(BREADTHS))
    seeds = _all_runs(log_density, each, middle, jnp.asarray(scale, middle.dtype), rng_key)
    if not np.isfinite(seeds.log_densities).any():
        raise ValueError("expected a density above zero near the starts, given zero or NaN there")
    return seeds


@functools.partial(jax.jit, static_argnums=(0, 1))
def _all_runs(
    log_density: Callable[[Array], Array], number: int, middle: Array, scale: Array, rng_key: Array
) -> Seeds:
    dimension = middle.shape[0]
    moves = 10 + dimension

    def run(rng_key: Array, breadth: Array) -> tuple[Array, annealing.Info]:
        key_start, key_run = jax.random.split(rng_key)

        def log_start(x: Array) -> Array:
            squares = jnp.sum(((x - middle) / breadth) ** 2)
            return -squares / 2 - dimension * (jnp.log(breadth) + jnp.log(2 * jnp.pi) / 2)

        def build(beta: Array, particles: Array, scale: Array) -> algorithm.SamplingAlgorithm:
            return mala.mala(annealing.between(log_start, log_density, beta), scale)

        noise = jax.random.normal(key_start, (number, dimension), middle.dtype)
        start = middle[None] + breadth * noise
        densities = (log_start, log_density, build)
        return annealing.anneal(key_run, start, *densities, num_moves=moves, acceptance=_ACCEPTANCE)

    key_runs, key_choice, key_order = jax.random.split(rng_key, 3)
    breadths = scale * jnp.array(BREADTHS, middle.dtype)
    runs, told = jax.vmap(run)(jax.random.split(key_runs, len(BREADTHS)), breadths)
    chosen = annealing.systematic(key_choice, jnp.repeat(told.log_normalizer, number))
    positions = jax.random.permutation(key_order, runs.reshape(-1, dimension)[chosen])
    spent = number * jnp.sum(1 + told.num_stages * (moves + 2))
    log_densities = metropolis.known(jax.vmap(log_density)(positions))
    return Seeds(positions, log_densities, runs, told.log_normalizer, told.is_finished, spent)


def middle(starts: Any, dimension: int) -> Array:
    """The mean of the caller's starts [C, D], the origin where there are none.

    Raises:
      ValueError: they are not [C, D].
    """
    if starts is None:
        return jnp.zeros(dimension)
    if np.ndim(starts) != 2 or np.shape(starts)[1] != dimension or not len(starts):
        raise ValueError(f"expected starts [C, {dimension}], given {list(np.shape(starts))}")
    return jnp.asarray(starts, jnp.result_type(float)).mean(axis=0)
