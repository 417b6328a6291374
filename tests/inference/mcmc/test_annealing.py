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
from inference.mcmc import algorithm, annealing, discrete_targets

RUNS, PARTICLES = 150, 200
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
    assert info.is_finished.all() and info.num_stages.max() == 3
    with jax.enable_x64(True):
        moved, wide = go(getkey())
    assert moved.dtype == np.float64 == wide.log_normalizer.dtype
    assert p_value((moved > 0.8).mean(axis=(1, 2)), exact) > 1e-4
    monkeypatch.setattr(annealing, "systematic", lambda key, weights: jnp.arange(PARTICLES))
    forgotten, _ = go(getkey())
    assert p_value((forgotten > 0.8).mean(axis=(1, 2)), exact) < 1e-10


def test_discrete_states_with_hard_zeros(getkey, monkeypatch):
    log_density = discrete_targets.log_density(site_metropolis.graph())
    uniform = -site_metropolis.SPINS * np.log(2)
    arguments = coins, lambda states: jnp.array(uniform), log_density, flips
    particles, info = runs(getkey(), *arguments, num_moves=4)
    frequencies = np.stack([site_metropolis.frequencies(one) for one in particles]) / PARTICLES
    exact = site_metropolis.probabilities()
    assert not frequencies[:, exact == 0].any()
    each = [p_value(frequencies[:, state], exact[state]) for state in np.flatnonzero(exact)]
    assert min(each) > 1e-4 / len(each)
    sizes = [2] * site_metropolis.SPINS
    log_z = reference.log_partition(sizes, site_metropolis.factors())
    assert p_value(np.exp(info.log_normalizer - log_z), 1.0) > 1e-4
    monkeypatch.setattr(annealing, "systematic", lambda key, weights: jnp.arange(PARTICLES))
    particles, _ = runs(getkey(), *arguments, num_moves=4)
    wrong = np.stack([site_metropolis.frequencies(one) for one in particles])
    assert p_value(wrong[:, 0] / PARTICLES, exact[0]) < 1e-10


def test_what_has_no_mass_says_so_without_nan(getkey):
    particles, info = jax.jit(
        lambda key: annealing.anneal(key, coins(key), lambda x: 0.0, lambda x: -jnp.inf, flips)
    )(getkey())
    assert info.log_normalizer == -np.inf and info.is_finished
    assert particles.shape == (PARTICLES, site_metropolis.SPINS)


def test_a_run_cut_short_is_not_finished(getkey):
    info = jax.jit(
        lambda key: annealing.anneal(
            key, broad(key), log_start, two_modes.log_density, num_moves=1, max_stages=1
        )
    )(getkey())[1]
    assert not info.is_finished and info.num_stages == 1 and info.betas[0] < 1


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
    log_weights = jnp.log(jnp.asarray(weights))
    chosen = np.asarray(annealing.systematic(getkey(), log_weights))
    times = np.bincount(chosen, minlength=20)
    assert (np.abs(times - 20 * weights) < 1).all() and times[1] == 0
    np.testing.assert_array_equal(
        annealing.systematic(getkey(), jnp.full(5, -jnp.inf)), np.arange(5)
    )
    assert annealing.effective_size(jnp.full(5, -jnp.inf)) == 0
    assert annealing.effective_size(jnp.full(5, -1e5)) == pytest.approx(5)
    assert annealing.effective_size(jnp.array([0.0, -jnp.inf])) == 1


def test_the_next_power_leaves_the_share_asked_for():
    gains = jnp.asarray(np.random.default_rng(0).normal(size=1000) * 30, jnp.float32)
    gains = gains.at[:300].set(-jnp.inf)
    beta, log_weights = annealing.reweighted(gains, jnp.float32(0.25), 0.6)
    assert 0.25 < beta < 1
    assert annealing.effective_size(log_weights) == pytest.approx(0.6 * 700, rel=1e-3)
    assert annealing.reweighted(gains / 1e3, jnp.float32(0.25), 0.6)[0] == 1


def test_kernels_without_an_acceptance_keep_their_scale(getkey):
    def still(beta, particles, scale):
        init = flips(beta, particles, scale).init
        return algorithm.SamplingAlgorithm(init, lambda key, state: (state, None))

    info = jax.jit(
        lambda key: annealing.anneal(key, coins(key), lambda x: 0.0, lambda x: 0.0, still)
    )(getkey())[1]
    assert info.scale[0] == 1 and np.isnan(info.acceptance[0]) and info.log_normalizer == 0
