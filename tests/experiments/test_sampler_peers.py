import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import two_modes

from experiments.harness import (
    continuous_targets,
    independence_peer,
    peer_runs,
    population_peers,
    sampler_peers,
    tempering_peers,
)

QUICK = ["NumPyro HMC", "tempered SMC, ours"]
TARGET = continuous_targets.mog2()


@pytest.fixture
def small(monkeypatch):
    """Everything in a few steps."""
    for module, name, value in [
        (sampler_peers, "WARMUP", 20),
        (sampler_peers, "MCLMC_TUNING", 20),
        (sampler_peers, "TRAINING_LOOPS", 2),
        (population_peers, "PARTICLES", 256),
        (population_peers, "MOVES", 3),
        (population_peers, "LAPS_STEPS", 60),
        (population_peers, "LIVE", 100),
        (population_peers, "DELETED", 50),
        (tempering_peers, "BURN_IN", 20),
        (independence_peer, "FIT_STEPS", 5),
    ]:
        monkeypatch.setattr(module, name, value)


def check(name):
    if name.startswith("BlackJAX"):
        pytest.importorskip("blackjax")
    starts = TARGET.sample(jax.random.key(1), 4)
    run = sampler_peers.PEERS[name](jax.random.key(0), TARGET, 4, 50, starts)
    if not run.draws.size:
        pytest.skip(run.note)
    assert run.draws.shape[2] == 2 and np.isfinite(run.draws).all()
    assert run.is_population or run.draws.shape == (4, 50, 2)
    assert run.density_evaluations + run.gradient_evaluations >= len(run.draws[0])
    told = peer_runs.judge(TARGET, run)
    assert 0 <= told["mass_error"] <= 0.5
    assert np.isnan(told["rhat"]) == run.is_population


@pytest.mark.parametrize("name", QUICK)
def test_peers_run(small, name):
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(sampler_peers.PEERS) - set(QUICK)))
@pytest.mark.filterwarnings("ignore")  # of other libraries
def test_slow_peers_run(small, name):
    with jax.numpy_rank_promotion("allow"):  # flowMC wants it
        check(name)


def test_what_is_not_installed_is_told(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name in ("BlackJAX NUTS", "adjusted microcanonical", "tempered SMC", "LAPS", "flowMC"):
        run = sampler_peers.PEERS[name](jax.random.key(0), TARGET, 4, 50, jnp.zeros((4, 2)))
        assert "is not installed" in run.note
        assert np.isnan(peer_runs.judge(TARGET, run)["mass_error"])


def test_exact_draws_are_judged_so():
    draws = TARGET.sample(jax.random.key(0), 8000).reshape(8, 1000, 2)
    told = peer_runs.judge(TARGET, peer_runs.PeerRun(draws, density_evaluations=16_000))
    assert told["reference_ess"] > 990 and told["modes_of_a_chain"] == 2
    assert told["mass_error"] < 0.03 and told["mean_error"] < 0.05 and told["rhat"] < 1.01
    assert told["evaluations_a_draw"] == 2
    assert told["ess_an_evaluation"] == pytest.approx(told["reference_ess"] / 2000)
    stuck = np.repeat(np.asarray(draws)[:, :1], 1000, axis=1) + 1e-3 * np.asarray(draws)
    told = peer_runs.judge(TARGET, peer_runs.PeerRun(stuck))
    assert told["reference_ess"] < 2 and told["modes_of_a_chain"] == 1 and told["rhat"] > 2


def test_independence_is_exact_whatever_was_fitted(getkey, monkeypatch):
    monkeypatch.setattr(independence_peer, "FIT_STEPS", 3)
    bad = jnp.asarray(np.random.default_rng(0).normal(0, 2, (200, 1)))
    mixture = independence_peer.fit(getkey(), bad, components=4)
    target = TARGET._replace(log_density=two_modes.log_density)
    chain = independence_peer.independence_metropolis(target, mixture)

    @jax.jit
    def go(key, starts):
        def one(states, key):
            return jax.vmap(chain.step)(jax.random.split(key, len(starts)), states)[0], None

        states = jax.vmap(chain.init)(starts)
        return jax.lax.scan(one, states, jax.random.split(key, 20))[0].position

    assert two_modes.p_value(go(getkey(), jnp.asarray(two_modes.sample(0, 4000)))) > 1e-4


@pytest.mark.slow
def test_tuning_finds_better_settings(monkeypatch):
    few = {"num_chains": 16, "num_draws": 50, "num_rounds": 1, "most_moves": 1}
    found = tempering_peers.tune_tempering(
        jax.random.key(0), TARGET, kernels=("walk",), temperatures=(2,), **few
    )
    rates = found.tried.values()
    assert found.tried[found.setting] == max(rates) > min(rates) > 0
    assert found.ess_an_evaluation > 0.2 * max(rates)
    monkeypatch.setitem(tempering_peers.SETTINGS, "mog2", found.setting)
    monkeypatch.setattr(tempering_peers, "BURN_IN", 20)
    starts = TARGET.sample(jax.random.key(1), 4)
    run = tempering_peers.tempered(jax.random.key(2), TARGET, 4, 50, starts)
    assert run.draws.shape == (4, 50, 2)
    assert run.density_evaluations == 200 * found.setting.evaluations
