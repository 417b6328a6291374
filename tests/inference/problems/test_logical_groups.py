import itertools
import math

import jax
import networkx as nx
import numpy as np
import pytest

import reference
from inference.exact import elimination, exhaustive
from inference.problems import cnf, convert, factor_graph, logical_groups, uai


def random_formula(seed, num_variables=6):
    """Clauses and XORs of all lengths from 0 to 4, repeated literals and tautologies included."""
    rng = np.random.default_rng(seed)
    literals = np.concatenate([-np.arange(1, num_variables + 1), np.arange(1, num_variables + 1)])
    lengths = rng.choice(5, size=rng.integers(0, 7), p=[0.02, 0.18, 0.3, 0.3, 0.2])
    clauses = [rng.choice(literals, size=length).tolist() for length in lengths]
    scopes = [rng.integers(1, num_variables + 1, size=rng.integers(0, 4)) for _ in range(2)]
    xors = [(scope.tolist(), bool(rng.random() < 0.5)) for scope in scopes if rng.random() < 0.6]
    weights = np.log(rng.random((num_variables, 2))) if seed % 2 else None
    return cnf.from_clauses(clauses, num_variables=num_variables, xors=xors, log_weights=weights)


def log_weight(formula, x):
    """ln weight of an assignment by the formula's own rule, -inf for no model."""
    if not formula.is_satisfied(np.array(x)):
        return -np.inf
    return 0.0 if formula.log_weights is None else sum(formula.log_weights[range(len(x)), x])


def assignments(num_variables):
    return np.array(list(itertools.product([0, 1], repeat=num_variables)))


@pytest.mark.parametrize("seed", range(60))
def test_scores_are_those_of_the_formula(seed):
    formula = random_formula(seed)
    graph = convert.clause_graph(formula)
    xs = assignments(formula.num_variables)
    expected = [log_weight(formula, x) for x in xs]
    np.testing.assert_allclose(factor_graph.log_score(graph, xs), expected, atol=1e-12)
    np.testing.assert_allclose(
        factor_graph.log_score(factor_graph.tabulate(graph), xs), expected, atol=1e-12
    )


@pytest.mark.parametrize("seed", range(60))
def test_conditioning_keeps_the_scores_of_what_agrees(seed):
    formula = random_formula(seed)
    graph = convert.clause_graph(formula)
    rng = np.random.default_rng(seed)
    evidence = {int(v): int(rng.integers(2)) for v in rng.choice(6, rng.integers(0, 7), False)}
    fixed = factor_graph.condition(graph, evidence)
    for group in fixed.groups:
        assert not np.isin(group.variables[group.mask], list(evidence)).any()
        assert group.mask.any(axis=1).all()
    for x in assignments(formula.num_variables):
        agrees = all(x[v] == state for v, state in evidence.items())
        expected = log_weight(formula, x) if agrees else -np.inf
        assert factor_graph.log_score(fixed, x) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_exact_methods_take_them(seed):
    formula = random_formula(seed)
    graph = convert.clause_graph(formula)
    every = [log_weight(formula, x) for x in assignments(formula.num_variables)]
    total = math.fsum(np.exp(every))
    expected = math.log(total) if total else -math.inf
    for result, _ in (exhaustive.log_partition(graph), elimination.log_partition(graph)):
        assert result.log_value == pytest.approx(expected, abs=1e-9)
    for best, _ in (exhaustive.maximize(graph), elimination.maximize(graph)):
        assert best.value == pytest.approx(max(every), abs=1e-9)


@pytest.mark.parametrize("seed", range(30))
def test_back_to_a_formula(seed):
    formula = random_formula(seed)
    back = convert.factor_graph_to_cnf(convert.clause_graph(formula))
    assert len(back.xors) == sum(len(xor) > 0 for xor in formula.xors)
    one, other = exhaustive.count(formula)[0], exhaustive.count(back)[0]
    assert other.log_value == pytest.approx(one.log_value, abs=1e-9)


