"""Belief propagation neural networks: what the operator guarantees, T1 to T5, and the entries."""

import functools
import itertools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inference import estimate
from inference.exact import elimination
from inference.message_passing.learned import bpnn_layers, bpnn_operators
from inference.problems import factor_graph, generators

BP = bpnn_operators.damping(0.0)


@functools.partial(jax.jit, static_argnames="iterations")
def run(operators, graph, messages, iterations):
    def layer(messages, _):
        return bpnn_layers.step(operators, graph, messages), None

    return jax.lax.scan(layer, messages, length=iterations)[0]


def small_grid(scale=1.0):
    """3 x 3, edges in scan order, right before down; log Z and Bethe values are known."""
    edges = []
    for i, j in itertools.product(range(3), repeat=2):
        edges += [(3 * i + j, 3 * i + j + 1)] if j < 2 else []
        edges += [(3 * i + j, 3 * i + j + 3)] if i < 2 else []
    couplings = scale * np.array([((7 * k % 12) + 1) / 12 for k in range(12)])
    fields = np.array([((5 * i % 9) - 4) / 40 for i in range(9)])
    return generators.spin_model(np.array(edges), couplings, fields)


def random_operators(seed, rate, noise=1.0):
    keys = jax.random.split(jax.random.key(seed))
    return bpnn_operators.Operator(rate, keys[0], noise), bpnn_operators.Operator(
        rate, keys[1], noise
    )


def plain_sweeps(graph, alpha, sweeps):
    """Damped BP by loops over factors and slots; messages to variables by (factor, slot)."""

    def normalised(row):
        return row - np.logaddexp.reduce(row)

    factors = [
        (scope.tolist(), table)
        for group in graph.groups
        for scope, table in zip(group.variables, group.log_potentials, strict=True)
    ]
    slots = [(a, j) for a, (scope, _) in enumerate(factors) for j in range(len(scope))]
    down = {slot: np.log([0.5, 0.5]) for slot in slots}
    up = dict(down)
    for _ in range(sweeps):
        fresh = {}
        for a, j in slots:
            variable = factors[a][0][j]
            row = graph.log_unary[variable].copy()
            for b, k in slots:
                if b != a and factors[b][0][k] == variable:
                    row += down[b, k]
            fresh[a, j] = normalised(row)
        up = {s: normalised(fresh[s] + alpha * (up[s] - fresh[s])) for s in slots}
        new = {}
        for a, j in slots:
            scope, table = factors[a]
            rows = [-np.inf, -np.inf]
            for states in itertools.product(range(2), repeat=len(scope)):
                others = sum(up[a, k][states[k]] for k in range(len(scope)) if k != j)
                rows[states[j]] = np.logaddexp(rows[states[j]], table[states] + others)
            new[a, j] = normalised(np.array(rows))
        down = {s: normalised(new[s] + alpha * (down[s] - new[s])) for s in slots}
    return [down[slot] for slot in slots]


def random_model(seed, hard_zeros=False):
    rng = np.random.default_rng(seed)
    factors = [((i,), rng.normal(size=2)) for i in range(6)]
    for scope in [(0, 1), (1, 2), (3, 2), (3, 4, 0), (5, 1, 4)]:
        factors.append((scope, rng.normal(size=(2,) * len(scope))))
        if hard_zeros:
            factors[-1][1].ravel()[rng.integers(2 ** len(scope))] = -np.inf
    return factor_graph.build([2] * 6, factors)


def rows_of(messages):
    return np.concatenate([np.asarray(rows).reshape(-1, 2) for rows in messages.to_variables])


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("hard_zeros", [False, True])
def test_linear_operators_are_damped_bp_message_by_message(alpha, hard_zeros):
    graph = random_model(1, hard_zeros and alpha == 0.0)
    expected = np.array(plain_sweeps(graph, alpha, 7))
    with jax.enable_x64(True):
        reached = rows_of(run(bpnn_operators.damping(alpha), graph, bpnn_layers.start(graph), 7))
    np.testing.assert_allclose(reached, expected, atol=1e-10)


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5])
def test_fixed_points_of_bp_stay_and_are_reached(rate):
    with jax.enable_x64(True):
        graph = small_grid()
        fixed, _, _ = bpnn_layers.solve(
            BP, graph, bpnn_layers.start(graph), iterations=500, tolerance=1e-15
        )
        for seed in range(3):
            operators = random_operators(seed, rate)
            after = bpnn_layers.step(operators, graph, fixed)
            chex.assert_trees_all_close(after, fixed, rtol=0, atol=1e-12)
            value, info = bpnn_layers.log_partition(graph, operators=operators, tolerance=1e-11)
            assert info.converged and value.log_value == pytest.approx(8.3009626, abs=1e-7)
        assert float(bpnn_layers.log_bethe(graph, fixed)) == pytest.approx(
            value.log_value, abs=1e-10
        )


