"""Accept or reject: what every Metropolis kernel does last.

    >>> half = jnp.log(jnp.float32(0.5))
    >>> accept(jax.random.key(0), half, jnp.zeros(2), jnp.ones(2))[1].acceptance_rate
    Array(0.5, dtype=float32)

Hard zeros and NaN are never entered, and one can always leave them.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Info(NamedTuple):
    """Of one step, scalars: the probability with which it was accepted, and whether it was."""

    acceptance_rate: jax.Array
    is_accepted: jax.Array


def known(log_density: jax.Array) -> jax.Array:
    """The log density, with -inf for NaN."""
    return jnp.where(jnp.isnan(log_density), -jnp.inf, log_density)


def accept(key: jax.Array, log_ratio: jax.Array, state: Any, proposed: Any) -> tuple[Any, Info]:
    """The proposed state with probability min(1, exp(log_ratio)), the other one otherwise.

    Args:
      key: consumed.
      log_ratio: a scalar in nats; NaN, as of two hard zeros, rejects.
      state, proposed: pytrees alike.
    """
    probability = jnp.exp(jnp.minimum(known(log_ratio), 0.0))
    is_accepted = jax.random.uniform(key, (), probability.dtype) < probability
    chosen = jax.tree.map(lambda new, old: jnp.where(is_accepted, new, old), proposed, state)
    return chosen, Info(probability, is_accepted)
