"""Random walk, MALA and the rule by which they accept."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import two_modes

from inference.mcmc import algorithm, mala, metropolis, random_walk

KERNELS = {
    "walk": lambda log_density, beta: random_walk.random_walk(log_density, 2.0, beta),
    "mala": lambda log_density, beta: mala.mala(log_density, 0.6, beta),
}
STARTS = two_modes.sample(0, 5000)


@pytest.fixture(params=KERNELS)
def kernel(request):
    return KERNELS[request.param]


def runner(kernel, log_density):
    """Positions of chains that have made 30 steps, from a key, their starts and a power."""

    @jax.jit
    def go(key, starts, beta):
        chain = kernel(log_density, beta)
        states = jax.vmap(chain.init)(starts)
        return algorithm.run(key, chain, states, 1, thin=30)[0].position

    return lambda key, starts, beta=1.0: np.asarray(go(key, jnp.asarray(starts), beta))


def test_exact_draws_stay_exact(kernel, getkey):
    go = runner(kernel, two_modes.log_density)
    assert two_modes.p_value(go(getkey(), STARTS)) > 1e-4
    assert two_modes.p_value(go(getkey(), STARTS, 0.5)) < 1e-10
    with jax.enable_x64(True):
        moved = go(getkey(), STARTS)
    assert moved.dtype == np.float64 and two_modes.p_value(moved) > 1e-4


def test_what_is_always_accepted_is_found_out(kernel, getkey, monkeypatch):
    def accept(key, log_ratio, state, proposed):
        return proposed, metropolis.Info(log_ratio, log_ratio)

    monkeypatch.setattr(metropolis, "accept", accept)
    assert two_modes.p_value(runner(kernel, two_modes.log_density)(getkey(), STARTS)) < 1e-10


def test_powers_and_hard_zeros(kernel, getkey):
    def log_density(x):
        return jnp.where(x[0] > 2, jnp.nan, jnp.where(x[0] < 0, -jnp.inf, -(x[0] ** 2)))

    go = runner(kernel, log_density)
    inside, outside = np.full((2000, 1), 0.5), np.array([[-0.5], [2.5]] * 1000)
    for beta in (0.0, 0.3, 1.0):
        moved = go(getkey(), inside, beta)
        assert ((moved >= 0) & (moved <= 2)).all()
        grid = np.linspace(0, 2, 2001)
        weights = np.exp(-beta * grid**2)
        assert abs(moved.mean() - grid @ weights / weights.sum()) < 0.07
    moved = go(getkey(), outside)
    assert ((moved >= 0) & (moved <= 2)).mean() > 0.9


def test_a_matrix_stretches_steps(getkey):
    stretch = jnp.array([[1.0, 0.0], [3.0, 0.1]])
    chain = random_walk.random_walk(lambda x: 0.0 * x[0], stretch)
    state = chain.init(jnp.zeros(2))
    steps = jax.vmap(lambda key: chain.step(key, state)[0].position)(
        jax.random.split(getkey(), 4000)
    )
    np.testing.assert_allclose(np.cov(steps.T), stretch @ stretch.T, atol=0.5)


def test_one_trace_for_all_steps_and_scales(getkey):
    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(key, state, scale):
        return random_walk.random_walk(two_modes.log_density, scale).step(key, state)

    state = random_walk.random_walk(two_modes.log_density, 1.0).init(jnp.zeros(1))
    for scale in (0.1, 1.0, 10.0):
        state, info = step(getkey(), state, jnp.float32(scale))
        assert 0 <= info.acceptance_rate <= 1


def test_acceptance_is_a_probability(getkey):
    ratios = jnp.array([0.0, -1.0, 5.0, -jnp.inf, jnp.nan, jnp.inf])
    probability = [1, np.exp(-1), 1, 0, 0, 1]
    keys = jax.random.split(getkey(), 4000)
    each = jax.vmap(metropolis.accept, in_axes=(None, 0, None, None))
    every = jax.jit(jax.vmap(each, in_axes=(0, None, None, None)))
    chosen, info = every(keys, ratios, jnp.zeros(()), jnp.ones(()))
    np.testing.assert_allclose(info.acceptance_rate[0], probability, rtol=1e-6)
    np.testing.assert_allclose(chosen.mean(axis=0), probability, atol=0.03)
    np.testing.assert_array_equal(chosen == 1, info.is_accepted)
