"""Informed samplers: exact frequencies on mixed domains, with mutants that are not."""

import functools
import itertools
import math

import chex
import frequencies
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inference.mcmc import algorithm, discrete_targets, informed
from inference.problems import factor_graph, generators

SIZES = [3, 2, 1, 4]
TABLES = [
    ((0, 1), [[0.8, -0.6], [0.1, 0.4], [-0.9, 1.1]]),
    ((3, 1), [[0.5, -0.7], [-1.0, 0.2], [0.9, 0.3], [0.0, -0.4]]),
    ((0, 2, 3), [[[0.4, 0.0, -0.8, 0.6]], [[-0.5, 1.2, 0.3, 0.0]], [[0.7, -0.2, 0.1, -1.1]]]),
    ((3,), [0.6, 0.0, -0.5, 0.2]),
]
BARRED = ((1, 3), [[0.0, -math.inf, 0.0, 0.3], [0.5, 0.0, -math.inf, 0.0]])
ZEROS = [*TABLES, BARRED]


def curved(indicators):
    """A log density that is linear in no row, so that its gradient misleads."""
    weights = jnp.arange(1.0, 17.0).reshape(4, 4) % 5 / 5
    return jnp.sin(3.0 * jnp.sum(weights * indicators)) + jnp.sum(weights * indicators**2) ** 2 / 4


def exact_curved(is_possible=lambda *states: True):
    weights = np.arange(1.0, 17.0).reshape(4, 4) % 5 / 5
    chances = np.zeros(SIZES)
    for x in itertools.product(*map(range, SIZES)):
        total = sum(weights[v, s] for v, s in enumerate(x))
        chances[x] = np.exp(np.sin(3 * total) + total**2 / 4) * is_possible(*x)
    return chances / chances.sum()


def p_value(chain, probabilities):
    return frequencies.p_value(chain, probabilities, num_chains=3000, num_steps=40)


def both(log_density, **options):
    return [
        informed.gibbs_with_gradients(log_density, SIZES, **options),
        informed.langevin(log_density, SIZES, 0.7, **options),
    ]


def of_graph(tables):
    graph = factor_graph.build(SIZES, tables)
    return [informed.gibbs_with_gradients_of_graph(graph), informed.langevin_of_graph(graph, 0.7)]


@pytest.mark.parametrize("which", [0, 1], ids=["gibbs_with_gradients", "langevin"])
class TestBoth:
    def test_exact_frequencies_of_a_graph_with_hard_zeros_in_double_precision(self, which):
        with jax.enable_x64(True):
            chain = of_graph(ZEROS)[which]
            assert p_value(chain, frequencies.exact(SIZES, ZEROS)) > 1e-4
            state = jax.eval_shape(chain.init, np.zeros(4, int))
            assert state.log_density.dtype == state.gradient.dtype == jnp.float64

    def test_exact_frequencies_where_the_gradient_misleads_and_is_nan_at_zeros(self, which):
        def barred(indicators):
            log_zero = jnp.log(1.0 - indicators[1, 1] * indicators[3, 1])
            return curved(indicators) + log_zero

        chances = exact_curved(lambda *x: not x[1] == x[3] == 1)
        assert p_value(both(barred)[which], chances) > 1e-4

    def test_without_the_way_back_frequencies_are_wrong(self, which, monkeypatch):
        whole = informed._metropolised

        def mutant(*arguments):
            return whole(*arguments[:-1], lambda state, to: 0.0)

        monkeypatch.setattr(informed, "_metropolised", mutant)
        assert p_value(both(curved)[which], exact_curved()) < 1e-9

    def test_nan_is_refused_and_counted_and_another_density_accepts(self, which):
        def broken(states):
            return jnp.where(states[0] == 1, jnp.nan, 0.0)

        chain = both(curved, accept_log_density=broken)[which]
        flat = np.where(np.arange(3)[:, None, None, None] == 1, 0.0, np.full(SIZES, 1 / 16))
        assert p_value(chain, flat) > 1e-4
        states = jax.jit(jax.vmap(chain.init))(np.array([[0, 0, 0, 0]] * 99 + [[1, 0, 0, 0]]))
        assert states.log_density[-1] == -jnp.inf and np.isfinite(states.gradient).all()
        _, info = jax.jit(jax.vmap(chain.step))(jax.random.split(jax.random.key(0), 100), states)
        assert info.is_nan.any() and not (info.is_nan & info.is_accepted).any()
        assert (info.acceptance_rate[info.is_nan] == 0).all()

    def test_one_trace_and_what_info_tells(self, which):
        traced = []

        def counted(indicators):
            traced.append(1)
            return curved(indicators)

        chain = both(counted)[which]
        init, step = jax.jit(chain.init), jax.jit(chain.step)
        state = init(np.zeros(4, int))
        for seed in range(20):
            new, info = step(jax.random.key(seed), state)
            assert info.num_changed == (new.position != state.position).sum()
            assert info.num_changed <= [info.is_accepted, 4][which]
            assert (np.array(new.position) < SIZES).all()
            np.testing.assert_array_equal(new.log_density, init(new.position).log_density)
            state = new
        assert len(traced) == 2  # of init and of step


