"""A-NICE-MC as a kernel of NumPyro and as an algorithm of BlackJAX."""

import importlib.util
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from numpyro import distributions
from numpyro.infer import MCMC

from inference.mcmc import algorithm, likelihood, nice_fit, nice_numpyro

DATA = np.concatenate([np.full(8, -2.0), np.full(8, 2.0)]) + np.linspace(-0.4, 0.4, 16)
TINY = {
    "objective": likelihood.maximum_likelihood(2, widths=((16,),) * 4, num_rounds=10),
    "num_chains": 256,
    "scale": 3.0,
}
CHAINS, DRAWS = 64, 200


@pytest.fixture(scope="module", autouse=True)
def ranks():
    """NumPyro's mixtures broadcast locations against data."""
    with jax.numpy_rank_promotion("allow"):
        yield


def mixture(data):
    """Locations of two equal components with unit variances: either order is as likely."""
    with numpyro.plate("components", 2):
        location = numpyro.sample("location", distributions.Normal(0.0, 3.0))
    numpyro.deterministic("distance", jnp.abs(location[1] - location[0]))
    weights = distributions.Categorical(probs=jnp.full(2, 0.5))
    with numpyro.plate("rows", len(data)):
        numpyro.sample(
            "data",
            distributions.MixtureSameFamily(weights, distributions.Normal(location, 1.0)),
            obs=data,
        )


def on_grid():
    """Points [N, 2] and their posterior probabilities, by the formula of the mixture."""
    axis = np.linspace(-6.0, 6.0, 601)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    log_density = -np.sum(points**2, axis=1) / 18
    for row in DATA:
        log_density += np.logaddexp(*(-((row - points.T) ** 2) / 2))
    probability = np.exp(log_density - log_density.max())
    return points, probability / probability.sum()


def run(kernel, *arguments, chains=CHAINS, warmup=10, draws=DRAWS, seed=0, **given):
    """NumPyro's chains, run without its bar."""
    method = given.pop("chain_method", "vectorized")
    made = MCMC(
        kernel,
        num_warmup=warmup,
        num_samples=draws,
        num_chains=chains,
        chain_method=method,
        progress_bar=False,
    )
    made.run(jax.random.key(seed), *arguments, **given)
    return made


@pytest.fixture(scope="module")
def fitted():
    kernel = nice_numpyro.ANiceMC(mixture, **TINY)
    return kernel, run(kernel, DATA, extra_fields=("accept_prob", "potential_energy"))


def test_both_orders_of_a_mixture_are_visited_as_often(fitted):
    kernel, chains = fitted
    draws = np.asarray(chains.get_samples(group_by_chain=True)["location"], float)
    assert draws.shape == (CHAINS, DRAWS, 2) and kernel.report.status == "done"
    ordered = draws[..., 0] < draws[..., 1]
    assert (ordered.any(axis=1) & ~ordered.all(axis=1)).all()
    points, probability = on_grid()
    for statistic in (lambda x: x[..., 0], lambda x: x[..., 0] ** 2, lambda x: np.prod(x, -1)):
        means = statistic(draws).mean(axis=1)
        error = means.std(ddof=1) / np.sqrt(CHAINS)
        assert abs(means.mean() - probability @ statistic(points)) < 4 * error
    shares = ordered.mean(axis=1)
    assert abs(shares.mean() - 0.5) < 4 * shares.std(ddof=1) / np.sqrt(CHAINS)


def test_what_is_told_of_draws(fitted):
    kernel, chains = fitted
    told = chains.get_extra_fields(group_by_chain=True)
    draws = chains.get_samples(group_by_chain=True)
    apart = np.abs(np.diff(draws["location"], axis=-1))[..., 0]
    np.testing.assert_allclose(draws["distance"], apart, rtol=1e-6)
    assert told["accept_prob"].shape == (CHAINS, DRAWS)
    assert 0.3 < told["accept_prob"].mean() <= 1.0
    one = np.asarray(draws["location"][3, 5], float)
    direct = np.sum(one**2) / 18 + np.log(18 * np.pi) + len(DATA) * np.log(2 * np.sqrt(2 * np.pi))
    direct -= sum(np.logaddexp(*(-((row - one) ** 2) / 2)) for row in DATA)
    np.testing.assert_allclose(told["potential_energy"][3, 5], direct, rtol=1e-5)


def test_equal_arguments_are_not_fitted_again_and_chains_begin_apart(fitted, monkeypatch):
    kernel, _ = fitted
    monkeypatch.setattr(nice_fit, "fit", None)
    first = run(kernel, DATA.copy(), chains=3, warmup=0, draws=2, chain_method="sequential")
    assert len(np.unique(first.get_samples()["location"][:, 0])) > 2
    starts = kernel.init(jax.random.split(jax.random.key(0), 32), 0, None, (DATA,), {})
    assert len(np.unique(np.asarray(starts.z["location"])[:, 0])) > 20
    with pytest.raises(TypeError):
        run(kernel, DATA + 1.0, chains=1, draws=1)


