"""Parallel tempering: chains at several temperatures that change places.

    >>> two_modes = lambda x: jax.nn.logsumexp(-0.5 * ((x[0] - jnp.array([-9.0, 9.0])) ** 2))
    >>> build = lambda beta: random_walk.random_walk(two_modes, 2.4 / jnp.sqrt(beta), beta)
    >>> chain = parallel_tempering(build, two_modes, [1.0, 0.2, 0.03])
    >>> states = jax.vmap(chain.init)(jnp.full((4, 1), 9.0))
    >>> draws = algorithm.run(jax.random.key(0), chain, states, 2000)[1]
    >>> bool((abs((draws > 0).mean() - 0.5)) < 0.1)
    True

Neighbours are offered a swap in turns, even pairs and then odd ones, so that a walker crosses the
temperatures without turning back at random. With pairs that reject equally often, and the rates'
sum the barrier Lambda, round trips a step do not fall with more temperatures but tend to
1 / (2 + 2 Lambda): Syed, Bouchard-Cote, Deligiannidis and Doucet, JRSS B 84, 2022.
"""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from scipy import interpolate

from inference import samples
from inference.mcmc import algorithm, discrete_targets, dobrushin, gibbs, metropolis, sampling
from inference.problems import factor_graph

Build = Callable[[Any], Any]  # from a power beta to the chain of the density of that power
_MOST = 64  # temperatures of ``of_graph``


class State(NamedTuple):
    """Of one tempered chain over R temperatures.

    Attributes:
      position: of the first temperature's chain.
      replicas: states of the chains, [R, ...], in the order of the temperatures.
      walkers: int32 [R], which walker is at each temperature; swaps permute them.
      is_odd: whether odd pairs have the next turn.
    """

    position: Any
    replicas: Any
    walkers: jax.Array
    is_odd: jax.Array


class Info(NamedTuple):
    """Of one step.

    Attributes:
      swap_acceptance: [R - 1], with which probability the pairs would swap, whoever's turn it is.
      is_swapped: [R - 1], which pairs did.
      walkers: int32 [R], as in the state afterwards; ``round_trips`` counts with it.
      local: infos of the last moves of the chains, [R, ...].
    """

    swap_acceptance: jax.Array
    is_swapped: jax.Array
    walkers: jax.Array
    local: Any


class Ladder(NamedTuple):
    """Temperatures and what was measured there.

    Attributes:
      betas: float64 [R].
      rejection: of the swap of each pair, float64 [R - 1].
      barrier: their sum, an estimate of Lambda.
      round_trip_rate: 1 / (2 + 2 sum r / (1 - r)), round trips a step of all walkers together that
        such rates allow where local moves forget enough.
    """

    betas: np.ndarray
    rejection: np.ndarray
    barrier: float
    round_trip_rate: float


