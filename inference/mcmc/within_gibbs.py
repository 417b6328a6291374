"""Our discrete kernels on the discrete latents of a NumPyro model, NUTS on the rest.

    >>> def model(data):
    ...     means = numpyro.sample("means", dist.Normal(jnp.array([-1.0, 1.0]), 2.0).to_event(1))
    ...     with numpyro.plate("data", len(data)):
    ...         label = numpyro.sample("label", dist.Bernoulli(0.3))
    ...         numpyro.sample("x", dist.Normal(means[label], 1.0), obs=data)
    >>> chain = MCMC(within_gibbs(NUTS(model)), num_warmup=500, num_samples=500)
    >>> chain.run(jax.random.key(0), data)

A step moves the discrete sites together, given all others, by any ``SamplingAlgorithm`` over states
int [V]; then the other kernel moves the rest given them. NumPyro's ``Gibbs`` does the taking turns:
``DiscreteSites`` is one of its blocks, beside which others may stand. Its own ``DiscreteGibbs``
changes a variable at a time, in random order.
"""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import infer
from numpyro.infer import gibbs as numpyro_gibbs
from numpyro.infer.util import log_density

from inference.mcmc import algorithm, gibbs

#: ``build(log_density, num_states)``: a chain on int [V] from its log density and int [V].
Build = Callable[[Callable[[jax.Array], jax.Array], np.ndarray], algorithm.SamplingAlgorithm]


class State(NamedTuple):
    """Values of the discrete sites by name, and the key of the next step."""

    z: dict[str, jax.Array]
    rng_key: jax.Array


class _Site(NamedTuple):
    """The shape of a site, and the values that its states stand for, in ascending order."""

    shape: tuple[int, ...]
    values: np.ndarray


def within_gibbs(
    kernel: Any, build: Build = gibbs.gibbs_of_log_density, *, num_steps: int = 1
) -> infer.Gibbs:
    """A kernel for ``numpyro.infer.MCMC``: discrete sites by ``build``, the others by ``kernel``.

    Args:
      kernel: of a model: ``NUTS(model)``, ``HMC(model)``.
      build: makes the chain of the discrete sites, given the others; ``gibbs_of_log_density``.
      num_steps: of that chain before a step of ``kernel``.
    """
    sites = DiscreteSites(kernel.model, build, num_steps=num_steps)
    return infer.Gibbs([(sites, numpyro_gibbs.discrete_latent_sites), (kernel, None)])


class DiscreteSites(infer.mcmc.MCMCKernel):
    """Moves all discrete latent sites of a model by one chain; a block of ``numpyro.infer.Gibbs``.

    It takes sites of finite support, but none that is summed over ("enumerate": "parallel"), in the
    order in which the model has them. Nothing but the values is kept between steps, so nothing is
    out of date when others have moved.

    Args:
      model: of NumPyro.
      build, num_steps: as in ``within_gibbs``.
    """

    sample_field = "z"

    def __init__(self, model: Any, build: Build, *, num_steps: int = 1) -> None:
        self._model, self._build, self._num_steps = model, build, num_steps
        self._sites: dict[str, _Site] = {}

    @property
    def model(self) -> Any:
        return self._model

    def init(
        self, rng_key: Any, num_warmup: int, init_params: Any, model_args: Any, model_kwargs: Any
    ) -> State:
        """Raises ValueError for models without such sites, or with others that nobody moves."""
        key_trace, key_steps = jax.random.split(rng_key)
        conditioned = numpyro_gibbs.conditioned(self._model)
        trace = numpyro_gibbs.prototype_trace(conditioned, key_trace, model_args, model_kwargs)
        self._sites = _sites(trace)
        given = dict(init_params or {})
        start = {name: given.get(name, trace[name]["value"]) for name in self._sites}
        return State(jax.tree.map(jnp.asarray, start), key_steps)

    def sample(self, state: State, model_args: Any, model_kwargs: Any) -> State:
        conditioned = numpyro_gibbs.conditioned(self._model)

        def score(states: jax.Array) -> jax.Array:
            given = numpyro_gibbs.with_conditioning(model_kwargs, self._values(states, state.z))
            return log_density(conditioned, model_args, given, {})[0]

        sizes = [np.full(site.shape, len(site.values)).ravel() for site in self._sites.values()]
        chain = self._build(score, np.concatenate(sizes))
        key_init, key_moves, key_next = jax.random.split(state.rng_key, 3)
        keys = jax.random.split(key_moves, self._num_steps)
        start = chain.init(self._states(state.z), key_init)
        moved, _ = jax.lax.scan(lambda s, key: (chain.step(key, s)[0], None), start, keys)
        return State(self._values(moved.position, state.z), key_next)

    def refresh(self, state: State, model_args: Any, model_kwargs: Any) -> State:
        return state

    def wrap_model(self, wrapper: Any) -> "DiscreteSites":
        kernel = copy.copy(self)
        kernel._model, kernel._sites = wrapper(self._model), {}
        return kernel

    def _states(self, z: dict[str, jax.Array]) -> jax.Array:
        """The numbers of the values, int32 [V]."""
        found = [jnp.searchsorted(site.values, z[name]) for name, site in self._sites.items()]
        return jnp.concatenate([one.ravel() for one in found]).astype(jnp.int32)

    def _values(self, states: jax.Array, like: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """The values of states [V], by name, of the types of others."""
        at, found = 0, {}
        for name, site in self._sites.items():
            end = at + int(np.prod(site.shape))
            values = jnp.asarray(site.values)[states[at:end]].reshape(site.shape)
            at, found[name] = end, values.astype(like[name].dtype)
        return found


def _sites(trace: Any) -> dict[str, _Site]:
    """The discrete latent sites of a trace, by name.

    Raises:
      ValueError: there is none, or there are latent sites that a chain of states cannot move.
    """
    names = numpyro_gibbs.discrete_latent_sites(trace)
    others = sorted(set(numpyro_gibbs.latent_sample_sites(trace)) - set(names))
    if not names or others:
        given = f"others: {', '.join(others)}" if others else "none"
        raise ValueError(f"expected latent sites of finite support alone, given {given}")
    found = {}
    for name in names:
        distribution = trace[name]["fn"]
        if distribution.event_dim:
            raise ValueError(f"expected a number at each latent site, given an array at {name!r}")
        with jax.ensure_compile_time_eval():  # inside a traced ``init`` they are numbers too
            values = np.asarray(distribution.enumerate_support(expand=False)).ravel()
        found[name] = _Site(np.shape(trace[name]["value"]), np.sort(values))
    return found
