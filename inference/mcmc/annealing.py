"""Tempered sequential Monte Carlo: particles from a tractable start to a density of many modes.

    >>> two_modes = lambda x: jax.nn.logsumexp(-0.5 * ((x[0] - jnp.array([-9.0, 9.0])) ** 2))
    >>> broad = lambda x: -0.5 * jnp.sum((x / 10) ** 2) - jnp.log(10.0)
    >>> start = 10 * jax.random.normal(jax.random.key(0), (1000, 1))
    >>> particles, info = anneal(jax.random.key(1), start, broad, two_modes)
    >>> bool(abs((particles > 0).mean() - 0.5) < 0.1), info.log_normalizer.round(1)
    (True, Array(0.7, dtype=float32))

Del Moral, Doucet and Jasra, JRSS B 68, 2006; temperatures by bisection on the effective sample size
as in Jasra et al., Scandinavian Journal of Statistics 38, 2011. Positions may be of any kind, with
``random_walks`` for [D] and any kernel of ours or BlackJAX's for others.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from inference.mcmc import algorithm, metropolis, random_walk

LogDensity = Callable[[Any], jax.Array]


class Info(NamedTuple):
    """What a run tells; stages that were not needed are NaN.

    Attributes:
      log_normalizer: of the target over that of the start, in nats, an estimate.
      is_finished: whether the particles are of the target and not of one on the way.
      num_stages: how many temperatures there were.
      betas: of the stages, [max_stages].
      effective: effective sample size over the number of particles at each reweighting.
      acceptance: of the moves of each stage; NaN where the kernel's info has none.
      scale: of the kernels of each stage.
    """

    log_normalizer: jax.Array
    is_finished: jax.Array
    num_stages: jax.Array
    betas: jax.Array
    effective: jax.Array
    acceptance: jax.Array
    scale: jax.Array


class _Stage(NamedTuple):
    """The loop's state: gains are log target - log start of the particles, [N]."""

    key: jax.Array
    particles: Any
    gains: jax.Array
    beta: jax.Array
    log_scale: jax.Array
    info: Info


def anneal(
    key: jax.Array,
    particles: Any,
    log_start: LogDensity,
    log_density: LogDensity,
    build: Callable[[jax.Array, Any, jax.Array], Any] | None = None,
    *,
    num_moves: int = 10,
    effective: float = 0.5,
    acceptance: float = 0.3,
    max_stages: int = 100,
) -> tuple[Any, Info]:
    """Equally weighted particles of exp(log_density): ``ASYMPTOTIC`` in their number.

    Jit it with all but key and particles fixed. Each stage chooses the next power beta of
    start^(1 - beta) target^beta, resamples systematically and moves every particle: N
    (num_moves + 2) log densities. The normaliser, not its logarithm, would be unbiased had
    temperatures and scales been fixed beforehand; as it is it is consistent.

    Args:
      key: consumed.
      particles: independent draws of the start, [N, ...].
      log_start, log_density: of a position, in nats. The start must cover the target, and be
        normalised where ``log_normalizer`` is to be log Z. A hard zero or NaN has no weight.
      build: ``build(beta, particles, scale)``, a kernel for the density of power beta, made from
        the particles before the moves; ``random_walks(log_start, log_density)`` by default.
      num_moves: steps of every particle a stage.
      effective: the share of the particles with weight to which the effective sample size may fall.
      acceptance: to which ``scale``, 1 at first, brings the moves; it stays 1 where the kernel's
        info has no ``acceptance_rate``.
      max_stages: the most; then what has come so far is returned, not finished.
    """
    kernels = random_walks(log_start, log_density) if build is None else build
    move = functools.partial(_move, kernels, num_moves, acceptance)
    number = jax.tree.leaves(particles)[0].shape[0]

    def gains(particles: Any) -> jax.Array:
        gain = jax.vmap(log_density)(particles) - jax.vmap(log_start)(particles)
        return metropolis.known(gain)

    def advance(stage: _Stage) -> _Stage:
        key, key_resample, key_moves = jax.random.split(stage.key, 3)
        beta, log_weights = reweighted(stage.gains, stage.beta, effective)
        chosen = systematic(key_resample, log_weights)
        particles = jax.tree.map(lambda leaf: leaf[chosen], stage.particles)
        moved, log_scale, accepted = move(key_moves, beta, particles, stage.log_scale)
        at = stage.info.num_stages
        info = stage.info._replace(
            log_normalizer=stage.info.log_normalizer
            + jax.nn.logsumexp(log_weights)
            - jnp.log(number),
            num_stages=at + 1,
            betas=stage.info.betas.at[at].set(beta),
            effective=stage.info.effective.at[at].set(effective_size(log_weights) / number),
            acceptance=stage.info.acceptance.at[at].set(accepted),
            scale=stage.info.scale.at[at].set(jnp.exp(log_scale)),
        )
        return _Stage(key, moved, gains(moved), beta, log_scale, info)

    def is_open(stage: _Stage) -> jax.Array:
        return (stage.beta < 1) & (stage.info.num_stages < max_stages)

    first = gains(particles)
    zero, blank = jnp.zeros((), first.dtype), jnp.full(max_stages, jnp.nan, first.dtype)
    info = Info(zero, jnp.zeros((), bool), jnp.zeros((), int), *[blank] * 4)
    last = jax.lax.while_loop(is_open, advance, _Stage(key, particles, first, zero, zero, info))
    return last.particles, last.info._replace(is_finished=last.beta >= 1)


