"""Densities with far-apart modes whose moments, masses and independent draws are exact.

    >>> target = mog6()
    >>> target.standard_deviation.round(4), target.masses.round(4)[:2]
    (array([3.5707, 3.5707]), array([0.1667, 0.1667]))
    >>> target.mode(target.sample(jax.random.key(0), 4)).shape
    (4,)

``ring``, ``mog2``, ``mog6`` and ``ring5`` are the toys of A-NICE-MC (Song, Zhao and Ermon, NIPS
2017). Log densities are those of one position [D], in its dtype, finite far away in float32.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

_RADII = np.linspace(0.0, 12.0, 240_001)  # half integers, where ring5 has kinks, are nodes


class Target(NamedTuple):
    """A density on [D], known up to a constant, and what is known of it.

    Attributes:
      log_density: of a position [D], a scalar, in nats.
      dimension: D.
      mean, standard_deviation: of the statistic, float64 [S]; NaN where they are not known.
      statistic: of positions [..., D], the numbers [..., S] by which chains are judged.
      mode: of positions [..., D], int [...], in which mode they are.
      masses: of the modes, float64 [M].
      sample: ``sample(key, n)``, independent draws [n, D].
      centres: [M, D] where modes have some, one point of each mode otherwise.
    """

    name: str
    log_density: Callable[[jax.Array], jax.Array]
    dimension: int
    mean: np.ndarray
    standard_deviation: np.ndarray
    statistic: Callable[[Any], Any]
    mode: Callable[[Any], Any]
    masses: np.ndarray
    sample: Callable[[jax.Array, int], jax.Array]
    centres: np.ndarray


def ring() -> Target:
    """One ring of radius 2 in the plane."""

    def energy(radius: Any) -> Any:
        return ((radius - 2) / 0.4) ** 2

    density = _radial(energy)
    deviation = np.sqrt(density @ _RADII**2 / 2)
    return Target(
        "ring",
        lambda position: -energy(_radius(position)),
        2,
        np.zeros(2),
        np.full(2, deviation),
        lambda positions: positions,
        lambda positions: jnp.zeros(positions.shape[:-1], int),
        np.ones(1),
        _rotated(density),
        np.array([[2.0, 0.0]]),
    )


def ring5() -> Target:
    """Five rings of radii 1 to 5 in the plane; the statistic is the radius, modes are shells."""

    def shell(radius: Any) -> Any:
        return jnp.clip(jnp.round(radius), 1, 5)

    density = _radial(lambda radius: ((radius - np.clip(np.rint(radius), 1, 5)) / 0.2) ** 2)
    mean = density @ _RADII
    shells = np.clip(np.floor(_RADII + 0.5), 1, 5).astype(int) - 1

    def log_density(position: jax.Array) -> jax.Array:
        radius = _radius(position)
        return -(((radius - shell(radius)) / 0.2) ** 2)

    return Target(
        "ring5",
        log_density,
        2,
        np.array([mean]),
        np.array([np.sqrt(density @ (_RADII - mean) ** 2)]),
        lambda positions: _radius(positions)[..., None],
        lambda positions: shell(_radius(positions)).astype(int) - 1,
        np.bincount(shells, density),
        _rotated(density),
        np.stack([np.arange(1.0, 6.0), np.zeros(5)], axis=1),
    )


def mog2() -> Target:
    """Two equal modes at (5, 0) and (-5, 0) with standard deviation 0.5."""
    return gaussian_mixture([[5.0, 0.0], [-5.0, 0.0]], 0.5, name="mog2")


def mog6(weights: ArrayLike = 1.0) -> Target:
    """Six modes on a circle of radius 5 with standard deviation 0.5, equal unless told."""
    angles = np.arange(6) * np.pi / 3
    centres = 5.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return gaussian_mixture(centres, 0.5, weights, name="mog6")


def gaussian_mixture(
    centres: ArrayLike,
    scales: ArrayLike,
    weights: ArrayLike = 1.0,
    *,
    name: str = "mixture",
) -> Target:
    """A mixture of isotropic normal densities.

    A position's mode is the component it most likely comes from; the masses are the weights, which
    is exact as far as the components do not overlap.

    Args:
      centres: [M, D].
      scales: standard deviations, [M] or one for all.
      weights: [M], in any unit.
    """
    centre = np.asarray(centres, float)
    number, dimension = centre.shape
    scale = np.broadcast_to(np.asarray(scales, float), number)
    share = np.broadcast_to(np.asarray(weights, float), number)
    if not ((scale > 0).all() and (share > 0).all()):
        raise ValueError(f"expected positive scales and weights, given {scale} and {share}")
    share = share / share.sum()
    mean = share @ centre
    variance = share @ (scale[:, None] ** 2 + (centre - mean) ** 2)

    log_factor = np.log(share) - dimension * np.log(scale)

    def log_terms(position: jax.Array) -> jax.Array:
        to, halved, factor = (
            jnp.asarray(one, position.dtype) for one in (centre, 0.5 / scale**2, log_factor)
        )
        return factor - halved * jnp.sum((position[None] - to) ** 2, axis=1)

    def sample(key: jax.Array, n: int) -> jax.Array:
        key_component, key_noise = jax.random.split(key)
        component = jax.random.categorical(key_component, jnp.log(share), shape=(n,))
        noise = jax.random.normal(key_noise, (n, dimension))
        return jnp.asarray(centre)[component] + jnp.asarray(scale)[component, None] * noise

    return Target(
        name,
        lambda position: jax.nn.logsumexp(log_terms(position)),
        dimension,
        mean,
        np.sqrt(variance),
        lambda positions: positions,
        jnp.vectorize(lambda position: jnp.argmax(log_terms(position)), signature="(d)->()"),
        share,
        sample,
        centre,
    )


def logistic_regression(
    features: ArrayLike,
    labels: ArrayLike,
    mean: ArrayLike = np.nan,
    standard_deviation: ArrayLike = np.nan,
    *,
    name: str = "regression",
) -> Target:
    """The posterior of a bias and a coefficient per column, all N(0, 1) before.

    Args:
      features: [N, K], standardised here; constant columns become 0.
      labels: [N], 0 or 1.
      mean, standard_deviation: reference values of the D = 1 + K coefficients, the bias first.
    """
    raw, label = np.asarray(features, float), np.asarray(labels)
    if raw.ndim != 2 or label.shape != raw.shape[:1] or not np.isin(label, (0, 1)).all():
        raise ValueError(f"expected a label 0 or 1 a row, given {label.shape} for {raw.shape}")
    deviation = raw.std(axis=0)
    columns = (raw - raw.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    signs = np.where(label == 1, 1.0, -1.0)[:, None]
    signed = signs * np.concatenate([np.ones((len(raw), 1)), columns], axis=1)  # [N, D]
    dimension = signed.shape[1]

    def log_density(position: jax.Array) -> jax.Array:
        logits = jnp.asarray(signed, position.dtype) @ position
        return jax.nn.log_sigmoid(logits).sum() - 0.5 * position @ position

    def sample(key: jax.Array, n: int) -> jax.Array:
        raise ValueError(f"expected a density with exact draws, given {name}")

    return Target(
        name,
        log_density,
        dimension,
        np.broadcast_to(np.asarray(mean, float), dimension),
        np.broadcast_to(np.asarray(standard_deviation, float), dimension),
        lambda positions: positions,
        lambda positions: jnp.zeros(positions.shape[:-1], int),
        np.ones(1),
        sample,
        np.zeros((1, dimension)),
    )


def _radial(energy: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Probabilities of the radii on the grid, for a density exp(-energy) in the plane."""
    density = _RADII * np.exp(-energy(_RADII))
    return density / density.sum()


def _radius(positions: Any) -> Any:
    """The length of [..., D]; at 0 the gradient is 0."""
    return jnp.sqrt(jnp.maximum(jnp.sum(positions**2, axis=-1), 1e-30))


def _rotated(density: np.ndarray) -> Callable[[jax.Array, int], jax.Array]:
    """Draws in the plane with such radii, by inversion, and any angle."""
    cumulated = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])

    def sample(key: jax.Array, n: int) -> jax.Array:
        uniform, turn = jax.random.uniform(key, (2, n))
        radius = jnp.interp(uniform, jnp.asarray(cumulated), jnp.asarray(_RADII))[:, None]
        angle = 2 * jnp.pi * turn
        return radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)

    return sample
