"""Elimination against enumeration, in 60 digits for the intervals, and transfer matrices."""

import decimal
import functools
import itertools
import math
import tracemalloc

import numpy as np
import pytest

import reference
from inference import answer, estimate, limits
from inference.exact import elimination, exhaustive, orders, passes
from inference.problems import factor_graph, trivial

ORDERS = [orders.min_fill, orders.min_degree, orders.min_size, orders.min_frontier, orders.best]


def random_model(seed, zeros=0.0, scale=2.0):
    """Numbers of states and factors in the linear domain, for ``reference``."""
    rng = np.random.default_rng(seed)
    num_states = rng.integers(1, 4, seed % 7).tolist()
    factors = []
    for _ in range(rng.integers(0, 10)):
        arity = int(rng.integers(0, min(3, len(num_states)) + 1))
        scope = rng.permutation(len(num_states))[:arity].tolist()
        table = np.exp(scale * rng.normal(size=[num_states[v] for v in scope]))
        factors.append((scope, np.where(rng.random(table.shape) < zeros, 0.0, table).tolist()))
    return num_states, factors


def random_models():
    yield from (random_model(seed, zeros=0.3 * (seed % 3 == 0)) for seed in range(60))


def build(num_states, factors):
    with np.errstate(divide="ignore"):
        return factor_graph.build(num_states, [(scope, np.log(t)) for scope, t in factors])


def ising(rows, columns, couplings, fields):
    """Spins on a grid; couplings [2, rows, columns] point right and down."""
    spins = np.array([-1.0, 1.0])
    factors = [((v,), f * spins) for v, f in enumerate(fields.ravel())]
    for i, j in itertools.product(range(rows), range(columns)):
        v = i * columns + j
        if j + 1 < columns:
            factors.append(((v, v + 1), couplings[0, i, j] * np.outer(spins, spins)))
        if i + 1 < rows:
            factors.append(((v, v + columns), couplings[1, i, j] * np.outer(spins, spins)))
    return factor_graph.build([2] * (rows * columns), factors)


def transfer_matrix(rows, columns, couplings, fields):
    """log Z of the same grid, row by row over all states of a row, in the linear domain."""
    states = np.array(list(itertools.product([-1.0, 1.0], repeat=columns)))
    log_z, weights = 0.0, np.ones(len(states))
    for i in range(rows):
        inside = states @ fields[i]
        inside += (states[:, :-1] * states[:, 1:]) @ couplings[0, i, : columns - 1]
        if i:
            weights = np.exp((states * couplings[1, i - 1]) @ states.T) @ weights
        weights *= np.exp(inside)
        log_z += math.log(weights.max())
        weights /= weights.max()
    return log_z + math.log(weights.sum())


def spin_glass(seed, rows, columns, scale=1.0):
    rng = np.random.default_rng(seed)
    couplings, fields = rng.normal(size=(2, rows, columns)), rng.normal(size=(rows, columns))
    return rows, columns, scale * couplings, 0.3 * fields


def test_log_partition_against_enumeration():
    zero = 0
    for model in random_models():
        expected = reference.log_partition(*model)
        result, info = elimination.log_partition(build(*model))
        assert result.claim is estimate.Claim.CERTAIN
        assert info.log_value == result.log_value
        if expected == -math.inf:
            zero += 1
            assert (result.log_lower, result.log_upper) == (-math.inf, -math.inf)
        else:
            assert result.log_value == pytest.approx(expected, abs=1e-12)
    assert zero >= 3


@pytest.mark.parametrize("order_fn", ORDERS)
def test_every_order_gives_the_same(order_fn):
    graph = ising(*spin_glass(1, 4, 5))
    result, info = elimination.log_partition(graph, order_fn=order_fn)
    assert result.log_value == pytest.approx(transfer_matrix(*spin_glass(1, 4, 5)), abs=1e-11)
    assert sorted(info.order) == list(range(20))


def exact_log_z(graph):
    """log Z of the graph's own float64 entries, each exponential to 60 digits."""
    with decimal.localcontext(prec=60):
        total = decimal.Decimal(0)
        for x in itertools.product(*(range(s) for s in graph.num_states)):
            terms = [graph.log_constant, *(graph.log_unary[v, s] for v, s in enumerate(x))]
            for group in graph.groups:
                for scope, table in zip(group.variables, group.log_potentials, strict=True):
                    terms.append(table[tuple(x[v] for v in scope)])
            if min(terms) > -math.inf:
                total += sum(map(decimal.Decimal, map(float, terms))).exp()
        return total.ln() if total else decimal.Decimal("-Infinity")


