"""Learned counting: exact on trees, untrained it is belief propagation; invariant and finite."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from inference import estimate, limits
from inference.message_passing.learned import bpnn, bpnn_sat, clause_clusters, formula_batch
from inference.problems import cnf, generators


def noisy_network(seed=0):
    """All parameters away from where they start, so that every path is on."""
    leaves, structure = jax.tree.flatten(bpnn_sat.Network(seed))
    rng = np.random.default_rng(seed)
    noise = [rng.normal(size=leaf.shape).astype(np.float32) for leaf in leaves]
    return jax.tree.unflatten(structure, [leaf + 0.5 * x for leaf, x in zip(leaves, noise)])


def enumerate_log_count(formula):
    n = formula.num_variables
    states = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    return math.log(formula.is_satisfied(states == 1).sum())


def random_tree(seed, num_clauses=6):
    """Clauses of 2 to 7 literals, each sharing one variable with those before it."""
    rng, clauses, last = np.random.default_rng(seed), [], 1
    for _ in range(num_clauses):
        size = int(rng.integers(1, 7 if clauses == [] else 3))
        scope = [int(rng.integers(1, last + 1)), *range(last + 1, last + size + 1)]
        last += size
        clauses.append([v if rng.random() < 0.5 else -v for v in scope])
    return cnf.from_clauses(clauses)


def slow_bethe(clusters, sweeps):
    """Damped belief propagation in float64 by loops, and the Bethe value by beliefs."""
    factors = [
        (variables.tolist(), values.astype(float).reshape([2] * len(variables)))
        for table in clusters.tables
        for variables, values in zip(table.variables.T, table.values.T)
    ]
    slots = [(a, j) for a, (scope, _) in enumerate(factors) for j in range(len(scope))]
    ratio = dict.fromkeys(slots, 0.0)

    def joint(a):
        scope, table = factors[a]
        for axis, v in enumerate(scope):
            heard = sum(u for (b, i), u in ratio.items() if factors[b][0][i] == v)
            x = heard - ratio[a, axis]
            pair = np.array([1.0, np.exp(x)]) / (1 + np.exp(x))
            table = table * pair.reshape([2 if i == axis else 1 for i in range(len(scope))])
        return table / table.sum()

    def marginal(table, axis):
        return table.sum(axis=tuple(i for i in range(table.ndim) if i != axis))

    for _ in range(sweeps):
        fresh = {}
        for a, j in slots:
            mine = marginal(joint(a), j)
            own = sum(u for (b, i), u in ratio.items() if factors[b][0][i] == factors[a][0][j])
            fresh[a, j] = np.log(mine[1] / mine[0]) - (own - ratio[a, j])
        ratio = {slot: 0.3 * ratio[slot] + 0.7 * fresh[slot] for slot in slots}
    value, seen = clusters.log_constant[0], {}
    for a, (scope, table) in enumerate(factors):
        belief = joint(a)
        inside = belief > 0
        value += (belief[inside] * np.log(table[inside] / belief[inside])).sum()
        for axis, v in enumerate(scope):
            seen.setdefault(v, []).append(marginal(belief, axis))
    for beliefs in seen.values():
        value += (len(beliefs) - 1) * (beliefs[0] * np.log(beliefs[0])).sum()
    return value


def relabelled(formula, seed):
    """The same formula with variables and clauses shuffled and some variables negated."""
    rng = np.random.default_rng(seed)
    number = rng.permutation(formula.num_variables) + 1
    sign = rng.choice([-1, 1], formula.num_variables)
    clauses = [
        rng.permutation(np.sign(c) * sign[np.abs(c) - 1] * number[np.abs(c) - 1])
        for c in formula.clauses
    ]
    shuffled = [clauses[i].tolist() for i in rng.permutation(len(clauses))]
    return cnf.from_clauses(shuffled, num_variables=formula.num_variables)


def test_exact_on_trees():
    for seed in range(20):
        formula = random_tree(seed)
        answer, info = bpnn.count(formula, network=bpnn_sat.Network(), iterations=60)
        assert answer.log_value == pytest.approx(enumerate_log_count(formula), abs=2e-4), seed
        assert answer.claim is estimate.Claim.NONE and info.status == "done"


def test_untrained_is_damped_belief_propagation():
    formula = generators.random_ksat(3, 14, 24)
    expected = slow_bethe(clause_clusters.build([formula]), 100)
    answer, info = bpnn.count(formula, network=bpnn_sat.Network(), iterations=100)
    assert info.tables > 5
    assert answer.log_value == pytest.approx(expected, abs=1e-3)
    assert abs(expected - enumerate_log_count(formula)) > 1e-2  # or this would test little


def test_labels_do_not_matter():
    network, formula = noisy_network(), generators.random_ksat(1, 30, 70)
    values = [
        bpnn.count(one, network=network)[0].log_value
        for one in (formula, *(relabelled(formula, seed) for seed in range(4)))
    ]
    np.testing.assert_allclose(values, values[0], atol=1e-3)
    plain = bpnn.count(formula, network=bpnn_sat.Network())[0].log_value
    assert abs(plain - values[0]) > 1e-2  # the noise did something


def test_formulas_of_a_batch_do_not_touch():
    network = noisy_network(1)
    formulas = [generators.random_ksat(seed, 10 + 3 * seed, 30) for seed in range(9)]
    formulas[4] = cnf.from_clauses([[1], [-1]])
    many = bpnn_sat.count_many(formulas, network=network, block=300)
    for formula, (answer, info) in zip(formulas, many, strict=True):
        alone, alone_info = bpnn.count(formula, network=network)
        assert answer.log_value == pytest.approx(alone.log_value, abs=1e-3)
        assert info._replace(seconds=0.0) == alone_info._replace(seconds=0.0)
    assert bpnn_sat.count_many([]) == []


def test_degenerate_formulas():
    for clauses, n, expected in [
        ([], 0, 0.0),
        ([], 4, 4 * math.log(2)),
        ([[]], 2, -math.inf),
        ([[3]], 3, 2 * math.log(2)),
        ([[1, 2], [-1]], 2, 0.0),
    ]:
        formula = cnf.from_clauses(clauses, num_variables=n)
        for network in (None, noisy_network()):
            answer, info = bpnn.count(formula, network=network)
            assert answer.log_value == pytest.approx(expected) and info.tables == 0


@pytest.mark.parametrize("network", [None, noisy_network(2)])
def test_finite_far_from_anything_seen(network):
    contradiction = [[a, b, c] for a in (1, -1) for b in (2, -2) for c in (3, -3)]
    formulas = [
        generators.random_ksat(1, 100, 600),
        generators.random_ksat(2, 60, 900, k=7),
        generators.latin_square(4),
        cnf.from_clauses([list(range(1, 101)), [-1, 100], [-5, 7, 100]]),
        cnf.from_clauses([[1, 2], [3, 4]], xors=[(range(1, 12), True), ([2, 5, 9], False)]),
        cnf.from_clauses([*contradiction[:-1], [4, 5]]),
    ]
    for formula in formulas:
        value = bpnn.count(formula, network=network)[0].log_value
        assert 0.0 <= value <= formula.num_variables * math.log(2)


def test_wide_clauses_and_parities_without_loops_are_exact():
    wide = cnf.from_clauses([list(range(1, 41))])
    value = bpnn.count(wide, network=bpnn_sat.Network(), iterations=60)[0].log_value
    assert value == pytest.approx(math.log(2**40 - 1), abs=1e-3)
    parity = cnf.from_clauses([[1, 2]], xors=[(range(1, 21), True)])
    value = bpnn.count(parity, network=bpnn_sat.Network(), iterations=60)[0].log_value
    assert value == pytest.approx(math.log(3 * 2**17), abs=1e-3)


def test_gradients_are_finite():
    formulas = [generators.random_ksat(3, 12, 50), generators.latin_square(3)]
    batch = formula_batch.pack(clause_clusters.build(formulas))
    messages = bpnn_sat.propagate(batch, bpnn_sat.start(batch))
    loss = jax.jit(lambda network: bpnn_sat.log_counts(network, batch, messages).sum())
    gradient = jax.tree.leaves(jax.grad(loss)(noisy_network()))
    assert all(jnp.isfinite(leaf).all() for leaf in gradient)
    assert any(jnp.abs(leaf).max() > 0 for leaf in gradient)


def test_one_trace_for_formulas_of_like_size():
    network = noisy_network()
    bpnn.count(generators.random_ksat(0, 50, 100), network=network, iterations=3)
    traces = (bpnn_sat.propagate._cache_size(), bpnn_sat.log_counts._cache_size())
    for seed in range(1, 5):
        bpnn.count(generators.random_ksat(seed, 50, 100), network=network, iterations=3)
    assert (bpnn_sat.propagate._cache_size(), bpnn_sat.log_counts._cache_size()) == traces


def test_pack_refuses_sizes_too_small():
    clusters = clause_clusters.build([generators.random_ksat(0, 20, 40)])
    sizes = formula_batch.needed(clusters)
    formula_batch.pack(clusters, sizes)
    with pytest.raises(ValueError, match="sizes of at least"):
        formula_batch.pack(clusters, [sizes[0] - 1, *sizes[1:]])


@pytest.mark.parametrize("seed", [3, b"abc", jax.random.key(0)])
def test_without_time_there_is_what_is_certain_at_sight(seed):
    formula = generators.random_ksat(1, 30, 70)
    answer, info = bpnn.count(formula, seed=seed, timeout=0.0)
    assert (info.status, info.iterations, info.tables) == ("timeout", 0, 70)
    assert answer.claim is estimate.Claim.CERTAIN
    assert answer.log_lower == -math.inf and answer.log_upper >= 30 * math.log(2)
    with pytest.raises(ValueError, match="without weights"):
        weighted = cnf.from_clauses([[1]], log_weights=np.zeros((1, 2)))
        bpnn.count(weighted, timeout=0.0)


def test_a_deadline_ends_the_sweeps_and_what_they_reached_answers(monkeypatch):
    formula = generators.random_ksat(1, 30, 70)
    monkeypatch.setattr(bpnn_sat, "_CHUNK", 1)  # one sweep at a time
    clusters = clause_clusters.build([formula])
    looks = iter([False] * 5 + [True])
    deadline = limits.Deadline(stop=lambda: next(looks))
    batch = formula_batch.pack(clusters)
    messages, done, status = bpnn_sat.iterate(batch, 20, deadline)
    assert (done, status) == (5, "timeout")
    reached = bpnn_sat.log_counts(bpnn_sat.shipped(), batch, messages)[0]
    five = bpnn.count(formula, iterations=5)[0].log_value
    assert float(clusters.log_constant[0] + reached) == pytest.approx(five, abs=1e-5)
    assert abs(five - bpnn.count(formula)[0].log_value) > 1e-4


def test_more_tables_than_memory_are_refused():
    formula = generators.random_ksat(1, 30, 70)
    assert bpnn.count(formula, memory=1)[1].status == "done"
    with pytest.raises(ValueError, match="tables and messages of at most 0 MiB, given"):
        bpnn.count(formula, memory=0)


def test_shipped_weights_are_small_and_load():
    assert bpnn_sat.WEIGHTS.stat().st_size < 16_000
    shapes = jax.tree.map(np.shape, nnx.state(bpnn_sat.Network()))
    assert jax.tree.map(np.shape, nnx.state(bpnn_sat.shipped())) == shapes