def parallel_tempering(
    build: Build,
    log_density: Callable[[Any], jax.Array],
    betas: ArrayLike | Sequence[float],
    *,
    num_moves: int = 1,
    of_state: Callable[[Any], jax.Array] | None = None,
) -> algorithm.SamplingAlgorithm:
    """A chain whose positions are of the density at the first temperature: ``ASYMPTOTIC``.

    A step makes ``num_moves`` moves of every chain and one round of swaps.

    Args:
      build: the chain at a temperature, which may be traced: any kernel that leaves
        exp(beta * log_density) times whatever does not depend on beta invariant.
      log_density: of a position, in nats, what beta multiplies; -inf and NaN swap into no place.
      betas: [R], falling from 1; they may be traced.
      num_moves: of every chain before a round of swaps.
      of_state: the log density of a state of a chain, where such a state holds nothing that depends
        on beta (``random_walk``, ``mala``): then swaps cost no evaluation. Otherwise one for the
        ratios and an ``init`` of every chain.

    Raises:
      ValueError: the betas do not fall.
    """
    _check_ladder(betas)
    ladder = jnp.asarray(betas, jnp.result_type(float))
    number = ladder.shape[0]
    if num_moves < 1:
        raise ValueError(f"expected at least one move a step, given {num_moves}")

    def init(position: Any, rng_key: jax.Array | None = None) -> State:
        copies = jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * number), position)
        replicas = _start(rng_key, build, ladder, copies)
        walkers = jnp.arange(number, dtype=jnp.int32)
        return State(_at(replicas.position, 0), replicas, walkers, jnp.array(False))

    def move(replicas: Any, key: jax.Array) -> tuple[Any, Any]:
        keys = jax.random.split(key, number)
        return jax.vmap(lambda k, b, s: build(b).step(k, s))(keys, ladder, replicas)

    def scores(replicas: Any) -> jax.Array:
        return (
            jax.vmap(of_state)(replicas) if of_state else jax.vmap(log_density)(replicas.position)
        )

    def rearranged(key: jax.Array, replicas: Any, source: jax.Array) -> Any:
        if of_state:
            return _at(replicas, source)
        return _start(key, build, ladder, _at(replicas.position, source))

    def step(rng_key: jax.Array, state: State) -> tuple[State, Info]:
        key_moves, key_swaps, key_start = jax.random.split(rng_key, 3)
        keys = jax.random.split(key_moves, num_moves)
        replicas, locals_ = jax.lax.scan(move, state.replicas, keys)
        acceptance, is_swapped = swaps(key_swaps, ladder, scores(replicas), state.is_odd)
        source = permutation(is_swapped)
        replicas, walkers = rearranged(key_start, replicas, source), state.walkers[source]
        after = State(_at(replicas.position, 0), replicas, walkers, ~state.is_odd)
        return after, Info(acceptance, is_swapped, walkers, _at(locals_, -1))

    return algorithm.SamplingAlgorithm(init, step)


