"""Reduced formulas against enumeration of what was reduced."""

import functools
import itertools
import math
import random
import time
import tracemalloc

import numpy as np
import planted
import pytest
from scipy import stats

import reference
from hashing.counting import approxmc
from inference import limits
from inference.problems import cnf, generators
from inference.reduction import definability, independent, parities, preprocess, support

GATES = [[-3, 1], [-3, 2], [3, -1, -2], [3, 4]]


def projections(formula, variables, assumptions=()):
    """The assignments of ``variables`` that extend to a model, by enumeration."""
    xors = zip(formula.xors.tolist(), formula.xor_rhs.tolist())
    clauses = [*formula.clauses.tolist(), *([x] for x in assumptions)]
    models = reference.models(formula.num_variables, clauses, list(xors))
    return {tuple(model[v - 1] for v in variables) for model in models}


def random_formula(rng):
    """Clauses, gates, equivalences, units, XORs, repeats, tautologies, unused variables."""
    n = rng.randint(1, 7)

    def literal():
        return rng.choice([-1, 1]) * rng.randint(1, n)

    def some(size):
        return [literal() for _ in range(size)]

    clauses = [some(rng.choice([2, 3, 3, 4])) for _ in range(rng.randint(0, 8))]
    for _ in range(rng.randint(0, 3)):
        gate, a, b = some(3)
        clauses += rng.choice([[[-gate, a], [-gate, b], [gate, -a, -b]], [[gate, -a], [-gate, a]]])
    clauses += [[literal()] for _ in range(rng.choice([0, 0, 0, 1, 2]))]
    clauses += [[]] * (rng.random() < 0.02)
    xors = [(np.abs(some(rng.randint(0, 4))), rng.random() < 0.5) for _ in range(2)]
    n += rng.choice([0, 0, 2])
    sampled = rng.choice([None, [], rng.sample(range(1, n + 1), rng.randint(0, n))])
    return cnf.from_clauses(
        clauses, num_variables=n, xors=xors[: rng.randint(0, 2)], projection=sampled
    )


def check(formula, reduction, keep=()):
    """Everything a reduction promises; returns how many variables are hashed."""
    residual, sampled = reduction.formula, formula.sampling_set.tolist()
    hashed, free = reduction.support.tolist(), reduction.free.tolist()
    assert sorted({*hashed, *free}) == sorted([*hashed, *free])
    assert {*hashed, *free} <= set(sampled)
    assert set(keep) <= set(reduction.variables.tolist())
    columns = residual.sampling_set.tolist()
    assert projections(residual, columns) == projections(formula, hashed)
    size = len(projections(formula, sampled))
    assert len(projections(residual, columns)) << len(free) == size
    # What is neither hashed nor free is defined.
    assert len(projections(formula, [*hashed, *free])) == size
    for signs in itertools.product([-1, 1], repeat=len(keep)):
        assumed = [sign * v for sign, v in zip(signs, keep)]
        number = {v: i + 1 for i, v in enumerate(reduction.variables.tolist())}
        renamed = [sign * number[v] for sign, v in zip(signs, keep)]
        inside = projections(residual, columns, renamed)
        assert len(inside) << len(free) == len(projections(formula, sampled, assumed))
    return len(hashed)


def check_many(seeds, draw=random_formula, **options):
    """How many variables were sampled and how many hashed, over random formulas."""
    sampled, hashed = 0, 0
    for seed in seeds:
        rng = random.Random(seed)
        formula = draw(rng)
        names = range(1, formula.num_variables + 1)
        keep = rng.sample(names, rng.randint(0, min(2, len(names)))) if seed % 2 else []
        sampled += len(formula.sampling_set)
        hashed += check(formula, support.reduce(formula, keep=keep, **options), keep)
    return sampled, hashed


def test_the_count_stays():
    sampled, hashed = check_many(range(300))
    assert hashed < 0.5 * sampled


def test_the_count_stays_with_gates_of_all_kinds():
    sampled, hashed = check_many(range(150), planted.formula)
    assert hashed < 0.5 * sampled


@pytest.mark.slow
def test_the_count_stays_for_many():
    check_many(range(1000, 21_000), planted.formula)


