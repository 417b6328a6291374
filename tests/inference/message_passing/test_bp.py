"""Belief propagation against printed values, enumeration, and one layout against another."""

import itertools
import math

import jax
import numpy as np
import pytest

import reference
from inference import answer, estimate
from inference.message_passing import bp, bp_general, schedules
from inference.problems import factor_graph, generators, logical_groups

SPINS = np.array([-1.0, 1.0])


def ising(edges, couplings, fields):
    return generators.spin_model(np.array(edges).reshape(-1, 2), couplings, np.array(fields, float))


def cycle(size, coupling, field=0.0):
    edges = [(i, (i + 1) % size) for i in range(size)]
    return ising(edges, [coupling] * size, [field] * size)


def chain(size, coupling, field):
    return ising([(i, i + 1) for i in range(size - 1)], [coupling] * (size - 1), [field] * size)


def numbered_grid(scale=1.0, alternated=False):
    """The 3x3 grid of the literature's tables: edges site by site, to the right, then down."""
    edges = []
    for i, j in itertools.product(range(3), range(3)):
        edges += [(3 * i + j, 3 * i + j + 1)] * (j < 2) + [(3 * i + j, 3 * i + j + 3)] * (i < 2)
    k = np.arange(12)
    couplings = scale * ((7 * k) % 12 + 1) / 12 * (np.where(k % 2, -1, 1) if alternated else 1)
    return ising(edges, couplings, ((5 * np.arange(9)) % 9 - 4) / 40)


def value(graph, **options):
    result, info = bp.log_partition(graph, **options)
    assert info.converged and info.status == "done" and result.claim is estimate.Claim.NONE
    return result.log_value


GRID = generators.ising_grid


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    "graph, expected",
    [
        (cycle(4, 1.0), 4.5077120),
        (cycle(3, -1.0), 3.3807840),
        (chain(5, 0.7, 0.3), 4.9025379),
        (GRID(3, 3, 0.5, 0.1), 7.9617759),
        (GRID(3, 3, 1.0), 11.4436946),
        (GRID(10, 10, 0.3), 77.2960566),
        (GRID(10, 10, 0.5, 0.1), 103.8661384),
        (GRID(10, 10, 0.5), 90.9353293),
        (numbered_grid(), 8.3009626),
    ],
)
def test_printed_values(graph, expected, fast):
    schedule = schedules.damped(0.5) if fast else schedules.two_colour(schedules.damped(0.25))
    assert f"{value(graph, schedule=schedule):.7f}" == f"{expected:.7f}"


@pytest.mark.parametrize(
    "graph, expected",
    [
        (GRID(3, 3, 1.0), 12.1186370),
        (GRID(10, 10, 0.5), 95.3297504),
        (GRID(10, 10, 1.0), 180.2105350),
        (numbered_grid(2.0), 13.2964306),
    ],
)
def test_ordered_starts_keep_the_larger_value(graph, expected):
    assert f"{value(graph, starts=schedules.ordered):.7f}" == f"{expected:.7f}"


def test_both_ordered_phases():
    graph = numbered_grid(2.0)
    assert f"{value(graph, starts=[schedules.towards(1)]):.7f}" == "13.2964306"
    assert f"{value(graph, starts=[schedules.towards(0)]):.7f}" == "13.2703093"


def test_alternated_signs_converge_to_no_bound():
    assert value(numbered_grid(alternated=True)) != pytest.approx(8.0816543, abs=1e-3)


def test_undamped_flooding_from_zero_never_converges():
    prepared = bp.prepare(numbered_grid(2.0))
    state, _ = bp.run(prepared, bp.init(prepared), schedule=schedules.flooding)
    assert not state.converged[0] and state.iterations[0] == 1000 and state.residuals[0] > 0.1
    with jax.enable_x64(True):
        reads = np.asarray(
            bp_general.bethe_of_beliefs(prepared.model, bp.messages(prepared, state))
        )
    assert reads[0] == pytest.approx(15.29, abs=0.01)  # above the exact 13.97
    assert abs(bp.bethe(prepared, state) - reads)[0] > 1.0  # equal at fixed points only


