"""Families of formulas: their models against enumeration, transfer matrices and recursion."""

import itertools
import time

import networkx as nx
import numpy as np
import pytest

import reference
from experiments.harness import peers
from inference import randomness
from inference.problems import dimacs
from inference.problems import formula_families as families


def enumerated(formula):
    assert not len(formula.xors)
    projection = None if formula.projection is None else formula.projection.tolist()
    return reference.count_models(formula.num_variables, formula.clauses.tolist(), (), projection)


def counted(formula):
    """The count by an outside exact counter, for formulas without XORs."""
    import pyganak

    counter = pyganak.Counter(verbose=0, seed=0)
    counter.new_vars(formula.num_variables)
    counter.add_clauses(formula.clauses.tolist())
    if formula.projection is not None:
        counter.set_sampling_set(formula.projection.tolist())
    return counter.count()


SIZES = [(2, 0), (2, 1), (3, 6), (5, 5)]
WIRING = [{}, {"window": 2}, {"window": 3, "shuffled": True}, {"share_xor": 1.0}, {"share_xor": 0}]


@pytest.mark.parametrize("options", WIRING)
@pytest.mark.parametrize("sizes", SIZES)
def test_a_circuit_has_one_model_per_input(sizes, options):
    for seed in range(3):
        assert enumerated(families.random_circuit(seed, *sizes, **options)) == 2 ** sizes[0]


@pytest.mark.parametrize("options", [{}, {"window": 4, "shuffled": True}])
def test_large_circuits_are_quick_and_have_one_model_per_input(options):
    start = time.monotonic()
    formula = families.random_circuit(1, 40, 20_000, share_xor=0.0, **options)
    assert time.monotonic() - start < 2
    assert counted(families.random_circuit(1, 12, 300, **options)) == 2**12
    assert formula.num_variables == 20_040 and formula.num_clauses == 60_000


@pytest.mark.parametrize("options", WIRING)
def test_forced_outputs_leave_a_model(options):
    counts, number = [], 1 if "window" in options else 2
    for seed in range(20):
        formula = families.random_circuit(seed, 6, 10, num_forced=number, **options)
        free = families.random_circuit(seed, 6, 10, **options)
        assert formula.clauses.tolist()[:-number] == free.clauses.tolist()
        forced = formula.clauses.tolist()[-number:]
        assert len({abs(x) for [x] in forced}) == number
        counts.append(counted(formula))
    assert 0 < min(counts) <= 64 >> number and max(counts) <= 64


def test_windows_are_kept():
    formula = families.random_circuit(3, 50, 400, window=7)
    spans = [np.abs(clause).max() - np.abs(clause).min() for clause in formula.clauses]
    assert max(spans) == 7
    wide = families.random_circuit(3, 50, 400)
    assert max(np.ptp(np.abs(clause)) for clause in wide.clauses) > 100


def sequences(bits, steps, start, added, wanted):
    """How many inputs lead from the start to a wanted value, by the powers of one matrix."""
    size = 2**bits
    moves = np.zeros((size, size), dtype=object)
    for value in range(size):
        moves[value, value] += size  # whatever the data bits say
        moves[value, (value + added) % size] += size
        moves[value] += 1  # one choice of data for each value loaded
        moves[value, 0] += size
    row = np.eye(size, dtype=object)[start]
    for _ in range(steps):
        row = row.dot(moves)
    return sum(int(row[value]) for value in wanted)


def drawn(seed, bits):
    rng = randomness.generator(seed, "bounded_model_checking")
    numbers = rng.integers(2, size=(3, bits)) @ (1 << np.arange(bits))
    return int(numbers[0]), int(numbers[1]) | 1, int(numbers[2])


@pytest.mark.parametrize("sizes", [(1, 1), (1, 3), (2, 2), (3, 2), (4, 3), (4, 5)])
@pytest.mark.parametrize("seed", range(3))
def test_a_machine_by_its_matrix(seed, sizes):
    start, added, bound = drawn(seed, sizes[0])
    for equals, wanted in ((False, range(bound + 1)), (True, [bound])):
        expected = sequences(*sizes, start, added, wanted)
        inputs = families.bounded_model_checking(seed, *sizes, equals=equals)
        everything = families.bounded_model_checking(seed, *sizes, equals=equals, projected=False)
        assert counted(inputs) == counted(everything) == expected
        assert len(inputs.sampling_set) == (sizes[0] + 2) * sizes[1]


@pytest.mark.parametrize("sizes", [(1, 1), (1, 2), (2, 1)])
def test_small_machines_by_enumeration(sizes):
    for seed in range(4):
        start, added, bound = drawn(seed, sizes[0])
        formula = families.bounded_model_checking(seed, *sizes, projected=False)
        assert enumerated(formula) == sequences(*sizes, start, added, range(bound + 1))