def test_no_time_for_definability():
    sampled, hashed = check_many(range(300, 400), deadline=limits.Deadline.after(-1.0))
    _, defined = check_many(range(300, 400))
    assert defined < hashed < sampled


def test_the_formula_may_be_too_large_to_preprocess(monkeypatch):
    monkeypatch.setattr(preprocess, "MAX_LITERALS", 0)
    check_many(range(460, 520))


def test_unreduced_is_the_formula_itself():
    for seed in range(60):
        formula = random_formula(random.Random(seed))
        reduction = support.unreduced(formula, keep=[1], deadline=limits.Deadline(0.0))
        assert reduction.formula is formula
        assert reduction.support.tolist() == formula.sampling_set.tolist()
        check(formula, reduction, [1])


# ------------------------------------------------------------------------------------------------
# Mutants: each breaks the reduction in one place and must be caught.


def test_mutant_everything_is_defined(monkeypatch):
    monkeypatch.setattr(definability, "_has_no_model", lambda *_: True)
    with pytest.raises(AssertionError):
        check_many(range(100))


def test_mutant_the_support_lacks_one(monkeypatch):
    honest = independent.find
    monkeypatch.setattr(independent, "find", lambda *a, **o: honest(*a, **o)[1:])
    with pytest.raises(AssertionError):
        check_many(range(20))


def test_mutant_sampling_variables_may_be_eliminated(monkeypatch):
    honest = preprocess.simplify
    monkeypatch.setattr(preprocess, "simplify", lambda f, keep, **o: honest(f, keep[1:], **o))
    with pytest.raises(AssertionError):
        check_many(range(100))


# ------------------------------------------------------------------------------------------------
# What is found.


def test_what_gates_compute_is_defined():
    formula = cnf.from_clauses(GATES, num_variables=9)
    assert support.independent_support(formula).tolist() == [1, 2, 4, 5, 6, 7, 8, 9]
    reduction = support.reduce(formula)
    assert reduction.support.tolist() == [1, 2, 4]
    assert reduction.free.tolist() == [5, 6, 7, 8, 9]


def test_what_xors_define_is_not_hashed():
    formula = generators.parity_chain(3, 12, 20)
    assert len(support.reduce(formula).support) == 12


def test_equal_and_opposite_variables_are_hashed_once():
    formula = cnf.from_clauses([[1, -2], [-1, 2], [2, 3], [-2, -3], [3, 4, 5]])
    assert len(support.reduce(formula).support) == 3


def test_variables_outside_the_sampling_set_are_eliminated():
    clauses = [[-6, 1], [-6, 2], [6, 3], [7, -8], [8, 4, 9]]
    formula = cnf.from_clauses(clauses, projection=[1, 2, 3, 4, 5])
    reduction = support.reduce(formula)
    check(formula, reduction)
    assert set(reduction.variables) <= {1, 2, 3}
    assert reduction.free.tolist() == [4, 5]


def test_no_variable_of_the_support_is_defined_by_the_others():
    for seed in range(40):
        formula = random_formula(random.Random(seed))
        found = support.independent_support(formula).tolist()
        size = len(projections(formula, found))
        for v in found if size else []:
            assert len(projections(formula, [x for x in found if x != v])) < size


@pytest.mark.parametrize("clauses", [[[1], [-1]], [[]], [[1, 2], [-1, 2], [1, -2], [-1, -2]]])
def test_without_models_nothing_is_hashed(clauses):
    formula = cnf.from_clauses(clauses, num_variables=5)
    reduction = support.reduce(formula)
    check(formula, reduction)
    assert len(reduction.support) == 0
    check(formula, support.reduce(formula, keep=[2]), [2])


def test_xors_that_contradict_each_other():
    formula = cnf.from_clauses([], xors=[([1, 2], True), ([2, 3], True), ([1, 3], True)])
    assert check(formula, support.reduce(formula)) == 0


@pytest.mark.parametrize("variables", [0, 1, 4])
def test_a_formula_without_clauses_is_all_free(variables):
    reduction = support.reduce(cnf.from_clauses([], num_variables=variables))
    assert reduction.free.tolist() == list(range(1, variables + 1))
    assert reduction.formula.num_variables == len(reduction.support) == 0


