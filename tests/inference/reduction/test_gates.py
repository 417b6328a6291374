"""Gates against enumeration: an output has one value at most for each values of the others."""

import collections
import random

import numpy as np
import planted
import pytest

import reference
from inference import limits
from inference.problems import cnf
from inference.reduction import gates, normal


def found(clauses):
    """Gates as pairs of their variables and their outputs, sorted."""
    all_gates = gates.find(normal.clauses_only(cnf.from_clauses(clauses)))
    groups, pairs, at = all_gates.variables.tolist(), [], 0
    for group in groups:
        is_output = all_gates.is_output[at : at + len(group)]
        pairs.append((sorted(group), sorted(v for v, out in zip(group, is_output) if out)))
        at += len(group)
    return sorted(pairs)


def check(formula):
    """Everything that is found holds in all models; returns how many gates there are."""
    plain = normal.clauses_only(formula)
    all_gates = gates.find(plain)
    models = reference.models(plain.num_variables, plain.clauses.tolist())
    at = 0
    for group in all_gates.variables.tolist():
        is_output = all_gates.is_output[at : at + len(group)]
        at += len(group)
        assert len(set(group)) == len(group) and is_output.any()
        for output in np.array(group)[is_output].tolist():
            values = collections.defaultdict(set)
            for model in models:
                others = tuple(model[v - 1] for v in group if v != output)
                values[others].add(model[output - 1])
            assert all(len(some) == 1 for some in values.values())
    return len(all_gates.variables)


def test_gates_hold_in_all_models():
    assert sum(check(planted.formula(random.Random(seed))) for seed in range(150)) > 300


def test_mutant_almost_a_gate(monkeypatch):
    honest = gates._is_determined
    monkeypatch.setattr(gates, "_is_determined", lambda p, size: honest(p | 1, size))
    with pytest.raises(AssertionError):
        for seed in range(200):
            check(planted.formula(random.Random(seed)))


def test_mutant_half_an_and_gate(monkeypatch):
    honest = gates._is_in
    monkeypatch.setattr(gates, "_is_in", lambda keys, key: honest(keys, key) | (key % 3 == 0))
    with pytest.raises(AssertionError):
        for seed in range(200):
            check(planted.formula(random.Random(seed)))


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (1, -1, -1), (-1, -1, -1)])
def test_and_gates_of_any_polarity(signs):
    o, a, b = (sign * v for sign, v in zip(signs, (2, 1, 3)))
    gate = [[-o, a], [b, -o], [-b, o, -a]]
    assert found(gate) == [([1, 2, 3], [2])]
    assert found(gate[:2]) == found(gate[1:]) == []


def test_wide_and_gates():
    inputs = list(range(1, 40))
    assert found([[-40, x] for x in inputs] + [[40, *(-x for x in inputs)]]) == [
        ([*inputs, 40], [40])
    ]


@pytest.mark.parametrize("size", [2, 3, 4, 5])
@pytest.mark.parametrize("odd", [False, True])
def test_exclusive_ors_and_their_halves(size, odd):
    rng = random.Random(size)
    from inference.problems import xor_clauses

    clauses = xor_clauses._direct(list(range(1, size + 1)), odd)
    rng.shuffle(clauses)
    everything = list(range(1, size + 1))
    assert found(clauses) == [(everything, everything)]
    assert found(clauses[1:]) == []


def test_choices():
    c, t, e, o = 1, -2, 3, -4
    clauses = [[-c, -t, o], [-c, t, -o], [c, -e, o], [c, e, -o]]
    assert found(clauses) == [([1, 2, 3, 4], [4])]
    for missing in range(4):
        assert found(clauses[:missing] + clauses[missing + 1 :]) == []


def test_exactly_one_determines_each():
    assert found(cnf.exactly_one([1, 2, 3, 4])) == [([1, 2, 3, 4], [1, 2, 3, 4])]


def test_functions_of_three_inputs():
    rng = random.Random(1)
    table = collections.defaultdict(lambda: rng.random() < 0.5)
    clauses = planted.function_clauses(4, [1, -2, 3], table)
    assert [4] == found(clauses)[0][1] or 4 in found(clauses)[0][1]
    assert found(clauses[1:]) == [] or 4 not in found(clauses[1:])[0][1]


def test_units_repeats_and_tautologies():
    assert found([[3], [-3, -3], [1, -1]]) == [([3], [3])]
    assert found([[2, 2, -1], [1, -2], [1, -2]]) == [([1, 2], [1, 2])]
    assert found([]) == found([[]]) == []


def test_time_may_end_it():
    with pytest.raises(limits.OutOfTime):
        gates.find(cnf.from_clauses([[1, 2]]), limits.Deadline.after(0.0))
    with pytest.raises(limits.OutOfTime):
        normal.clauses_only(cnf.from_clauses([[1, 2]]), limits.Deadline.after(0.0))


def test_clauses_without_repeats_have_the_same_models():
    for seed in range(60):
        formula = planted.formula(random.Random(seed), most=6)
        plain = normal.clauses_only(formula)
        for clause in plain.clauses.tolist():
            assert [abs(x) for x in clause] == sorted({abs(x) for x in clause})
        n, xors = formula.num_variables, zip(formula.xors.tolist(), formula.xor_rhs.tolist())
        models = reference.models(n, formula.clauses.tolist(), list(xors))
        again = reference.models(plain.num_variables, plain.clauses.tolist())
        assert sorted(model[:n] for model in again) == sorted(models)