def positive(center):
    """A constrained site and a free one, of exact moments."""
    numpyro.sample("scale", distributions.Gamma(3.0, 2.0))
    numpyro.sample("center", distributions.Normal(center, 0.5))


@pytest.fixture(scope="module")
def constrained():
    kernel = nice_numpyro.ANiceMC(positive, **TINY)
    return kernel, run(kernel, center=1.0, chain_method="sequential", chains=2, draws=4000)


def test_constrained_sites_come_constrained(constrained):
    draws = constrained[1].get_samples(group_by_chain=True)
    means = np.asarray(draws["scale"], float).reshape(40, 200).mean(axis=1)
    assert draws["scale"].min() > 0
    assert abs(means.mean() - 1.5) < 5 * means.std(ddof=1) / np.sqrt(40)
    assert abs(np.mean(draws["center"]) - 1.0) < 0.05


def test_warm_chains_go_on_and_given_starts_are_kept(constrained, monkeypatch):
    kernel, _ = constrained
    monkeypatch.setattr(nice_fit, "fit", None)
    chains = MCMC(kernel, num_warmup=3, num_samples=4, progress_bar=False)
    chains.warmup(jax.random.key(1), center=1.0)
    chains.run(jax.random.key(2), center=1.0)
    given = {"scale": jnp.full(2, -0.5), "center": jnp.array([1.0, 2.0])}
    state = kernel.init(jax.random.split(jax.random.key(0)), 0, given, (), {"center": 1.0})
    np.testing.assert_array_equal(state.z["center"], given["center"])
    with pytest.raises(ValueError, match="arguments of the fit"):
        kernel.sample(state, (), {"center": 2.0})


def energy(position):
    """Two modes along the first axis, the second one three times as heavy."""
    log_shares = jnp.log(jnp.array([0.25, 0.75]))
    away = (position["x"] - jnp.array([-3.0, 3.0])) ** 2 / 2
    return -jax.nn.logsumexp(log_shares - away) + position["y"] ** 2 / 2


def test_a_potential_needs_a_position_alone(getkey):
    like = {"x": 0, "y": 0.0}
    kernel = nice_numpyro.ANiceMC(potential_fn=energy, like=like, **TINY)
    draws = run(kernel, warmup=0).get_samples(group_by_chain=True)["x"]
    shares = np.mean(np.asarray(draws) > 0, axis=1)
    assert abs(shares.mean() - 0.75) < 4 * shares.std(ddof=1) / np.sqrt(CHAINS)
    with pytest.raises(ValueError, match="expected `like` or init_params"):
        run(nice_numpyro.ANiceMC(potential_fn=energy), chains=1)
    with pytest.raises(ValueError, match="either a model or a potential_fn"):
        nice_numpyro.ANiceMC()
    with pytest.raises(ValueError, match="'sequential' or 'vectorized', given traced"):
        jax.vmap(lambda key: kernel.init(key, 0, None, (), {}))(jax.random.split(getkey()))


def test_chains_that_share_a_start_are_warned_of():
    kernel = nice_numpyro.ANiceMC(potential_fn=energy, **TINY)
    start = {"x": jnp.full(CHAINS, -3.0), "y": jnp.zeros(CHAINS)}
    with pytest.warns(RuntimeWarning, match="all chains share a start"):
        draws = run(kernel, init_params=start).get_samples(group_by_chain=True)["x"]
    assert 0.6 < np.mean(np.asarray(draws) > 0) < 0.9


def test_the_algorithm_runs_in_a_scan_of_ones_own(getkey):
    def log_density(x):
        return -energy({"x": x[0], "y": x[1]})

    sampler, report = nice_fit.fit(getkey(), log_density, 2, **TINY)

    @jax.jit
    def chain(key, start):
        state = sampler.init(start)
        keys = jax.random.split(key, 200)
        return jax.lax.scan(lambda s, k: sampler.step(k, s), state, keys)

    keys = jax.random.split(getkey(), CHAINS)
    _, infos = jax.vmap(chain)(keys, jnp.asarray(report.starts[:CHAINS]))
    assert infos.acceptance_rate.shape == (CHAINS, 200) and infos.acceptance_rate.mean() > 0.3


@pytest.mark.skipif(not importlib.util.find_spec("blackjax"), reason="BlackJAX is not installed")
def test_algorithms_have_the_fields_of_blackjax():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from blackjax import base
    assert algorithm.SamplingAlgorithm._fields == base.SamplingAlgorithm._fields