def test_an_empty_sampling_set_leaves_one_question():
    for clauses, models in ((GATES, 1), ([[1], [-1]], 0)):
        reduction = support.reduce(cnf.from_clauses(clauses, projection=[]))
        assert len(reduction.support) == len(reduction.free) == 0
        assert len(projections(reduction.formula, [])) == models


def test_kept_variables_stay_whatever_they_are():
    # 1 hashed, 3 defined, 6 free, 8 unused and not sampled, 9 fixed.
    formula = cnf.from_clauses([*GATES, [9]], num_variables=9, projection=[1, 2, 3, 4, 5, 6, 7, 9])
    keep = [9, 1, 3, 6, 8, 6]
    reduction = support.reduce(formula, keep=keep)
    check(formula, reduction, sorted(set(keep)))
    assert 6 in reduction.support and 6 not in reduction.free


def test_the_same_support_every_time():
    formula = generators.random_ksat(2, 60, 150)
    first, again = support.reduce(formula), support.reduce(formula)
    assert first.formula.digest() == again.formula.digest()
    assert np.array_equal(first.variables, again.variables)


def test_a_deadline_between_queries():
    formula = generators.latin_square(12)
    start = time.monotonic()
    reduction = support.reduce(formula, deadline=limits.Deadline.after(0.5))
    assert time.monotonic() - start < 2
    assert len(reduction.support) > 0


# ------------------------------------------------------------------------------------------------
# Counts after the reduction, with the solver, of formulas whose counts are known.


def enumerated_count(formula):
    from inference.exact import exhaustive

    return exhaustive.count(formula)[0].count


def of_random_clauses(formula):
    return formula, enumerated_count(formula)


def projected():
    clauses = generators.random_ksat(3, 20, 40).clauses
    return of_random_clauses(cnf.from_clauses(clauses, projection=range(1, 14)))


def gates():
    """And-gates over and-gates, the inputs the last variables."""
    rng, clauses = random.Random(1), generators.random_ksat(4, 12, 6).clauses.tolist()
    for gate in range(13, 22):
        a, b = (rng.choice([-1, 1]) * v for v in rng.sample(range(1, gate), 2))
        clauses += [[-gate, a], [-gate, b], [gate, -a, -b]]
    clauses.append([19, 20, -21])
    return of_random_clauses(
        cnf.from_clauses([[(22 - abs(x)) * (1, -1)[x < 0] for x in c] for c in clauses])
    )


def xors():
    clauses = generators.random_ksat(2, 19, 20).clauses
    sides = [([1, 4, 9, 16], True), ([2, 3, 5, 7, 11], False)]
    return of_random_clauses(cnf.from_clauses(clauses, xors=sides, num_variables=19))


def linear():
    """A linear subspace: its cells are empty, or large, as often as can be."""
    rng = np.random.default_rng(1)
    sides = [(1 + np.flatnonzero(rng.integers(2, size=30)), True) for _ in range(18)]
    return cnf.from_clauses([], num_variables=30, xors=sides), 2**12


def pairs():
    """Nine pairs that are not both false, each with a copy and a complement."""
    clauses = []
    for x in range(1, 37, 4):
        clauses += [[x, x + 1], [x, -x - 2], [-x, x + 2], [x + 1, x + 3], [-x - 1, -x - 3]]
    return cnf.from_clauses(clauses, num_variables=39), 8 * 3**9


def functions():
    """Functions from seven things to four."""
    rows = np.arange(1, 29).reshape(7, 4).tolist()
    clauses = [pair for row in rows for pair in itertools.combinations([-x for x in row], 2)]
    return cnf.from_clauses([*rows, *clauses]), 4**7


KNOWN = {
    "sparse": lambda: of_random_clauses(generators.random_ksat(1, 16, 14)),
    "dense": lambda: of_random_clauses(generators.random_ksat(1, 20, 40)),
    "projected": projected,
    "gates": gates,
    "xors": xors,
    "linear": linear,
    "pairs": pairs,
    "functions": functions,
    "chain": lambda: (generators.chain(20), generators.chain_count(20)),
    "parity chain": lambda: (generators.parity_chain(1, 16, 12), generators.chain_count(16)),
    "dominoes": lambda: (generators.domino_tilings(6, 6), generators.domino_tilings_count(6, 6)),
    "latin squares": lambda: (generators.latin_square(4), generators.LATIN_SQUARES[4]),
    "queens": lambda: (generators.n_queens(9), generators.QUEENS[9]),
}


