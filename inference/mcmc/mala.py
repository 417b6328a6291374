"""The Metropolis-adjusted Langevin algorithm: normal steps with a drift along the gradient.

    >>> chain = mala(lambda x: -0.5 * jnp.sum(x**2), 0.5)
    >>> state, info = chain.step(jax.random.key(0), chain.init(jnp.ones(2)))
    >>> state.gradient.shape
    (2,)

For tempering the power ``beta`` of the density is apart from it, so that a state holds nothing that
depends on the temperature. Roberts and Tweedie, Bernoulli 2, 1996.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from inference.mcmc import algorithm, metropolis


class State(NamedTuple):
    """Of one chain: position [D], log density and its gradient [D], of power 1."""

    position: jax.Array
    log_density: jax.Array
    gradient: jax.Array


def mala(
    log_density: Callable[[jax.Array], jax.Array], step_size: ArrayLike, beta: ArrayLike = 1.0
) -> algorithm.SamplingAlgorithm:
    """A chain of density exp(beta * log_density); its draws claim ``ASYMPTOTIC``.

    One log density with its gradient a step. Where the density is -inf or NaN no chain goes, and a
    gradient that is not finite counts as 0.

    Args:
      log_density: of a position [D], a scalar, in nats; differentiable.
      step_size: h in x + h beta gradient + sqrt(2 h) noise: a number or [D].
      beta: the power of the density; at 0 hard zeros are zeros still.
    """

    def init(position: ArrayLike, rng_key: jax.Array | None = None) -> State:
        here = jnp.asarray(position)
        value, gradient = jax.value_and_grad(log_density)(here)
        gradient = jnp.where(jnp.isfinite(gradient), gradient, 0.0)
        return State(here, metropolis.known(value), gradient)

    def drift(state: State) -> jax.Array:
        power = jnp.asarray(beta, state.position.dtype)
        return jnp.asarray(step_size, power.dtype) * power * state.gradient

    def log_proposal(start: State, end: State) -> jax.Array:
        apart = end.position - start.position - drift(start)
        return -jnp.sum(apart**2 / (4 * jnp.asarray(step_size, apart.dtype)))

    def step(rng_key: jax.Array, state: State) -> tuple[State, metropolis.Info]:
        key_noise, key_accept = jax.random.split(rng_key)
        noise = jax.random.normal(key_noise, state.position.shape, state.position.dtype)
        spread = jnp.sqrt(2 * jnp.asarray(step_size, noise.dtype))
        proposed = init(state.position + drift(state) + spread * noise)
        gain = proposed.log_density - state.log_density
        correction = log_proposal(proposed, state) - log_proposal(state, proposed)
        log_ratio = jnp.asarray(beta, gain.dtype) * gain + correction
        return metropolis.accept(key_accept, log_ratio, state, proposed)

    return algorithm.SamplingAlgorithm(init, step)