def test_the_interval_contains_log_z_and_is_narrow():
    errors = []
    for seed in range(40):
        graph = build(
            *random_model(seed, zeros=0.2 * (seed % 2), scale=3.0 * 10.0 ** (seed % 3 - 1))
        )
        result, _ = elimination.log_partition(graph)
        exact = exact_log_z(graph)
        assert decimal.Decimal(result.log_lower) <= exact <= decimal.Decimal(result.log_upper)
        assert result.log_width <= 1e-11
        if exact.is_finite():
            errors.append(abs(float(decimal.Decimal(result.log_value) - exact)))
    assert max(errors) > 0  # otherwise an interval of no width would pass as well


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e4])
def test_the_interval_of_a_grid_follows_the_strength_of_its_couplings(scale):
    graph = ising(*spin_glass(3, 3, 3, scale))
    result, _ = elimination.log_partition(graph)
    exact = exact_log_z(graph)
    assert decimal.Decimal(result.log_lower) <= exact <= decimal.Decimal(result.log_upper)
    assert 1e-15 * max(1.0, scale) < result.log_width < 1e-12 * max(1.0, scale)


def test_counts_are_counted():
    """Independent sets of a 4 x 4 grid (OEIS A006506): 1234, and fewer with a corner taken."""
    hard = np.array([[0.0, 0.0], [0.0, -np.inf]])
    edges = [(v, v + 1) for v in range(16) if v % 4 < 3] + [(v, v + 4) for v in range(12)]
    graph = factor_graph.build([2] * 16, [(edge, hard) for edge in edges])
    total, corner = (
        elimination.log_partition(g)[0].log_value
        for g in (graph, factor_graph.condition(graph, {0: 1}))
    )
    assert math.exp(total) == pytest.approx(1234)
    rows, _ = elimination.marginals(graph)
    assert rows[0, 1] == pytest.approx(math.exp(corner - total))


@pytest.mark.parametrize("method", [elimination, exhaustive])
def test_marginals_are_off_by_at_most_their_error(method):
    """Each probability against the quotient of two sums to 60 digits."""
    largest = 0.0
    for seed in range(30):
        scale = 10.0 ** (seed % 4)
        graph = build(*random_model(seed, zeros=0.2 * (seed % 2), scale=min(scale, 80.0)))
        graph = graph._replace(log_constant=np.float64(scale))
        rows, info = method.marginals(graph)
        log_z = exact_log_z(graph)
        for v, size in enumerate(graph.num_states.tolist() if log_z.is_finite() else []):
            for state in range(size):
                fixed = graph.log_unary.copy()
                fixed[v] = -np.inf
                fixed[v, state] = graph.log_unary[v, state]
                with decimal.localcontext(prec=60):
                    exact = (exact_log_z(graph._replace(log_unary=fixed)) - log_z).exp()
                    off = abs(decimal.Decimal(float(rows[v, state])) - exact)
                assert off <= decimal.Decimal(info.error)
                largest = max(largest, float(off) / info.error)
        assert info.error < 1e-12 * max(1.0, scale)
    assert largest > 1e-4  # otherwise any error would pass


def test_marginals_against_enumeration():
    for model in random_models():
        graph = build(*model)
        rows, info = elimination.marginals(graph)
        assert rows.shape == graph.log_unary.shape
        if reference.partition(*model) == 0.0:
            assert info.log_value == -math.inf
            assert not rows.any()
            continue
        for v, expected in enumerate(reference.marginals(*model)):
            np.testing.assert_allclose(rows[v, : len(expected)], expected, atol=1e-12)
            assert not rows[v, len(expected) :].any()


def test_marginals_of_a_grid_against_conditioning():
    graph = ising(*spin_glass(5, 5, 6))
    rows, info = elimination.marginals(graph)
    for v in (0, 13, 29):
        fixed = elimination.log_partition(factor_graph.condition(graph, {v: 1}))[0].log_value
        assert rows[v, 1] == pytest.approx(math.exp(fixed - info.log_value), rel=1e-10)