def swaps(
    key: jax.Array, betas: jax.Array, scores: jax.Array, is_odd: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Acceptance [R - 1] of the swap of each pair of neighbours, and which of them swap.

    Args:
      key: consumed.
      betas, scores: of the temperatures, and the log densities of what is there, [R].
      is_odd: whether the pairs (1, 2), (3, 4), ... have their turn, or (0, 1), (2, 3), ....
    """
    known = metropolis.known(scores)
    gain = (betas[:-1] - betas[1:]).astype(known.dtype) * (known[1:] - known[:-1])
    acceptance = jnp.exp(jnp.minimum(metropolis.known(gain), 0.0))
    is_turn = jnp.arange(gain.shape[0]) % 2 == is_odd
    drawn = jax.random.uniform(key, gain.shape, acceptance.dtype)
    return acceptance, is_turn & (drawn < acceptance)


def permutation(is_swapped: jax.Array) -> jax.Array:
    """Where what comes to each place is from, int [R]; no two neighbouring pairs swap."""
    no = jnp.zeros(1, bool)
    to_left, to_right = jnp.concatenate([is_swapped, no]), jnp.concatenate([no, is_swapped])
    return jnp.arange(to_left.shape[0]) + to_left.astype(int) - to_right.astype(int)


def round_trips(walkers: ArrayLike) -> int:
    """How often a walker went from the first temperature to the last and back. Host only.

    Args:
      walkers: int [T, R] of the steps of one chain.
    """
    places = np.argsort(np.asarray(walkers), axis=1)  # [T, R], of each walker
    last, trips = np.asarray(walkers).shape[1] - 1, 0
    for path in places.T if last else []:
        ends = path[(path == 0) | (path == last)]
        arrivals = np.flatnonzero((ends[1:] == 0) & (ends[:-1] == last))
        trips += len(arrivals) - (len(ends) > 0 and ends[0] == last and len(arrivals) > 0)
    return int(trips)


def adapt_ladder(
    key: jax.Array,
    build: Build,
    log_density: Callable[[Any], jax.Array],
    betas: ArrayLike | Sequence[float],
    positions: Any,
    *,
    num_rounds: int = 8,
    num_draws: int = 200,
    **options: Any,
) -> Ladder:
    """Temperatures between the given ends at which all pairs reject about as often. On the host.

    Every round runs the chains, interpolates the sum of the rejection rates along the ladder, cuts
    it in equal parts and goes on from where the chains are; the last one only measures.

    Args:
      key: consumed.
      build, log_density: as for ``parallel_tempering``; ``options`` go there too.
      betas: [R], the ladder to start with; its ends stay.
      positions: [C, ...], where C chains start.
      num_draws: steps a round; rates are those of the second half.
    """
    _check_ladder(betas)
    ladder = np.array(betas, float)
    copies = jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * len(ladder), 1), positions)

    @jax.jit
    def measure(key: jax.Array, betas: jax.Array, copies: Any) -> tuple[jax.Array, Any]:
        key_start, key_run = jax.random.split(key)
        chain = parallel_tempering(build, log_density, betas, **options)
        states = jax.vmap(chain.init)(_at(copies, np.s_[:, 0]))
        keys = jax.random.split(key_start, len(states.is_odd))
        replicas = jax.vmap(lambda k, x: _start(k, build, betas, x))(keys, copies)
        states, acceptance = algorithm.run(
            key_run,
            chain,
            states._replace(replicas=replicas),
            num_draws,
            collect=lambda _, info: info.swap_acceptance,
        )
        return acceptance[:, num_draws // 2 :].mean((0, 1)), states.replicas.position

    rejection = np.ones(len(ladder) - 1)  # which leaves the ladder as it is
    for key_round in jax.random.split(key, num_rounds):
        ladder = equalised(ladder, rejection)
        acceptance, copies = measure(key_round, jnp.asarray(ladder, float), copies)
        rejection = 1.0 - np.asarray(acceptance, float)
    odds = np.divide(
        rejection, 1 - rejection, out=np.full_like(rejection, np.inf), where=rejection < 1
    )
    return Ladder(ladder, rejection, float(rejection.sum()), float(1 / (2 + 2 * odds.sum())))


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
    """Draws by tempered ``gibbs``, ASYMPTOTIC; arguments as ``sampling.draw``."""
    given: dict[str, Any] = {"seed": seed, "timeout": timeout, "memory": memory}
    given |= {"num_samples": num_samples, "num_chains": num_chains, "iterations": iterations}
    return sampling.draw(graph, of_graph, **given)


def of_graph(
    graph: factor_graph.FactorGraph, key: jax.Array, positions: jax.Array
) -> algorithm.SamplingAlgorithm:
    """``gibbs`` at temperatures from 1 to where Dobrushin's condition holds.

    There are about two for each unit of the barrier, so that half of the swaps are accepted; they
    are adapted by chains that start at ``positions``.
    """
    build, hottest = gibbs.tempered(graph), dobrushin.mixing_beta(graph)
    log_density = discrete_targets.log_density(graph)
    of_state = operator.attrgetter("log_density")
    betas, number = np.ones(1), 8
    while hottest < 1.0 and len(betas) < number:
        betas = np.geomspace(1.0, hottest, number)
        given: dict[str, Any] = {"num_rounds": 4, "num_draws": 100, "of_state": of_state}
        ladder = adapt_ladder(key, build, log_density, betas, positions, **given)
        betas, number = ladder.betas, min(math.ceil(2 * ladder.barrier) + 1, _MOST)
    return parallel_tempering(build, log_density, betas, of_state=of_state)


def equalised(betas: np.ndarray, rejection: np.ndarray) -> np.ndarray:
    """The ladder [R] with the same ends that would reject equally, from rates [R - 1] of one."""
    steps = np.maximum(rejection, 1e-6)  # equal knots have no interpolant
    barrier = np.concatenate([[0.0], np.cumsum(steps)])
    wanted = np.linspace(0, barrier[-1], len(betas))
    between = interpolate.PchipInterpolator(barrier, betas)(wanted[1:-1])
    return np.concatenate([betas[:1], between, betas[-1:]])


def _check_ladder(betas: ArrayLike | Sequence[float]) -> None:
    if not isinstance(betas, jax.core.Tracer):
        values = np.asarray(betas, float)
        is_ladder = values.ndim == 1 and len(values) and (np.diff(values) < 0).all()
        if not (is_ladder and values[-1] >= 0):
            raise ValueError(f"expected betas that fall and are not negative, given {betas}")


def _start(key: jax.Array | None, build: Build, betas: jax.Array, positions: Any) -> Any:
    """States of a chain at each temperature, from positions [R, ...]."""
    keys = None if key is None else jax.random.split(key, betas.shape[0])
    return jax.vmap(lambda k, beta, x: build(beta).init(x, k))(keys, betas, positions)


def _at(tree: Any, index: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], tree)
