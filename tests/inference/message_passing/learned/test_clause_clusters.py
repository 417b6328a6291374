"""Clusters keep the number of models, and leave little where little is left to count."""

import itertools
import math

import numpy as np
import pytest

from inference.message_passing.learned import clause_clusters
from inference.problems import cnf


def random_formula(seed):
    """Clauses of 1 to 8 literals with repeats and tautologies, sometimes an XOR; at most 9 vars."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 10))
    clauses = [
        (rng.integers(1, n + 1, size) * rng.choice([-1, 1], size)).tolist()
        for size in rng.integers(1, 9, rng.integers(0, 16))
    ]
    xors = [(rng.integers(1, n + 1, 7).tolist(), bool(seed % 2))] * int(rng.random() < 0.3)
    return cnf.from_clauses(clauses, num_variables=n, xors=xors)


def enumerate_models(formula):
    every = itertools.product((False, True), repeat=formula.num_variables)
    return int(formula.is_satisfied(np.array(list(every)).reshape(-1, formula.num_variables)).sum())


def enumerate_clusters(clusters):
    """exp(log_constant) times the sum over assignments of the product of all tables."""
    scopes = [
        (variables.tolist(), values)
        for table in clusters.tables
        for variables, values in zip(table.variables.T, table.values.T)
    ]
    used = sorted({variable for scope, _ in scopes for variable in scope})
    total = 0.0
    for states in itertools.product((0, 1), repeat=len(used)):
        state, weight = dict(zip(used, states)), 1.0
        for scope, values in scopes:
            weight *= values[int("".join(str(state[v]) for v in scope), 2)]
        total += weight
    return total * math.exp(clusters.log_constant[0])


@pytest.mark.parametrize("rounds", [0, 1, 2, 10])
def test_number_of_models_is_kept(rounds):
    for seed in range(100 if rounds == 10 else 30):
        formula = random_formula(seed)
        clusters = clause_clusters.build([formula], rounds=rounds)
        if len(np.unique(np.concatenate([t.variables.ravel() for t in clusters.tables]))) < 15:
            total = enumerate_clusters(clusters)
            assert total == pytest.approx(enumerate_models(formula), rel=1e-6), seed


def test_formulas_side_by_side_are_as_alone():
    formulas = [random_formula(seed) for seed in range(30)]
    together = clause_clusters.build(formulas)
    for number, formula in enumerate(formulas):
        alone = clause_clusters.build([formula])
        assert together.log_constant[number] == pytest.approx(alone.log_constant[0])
        for both, one in zip(together.tables, alone.tables, strict=True):
            mine = together.formula[both.variables[0]] == number
            assert mine.sum() == one.variables.shape[1]
            ours, theirs = both.values[:, mine], one.values
            ours, theirs = (values[:, np.lexsort(values)] for values in (ours, theirs))
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def gate(output, inputs):
    return [[output, -i] for i in inputs] + [[-output, *inputs]]


def test_gates_that_nothing_reads_go():
    clauses = gate(5, [1, 2, 3, 4]) + gate(6, [2, 3, 4]) + gate(7, [5, 6])
    clusters = clause_clusters.build([cnf.from_clauses(clauses)])
    assert all(table.variables.size == 0 for table in clusters.tables)
    assert clusters.log_constant[0] == pytest.approx(4 * math.log(2))


def test_an_output_known_false_fixes_all_inputs():
    clauses = [*gate(5, [1, 2, 3, 4]), [-5], [1, 6, 7]]
    clusters = clause_clusters.build([cnf.from_clauses(clauses, num_variables=8)])
    assert all(table.variables.size == 0 for table in clusters.tables)
    assert clusters.log_constant[0] == pytest.approx(math.log(3 * 2))


def test_contradictions_are_found():
    for clauses in ([[]], [[1], [-1]], [[1], [-1, 2], [-2, 3], [-3]], [[1, 2], [-1, 2], [-2]]):
        clusters = clause_clusters.build([cnf.from_clauses(clauses, num_variables=3)])
        assert clusters.log_constant[0] == -np.inf, clauses


def test_nothing_to_count():
    assert clause_clusters.build([]).log_constant.shape == (0,)
    for n in (0, 3):
        clusters = clause_clusters.build([cnf.from_clauses([], num_variables=n)])
        assert clusters.log_constant[0] == pytest.approx(n * math.log(2))


def test_wide_clauses_take_space_in_proportion():
    clauses = [list(range(1, 201)), [-1, 200], [-50, 2]]
    clusters = clause_clusters.build([cnf.from_clauses(clauses)])
    entries = sum(table.values.size for table in clusters.tables)
    assert max(len(table.variables) for table in clusters.tables) <= clause_clusters.WIDTH
    assert entries <= 200 * 2**clause_clusters.WIDTH


def test_refuses_what_it_would_count_wrong():
    with pytest.raises(ValueError, match="without weights"):
        clause_clusters.build([cnf.from_clauses([[1]], log_weights=np.zeros((1, 2)))])
    with pytest.raises(ValueError, match="all 2 variables in the sampling set, given 1"):
        clause_clusters.build([cnf.from_clauses([[1, 2]], projection=[1])])
    clause_clusters.build([cnf.from_clauses([[1, 2]], projection=[1, 2])])