def test_one_trace_for_all_step_sizes():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(key, state, step_size):
        return informed.langevin(curved, SIZES, step_size).step(key, state)

    state = informed.langevin(curved, SIZES, 1.0).init(jnp.zeros(4, int))
    infos = [step(jax.random.key(0), state, size)[1] for size in (0.01, 0.5, 50.0)]
    assert infos[0].num_changed == 0 and infos[0].acceptance_rate == 1


def test_a_second_density_accepts_where_a_graph_has_hard_zeros():
    graph = factor_graph.build(SIZES, TABLES)
    assert informed._densities(graph)[1] is None
    relaxed, accepts = informed._densities(factor_graph.build(SIZES, ZEROS))
    forbidden = np.array([0, 0, 0, 1])
    assert jax.jit(accepts)(forbidden) == -jnp.inf
    assert jax.jit(relaxed)(np.eye(4)[forbidden]) < discrete_targets.FLOOR / 2


def test_the_warm_up_finds_the_acceptance_asked_for():
    graph = generators.ising_grid(3, 3, 0.4)
    make = functools.partial(informed.langevin_of_graph, graph)
    states = jax.jit(jax.vmap(make(1.0).init))(np.zeros((64, 9), int))

    @chex.assert_max_traces(n=1)
    def rate(key, target, step_size):
        key_tune, key_run = jax.random.split(key)
        begun, tuned = informed.tune_langevin(
            key_tune, make, states, 200, step_size=step_size, target=target
        )
        infos = algorithm.run(key_run, make(tuned), begun, 100, collect=lambda _, info: info)[1]
        return infos.acceptance_rate.mean()

    rate = jax.jit(rate)
    for target, step_size in [(0.574, 0.05), (0.8, 20.0)]:
        assert abs(rate(jax.random.key(1), target, step_size) - target) < 0.03


def test_degenerate_domains_and_what_is_refused():
    flat = informed.langevin(lambda indicators: 0.0 * indicators.sum(), [1, 1], 0.5)
    state, info = jax.jit(flat.step)(jax.random.key(0), flat.init(jnp.zeros(2, int)))
    assert info.num_changed == 0 and info.acceptance_rate == 1
    empty = informed.langevin_of_graph(factor_graph.build([], []), 0.5)
    state, info = jax.jit(empty.step)(jax.random.key(0), empty.init(jnp.zeros(0, int)))
    assert state.position.shape == (0,) and info.is_accepted
    with pytest.raises(ValueError, match="expected a variable of at least two states, given none"):
        informed.gibbs_with_gradients(curved, [1, 1])
    with pytest.raises(ValueError, match="expected at least one state per variable, given 0"):
        informed.langevin(curved, [2, 0], 0.5)
    with pytest.raises(ValueError, match=r"expected states \[4\], given \[3\]"):
        informed.langevin(curved, SIZES, 0.5).init(jnp.zeros(3, int))