@functools.cache
def known(name):
    return KNOWN[name]()


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN)
def test_coverage_over_known_counts(name, capsys):
    (formula, size), start = known(name), time.monotonic()
    found = support.reduce(formula)  # the same every time
    results = [approxmc.count(formula, seed=s, reduce=lambda *_, **__: found) for s in range(300)]
    truth, width, (one, info) = math.log(size), math.log(1.8), results[0]
    free = len(found.free) * math.log(2)
    values = np.array([i.scheme.log_value(r) + free for _, i in results for r in i.rounds])
    assert len(values) == 300 * info.scheme.rounds
    rates = {
        "final below": ([e.log_upper < truth for e, _ in results], one.failure_upper),
        "final above": ([e.log_lower > truth for e, _ in results], one.failure_lower),
        "rounds under": (values < truth - width, info.scheme.failure_under),
        "rounds over": (values > truth + width, info.scheme.failure_over),
    }
    columns = (
        f"{len(formula.sampling_set)} sampled, {len(found.support)} hashed, {len(found.free)} free"
    )
    with capsys.disabled():
        print(f"\n{name}: |S| {size}, {columns}, {time.monotonic() - start:.1f} s, misses", end="")
        for side, (missed, failure) in rates.items():
            print(f", {side} {sum(missed)} of {len(missed)} (claimed {failure:.3f})", end="")
    for missed, failure in rates.values():
        assert stats.binom.sf(sum(missed) - 1, len(missed), failure) > 1e-3


def test_xors_define_without_conflicts():
    rng = np.random.default_rng(0)
    xors = [(rng.choice(np.arange(1, 61), 30, replace=False).tolist(), True) for _ in range(40)]
    formula = cnf.from_clauses([], num_variables=60, xors=xors)
    assert len(support.independent_support(formula)) == 20
    result, _ = approxmc.count(formula, seed=1)
    assert result.log_lower <= 20 * math.log(2) <= result.log_upper
    # An XOR with a variable that is not sampled defines none of the others.
    partly = cnf.from_clauses([], xors=[([1, 2, 3], True)], projection=[1, 2])
    assert support.independent_support(partly).tolist() == [1, 2]


def test_contradicting_xors_have_no_model():
    formula = cnf.from_clauses([], xors=[([1, 2], True), ([2, 3], True), ([1, 3], True)])
    assert approxmc.count(formula, seed=1)[0].count == 0


def test_many_xors_take_little_memory():
    n = 6001
    formula = cnf.from_clauses([], num_variables=n, xors=[([v, v + 1], False) for v in range(1, n)])
    tracemalloc.start()
    found = parities.drop(formula, formula.sampling_set)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.tolist() == [n]
    assert peak < 30e6  # a byte for each entry takes 36 MB


def test_a_chain_of_xors_has_one_input():
    xors = [([v, v + 1], False) for v in range(1, 601)]
    assert len(support.independent_support(cnf.from_clauses([], xors=xors))) == 1


def test_a_stop_ends_a_reduction():
    formula = generators.latin_square(12)
    start = time.monotonic()
    stopped = limits.Deadline(stop=lambda: time.monotonic() > start + 0.3)
    reduction = support.reduce(formula, deadline=stopped)
    assert time.monotonic() - start < 2
    assert len(reduction.support) > 0
    check_many(range(300, 330), deadline=limits.Deadline(stop=lambda: True))


def test_assuming_is_conditioning():
    for seed in range(200):
        rng = random.Random(seed)
        formula = random_formula(rng)
        keep = rng.sample(range(1, formula.num_variables + 1), min(2, formula.num_variables))
        assumed = [rng.choice([-1, 1]) * v for v in keep[: rng.randint(0, 2)]]
        reduction = support.assume(support.reduce(formula, keep=keep), assumed)
        hashed, free = reduction.support.tolist(), reduction.free.tolist()
        assert not set(hashed) & set(free)
        size = len(projections(formula, formula.sampling_set.tolist(), assumed))
        inside = projections(reduction.formula, reduction.formula.sampling_set.tolist())
        assert inside == projections(formula, hashed, assumed)
        assert len(inside) << len(free) == size
        assert len(projections(formula, [*hashed, *free], assumed)) == size
