"""A-NICE-MC: Metropolised moves by a learned bijection; one density evaluation a draw.

    >>> flow = couplings.Couplings(2, 2, [(400,), (400,), (400,)], rngs=nnx.Rngs(0))
    >>> sampler = nice(lambda x: -jnp.sum(x**2) / 2, flow)
    >>> states = jax.vmap(sampler.init)(jnp.zeros((32, 2)))
    >>> states, draws = algorithm.run(jax.random.key(0), sampler, states, 1000)

Song, Zhao and Ermon, "A-NICE-MC: Adversarial Training for MCMC" (NeurIPS 2017), section 3.2. The
target is invariant for any bijection, trained or not, whose log |det| is right; training is in
``adversarial`` and ``likelihood``, and ``nice_fit`` does all from a log density alone.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from inference.mcmc import algorithm, couplings, metropolis

Array = jax.Array


class Info(NamedTuple):
    """How a step went.

    Attributes:
      acceptance_rate: the probability with which the proposal was accepted.
      is_accepted: whether it was.
      is_local: whether it was one of the random walk.
      is_nan: whether the density or the bijection was NaN there, which rejects.
    """

    acceptance_rate: Array
    is_accepted: Array
    is_local: Array
    is_nan: Array


def nice(
    log_density: Callable[[Array], Array],
    bijection: couplings.Bijection,
    *,
    local_share: float = 0.0,
    local_scale: Any = 1.0,
) -> algorithm.SamplingAlgorithm:
    """The kernel: a mixture of moves by the bijection and a random walk, each reversible.

    One log density a step, no gradient; draws claim ``ASYMPTOTIC``.

    Args:
      log_density: of a position [D], unnormalised, in nats; -inf where the target is zero.
      bijection: of position and auxiliary.
      local_share: how often a step is one of a Gaussian random walk instead. Any share above 0
        makes the chain irreducible whatever the bijection.
      local_scale: of the random walk in the median, a number or [D]; each step draws its own, log-
        normal around it, for modes of different widths.
    """

    def init(position: Array, rng_key: Any = None) -> algorithm.State:
        return algorithm.State(position, metropolis.known(log_density(position)))

    def step(rng_key: Array, state: algorithm.State) -> tuple[algorithm.State, Info]:
        key_normal, key_choice, key_accept = jax.random.split(rng_key, 3)
        position, dimension = state.position, state.position.shape[0]
        size, dtype = max(bijection.num_auxiliary, dimension + 1), position.dtype
        normal = jax.random.normal(key_normal, (size,), dtype)
        direction, choice = jax.random.uniform(key_choice, (2,), dtype)
        # Each chain draws f or its inverse, so that the way back is as likely.
        auxiliary = normal[: bijection.num_auxiliary]
        moved = bijection.move(position, auxiliary, direction < 0.5)
        energy = (jnp.sum(moved.auxiliary**2) - jnp.sum(auxiliary**2)) / 2
        # Its width is drawn whatever the position, so the walk is symmetric as well.
        walked = position + local_scale * jnp.exp(normal[dimension]) * normal[:dimension]
        is_local = choice < local_share
        value = log_density(jnp.where(is_local, walked, moved.position))
        gain = jnp.where(is_local, 0.0, moved.log_determinant - energy)
        log_ratio = value - state.log_density + gain
        proposed = algorithm.State(
            jnp.where(is_local, walked, moved.position), metropolis.known(value)
        )
        new, told = metropolis.accept(key_accept, log_ratio, state, proposed)
        return new, Info(*told, is_local, jnp.isnan(value + gain))

    return algorithm.SamplingAlgorithm(init, step)