def test_without_subtraction_or_with_the_other_sign_it_would_not_hold():
    with jax.enable_x64(True):
        graph = small_grid()
        fixed, _, _ = bpnn_layers.solve(
            BP, graph, bpnn_layers.start(graph), iterations=500, tolerance=1e-15
        )

        def shifted(d):  # H(0) != 0
            return 0.2 * jax.nn.relu(d + jnp.array([[[0.3, -0.1]]]))

        after = bpnn_layers.step((jax.tree_util.Partial(shifted),) * 2, graph, fixed)
        assert np.abs(rows_of(after) - rows_of(fixed)).max() > 1e-3
        # fresh - previous instead amplifies: rate 0.9 of plain damping never settles.
        value, info = bpnn_layers.log_partition(
            graph, operators=bpnn_operators.damping(-0.9), iterations=300
        )
        assert not info.converged


def test_weights_of_any_size_contract():
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        for seed in range(20):
            operator = random_operators(seed, 0.9, noise=5.0)[0]
            points = 10 * rng.normal(size=(2, 500, 2))
            moved = np.abs(operator(points[0]) - operator(points[1])).sum(axis=-1)
            assert (moved <= 0.9 * np.abs(points[0] - points[1]).sum(axis=-1) + 1e-9).all()
            np.testing.assert_array_equal(operator(np.zeros((4, 2))), 0.0)


@pytest.mark.parametrize("log_ratio, value", [(100.0, 13.2964306), (-100.0, 13.2703093)])
def test_ordered_starts_find_their_phases(log_ratio, value):
    found, info = bpnn_layers.log_partition(small_grid(2.0), operators=BP, log_ratio=log_ratio)
    assert info.converged and found.log_value == pytest.approx(value, abs=1e-7)
    assert found.claim is estimate.Claim.NONE
    exact = elimination.log_partition(small_grid(2.0))[0].log_value
    assert exact == pytest.approx(13.9695321, abs=1e-7) and exact > found.log_value


def test_before_convergence_the_value_is_no_bound():
    found, info = bpnn_layers.log_partition(small_grid(2.0), operators=BP, iterations=300)
    assert not info.converged and info.iterations == 300 and found.log_value > 13.9695321


@pytest.mark.parametrize("seed", range(5))
def test_converged_values_of_ferromagnets_are_lower_bounds(seed):
    rng = np.random.default_rng(seed)
    edges = generators.ising_grid(4, 4, 1.0).groups[0].variables
    graph = generators.spin_model(edges, rng.uniform(0, 2, len(edges)), rng.uniform(-0.5, 0.5, 16))
    exact = elimination.log_partition(graph)[0].log_value
    for operators in (random_operators(seed, 0.5), bpnn_operators.shipped()):
        found, info = bpnn_layers.log_partition(graph, operators=operators)
        assert info.converged and found.log_value < exact + 1e-9


def test_exact_on_trees_with_hard_zeros_and_clauses():
    clause = factor_graph.ClauseGroup(
        np.array([[1, 2, 3]]), np.array([[True, False, True]]), np.ones((1, 3), bool)
    )
    graph = factor_graph.build(
        [2, 2, 2, 2, 1], [((0,), [0.3, -0.2]), ((0, 1), [[0.0, -np.inf], [0.5, 1.0]])]
    )
    graph = graph._replace(groups=(*graph.groups, clause))
    expected, _ = elimination.marginals(factor_graph.tabulate(graph))
    value = elimination.log_partition(factor_graph.tabulate(graph))[0].log_value
    for operators in (BP, random_operators(3, 0.5), None):
        found, info = bpnn_layers.log_partition(graph, operators=operators)
        assert info.converged and found.log_value == pytest.approx(value, abs=1e-7)
        marginals, _ = bpnn_layers.marginals(graph, operators=operators)
        np.testing.assert_allclose(marginals, expected, atol=1e-7)


def test_relabelling_changes_nothing():
    graph, rng = small_grid(), np.random.default_rng(2)
    order, flip = rng.permutation(9), rng.permutation(12)
    edges = order[graph.groups[0].variables][flip][:, ::-1]
    table = graph.groups[0].log_potentials[flip].transpose(0, 2, 1)
    unary = np.empty_like(graph.log_unary)
    unary[order] = graph.log_unary
    other = graph._replace(
        log_unary=unary, groups=(factor_graph.FactorGroup(edges.astype(np.int32), table),)
    )
    operators = random_operators(1, 0.5)
    with jax.enable_x64(True):
        values = [
            bpnn_layers.log_bethe(g, run(operators, g, bpnn_layers.start(g), iterations=5))
            for g in (graph, other)
        ]
    np.testing.assert_allclose(values[0], values[1], atol=1e-10)