def random_tree(seed):
    """A factor tree of mixed domains with hard zeros; its enumerable description and graph."""
    rng = np.random.default_rng(seed)
    binary = seed % 2 == 0
    sizes, factors, logical = [2 if binary else int(rng.integers(1, 5))], [], []
    for _ in range(rng.integers(1, 4)):
        new = int(rng.integers(1, 4))
        old = int(rng.integers(len(sizes)))
        drawn = rng.integers(1, 5, size=new)
        sizes += np.where(binary | (rng.random(new) < 0.5), 2, drawn).tolist()
        scope = [old, *range(len(sizes) - new, len(sizes))]
        shape = [sizes[v] for v in scope]
        kind = rng.integers(3) if all(size == 2 for size in shape) else 0
        if kind == 0:
            table = rng.exponential(size=shape) * (rng.random(shape) < 0.85)
            factors.append((scope, table))
            continue
        signs = rng.integers(2, size=len(scope))
        if kind == 1:
            literals = [[(v + 1) if s else -(v + 1) for v, s in zip(scope, signs)]]
            logical.append(logical_groups.clause_group(literals))
            indices = np.indices(shape)
            holds = np.any([indices[j] == s for j, s in enumerate(signs)], axis=0)
        else:
            logical.append(logical_groups.parity_group([[v + 1 for v in scope]], [bool(signs[0])]))
            holds = np.indices(shape).sum(axis=0) % 2 == signs[0]
        factors.append((scope, np.where(holds, 1.0, 0.0)))
    for v, size in enumerate(sizes):
        factors.append(([v], rng.exponential(size=size)))
    tables = [f for f in factors if len(f[0]) == 1 or not set(np.unique(f[1])) <= {0.0, 1.0}]
    with np.errstate(divide="ignore"):
        logs = [(scope, np.log(table)) for scope, table in tables]
    plain = [(scope, np.asarray(table).tolist()) for scope, table in factors]
    return sizes, plain, factor_graph.build(sizes, logs, logical=logical)


@pytest.fixture(scope="module")
def trees():
    return [random_tree(seed) for seed in range(50)]


@pytest.mark.parametrize("binary", [True, False])
def test_random_trees_are_exact(trees, binary):
    """As one batch: log Z by both forms, marginals; log ratios or rows of logarithms."""
    trees = trees[0::2] if binary else trees
    graphs = [graph for _, _, graph in trees]
    assert {type(group).__name__ for g in graphs for group in g.groups} == KINDS
    joined, ids, constants = bp.batch(graphs)
    prepared = bp.prepare(joined, graph_ids=ids, log_constants=constants)
    assert prepared.model.is_binary == binary and prepared.layout_name == "general"
    state, _ = bp.run(prepared, bp.init(prepared), schedule=schedules.flooding, iterations=24)
    expected = [reference.log_partition(sizes, factors) for sizes, factors, _ in trees]
    assert state.converged.all()
    np.testing.assert_allclose(bp.bethe(prepared, state), expected, atol=1e-9)
    with jax.enable_x64(True):
        other = bp_general.bethe_of_beliefs(prepared.model, bp.messages(prepared, state))
    np.testing.assert_allclose(other, expected, atol=1e-9)
    shares = bp.beliefs(prepared, state)
    for i, (sizes, factors, _) in enumerate(trees):
        for row, want in zip(shares[ids == i], reference.marginals(sizes, factors), strict=True):
            np.testing.assert_allclose(row[: len(want)], want, atol=1e-9)
            assert not row[len(want) :].any()


def test_max_product_is_exact_on_trees(trees):
    joined, ids, _ = bp.batch([graph for _, _, graph in trees])
    best = bp.maximize(joined)
    assert best.status is answer.Status.FEASIBLE and best.bound == math.inf
    for i, (sizes, factors, graph) in enumerate(trees):
        score = factor_graph.log_score(graph, best.assignments[0, ids == i])
        assert score == pytest.approx(reference.map(sizes, factors)[1], abs=1e-4)


KINDS = {"FactorGroup", "ClauseGroup", "ParityGroup"}