def test_maximize_against_enumeration():
    for model in random_models():
        graph = build(*model)
        best, _ = elimination.maximize(graph)
        _, expected = reference.map(*model)
        if expected == -math.inf:
            assert best.status is answer.Status.INFEASIBLE
            assert (best.value, best.bound, best.assignments) == (-math.inf, -math.inf, None)
            continue
        assert best.status is answer.Status.OPTIMAL
        assert best.value == pytest.approx(expected, abs=1e-12)
        assert best.value <= best.bound < best.value + 1e-12
        assert best.assignments.shape == (1, len(model[0]))
        assert factor_graph.log_score(graph, best.assignments)[0] == pytest.approx(expected)


@pytest.mark.parametrize("num_states", [[], [1], [3], [1, 2, 1]])
def test_graphs_without_factors(num_states):
    graph = factor_graph.build(num_states, [], log_constant=2.0)
    result, info = elimination.log_partition(graph)
    expected = 2.0 + math.log(math.prod(num_states))
    assert result.log_lower <= expected <= result.log_upper
    assert info.width == 0
    rows, _ = elimination.marginals(graph)
    np.testing.assert_allclose(rows.sum(axis=1), np.ones(len(num_states)))
    assert elimination.maximize(graph)[0].value == 2.0
    assert float(elimination.compile_log_partition(graph)(graph)) == pytest.approx(expected, 1e-6)


@pytest.mark.parametrize(
    "factors",
    [
        [((), -np.inf)],
        [((0,), [-np.inf, -np.inf])],
        [((0, 1), np.full((2, 2), -np.inf))],
        [((0,), [0.0, -np.inf]), ((0, 1), [[-np.inf, -np.inf], [0.0, 0.0]])],
        # Only together: x0 = x1, x1 = x2, x2 != x0, which no pair of tables rules out.
        [(pair, [[0.0, -np.inf], [-np.inf, 0.0]]) for pair in [(0, 1), (1, 2)]]
        + [((0, 2), [[-np.inf, 0.0], [0.0, -np.inf]])],
    ],
)
def test_zero_is_an_answer(factors):
    graph = factor_graph.build([2, 2, 2], factors)
    result, _ = elimination.log_partition(graph)
    assert result == estimate.certain(-math.inf, 0.0)
    assert not elimination.marginals(graph)[0].any()
    assert elimination.maximize(graph)[0].status is answer.Status.INFEASIBLE


def test_log_potentials_far_outside_the_range_of_exp():
    graph = factor_graph.build([2, 2], [((0, 1), [[-3000.0, 3000.0], [2999.0, -np.inf]])])
    result, _ = elimination.log_partition(graph)
    assert result.log_value == pytest.approx(3000.0 + math.log1p(math.exp(-1.0)), abs=1e-11)
    rows, _ = elimination.marginals(graph)
    np.testing.assert_allclose(rows[0], [1 / (1 + math.exp(-1)), 1 / (1 + math.e)])


def test_evidence_costs_no_width():
    """All pairs of 40 variables; with all but 3 known, a triangle is left."""
    rng = np.random.default_rng(0)
    pairs = list(itertools.combinations(range(40), 2))
    graph = factor_graph.build([2] * 40, [(pair, rng.normal(size=(2, 2))) for pair in pairs])
    with pytest.raises(elimination.TooWide):
        elimination.log_partition(graph)
    evidence = {v: int(rng.integers(2)) for v in range(37)}
    by_hand = graph._replace(log_unary=graph.log_unary.copy())
    for v, state in evidence.items():
        by_hand.log_unary[v, 1 - state] = -np.inf
    completions = np.array([[*evidence.values(), *x] for x in itertools.product([0, 1], repeat=3)])
    expected = np.logaddexp.reduce(factor_graph.log_score(graph, completions))
    for given in (factor_graph.condition(graph, evidence), by_hand):
        result, info = elimination.log_partition(given)
        assert info.width == 2
        assert result.log_value == pytest.approx(expected, abs=1e-10)
        best, _ = elimination.maximize(given)
        assert best.assignments[0, :37].tolist() == list(evidence.values())


