"""The learned operators H of BPNN-D, which correct messages by how far they moved.

    >>> to_factor, to_variable = shipped()
    >>> to_factor(jnp.zeros((3, 2))).tolist()  # H(0) = 0: fixed points of belief propagation stay
    [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]

Kuck et al., "Belief propagation neural networks" (NeurIPS 2020); ``bpnn_layers`` says what follows
from the Lipschitz constant. Operators are pytrees that can be called.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
from flax import nnx

from inference import training

WEIGHTS = Path(__file__).parent / "weights" / "bpnn_d.npz"

# For messages to factors and to variables, both from differences to corrections [..., 2].
Operators = tuple[Callable[[jax.Array], jax.Array], Callable[[jax.Array], jax.Array]]


class Operator(nnx.Module):
    """H(d) = s (g(d) - g(0)), g(d) = relu(W2 relu(W1 d + b1) + b2), with 12 trained numbers.

    Starts near s relu(d), as published; ``key`` adds normal noise of size ``noise``. The rate s is
    not trained.
    """

    def __init__(self, rate: float = 0.05, key: jax.Array | None = None, noise: float = 0.0):
        if not 0 <= rate < 1:
            raise ValueError(f"expected a rate in [0, 1), given {rate}")
        keys = jax.random.split(jax.random.key(0) if key is None else key, 4)
        draw = [noise * jax.random.normal(k, (2, 2), jnp.float32) for k in keys]
        self.rate = nnx.Param(jnp.asarray(rate, jnp.float32))
        self.weights = nnx.Param(jnp.stack([jnp.eye(2) + draw[0], jnp.eye(2) + draw[1]]))
        self.biases = nnx.Param(jnp.stack([draw[2][0], draw[3][0]]))

    def __call__(self, difference: jax.Array) -> jax.Array:
        """Corrections [..., 2] of messages with these differences [..., 2], previous - fresh."""
        dtype = difference.dtype
        # The largest column sum of |W| is its Lipschitz constant in the 1-norm; relu has 1.
        weights = jnp.asarray(self.weights[...], dtype)
        norms = jnp.abs(weights).sum(axis=1, keepdims=True).max(axis=2, keepdims=True)
        first, second = weights / jnp.maximum(norms, 1.0)
        b_first, b_second = jnp.asarray(self.biases[...], dtype)

        def g(d: jax.Array) -> jax.Array:
            hidden = jax.nn.relu(jnp.matmul(d, first.T) + _row(b_first, d))
            return jax.nn.relu(jnp.matmul(hidden, second.T) + _row(b_second, d))

        rate = jax.lax.stop_gradient(jnp.asarray(self.rate[...], dtype))
        return rate * (g(difference) - g(jnp.zeros_like(difference)))


def one_sided(operator: Operator) -> Operator:
    """Weights changed so that only what moves a message to state 0 is damped.

    From messages that favour neither state this leads to one ordered phase.
    """
    turn = jnp.array([[-1.0, 0.0], [0.0, 0.0]], jnp.float32)
    operator.weights.set_value(operator.weights[...].at[1].add(turn))
    return operator


def damping(alpha: float) -> Operators:
    """H(d) = alpha d for both directions: damped BP, and BP itself for 0."""
    operator = jax.tree_util.Partial(jnp.multiply, alpha)
    return operator, operator


@functools.cache
def shipped() -> Operators:
    """The trained operators that come with the package."""
    return training.load(WEIGHTS, (Operator(), Operator()))


def _row(vector: jax.Array, like: jax.Array) -> jax.Array:
    """A vector with as many axes as an array, against silent broadcasting of ranks."""
    return vector.reshape((1,) * (like.ndim - 1) + (-1,))
