import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from inference.mcmc import threefry


@pytest.mark.parametrize("size", [0, 1, 6, 1001])
def test_words_are_those_of_jax(size):
    keys = jax.random.split(jax.random.key(7), 3)
    expected = jax.vmap(lambda key: jax.random.bits(key, (size,), jnp.uint32))(keys)
    np.testing.assert_array_equal(jax.vmap(lambda key: threefry.bits(key, size))(keys), expected)


def test_other_generators_draw_their_own():
    key = jax.random.key(3, impl="rbg")
    np.testing.assert_array_equal(threefry.bits(key, 9), jax.random.bits(key, (9,), jnp.uint32))


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize(
    "make, law",
    [
        (threefry.logistic, stats.logistic),
        (threefry.exponential, stats.expon),
        (threefry.gumbel, stats.gumbel_r),
    ],
)
def test_variates_follow_their_laws(make, law, x64):
    with jax.enable_x64(x64):
        dtype = jnp.float64 if x64 else jnp.float32
        values = np.asarray(make(jax.random.key(0), 10**5, dtype))
        assert values.dtype == dtype and np.isfinite(values).all()
        assert stats.kstest(values, law.cdf).pvalue > 1e-4
        assert stats.kstest(1.05 * values, law.cdf).pvalue < 1e-4


def test_the_ends_are_finite_and_fine(monkeypatch):
    words = jnp.array([0, 1, 2, 3, 2**32 - 2, 2**32 - 1], jnp.uint32)
    monkeypatch.setattr(threefry, "bits", lambda key, size: words)
    given = jax.random.key(0), 6, jnp.float32
    logistic, exponential = threefry.logistic(*given), threefry.exponential(*given)
    log_ends = np.log(np.array([0.5, 0.5, 1.5, 1.5]) * 2.0**-32)
    np.testing.assert_allclose(logistic, [*(log_ends * [-1, 1, -1, 1]), 0, 0], rtol=1e-6)
    assert exponential.min() > 0 and np.isfinite(threefry.gumbel(*given)).all()
