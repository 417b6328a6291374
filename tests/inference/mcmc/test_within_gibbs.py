"""NumPyro models with discrete latents: posteriors that are known, by enumeration of the labels."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from numpyro import distributions
from numpyro.infer import HMC, MCMC, NUTS
from scipy import stats

from inference.mcmc import algorithm, gibbs, within_gibbs

DATA = np.array([-1.5, -0.4, 0.3, 1.2])
WEIGHT, MEANS, SPREAD = 0.3, np.array([-1.0, 1.0]), 2.0


def mixture(data):
    """Two normals of unit variance, their means normal: conjugate given the labels."""
    means = numpyro.sample("means", distributions.Normal(jnp.asarray(MEANS), SPREAD).to_event(1))
    with numpyro.plate("data", len(data)):
        label = numpyro.sample("label", distributions.Bernoulli(WEIGHT))
        numpyro.sample("x", distributions.Normal(means[label], 1.0), obs=data)


def posterior():
    """Of all labels, the means integrated out."""
    logs = []
    for labels in itertools.product((0, 1), repeat=len(DATA)):
        labels = np.array(labels)
        logs.append(np.log(np.where(labels, WEIGHT, 1 - WEIGHT)).sum())
        for which in np.unique(labels):
            own = DATA[labels == which]
            covariance = np.eye(len(own)) + SPREAD**2
            normal = stats.multivariate_normal(np.full(len(own), MEANS[which]), covariance)
            logs[-1] += normal.logpdf(own)
    return np.exp(logs) / np.exp(logs).sum()


def p_value(chain):
    """Of the frequencies of all labels, and the last ones drawn."""
    drawn = np.asarray(chain.get_samples()["label"])
    counts = np.bincount(drawn @ 2 ** np.arange(len(DATA))[::-1], minlength=2 ** len(DATA))
    return stats.chisquare(counts, posterior() * len(drawn)).pvalue


def run(kernel, num_warmup, *given):
    """The last states of many chains, which are independent."""
    options = {"chain_method": jax.vmap, "num_chains": 512, "progress_bar": False}
    chain = MCMC(kernel, num_warmup=num_warmup, num_samples=1, **options)
    with jax.numpy_rank_promotion("allow"):  # inside HMC
        chain.run(jax.random.key(0), *given)
        return chain


def flattened(log_density, num_states):
    """A mutant: it draws from a power of the density."""
    return gibbs.gibbs_of_log_density(lambda states: 0.6 * log_density(states), num_states)


@pytest.mark.parametrize("build", [gibbs.gibbs_of_log_density, flattened])
def test_labels_of_a_mixture(build):
    # With num_steps in its place NumPyro 0.22 draws the means wrongly, by DiscreteHMCGibbs too.
    fixed = {"adapt_step_size": False, "adapt_mass_matrix": False}
    inner = HMC(mixture, step_size=0.35, trajectory_length=1.05, **fixed)
    chain = run(within_gibbs.within_gibbs(inner, build), 120, DATA)
    assert (p_value(chain) > 1e-4) == (build is not flattened)
    assert chain.get_samples()["means"].shape == (512, 2)


@pytest.mark.slow
def test_labels_of_a_mixture_with_nuts():
    chain = run(within_gibbs.within_gibbs(NUTS(mixture)), 300, DATA)
    assert p_value(chain) > 1e-4


def uniform_walk(log_density, num_states):
    """Anyone's chain: it proposes all states anew, and Metropolis accepts."""
    sizes = jnp.asarray(num_states)

    def init(position, rng_key=None):
        return algorithm.State(position, log_density(position))

    def step(rng_key, state):
        key_draw, key_accept = jax.random.split(rng_key)
        position = jax.random.randint(key_draw, sizes.shape, 0, sizes, jnp.int32)
        proposed = init(position)
        accepted = jnp.log(jax.random.uniform(key_accept)) < proposed[1] - state[1]
        return jax.tree.map(lambda new, old: jnp.where(accepted, new, old), proposed, state), None

    return algorithm.SamplingAlgorithm(init, step)


def dice(total):
    """Discrete sites alone, of several shapes; states of one of them do not start at 0."""
    first = numpyro.sample("first", distributions.DiscreteUniform(3, 5))
    with numpyro.plate("others", 2):
        more = numpyro.sample("more", distributions.Bernoulli(0.4))
    numpyro.sample("total", distributions.Normal(first + more.sum(), 1.0), obs=total)


def test_any_chain_moves_sites_of_any_shape_and_support():
    kernel = within_gibbs.DiscreteSites(dice, uniform_walk, num_steps=8)
    drawn = run(kernel, 20, 4.5).get_samples()
    counts, exact = np.zeros((3, 2, 2)), np.zeros((3, 2, 2))
    first, more = np.asarray(drawn["first"]), np.asarray(drawn["more"])
    assert first.min() == 3 and first.max() == 5 and more.shape == (512, 2)
    np.add.at(counts, (first - 3, more[:, 0], more[:, 1]), 1)
    for a, b, c in np.ndindex(3, 2, 2):
        exact[a, b, c] = 0.4 ** (b + c) * 0.6 ** (2 - b - c)
        exact[a, b, c] *= stats.norm(3 + a + b + c, 1).pdf(4.5)
    expected = exact / exact.sum() * len(first)
    assert stats.chisquare(counts.ravel(), expected.ravel()).pvalue > 1e-4


def test_what_a_chain_of_states_cannot_move_is_refused():
    def normal():
        numpyro.sample("x", distributions.Normal(0.0, 1.0))

    def count():
        numpyro.sample("x", distributions.Bernoulli(0.5))
        numpyro.sample("y", distributions.Poisson(2.0))

    for model, given in ((normal, "x"), (count, "y"), (lambda: None, "none")):
        kernel = within_gibbs.DiscreteSites(model, gibbs.gibbs_of_log_density)
        with pytest.raises(ValueError, match="expected latent sites of finite support") as error:
            kernel.init(jax.random.key(0), 0, None, (), {})
        assert given in str(error.value) and "\n" not in str(error.value)


def test_states_stand_for_values_and_starts_are_kept():
    kernel = within_gibbs.DiscreteSites(dice, gibbs.gibbs_of_log_density)
    start = {"first": jnp.array(5), "more": jnp.array([0, 1])}
    state = kernel.init(jax.random.key(0), 0, start, (4.5,), {})
    assert kernel._states(state.z).tolist() == [2, 0, 1]
    values = kernel._values(jnp.array([0, 1, 0]), state.z)
    assert values["first"] == 3 and values["more"].tolist() == [1, 0]
    assert kernel.refresh(state, (), {}) is state