def test_impossible_states_are_found_through_chains_of_tables():
    """A copy of one known bit passes along a dense model: nothing is left to sum."""
    copy = np.array([[0.0, -np.inf], [-np.inf, 0.0]])
    factors = [((v, v + 1), copy) for v in range(59)] + [((0,), [-np.inf, 0.0])]
    factors += [((u, v), np.arange(4.0).reshape(2, 2)) for u in range(60) for v in range(u + 2, 60)]
    result, info = elimination.log_partition(factor_graph.build([2] * 60, factors))
    assert info.width == 0
    assert result.log_value == pytest.approx(3.0 * (len(factors) - 60))


def test_tables_that_do_not_depend_on_a_variable_do_not_join_it():
    table = np.broadcast_to(np.array([1.0, 2.0])[:, None], (2, 3))
    graph = factor_graph.build([2, 3], [((0, 1), table)])
    result, info = elimination.log_partition(graph)
    assert info.width == 0
    assert result.log_value == pytest.approx(math.log(3 * (math.e + math.e**2)))


@pytest.mark.parametrize(
    "entry",
    [
        elimination.log_partition,
        elimination.marginals,
        elimination.maximize,
        elimination.compile_log_partition,
    ],
)
def test_what_does_not_fit_is_refused_with_both_figures(entry):
    graph = ising(*spin_glass(0, 8, 9))
    entry = functools.partial(entry, order_fn=orders.min_frontier)
    with pytest.raises(elimination.TooWide) as caught:
        entry(graph, memory=1e-3)
    assert caught.value.width == 8
    assert caught.value.bytes_needed > 1e-3 * 2**20
    for figure in (caught.value.width, f"{caught.value.bytes_needed / 2**20:.6g}", 0.001):
        assert str(figure) in str(caught.value)
    with pytest.raises(elimination.TooWide):
        entry(graph, memory=(caught.value.bytes_needed - 1) / 2**20)
    entry(graph, memory=caught.value.bytes_needed / 2**20)


@pytest.mark.parametrize("entry", [elimination.log_partition, elimination.marginals])
def test_memory_stays_within_what_is_stated(entry):
    graph = ising(*spin_glass(0, 16, 17))
    tracemalloc.start()
    _, info = entry(graph)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < info.bytes_needed + 2**20  # a megabyte for what is not a table
    assert peak > info.bytes_needed / 4


def test_an_order_that_is_none_is_refused():
    graph = ising(*spin_glass(0, 2, 2))
    with pytest.raises(ValueError, match="expected an order of 4 variables, given"):
        elimination.log_partition(graph, order_fn=lambda neighbours, num_states: [0, 1, 2, 2])


def test_tables_larger_than_a_block_against_the_transfer_matrix():
    """Binary variables of width 17 (the transfer matrix takes the short side), and few variables
    with many states."""
    rng = np.random.default_rng(0)
    assert 2**18 > passes.BLOCK
    wide = dict(order_fn=lambda neighbours, num_states: list(range(len(neighbours))))
    result, info = elimination.log_partition(ising(*spin_glass(2, 9, 17)), **wide)
    assert info.width == 17
    rows, columns, couplings, fields = spin_glass(2, 9, 17)
    turned = columns, rows, couplings[::-1].transpose(0, 2, 1), fields.T
    assert result.log_value == pytest.approx(transfer_matrix(*turned), rel=1e-12)
    assert 70**3 > passes.BLOCK
    tables = rng.normal(size=(3, 70, 70))
    graph = factor_graph.build([70] * 3, zip([(0, 1), (1, 2), (2, 0)], tables, strict=True))
    a, b, c = np.exp(tables)
    expected = math.log(np.trace(a @ b @ c))
    assert elimination.log_partition(graph)[0].log_value == pytest.approx(expected, rel=1e-13)
    rows, _ = elimination.marginals(graph)
    np.testing.assert_allclose(rows[0], np.diag(a @ b @ c) / np.trace(a @ b @ c), rtol=1e-10)


def gradient(graph):
    import jax

    compiled = elimination.compile_log_partition(graph)
    return jax.grad(lambda unary: compiled(graph._replace(log_unary=unary)))(graph.log_unary)


@pytest.mark.parametrize("x64", [False, True])
def test_compiled_log_partition_and_its_gradient(x64):
    import jax

    tolerance = 1e-11 if x64 else 2e-5
    for seed in (3, 6, 12, 19, 26):
        graph = build(*random_model(seed, zeros=0.3 * (seed % 3 == 0)))
        rows, info = elimination.marginals(graph)
        with jax.enable_x64(x64):
            value = elimination.compile_log_partition(graph)(graph)
            assert value.dtype == (np.float64 if x64 else np.float32)
            assert float(value) == pytest.approx(info.log_value, abs=tolerance, rel=tolerance)
            np.testing.assert_allclose(gradient(graph), rows, atol=tolerance)


