"""Gibbs sampling: exact frequencies of every layout, with mutants that are not."""

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
GRID = generators.grid_edges(2, 3)
MIXED = (
    [3, 2, 1, 4],
    [
        ((0, 1), [[0.8, -0.6], [0.1, NEVER], [-0.9, 1.1]]),
        ((3, 1), [[0.5, -0.7], [-1.0, 0.2], [0.9, 0.3], [0.0, -0.4]]),
        ((0, 2, 3), [[[0.4, 0.0, NEVER, 0.6]], [[-0.5, 1.2, 0.3, 0.0]], [[0.7, 0, 0.1, -1.0]]]),
        ((3,), [0.6, 0.0, NEVER, 0.2]),
    ],
)
#: Models that are swept by gathers, and such as are swept by shifts.
GATHERED = frequencies.Parts(
    MIXED,
    ([2] * 7, [((0, v), UNEQUAL) for v in range(1, 7)]),
    ([2, 3], [((1,), [0.0, 1.0, NEVER])]),
    ([1, 1], [((0, 1), [[0.3]])]),
    ([2], []),
)
SHIFTED = {
    "grid": frequencies.Parts(([2] * 6, [(e, AGREE) for e in GRID] + [((1,), [0.0, 0.8])])),
    "odd ring": frequencies.Parts(
        ([2] * 5, [((v, (v + 1) % 5), UNEQUAL) for v in range(5)] + [((2,), [NEVER, 0.3])])
    ),
    "hard core": frequencies.Parts(
        ([2] * 6, [(e, NOT_BOTH) for e in GRID] + [((4,), [0.0, 1.0])]),
        ([2] * 2, [((0, 1), AGREE), ((1, 0), UNEQUAL), ((0, 1), NOT_BOTH)]),
    ),
}


def with_sweeps(sweeps):
    """A chain of given sweeps."""

    def init(position, rng_key=None):
        position = jnp.asarray(position, jnp.int32)
        return algorithm.State(position, sweeps.log_density(position))

    return algorithm.SamplingAlgorithm(
        init, lambda key, state: (init(sweeps.sweep(key, state.position)), None)
    )


def test_gathers_are_exact():
    assert gibbs_stencil.prepare(GATHERED.graph, gibbs.colour(GATHERED.graph)) is None
    assert GATHERED.p_value(gibbs.gibbs(GATHERED.graph)) > RARE


def test_gathers_of_two_states_are_exact():
    graph = SHIFTED["hard core"].graph
    chain = with_sweeps(gibbs_blocks.prepare(graph, gibbs.colour(graph)))
    assert SHIFTED["hard core"].p_value(chain) > RARE


@pytest.mark.parametrize("name", SHIFTED)
def test_shifts_are_exact(name):
    graph = SHIFTED[name].graph
    assert gibbs_stencil.prepare(graph, gibbs.colour(graph)) is not None
    assert SHIFTED[name].p_value(gibbs.gibbs(graph)) > RARE


@pytest.mark.parametrize("layout", [gibbs_blocks, gibbs_stencil])
def test_variables_that_share_a_factor_must_not_move_at_once(layout):
    """Mutant: one colour for all."""
    parts = SHIFTED["grid"]
    chain = with_sweeps(layout.prepare(parts.graph, np.zeros(6, int)))
    assert parts.p_value(chain) < RARE


@pytest.mark.parametrize("parts, variate", [(SHIFTED["grid"], "logistic"), (GATHERED, "gumbel")])
def test_wrong_noise_is_noticed(parts, variate, monkeypatch):
    """Mutant: a temperature of 1.2."""
    right = getattr(threefry, variate)
    monkeypatch.setattr(threefry, variate, lambda *given: 1.2 * right(*given))
    assert parts.p_value(gibbs.gibbs(parts.graph)) < RARE


def test_clauses_are_sampled_as_tables():
    clauses = logical_groups.clause_group([[1, -2, 3], [-3, 4]])
    tables = [((0, 1, 2), np.zeros((2, 2, 2))), ((2, 3), np.zeros((2, 2)))]
    tables[0][1][0, 1, 0] = tables[1][1][1, 0] = NEVER
    chain = gibbs.gibbs(factor_graph.build([2] * 4, [], logical=[clauses]))
    assert frequencies.Parts(([2] * 4, tables)).p_value(chain) > RARE


