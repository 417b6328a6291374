"""A-NICE-MC for NumPyro: a kernel that is fitted once and then takes any number of chains.

    >>> kernel = ANiceMC(model)
    >>> chains = infer.MCMC(kernel, num_warmup=0, num_samples=1000, num_chains=8)
    >>> chains.run(jax.random.key(0), data)
    >>> kernel.report.warnings
    ()

``nice_fit.fit`` runs on the host where NumPyro initialises the kernel, on the model's unconstrained
sites laid side by side. Nothing adapts afterwards, so warm-up only lets chains forget where they
began.
"""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import flatten_util
from numpyro import infer
from numpyro import util as numpyro_util
from numpyro.infer import mcmc
from numpyro.infer import util as infer_util

from inference.mcmc import algorithm, nice_fit

Array = jax.Array


class State(NamedTuple):
    """A chain, or chains along the first axis, in the words of NumPyro.

    Attributes:
      z: the position, unconstrained, in the structure of the model's sites.
      potential_energy: minus the log density there, in nats.
      accept_prob: with which the last proposal was accepted.
      rng_key: of the next step.
    """

    z: Any
    potential_energy: Array
    accept_prob: Array
    rng_key: Array


class ANiceMC(mcmc.MCMCKernel):
    """Moves by a bijection that is trained for the model; draws claim ``ASYMPTOTIC``.

    Chains begin at draws of the fit, or at ``init_params`` where they are given. A second run with
    equal arguments does not fit again. Each reason to doubt the fit is a ``RuntimeWarning``.

    Args:
      model: a NumPyro model; discrete sites are summed out as NumPyro does.
      potential_fn: instead, minus the log density of a position, any pytree of arrays.
      like: a position of the same structure, which ``potential_fn`` needs where ``init_params``
        are not given.
      init_strategy: where NumPyro looks for a valid point; the search does not begin there.
      options: of ``nice_fit.fit``: ``objective``, ``scale``, ``num_chains`` and others. With
        several vectorised chains ``starts`` are ``init_params`` unless given here.

    Attributes:
      report: of the last fit, None before; its positions are flat.
      algorithm: the sampler of flat positions, as BlackJAX has them.
    """

    report: nice_fit.FitReport | None = None
    algorithm: algorithm.SamplingAlgorithm

    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        potential_fn: Callable[[Any], Any] | None = None,
        *,
        like: Any = None,
        init_strategy: Callable = infer.init_to_uniform,
        **options: Any,
    ):
        if (model is None) == (potential_fn is None):
            raise ValueError("expected either a model or a potential_fn, given both or neither")
        self._model, self._potential, self._like = model, potential_fn, like
        self._init_strategy, self._options = init_strategy, options
        self._postprocess: Callable[..., Any] | None = None
        self._arguments: Any = None
        self._unravel: Callable[[Array], Any] = lambda flat: flat
        # NumPyro initialises anew, even chains that are warm, while this is None.
        self._sample_fn: Callable[[State], State] | None = None

    @property
    def model(self) -> Callable[..., Any] | None:
        return self._model

    @property
    def sample_field(self) -> str:
        return "z"

    def get_diagnostics_str(self, state: State) -> str:
        return f"acceptance {np.mean(state.accept_prob):.2f}"

    def postprocess_fn(self, model_args: Any, model_kwargs: Any) -> Callable[[Any], Any]:
        """From unconstrained sites to those of the model, deterministic ones included."""
        if self._postprocess is None:
            return lambda z: z
        return self._postprocess(*model_args, **(model_kwargs or {}))

    def init(
        self,
        rng_key: Array,
        num_warmup: int,
        init_params: Any,
        model_args: Any,
        model_kwargs: Any,
    ) -> State:
        """Fits unless that is done, and starts a chain, or as many as there are keys.

        Raises:
          ValueError: ``potential_fn`` comes without a position, or chains are traced, as those of
            ``chain_method="parallel"`` are on several devices.
        """
        if isinstance(rng_key, jax.core.Tracer):
            raise ValueError(
                "expected chain_method 'sequential' or 'vectorized', given traced keys"
            )
        is_one = numpyro_util.is_prng_key(rng_key)
        keys = rng_key[None] if is_one else rng_key
        arguments = model_args, model_kwargs or {}
        if self._sample_fn is None or not _equal(arguments, self._arguments):
            starts = None if is_one else init_params
            self._fit(jax.random.fold_in(keys[0], 0), init_params, starts, arguments)
        assert self.report is not None
        drawn = jnp.asarray(self.report.starts)
        if init_params is None:
            choices = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
            flat = drawn[jax.vmap(lambda key: jax.random.randint(key, (), 0, len(drawn)))(choices)]
        else:
            flat = _rows(init_params, is_one)
        later = jax.vmap(lambda key: jax.random.fold_in(key, 2))(keys)
        states = jax.vmap(self._begin)(flat, later)
        return jax.tree.map(lambda leaf: leaf[0], states) if is_one else states

    def sample(self, state: State, model_args: Any, model_kwargs: Any) -> State:
        """A step of a chain, or of all.

        Raises:
          ValueError: the arguments are not those of the fit, or ``jit_model_args`` is set.
        """
        assert self._sample_fn is not None, "init comes before sample"
        if not _equal((model_args, model_kwargs or {}), self._arguments):
            raise ValueError("expected the model's arguments of the fit, untraced, given others")
        is_one = not jnp.ndim(state.potential_energy)
        return self._sample_fn(state) if is_one else jax.vmap(self._sample_fn)(state)

    def _fit(self, rng_key: Array, init_params: Any, starts: Any, arguments: Any) -> None:
        key_model, key_fit = jax.random.split(rng_key)
        potential, like = self._prepared(key_model, init_params, starts is not None, arguments)
        like = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(float)), like)
        flat, self._unravel = flatten_util.ravel_pytree(like)
        options = dict(self._options)
        if starts is not None:
            options.setdefault("starts", np.asarray(_rows(starts, False)))

        def log_density(position: Array) -> Array:
            return -potential(self._unravel(position))

        self.algorithm, self.report = nice_fit.fit(key_fit, log_density, len(flat), **options)
        self._sample_fn, self._arguments = self._step, arguments
        for line in self.report.warnings:
            warnings.warn(line, RuntimeWarning, stacklevel=4)

    def _prepared(
        self, rng_key: Array, init_params: Any, is_many: bool, arguments: Any
    ) -> tuple[Callable[[Any], Any], Any]:
        """The potential energy of a position, and some position."""
        given, named = arguments
        if self._model is not None:
            found = infer_util.initialize_model(
                rng_key,
                self._model,
                init_strategy=self._init_strategy,
                dynamic_args=True,
                model_args=given,
                model_kwargs=named,
            )
            self._postprocess = found.postprocess_fn
            return found.potential_fn(*given, **named), found.param_info.z
        assert self._potential is not None
        if self._like is None and init_params is None:
            raise ValueError("expected `like` or init_params with a potential_fn, given neither")
        if self._like is not None or not is_many:
            return self._potential, init_params if self._like is None else self._like
        return self._potential, jax.tree.map(lambda leaf: leaf[0], init_params)

    def _begin(self, position: Array, rng_key: Array) -> State:
        state = self.algorithm.init(position)
        zero = jnp.zeros((), position.dtype)
        return State(self._unravel(position), -state.log_density, zero, rng_key)

    def _step(self, state: State) -> State:
        rng_key, key_step = jax.random.split(state.rng_key)
        flat = flatten_util.ravel_pytree(state.z)[0]
        before = algorithm.State(flat, -state.potential_energy)
        after, told = self.algorithm.step(key_step, before)
        z = self._unravel(after.position)
        return State(z, -after.log_density, told.acceptance_rate, rng_key)


def _rows(positions: Any, is_one: bool) -> Array:
    """Positions of chains side by side, [C, D]."""
    many = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(float)), positions)
    if is_one:
        return flatten_util.ravel_pytree(many)[0][None]
    return jax.vmap(lambda one: flatten_util.ravel_pytree(one)[0])(many)


def _equal(first: Any, second: Any) -> bool:
    """Whether arguments of a model are the same; traced ones are unknown."""
    leaves = [jax.tree.leaves(one) for one in (first, second)]
    structures: list[Any] = [jax.tree.structure(one) for one in (first, second)]
    if structures[0] != structures[1]:
        return False
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves[0]):
        return False
    return all(np.array_equal(a, b) for a, b in zip(*leaves, strict=True))
