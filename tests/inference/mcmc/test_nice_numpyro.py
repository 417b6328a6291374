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
from scipy import stats

from inference.mcmc import algorithm, likelihood, nice_fit, nice_numpyro

DATA = np.concatenate([np.full(8, -2.0), np.full(8, 2.0)]) + np.linspace(-0.4, 0.4, 16)
TINY = {"num_chains": 256, "scale": 3.0}
CHAINS, DRAWS = 64, 200


def small(dimension):
    return likelihood.maximum_likelihood(dimension, widths=((16,),) * 4, num_rounds=10)


@pytest.fixture(scope="module", autouse=True)
def ranks():
    """NumPyro's mixtures broadcast locations against data."""
    with jax.numpy_rank_promotion("allow"):
        yield


def mixture(data):
    """Locations of two equal components of unit variance, either order as likely, and a prior."""
    with numpyro.plate("components", 2):
        location = numpyro.sample("location", distributions.Normal(0.0, 3.0))
    numpyro.sample("beside", distributions.Gamma(3.0, 2.0))
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


def run(kernel, *arguments, **given):
    """NumPyro's chains side by side, without its bar."""
    counts = {"num_warmup": 10, "num_samples": DRAWS, "num_chains": CHAINS}
    made = MCMC(kernel, **counts, chain_method="vectorized", progress_bar=False)
    made.run(jax.random.key(0), *arguments, **given)
    return made


@pytest.fixture(scope="module")
def fitted():
    kernel = nice_numpyro.ANiceMC(mixture, objective=small(3), **TINY)
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


def test_constrained_sites_come_constrained(fitted):
    draws = fitted[1].get_samples(group_by_chain=True)
    apart = np.abs(np.diff(draws["location"], axis=-1))[..., 0]
    np.testing.assert_allclose(draws["distance"], apart, rtol=1e-6)
    means = np.asarray(draws["beside"], float).mean(axis=1)
    assert draws["beside"].min() > 0
    assert abs(means.mean() - 1.5) < 4 * means.std(ddof=1) / np.sqrt(CHAINS)


def test_what_is_told_of_draws(fitted):
    _, chains = fitted
    told = chains.get_extra_fields(group_by_chain=True)
    assert told["accept_prob"].shape == (CHAINS, DRAWS)
    assert 0.2 < told["accept_prob"].mean() <= 1.0
    draws = chains.get_samples(group_by_chain=True)
    one, beside = (np.asarray(draws[name][3, 5], float) for name in ("location", "beside"))
    energy = np.sum(one**2) / 18 + np.log(18 * np.pi) + len(DATA) * np.log(8 * np.pi) / 2
    energy -= sum(np.logaddexp(*(-((row - one) ** 2) / 2)) for row in DATA)
    energy -= stats.gamma(3.0, scale=0.5).logpdf(beside) + np.log(beside)
    np.testing.assert_allclose(told["potential_energy"][3, 5], energy, rtol=1e-5)


def test_equal_arguments_are_not_fitted_again_and_warm_chains_go_on(fitted, monkeypatch):
    kernel, _ = fitted
    monkeypatch.setattr(nice_fit, "fit", None)
    made = MCMC(
        kernel,
        num_warmup=2,
        num_samples=3,
        num_chains=3,
        chain_method="sequential",
        progress_bar=False,
    )
    made.warmup(jax.random.key(1), DATA.copy(), collect_warmup=True)
    assert len(np.unique(made.get_samples(group_by_chain=True)["beside"][:, 0])) == 3
    made.run(jax.random.key(2), DATA)
    assert made.get_samples()["location"].shape == (9, 2)


