"""A Metropolis chain of single sites, simple enough to be believed, and ways to make it wrong."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from inference.mcmc import algorithm, discrete_targets


class State(NamedTuple):
    position: jax.Array
    log_density: jax.Array


class Info(NamedTuple):
    acceptance_rate: jax.Array


def kernel(graph, excess=0.0, moves=1.0):
    """A step proposes one state of every variable in turn.

    ``excess`` is added to every log ratio, which makes it wrong; with probability ``1 - moves`` a
    step does nothing, which makes it slow.
    """
    score, sizes = discrete_targets.log_density(graph), jnp.asarray(graph.num_states)

    def init(position, rng_key=None):
        return State(position, score(position))

    def one(state, given):
        variable, key = given
        key_state, key_accept = jax.random.split(key)
        new = jax.random.randint(key_state, (), 0, sizes[variable], state.position.dtype)
        position = state.position.at[variable].set(new)
        proposed = State(position, score(position))
        ratio = proposed.log_density - state.log_density + excess * (new == 0)
        rate = jnp.where(proposed.log_density > -jnp.inf, jnp.exp(jnp.minimum(ratio, 0.0)), 0.0)
        accepted = jax.random.uniform(key_accept, dtype=rate.dtype) < rate
        return jax.tree.map(lambda x, y: jnp.where(accepted, x, y), proposed, state), rate

    def step(rng_key, state):
        key_sites, key_moves = jax.random.split(rng_key)
        keys = jax.random.split(key_sites, graph.num_variables)
        moved, rates = jax.lax.scan(one, state, (jnp.arange(graph.num_variables), keys))
        is_moved = jax.random.uniform(key_moves) < moves
        state = jax.tree.map(lambda x, y: jnp.where(is_moved, x, y), moved, state)
        return state, Info(rates.mean())

    return algorithm.SamplingAlgorithm(init, step)


def prepare(graph, key, positions, **given):
    """The kernel as ``sampling.draw`` asks for it."""
    return kernel(graph, **given)
