import fractions
import inspect
import itertools
import math
import time
import tracemalloc

import chex
import jax
import numpy as np
import pytest

import reference
from inference import answer, estimate, limits
from inference.exact import exhaustive, truth_table
from inference.oracles import protocol
from inference.problems import cnf, factor_graph, trivial


def random_problem(seed):
    """(n, clauses, xors, projection): clauses with repeats and tautologies, of mixed length."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    clauses = [
        [int(v) for v in rng.integers(1, n + 1, k) * rng.choice([-1, 1], k)]
        for k in rng.integers(1, 5, int(rng.integers(0, 8)))
    ]
    xors = [
        (sorted(rng.choice(n, int(rng.integers(0, n + 1)), replace=False) + 1), int(side))
        for side in rng.integers(0, 2, int(rng.integers(0, 3)))
    ]
    projection = None
    if seed % 3:
        projection = sorted(rng.choice(n, int(rng.integers(0, n + 1)), replace=False) + 1)
    return n, clauses, xors, projection


def build(n, clauses, xors, projection, log_weights=None):
    return cnf.from_clauses(
        clauses, num_variables=n, xors=xors, projection=projection, log_weights=log_weights
    )


@pytest.mark.parametrize("seed", range(40))
def test_counts_and_models_agree_with_plain_enumeration(seed):
    problem = random_problem(seed)
    n, clauses, xors, projection = problem
    formula = build(*problem)
    found = exhaustive.count(formula)[0]
    assert found.claim is estimate.Claim.CERTAIN
    assert found.count == reference.count_models(n, clauses, xors, projection)
    assert {tuple(x) for x in exhaustive.models(formula).astype(int).tolist()} == set(
        reference.models(n, clauses, xors)
    )


@pytest.mark.parametrize("seed", range(30))
def test_parity_rows_restrict_the_sampling_set(seed):
    n, clauses, xors, projection = random_problem(seed)
    formula = build(n, clauses, xors, projection)
    sampling = formula.sampling_set.tolist()
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 2, (int(rng.integers(0, 4)), len(sampling))).astype(bool)
    rhs = rng.integers(0, 2, len(rows)).astype(bool)
    parities = [
        ([v for v, used in zip(sampling, row) if used], int(side)) for row, side in zip(rows, rhs)
    ]
    expected = reference.count_models(n, clauses, xors, projection, parities=parities)
    assert exhaustive.count(formula, rows=rows, rhs=rhs)[0].count == expected
    cell = exhaustive.models(formula, rows=rows, rhs=rhs)
    assert {tuple(x) for x in cell.astype(int).tolist()} == set(
        reference.models(n, clauses, [*xors, *parities])
    )


@pytest.mark.parametrize("seed", range(30))
def test_weighted_counts_agree_with_exact_fractions(seed):
    n, clauses, xors, projection = random_problem(seed)
    rng = np.random.default_rng(seed)
    weighted = range(1, n + 1) if projection is None else projection
    weights = {
        sign * int(v): fractions.Fraction(int(rng.integers(0, 9)), 4)
        for v in weighted
        for sign in (-1, 1)
    }
    log_weights = np.zeros((n, 2))
    for literal, weight in weights.items():
        value = math.log(weight) if weight else -math.inf
        log_weights[abs(literal) - 1, int(literal > 0)] = value
    found = exhaustive.count(build(n, clauses, xors, projection, log_weights))[0]
    expected = reference.count_models(n, clauses, xors, projection, weights)
    assert found.count is None
    assert found.claim is estimate.Claim.CERTAIN
    if expected == 0:
        assert found.log_upper == -math.inf
    else:
        assert found.log_lower <= math.log(expected) <= found.log_upper
        assert found.log_width < 1e-12


def test_weights_far_outside_the_range_of_floats():
    log_weights = np.full((20, 2), -1e4)
    log_weights[:, 1] = 2e4
    everything = exhaustive.count(build(20, [], [], None, log_weights))[0]
    assert everything.log_value == pytest.approx(20 * 2e4, rel=1e-12)
    lowest = exhaustive.count(build(20, [[-v] for v in range(1, 21)], [], None, log_weights))[0]
    assert lowest.log_value == pytest.approx(-20 * 1e4, rel=1e-12)
    assert lowest.log_lower <= -20 * 1e4 <= lowest.log_upper


@pytest.mark.parametrize("log_weights", [None, 0.0])
@pytest.mark.parametrize("clauses, expected", [([], 1), ([[]], 0)])
def test_no_variables(clauses, expected, log_weights):
    formula = build(0, clauses, [], None, None if log_weights is None else np.zeros((0, 2)))
    assert math.exp(exhaustive.count(formula)[0].log_value) == expected
    assert exhaustive.models(formula).shape == (expected, 0)


def test_degenerate_formulas():
    assert exhaustive.count(build(3, [], [], None))[0].count == 8
    assert exhaustive.count(build(3, [[]], [], None))[0].count == 0
    assert exhaustive.count(build(3, [[1, -1]], [], None))[0].count == 8
    assert exhaustive.count(build(3, [], [([], 1)], None))[0].count == 0
    assert exhaustive.count(build(3, [], [([], 0)], None))[0].count == 8
    assert exhaustive.count(build(3, [[1]], [], ()))[0].count == 1
    assert exhaustive.count(build(3, [[1], [-1]], [], ()))[0].count == 0


@pytest.mark.parametrize("n", [4, 5, 6, 18, 19, 20])
def test_sizes_around_a_word_and_a_chunk(n):
    chain = [[-v, v + 1] for v in range(1, n)]  # v implies v + 1: n + 1 models
    formula = build(n, chain, [], None)
    assert exhaustive.count(formula)[0].count == n + 1
    assert exhaustive.count(build(n, chain, [], [1, n]))[0].count == 3
    found = exhaustive.models(formula)
    assert formula.is_satisfied(found).all()
    assert np.array_equal(np.sort(found.sum(axis=1)), np.arange(n + 1))
    ones = np.ones((1, n), dtype=bool)
    assert exhaustive.count(build(n, [], [], None), rows=ones, rhs=[True])[0].count == 1 << (n - 1)
    assert exhaustive.count(formula, rows=ones, rhs=[True])[0].count == (n + 1) // 2


def test_limit_of_models():
    formula = build(4, [], [], None)
    assert exhaustive.models(formula, 3).tolist() == exhaustive.models(formula).tolist()[:3]
    as_numbers = exhaustive.models(formula) @ (1 << np.arange(4))
    assert as_numbers.tolist() == list(range(16))
    assert exhaustive.models(formula, 0).shape == (0, 4)


def test_refusals_name_expected_and_given():
    with pytest.raises(ValueError, match="expected at most 26 variables, given 27"):
        exhaustive.count(build(27, [], [], None))
    with pytest.raises(ValueError, match="expected at most 3 variables, given 4"):
        exhaustive.models(build(4, [], [], None), max_variables=3)
    with pytest.raises(ValueError, match=r"expected rows \[m, 2\] .* given \(1, 3\)"):
        exhaustive.count(build(3, [], [], [1, 2]), rows=np.ones((1, 3)), rhs=[1])
    graph = factor_graph.build([3] * 4, [])
    with pytest.raises(ValueError, match="expected at most 80 joint states, given 81"):
        exhaustive.log_partition(graph, max_states=80)
    with pytest.raises(ValueError, match="expected rows over 2 states, variable 1 has 3"):
        exhaustive.maximize(graph, rows=[[0, 1, 0, 0]], rhs=[1])


def test_one_trace_serves_formulas_of_about_one_size(monkeypatch):
    monkeypatch.setattr(
        truth_table,
        "_evaluate",
        jax.jit(chex.assert_max_traces(truth_table._evaluate.__wrapped__, n=1)),
    )
    for seed in range(5):
        problem = random_problem(seed)
        assert exhaustive.count(build(*problem))[0].count == reference.count_models(*problem)
    assert exhaustive.count(build(21, [[-v, v + 1] for v in range(1, 21)], [], None))[0].count == 22
    chex.clear_trace_counter()


def test_26_variables_take_seconds():
    rng = np.random.default_rng(0)
    clauses = rng.permuted(np.tile(np.arange(1, 27), (200, 1)), axis=1)[:, :4]
    formula = build(26, clauses * rng.choice([-1, 1], clauses.shape), [], None)
    started = time.perf_counter()
    found = exhaustive.count(formula)[0]
    assert time.perf_counter() - started < 20
    some = exhaustive.models(formula, 1000)
    assert formula.is_satisfied(some).all()
    assert found.count >= len(some) > 0


def random_graph(seed):
    """(num_states, factors with linear tables, the same as a FactorGraph), with hard zeros."""
    rng = np.random.default_rng(seed)
    num_states = rng.integers(1, 4, int(rng.integers(1, 6))).tolist()
    factors = []
    for size in rng.integers(0, 4, int(rng.integers(0, 7))):
        size = min(int(size), len(num_states))
        scope = rng.permutation(len(num_states))[:size].tolist()
        table = rng.integers(0, 5, [num_states[v] for v in scope]) / 2
        factors.append((scope, table.tolist()))
    with np.errstate(divide="ignore"):
        logs = [(scope, np.log(table)) for scope, table in factors]
    return num_states, factors, factor_graph.build(num_states, logs)


@pytest.mark.parametrize("seed", range(40))
def test_graphs_agree_with_plain_enumeration(seed):
    num_states, factors, graph = random_graph(seed)
    found, _ = exhaustive.log_partition(graph)
    expected = reference.log_partition(num_states, factors)
    assert found.claim is estimate.Claim.CERTAIN
    assert found.log_lower <= expected <= found.log_upper
    assert found.log_width < 1e-12 or expected == -math.inf
    best, _ = exhaustive.maximize(graph)
    _, score = reference.map(num_states, factors)
    assert best.value == pytest.approx(score, abs=1e-12)
    assert best.bound == pytest.approx(score, abs=1e-12) and best.bound >= best.value
    if score == -math.inf:
        assert best.status is answer.Status.INFEASIBLE
    else:
        assert best.status is answer.Status.OPTIMAL
        assert factor_graph.log_score(graph, best.assignments)[0] == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_maximize_under_parity_rows(seed):
    rng = np.random.default_rng(seed)
    num_states = [2, 3, 2, 2, 2]
    factors = [
        ((v, w), rng.normal(size=(num_states[v], num_states[w]))) for v, w in [(0, 1), (4, 2)]
    ]
    graph = factor_graph.build(num_states, [*factors, ((3,), rng.normal(size=2))])
    rows = rng.integers(0, 2, (3, 5)).astype(bool)
    rows[:, 1] = False
    rhs = rng.integers(0, 2, 3).astype(bool)
    allowed = [
        x
        for x in itertools.product(*(range(s) for s in num_states))
        if all(sum(x[v] for v in range(5) if row[v]) % 2 == side for row, side in zip(rows, rhs))
    ]
    best, _ = exhaustive.maximize(graph, rows=rows, rhs=rhs)
    if allowed:
        scores = factor_graph.log_score(graph, np.array(allowed))
        assert best.value == pytest.approx(scores.max(), abs=1e-12)
        assert best.assignments.tolist() == [list(allowed[int(scores.argmax())])]
    else:
        assert best.status is answer.Status.INFEASIBLE
        assert best.value == -math.inf


def test_graphs_on_the_device():
    _, _, graph = random_graph(4)
    on_device = jax.tree.map(jax.numpy.asarray, graph)
    expected = exhaustive.log_partition(graph)[0].log_value
    assert exhaustive.log_partition(on_device)[0].log_value == pytest.approx(expected, rel=1e-6)
    value = exhaustive.maximize(graph)[0].value
    assert exhaustive.maximize(on_device)[0].value == pytest.approx(value, rel=1e-6)


def test_degenerate_graphs():
    empty = factor_graph.build([], [], log_constant=1.5)
    assert exhaustive.log_partition(empty)[0].log_value == 1.5
    assert exhaustive.maximize(empty)[0].assignments.shape == (1, 0)
    many = factor_graph.build([1] * 100 + [2], [([7, 100], [[0.0, 1.0]])])
    assert exhaustive.log_partition(many)[0].log_value == pytest.approx(math.log(1 + math.e))
    nothing = factor_graph.build([2], [([0], [-math.inf, -math.inf])])
    assert exhaustive.log_partition(nothing)[0].log_upper == -math.inf
    assert exhaustive.maximize(nothing)[0].status is answer.Status.INFEASIBLE


GRAPH = factor_graph.build([2, 2, 2], [((0, 1), [[0.0, 1.0], [2.0, 0.5]]), ((2,), [0.0, 1.0])])
ENTRIES = {
    "count": build(5, [[1, 2], [-2, 3]], [], None),
    "log_partition": GRAPH,
    "marginals": GRAPH,
    "maximize": GRAPH,
}


def equal(one, other):
    """Values of an entry, of whatever kind."""
    parts = [
        (x.value, x.bound, x.assignments.tolist()) if isinstance(x, answer.Answer) else x
        for x in (one, other)
    ]
    return np.array_equal(*parts) if isinstance(one, np.ndarray) else parts[0] == parts[1]


@pytest.mark.parametrize("name", ENTRIES)
def test_without_time_the_claims_at_sight_remain(name):
    entry, problem = getattr(exhaustive, name), ENTRIES[name]
    found, info = entry(problem, timeout=0)
    assert info.status == "timeout" and equal(found, getattr(trivial, name)(problem))
    assert getattr(info, "error", math.inf) == math.inf
    assert entry(problem, timeout=60)[1].status == "done"
    assert not equal(found, entry(problem)[0])


def test_the_clock_is_looked_at_between_chunks(monkeypatch):
    looks = []

    def after(timeout):
        return limits.Deadline(stop=lambda: looks.append(timeout) or len(looks) > 5)

    monkeypatch.setattr(limits.Deadline, "after", after)
    formula = build(22, [[1, 2]], [], None)
    assert exhaustive.count(formula, timeout=9.0)[1].status == "timeout"
    assert looks == [9.0] * 6
    rng = np.random.default_rng(0)
    large = factor_graph.build([2] * 20, [((v, v + 1), rng.normal(size=(2, 2))) for v in range(19)])
    for name in ("log_partition", "marginals", "maximize"):
        looks.clear()
        assert getattr(exhaustive, name)(large, timeout=9.0)[1].status == "timeout"


@pytest.mark.parametrize("name", ENTRIES)
def test_memory_is_what_the_arrays_take(name):
    entry = getattr(exhaustive, name)
    if name == "count":
        largest = build(22, [[1, 2]], [], range(1, 22), np.zeros((22, 2)))
    else:
        rng = np.random.default_rng(0)
        tables = [((v, v + 1), rng.normal(size=(2, 2))) for v in range(17)]
        largest = factor_graph.build([2] * 18, tables)
    expected = r"expected .* of at most 0.001 MiB, given one of [\d.]+ MiB"
    with pytest.raises(ValueError, match=expected) as refused:
        entry(largest, memory=0.001)
    needed = float(str(refused.value).split()[-2])
    with pytest.raises(ValueError, match=expected.replace("0.001", "[\\d.]+")):
        entry(largest, memory=0.99 * needed)
    tracemalloc.start()
    assert entry(largest, memory=1.01 * needed)[1].status == "done"
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    assert peak < needed + 1


@pytest.mark.parametrize("seed", [2**70, jax.random.key(3), b"seed"])
@pytest.mark.parametrize("name", ENTRIES)
def test_seeds_of_any_kind_draw_nothing(name, seed):
    entry = getattr(exhaustive, name)
    assert equal(entry(ENTRIES[name], seed=seed)[0], entry(ENTRIES[name])[0])


def test_maximize_is_a_map_oracle():
    given = inspect.signature(exhaustive.maximize).parameters
    for name, promised in inspect.signature(protocol.MapOracle.__call__).parameters.items():
        if name != "self":
            assert (given[name].kind, given[name].default) == (promised.kind, promised.default)

    def ask(oracle: protocol.MapOracle):
        rows, rhs = np.array([[True, True, False]]), np.array([True])
        limited = {"timeout": 60.0, "memory": 10}
        return oracle(GRAPH, rows=rows, rhs=rhs, seed=b"drawn", **limited)

    best, info = ask(exhaustive.maximize)
    assert (best.status, best.value, best.assignments.tolist()) == (
        answer.Status.OPTIMAL,
        3.0,
        [[1, 0, 1]],
    )
    assert info.status == "done" and info.seconds >= 0


@pytest.mark.parametrize("side", [False, True])
def test_without_time_no_row_is_violated(side):
    # What is best for the unaries has an odd number of ones.
    rows, rhs = np.array([[True, True, True]]), np.array([side])
    found, info = exhaustive.maximize(GRAPH, rows=rows, rhs=rhs, timeout=0)
    best, _ = exhaustive.maximize(GRAPH, rows=rows, rhs=rhs)
    assert info.status == "timeout" and found.bound >= best.value
    if side:
        assert found.assignments.tolist() == [[0, 0, 1]]
    else:
        assert (found.status, found.assignments) == (answer.Status.UNKNOWN, None)