def test_where_chains_begin(fitted):
    kernel, _ = fitted
    keys = jax.random.split(jax.random.key(0), 32)
    state = kernel.init(keys, 0, None, (DATA,), {})
    assert len(np.unique(np.asarray(state.z["beside"]))) > 20
    given = {"location": jnp.array([1.0, 2.0]), "beside": jnp.array(-0.5)}
    state = kernel.init(keys[0], 0, given, (DATA,), {})
    np.testing.assert_array_equal(state.z["location"], given["location"])
    with pytest.raises(ValueError, match="arguments of the fit"):
        kernel.sample(state, (DATA + 1.0,), {})
    with pytest.raises(ValueError, match="'sequential' or 'vectorized', given traced"):
        jax.vmap(lambda key: kernel.init(key, 0, None, (DATA,), {}))(keys)


def test_the_algorithm_runs_in_a_scan_of_ones_own(fitted, getkey):
    kernel, _ = fitted
    sampler = kernel.algorithm

    @jax.jit
    def chain(key, start):
        keys = jax.random.split(key, DRAWS)
        return jax.lax.scan(lambda s, k: sampler.step(k, s), sampler.init(start), keys)

    keys = jax.random.split(getkey(), CHAINS)
    states, infos = jax.vmap(chain)(keys, jnp.asarray(kernel.report.starts[:CHAINS]))
    assert states.position.shape == (CHAINS, 3) and infos.acceptance_rate.mean() > 0.2


def energy(position):
    """Two modes along the first axis, the second one three times as heavy."""
    log_shares = jnp.log(jnp.array([0.25, 0.75]))
    away = (position["x"] - jnp.array([-3.0, 3.0])) ** 2 / 2
    return -jax.nn.logsumexp(log_shares - away) + position["y"] ** 2 / 2


def test_chains_that_share_a_start_are_warned_of_and_leave_it():
    kernel = nice_numpyro.ANiceMC(potential_fn=energy, objective=small(2), **TINY)
    start = {"x": jnp.full(CHAINS, -3.0), "y": jnp.zeros(CHAINS)}
    with pytest.warns(RuntimeWarning, match="all chains share a start"):
        draws = run(kernel, init_params=start).get_samples(group_by_chain=True)["x"]
    shares = np.mean(np.asarray(draws)[:, DRAWS // 4 :] > 0, axis=1)
    assert abs(shares.mean() - 0.75) < 4 * shares.std(ddof=1) / np.sqrt(CHAINS)


def test_other_arguments_are_fitted_anew(monkeypatch):
    fits, starts = [], np.zeros((4, 2), np.float32)
    report = nice_fit.FitReport("done", 0.0, (), starts, *[None] * 6)

    def fit(key, log_density, dimension, **options):
        fits.append((dimension, options))
        return algorithm.SamplingAlgorithm(
            lambda x: algorithm.State(x, log_density(x)), None
        ), report

    monkeypatch.setattr(nice_fit, "fit", fit)
    kernel = nice_numpyro.ANiceMC(potential_fn=energy, like={"x": 0, "y": 0.0}, scale=2.0)
    keys = jax.random.split(jax.random.key(0))
    for given in ((), (), (1,), (np.ones(2),), (np.ones(2),)):
        state = kernel.init(keys[0], 0, None, given, {})
    assert fits == [(2, {"scale": 2.0})] * 3
    assert state.potential_energy == energy({"x": 0.0, "y": 0.0})
    kernel.init(keys, 0, {"x": jnp.ones(2), "y": jnp.zeros(2)}, (), None)
    np.testing.assert_array_equal(fits[-1][1]["starts"], [[1.0, 0.0]] * 2)


def test_what_it_refuses():
    with pytest.raises(ValueError, match="expected `like` or init_params"):
        nice_numpyro.ANiceMC(potential_fn=energy).init(jax.random.key(0), 0, None, (), {})
    for given in ({}, {"model": mixture, "potential_fn": energy}):
        with pytest.raises(ValueError, match="either a model or a potential_fn"):
            nice_numpyro.ANiceMC(**given)


@pytest.mark.skipif(not importlib.util.find_spec("blackjax"), reason="BlackJAX is not installed")
def test_algorithms_have_the_fields_of_blackjax():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from blackjax import base
    assert algorithm.SamplingAlgorithm._fields == base.SamplingAlgorithm._fields
