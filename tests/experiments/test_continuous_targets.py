import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments.harness import continuous_targets

MIXED = continuous_targets.gaussian_mixture(
    [[3.0, 0.0], [-3.0, 1.0], [0.0, 6.0]], [0.2, 1.0, 0.5], [1, 2, 5]
)
TARGETS = [
    continuous_targets.ring(),
    continuous_targets.mog2(),
    continuous_targets.mog6([1, 1, 1, 1, 1, 5]),
    continuous_targets.ring5(),
    MIXED,
]


@pytest.fixture(params=TARGETS, ids=[one.name for one in TARGETS])
def target(request):
    return request.param


def on_a_grid(target):
    """Points of the plane and their probabilities, in float64."""
    axis = np.arange(-8, 8, 0.04) + 0.01
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    with jax.enable_x64(True):
        weights = np.exp(np.asarray(jax.jit(jax.vmap(target.log_density))(jnp.asarray(points))))
        statistic = np.asarray(target.statistic(jnp.asarray(points)))
        modes = np.asarray(target.mode(jnp.asarray(points)))
    return weights / weights.sum(), statistic, modes


def test_moments_and_masses_are_those_of_the_density(target):
    weights, statistic, modes = on_a_grid(target)
    mean = weights @ statistic
    np.testing.assert_allclose(mean, target.mean, atol=2e-4)
    spread = np.sqrt(weights @ (statistic - mean) ** 2)
    np.testing.assert_allclose(spread, target.standard_deviation, rtol=2e-4)
    masses = np.bincount(modes, weights, len(target.masses))
    np.testing.assert_allclose(masses, target.masses, atol=1e-3)
    assert (np.asarray(target.mode(target.centres)) == np.arange(len(target.centres))).all()


def test_independent_draws_have_them(target):
    drawn = jax.jit(target.sample, static_argnums=1)(jax.random.key(3), 20_000)
    statistic = np.asarray(target.statistic(drawn), float)
    scores = (statistic.mean(axis=0) - target.mean) / target.standard_deviation * np.sqrt(20_000)
    assert np.abs(scores).max() < 4.5
    ratio = statistic.std(axis=0) / target.standard_deviation
    np.testing.assert_allclose(ratio, 1, atol=0.03)
    counts = np.bincount(target.mode(drawn), minlength=len(target.masses))
    assert len(counts) == 1 or stats.chisquare(counts, 20_000 * target.masses).pvalue > 1e-4


def test_the_toys_have_the_moments_of_the_paper():
    ring, ring5 = continuous_targets.ring(), continuous_targets.ring5()
    np.testing.assert_allclose(ring.standard_deviation, 1.4560, atol=1e-4)
    np.testing.assert_allclose(
        continuous_targets.mog2().standard_deviation, [5.025, 0.5], atol=1e-4
    )
    np.testing.assert_allclose(continuous_targets.mog6().standard_deviation, 3.5707, atol=1e-4)
    np.testing.assert_allclose(
        [*ring5.mean, *ring5.standard_deviation], [3.6734, 1.2517], atol=1e-4
    )
    np.testing.assert_allclose(ring5.masses, np.arange(1, 6) / 15, atol=1e-3)


def test_far_away_they_are_finite_in_float32(target):
    positions = jnp.array([[0.0, 0.0], [50.0, 50.0], [60.0, 60.0], [-1e6, 1e6]])
    values, gradients = jax.jit(jax.vmap(jax.value_and_grad(target.log_density)))(positions)
    assert values.dtype == jnp.result_type(float)
    assert np.isfinite(values).all() and np.isfinite(gradients).all()
    assert (np.diff(values[1:]) < 0).all()


def test_regression_in_one_column():
    features, labels = np.array([1.0, 2.0, 4.0, 5.0]), np.array([0, 1, 0, 1])
    target = continuous_targets.logistic_regression(features[:, None], labels)
    column = (features - 3) / np.sqrt(2.5)

    def density(slope, bias):
        logits = bias + slope * column
        likelihood = np.prod(1 / (1 + np.exp(-np.where(labels == 1, logits, -logits))))
        return likelihood * np.exp(-(bias**2 + slope**2) / 2)

    points = np.array([[0.0, 0.0], [0.3, -1.0], [-2.0, 1.5]])
    ours = jax.vmap(target.log_density)(jnp.asarray(points))
    expected = [np.log(density(slope, bias)) for bias, slope in points]
    np.testing.assert_allclose(ours, expected, rtol=1e-5)
    assert np.isnan(target.mean).all() and target.mean.shape == (2,)
    with pytest.raises(ValueError, match="expected a density with exact draws"):
        target.sample(jax.random.key(0), 3)
    with pytest.raises(ValueError, match="expected a label 0 or 1"):
        continuous_targets.logistic_regression(features[:, None], labels + 1)
