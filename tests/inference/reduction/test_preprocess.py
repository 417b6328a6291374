"""Simplified formulas against enumeration of what they keep."""

import random
import time

import numpy as np
import pysolvers
import pytest
from pysat import solvers

import reference
from inference import limits
from inference.problems import cnf, generators
from inference.reduction import preprocess


def projections(formula, keep):
    """The assignments of ``keep`` that extend to a model, by enumeration."""
    xors = list(zip(formula.xors.tolist(), formula.xor_rhs.tolist()))
    models = reference.models(formula.num_variables, formula.clauses.tolist(), xors)
    return {tuple(model[v - 1] for v in keep) for model in models}


def random_formula(rng):
    """Clauses of any length with repeats, tautologies, gates, units and now and then nothing."""
    n = rng.randint(1, 7)

    def literal():
        return rng.choice([-1, 1]) * rng.randint(1, n)

    clauses = [
        [literal() for _ in range(rng.choice([2, 3, 3, 5]))] for _ in range(rng.randint(0, 9))
    ]
    for _ in range(rng.randint(0, 2)):
        gate, a, b = literal(), literal(), literal()
        clauses += rng.choice([[[-gate, a], [-gate, b], [gate, -a, -b]], [[gate, -a], [-gate, a]]])
    clauses += [[literal()] for _ in range(rng.choice([0, 0, 1, 2]))]
    clauses += [[]] * (rng.random() < 0.03)
    xors = [([abs(literal()) for _ in range(rng.randint(0, 4))], rng.random() < 0.5)]
    rng.shuffle(clauses)
    return cnf.from_clauses(clauses, num_variables=n + 1, xors=xors * rng.randint(0, 1))


def check(seed):
    """One random formula and one random set of kept variables."""
    rng = random.Random(seed)
    formula = random_formula(rng)
    n = formula.num_variables
    keep = np.array(sorted(rng.sample(range(1, n + 1), rng.randint(0, n))), dtype=np.int32)
    simpler = preprocess.simplify(formula, keep, rounds=rng.choice([1, 2, 3]))
    assert simpler.num_variables == n
    everywhere = np.union1d(keep, formula.xors.values)
    assert projections(simpler, everywhere) == projections(formula, everywhere)
    return simpler.clauses.values.size < formula.clauses.values.size


def test_what_is_kept_extends_as_before():
    smaller = [check(seed) for seed in range(400)]
    assert sum(smaller) > 200


def test_mutant_without_frozen_variables_is_caught(monkeypatch):
    honest = solvers.Cadical153.process
    monkeypatch.setattr(
        solvers.Cadical153,
        "process",
        lambda self, rounds, freeze, **options: honest(self, rounds, **options, freeze=[]),
    )
    with pytest.raises(AssertionError):
        for seed in range(400):
            check(seed)


def test_what_defines_and_what_is_defined():
    # 3 is 1 and 2; 4 equals 1; 5 is fixed; 6 is in a tautology alone.
    clauses = [[-3, 1], [-3, 2], [3, -1, -2], [4, -1], [-4, 1], [5], [6, -6], [3, 4, 7]]
    formula = cnf.from_clauses(clauses)
    assert preprocess.simplify(formula, np.array([], dtype=np.int32)).num_clauses == 0
    for keep in ([1, 2, 7], [3, 4], [4, 5], [1, 4], [3, 5, 6, 7]):
        simpler = preprocess.simplify(formula, np.array(keep, dtype=np.int32))
        assert projections(simpler, keep) == projections(formula, keep)
        assert set(np.abs(simpler.clauses.values)) <= set(keep)


def test_the_rest_of_the_formula_stays():
    formula = cnf.from_clauses(
        [[1, 2], [-2, 3]], num_variables=9, xors=[([3, 4], True)], projection=[1, 3, 8]
    )
    simpler = preprocess.simplify(formula, formula.sampling_set)
    assert (simpler.num_variables, simpler.projection.tolist()) == (9, [1, 3, 8])
    assert (simpler.xors.tolist(), simpler.xor_rhs.tolist()) == ([[3, 4]], [True])
    assert simpler.clauses.tolist() == [[1, 3]] or simpler.clauses.tolist() == [[3, 1]]


@pytest.mark.parametrize(
    "clauses, expected",
    [([], 0), ([[]], 1), ([[1], [-1]], 1), ([[1, -1]], 0), ([[2, 2], [-2]], 1), ([[3], [3]], 1)],
)
def test_degenerate_formulas(clauses, expected):
    formula = cnf.from_clauses(clauses, num_variables=4)
    simpler = preprocess.simplify(formula, formula.sampling_set)
    assert simpler.num_clauses == expected
    assert projections(simpler, [1, 2, 3, 4]) == projections(formula, [1, 2, 3, 4])


def test_a_formula_without_variables():
    formula = cnf.from_clauses([])
    assert preprocess.simplify(formula, formula.sampling_set).num_variables == 0


def test_too_large_a_formula_is_returned_as_it_is(monkeypatch):
    formula = generators.random_ksat(1, 20, 40)
    monkeypatch.setattr(preprocess, "MAX_LITERALS", 119)
    assert preprocess.simplify(formula, formula.sampling_set) is formula
    monkeypatch.setattr(preprocess, "MAX_LITERALS", 120)
    assert preprocess.simplify(formula, np.zeros(0, dtype=np.int32)).num_clauses < 40


def test_the_same_formula_every_time():
    formula = generators.random_ksat(2, 60, 150)
    first, again = (preprocess.simplify(formula, np.arange(1, 20)) for _ in range(2))
    assert first.digest() == again.digest()


# ------------------------------------------------------------------------------------------------
# Limits.


def test_a_child_process_finds_the_same(monkeypatch):
    formula, keep = generators.random_ksat(2, 60, 150), np.arange(1, 20)
    here = preprocess.simplify(formula, keep, rounds=2)
    monkeypatch.setattr(preprocess, "CHILD_LITERALS", 0)
    assert (
        preprocess.simplify(formula, keep, rounds=2).digest() == here.digest() != formula.digest()
    )


def test_a_large_formula_is_given_up_at_the_deadline_or_a_stop():
    formula = generators.random_ksat(1, 100_000, 100_000)  # it takes several seconds
    start = time.monotonic()
    stopped = limits.Deadline(stop=lambda: time.monotonic() > start + 1)
    for deadline in (limits.Deadline(start + 0.5), stopped):
        assert preprocess.simplify(formula, np.arange(1, 9), deadline=deadline) is formula
    assert time.monotonic() - start < 3
    assert preprocess.simplify(formula, np.arange(1, 9), deadline=limits.Deadline(start)) is formula


def test_ctrl_c_while_the_formula_is_loaded(monkeypatch):
    def interrupted(self, formula):
        raise pysolvers.error("Caught keyboard interrupt")

    monkeypatch.setattr(solvers.Cadical153, "append_formula", interrupted)
    with pytest.raises(KeyboardInterrupt):
        preprocess.simplify(cnf.from_clauses([[1, 2]]), np.array([1]))
