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

from inference.mcmc import algorithm, couplings

Array = jax.Array


class State(NamedTuple):
    """Where a chain is: position [D], and the log density there in nats."""

    position: Array
    log_density: Array


class Info(NamedTuple):
    """How a step went.

    Attributes:
      acceptance_probability: of the proposal.
      is_accepted: whether the chain moved.
      is_local: whether the proposal was that of the random walk.
      is_nan: whether the log density or the bijection was NaN at the proposal, which is rejected.
    """

    acceptance_probability: Array
    is_accepted: Array
    is_local: Array
    is_nan: Array


def init(log_density: Callable[[Array], Array], position: Array, rng_key: Any = None) -> State:
    """A chain at a position; nothing is drawn."""
    return State(position, log_density(position))


def nice(
    log_density: Callable[[Array], Array],
    bijection: couplings.Bijection,
    *,
    local_share: float = 0.0,
    local_scale: Any = 1.0,
) -> algorithm.SamplingAlgorithm:
    """The kernel: a mixture of moves by the bijection and a random walk, each reversible.

    Args:
      log_density: of a position [D], unnormalised, in nats; -inf where the target is zero.
      bijection: of position and auxiliary.
      local_share: how often a step is one of a Gaussian random walk instead. Any share above 0
        makes the chain irreducible whatever the bijection.
      local_scale: of the random walk, a number or [D].
    """

    def step(rng_key: Array, state: State) -> tuple[State, Info]:
        key_normal, key_choice, key_accept = jax.random.split(rng_key, 3)
        position = state.position
        dtype, dimension = position.dtype, position.shape[0]
        size = max(bijection.num_auxiliary, dimension)
        normal = jax.random.normal(key_normal, (size,), dtype)
        choice = jax.random.uniform(key_choice, (2,), dtype)
        # The direction is drawn for each chain: f and its inverse make a symmetric proposal.
        auxiliary = normal[: bijection.num_auxiliary]
        moved = bijection.move(position, auxiliary, choice[0] < 0.5)
        is_local = choice[1] < local_share
        walked = position + local_scale * normal[:dimension]
        proposal = jnp.where(is_local, walked, moved.position)
        value = log_density(proposal)
        gain = jnp.sum(auxiliary**2) / 2 - jnp.sum(moved.auxiliary**2) / 2 + moved.log_determinant
        log_ratio = value - state.log_density + jnp.where(is_local, 0.0, gain)
        # From where the target is zero any place will do; that is no part of a chain that began
        # inside.
        log_ratio = jnp.where(state.log_density == -jnp.inf, 0.0, log_ratio)
        is_nan = jnp.isnan(log_ratio) | jnp.isnan(value)
        probability = jnp.where(is_nan, 0.0, jnp.exp(jnp.minimum(log_ratio, 0.0)))
        accepted = jax.random.uniform(key_accept, (), dtype) < probability
        new = State(
            jnp.where(accepted, proposal, position), jnp.where(accepted, value, state.log_density)
        )
        return new, Info(probability, accepted, is_local, is_nan)

    return algorithm.SamplingAlgorithm(
        lambda position, rng_key=None: init(log_density, position, rng_key), step
    )
