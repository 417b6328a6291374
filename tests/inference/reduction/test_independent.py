"""The parts of the search for an independent support, each against enumeration."""

import itertools
import random
import time

import numpy as np
import planted
import pysolvers
import pytest
from pysat import solvers

import reference
from inference import limits
from inference.problems import cnf, generators
from inference.reduction import (
    closure,
    definability,
    definitions,
    flips,
    gates,
    independent,
    normal,
    questions,
    support,
)


def models_of(formula):
    xors = zip(formula.xors.tolist(), formula.xor_rhs.tolist())
    return reference.models(formula.num_variables, formula.clauses.tolist(), list(xors))


def defines(models, some, others):
    """Whether models that agree on some variables agree on others."""
    few = {tuple(model[v - 1] for v in some) for model in models}
    return len(few) == len({tuple(model[v - 1] for v in [*some, *others]) for model in models})


def circuit(seed, inputs, gates_, kinds=("and", "xor", "majority"), shuffled=True):
    """A circuit of random gates over earlier variables, all sampled."""
    rng = random.Random(seed)
    names = list(range(1, inputs + gates_ + 1))
    if shuffled:
        rng.shuffle(names)
    clauses = []
    for place in range(inputs, len(names)):
        a, b, c = (rng.choice([-1, 1]) * names[i] for i in rng.sample(range(place), 3))
        o, kind = names[place], rng.choice(kinds)
        if kind == "and":
            clauses += [[-o, a], [-o, b], [o, -a, -b]]
        elif kind == "xor":
            clauses += [[-o, a, b], [-o, -a, -b], [o, -a, b], [o, a, -b]]
        else:
            pairs = list(itertools.combinations((a, b, c), 2))
            clauses += [[-x, -y, o] for x, y in pairs] + [[x, y, -o] for x, y in pairs]
    rng.shuffle(clauses)
    return cnf.from_clauses(clauses, num_variables=len(names))


def test_a_support_defines_all_sampling_variables():
    for seed in range(150):
        formula = planted.formula(random.Random(seed))
        sampled, models = formula.sampling_set.tolist(), models_of(formula)
        found = independent.find(formula).tolist()
        assert set(found) <= set(sampled) and defines(models, found, sampled)
        by_gates = independent.by_gates(formula).support.tolist()
        assert set(by_gates) <= set(sampled) and defines(models, by_gates, sampled)


def test_inputs_make_all_known():
    for seed in range(150):
        formula = planted.formula(random.Random(seed))
        plain, sampled = normal.clauses_only(formula), formula.sampling_set
        graph = closure.Graph(gates.find(plain), plain.num_variables)
        for found in (closure.inputs(graph, sampled), closure.forward(graph, sampled.tolist())):
            assert set(found) <= set(sampled.tolist())
            assert defines(models_of(plain), found, sampled.tolist())


def test_mined_gates_hold_in_all_models():
    number = 0
    for seed in range(150):
        plain = normal.clauses_only(planted.formula(random.Random(seed)))
        variables = list(range(1, plain.num_variables + 1))
        budget = questions.Budget(10**6)
        found = definitions.mine(plain, variables, gates.NONE, budget).variables.tolist()
        models = models_of(plain)
        assert all(defines(models, group[1:], group[:1]) for group in found)
        number += len(found)
    assert number > 150


def test_what_flips_is_defined_by_nothing_else():
    number = 0
    for seed in range(150):
        plain = normal.clauses_only(planted.formula(random.Random(seed)))
        kept = [v for v in range(1, plain.num_variables + 1) if v % 3 != seed % 3]
        models = models_of(plain)
        with flips.Models(plain, questions.Budget(10**6)) as some:
            assert some.satisfiable == bool(models)
            found = some.undefined(kept)
        for v in found:
            assert not defines(models, [x for x in kept if x != v], [v])
        number += len(found)
    assert number > 100


def test_what_is_dropped_is_defined_by_what_is_left():
    for seed in range(150):
        rng = random.Random(seed)
        plain = normal.clauses_only(planted.formula(rng))
        variables = list(range(1, plain.num_variables + 1))
        rng.shuffle(variables)
        fixed, order = variables[::3], [v for v in variables if v not in variables[::3]]
        left = definability.drop(plain, order, fixed, questions.Budget(10**6))
        assert set(left) <= set(order)
        assert defines(models_of(plain), [*fixed, *left], variables)


@pytest.mark.parametrize("shuffled", [False, True])
def test_circuits_come_down_to_their_inputs(shuffled):
    formula = circuit(1, 20, 1000, ("and", "xor"), shuffled)
    assert len(independent.by_gates(formula).support) == 20
    assert len(independent.find(circuit(1, 20, 400, shuffled=shuffled))) <= 25
    assert len(independent.find(circuit(1, 20, 400, ("majority",), shuffled))) == 20


@pytest.mark.parametrize("limit", ["MODEL_WORK", "QUERY_WORK", "FIRST_CONFLICTS", "MOST_WORK"])
def test_a_limit_that_is_hit_only_keeps_variables(monkeypatch, limit):
    for value in (0, 1):
        monkeypatch.setattr(independent, limit, value)
        for seed in range(30):
            formula = planted.formula(random.Random(seed))
            found = independent.find(formula).tolist()
            assert defines(models_of(formula), found, formula.sampling_set.tolist())


def test_a_question_keeps_to_its_limits():
    """On parities, which take resolution long."""
    rng = np.random.default_rng(1)
    sides = [(1 + np.flatnonzero(rng.integers(2, size=40)), True) for _ in range(30)]
    plain = normal.clauses_only(cnf.from_clauses([], num_variables=40, xors=sides))
    with solvers.Solver(name="minisat22", bootstrap_with=plain.clauses.tolist()) as solver:
        budget = questions.Budget(10**9)
        assert questions.ask(solver, [], budget, conflicts=50) is None
        assert 50 <= solver.accum_stats()["conflicts"] < 60
        assert budget.conflicts == 100_000 - solver.accum_stats()["conflicts"]
        few = questions.Budget(1000)
        assert questions.ask(solver, [], few, conflicts=10**6) is None
        assert -1000 < few.left <= 0
        with pytest.raises(limits.OutOfTime):
            questions.ask(solver, [], budget, conflicts=9, deadline=limits.Deadline.after(0.0))


def test_ctrl_c_inside_a_question(monkeypatch):
    def interrupted(self, assumptions):
        raise pysolvers.error("Caught keyboard interrupt")

    monkeypatch.setattr(solvers.Solver, "solve_limited", interrupted)
    with pytest.raises(KeyboardInterrupt):
        independent.find(cnf.from_clauses([[1, 2], [-1, 3]]))


def test_a_large_formula_ends_soon_after_the_deadline():
    formula = generators.random_ksat(1, 50_000, 100_000)
    for seconds in (0.05, 0.5):
        start = time.monotonic()
        support.reduce(formula, deadline=limits.Deadline.after(seconds))
        assert time.monotonic() - start < seconds + 1.5  # half a second on an idle machine
