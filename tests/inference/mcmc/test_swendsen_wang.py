"""Cluster moves: exact frequencies, with mutants that are not."""

import functools
import math

import chex
import frequencies
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

from inference.mcmc import swendsen_wang
from inference.problems import factor_graph, generators, logical_groups

RARE = 1e-4
NEVER = -math.inf
EQUAL, UNEQUAL = [[0.0, NEVER], [NEVER, 0.0]], [[NEVER, 0.2], [0.2, NEVER]]


def spins(coupling):
    return [[coupling, -coupling], [-coupling, coupling]]


def potts(coupling, states=3):
    return (coupling * np.eye(states)).tolist()


GRID = generators.grid_edges(2, 3)
TRIANGLES = [(0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (2, 4)]
COUPLINGS = [0.5, 0.7, -0.6, 1.0, -0.4, -0.8]
FIELD = [2] * 6, [(e, spins(0.5)) for e in GRID] + [((1,), [0.6, 0]), ((2,), [NEVER, 0])]
FRUSTRATED = (
    [2] * 5,
    [(e, spins(k)) for e, k in zip(TRIANGLES, COUPLINGS)] + [((0,), [0.3, 0]), ((2,), [0, 0.5])],
)
HARD = (
    [2] * 4,
    [((0, 1), EQUAL), ((1, 2), spins(0.5)), ((2, 3), UNEQUAL), ((0,), [0.2, 0.5])],
)
BARRED = (
    [3] * 3,
    [((0, 1), potts(1.0)), ((1, 2), potts(0.5))]
    + [((0,), [0.0, 0.5, NEVER]), ((2,), [NEVER, 0.1, 0.3])],
)
MODELS = {
    "without fields": frequencies.Parts(([2] * 6, [(edge, spins(0.5)) for edge in GRID])),
    "two states": frequencies.Parts(
        FIELD,
        FRUSTRATED,
        HARD,
        ([2] * 3, [((0, 1), spins(0.8)), ((1, 0), spins(-0.3)), ((1, 2), spins(0.0))]),
        ([2], [((0,), [0.0, 1.0])]),
        ([2], []),
    ),
    "three states": frequencies.Parts(
        ([3] * 4, [(e, potts(0.9)) for e in generators.grid_edges(2, 2)] + [((0,), [0.4, 0, 0])]),
        BARRED,
        ([3], [((0,), [0.0, 1.0, NEVER])]),
    ),
    "one state": frequencies.Parts(([1] * 2, [((0, 1), [[0.3]])])),
}
SMALL = {"field": frequencies.Parts(FIELD), "frustrated": frequencies.Parts(FRUSTRATED)}
SMALL |= {"hard": frequencies.Parts(HARD), "barred": frequencies.Parts(BARRED)}
KERNELS = [swendsen_wang.swendsen_wang, swendsen_wang.wolff]


def value_of(kernel, parts, **options):
    return parts.p_value(kernel(parts.graph), **options)


@pytest.mark.parametrize("name", MODELS)
def test_swendsen_wang_is_exact(name):
    assert value_of(swendsen_wang.swendsen_wang, MODELS[name]) > RARE


@pytest.mark.parametrize("name", ["frustrated", "hard", "barred"])
def test_wolff_is_exact(name):
    assert value_of(swendsen_wang.wolff, SMALL[name]) > RARE


def test_wrong_bonds_are_noticed(monkeypatch):
    """Mutant: pairs are bound that disagree with their couplings."""
    right = swendsen_wang._bonds

    def wrong(key, pairs, position):
        return right(key, pairs._replace(couplings=-pairs.couplings), position)

    monkeypatch.setattr(swendsen_wang, "_bonds", wrong)
    assert value_of(swendsen_wang.swendsen_wang, SMALL["frustrated"]) < RARE


def test_too_many_bonds_are_noticed(monkeypatch):
    """Mutant: a coupling counts twice, as that of Potts models would for spins."""
    right = swendsen_wang._couplings
    monkeypatch.setattr(swendsen_wang, "_couplings", lambda tables: 2 * right(tables))
    assert value_of(swendsen_wang.swendsen_wang, MODELS["without fields"]) < RARE


@pytest.mark.parametrize("kernel", KERNELS)
def test_overlooked_fields_are_noticed(kernel, monkeypatch):
    """Mutant: half of each."""
    right = swendsen_wang._turned
    monkeypatch.setattr(swendsen_wang, "_turned", lambda *given: 0.5 * right(*given))
    assert value_of(kernel, SMALL["frustrated"]) < RARE


def test_labels_are_those_of_connected_components():
    rng = np.random.default_rng(0)
    path = rng.permutation(144)[np.stack([np.arange(143), np.arange(1, 144)], axis=1)]
    for pairs in np.array(generators.grid_edges(12, 12)), path:
        label = jax.jit(functools.partial(swendsen_wang.label, pairs.T, size=144))
        for share in (0.0, 0.3, 0.5, 1.0):
            is_bonded = rng.random(len(pairs)) < share
            graph = nx.empty_graph(144)
            graph.add_edges_from(pairs[is_bonded].tolist())
            expected = np.zeros(144, int)
            for part in nx.connected_components(graph):
                expected[list(part)] = min(part)
            np.testing.assert_array_equal(label(is_bonded), expected)


def test_parities_of_two_are_pairs():
    parity = logical_groups.parity_group([[1, 2], [2, 3]], [True, False])
    graph = factor_graph.build([2] * 3, [((0,), [0.0, 0.7])], logical=[parity])
    pairs = swendsen_wang._pairs(graph)
    assert pairs.variables.T.tolist() == [[0, 1], [1, 2]]
    assert pairs.couplings.tolist() == [-math.inf, math.inf]


@pytest.mark.parametrize("kernel", KERNELS)
def test_from_a_start_that_is_ruled_out_chains_find_their_way(kernel):
    """All but a cluster with no state left, which stays as it is."""
    barred = [((4, 5), EQUAL), ((4,), [NEVER, 0.0]), ((5,), [0.0, NEVER])]
    sizes, factors = HARD
    chain = kernel(factor_graph.build([2] * 6, [*factors, ((3,), [NEVER, 0.0]), *barred]))
    starts = np.tile([0, 1, 0, 0, 1, 1], (20, 1))
    state = frequencies.last(chain, jax.random.split(jax.random.key(0), 20), starts, 100)
    assert not np.isnan(state.log_density).any()
    possible = frequencies.exact(sizes, [*factors, ((3,), [NEVER, 0.0])]) > 0
    assert possible[tuple(state.position[:, :4].T)].all()
    np.testing.assert_array_equal(state.position[:, 4:], 1)


def test_a_step_of_wolff_turns_one_cluster_over():
    chain = swendsen_wang.wolff(generators.ising_torus(4, 4, 0.4))
    step = jax.jit(chain.step)
    state, bound = jax.jit(chain.init)(np.zeros(16, int)), nx.grid_2d_graph(4, 4, periodic=True)
    for seed in range(20):
        after, info = step(jax.random.key(seed), state)
        old = np.asarray(state.position)
        changed = np.flatnonzero(old != after.position)
        assert len(changed) == info.num_changed > 0
        assert len(np.unique(old[changed])) == 1
        assert nx.is_connected(bound.subgraph([divmod(int(v), 4) for v in changed]))
        state = after


@pytest.mark.parametrize(
    "sizes, factors, message",
    [
        ([], [], "expected at least one variable, given 0"),
        ([2, 3], [], r"expected variables of one number of states, given \[2, 3\]"),
        ([2] * 3, [((0, 1, 2), np.zeros((2, 2, 2)))], "expected factors of two variables, given 3"),
        ([2] * 2, [((0, 1), [[1.0, 0.0], [0.0, 0.9]])], r"one off it, given \[0, 1\]"),
        ([3] * 2, [((1, 0), np.arange(9.0).reshape(3, 3))], r"one off it, given \[1, 0\]"),
        ([3] * 2, [((0, 1), potts(-0.5))], "beyond two states, given -0.5 nats with 3 states"),
    ],
)
def test_what_has_no_clusters_is_refused(sizes, factors, message):
    with pytest.raises(ValueError, match=message):
        swendsen_wang.swendsen_wang(factor_graph.build(sizes, factors))


@pytest.mark.parametrize("kernel", KERNELS)
def test_one_trace_and_chains_side_by_side(kernel):
    chain = kernel(generators.ising_grid(3, 3, 0.4, 0.1))
    chex.clear_trace_counter()
    counted = chex.assert_max_traces(lambda key, state: chain.step(key, state), n=2)
    many, one = jax.jit(jax.vmap(counted)), jax.jit(counted)
    states = jax.jit(jax.vmap(chain.init))(np.zeros((3, 9), int))
    for seed in range(3):
        keys = jax.random.split(jax.random.key(seed), 3)
        alone, info = one(keys[1], jax.tree.map(lambda leaf: np.asarray(leaf)[1], states))
        states, infos = many(keys, states)
        np.testing.assert_array_equal(np.asarray(states.position)[1], alone.position)
        assert np.asarray(infos.num_clusters)[1] == info.num_clusters


@pytest.mark.parametrize("kernel, name", list(zip(KERNELS, ["field", "barred"])))
def test_in_float64(kernel, name):
    with jax.enable_x64(True):
        start = np.zeros(SMALL[name].graph.num_variables, int)
        state = jax.eval_shape(kernel(SMALL[name].graph).init, start)
        assert (state.position.dtype, state.log_density.dtype) == (jnp.int32, jnp.float64)
        assert value_of(kernel, SMALL[name]) > RARE


def test_words_bind_with_the_right_probability():
    """Coupling ln 2 binds half of the agreeing pairs, one of 2^-40 none, an infinite one all."""
    tables = [potts(math.log(2), 2), potts(2.0**-40, 2), EQUAL]
    graph = factor_graph.build([2] * 6, [((2 * i, 2 * i + 1), t) for i, t in enumerate(tables)])
    pairs = swendsen_wang._pairs(graph)
    assert pairs.variables.T.tolist() == [[0, 1], [4, 5]]
    assert pairs.last.tolist() == [2**31 - 1, 2**32 - 1]


@pytest.mark.slow
@pytest.mark.parametrize("parts", SMALL.values(), ids=SMALL)
@pytest.mark.parametrize("kernel", KERNELS)
def test_frequencies_of_many_chains(kernel, parts):
    assert value_of(kernel, parts, num_chains=100_000, num_steps=30, seed=1) > RARE
