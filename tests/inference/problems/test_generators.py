import collections
import itertools
import math
from pathlib import Path

import jax
import networkx
import numpy as np
import pytest

import experiments
import reference
from inference.exact import elimination
from inference.problems import dimacs, factor_graph, generators


def models(formula):
    """All models by the formula's own test of satisfaction, 2^n rows at once."""
    n = formula.num_variables
    table = (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1
    return table[formula.is_satisfied(table)]


def count_by_solver(formula):
    """The count by an outside exact counter, for formulas without XORs or projection."""
    import pyganak

    counter = pyganak.Counter(verbose=0, seed=0)
    counter.new_vars(formula.num_variables)
    counter.add_clauses(formula.clauses.tolist())
    return counter.count()


def spread(formula):
    xors = [(v, int(s)) for v, s in zip(formula.xors.tolist(), formula.xor_rhs)]
    projection = None if formula.projection is None else formula.projection.tolist()
    return formula.num_variables, formula.clauses.tolist(), xors, projection


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4])
def test_n_queens_by_enumeration(size):
    assert len(models(generators.n_queens(size))) == generators.QUEENS[size]


@pytest.mark.parametrize("size", [5, 6])
def test_n_queens_by_an_exact_counter(size):
    assert count_by_solver(generators.n_queens(size)) == generators.QUEENS[size]


def test_latin_squares():
    for order in (0, 1, 2):
        assert len(models(generators.latin_square(order))) == generators.LATIN_SQUARES[order]
    for order in (3, 4):
        count = count_by_solver(generators.latin_square(order))
        assert count == generators.LATIN_SQUARES[order]


@pytest.mark.parametrize("length", [0, 1, 2, 3, 8, 11])
def test_chain(length):
    assert reference.count_models(*spread(generators.chain(length))) == (
        generators.chain_count(length)
    )


def test_chain_count_is_fibonacci():
    assert [generators.chain_count(n) for n in range(6)] == [1, 2, 3, 5, 8, 13]
    golden = (1 + math.sqrt(5)) / 2
    expected = 1002 * math.log(golden) - math.log(5) / 2
    assert math.isclose(math.log(generators.chain_count(1000)), expected, rel_tol=1e-12)


@pytest.mark.parametrize("board", [(1, 1), (1, 2), (2, 1), (2, 3), (3, 3), (3, 4), (4, 3)])
def test_domino_tilings_by_enumeration(board):
    formula = generators.domino_tilings(*board)
    assert len(models(formula)) == generators.domino_tilings_count(*board)


@pytest.mark.parametrize("rows, columns", [(2, 2), (4, 4), (8, 8), (6, 9), (4, 15), (3, 5)])
def test_domino_tilings_count_is_kasteleyns_product(rows, columns):
    product = 1.0
    for j, k in itertools.product(range(1, rows + 1), range(1, columns + 1)):
        a, b = math.cos(math.pi * j / (rows + 1)), math.cos(math.pi * k / (columns + 1))
        product *= (4 * a * a + 4 * b * b) ** 0.25
    assert math.isclose(
        generators.domino_tilings_count(rows, columns), product, rel_tol=1e-9, abs_tol=1e-3
    )


def connecting_sets(rows, columns):
    grid = networkx.grid_2d_graph(rows, columns)
    edges = list(grid.edges)
    count = 0
    for chosen in itertools.product([False, True], repeat=len(edges)):
        open_grid = networkx.Graph(list(itertools.compress(edges, chosen)))
        open_grid.add_nodes_from(grid)
        count += networkx.has_path(open_grid, (0, 0), (rows - 1, columns - 1))
    return count


@pytest.mark.parametrize("board", [(1, 1), (1, 2), (3, 1), (2, 2), (2, 3), (3, 2)])
def test_grid_reachability_counts_the_connecting_sets(board):
    formula = generators.grid_reachability(*board)
    edges = len(formula.projection)
    projected = {tuple(model[:edges].tolist()) for model in models(formula)}
    assert len(projected) == connecting_sets(*board)


@pytest.mark.parametrize("length, num_xors", [(0, 0), (0, 2), (1, 0), (1, 3), (6, 4), (8, 1)])
def test_parity_chain_keeps_the_count_of_the_chain(length, num_xors):
    for seed in range(3):
        formula = generators.parity_chain(seed, length, num_xors)
        assert len(formula.xors) == num_xors
        assert len(models(formula)) == generators.chain_count(length)


def test_random_ksat_has_distinct_variables_and_fair_signs():
    formula = generators.random_ksat(3, 7, 4000, 3)
    literals = np.array(formula.clauses.tolist())
    assert literals.shape == (4000, 3)
    variables = np.sort(np.abs(literals), axis=1)
    assert (np.diff(variables, axis=1) > 0).all()
    # 35 subsets at 4000 / 35 each, standard deviation 10.5; 12000 signs, deviation 55.
    subsets = collections.Counter(map(tuple, variables.tolist()))
    assert len(subsets) == 35 and all(abs(n - 4000 / 35) < 5 * 10.5 for n in subsets.values())
    assert abs(int((literals > 0).sum()) - 6000) < 5 * 55


@pytest.mark.parametrize("sizes", [(0, 0, 0), (0, 2, 0), (3, 0, 2), (2, 5, 2), (1, 1, 1)])
def test_random_ksat_at_the_edges(sizes):
    n, m, k = sizes
    formula = generators.random_ksat(0, n, m, k)
    assert formula.num_variables == n
    assert [len(set(map(abs, clause))) for clause in formula.clauses.tolist()] == [k] * m


