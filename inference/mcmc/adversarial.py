"""Adversarial training of A-NICE-MC: a critic of pairs tells the chain's draws from the target's.

    >>> objective = pairwise_adversarial(2)

Song, Zhao and Ermon (NeurIPS 2017), section 4: from draws of the target and from noise, the chain
without its accept step should reach pairs like two independent draws of the target, one after the
other (equation 6); WGAN-GP (Gulrajani et al. 2017) with the penalty at a point of each example's
own. The energy of the new auxiliary, with weight ``eta``, keeps acceptance up.
"""

import functools
from collections.abc import Sequence
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


class Settings(NamedTuple):
    """What does not change: module graphs, and the arguments of ``pairwise_adversarial``."""

    graph: Any
    critic_graph: Any
    optimizer: optax.GradientTransformation
    most_before: int
    most_between: int
    batch: int
    penalty: float
    eta: float
    critic_steps: int


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
    num_rounds: int = 100,
    steps_per_round: int = 20,
) -> objectives.Training:
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
      num_rounds: of a full training.
      steps_per_round: of the generator, of each call of ``advance``.
    """
    auxiliary = dimension if num_auxiliary is None else num_auxiliary
    optimizer = optax.adam(learning_rate, b1=0.5, b2=0.9)
    leak = functools.partial(nnx.leaky_relu, negative_slope=_LEAK)

    def modules(rng_key: Array, location: Any, scale: Any) -> list[Any]:
        key_generator, key_critic = jax.random.split(rng_key)
        units = {"location": location, "scale": scale}
        rngs = nnx.Rngs(key_generator)
        generator = couplings.Couplings(dimension, auxiliary, widths, **units, rngs=rngs)
        sizes = (2 * dimension, 1, critic_widths)
        critic = couplings.CouplingNetwork(*sizes, leak, nnx.Rngs(key_critic))
        return [objectives.parameters(one) for one in (generator, critic)]

    blank = modules(jax.random.key(0), *jnp.ones((2, dimension)))
    graph, critic_graph = (one[0] for one in blank)
    lengths = (most_before, most_between, batch, penalty, eta, critic_steps)
    settings = Settings(graph, critic_graph, optimizer, *lengths)

    def init(rng_key: Array, buffer: Array) -> State:
        (_, generator, constants), (_, critic, _) = modules(rng_key, *objectives.units(buffer))
        starts = optimizer.init(generator), optimizer.init(critic)
        return State(generator, critic, constants, *starts)

    @jax.jit
    def advance(rng_key: Array, state: State, buffer: Array) -> tuple[State, Array]:
        keys = jax.random.split(rng_key, steps_per_round)
        return jax.lax.scan(functools.partial(_improve, settings, buffer), state, keys)

    def bijection(state: State) -> couplings.Couplings:
        return nnx.merge(graph, state.generator, state.constants)

    return objectives.Training("adversarial", init, advance, bijection, num_rounds)


def _improve(
    settings: Settings, buffer: Array, state: State, rng_key: Array
) -> tuple[State, Array]:
    """Steps of the critic, then one of the generator; with the critic's last gain."""
    key_critic, key_rows, key_fake = jax.random.split(rng_key, 3)
    keys = jax.random.split(key_critic, settings.critic_steps)
    improve_critic = functools.partial(_improve_critic, settings, buffer)
    state, losses = jax.lax.scan(improve_critic, state, keys)
    real = objectives.draw(key_rows, buffer, settings.batch)
    slope = jax.grad(_generator_loss, argnums=1)(settings, state.generator, state, key_fake, real)
    updates, chosen = settings.optimizer.update(slope, state.generator_optimizer)
    generator = optax.apply_updates(state.generator, updates)
    # Its sign turned, what the critic makes of the distance between real and fake pairs.
    return state._replace(generator=generator, generator_optimizer=chosen), -losses[-1]