def test_the_compiled_gradient_is_finite_where_all_is_zero():
    graph = factor_graph.build([2, 2], [((0, 1), np.full((2, 2), -np.inf)), ((0,), [0.0, -np.inf])])
    assert not np.asarray(gradient(graph)).any()


def test_compiled_batches_trace_once(monkeypatch):
    import jax

    calls = []
    traced_log_sum = elimination._traced_log_sum
    monkeypatch.setattr(
        elimination, "_traced_log_sum", lambda table: (calls.append(1), traced_log_sum(table))[1]
    )
    graph = ising(*spin_glass(1, 3, 4))
    rng = np.random.default_rng(0)
    unaries = graph.log_unary + rng.normal(size=(5, *graph.log_unary.shape))
    graphs = [graph._replace(log_unary=unary) for unary in unaries]
    expected = [elimination.log_partition(g)[0].log_value for g in graphs]
    compiled = elimination.compile_log_partition(graph)
    for g, value in zip(graphs, expected, strict=True):
        assert float(compiled(g)) == pytest.approx(value, rel=1e-5)
    assert len(calls) == 12  # one trace: each variable was eliminated once
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), *graphs)
    np.testing.assert_allclose(jax.vmap(compiled)(batch), expected, rtol=1e-5)


def test_compiled_refuses_another_structure():
    compiled = elimination.compile_log_partition(ising(*spin_glass(1, 3, 4)))
    with pytest.raises(ValueError, match="expected a graph of shapes"):
        compiled(ising(*spin_glass(1, 4, 4)))


ENTRIES = ["log_partition", "marginals", "maximize"]


def equal(one, other):
    """Values of an entry, of whatever kind."""
    if isinstance(one, answer.Answer):
        return (one.value, one.bound) == (other.value, other.bound) and np.array_equal(
            one.assignments, other.assignments
        )
    return np.array_equal(one, other)


@pytest.mark.parametrize("name", ENTRIES)
def test_without_time_the_claims_at_sight_remain(name):
    entry, graph = getattr(elimination, name), ising(*spin_glass(1, 4, 5))
    found, info = entry(graph, timeout=0)
    assert info.status == "timeout" and equal(found, getattr(trivial, name)(graph))
    assert info.error == math.inf and math.isnan(info.log_value)
    assert entry(graph, timeout=60)[1].status == "done"
    assert not equal(found, entry(graph)[0])


@pytest.mark.parametrize("name", ENTRIES)
def test_the_clock_is_looked_at_between_orders_and_buckets(name, monkeypatch):
    graph, looks, ends = ising(*spin_glass(1, 4, 5)), [], [math.inf]

    def after(timeout):
        looks.clear()
        return limits.Deadline(stop=lambda: looks.append(timeout) or len(looks) > ends[0])

    monkeypatch.setattr(limits.Deadline, "after", after)
    _, done = getattr(elimination, name)(graph, timeout=9.0)
    passes = 2 if name == "marginals" else 1
    # Once at the start, after each of the four orders, and at each bucket of each pass.
    assert (done.status, looks) == ("done", [9.0] * (1 + 4 + 20 * passes))
    for ends[0] in (3, len(looks) - 1):
        assert getattr(elimination, name)(graph, timeout=9.0)[1].status == "timeout"


@pytest.mark.parametrize("seed", [2**70, b"seed", np.zeros(2, "u4")])
@pytest.mark.parametrize("name", ENTRIES)
def test_seeds_of_any_kind_draw_nothing(name, seed):
    entry, graph = getattr(elimination, name), ising(*spin_glass(1, 4, 5))
    assert equal(entry(graph, seed=seed)[0], entry(graph)[0])


def test_without_time_and_without_a_state_nothing_is_left():
    graph = factor_graph.build([2, 2], [((0,), [-np.inf, -np.inf])])
    found, info = elimination.marginals(graph, timeout=0)
    assert info.status == "timeout" and not found.any()
    assert elimination.maximize(graph, timeout=0)[0].status is answer.Status.INFEASIBLE
