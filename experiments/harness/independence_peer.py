"""Independence Metropolis from a mixture of normals that was fitted to annealed particles.

    >>> particles = continuous_targets.mog2().sample(jax.random.key(0), 500)
    >>> mixture = fit(jax.random.key(1), particles, components=8)
    >>> mixture.means.shape, round(float(jnp.exp(mixture.log_weights).sum()), 3)
    ((9, 2), 1.0)

Exact whatever was fitted: a component of its own keeps the proposal broader than the target. That
such a proposal may be as good as a learned one is what makes it a peer.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.harness import continuous_targets, peer_runs, population_peers
from inference.mcmc import algorithm, metropolis

COMPONENTS = 64
FIT_STEPS = 60
GUARD = 0.05  # the mass of the broad component, which has the particles' covariance four times


class Mixture(NamedTuple):
    """Normal densities: log weights [K], means [K, D], lower roots of covariances [K, D, D]."""

    log_weights: jax.Array
    means: jax.Array
    roots: jax.Array


class State(NamedTuple):
    """Of a chain: position [D], and log target less log proposal there."""

    position: jax.Array
    log_weight: jax.Array


def log_terms(mixture: Mixture, positions: jax.Array) -> jax.Array:
    """The log densities [N, K] of positions [N, D], with their weights."""
    identity = jnp.eye(positions.shape[1], dtype=positions.dtype)
    solve = jax.vmap(lambda root: jax.scipy.linalg.solve_triangular(root, identity, lower=True))
    apart = positions[:, None] - mixture.means[None]
    white = jnp.einsum("kij,nkj->nki", solve(mixture.roots), apart)
    diagonals = jnp.diagonal(mixture.roots, axis1=1, axis2=2) * np.sqrt(2 * np.pi)
    log_factors = mixture.log_weights - jnp.sum(jnp.log(diagonals), axis=1)
    return log_factors[None] - 0.5 * jnp.sum(white**2, axis=2)


def fit(key: jax.Array, particles: jax.Array, components: int = COMPONENTS) -> Mixture:
    """Expectation-maximisation from components at particles [N, D], and a broad one."""
    number, dimension = particles.shape
    identity = jnp.eye(dimension, dtype=particles.dtype)
    covariance = jnp.cov(particles, rowvar=False, ddof=0).reshape(dimension, dimension)
    floor = 1e-5 * jnp.trace(covariance) / dimension * identity
    root = jnp.linalg.cholesky(covariance / components ** (2 / dimension) + floor)
    means = particles[jax.random.choice(key, number, (components,), replace=False)]
    weights = jnp.full(components, -np.log(components), particles.dtype)
    first = Mixture(weights, means, jnp.tile(root, (components, 1, 1)))

    def improve(mixture: Mixture, _: None) -> tuple[Mixture, None]:
        shares = jax.nn.softmax(log_terms(mixture, particles), axis=1)  # [N, K]
        masses = shares.sum(axis=0) + 1e-3
        means = (shares.T @ particles) / masses[:, None]
        apart = particles[:, None] - means[None]
        weighted = shares[..., None] * apart
        spread = jnp.einsum("nki,nkj->kij", weighted, apart) / masses[:, None, None]
        roots = jnp.linalg.cholesky(spread + floor[None])
        return Mixture(jnp.log(masses / masses.sum()), means, roots), None

    fitted, _ = jax.lax.scan(improve, first, None, FIT_STEPS)
    broad = jnp.linalg.cholesky(4 * covariance + floor)
    return Mixture(
        jnp.append(fitted.log_weights + np.log(1 - GUARD), np.log(GUARD)),
        jnp.concatenate([fitted.means, particles.mean(axis=0, keepdims=True)]),
        jnp.concatenate([fitted.roots, broad[None]]),
    )


def independence_metropolis(
    target: continuous_targets.Target, mixture: Mixture
) -> algorithm.SamplingAlgorithm:
    """The chain whose proposals are independent draws of the mixture; a log density a step."""

    def init(position: jax.Array, rng_key: jax.Array | None = None) -> State:
        proposal = jax.nn.logsumexp(log_terms(mixture, position[None]))
        return State(position, metropolis.known(target.log_density(position) - proposal))

    def step(rng_key: jax.Array, state: State) -> tuple[State, metropolis.Info]:
        key_component, key_noise, key_accept = jax.random.split(rng_key, 3)
        component = jax.random.categorical(key_component, mixture.log_weights)
        noise = jax.random.normal(key_noise, state.position.shape, state.position.dtype)
        proposed = init(mixture.means[component] + mixture.roots[component] @ noise)
        log_ratio = proposed.log_weight - state.log_weight
        return metropolis.accept(key_accept, log_ratio, state, proposed)

    return algorithm.SamplingAlgorithm(init, step)


def independence(
    key: jax.Array, target: continuous_targets.Target, num_chains: int, num_draws: int, starts: Any
) -> peer_runs.PeerRun:
    """Chains from ``starts`` with proposals fitted to particles of our sequential Monte Carlo."""
    key_anneal, key_fit, key_draw = jax.random.split(key, 3)
    before = population_peers.annealed(key_anneal, target, num_chains, num_draws, starts)
    particles = jnp.asarray(before.draws[0])
    mixture, compile_fit, seconds_fit = peer_runs.timed(fit, key_fit, particles)

    def run(key: jax.Array, mixture: Mixture, starts: jax.Array) -> tuple[jax.Array, jax.Array]:
        chain = independence_metropolis(target, mixture)
        states = jax.vmap(chain.init)(starts)
        return algorithm.run(
            key, chain, states, num_draws, collect=lambda s, i: (s.position, i.acceptance_rate)
        )[1]

    (draws, rates), compile_run, seconds = peer_runs.timed(
        run, key_draw, mixture, jnp.asarray(starts)
    )
    return peer_runs.PeerRun(
        np.asarray(draws),
        before.seconds_compile + compile_fit + compile_run,
        seconds,
        density_evaluations=num_chains * num_draws,
        note=f"{before.note}; a mixture of {COMPONENTS}, acceptance {float(rates.mean()):.2f}",
        seconds_warmup=before.seconds + seconds_fit,
        warmup_evaluations=before.density_evaluations,
    )
