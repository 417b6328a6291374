import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import site_metropolis
import two_modes
from scipy import stats

import reference
from inference.mcmc import annealing, discrete_targets

RUNS, PARTICLES = 120, 150
LOG_Z = np.log(np.sqrt(2 * np.pi))  # of two_modes


def log_start(position):
    return -0.5 * jnp.sum(((position - 4) / 3) ** 2) - jnp.log(3 * jnp.sqrt(2 * jnp.pi))


def runs(key, draw, *arguments, **options):
    """Independent runs: particles [RUNS, PARTICLES, ...] and infos [RUNS, ...]."""

    @jax.jit
    def go(keys):
        def one(key):
            key_draw, key_anneal = jax.random.split(key)
            return annealing.anneal(key_anneal, draw(key_draw), *arguments, **options)

        return jax.vmap(one)(keys)

    return go(jax.random.split(key, RUNS))


def broad(key):
    return 4 + 3 * jax.random.normal(key, (PARTICLES, 1))


def coins(key):
    return jax.random.bernoulli(key, shape=(PARTICLES, site_metropolis.SPINS)).astype(int)


def flips(beta, particles, scale):
    log_density = discrete_targets.log_density(site_metropolis.graph())
    return site_metropolis.chain(log_density, beta)


def p_value(estimates, exact):
    """That independent estimates [RUNS] have this mean."""
    return stats.ttest_1samp(np.asarray(estimates, float), exact).pvalue


def test_two_modes_get_their_masses_and_their_normaliser(getkey, monkeypatch):
    go = functools.partial(runs, draw=broad, log_start=log_start, num_moves=3)
    go = functools.partial(go, log_density=two_modes.log_density)
    particles, info = go(getkey())
    share = (particles > 0.8).mean(axis=(1, 2))
    exact = two_modes.SHARES @ stats.norm.sf(0.8, two_modes.MEANS, two_modes.SCALES)
    assert p_value(share, exact) > 1e-4
    assert p_value(np.exp(info.log_normalizer - LOG_Z), 1.0) > 1e-4
    assert info.is_finished.all() and info.num_stages.min() >= 2
    monkeypatch.setattr(annealing, "systematic", lambda key, weights: jnp.arange(PARTICLES))
    forgotten, _ = go(getkey())
    assert p_value((forgotten > 0.8).mean(axis=(1, 2)), exact) < 1e-10


def worst_p_value(particles):
    """The smallest over the states, times their number; 0 where one is ruled out."""
    seen = np.stack([site_metropolis.frequencies(one) for one in particles]) / PARTICLES
    exact = site_metropolis.probabilities()
    each = [p_value(seen[:, state], exact[state]) for state in np.flatnonzero(exact)]
    return 0.0 if seen[:, exact == 0].any() else min(each) * len(each)


def test_discrete_states_with_hard_zeros(getkey):
    log_density = discrete_targets.log_density(site_metropolis.graph())
    uniform = -site_metropolis.SPINS * np.log(2)
    go = functools.partial(runs, draw=coins, log_start=lambda states: jnp.array(uniform))
    go = functools.partial(go, log_density=log_density, build=flips, num_moves=4)
    particles, info = go(getkey())
    assert worst_p_value(particles) > 1e-4
    sizes = [2] * site_metropolis.SPINS
    log_z = reference.log_partition(sizes, site_metropolis.factors())
    assert p_value(np.exp(info.log_normalizer - log_z), 1.0) > 1e-4


def test_nothing_to_find_and_too_few_stages_are_told_without_nan(getkey):
    @jax.jit
    @jax.vmap
    def go(key, wall):
        def log_density(x):
            return jnp.where(x[0] < wall, -jnp.inf, two_modes.log_density(x))

        options = {"num_moves": 1, "max_stages": 1}
        return annealing.anneal(key, broad(key), log_start, log_density, **options)[1]

    info = go(jax.random.split(getkey(), 2), jnp.array([-jnp.inf, 99.0]))
    np.testing.assert_array_equal(info.is_finished, [False, True])
    np.testing.assert_array_equal(info.num_stages, [1, 1])
    assert info.betas[0, 0] < 1 and info.log_normalizer[1] == -np.inf


def test_float64_stays(getkey):
    with jax.enable_x64(True):
        particles, info = jax.eval_shape(
            lambda key: annealing.anneal(key, broad(key), log_start, two_modes.log_density),
            getkey(),
        )
    assert {particles.dtype, info.log_normalizer.dtype, info.betas.dtype} == {np.dtype(float)}


def test_one_trace_and_a_scale_at_which_moves_are_accepted_as_often_as_wanted(getkey):
    def narrow(x):
        return -0.5 * jnp.sum((100 * x) ** 2)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def go(key, particles, wanted):
        options = {"num_moves": 20, "acceptance": wanted}
        return annealing.anneal(key, particles, log_start, narrow, **options)

    for wanted in (0.2, 0.6):
        info = go(getkey(), broad(getkey()), jnp.float32(wanted))[1]
        assert abs(np.nanmean(info.acceptance) - wanted) < 0.1
        stages = int(info.num_stages)
        assert np.isfinite(info.betas[:stages]).all() and np.isnan(info.betas[stages:]).all()
        assert info.betas[stages - 1] == 1


def test_resampling_keeps_shares_and_knows_no_nan(getkey):
    weights = np.array([0.5, 0.0, 0.25, 0.15, 0.1] * 4) / 4
    none = np.full(20, -np.inf)
    with np.errstate(divide="ignore"):
        rows = jnp.array([np.log(weights), none, np.full(20, -1e5), [0.0, *none[1:]]])
    chosen = jax.jit(jax.vmap(annealing.systematic, in_axes=(None, 0)))(getkey(), rows)
    times = np.bincount(chosen[0], minlength=20)
    assert (np.abs(times - 20 * weights) < 1).all() and times[1] == 0
    np.testing.assert_array_equal(chosen[1], np.arange(20))
    sizes = jax.jit(jax.vmap(annealing.effective_size))(rows)
    np.testing.assert_allclose(sizes, [1 / (weights @ weights), 0, 20, 1], rtol=1e-5)


def test_the_next_power_leaves_the_share_asked_for():
    gains = np.random.default_rng(0).normal(size=1000).astype(np.float32) * 30
    gains[:300] = -np.inf
    reweighted = jax.jit(annealing.reweighted)
    beta, log_weights = reweighted(gains, jnp.float32(0.25), 0.6)
    assert 0.25 < beta < 1
    assert annealing.effective_size(log_weights) == pytest.approx(0.6 * 700, rel=1e-3)
    assert reweighted(gains / 1e3, jnp.float32(0.25), 0.6)[0] == 1


def test_kernels_without_an_acceptance_have_none():
    assert np.isnan(annealing._acceptance(None, jnp.float32))
