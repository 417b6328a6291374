import itertools
import math

import networkx as nx
import numpy as np
import pysat.formula
import pysat.solvers
import pytest

import reference
from inference.problems import cnf, convert, factor_graph, generators, logical_groups


def weight_dictionary(formula):
    if formula.log_weights is None:
        return None
    linear = np.exp(formula.log_weights).tolist()
    positive = {v: w for v, (_, w) in enumerate(linear, start=1)}
    return positive | {-v: w for v, (w, _) in enumerate(linear, start=1)}


def log_count(formula):
    xors = list(zip(formula.xors.tolist(), formula.xor_rhs.tolist()))
    sampling, weights = formula.sampling_set.tolist(), weight_dictionary(formula)
    count = reference.count_models(
        formula.num_variables, formula.clauses.tolist(), xors, sampling, weights
    )
    return math.log(count) if count else -math.inf


def linear_factors(graph):
    """The graph as lists in the linear domain, its constant as the factor of no variable."""
    factors = [([], math.exp(graph.log_constant))]
    for v, size in enumerate(graph.num_states.tolist()):
        factors.append(([v], np.exp(graph.log_unary[v, :size]).tolist()))
    for group in graph.groups:
        for scope, table in zip(group.variables.tolist(), group.log_potentials):
            factors.append((scope, np.exp(table).tolist()))
    return graph.num_states.tolist(), factors


def log_partition(graph):
    return reference.log_partition(*linear_factors(graph))


def random_formula(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 8))
    width = rng.integers(1, 5, size=rng.integers(0, 9))
    clauses = [rng.choice([-1, 1], w) * rng.integers(1, n + 1, w) for w in width]
    xors = [(rng.integers(1, n + 1, 3), bool(rng.integers(2))) for _ in range(rng.integers(0, 3))]
    log_weights = np.log(rng.uniform(0.1, 2.0, size=(n, 2)))
    log_weights[rng.random((n, 2)) < 0.1] = -np.inf
    weights = log_weights if rng.integers(2) else None
    return cnf.from_clauses(clauses, num_variables=n, xors=xors, log_weights=weights)


@pytest.mark.parametrize("seed", range(30))
def test_a_formula_and_its_graph_have_one_count(seed):
    formula = random_formula(seed)
    graph = convert.cnf_to_factor_graph(formula)
    assert graph.num_states.tolist() == [2] * formula.num_variables
    assert log_partition(graph) == pytest.approx(log_count(formula), abs=1e-9)


@pytest.mark.parametrize(
    "formula",
    [
        cnf.from_clauses([]),
        cnf.from_clauses([[]]),
        cnf.from_clauses([[]], num_variables=2),
        cnf.from_clauses([[1], [-1]]),
        cnf.from_clauses([[1, -1, 2], [2, 2]], num_variables=3),
        cnf.from_clauses([], xors=[([], True)]),
        cnf.from_clauses([], num_variables=1, xors=[([], False), ([1], True)]),
        cnf.from_clauses([[2]], num_variables=2, projection=[1, 2]),
        cnf.from_clauses([], num_variables=2, log_weights=np.full((2, 2), -np.inf)),
    ],
)
def test_degenerate_formulas(formula):
    assert log_partition(convert.cnf_to_factor_graph(formula)) == log_count(formula)


def test_state_one_is_true():
    graph = convert.cnf_to_factor_graph(cnf.from_clauses([[1, -2]]))
    scores = {x: float(factor_graph.log_score(graph, x)) for x in [(0, 0), (0, 1), (1, 0), (1, 1)]}
    assert scores == {(0, 0): 0, (0, 1): -np.inf, (1, 0): 0, (1, 1): 0}


def test_refuses_what_a_graph_cannot_say():
    wide = list(range(1, logical_groups.MAX_TABLE_VARIABLES + 2))
    with pytest.raises(ValueError, match="expected at most 20 variables .* given 21"):
        convert.cnf_to_factor_graph(cnf.from_clauses([wide]))
    with pytest.raises(ValueError, match="expected at most 20 variables .* given 21"):
        convert.cnf_to_factor_graph(cnf.from_clauses([], xors=[(wide, True)]))
    with pytest.raises(ValueError, match="expected a sampling set of all 3 variables, given 1"):
        convert.cnf_to_factor_graph(cnf.from_clauses([[1, 2, 3]], projection=[1]))


def random_graph(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 4, size=rng.integers(1, 4))
    factors = []
    for _ in range(rng.integers(0, 3)):
        arity = rng.integers(0, min(len(sizes), 2) + 1)
        scope = rng.choice(len(sizes), arity, replace=False)
        table = rng.normal(size=tuple(sizes[scope]))
        table[rng.random(table.shape) < 0.2] = -np.inf
        table[rng.random(table.shape) < 0.2] = 0.0
        factors.append((scope, table))
    return factor_graph.build(sizes, factors, log_constant=float(rng.choice([0.0, 1.5])))


