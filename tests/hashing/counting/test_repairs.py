import itertools
import math
import time

import numpy as np
import pytest

from hashing.counting import repairs
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


@pytest.mark.parametrize("solver", ["cadical153", "cryptominisat5", "minisat22"])
def test_variables_are_proven_free_where_a_list_of_models_says_so(solver):
    rng, answers = np.random.default_rng(3), []
    for _ in range(40):
        formula = random_formula(rng)
        fixed = np.sort(rng.choice(8, 5, replace=False) + 1)
        assumptions = rng.choice([-1, 1], 1) * rng.integers(1, 9, 1) if rng.random() < 0.3 else []
        literals = [int(x) for x in assumptions]
        prover = repairs.Prover(formula, fixed, literals, solver)
        found = [v for v in fixed.tolist() if prover.is_free(v)]
        prover.close()
        assert found == free_by_list(formula, fixed.tolist(), literals)
        answers += [v in found for v in fixed]
    assert 30 < sum(answers) < len(answers) - 30


def test_a_variable_that_is_bound_for_one_model_in_many_is_not_free():
    formula = cnf.from_clauses([[-x for x in range(1, 31)]])
    prover = repairs.Prover(formula, np.arange(1, 31), [], "cadical153")
    assert not prover.is_free(30)
    # Beside one more variable that nothing counts each of them is free.
    formula = cnf.from_clauses([[-x for x in range(1, 32)]])
    prover = repairs.Prover(formula, np.arange(1, 31), [], "cadical153")
    assert all(prover.is_free(v) for v in range(1, 31))


def test_repairs_reach_along_chains():
    # 1 equals 2, which equals 3, up to 40: what is flipped first is free if no other is fixed.
    pairs = [c for v in range(1, 40) for c in ([-v, v + 1], [v, -v - 1])]
    formula = cnf.from_clauses(pairs, xors=[([40, 41, 42, 43, 44, 45], True)])
    prover = repairs.Prover(formula, np.array([1, 41, 42]), [], "cadical153")
    assert all(prover.is_free(v) for v in (1, 41, 42))
    prover = repairs.Prover(formula, np.array([1, 40]), [], "cadical153")
    assert not prover.is_free(1)


def test_what_is_assumed_is_not_free_and_no_models_make_all_free():
    formula = cnf.from_clauses([[1, 2, 3]])
    assert not repairs.Prover(formula, np.array([1]), [1], "cadical153").is_free(1)
    formula = cnf.from_clauses([[1], [-1], [2, 3]])
    assert repairs.Prover(formula, np.array([1, 2]), [], "cadical153").is_free(2)


def test_limits(monkeypatch):
    formula = generators.random_ksat(0, 30, 100)
    prover = repairs.Prover(formula, np.arange(1, 6), [], "cadical153")
    with pytest.raises(repairs.OutOfTime):
        prover.is_free(1, time.monotonic() - 1.0)
    monkeypatch.setattr(repairs, "MAX_REPAIRS", 0)
    with pytest.raises(repairs.OutOfTime):
        prover.is_free(1, math.inf)
