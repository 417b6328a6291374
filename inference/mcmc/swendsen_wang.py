"""Cluster moves for Ising and Potts models: Swendsen-Wang and Wolff.

    >>> algorithm = swendsen_wang(generators.ising_grid(3, 3, 0.4))
    >>> state = algorithm.init(jnp.zeros(9, int))
    >>> state, info = jax.jit(algorithm.step)(jax.random.key(0), state)
    >>> state.position.shape, int(info.num_clusters)
    ((9,), 3)

Pairs that agree with their coupling k are bound with probability 1 - exp(-|k|), and variables that
bonds connect change together (Swendsen and Wang, "Nonuniversal critical dynamics in Monte Carlo
simulations", 1987; Edwards and Sokal, 1988). Two states may have couplings of either sign: a bond
then keeps its variables equal or unequal, and a cluster is turned over. At the critical point of
the square lattice a chain forgets within a few steps, where single variables take side^2.2 sweeps;
on frustrated models clusters soon span everything and help little.

All clusters are found at once, by labels that pass along bonds and from label to label, in a number
of rounds that grows about as the logarithm of the size.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from inference import samples
from inference.mcmc import algorithm, discrete_targets, gibbs_blocks, sampling, threefry
from inference.problems import factor_graph


class Info(NamedTuple):
    """What a step did.

    Attributes:
      num_clusters: how many there were, int32.
      num_changed: variables whose state is another, int32.
    """

    num_clusters: jax.Array
    num_changed: jax.Array


class _Pairs(NamedTuple):
    """A model of pairs with couplings k other than 0: what equal states score beyond others.

    Attributes:
      variables: int32 [2, E].
      couplings: [E], in nats.
      last: uint32 [E], the last of the words that bind a pair which agrees.
      log_unary: [V, S].
    """

    variables: np.ndarray
    couplings: np.ndarray
    last: np.ndarray
    log_unary: np.ndarray


def swendsen_wang(graph: factor_graph.FactorGraph) -> algorithm.SamplingAlgorithm:
    """Every cluster takes a new state, drawn by the unaries of its variables.

    A state that a unary rules out is never drawn. A cluster all of whose states are ruled out,
    which happens only where the chain starts in a state of no probability, stays as it is.

    Raises:
      ValueError: there is no variable, a factor has more than two, they have different numbers of
        states, a table is of another form, or one of three or more states repels.
    """
    pairs = _pairs(graph)

    def move(key: jax.Array, position: jax.Array, labels: jax.Array) -> jax.Array:
        size, most = pairs.log_unary.shape
        logits = jnp.zeros_like(_turned(pairs, position))
        if (pairs.log_unary != pairs.log_unary[:, :1]).any():
            logits = logits.at[labels].add(_turned(pairs, position))
        words = 1 if most == 2 else most
        make = threefry.logistic if most == 2 else threefry.gumbel
        noise = make(key, size * words, logits.dtype).reshape(-1, words)
        turns = gibbs_blocks.draw(logits, noise, jnp.zeros_like(position))
        return (position + turns[labels]) % most

    return _algorithm(graph, pairs, move)


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
    """Draws by ``swendsen_wang``, ASYMPTOTIC; arguments as ``sampling.draw``, errors of both."""
    given: dict[str, Any] = {"seed": seed, "timeout": timeout, "memory": memory}
    given |= {"num_samples": num_samples, "num_chains": num_chains, "iterations": iterations}
    return sampling.draw(graph, lambda graph, *_: swendsen_wang(graph), **given)


def fits(graph: factor_graph.FactorGraph) -> bool:
    """Whether ``swendsen_wang`` takes a graph of which some states satisfy all its pairs at once.

    Where none does the model is frustrated, and clusters span more than what belongs together.
    """
    try:
        pairs = _pairs(graph)
    except ValueError:
        return False
    # Two copies of each variable, of opposite states: no pair may lead from one to the other.
    size, (first, second), repels = len(pairs.log_unary), pairs.variables, pairs.couplings < 0
    first, second = np.tile(first, 2), np.concatenate([second, second + size])
    first[len(repels) :] += size
    second = np.where(np.tile(repels, 2), (second + size) % (2 * size), second)
    bound = np.tile(pairs.couplings != 0, 2)
    shape = (2 * size, 2 * size)
    links = sparse.coo_array((np.ones(bound.sum()), (first[bound], second[bound])), shape)
    labels = sparse.csgraph.connected_components(links, directed=False)[1]
    return not (labels[:size] == labels[size:]).any()


def wolff(graph: factor_graph.FactorGraph) -> algorithm.SamplingAlgorithm:
    """The cluster of a uniformly drawn variable takes another state if the unaries accept it.

    The state is uniform among the others and accepted as Metropolis does; without unaries it always
    is (Wolff, "Collective Monte Carlo updating for spin systems", 1989). One that a unary rules out
    is never accepted. The labels of all clusters are found, so a step costs what one of
    ``swendsen_wang`` does.

    Raises:
      ValueError: as for ``swendsen_wang``.
    """
    pairs = _pairs(graph)
    size, most = pairs.log_unary.shape

    def move(key: jax.Array, position: jax.Array, labels: jax.Array) -> jax.Array:
        key_choice, key_accept = jax.random.split(key)
        seed, turn = threefry.bits(key_choice, 2) % jnp.array([size, max(most - 1, 1)], jnp.uint32)
        turn = turn.astype(jnp.int32) + min(1, most - 1)
        is_own = labels == labels[seed]
        sums = jnp.sum(_turned(pairs, position), axis=0, where=is_own[:, None])
        noise = threefry.exponential(key_accept, 1, sums.dtype)[0]
        accepts = -noise < sums[turn] - sums[0]  # NaN does not
        return jnp.where(is_own & accepts, (position + turn) % most, position)

    return _algorithm(graph, pairs, move)


def label(pairs: np.ndarray, is_bonded: jax.Array, size: int) -> jax.Array:
    """The smallest variable of each variable's cluster, int32 [V].

    Labels are variables of the same cluster, at first a variable's own. A round hands the smaller
    label of a bond to the variable that the larger one names, then every label is replaced by the
    label of the variable it names, a few times (after Shiloach and Vishkin, "An O(log n) parallel
    connectivity algorithm", 1982).

    Args:
      pairs: int [2, E].
      is_bonded: [E], which of the pairs are connected.
      size: V.
    """
    first, second = pairs

    def differ(labels: jax.Array) -> jax.Array:
        return jnp.any(is_bonded & (labels[first] != labels[second]))

    def once(labels: jax.Array) -> jax.Array:
        ends = labels[first], labels[second]
        low, high = jnp.minimum(*ends), jnp.maximum(*ends)
        # Variable 0 has label 0 always.
        labels = labels.at[jnp.where(is_bonded, high, 0)].min(jnp.where(is_bonded, low, 0))
        # Jumps cost little beside the scatter, and more than three save no rounds.
        for _ in range(3):
            labels = labels[labels]
        return labels

    return jax.lax.while_loop(differ, once, jnp.arange(size, dtype=jnp.int32))


def _algorithm(
    graph: factor_graph.FactorGraph,
    pairs: _Pairs,
    move: Callable[[jax.Array, jax.Array, jax.Array], jax.Array],
) -> algorithm.SamplingAlgorithm:
    """Bonds and clusters, then ``move(key, position, labels) -> position``."""
    log_density = discrete_targets.log_density(graph)

    def init(position: jax.Array, rng_key: jax.Array | None = None) -> algorithm.State:
        position = jnp.asarray(position, jnp.int32)
        return algorithm.State(position, log_density(position))

    def step(rng_key: jax.Array, state: algorithm.State) -> tuple[algorithm.State, Info]:
        key_bonds, key_move = jax.random.split(rng_key)
        labels = label(
            pairs.variables, _bonds(key_bonds, pairs, state.position), len(state.position)
        )
        position = move(key_move, state.position, labels)
        num_clusters = jnp.sum(labels == jnp.arange(labels.size), dtype=jnp.int32)
        changed = jnp.sum(position != state.position, dtype=jnp.int32)
        return algorithm.State(position, log_density(position)), Info(num_clusters, changed)

    return algorithm.SamplingAlgorithm(init, step)


def _bonds(key: jax.Array, pairs: _Pairs, position: jax.Array) -> jax.Array:
    """Which pairs are bound, [E]: of those that agree with their coupling k, 1 - exp(-|k|)."""
    first, second = pairs.variables
    agrees = (position[first] == position[second]) == (pairs.couplings > 0)
    return agrees & (threefry.bits(key, pairs.last.size) <= pairs.last)


def _turned(pairs: _Pairs, position: jax.Array) -> jax.Array:
    """Log unaries [V, S] of each variable's state and those that follow it, round the end."""
    log_unary = jnp.asarray(pairs.log_unary)
    most = log_unary.shape[1]
    states = (position[:, None] + jnp.arange(most, dtype=jnp.int32)[None]) % most
    return jnp.take_along_axis(log_unary, states, axis=1)


def _pairs(graph: factor_graph.FactorGraph) -> _Pairs:
    """The model, if it is one of pairs that score by whether they are equal."""
    graph = factor_graph.tabulate(graph)
    sizes = np.unique(graph.num_states)
    if not len(sizes):
        raise ValueError("expected at least one variable, given 0")
    if len(sizes) > 1:
        raise ValueError(f"expected variables of one number of states, given {sizes.tolist()}")
    variables, couplings = [np.zeros((0, 2), np.int32)], [np.zeros(0)]
    for group in graph.groups:
        if group.variables.shape[1] != 2:
            raise ValueError(f"expected factors of two variables, given {group.variables.shape[1]}")
        variables.append(group.variables)
        couplings.append(_couplings(np.asarray(group.log_potentials)))
        for scope in group.variables[np.isnan(couplings[-1])].tolist():
            raise ValueError(
                f"expected one value on a table's diagonal and one off it, given {scope}"
            )
    strengths = np.concatenate(couplings)
    if sizes[0] > 2 and strengths.min(initial=0.0) < 0:
        given = f"{strengths.min()} nats with {sizes[0]} states"
        raise ValueError(f"expected couplings of at least 0 beyond two states, given {given}")
    words = np.rint(-np.expm1(-np.abs(strengths)) * 2.0**32)
    is_used = words > 0
    last = (words[is_used] - 1).astype(np.uint32)
    scopes = np.concatenate(variables)[is_used].T
    return _Pairs(scopes, strengths[is_used], last, np.asarray(graph.log_unary))


def _couplings(tables: np.ndarray) -> np.ndarray:
    """What equal states score beyond unequal ones in tables [F, S, S], [F]; NaN where it varies."""
    is_diagonal = np.eye(tables.shape[1], dtype=bool)
    equal, unequal = tables[:, is_diagonal], tables[:, ~is_diagonal]
    if not unequal.size:
        return np.zeros(len(tables))
    one, other = equal[:, 0], unequal[:, 0]
    is_form = (equal == one[:, None]).all(axis=1) & (unequal == other[:, None]).all(axis=1)
    with np.errstate(invalid="ignore"):  # nothing is possible where both are -inf
        difference = np.where(one == other, 0.0, one - other)
    return np.where(is_form, difference, np.nan)