# Enumeration of the encoded formula takes 2^n rows, so the graphs are tiny.
@pytest.mark.parametrize("seed", range(40))
def test_a_graph_and_its_formula_have_one_partition_function(seed):
    graph = random_graph(seed)
    formula = convert.factor_graph_to_cnf(graph)
    assert formula.num_variables <= 18
    assert log_count(formula) == pytest.approx(log_partition(graph), abs=1e-9)


@pytest.mark.parametrize("log_constant", [-np.inf, 2.0, 0.0])
@pytest.mark.parametrize("sizes", [[], [1], [1, 1], [2], [3]])
def test_graphs_without_tables(sizes, log_constant):
    graph = factor_graph.build(sizes, [], log_constant=log_constant)
    expected = log_constant + math.log(math.prod(sizes))
    assert log_count(convert.factor_graph_to_cnf(graph)) == pytest.approx(expected, abs=1e-12)


def test_potentials_past_the_range_of_floats_stay_logarithms():
    graph = factor_graph.build([2, 2], [((0, 1), [[-2000.0, 5.0], [3000.0, -np.inf]])])
    formula = convert.factor_graph_to_cnf(graph)
    assert sorted(formula.log_weights.ravel())[0] == -2000
    assert sorted(formula.log_weights.ravel())[-1] == 3000


def test_there_and_back_again():
    formula = cnf.from_clauses([[1, -2, 3], [2, -3]], xors=[([1, 3], True)])
    again = convert.factor_graph_to_cnf(convert.cnf_to_factor_graph(formula))
    assert again.num_variables == 3 and log_count(again) == pytest.approx(log_count(formula))


@pytest.mark.parametrize("clauses", [[], [[]], [[1, -3], [2]]])
def test_pysat_there_and_back(clauses):
    formula = cnf.from_clauses(clauses, num_variables=5)
    converted = convert.to_pysat(formula)
    assert converted.nv == 5 and converted.clauses == clauses
    assert convert.from_pysat(converted).digest() == formula.digest()


def test_pysat_solves_what_is_converted():
    converted = convert.to_pysat(generators.n_queens(6))
    with pysat.solvers.Solver("cadical153", bootstrap_with=converted) as solver:
        assert solver.solve()
        model = np.array(solver.get_model()) > 0
    assert generators.n_queens(6).is_satisfied(model)


def test_pysat_extras_are_refused():
    plus = pysat.formula.CNFPlus()
    plus.append([1, 2])
    assert convert.from_pysat(plus).clauses.tolist() == [[1, 2]]
    plus.append([[1, 2, 3], 1], is_atmost=True)
    with pytest.raises(ValueError, match="1 cardinality"):
        convert.from_pysat(plus)
    with pytest.raises(ValueError, match="without XORs, given 1"):
        convert.to_pysat(cnf.from_clauses([], xors=[([1, 2], True)]))


def test_ising_from_networkx_scores_every_assignment():
    graph = nx.Graph()
    graph.add_node("a", field=0.5)
    graph.add_edge("b", "a", weight=-2.0)
    graph.add_edge("b", "c")
    model = convert.ising_from_networkx(graph)
    for states in itertools.product([0, 1], repeat=3):
        a, b, c = (2 * state - 1 for state in states)
        expected = 0.5 * a - 2 * a * b + b * c
        assert factor_graph.log_score(model, np.array(states)) == pytest.approx(expected)


def test_a_networkx_grid_is_the_generated_grid():
    grid = nx.grid_2d_graph(3, 2)
    nx.set_edge_attributes(grid, 0.3, "strength")
    ours, theirs = generators.ising_grid(3, 2, 0.3), convert.ising_from_networkx(grid, "strength")
    for states in itertools.product([0, 1], repeat=6):
        ours_score = factor_graph.log_score(ours, np.array(states))
        assert factor_graph.log_score(theirs, np.array(states)) == pytest.approx(ours_score)


def test_ising_from_networkx_at_the_edges():
    assert convert.ising_from_networkx(nx.Graph()).num_variables == 0
    assert convert.ising_from_networkx(nx.empty_graph(1)).num_variables == 1
    parallel = nx.MultiGraph([(0, 1), (0, 1)])
    assert factor_graph.log_score(convert.ising_from_networkx(parallel), np.array([1, 1])) == 2
    with pytest.raises(ValueError, match="without loops, given one at 'x'"):
        convert.ising_from_networkx(nx.Graph([("x", "x")]))
    with pytest.raises(ValueError, match="undirected"):
        convert.ising_from_networkx(nx.DiGraph([(0, 1)]))


def test_interaction_graph():
    table = np.zeros((2, 3, 2))
    model = factor_graph.build([2, 3, 2, 2], [((0, 1, 2), table), ((0,), [0.0, 1.0])])
    joined = convert.interaction_graph(model)
    assert list(joined.nodes) == [0, 1, 2, 3]
    assert sorted(joined.edges) == [(0, 1), (0, 2), (1, 2)]
    grid = convert.interaction_graph(generators.ising_grid(3, 4, 1.0))
    assert nx.is_isomorphic(grid, nx.grid_2d_graph(3, 4))
