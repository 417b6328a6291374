"""What every sampler here is: ``init`` and ``step`` of one chain, in the shape of BlackJAX.

    >>> walk = SamplingAlgorithm(lambda x, rng_key=None: x, lambda key, x: (x + 1, None))
    >>> run(jax.random.key(0), walk, jnp.zeros(2), 3, collect=lambda x, _: x)[1]
    Array([[1., 2., 3.],
           [1., 2., 3.]], dtype=float32)

Samplers of BlackJAX have the same two functions, so they run here, and ours run there.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class SamplingAlgorithm(NamedTuple):
    """A Markov chain.

    Attributes:
      init: ``init(position, rng_key=None) -> state``; ``state.position`` is where the chain is.
      step: ``step(rng_key, state) -> (state, info)``; pure, one trace, leaves the target invariant.
    """

    init: Callable[..., Any]
    step: Callable[[jax.Array, Any], tuple[Any, Any]]


class State(NamedTuple):
    """Where a chain is that carries nothing but its density along.

    Attributes:
      position: int32 [V] of a discrete chain, [D] of a continuous one.
      log_density: of it, a scalar in nats.
    """

    position: jax.Array
    log_density: jax.Array


def position(state: Any, info: Any) -> Any:
    """What ``run`` keeps of a step, unless told otherwise."""
    return state.position


def run(
    key: jax.Array,
    algorithm: Any,
    states: Any,
    num_draws: int,
    *,
    thin: int = 1,
    collect: Callable[[Any, Any], Any] = position,
) -> tuple[Any, Any]:
    """Runs chains side by side; jit it with ``algorithm``, ``num_draws`` and the rest fixed.

    Args:
      key: consumed.
      algorithm: a ``SamplingAlgorithm``, ours or BlackJAX's.
      states: of C chains, along the first axis of every leaf.
      num_draws: how many are kept, T.
      thin: steps a draw.
      collect: what is kept of a chain after a draw, from its state and the last info.

    Returns:
      The last states, and what was collected, along axes [C, T, ...].
    """
    num_chains = jax.tree.leaves(states)[0].shape[0]
    step = jax.vmap(algorithm.step)

    def once(states: Any, keys: jax.Array) -> tuple[Any, Any]:
        return step(keys, states)

    def draw(states: Any, key: jax.Array) -> tuple[Any, Any]:
        keys = jax.random.split(key, (thin, num_chains))
        states, infos = jax.lax.scan(once, states, keys)
        last = jax.tree.map(lambda leaf: leaf[-1], infos)
        return states, jax.vmap(collect)(states, last)

    states, kept = jax.lax.scan(draw, states, jax.random.split(key, num_draws))
    return states, jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), kept)
