"""Random-walk Metropolis: normal steps, accepted by the ratio of the densities.

    >>> walk = random_walk(lambda x: -0.5 * jnp.sum(x**2), 1.0)
    >>> state, info = walk.step(jax.random.key(0), walk.init(jnp.zeros(2)))
    >>> state.position.shape
    (2,)

For tempering the power ``beta`` of the density is apart from it, so that a state holds nothing that
depends on the temperature. Metropolis et al., Journal of Chemical Physics 21, 1953.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from inference.mcmc import algorithm, metropolis


def random_walk(
    log_density: Callable[[jax.Array], jax.Array], scale: ArrayLike, beta: ArrayLike = 1.0
) -> algorithm.SamplingAlgorithm:
    """A chain of density exp(beta * log_density); its draws claim ``ASYMPTOTIC``.

    One log density a step. Where it is -inf or NaN no chain goes.

    Args:
      log_density: of a position [D], a scalar, in nats.
      scale: of the steps: a number, [D], or [D, D] that multiplies a standard normal vector.
      beta: the power of the density; at 0 hard zeros are zeros still.
    """

    def init(position: ArrayLike, rng_key: jax.Array | None = None) -> algorithm.State:
        here = jnp.asarray(position)
        return algorithm.State(here, metropolis.known(log_density(here)))

    def step(rng_key: jax.Array, state: algorithm.State) -> tuple[algorithm.State, metropolis.Info]:
        key_noise, key_accept = jax.random.split(rng_key)
        noise = jax.random.normal(key_noise, state.position.shape, state.position.dtype)
        stretch = jnp.asarray(scale, noise.dtype)
        moved = stretch @ noise if stretch.ndim == 2 else stretch * noise
        proposed = init(state.position + moved)
        gain = proposed.log_density - state.log_density
        log_ratio = jnp.asarray(beta, gain.dtype) * gain
        return metropolis.accept(key_accept, log_ratio, state, proposed)

    return algorithm.SamplingAlgorithm(init, step)
