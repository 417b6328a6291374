import itertools

import numpy as np
import pytest

from hashing.counting import proofs, repairs
from inference import limits
from inference.problems import cnf, generators


def free_by_list(formula, fixed, assumptions):
    """The fixed variables whose flip maps the models over the fixed ones to models, by listing."""
    n = formula.num_variables
    every = itertools.product([False, True], repeat=n)
    units = [[literal] for literal in assumptions]
    clauses = [*formula.clauses.tolist(), *units]
    xors = list(zip(formula.xors.tolist(), formula.xor_rhs.tolist()))
    models = [
        x
        for x in every
        if all(any(x[abs(y) - 1] == (y > 0) for y in clause) for clause in clauses)
        and all(sum(x[v - 1] for v in names) % 2 == side for names, side in xors)
    ]
    shown = {tuple(x[v - 1] for v in fixed) for x in models}
    flips = np.eye(len(fixed), dtype=bool)
    return [
        variable
        for variable, flip in zip(fixed, flips)
        if all(tuple(np.logical_xor(x, flip).tolist()) in shown for x in shown)
    ]


def random_formula(rng):
    n = 8
    clauses = [
        (rng.choice(n, size, replace=False) + 1) * rng.choice([-1, 1], size)
        for size in rng.integers(2, 4, rng.integers(1, 9))
    ]
    sizes = rng.integers(2, 5, rng.integers(0, 3))
    xors = [
        ((rng.choice(n, size, replace=False) + 1).tolist(), rng.random() < 0.5) for size in sizes
    ]
    return cnf.from_clauses([c.tolist() for c in clauses], num_variables=n, xors=xors)


def prover_of(formula, fixed, assumptions=(), solver="cadical153"):
    """Of the clauses as they are, or of what elimination leaves of them."""
    clauses, number = proofs._as_clauses(formula, assumptions)
    return repairs.Prover(clauses, number, fixed, solver)


@pytest.mark.parametrize("solver", ["cadical153", "cryptominisat5", "minisat22"])
def test_variables_are_proven_free_where_a_list_of_models_says_so(solver):
    rng, answers = np.random.default_rng(3), []
    for _ in range(40):
        formula = random_formula(rng)
        fixed = (np.sort(rng.choice(8, 5, replace=False)) + 1).tolist()
        literals = [int(rng.choice([-1, 1]) * rng.integers(1, 9))] if rng.random() < 0.3 else []
        fixed = [v for v in fixed if v not in np.abs(literals)]
        prover = prover_of(formula, fixed, literals, solver)
        found = [v for v in fixed if prover.is_free(v)]
        prover.close()
        assert found == free_by_list(formula, fixed, literals)
        answers += [v in found for v in fixed]
    assert 30 < sum(answers) < len(answers) - 30


def test_a_variable_that_is_bound_for_one_model_in_many_is_not_free():
    formula = cnf.from_clauses([[-x for x in range(1, 31)]])
    assert not prover_of(formula, range(1, 31)).is_free(30)
    # Beside one more variable that nothing counts each of them is free.
    formula = cnf.from_clauses([[-x for x in range(1, 32)]])
    assert all(prover_of(formula, range(1, 31)).is_free(v) for v in range(1, 31))


def test_repairs_reach_along_chains():
    # 1 equals 2, which equals 3, up to 40: what is flipped first is free if no other is fixed.
    pairs = [c for v in range(1, 40) for c in ([-v, v + 1], [v, -v - 1])]
    formula = cnf.from_clauses(pairs, xors=[([40, 41, 42, 43, 44, 45], True)])
    assert all(prover_of(formula, [1, 41, 42]).is_free(v) for v in (1, 41, 42))
    assert not prover_of(formula, [1, 40]).is_free(1)


def test_without_models_all_are_free():
    assert prover_of(cnf.from_clauses([[1], [-1], [2, 3]]), [1, 2]).is_free(2)


def test_limits(monkeypatch):
    prover = prover_of(generators.random_ksat(0, 30, 100), range(1, 6))
    with pytest.raises(limits.OutOfTime):
        prover.is_free(1, limits.Deadline.after(-1.0))
    monkeypatch.setattr(repairs, "MAX_REPAIRS", 0)
    with pytest.raises(limits.OutOfTime):
        prover.is_free(1)
