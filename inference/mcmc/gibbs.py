"""Gibbs sampling: in chromatic blocks on factor graphs, site by site for any log density.

    >>> algorithm = gibbs(generators.ising_grid(3, 3, 0.4))
    >>> state = algorithm.init(jnp.zeros(9, int))
    >>> state, info = jax.jit(algorithm.step)(jax.random.key(0), state)
    >>> state.position.shape, int(info.num_changed)
    ((9,), 3)

A step is one sweep: every variable is drawn anew from its conditional given all others (Geman and
Geman, "Stochastic relaxation, Gibbs distributions, and the Bayesian restoration of images", 1984).
Variables of one colour share no factor, so they are drawn at once (Gonzalez, Low, Gretton and
Guestrin, "Parallel Gibbs sampling: from colored fields to thin junction trees", AISTATS 2011).
Probabilities are met to within 2^-32 and the rounding of the log densities, and a state ruled out
by a hard zero is never drawn. A variable with all its states ruled out, which happens only where a
chain starts in a state of no probability, keeps its own.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np

from inference import samples
from inference.mcmc import algorithm, gibbs_blocks, gibbs_stencil, sampling, threefry
from inference.problems import convert, factor_graph


class Info(NamedTuple):
    """What a sweep did.

    Attributes:
      num_changed: variables whose state is another, int32.
    """

    num_changed: jax.Array


def gibbs(graph: factor_graph.FactorGraph) -> algorithm.SamplingAlgorithm:
    """Sweeps over the variables of a graph, colour after colour.

    Binary pairwise graphs whose neighbours lie at few distances, such as grids and tori numbered
    row by row, are swept by shifts (``gibbs_stencil``), all others by gathers of the tables that
    touch a variable (``gibbs_blocks``).

    Raises:
      ValueError: there is no variable, or a clause or parity has too many for a table.
    """
    return tempered(graph)(1.0)


def tempered(graph: factor_graph.FactorGraph) -> Callable[[Any], algorithm.SamplingAlgorithm]:
    """``gibbs`` of the density to a power above 0, which may be traced; for ``tempering``.

    ``State.log_density`` is that of the power 1. Raises as ``gibbs``.
    """
    graph = factor_graph.tabulate(graph)
    colours = colour(graph)
    sweeps = gibbs_stencil.prepare(graph, colours) or gibbs_blocks.prepare(graph, colours)

    def init(position: jax.Array, rng_key: jax.Array | None = None) -> algorithm.State:
        position = jnp.asarray(position, jnp.int32)
        return algorithm.State(position, sweeps.log_density(position))

    def step(rng_key: jax.Array, state: algorithm.State, beta: Any) -> tuple[algorithm.State, Info]:
        position = sweeps.sweep(rng_key, state.position, beta)
        changed = jnp.sum(position != state.position, dtype=jnp.int32)
        return algorithm.State(position, sweeps.log_density(position)), Info(changed)

    return lambda beta: algorithm.SamplingAlgorithm(init, functools.partial(step, beta=beta))


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
    """Draws by ``gibbs``, ASYMPTOTIC; arguments as ``sampling.draw``."""
    given: dict[str, Any] = {"seed": seed, "timeout": timeout, "memory": memory}
    given |= {"num_samples": num_samples, "num_chains": num_chains, "iterations": iterations}
    return sampling.draw(graph, lambda graph, *_: gibbs(graph), **given)


def gibbs_of_log_density(
    log_density: Callable[[jax.Array], jax.Array], num_states: Sequence[int] | np.ndarray
) -> algorithm.SamplingAlgorithm:
    """Sweeps over single variables in their order; S evaluations for each of them.

    Args:
      log_density: of states int32 [V], in nats up to a constant; NaN counts as -inf.
      num_states: of each variable, [V]; S is the largest.

    Raises:
      ValueError: a variable has no state.
    """
    sizes = np.asarray(num_states, np.int32).reshape(-1)
    if sizes.min(initial=1) < 1:
        raise ValueError(f"expected at least one state per variable, given {sizes.min()}")
    most = int(sizes.max(initial=1))

    def init(position: jax.Array, rng_key: jax.Array | None = None) -> algorithm.State:
        position = jnp.asarray(position, jnp.int32)
        return algorithm.State(position, jnp.asarray(log_density(position)))

    def step(rng_key: jax.Array, state: algorithm.State) -> tuple[algorithm.State, Info]:
        dtype = state.log_density.dtype
        noise = threefry.gumbel(rng_key, sizes.size * most, dtype).reshape(-1, most)

        def one(
            state: algorithm.State, given: tuple[jax.Array, ...]
        ) -> tuple[algorithm.State, None]:
            variable, size, noise = given
            states = jnp.minimum(jnp.arange(most, dtype=jnp.int32), size - 1)
            logits = jax.vmap(lambda s: log_density(state.position.at[variable].set(s)))(states)
            is_possible = (jnp.arange(most) < size) & (logits > -jnp.inf)
            chosen = jnp.argmax(jnp.where(is_possible, logits + noise, -jnp.inf))
            moved = algorithm.State(state.position.at[variable].set(states[chosen]), logits[chosen])
            return jax.tree.map(lambda *x: jnp.where(is_possible.any(), *x), moved, state), None

        variables = jnp.arange(sizes.size, dtype=jnp.int32)
        after, _ = jax.lax.scan(one, state, (variables, jnp.asarray(sizes), noise))
        return after, Info(jnp.sum(after.position != state.position, dtype=jnp.int32))

    return algorithm.SamplingAlgorithm(init, step)


def colour(graph: factor_graph.FactorGraph) -> np.ndarray:
    """Colours int [V], from 0, of which variables that share a factor have different ones.

    Greedy, in the order of a breadth-first search, which finds the two of a bipartite graph, or
    with the smallest degrees last where that takes fewer.
    """
    joined = convert.interaction_graph(graph)
    found = nx.greedy_color(joined, "connected_sequential_bfs")
    if max(found.values(), default=0) > 1:
        other = nx.greedy_color(joined, "smallest_last")
        found = min(found, other, key=lambda colours: max(colours.values()))
    return np.array([found[variable] for variable in range(graph.num_variables)], dtype=int)