def _improve_critic(
    settings: Settings, buffer: Array, state: State, rng_key: Array
) -> tuple[State, Array]:
    key_first, key_second, key_third, key_fake, key_share = jax.random.split(rng_key, 5)
    first = objectives.draw(key_first, buffer, settings.batch)
    flow = nnx.merge(settings.graph, state.generator, state.constants)
    made, _ = _fake_pairs(settings, flow, key_fake, first)
    drawn = [objectives.draw(key, buffer, len(made)) for key in (key_second, key_third)]
    real = jnp.concatenate(drawn, axis=1) / jnp.tile(flow.scale[...], 2)[None]
    shares = jax.random.uniform(key_share, (len(made), 1), buffer.dtype)
    arguments = (settings, state.critic, real, made, shares)
    value, slope = jax.value_and_grad(_critic_loss, argnums=1)(*arguments)
    updates, chosen = settings.optimizer.update(slope, state.critic_optimizer)
    critic = optax.apply_updates(state.critic, updates)
    return state._replace(critic=critic, critic_optimizer=chosen), value


def _critic_loss(settings: Settings, critic: Any, real: Array, made: Array, shares: Array) -> Array:
    """High on real pairs, with slopes of norm 1 between real and fake ones."""
    judge = nnx.merge(settings.critic_graph, critic)
    between = shares * real + (1.0 - shares) * made
    slopes = jax.vmap(jax.grad(lambda pair: judge(pair)[0]))(between)
    norms = jnp.sqrt(jnp.sum(slopes**2, axis=1) + 1e-12)
    return judge(made).mean() - judge(real).mean() + settings.penalty * jnp.mean((norms - 1.0) ** 2)


def _generator_loss(
    settings: Settings, generator: Any, state: State, rng_key: Array, real: Array
) -> Array:
    flow = nnx.merge(settings.graph, generator, state.constants)
    made, energy = _fake_pairs(settings, flow, rng_key, real)
    judge = nnx.merge(settings.critic_graph, state.critic)
    return settings.eta * energy - judge(made).mean()


def _fake_pairs(
    settings: Settings, flow: couplings.Couplings, rng_key: Array, real: Array
) -> tuple[Array, Array]:
    """Pairs (x', x) from draws x and (z', z) from noise in units of the flow, and their energy.

    x' and z' are m moves after x and z, z is b moves after noise; the gradient goes through the m
    moves alone.
    """
    key_before, key_between, key_noise, key_moves = jax.random.split(rng_key, 4)
    between = jax.random.randint(key_between, (), 1, settings.most_between + 1)
    before = jax.random.randint(key_before, (), 1, settings.most_before + 1)
    location, scale = flow.location[...], flow.scale[...]
    noise = jax.random.normal(key_noise, real.shape, real.dtype)
    noise = location[None] + scale[None] * noise
    noise = jax.lax.fori_loop(
        0, before, lambda i, z: _moves(flow, jax.random.fold_in(key_moves, i), z)[0], noise
    )
    first = jax.lax.stop_gradient(jnp.concatenate([real, noise]))
    moved, energy = first, jnp.zeros(())
    for number in range(settings.most_between):
        key = jax.random.fold_in(key_moves, settings.most_before + number)
        ahead, spent = _moves(flow, key, moved)
        goes = number < between
        moved, energy = jnp.where(goes, ahead, moved), jnp.where(goes, spent, energy)
    return jnp.concatenate([moved, first], axis=1) / jnp.tile(scale, 2)[None], energy


def _moves(flow: couplings.Couplings, rng_key: Array, positions: Array) -> tuple[Array, Array]:
    """One move of each chain, never rejected, and the mean energy of the new auxiliaries."""
    key_auxiliary, key_direction = jax.random.split(rng_key)
    shape = (len(positions), flow.num_auxiliary)
    auxiliary = jax.random.normal(key_auxiliary, shape, positions.dtype)
    directions = jax.random.bernoulli(key_direction, shape=(len(positions),))
    moved = jax.vmap(flow.move)(positions, auxiliary, directions)
    return moved.position, jnp.mean(jnp.sum(moved.auxiliary**2, axis=1)) / 2