def _move(
    build: Callable[[jax.Array, Any, jax.Array], Any],
    num_moves: int,
    acceptance: ArrayLike,
    key: jax.Array,
    beta: jax.Array,
    particles: Any,
    log_scale: jax.Array,
) -> tuple[Any, jax.Array, jax.Array]:
    """The particles after their moves, the scale adapted meanwhile, and the mean acceptance."""

    def move(carried: tuple[Any, jax.Array], key: jax.Array) -> tuple[Any, jax.Array]:
        states, log_scale = carried
        keys = jax.random.split(key, jax.tree.leaves(particles)[0].shape[0])
        chain = build(beta, particles, jnp.exp(log_scale))
        states, info = jax.vmap(chain.step)(keys, states)
        accepted = _acceptance(info, log_scale.dtype)
        change = jnp.where(jnp.isnan(accepted), 0.0, accepted - acceptance)
        return (states, log_scale + change), accepted

    states = jax.vmap(build(beta, particles, jnp.exp(log_scale)).init)(particles)
    keys = jax.random.split(key, num_moves)
    (states, log_scale), accepted = jax.lax.scan(move, (states, log_scale), keys)
    return states.position, log_scale, accepted.mean()


def between(log_start: LogDensity, log_density: LogDensity, beta: jax.Array) -> LogDensity:
    """The log density of start^(1 - beta) target^beta."""

    def tempered(position: Any) -> jax.Array:
        start, target = log_start(position), log_density(position)
        return start + jnp.asarray(beta, target.dtype) * (target - start)

    return tempered


def random_walks(
    log_start: LogDensity, log_density: LogDensity
) -> Callable[[jax.Array, jax.Array, jax.Array], algorithm.SamplingAlgorithm]:
    """Random walks on [D] whose steps have the shape of the particles' covariance."""

    def build(
        beta: jax.Array, particles: jax.Array, scale: jax.Array
    ) -> algorithm.SamplingAlgorithm:
        number, dimension = particles.shape
        centred = particles - particles.mean(axis=0, keepdims=True)
        covariance = centred.T @ centred / number
        floor = 1e-6 * jnp.trace(covariance) / dimension + jnp.finfo(covariance.dtype).tiny
        root = jnp.linalg.cholesky(covariance + floor * jnp.eye(dimension))

        tempered = between(log_start, log_density, beta)
        return random_walk.random_walk(tempered, scale * 2.38 / jnp.sqrt(dimension) * root)

    return build


def reweighted(gains: jax.Array, beta: jax.Array, effective: float) -> tuple[jax.Array, jax.Array]:
    """The next power, and the log-weights [N] of the particles for it.

    The largest step, up to power 1, after which the effective sample size is ``effective`` of the
    particles that have any weight: dead ones are lost at any step.
    """
    wanted = effective * jnp.sum(gains > -jnp.inf)

    def log_weights(step: jax.Array) -> jax.Array:
        return jnp.where(gains > -jnp.inf, step * gains, -jnp.inf)

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = (low + high) / 2
        is_enough = effective_size(log_weights(middle)) >= wanted
        return jnp.where(is_enough, middle, low), jnp.where(is_enough, high, middle)

    rest = 1 - beta
    low, high = jax.lax.fori_loop(0, 40, halve, (jnp.zeros_like(beta), rest))
    is_last = effective_size(log_weights(rest)) >= wanted
    step = jnp.where(is_last, rest, high)
    return jnp.where(is_last, jnp.ones_like(beta), beta + step), log_weights(step)


def effective_size(log_weights: jax.Array) -> jax.Array:
    """(sum w)^2 / sum w^2 of weights given by their logarithms [N]; 0 where none is positive."""
    largest = jnp.max(log_weights)
    weights = jnp.exp(log_weights - jnp.where(largest > -jnp.inf, largest, 0.0))
    return jnp.sum(weights) ** 2 / jnp.maximum(jnp.sum(weights**2), jnp.finfo(weights.dtype).tiny)


def systematic(key: jax.Array, log_weights: jax.Array) -> jax.Array:
    """Indices [N] by systematic resampling: within one of N times the share; all where none has."""
    number = log_weights.shape[0]
    some = jnp.where(jnp.max(log_weights) > -jnp.inf, log_weights, 0.0)
    cumulated = jnp.cumsum(jax.nn.softmax(some))
    offset = jax.random.uniform(key, (), cumulated.dtype)
    points = (jnp.arange(number) + offset) / number * cumulated[-1]
    return jnp.searchsorted(cumulated, points, side="right").clip(0, number - 1)


def _acceptance(info: Any, dtype: Any) -> jax.Array:
    """The mean over particles; NaN for a kernel without one."""
    return jnp.mean(getattr(info, "acceptance_rate", jnp.nan)).astype(dtype)
