"""Adversarial training of A-NICE-MC: a critic of pairs tells the chain's draws from the target's.

    >>> objective = pairwise_adversarial(2)

Song, Zhao and Ermon (NeurIPS 2017), section 4: from draws of the target and from noise, the chain
without its accept step should reach pairs like two independent draws of the target, one after the
other (equation 6); WGAN-GP (Gulrajani et al. 2017) with the penalty at a point of each example's
own. The energy of the new auxiliary, with weight ``eta``, keeps acceptance up.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from inference.mcmc import couplings, objectives

Array = jax.Array
_LEAK = 0.2


class State(NamedTuple):
    """Trained arrays of generator and critic, the generator's constants, both optimizers."""

    generator: Any
    critic: Any
    constants: Any
    generator_optimizer: Any
    critic_optimizer: Any


def pairwise_adversarial(
    dimension: int,
    *,
    num_auxiliary: int | None = None,
    widths: Sequence[Sequence[int]] = ((400,), (400,), (400,)),
    critic_widths: Sequence[int] = (400, 400, 400),
    most_before: int = 8,
    most_between: int = 2,
    batch: int = 32,
    penalty: float = 10.0,
    eta: float = 1.0,
    learning_rate: float = 5e-4,
    critic_steps: int = 5,
    steps_per_round: int = 20,
) -> objectives.Objective:
    """The paper's objective with its settings for two dimensions.

    Args:
      dimension: D, of positions.
      num_auxiliary: M, by default D.
      widths: of the hidden layers of each coupling; they keep volume.
      critic_widths: of the critic's hidden layers.
      most_before: B, moves from noise before the first of a pair, drawn from 1 to B.
      most_between: M, moves between the two of a pair.
      batch: pairs of each kind.
      penalty: weight of the squared distance of the critic's gradient norm from 1.
      eta: weight of the energy of the auxiliary.
      learning_rate: Adam's, with momenta 0.5 and 0.9.
      critic_steps: a step of the generator.
      steps_per_round: of the generator, of each call of ``advance``.
    """
    auxiliary = dimension if num_auxiliary is None else num_auxiliary
    optimizer = optax.adam(learning_rate, b1=0.5, b2=0.9)

    def modules(rng_key: Array, location: Any, scale: Any) -> tuple[Any, Any]:
        key_generator, key_critic = jax.random.split(rng_key)
        shape: dict[str, Any] = {"location": location, "scale": scale}
        shape["rngs"] = nnx.Rngs(key_generator)
        leak = functools.partial(nnx.leaky_relu, negative_slope=_LEAK)
        critic = couplings.Network(2 * dimension, 1, critic_widths, leak, nnx.Rngs(key_critic))
        return couplings.Couplings(dimension, auxiliary, widths, **shape), critic

    graphs = [
        objectives.parameters(one)[0]
        for one in modules(jax.random.key(0), *jnp.ones((2, dimension)))
    ]
    move = _Moves(graphs[0], auxiliary, most_before, most_between)

    def init(rng_key: Array, buffer: Array) -> State:
        scale = jnp.where(buffer.std(axis=0) > 0, buffer.std(axis=0), 1.0)
        both = modules(rng_key, buffer.mean(axis=0), scale)
        (_, generator, constants), (_, critic, _) = map(objectives.parameters, both)
        return State(
            generator, critic, constants, optimizer.init(generator), optimizer.init(critic)
        )

    def judge(critic: Any, pairs: Array) -> Array:
        return nnx.merge(graphs[1], critic, nnx.State({}))(pairs)[..., 0]

    def scores(critic: Any, constants: Any, pairs: Array) -> Array:
        """The critic on pairs in units of the buffer's spread."""
        where = nnx.merge(graphs[0], *_blank(graphs[0], constants))
        raise NotImplementedError
