"""What training of a bijection is, for ``nice_fit``: some steps on a buffer of draws at a time.

    >>> objective = likelihood.maximum_likelihood(2)
    >>> state = objective.init(jax.random.key(0), draws)
    >>> state, losses = objective.advance(jax.random.key(1), state, draws)
    >>> sampler = nice.nice(log_density, objective.bijection(state))

An objective says how a bijection is made and how it is improved; whether draws come from the
target is the affair of whoever fills the buffer.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from inference.mcmc import couplings

Array = jax.Array


class Training(NamedTuple):
    """A way of training.

    Attributes:
      name: for reports and figures.
      init: ``init(rng_key, buffer [B, D]) -> state``, a pytree of arrays.
      advance: ``advance(rng_key, state, buffer) -> (state, losses [K])``, K steps; jitted.
      bijection: what a state stands for, ready for ``nice``.
      num_rounds: calls of ``advance`` that make a full training.
    """

    name: str
    init: Callable[[Array, Array], Any]
    advance: Callable[[Array, Any, Array], tuple[Any, Array]]
    bijection: Callable[[Any], couplings.Bijection]
    num_rounds: int


def parameters(module: nnx.Module) -> tuple[Any, Any, Any]:
    """A module's graph, its trained arrays and the others, as ``nnx.merge`` takes them."""
    graph, *arrays = nnx.split(module, nnx.Param, ...)
    trained, others = arrays
    return graph, trained, others


def draw(rng_key: Array, buffer: Array, size: int) -> Array:
    """Rows of a buffer, with replacement: [size, D]."""
    return buffer[jax.random.randint(rng_key, (size,), 0, len(buffer))]


def units(buffer: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each column [D], 1 where it does not vary."""
    deviation = buffer.std(axis=0)
    return buffer.mean(axis=0), jnp.where(deviation > 0, deviation, 1.0)