def test_log_densities_of_every_state():
    graph = small_models.build(*small_models.random_model(7))
    states = np.stack(np.unravel_index(np.arange(graph.num_states.prod()), graph.num_states), 1)
    found = jax.jit(jax.vmap(gibbs.gibbs(graph).init))(states).log_density
    expected = [factor_graph.score(graph, state) for state in states]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_any_log_density_is_sampled(monkeypatch):
    parts = frequencies.Parts(MIXED)
    density = discrete_targets.log_density(parts.graph)

    def undefined(states):
        """NaN where the model has a hard zero."""
        score = density(states)
        return jnp.where(score > -jnp.inf, score, jnp.nan)

    assert parts.p_value(gibbs.gibbs_of_log_density(undefined, [3, 2, 1, 4])) > RARE
    right = threefry.gumbel
    monkeypatch.setattr(threefry, "gumbel", lambda *given: 1.2 * right(*given))
    assert parts.p_value(gibbs.gibbs_of_log_density(undefined, [3, 2, 1, 4])) < RARE


@pytest.mark.parametrize("layout", [gibbs_blocks, gibbs_stencil])
def test_a_variable_with_no_state_left_keeps_its_own(layout):
    """On a ring of unlike neighbours, from a start that is not one, by either layout."""
    graph = factor_graph.build([2] * 6, [((v, (v + 1) % 6), APART) for v in range(6)])
    chain = with_sweeps(layout.prepare(graph, gibbs.colour(graph)))
    start = jax.jit(chain.init)(np.array([0, 1, 1, 0, 0, 1]))
    state = jax.jit(chain.step)(jax.random.key(0), start)[0]
    assert start.log_density == state.log_density == -jnp.inf
    np.testing.assert_array_equal(state.position, start.position)


def test_what_has_no_states_is_refused():
    with pytest.raises(ValueError, match="expected at least one state per variable, given 0"):
        gibbs.gibbs_of_log_density(jnp.sum, [2, 0])
    with pytest.raises(ValueError, match="expected at least one variable, given 0"):
        gibbs.gibbs(factor_graph.build([], []))


@pytest.mark.parametrize("parts", [SHIFTED["grid"], frequencies.Parts(MIXED)])
def test_one_trace_and_chains_side_by_side(parts):
    chain = gibbs.gibbs(parts.graph)
    chex.clear_trace_counter()
    counted = chex.assert_max_traces(lambda key, state: chain.step(key, state), n=2)
    many, one = jax.jit(jax.vmap(counted)), jax.jit(counted)
    states = jax.jit(jax.vmap(chain.init))(np.zeros((3, parts.graph.num_variables), int))
    for seed in range(3):
        keys = jax.random.split(jax.random.key(seed), 3)
        start = jax.tree.map(lambda leaf: np.asarray(leaf)[1], states)
        alone, info = one(keys[1], start)
        changed = np.sum(np.asarray(alone.position) != start.position)
        states, infos = many(keys, states)
        np.testing.assert_array_equal(np.asarray(states.position)[1], alone.position)
        assert np.asarray(infos.num_changed)[1] == info.num_changed == changed


@pytest.mark.parametrize("parts", [SHIFTED["hard core"], frequencies.Parts(MIXED)])
def test_in_float64(parts):
    with jax.enable_x64(True):
        chain = gibbs.gibbs(parts.graph)
        state = jax.eval_shape(chain.init, np.zeros(parts.graph.num_variables, int))
        assert (state.position.dtype, state.log_density.dtype) == (jnp.int32, jnp.float64)
        assert parts.p_value(chain) > RARE


def test_colours_are_few_and_proper():
    assert gibbs.colour(generators.ising_grid(5, 7, 0.3)).max() == 1
    assert gibbs.colour(generators.ising_torus(4, 6, 0.3)).max() == 1
    random = nx.gnp_random_graph(40, 0.2, seed=1)
    colours = gibbs.colour(convert.ising_from_networkx(random))
    assert all(colours[a] != colours[b] for a, b in random.edges)
    assert colours.max() <= max(dict(random.degree).values())


@pytest.mark.slow
@pytest.mark.parametrize("parts", [*SHIFTED.values(), GATHERED])
def test_frequencies_of_many_chains(parts):
    assert parts.p_value(gibbs.gibbs(parts.graph), num_chains=200_000, num_steps=30, seed=1) > RARE
