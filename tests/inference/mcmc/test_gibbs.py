"""Gibbs sampling: exact frequencies of every layout, with mutants that are not."""

import functools
import math

import chex
import frequencies
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
import small_models

from inference.mcmc import algorithm, discrete_targets, gibbs, gibbs_blocks, gibbs_stencil, threefry
from inference.problems import convert, factor_graph, generators, logical_groups

RARE = 1e-4
NEVER = -math.inf
AGREE, APART = [[0.7, 0.0], [0.0, 0.7]], [[NEVER, 0.0], [0.0, NEVER]]
NOT_BOTH = [[0.0, 0.0], [0.0, NEVER]]
UNEQUAL = [[0.3, -0.4], [0.9, 0.1]]  # not even symmetric
RING = [(v, (v + 1) % 6) for v in range(6)]

#: Numbers of states, factors with log tables, and whether shifts are taken.
MODELS = {
    "grid": (
        [2] * 6,
        [(e, AGREE) for e in generators.grid_edges(2, 3)] + [((1,), [0.0, 0.8])],
        True,
    ),
    "ring": ([2] * 6, [(e, UNEQUAL) for e in RING] + [((2,), [NEVER, 0.3])], True),
    "odd ring": ([2] * 5, [((v, (v + 1) % 5), UNEQUAL) for v in range(5)], True),
    "hard core": (
        [2] * 6,
        [(e, NOT_BOTH) for e in generators.grid_edges(2, 3)] + [((4,), [0.0, 1.0])],
        True,
    ),
    "parallel": ([2] * 2, [((0, 1), AGREE), ((1, 0), UNEQUAL), ((0, 1), NOT_BOTH)], True),
    "hub": ([2] * 7, [((0, v), UNEQUAL) for v in range(1, 7)], False),
    "mixed": (
        [3, 2, 1, 4],
        [
            ((0, 1), [[0.8, -0.6], [0.1, NEVER], [-0.9, 1.1]]),
            ((3, 1), [[0.5, -0.7], [-1.0, 0.2], [0.9, 0.3], [0.0, -0.4]]),
            (
                (0, 2, 3),
                [[[0.4, 0.0, NEVER, 0.6]], [[-0.5, 1.2, 0.3, 0.0]], [[0.7, 0.0, 0.1, -1.0]]],
            ),
            ((3,), [0.6, 0.0, NEVER, 0.2]),
        ],
        False,
    ),
    "no edges": ([2, 3], [((1,), [0.0, 1.0, NEVER])], False),
    "one variable": ([2], [((0,), [0.4, -0.4])], False),
    "one state": ([1, 1], [((0, 1), [[0.3]])], False),
    "apart": ([2] * 5, [((0, 1), UNEQUAL), ((3, 4), AGREE)], False),
}


def graph_of(name):
    sizes, factors, _ = MODELS[name]
    return factor_graph.build(sizes, factors)


def exact_of(name):
    sizes, factors, _ = MODELS[name]
    return frequencies.exact(sizes, factors)


def with_sweeps(sweeps):
    """A chain of given sweeps."""

    def init(position, rng_key=None):
        position = jnp.asarray(position, jnp.int32)
        return gibbs.State(position, sweeps.log_density(position))

    return algorithm.SamplingAlgorithm(
        init, lambda key, state: (init(sweeps.sweep(key, state.position)), None)
    )


@pytest.mark.parametrize("name", MODELS)
def test_frequencies_and_log_densities_are_exact(name):
    graph, probabilities = graph_of(name), exact_of(name)
    stencil = gibbs_stencil.prepare(graph, gibbs.colour(graph))
    assert (stencil is not None) == MODELS[name][2]
    assert frequencies.p_value(gibbs.gibbs(graph), probabilities) > RARE


def test_blocks_sample_what_shifts_do():
    graph = graph_of("ring")
    chain = with_sweeps(gibbs_blocks.prepare(graph, gibbs.colour(graph)))
    assert frequencies.p_value(chain, exact_of("ring")) > RARE


@pytest.mark.parametrize("layout", [gibbs_blocks, gibbs_stencil])
def test_variables_that_share_a_factor_must_not_move_at_once(layout):
    """Mutant: one colour for all."""
    chain = with_sweeps(layout.prepare(graph_of("grid"), np.zeros(6, int)))
    assert frequencies.p_value(chain, exact_of("grid")) < RARE


@pytest.mark.parametrize("name, variate", [("grid", "logistic"), ("mixed", "gumbel")])
def test_wrong_noise_is_noticed(name, variate, monkeypatch):
    """Mutant: a temperature of 1.2."""
    right = getattr(threefry, variate)
    monkeypatch.setattr(threefry, variate, lambda *given: 1.2 * right(*given))
    assert frequencies.p_value(gibbs.gibbs(graph_of(name)), exact_of(name)) < RARE