def test_contradictions_and_small_graphs():
    zero = factor_graph.build([2, 2], [((0, 1), np.full((2, 2), -np.inf))])
    assert bpnn_layers.log_partition(zero)[0].log_value == -math.inf
    nothing = factor_graph.build([], [], log_constant=0.7)
    assert bpnn_layers.log_partition(nothing)[0].log_value == pytest.approx(0.7)
    lone = factor_graph.build([2], [((0,), [0.0, math.log(3)])])
    assert bpnn_layers.log_partition(lone)[0].log_value == pytest.approx(math.log(4))
    np.testing.assert_allclose(bpnn_layers.marginals(lone)[0], [[0.25, 0.75]])
    single = factor_graph.build([1, 1], [((0, 1), [[2.0]])])
    assert bpnn_layers.log_partition(single)[0].log_value == pytest.approx(2.0)
    np.testing.assert_array_equal(bpnn_layers.marginals(single)[0], np.ones((2, 1)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_are_finite_with_hard_zeros_and_follow_the_dtype(dtype):
    with jax.enable_x64(dtype is np.float64):
        graph = jax.tree.map(
            lambda a: jnp.asarray(a, dtype if a.dtype.kind == "f" else a.dtype),
            factor_graph.build(
                [2] * 3, [((0, 1), [[0.3, -np.inf], [0.5, 1.0]]), ((1, 2), [[-np.inf, 0], [1, 0]])]
            ),
        )

        def value(operators, tables):
            groups = [g._replace(log_potentials=t) for g, t in zip(graph.groups, tables)]
            one = graph._replace(groups=tuple(groups))
            return bpnn_layers.log_bethe(
                one, run(operators, one, bpnn_layers.start(one), iterations=5)
            )

        tables = [group.log_potentials for group in graph.groups]
        gradients = jax.jit(jax.grad(value, argnums=(0, 1)))(random_operators(0, 0.3, 0.1), tables)
        chex.assert_tree_all_finite(gradients)
        assert gradients[1][0].dtype == dtype
        assert float(jnp.abs(gradients[0][1].weights[...]).max()) > 0


def stack(graphs):
    """Graphs of one structure as one, with a first axis on potentials."""
    tables = np.stack([graph.groups[0].log_potentials for graph in graphs])
    groups = (graphs[0].groups[0]._replace(log_potentials=tables),)
    return graphs[0]._replace(log_unary=np.stack([g.log_unary for g in graphs]), groups=groups)


def test_stacked_graphs_share_one_trace_and_stop_alone():
    chex.clear_trace_counter()
    graphs = [small_grid(scale) for scale in (0.2, 0.5, 1.0)]
    axes = factor_graph.FactorGraph(None, 0, (factor_graph.FactorGroup(None, 0),), None, None)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def solve(stacked):
        def one(graph):
            found, sweeps, _ = bpnn_layers.solve(
                BP, graph, bpnn_layers.start(graph), iterations=200, tolerance=1e-6
            )
            return bpnn_layers.log_bethe(graph, found), sweeps

        return jax.vmap(one, in_axes=(axes,))(stacked)

    with jax.enable_x64(True):
        values, sweeps = solve(stack(graphs))
        solve(stack(graphs[::-1]))
    for graph, value, number in zip(graphs, values, sweeps, strict=True):
        alone, info = bpnn_layers.log_partition(graph, operators=BP, tolerance=1e-6)
        assert float(value) == pytest.approx(alone.log_value, abs=1e-10)
        assert int(number) == info.iterations


@pytest.mark.parametrize("seed", [1, b"abc", jax.random.key(0)])
def test_without_time_the_first_messages_answer(seed):
    options = {"operators": BP, "timeout": 0.0, "seed": seed}
    value, info = bpnn_layers.log_partition(small_grid(2.0), **options)
    assert (info.status, info.iterations, info.converged) == ("timeout", 0, False)
    assert math.isfinite(value.log_value) and value.claim is estimate.Claim.NONE
    found, info = bpnn_layers.marginals(small_grid(2.0), **options)
    assert info.status == "timeout" and info.seconds >= 0
    np.testing.assert_allclose(found.sum(axis=1), 1.0)


def test_more_tables_and_messages_than_memory_are_refused_before_they_are_made():
    clause = factor_graph.ClauseGroup(
        np.arange(30)[None], np.ones((1, 30), bool), np.ones((1, 30), bool)
    )
    graph = factor_graph.build([2] * 30, [])._replace(groups=(clause,))
    for entry in (bpnn_layers.log_partition, bpnn_layers.marginals):
        with pytest.raises(ValueError, match="tables and messages of at most 100 MiB, given"):
            entry(graph, memory=100)
    needed = 12 * (4 + 2 * 4) * 8  # tables and messages of twelve pairs
    assert bpnn_layers.octets(small_grid()) == needed
    assert bpnn_layers.log_partition(small_grid(), memory=1)[1].status == "done"


def test_refused():
    with pytest.raises(ValueError, match="expected variables of two states, given one of 3"):
        bpnn_layers.log_partition(factor_graph.build([3], []))
    with pytest.raises(ValueError, match=r"expected a rate in \[0, 1\), given 1"):
        bpnn_operators.Operator(1.0)