def test_random_problems_depend_on_the_seed_alone():
    def draw(key):
        return generators.random_ksat(key, 9, 20).digest()

    assert draw(1) == draw(1) != draw(2)
    assert draw(jax.random.key(1)) == draw(jax.random.key(1)) != draw(jax.random.key(2))
    # Written down: the same problems on every machine and in every version.
    assert generators.random_ksat(1, 9, 2).clauses.tolist() == [[-7, 8, 5], [-2, -6, -8]]


@pytest.mark.parametrize(
    "make, arguments",
    [
        (generators.random_ksat, (0, 2, 5, 3)),
        (generators.random_ksat, (0, 2, -1, 2)),
        (generators.n_queens, (-1,)),
        (generators.latin_square, (-1,)),
        (generators.chain, (-1,)),
        (generators.parity_chain, (0, 2, -1)),
        (generators.domino_tilings, (0, 3)),
        (generators.grid_reachability, (2, 0)),
        (generators.ising_grid, (0, 2, 1.0)),
        (generators.ising_torus, (1, 3, 1.0)),
        (generators.ising_torus, (3, 1, 1.0)),
        (generators.potts_grid, (2, 0, 3, 1.0)),
        (generators.potts_grid, (2, 2, 0, 1.0)),
        (generators.spin_glass_grid, (0, 2, 0, 1.0)),
    ],
)
def test_refuses_impossible_sizes(make, arguments):
    with pytest.raises(ValueError, match="expected .* given"):
        make(*arguments)


def spin_energy(states, rows, columns, coupling, field):
    spins = 2.0 * np.array(states).reshape(rows, columns) - 1.0
    pairs = (spins[:, 1:] * spins[:, :-1]).sum() + (spins[1:] * spins[:-1]).sum()
    return coupling * pairs + field * spins.sum()


@pytest.mark.parametrize("rows, columns", [(1, 1), (1, 3), (2, 3), (3, 2)])
def test_ising_grid_scores_every_assignment(rows, columns):
    graph = generators.ising_grid(rows, columns, 0.7, -0.2)
    for states in itertools.product([0, 1], repeat=rows * columns):
        expected = spin_energy(states, rows, columns, 0.7, -0.2)
        assert math.isclose(factor_graph.log_score(graph, np.array(states)), expected, abs_tol=1e-9)


@pytest.mark.parametrize("rows, columns", [(2, 2), (2, 3), (3, 3)])
def test_ising_torus_scores_every_assignment(rows, columns):
    graph = generators.ising_torus(rows, columns, 0.7, -0.2)
    for states in itertools.product([0, 1], repeat=rows * columns):
        spins = 2.0 * np.array(states).reshape(rows, columns) - 1.0
        pairs = sum((spins * np.roll(spins, 1, axis)).sum() for axis in (0, 1))
        expected = 0.7 * pairs - 0.2 * spins.sum()
        assert math.isclose(factor_graph.log_score(graph, np.array(states)), expected, abs_tol=1e-9)


def potts_energy(x, rows, columns, coupling, field):
    alike = 0
    for (r1, c1), (r2, c2) in itertools.combinations(np.ndindex(rows, columns), 2):
        if abs(r1 - r2) + abs(c1 - c2) == 1:
            alike += x[r1 * columns + c1] == x[r2 * columns + c2]
    return coupling * alike + field * list(x).count(0)


@pytest.mark.parametrize(
    "rows, columns, states", [(1, 1, 1), (1, 3, 4), (2, 3, 3), (3, 2, 2), (2, 2, 1)]
)
def test_potts_grid_against_enumeration(rows, columns, states):
    graph = generators.potts_grid(rows, columns, states, 0.7, -0.2)
    total = 0.0
    for x in itertools.product(range(states), repeat=rows * columns):
        expected = potts_energy(x, rows, columns, 0.7, -0.2)
        assert math.isclose(factor_graph.log_score(graph, np.array(x)), expected, abs_tol=1e-9)
        total += math.exp(expected)
    value = elimination.log_partition(graph)[0].log_value
    assert math.isclose(value, math.log(total), rel_tol=1e-12, abs_tol=1e-12)


def test_potts_of_two_states_is_the_ferromagnet():
    potts = generators.potts_grid(3, 4, 2, 0.8)
    ising = elimination.log_partition(generators.ising_grid(3, 4, 0.4))[0].log_value
    value = elimination.log_partition(potts)[0].log_value
    assert math.isclose(value, ising + 17 * 0.4, rel_tol=1e-12)  # 17 edges


def test_spin_glass_grid_draws_within_its_scales():
    graph = generators.spin_glass_grid(4, 30, 30, 2.0, 0.5)
    fields, (group,) = graph.log_unary[:, 1], graph.groups
    couplings = group.log_potentials[:, 0, 0]
    assert 1.95 < np.abs(couplings).max() <= 2 and 0.49 < np.abs(fields).max() <= 0.5
    assert abs(couplings.mean()) < 0.15 and abs(fields.mean()) < 0.05
    again = generators.spin_glass_grid(4, 30, 30, 2.0, 0.5)
    other = generators.spin_glass_grid(5, 30, 30, 2.0, 0.5)
    assert np.array_equal(again.log_unary, graph.log_unary)
    assert not np.array_equal(other.log_unary, graph.log_unary)


def test_the_shipped_formula_is_the_generated_one():
    path = Path(experiments.__file__).parent / "data" / "domino_tilings_8x8.cnf"
    assert dimacs.read(path).digest() == generators.domino_tilings(8, 8).digest()
    assert str(generators.domino_tilings_count(8, 8)) in path.read_text()
    assert generators.domino_tilings_count(8, 8) == 12988816
