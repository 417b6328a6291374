"""Discrete samplers guided by gradients: Gibbs with gradients, and discrete Langevin (DMALA).

    >>> graph = generators.ising_grid(4, 4, 0.3)
    >>> chain = langevin_of_graph(graph, step_size=0.5)
    >>> state = chain.init(jnp.zeros(16, int))
    >>> state, info = jax.jit(chain.step)(jax.random.key(0), state)

The log density is a function of indicators, float [V, S], that can be differentiated; a row is the
state of a variable. The gradient estimates the change of the log density for each change of one
variable, to first order, and exactly where the density is linear in each row, as those of
``discrete_targets.relaxed_log_density`` are. Metropolis and Hastings make either chain exact, to
within rounding and 2^-32 of a probability; one that starts where the density is zero leaves with
the first possible state that it proposes.

- ``gibbs_with_gradients``: one change is drawn from all V (S - 1), by the softmax of half of what
  it would add (Grathwohl, Swersky, Hashemi, Duvenaud and Maddison, "Oops I took a gradient", 2021).
- ``langevin``: all variables at once, each by such a softmax, less a charge for changing (Zhang,
  Liu and Liu, "A Langevin-like sampler for discrete distributions", 2022: DMALA).

A step takes the log density and its gradient once, together, as the state keeps those of where it
is; with ``accept_log_density`` it takes that one once as well.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from inference import samples
from inference.mcmc import algorithm, discrete_targets, sampling, threefry
from inference.problems import factor_graph

Density = Callable[[jax.Array], jax.Array]
_TUNING = 400  # steps that find the step size of ``sample``


class State(NamedTuple):
    """Where a chain is.

    Attributes:
      position: states of the variables, int [V].
      log_density: by which proposals are accepted, in nats; -inf also where it was NaN.
      gradient: of the log density that guides, in nats [V, S]; finite.
    """

    position: jax.Array
    log_density: jax.Array
    gradient: jax.Array


class Info(NamedTuple):
    """What a step did.

    Attributes:
      acceptance_rate: the probability that the proposal was accepted with.
      is_accepted: whether it was.
      is_nan: whether its log density was NaN, so that it was not.
      num_changed: variables that changed.
    """

    acceptance_rate: jax.Array
    is_accepted: jax.Array
    is_nan: jax.Array
    num_changed: jax.Array


def gibbs_with_gradients(
    log_density: Density, num_states: Any, *, accept_log_density: Density | None = None
) -> algorithm.SamplingAlgorithm:
    """The chain that changes one variable a step; exact for any ``log_density``.

    Args:
      log_density: in nats, of indicators float [V, S]; differentiable. It may be -inf.
      num_states: of each variable, int [V]; S is the largest.
      accept_log_density: of states, int [V], where the target has hard zeros and ``log_density``
        only guides; by default that of the indicators.

    Raises:
      ValueError: there is no change to propose, or a variable has no state.
    """
    domain = _domain(num_states)
    if not domain[:, 1:].any():
        raise ValueError("expected a variable of at least two states, given none")

    def log_chances(state: State) -> jax.Array:
        changes = domain & ~_is_state(state.position, domain)
        logits = jnp.where(changes, _half_changes(state), -jnp.inf)
        return jax.nn.log_softmax(logits.ravel()).reshape(domain.shape)

    def draw(noise: jax.Array, state: State) -> jax.Array:
        drawn = jnp.argmax(log_chances(state) + noise)
        variable, new = jnp.unravel_index(drawn, domain.shape)
        return state.position.at[variable].set(new.astype(state.position.dtype))

    def log_chance(state: State, to: jax.Array) -> jax.Array:
        variable = jnp.argmax(state.position != to)
        return log_chances(state)[variable, to[variable]]

    return _metropolised(log_density, domain, accept_log_density, draw, log_chance)


def langevin(
    log_density: Density,
    num_states: Any,
    step_size: Any,
    *,
    accept_log_density: Density | None = None,
) -> algorithm.SamplingAlgorithm:
    """The chain that may change all variables in a step; exact for any ``log_density``.

    A variable changes its state x for s with a chance in proportion to
    exp(g[s] / 2 - g[x] / 2 - 1 / (2 step_size)), where g is its row of the gradient, and stays in
    proportion to 1.

    Args:
      step_size: a number above 0, or one that is traced: where the chain is made inside a jitted
        function of it, another step size is no other trace. ``tune_langevin`` finds one.

    The other arguments are those of ``gibbs_with_gradients``.

    Raises:
      ValueError: a variable has no state.
    """
    domain = _domain(num_states)

    def log_chances(state: State) -> jax.Array:
        charge = jnp.where(_is_state(state.position, domain), 0.0, 0.5 / step_size)
        logits = jnp.where(domain, _half_changes(state) - charge, -jnp.inf)
        return jax.nn.log_softmax(logits, axis=1)

    def draw(noise: jax.Array, state: State) -> jax.Array:
        drawn = jnp.argmax(log_chances(state) + noise, axis=1)
        return drawn.astype(state.position.dtype)

    def log_chance(state: State, to: jax.Array) -> jax.Array:
        return jnp.take_along_axis(log_chances(state), to[:, None], axis=1).sum()

    return _metropolised(log_density, domain, accept_log_density, draw, log_chance)


def gibbs_with_gradients_of_graph(graph: factor_graph.FactorGraph) -> algorithm.SamplingAlgorithm:
    """``gibbs_with_gradients`` of a factor graph, hard zeros included."""
    log_density, exact = _densities(graph)
    return gibbs_with_gradients(log_density, graph.num_states, accept_log_density=exact)


def langevin_of_graph(
    graph: factor_graph.FactorGraph, step_size: Any
) -> algorithm.SamplingAlgorithm:
    """``langevin`` of a factor graph, hard zeros included."""
    log_density, exact = _densities(graph)
    return langevin(log_density, graph.num_states, step_size, accept_log_density=exact)


def sample(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    num_samples: int = 1000,
    num_chains: int = 8,
    iterations: int = 2**15,
) -> tuple[samples.Samples, sampling.Info]:
    """Draws by ``langevin`` with a tuned step size, ASYMPTOTIC; arguments as ``sampling.draw``."""
    given: dict[str, Any] = {"seed": seed, "timeout": timeout, "memory": memory}
    given |= {"num_samples": num_samples, "num_chains": num_chains, "iterations": iterations}
    return sampling.draw(graph, _tuned, **given)


def _tuned(
    graph: factor_graph.FactorGraph, key: jax.Array, positions: jax.Array
) -> algorithm.SamplingAlgorithm:
    """``langevin`` with the step size that chains from these positions are content with."""
    make = functools.partial(langevin_of_graph, graph)

    @jax.jit
    def tune(key: jax.Array, positions: jax.Array) -> jax.Array:
        states = jax.vmap(make(1.0).init)(positions)
        return tune_langevin(key, make, states, _TUNING)[1]

    return make(float(tune(key, positions)))


def tune_langevin(
    key: jax.Array,
    make: Callable[[jax.Array], algorithm.SamplingAlgorithm],
    states: State,
    num_steps: int,
    *,
    step_size: float = 0.5,
    target: float = 0.574,
) -> tuple[State, jax.Array]:
    """A warm-up that finds the step size at which chains accept as often as wanted.

    The logarithm of the step size follows the mean acceptance of all chains by Robbins and Monro's
    rule, and its mean over the second half is returned. While it moves the draws are of no exact
    chain; ``make(step_size)`` is one.

    Args:
      key: consumed.
      make: the chain of a step size, such as ``functools.partial(langevin_of_graph, graph)``.
      states: of C chains, along the first axis of every leaf.
      num_steps: of the warm-up.
      step_size: to begin with.
      target: acceptance; 0.574 is best for Langevin in many continuous dimensions.

    Returns:
      The states after the warm-up, and the step size, between 0.01 and 100.
    """
    num_chains = len(states.position)

    def once(carry: Any, given: Any) -> tuple[tuple[State, jax.Array], jax.Array]:
        (states, log_step), (key, gain) = carry, given
        step = jax.vmap(make(jnp.exp(log_step)).step)
        states, info = step(jax.random.split(key, num_chains), states)
        log_step += gain * (info.acceptance_rate.mean(dtype=log_step.dtype) - target)
        log_step = jnp.clip(log_step, np.log(0.01), np.log(100.0))
        return (states, log_step), log_step

    start = jnp.log(jnp.asarray(step_size, jnp.result_type(float)))
    gains = (1.0 + jnp.arange(num_steps, dtype=start.dtype)) ** -0.5
    keys = jax.random.split(key, num_steps)
    (states, _), path = jax.lax.scan(once, (states, start), (keys, gains))
    return states, jnp.exp(path[num_steps // 2 :].mean())


def _metropolised(
    log_density: Density,
    domain: np.ndarray,
    accept_log_density: Density | None,
    draw: Callable[[jax.Array, State], jax.Array],
    log_chance: Callable[[State, jax.Array], jax.Array],
) -> algorithm.SamplingAlgorithm:
    """The chain that accepts what is drawn at a state by Metropolis and Hastings.

    ``draw`` takes Gumbel variates [V, S], and ``log_chance`` is the logarithm of the probability
    that it goes from a state to a position.
    """

    def evaluate(position: jax.Array) -> State:
        dtype = jnp.result_type(float)
        indicators = jax.nn.one_hot(position, domain.shape[1], dtype=dtype)
        value, gradient = jax.value_and_grad(log_density)(indicators)
        if accept_log_density is not None:
            value = accept_log_density(position)
        # Any finite gradient makes an exact chain, so a broken one costs acceptance alone.
        large = -discrete_targets.FLOOR
        gradient = jnp.nan_to_num(gradient, nan=0.0, posinf=large, neginf=-large)
        return State(position, jnp.asarray(value, dtype), gradient)

    def init(position: Any, rng_key: jax.Array | None = None) -> State:
        """``rng_key`` is not used: nothing is drawn."""
        position = jnp.asarray(position)
        if position.shape != domain.shape[:1]:
            raise ValueError(f"expected states [{len(domain)}], given {list(position.shape)}")
        return _without_nan(evaluate(position))

    def step(rng_key: jax.Array, state: State) -> tuple[State, Info]:
        noise = threefry.gumbel(rng_key, domain.size + 1, state.log_density.dtype)
        proposal = evaluate(draw(noise[1:].reshape(domain.shape), state))
        is_nan = jnp.isnan(proposal.log_density)
        proposal = _without_nan(proposal)
        log_ratio = proposal.log_density - state.log_density
        log_ratio += log_chance(proposal, state.position) - log_chance(state, proposal.position)
        is_possible = proposal.log_density > -jnp.inf  # else the ratio may be NaN
        log_ratio = jnp.where(is_possible, log_ratio, -jnp.inf)
        is_accepted = -jnp.exp(-noise[0]) < log_ratio  # the logarithm of a uniform variate
        changes = jnp.sum(proposal.position != state.position)
        moved = jax.tree.map(lambda new, old: jnp.where(is_accepted, new, old), proposal, state)
        acceptance = jnp.exp(jnp.minimum(log_ratio, 0.0))
        return moved, Info(acceptance, is_accepted, is_nan, jnp.where(is_accepted, changes, 0))

    return algorithm.SamplingAlgorithm(init, step)


def _without_nan(state: State) -> State:
    value = state.log_density
    return state._replace(log_density=jnp.where(jnp.isnan(value), -jnp.inf, value))


def _half_changes(state: State) -> jax.Array:
    """Half of what each change of one variable adds to the log density, to first order [V, S]."""
    here = jnp.take_along_axis(state.gradient, state.position[:, None], axis=1)
    return 0.5 * (state.gradient - jnp.broadcast_to(here, state.gradient.shape))


def _is_state(position: jax.Array, domain: np.ndarray) -> jax.Array:
    return position[:, None] == jnp.arange(domain.shape[1], dtype=position.dtype)[None]


def _domain(num_states: Any) -> np.ndarray:
    """Which states each variable has, bool [V, S]."""
    sizes = np.asarray(num_states).reshape(-1)
    if sizes.size and sizes.min() < 1:
        raise ValueError(f"expected at least one state per variable, given {sizes.min()}")
    return np.arange(max(sizes.max(initial=1), 1)) < sizes[:, None]


def _densities(graph: factor_graph.FactorGraph) -> tuple[Density, Density | None]:
    """What guides, and what accepts where that is another: where a value is below the floor."""
    tables = factor_graph.tabulate(graph)
    unary = np.asarray(graph.log_unary)[_domain(graph.num_states)]
    values = [unary, tables.log_constant, *(group.log_potentials for group in tables.groups)]
    relaxed = discrete_targets.relaxed_log_density(graph)
    if all((np.asarray(one) > discrete_targets.FLOOR).all() for one in values):
        return relaxed, None
    return relaxed, discrete_targets.log_density(graph)