def products(groups, feature=1):
    """Products of the tree below a feature that is in them."""
    ways = 1
    for parent, kind, children in groups:
        if parent == feature:
            below = [products(groups, child) for child in children]
            ways *= {
                "mandatory": below[0],
                "optional": 1 + below[0],
                "or": int(np.prod([1 + x for x in below], dtype=object)) - 1,
                "alternative": sum(below),
            }[kind]
    return ways


@pytest.mark.parametrize("num_features", [1, 2, 5, 60])
def test_a_feature_tree_by_recursion(num_features):
    for seed in range(5):
        formula = families.feature_tree(seed, num_features)
        rng = randomness.generator(seed, "feature_tree")
        groups = families._grow(rng, num_features)
        assert sorted(c for g in groups for c in g.children) == list(range(2, num_features + 1))
        assert counted(formula) == products(groups)


def test_constraints_across_a_tree():
    for seed in range(20):
        free, bound = families.feature_tree(seed, 10), families.feature_tree(seed, 10, 4)
        assert bound.clauses.tolist()[: free.num_clauses] == free.clauses.tolist()
        more = bound.clauses.tolist()[free.num_clauses :]
        assert [len({abs(x) for x in clause}) for clause in more] == [2] * 4
        assert all(clause[0] < 0 for clause in more)
        assert 0 < enumerated(bound) == counted(bound) <= enumerated(free)


ROADS = list(
    itertools.product([(1, 1), (1, 3), (2, 2), (2, 3)], [(0, 0), (0.2, 0.1), (0, 1), (1, 1)])
)


@pytest.mark.parametrize(("board", "shares"), [*ROADS, ((3, 3), (0.2, 0.1))])
def test_roads_by_connectivity(board, shares):
    removed, diagonals = shares
    for seed in range(2):
        formula = families.road_reliability(seed, *board, removed=removed, diagonals=diagonals)
        pairs = [[] for _ in formula.sampling_set]
        for vertex, variables in enumerate(formula.xors):
            for variable in variables.tolist():
                pairs[variable - len(pairs) - 1].append(vertex)
        town = nx.Graph(pairs)
        town.add_nodes_from(range(board[0] * board[1]))
        assert nx.is_connected(town) and nx.check_planarity(town)[0]
        grid = 2 * board[0] * board[1] - sum(board)
        kept = max(board[0] * board[1] - 1, grid - round(removed * grid))
        squares = (board[0] - 1) * (board[1] - 1)
        assert len(pairs) == kept + diagonals * squares or 0.1 in shares
        assert 2.0 ** peers.ganak(formula, seed=0) == pytest.approx(connecting_sets(town, pairs))


def connecting_sets(town, pairs):
    corners, number = (0, len(town) - 1), 0
    for kept in itertools.product([False, True], repeat=len(pairs)):
        graph = nx.Graph(itertools.compress(pairs, kept))
        graph.add_nodes_from(corners)
        number += nx.has_path(graph, *corners)
    return number


def test_draws_depend_on_the_seed_alone(tmp_path):
    makers = [
        lambda seed: families.random_circuit(seed, 5, 20, num_forced=1, window=4, shuffled=True),
        lambda seed: families.bounded_model_checking(seed, 6, 3),
        lambda seed: families.feature_tree(seed, 30, 5),
        lambda seed: families.road_reliability(seed, 4, 4),
    ]
    for make in makers:
        assert make(1).digest() == make(1).digest() != make(2).digest()
        dimacs.write(make(1), tmp_path / "f.cnf")
        assert dimacs.read(tmp_path / "f.cnf").digest() == make(1).digest()
    # Written down: the same formulas on every machine and in every version.
    first = families.random_circuit(1, 3, 2).clauses.tolist()
    assert first == [[4, -2, 1], [4, 2, -1], [-4, 2, 1], [-4, -2, -1], [-5, -4, -1], [5, 4], [5, 1]]


@pytest.mark.parametrize(
    "make, arguments",
    [
        (families.random_circuit, (0, 1, 5)),
        (families.random_circuit, (0, 2, -1)),
        (families.bounded_model_checking, (0, 0, 1)),
        (families.bounded_model_checking, (0, 1, 0)),
        (families.feature_tree, (0, 0)),
        (families.feature_tree, (0, 1, 1)),
        (families.feature_tree, (0, 3, -1)),
        (families.road_reliability, (0, 0, 1)),
    ],
)
def test_refuses_impossible_sizes(make, arguments):
    with pytest.raises(ValueError, match="expected .* given"):
        make(*arguments)


@pytest.mark.parametrize(
    "options",
    [{"window": 1}, {"window": 0}, {"share_xor": 1.1}, {"num_forced": 4}, {"num_forced": -1}],
)
def test_refuses_impossible_circuits(options):
    with pytest.raises(ValueError, match="expected .* given"):
        families.random_circuit(0, 3, 3, **options)


def test_refuses_impossible_roads():
    for shares in ({"removed": -0.1}, {"diagonals": 1.1}):
        with pytest.raises(ValueError, match="expected shares of 0 to 1, given"):
            families.road_reliability(0, 2, 2, **shares)
