import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from inference.mcmc import algorithm, couplings, nice, objectives

CENTRES = jnp.array([-2.0, 2.0])


def two_modes(position):
    return jax.nn.logsumexp(-((position[0] - CENTRES) ** 2) / 2)


@functools.cache
def weights(dimension, auxiliary, size, is_affine):
    """The graph of couplings, and weights far from zero."""
    flow = couplings.Couplings(
        dimension, auxiliary, [(8,), (8, 8), (8,), (8,)], is_affine=is_affine, rngs=nnx.Rngs(0)
    )
    graph, trained, others = objectives.parameters(flow)
    leaves, structure = jax.tree.flatten(trained)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [x + size * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys)]
    return graph, jax.tree.unflatten(structure, moved), others


def untrained(dimension, auxiliary, size=0.5, *, is_affine=False, scale=None):
    graph, trained, others = weights(dimension, auxiliary, size, is_affine)
    flow = nnx.merge(graph, trained, others)
    if scale is not None:
        flow.location[...], flow.scale[...] = jnp.arange(dimension) / 2.0, jnp.asarray(scale)
    return flow


def bijections():
    units = [2.0, 0.7]
    flat, stretching = (
        untrained(2, 3, scale=units),
        untrained(2, 3, 0.2, is_affine=True, scale=units),
    )
    return {
        "keeps volume": flat,
        "stretches": stretching,
        "turn, keeps volume": couplings.LatentRotation(flat, 2),
        "turn, stretches": couplings.LatentRotation(stretching, 2),
    }


NAMES = ("keeps volume", "stretches", "turn, keeps volume", "turn, stretches")


@pytest.mark.parametrize("name", NAMES)
def test_bijections_are_inverted_and_know_their_volume(name, getkey):
    bijection = bijections()[name]

    @jax.jit
    @jax.vmap
    def tried(point):
        def moved(point, is_forward=True):
            moved = bijection.move(point[:2], point[2:], is_forward)
            return jnp.concatenate(moved[:2]), moved.log_determinant

        image, change = moved(point)
        back, undone = moved(image, False)
        volume = jnp.linalg.slogdet(jax.jacobian(lambda x: moved(x)[0])(point))[1]
        return back, change, undone, volume

    points = jax.random.normal(getkey(), (20, 2 + bijection.num_auxiliary))
    back, change, undone, volume = tried(points)
    np.testing.assert_allclose(back, points, atol=5e-3, rtol=1e-3)
    np.testing.assert_allclose(change, volume, atol=5e-3)
    np.testing.assert_allclose(undone, -volume, atol=5e-3)
    assert (np.abs(change).max() == 0.0) == ("keeps" in name)


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
