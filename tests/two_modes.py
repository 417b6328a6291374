"""A density of one position [1] with a heavy and a light mode; its exact draws and their test."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

SHARES, MEANS, SCALES = np.array([0.7, 0.3]), np.array([-2.0, 3.0]), np.array([1.0, 0.5])


def log_density(position):
    """Up to a constant, as kernels take it."""
    means, scales = (jnp.asarray(one, position.dtype) for one in (MEANS, SCALES))
    log_factors = jnp.asarray(np.log(SHARES / SCALES), position.dtype)
    return jax.nn.logsumexp(log_factors - 0.5 * ((position - means) / scales) ** 2)


def sample(seed, number):
    """Independent draws [number, 1] by numpy."""
    rng = np.random.default_rng(seed)
    which = rng.choice(2, number, p=SHARES)
    return rng.normal(MEANS[which], SCALES[which])[:, None]


def p_value(positions):
    """Of independent positions [N, 1], by Kolmogorov and Smirnov."""

    def distribution(x):
        return SHARES @ stats.norm.cdf(x[None], MEANS[:, None], SCALES[:, None])

    return stats.kstest(np.asarray(positions, float).ravel(), distribution).pvalue
