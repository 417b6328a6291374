import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from inference.mcmc import algorithm, couplings, nice

CENTRES = jnp.array([-2.0, 2.0])


def two_modes(position):
    return jax.nn.logsumexp(-((position[0] - CENTRES) ** 2) / 2)


def untrained(dimension, auxiliary, size=0.5, **options):
    """Couplings whose weights are far from zero."""
    flow = couplings.Couplings(
        dimension, auxiliary, [(8,), (8, 8), (8,), (8,)], rngs=nnx.Rngs(0), **options
    )
    graph, weights, others = nnx.split(flow, nnx.Param, ...)
    leaves, structure = jax.tree.flatten(weights)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [x + size * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys)]
    return nnx.merge(graph, jax.tree.unflatten(structure, moved), others)


def bijections():
    units = {"location": jnp.array([0.5, -1.0]), "scale": jnp.array([2.0, 0.7])}
    flat, stretching = untrained(2, 3, **units), untrained(2, 3, 0.2, is_affine=True, **units)
    return {
        "keeps volume": flat,
        "stretches": stretching,
        "turn, keeps volume": couplings.LatentRotation(flat, 2),
        "turn, stretches": couplings.LatentRotation(stretching, 2),
    }


@pytest.mark.parametrize("name", bijections())
def test_bijections_are_inverted_and_know_their_volume(name, getkey):
    bijection = bijections()[name]
    size = bijection.num_auxiliary

    def moved(point, is_forward=True):
        return jnp.concatenate(bijection.move(point[:2], point[2:], is_forward)[:2])

    for point in jax.random.normal(getkey(), (5, 2 + size)):
        ahead = bijection.move(point[:2], point[2:], True)
        image = jnp.concatenate(ahead[:2])
        np.testing.assert_allclose(moved(image, False), point, atol=2e-3, rtol=1e-3)
        _, volume = jnp.linalg.slogdet(jax.jacobian(moved)(point))
        np.testing.assert_allclose(ahead.log_determinant, volume, atol=2e-3)
        back = bijection.move(*ahead[:2], False)
        np.testing.assert_allclose(back.log_determinant, -volume, atol=2e-3)
        if "keeps" in name:
            assert ahead.log_determinant == 0.0


def test_small_weights_invert_to_the_spec():
    flow = untrained(2, 2, 0.1)
    x, v = jnp.array([0.3, -1.2]), jnp.array([0.8, 0.1])
    back = flow.move(*flow.move(x, v, True)[:2], False)
    np.testing.assert_allclose(jnp.concatenate(back[:2]), [0.3, -1.2, 0.8, 0.1], atol=1e-5)


def thinned(kernel, key, chains=4000, steps=60):
    """The last positions of independent chains that began at draws of the target."""
    key_start, key_sign, key_run = jax.random.split(key, 3)
    centres = jnp.where(jax.random.bernoulli(key_sign, shape=(chains,)), 2.0, -2.0)
    starts = (centres + jax.random.normal(key_start, (chains,)))[:, None]
    states = jax.vmap(kernel.init)(starts)
    return jax.jit(lambda k: algorithm.run(k, kernel, states, steps))(key_run)[1][..., 0]


def distribution(x):
    return (stats.norm.cdf(x, -2) + stats.norm.cdf(x, 2)) / 2


KERNELS = {
    "couplings": (lambda: untrained(1, 1), {}),
    "couplings with a walk": (lambda: untrained(1, 2), {"local_share": 0.5}),
    "stretching": (lambda: untrained(1, 1, 0.3, is_affine=True), {}),
    "turn": (lambda: couplings.LatentRotation(untrained(1, 1, 0.3, is_affine=True), 1), {}),
}


@pytest.mark.parametrize("name", KERNELS)
def test_an_untrained_kernel_keeps_the_target(name, getkey):
    make, options = KERNELS[name]
    draws = np.asarray(thinned(nice.nice(two_modes, make(), **options), getkey()))
    assert stats.kstest(draws[:, -1], distribution).pvalue > 1e-4
    assert abs(draws.mean()) < 0.1 and abs((draws**2).mean() - 5.0) < 0.2


class OneWay:
    """The bug of the paper's pitfalls: always f, never its inverse."""

    def __init__(self, bijection):
        self.bijection, self.num_auxiliary = bijection, bijection.num_auxiliary

    def move(self, position, auxiliary, is_forward):
        return self.bijection.move(position, auxiliary, True)


class Weightless(OneWay):
    """Another: the volume is forgotten."""

    def move(self, position, auxiliary, is_forward):
        moved = self.bijection.move(position, auxiliary, is_forward)
        return moved._replace(log_determinant=jnp.zeros(()))


@pytest.mark.parametrize(
    "bijection",
    [OneWay(untrained(1, 1)), Weightless(untrained(1, 1, 0.3, is_affine=True))],
)
def test_deliberate_bugs_are_caught(bijection, getkey):
    draws = np.asarray(thinned(nice.nice(two_modes, bijection), getkey()))
    wrong = abs(draws.mean()) >= 0.1 or abs((draws**2).mean() - 5.0) >= 0.2
    assert wrong and stats.kstest(draws[:, -1], distribution).pvalue < 1e-4


def test_nan_is_rejected_and_told_and_hard_zeros_are_never_entered(getkey):
    def half(position):  # zero below -1, NaN above 1
        inside = jnp.where(position[0] < -1.0, -jnp.inf, -(position[0] ** 2) / 2)
        return jnp.where(position[0] > 1.0, jnp.nan, inside)

    kernel = nice.nice(half, untrained(1, 1), local_share=0.5)
    states = jax.vmap(kernel.init)(jnp.array([[0.0]] * 20 + [[-1.5]] * 20))
    run = jax.jit(lambda key: algorithm.run(key, kernel, states, 200, collect=lambda *one: one))
    last, (states, infos) = run(getkey())
    assert (jnp.abs(states.position[:20]) <= 1.0).all()
    assert (jnp.abs(last.position) <= 1.0).all()  # those from outside came in
    assert infos.is_nan.any() and not infos.is_accepted[infos.is_nan].any()
    assert jnp.isfinite(infos.acceptance_rate).all()


def test_one_trace_in_either_precision(getkey):
    kernel = nice.nice(two_modes, untrained(1, 1), local_share=0.1)
    step = jax.jit(chex.assert_max_traces(kernel.step, 1))
    state = kernel.init(jnp.zeros(1))
    for key in jax.random.split(getkey(), 3):
        state, _ = step(key, state)
    with jax.enable_x64(True):
        kernel = nice.nice(two_modes, untrained(1, 1))
        state = kernel.init(jnp.zeros(1, jnp.float64))
        state, _ = jax.jit(kernel.step)(jax.random.key(0), state)
        assert state.position.dtype == state.log_density.dtype == jnp.float64