def test_rows_without_a_slot_are_padding():
    none = np.zeros((1, 2), dtype=bool)
    variables = np.zeros((1, 2), dtype=np.int32)
    groups = [
        logical_groups.ClauseGroup(variables, none, none),
        logical_groups.ParityGroup(variables, np.array([True]), none),
    ]
    graph = factor_graph.build([2, 2], [], logical=groups)
    for padded in (graph, factor_graph.condition(graph, {}), factor_graph.tabulate(graph)):
        assert exhaustive.log_partition(padded)[0].log_value == pytest.approx(math.log(4))


def test_wide_clauses_need_no_table_to_be_scored_or_fixed():
    formula = cnf.from_clauses([range(1, 101), [-1, -2]], xors=[(range(1, 101), True)])
    graph = convert.clause_graph(formula)
    x = np.zeros(100, dtype=int)
    assert factor_graph.log_score(graph, x) == -np.inf
    x[50] = 1
    assert factor_graph.log_score(graph, x) == 0
    left = factor_graph.condition(graph, {v: int(x[v]) for v in range(90)})
    assert elimination.log_partition(left)[0].log_value == pytest.approx(math.log(2**9))
    with pytest.raises(ValueError, match="expected at most 20 variables .* given 100"):
        factor_graph.tabulate(graph)


def test_groups_are_padded_little():
    lengths = [1, 2, 2, 3, 9, 16, 17, 100]
    formula = cnf.from_clauses([range(1, length + 1) for length in lengths])
    widths = [group.variables.shape for group in convert.clause_graph(formula).groups]
    assert widths == [(1, 1), (2, 2), (1, 3), (2, 16), (1, 17), (1, 100)]


def test_inside_jit_and_vmap():
    graph = convert.clause_graph(random_formula(3))
    xs = assignments(6)
    jitted = jax.jit(jax.vmap(factor_graph.log_score, in_axes=(None, 0)))(graph, xs)
    np.testing.assert_allclose(jitted, factor_graph.log_score(graph, xs), atol=1e-5)


def test_interaction_graph_leaves_padding_out():
    formula = cnf.from_clauses([range(2, 11), range(5, 15)], num_variables=14)
    joined = convert.interaction_graph(convert.clause_graph(formula))
    expected = nx.compose(nx.complete_graph(range(1, 10)), nx.complete_graph(range(4, 14)))
    assert set(map(frozenset, joined.edges)) == set(map(frozenset, expected.edges))


def test_written_as_tables(tmp_path):
    graph = convert.clause_graph(cnf.from_clauses([[1, -2], [2, 3]], xors=[([1, 3], True)]))
    uai.write(graph, tmp_path / "written.uai")
    read = uai.read(tmp_path / "written.uai")
    linear = [
        (scope.tolist(), np.exp(table).tolist())
        for group in read.groups
        for scope, table in zip(group.variables, group.log_potentials)
    ]
    assert reference.partition([2, 2, 2], linear) == pytest.approx(
        math.exp(exhaustive.log_partition(graph)[0].log_value)
    )


@pytest.mark.parametrize(
    "group, message",
    [
        (logical_groups.clause_group([[1, 5]]), "variables in 0..2, given 4"),
        (logical_groups.clause_group([[1, -1]]), r"without repeats, given \[0, 0\]"),
        (logical_groups.parity_group([[1, 3]], [True]), "two states .* variable 2 has 3"),
    ],
)
def test_refuses_wrong_groups(group, message):
    with pytest.raises(ValueError, match=message):
        factor_graph.build([2, 2, 3], [], logical=[group])


def test_compiled_elimination_refuses_them():
    graph = convert.clause_graph(cnf.from_clauses([[1, 2]]))
    with pytest.raises(ValueError, match="expected table factors alone"):
        elimination.compile_log_partition(graph)