def test_clauses_and_parities_are_sampled():
    clauses = logical_groups.clause_group([[1, -2, 3], [-3, 4]])
    parities = logical_groups.parity_group([[1, 4, 5]], [True])
    graph = factor_graph.build([2] * 5, [((0,), [0.0, 0.5])], logical=[clauses, parities])
    tables = [((0, 1, 2), np.zeros((2, 2, 2))), ((2, 3), np.zeros((2, 2)))]
    tables[0][1][0, 1, 0] = tables[1][1][1, 0] = NEVER
    odd = np.indices((2, 2, 2)).sum(axis=0) % 2 == 1
    factors = [*tables, ((0, 3, 4), np.where(odd, 0.0, NEVER)), ((0,), [0.0, 0.5])]
    # The parity binds its last variable, so single changes reach only part of the models.
    chain = gibbs.gibbs(graph)
    frequencies.check_log_density(chain, frequencies.exact([2] * 5, factors))
    free = gibbs.gibbs(factor_graph.build([2] * 4, [], logical=[clauses]))
    assert frequencies.p_value(free, frequencies.exact([2] * 4, tables)) > RARE


@pytest.mark.parametrize("seed", [2, 7])
def test_log_densities_of_random_models(seed):
    num_states, factors = small_models.random_model(seed)
    with np.errstate(divide="ignore"):
        logs = [(scope, np.log(np.array(table))) for scope, table in factors]
    chain = gibbs.gibbs(factor_graph.build(num_states, logs))
    frequencies.check_log_density(chain, frequencies.exact(num_states, logs))


def test_any_log_density_is_sampled(monkeypatch):
    probabilities = exact_of("mixed")
    density = discrete_targets.log_density(graph_of("mixed"))

    def undefined(states):
        """NaN where the model has a hard zero."""
        score = density(states)
        return jnp.where(score > -jnp.inf, score, jnp.nan)

    chain = gibbs.gibbs_of_log_density(undefined, [3, 2, 1, 4])
    assert frequencies.p_value(chain, probabilities) > RARE
    right = threefry.gumbel
    monkeypatch.setattr(threefry, "gumbel", lambda *given: 1.2 * right(*given))
    mutant = gibbs.gibbs_of_log_density(undefined, [3, 2, 1, 4])
    assert frequencies.p_value(mutant, probabilities) < RARE


@pytest.mark.parametrize("layout", [gibbs_blocks, gibbs_stencil])
def test_a_variable_with_no_state_left_keeps_its_own(layout):
    """On a ring of unlike neighbours, from a start that is not one, by either layout."""
    graph = factor_graph.build([2] * 6, [(pair, APART) for pair in RING])
    chain = with_sweeps(layout.prepare(graph, gibbs.colour(graph)))
    start = chain.init(np.array([0, 1, 1, 0, 0, 1]))
    state = jax.jit(chain.step)(jax.random.key(0), start)[0]
    assert start.log_density == state.log_density == -jnp.inf
    np.testing.assert_array_equal(state.position, start.position)


def test_what_has_no_states_is_refused():
    with pytest.raises(ValueError, match="expected at least one state per variable, given 0"):
        gibbs.gibbs_of_log_density(jnp.sum, [2, 0])
    with pytest.raises(ValueError, match="expected at least one variable, given 0"):
        gibbs.gibbs(factor_graph.build([], []))


@pytest.mark.parametrize("name", ["grid", "mixed"])
def test_one_trace_and_chains_side_by_side(name):
    chain = gibbs.gibbs(graph_of(name))
    chex.clear_trace_counter()
    counted = chex.assert_max_traces(lambda key, state: chain.step(key, state), n=2)
    many, one = jax.jit(jax.vmap(counted)), jax.jit(counted)
    states = jax.vmap(chain.init)(jnp.zeros((3, len(MODELS[name][0])), int))
    for seed in range(3):
        keys = jax.random.split(jax.random.key(seed), 3)
        alone, info = one(keys[1], jax.tree.map(lambda leaf: leaf[1], states))
        changed = np.sum(alone.position != states.position[1])
        states, infos = many(keys, states)
        np.testing.assert_array_equal(states.position[1], alone.position)
        assert infos.num_changed[1] == info.num_changed == changed


@pytest.mark.parametrize("name", ["hard core", "mixed"])
def test_in_float64(name):
    with jax.enable_x64(True):
        chain = gibbs.gibbs(graph_of(name))
        state = chain.init(np.zeros(len(MODELS[name][0]), int))
        assert (state.position.dtype, state.log_density.dtype) == (jnp.int32, jnp.float64)
        assert frequencies.p_value(chain, exact_of(name), num_steps=20) > RARE


def test_colours_are_few_and_proper():
    assert gibbs.colour(generators.ising_grid(5, 7, 0.3)).max() == 1
    assert gibbs.colour(generators.ising_torus(4, 6, 0.3)).max() == 1
    random = nx.gnp_random_graph(40, 0.2, seed=1)
    graph = convert.ising_from_networkx(random)
    colours = gibbs.colour(graph)
    assert all(colours[a] != colours[b] for a, b in random.edges)
    assert colours.max() <= max(dict(random.degree).values())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grid", "ring", "odd ring", "hard core", "hub", "mixed"])
def test_frequencies_of_a_million_chains(name):
    value = functools.partial(frequencies.p_value, num_chains=10**6, seed=1)
    assert value(gibbs.gibbs(graph_of(name)), exact_of(name)) > RARE
