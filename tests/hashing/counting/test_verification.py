import dataclasses
import itertools
import math

import numpy as np
import pytest

import reference
from hashing.counting import approxmc, extensions, guarantee, repairs, verification, witness
from hashing.parity import draws
from inference import estimate, randomness
from inference.problems import cnf, generators, parity_rows
from inference.reduction import support

RANDOM = generators.random_ksat(4, 14, 12).clauses.tolist()
# 15 is 1 or 2, 16 is 3 xor 15, 4 and 17 occur nowhere, 18 only beside 19, which is not sampled.
GATES = [*RANDOM, [-15, 1, 2], [15, -1], [15, -2], [-19, 18, 1], [19, -18], [19, -1]]
FORMULA = cnf.from_clauses(GATES, xors=[([3, 15, 16], True)], projection=range(1, 19))
XORS = cnf.from_clauses(
    generators.random_ksat(2, 19, 20).clauses, xors=[([1, 4, 9, 16], True), ([2, 3, 5], False)]
)
SMALL = [[1, 2, 3], [-1, 4], [2, -4, 5], [-3], [6, 5]]
ANY_SIZE = {
    "gates": (FORMULA, {}),
    "large tolerance": (FORMULA, {"epsilon": 6.0}),
    "small tolerance": (generators.random_ksat(1, 16, 14), {"epsilon": 0.3, "delta": 0.4}),
    "projected": (dataclasses.replace(FORMULA, projection=np.arange(4, 19, dtype=np.int32)), {}),
    "xors": (XORS, {}),
    "assumptions": (FORMULA, {"assumptions": [1, -16]}),
    "exact": (cnf.from_clauses(SMALL, num_variables=9), {}),
    "exact projected": (cnf.from_clauses(SMALL, projection=[1, 2]), {}),
    "exact over nothing": (cnf.from_clauses(SMALL, projection=[]), {}),
    "exact under an assumption": (cnf.from_clauses(SMALL, num_variables=9), {"assumptions": [-5]}),
    "no clauses": (cnf.from_clauses([], num_variables=40), {}),
    "no variables": (cnf.from_clauses([]), {}),
    "unsatisfiable": (cnf.from_clauses([[1], [-1]], num_variables=5), {}),
    "empty clause": (cnf.from_clauses([[]], num_variables=3), {"epsilon": 5.0}),
}


def claim(result, status, seed=0):
    """A claim as the command line prints it."""
    bits = {n: getattr(result, n) for n in ("log_value", "log_lower", "log_upper")}
    zero = result.log_upper == -math.inf and status == "done"
    return {
        **{name.replace("log", "log2"): nats / math.log(2) for name, nats in bits.items()},
        "failure_lower": result.failure_lower,
        "failure_upper": result.failure_upper,
        "claim": result.claim.value,
        "count": None if result.count is None else str(result.count),
        "seed": seed,
        "status": "unsatisfiable" if zero else status,
    }


def counted(formula, **options):
    """A claim, its witness and assignments."""
    result, info = approxmc.count(formula, seed=0, **options)
    found = result.witness
    return claim(result, info.status), found, extensions.extend(formula, found)


@pytest.fixture(scope="module")
def gates():
    return counted(FORMULA)


def refused(claimed, found, assignments, formula=FORMULA, **options):
    """The check that fails, and its words."""
    report = verification.check(formula, claimed, found, assignments, **options)
    assert not report.holds
    last = report.checks[-1]
    assert last.passed is False and report.level == f"refused: {last.what}: {last.detail}"
    return last.what, last.detail


# ------------------------------------------------------------------------------------------------
# Round trips.


@pytest.mark.parametrize("name", ANY_SIZE)
def test_counts_hold(name):
    formula, options = ANY_SIZE[name]
    stored = counted(formula, **options)
    report = verification.check(formula, *stored)
    assert report.holds and report.sides == "lower"
    assert report.level.startswith("lower side only: models checked")
    for solver in ("cadical153", "cryptominisat5"):
        report = verification.check(formula, *stored, solver=solver)
        assert report.holds and report.sides == "both", report
        assert report.level.startswith(f"both sides: cells re-solved by {solver}")
        assert ("assuming" in report.level) == ("assumptions" in options)


def test_what_the_report_says(gates):
    details = {one.what: one.detail for one in verification.check(FORMULA, *gates).checks}
    assert details["question"] == "epsilon 0.8, delta 0.2, seed 0: threshold 72, 3 rounds"
    assert details["reduction"].endswith("3 free, 2 taken for defined")
    assert details["rounds"] == "3 of 3 rounds, done"
    assert details["free variables"] == "2 in no clause, 1 more by resolution"
    details = {
        one.what: one for one in verification.check(FORMULA, *gates, solver="glucose4").checks
    }
    assert details["defined variables"].detail == "2 defined by support and free"


def test_few_models_still_test_free_variables_on_many_extensions():
    _, found, assignments = counted(cnf.from_clauses([[1], [-4, 2, 3], [4, -2], [4, -3]]))
    assert [len(extensions.fixed_bits(found, i)) for i in found.rounds] == [64]
    assert all(packed.shape == (4, 8) for packed in assignments.values())


def test_the_lower_side_of_the_models_alone():
    # At epsilon 0.8 a cell of 72 models counts for more than a next cell of none.
    one = witness.Round(5, np.zeros((72, 1)), np.zeros((73, 1)))
    found = witness.Witness("", (), b"i", 0.8, 0.2, np.zeros(9), np.zeros(0), {0: one})
    assert (
        verification._slack(found, guarantee.plan(0.8, 0.2))
        == "; from the models alone up to 0.031 bits less"
    )
    fewer = found._replace(rounds={0: one._replace(models=np.zeros((70, 1)))})
    assert verification._slack(fewer, guarantee.plan(0.8, 0.2)) == ""


@pytest.mark.parametrize("timeout", [0.0, -1.0])
def test_what_the_time_limit_cut_is_not_checked(gates, timeout):
    report = verification.check(FORMULA, *gates, solver="cadical153", timeout=timeout)
    assert [one.what for one in report.checks if one.passed is None] == [
        "defined variables",
        "complete cells",
    ]
    assert not report.holds and report.sides == "lower"
    assert report.level == (
        "lower side only: models checked, for the seed as given; "
        "not checked: defined variables, complete cells"
    )


# ------------------------------------------------------------------------------------------------
# Early ends.


def stopped_count(queries, **options):
    asked = itertools.count()
    result, info = approxmc.count(FORMULA, seed=0, stop=lambda: next(asked) > queries, **options)
    return len(info.rounds), claim(result, info.status), result.witness


def test_early_ends_hold_where_most_rounds_finished():
    numbers = set()
    for queries in range(0, 1000, 20):
        number, claimed, found = stopped_count(queries)
        if number in numbers:
            continue
        numbers.add(number)
        assignments = extensions.extend(FORMULA, found)
        if number in (2, 3):
            report = verification.check(FORMULA, claimed, found, assignments, solver="cadical153")
            assert report.holds and claimed["status"] == ("done" if number == 3 else "timeout")
        if number == 1:  # what rests on unfinished rounds is not stored; so it is not saved
            assert refused(claimed, found, assignments)[0] == "estimate"
    assert numbers == {0, 1, 2, 3}


def test_no_time_at_all_leaves_what_is_certain():
    claimed, found, assignments = counted(FORMULA, timeout=0.0)
    assert (claimed["status"], claimed["claim"]) == ("timeout", "certain")
    assert verification.check(FORMULA, claimed, found, assignments, solver="cadical153").holds


# ------------------------------------------------------------------------------------------------
# Tampered claims: one field is another.


@pytest.mark.parametrize(
    "field, value, what",
    [
        ("log2_value", lambda x: x + 1e-6, "estimate"),
        ("log2_lower", lambda x: x + 1e-6, "estimate"),
        ("log2_lower", lambda _: -math.inf, "estimate"),
        ("log2_upper", lambda x: x - 1e-6, "estimate"),
        ("log2_upper", lambda _: math.nan, "estimate"),
        ("failure_lower", lambda x: x - 1e-6, "estimate"),
        ("failure_upper", lambda _: 0.0, "estimate"),
        ("claim", lambda _: "certain", "estimate"),
        ("count", lambda _: "12345", "estimate"),
        ("seed", lambda _: 1, "question"),
        ("seed", lambda _: -1, "question"),
        ("status", lambda _: "timeout", "rounds"),
        ("status", lambda _: "unsatisfiable", "rounds"),
        ("status", lambda _: "", "rounds"),
    ],
)
def test_a_changed_claim_is_refused(gates, field, value, what):
    claimed, found, assignments = gates
    changed = {**claimed, field: value(claimed[field])}
    assert refused(changed, found, assignments)[0] == what


@pytest.mark.parametrize(
    "changes, what",
    [
        ({"count": "13"}, "estimate"),
        ({"count": None}, "estimate"),
        ({"claim": "probable"}, "estimate"),
        ({"status": "unsatisfiable"}, "rounds"),
    ],
)
def test_a_changed_exact_count_is_refused(changes, what):
    formula = cnf.from_clauses(SMALL)
    claimed, found, assignments = counted(formula)
    assert claimed["count"] == str(reference.count_models(6, SMALL))
    assert refused({**claimed, **changes}, found, assignments, formula)[0] == what


# ------------------------------------------------------------------------------------------------
# Tampered witnesses.


def in_round(found, index, **changes):
    one = found.rounds[index]._replace(**changes)
    return found._replace(rounds={**found.rounds, index: one})


def flipped(words, row=0, bit=0):
    changed = words.copy()
    changed[row, 0] ^= np.uint32(1 << bit)
    return changed


WITNESSES = {
    "digest": (lambda w: w._replace(digest="0" * 64), "formula"),
    "assumption added": (lambda w: w._replace(assumptions=(1,)), "models"),
    "assumption out of range": (lambda w: w._replace(assumptions=(0,)), "formula"),
    "seed": (lambda w: w._replace(seed=b"i\1"), "question"),
    "smaller epsilon": (lambda w: w._replace(epsilon=0.79), "cells"),
    "larger epsilon": (lambda w: w._replace(epsilon=0.8 + 1e-7), "estimate"),
    "epsilon out of range": (lambda w: w._replace(epsilon=0.0), "question"),
    "epsilon no number": (lambda w: w._replace(epsilon=math.nan), "question"),
    "delta": (lambda w: w._replace(delta=0.01), "rounds"),
    "delta out of range": (lambda w: w._replace(delta=1.0), "question"),
    "no rounds": (lambda w: w._replace(rounds={}), "rounds"),
    "round dropped": (lambda w: w._replace(rounds={i: w.rounds[i] for i in (0, 1)}), "rounds"),
    "round copied": (lambda w: w._replace(rounds={**w.rounds, 1: w.rounds[0]}), "parities"),
    "round added": (lambda w: w._replace(rounds={**w.rounds, 3: w.rounds[0]}), "rounds"),
    "rounds swapped": (lambda w: w._replace(rounds={**w.rounds, 0: w.rounds[1]}), "parities"),
    "one hash more": (lambda w: more_hashes(w, 1), "parities"),
    "one hash less": (lambda w: more_hashes(w, -1), "cells"),
    "no hashes": (lambda w: in_round(w, 0, num_hashes=0), "rounds"),
    "absurd hashes": (lambda w: in_round(w, 0, num_hashes=10**12), "cells"),
    "negative hashes": (lambda w: in_round(w, 0, num_hashes=-1), "cells"),
    "cell emptied": (lambda w: in_round(w, 0, models=w.rounds[0].models[:0]), "models"),
    "model bit": (lambda w: in_round(w, 0, models=flipped(w.rounds[0].models)), "parities"),
    "bit before": (lambda w: in_round(w, 0, before=flipped(w.rounds[0].before)), "parities"),
    "model dropped": (lambda w: in_round(w, 0, models=w.rounds[0].models[1:]), "models"),
    "model doubled": (lambda w: doubled(w, "models"), "cells"),
    "models out of order": (lambda w: turned(w, "models"), "cells"),
    "before out of order": (lambda w: turned(w, "before"), "cells"),
    "before dropped": (lambda w: in_round(w, 0, before=w.rounds[0].before[1:]), "cells"),
    "before doubled": (lambda w: doubled(w, "before"), "cells"),
    "support shorter": (lambda w: w._replace(support=w.support[:-1]), "parities"),
    "another support": (lambda w: w._replace(support=without(w.support, 1, 15)), "models"),
    "support not sampled": (lambda w: w._replace(support=without(w.support, 1, 19)), "reduction"),
    "support out of order": (lambda w: w._replace(support=w.support[::-1]), "reduction"),
    "support repeated": (lambda w: w._replace(support=np.repeat(w.support, 2)), "reduction"),
    "defined taken for free": (lambda w: w._replace(free=np.union1d(w.free, [15])), "models"),
    "support taken for free": (
        lambda w: w._replace(free=np.union1d(w.free, w.support[:1])),
        "reduction",
    ),
    "free taken for defined": (lambda w: w._replace(free=w.free[1:]), "models"),
    "free not sampled": (lambda w: w._replace(free=np.append(w.free, 19)), "reduction"),
}


def more_hashes(found, change):
    level = found.rounds[0].num_hashes + change
    fields = {"num_hashes": level}
    if change < 0:  # what the smaller number of parities holds for
        fields["models"] = found.rounds[0].before
    return in_round(found, 0, **fields)


def doubled(found, field):
    models = getattr(found.rounds[0], field)
    return in_round(found, 0, **{field: np.concatenate([models[1:], models[1:2]])})


def turned(found, field):
    return in_round(found, 0, **{field: getattr(found.rounds[0], field)[::-1]})


def without(variables, dropped, added):
    return np.union1d(np.setdiff1d(variables, [dropped]), [added]).astype(np.int32)


@pytest.mark.parametrize("name", WITNESSES)
def test_a_changed_witness_is_refused(gates, name):
    claimed, found, assignments = gates
    change, what = WITNESSES[name]
    changed = change(found)
    try:
        bits = {i: len(extensions.fixed_bits(changed, i)) for i in changed.rounds}
        assignments = {i: assignments.get(i, assignments[0])[:, : -(-bits[i] // 8)] for i in bits}
    except ValueError:  # models of another width
        assert name.startswith("support")
    assert refused(claimed, changed, assignments)[0] == what


def test_a_changed_assignment_is_refused(gates):
    claimed, found, assignments = gates
    for variable in range(FORMULA.num_variables):
        changed = {i: packed.copy() for i, packed in assignments.items()}
        changed[2][variable, 3] ^= 1 << 2
        assert refused(claimed, found, changed)[0] == "models"
    assert refused(claimed, found, {0: assignments[0]})[0] == "models"
    assert refused(claimed, found, {i: a[1:] for i, a in assignments.items()})[0] == "models"


def test_another_formula_is_refused(gates):
    fewer = dataclasses.replace(FORMULA, clauses=cnf.ragged(FORMULA.clauses.tolist()[1:]))
    other = dataclasses.replace(FORMULA, projection=np.arange(1, 18, dtype=np.int32))
    for formula in (fewer, other):
        assert refused(*gates, formula)[0] == "formula"


# ------------------------------------------------------------------------------------------------
# Consistent lies: the claim follows from the witness, and only a solver sees what is wrong.


def claim_again(found):
    result = guarantee.estimate_of(found, guarantee.plan(found.epsilon, found.delta))
    return claim(result, "done"), found, extensions.extend(FORMULA, found)


@pytest.mark.parametrize("solver", ["cadical153", "cryptominisat5", "minisat22"])
def test_models_left_out_need_a_solver(gates, solver):
    for index in range(3):
        models = gates[1].rounds[index].models
        lie = claim_again(in_round(gates[1], index, models=models[:-1]))
        assert verification.check(FORMULA, *lie).sides == "lower"
        what, detail = refused(*lie, solver=solver)
        assert (what, detail) == (
            "complete cells",
            f"round {index}: the cell has a model that is not listed",
        )


def test_models_left_out_of_an_exact_count_need_a_solver():
    formula = cnf.from_clauses(SMALL)
    _, found, _ = counted(formula)
    found = in_round(found, 0, models=found.rounds[0].models[:-1])
    lie = claim(guarantee.estimate_of(found, guarantee.plan(0.8, 0.2)), "done")
    stored = lie, found, extensions.extend(formula, found)
    assert verification.check(formula, *stored).holds
    assert refused(*stored, formula, solver="cadical153")[0] == "complete cells"


def wrongly_reduced(variable, free):
    """A count for which ``variable``, in the support, was taken for defined or free."""

    def reduce(formula, **options):
        right = support.reduce(formula, **options)
        number = int(np.flatnonzero(right.variables == variable)[0]) + 1
        kept = np.setdiff1d(right.formula.sampling_set, [number])
        wrong = dataclasses.replace(right.formula, projection=kept)
        more = np.union1d(right.free, [variable]) if free else right.free
        return right._replace(formula=wrong, free=more.astype(np.int32))

    return reduce


def test_variables_that_are_not_defined_need_a_solver():
    lie = counted(FORMULA, reduce=wrongly_reduced(5, free=False))
    assert verification.check(FORMULA, *lie).holds
    what, detail = refused(*lie, solver="cadical153")
    assert (what, detail) == (
        "defined variables",
        "variable 5 is not defined by support and free",
    )


def test_variables_that_are_not_free_have_no_assignments():
    with pytest.raises(RuntimeError, match="it was reduced wrongly"):
        counted(FORMULA, reduce=wrongly_reduced(5, free=True))


def test_models_of_a_wrong_residual_formula_have_no_assignments():
    def reduce(formula, **options):
        fewer = dataclasses.replace(formula, clauses=cnf.ragged(formula.clauses.tolist()[1:]))
        return support.reduce(fewer, **options)

    with pytest.raises(RuntimeError, match="it was reduced wrongly"):
        counted(FORMULA, reduce=reduce)


def test_defined_under_the_assumptions_alone():
    # Under 1, variable 3 equals 2; without it nothing defines it.
    formula = cnf.from_clauses([[-1, -2, 3], [-1, 2, -3]], num_variables=12)
    right = support.reduce(formula, keep=[1])
    number = int(np.flatnonzero(right.variables == 3)[0]) + 1
    kept = np.setdiff1d(right.formula.sampling_set, [number])
    reduced = right._replace(formula=dataclasses.replace(right.formula, projection=kept))
    for assumptions, holds in (([1], True), ([-1], False)):
        stored = counted(formula, assumptions=assumptions, reduce=lambda *_, **__: reduced)
        report = verification.check(formula, *stored, solver="cadical153")
        assert report.holds == holds
        assert report.checks[-1].what == ("complete cells" if holds else "defined variables")


# ------------------------------------------------------------------------------------------------
# Forgeries: an author who chooses seed and order of what is stored.


def listing(formula, support, free, models, seed):
    """A claim that the models over the support are all, each for all values of the free ones."""
    words = randomness.seed_words(seed)
    sides = np.array(support, dtype=np.int32), np.array(free, dtype=np.int32)
    rounds = {0: witness.Round(0, parity_rows.pack(models), parity_rows.pack(models[:0]))}
    found = witness.Witness(formula.digest(), (), words, 0.8, 0.2, *sides, rounds)
    return claim(guarantee.estimate_of(found, guarantee.plan(0.8, 0.2)), "done", seed), found


def all_models(columns):
    bits = np.array(list(itertools.product([False, True], repeat=columns)))
    order = np.argsort(parity_rows.pack(bits)[:, 0], kind="stable")
    return bits[order]


def test_models_ordered_to_suit_the_bits_of_free_variables_are_refused():
    # 8 equals 1, and is said to be free: 256 instead of 128 models.
    formula = cnf.from_clauses([[-8, 1], [8, -1]])
    models, refusals = all_models(7), set()
    for seed in range(60):
        _, found = listing(formula, range(1, 8), [8], models, seed)
        bits = extensions.fixed_bits(found, 0)[:, -1]
        if bits.sum() != 64:
            continue
        fitting = models.copy()
        fitting[bits], fitting[~bits] = models[models[:, 0]], models[~models[:, 0]]
        for listed in (models, fitting):
            claimed, found = listing(formula, range(1, 8), [8], listed, seed)
            values = np.packbits(np.column_stack([listed, listed[:, 0]]).T, axis=1)
            refusals.add(refused(claimed, found, {0: values}, formula)[0])
    assert refusals == {"cells", "models"}


def test_variables_that_are_seldom_bound_take_a_proof(monkeypatch):
    # 8 is bound for one of 128 models; half of the seeds overlook it.
    formula = cnf.from_clauses([[-x for x in range(1, 9)]])
    models = all_models(7)
    for seed in range(9):
        lie = listing(formula, range(1, 8), [8], models, seed)
        bits = extensions.fixed_bits(lie[1], 0)
        if formula.is_satisfied(bits).all():
            break
    lie = *lie, {0: np.packbits(bits.T, axis=1)}
    report = verification.check(formula, *lie)
    assert report.sides == "lower"
    assert (
        report.level == "lower side only: models checked, 1 of 1 free variables tested, not proven"
    )
    report = verification.check(formula, *lie, solver="cadical153", timeout=0.0)
    assert report.level.endswith("proven; not checked: free variables, complete cells")
    with monkeypatch.context() as limited:
        limited.setattr(repairs, "MAX_REPAIRS", 0)
        report = verification.check(formula, *lie, solver="cadical153")
        assert report.sides == "upper" and report.level == (
            "upper side only: cells re-solved by cadical153, "
            "1 of 1 free variables tested, not proven; not checked: free variables"
        )
    for solver in ("cadical153", "cryptominisat5"):
        expected = "free variables", "variable 8 is not free"
        assert refused(*lie, formula, solver=solver) == expected


def shopped(variables, hashes):
    """A count at epsilon 15 of a formula with one model, of a seed that finds so many hashes."""
    formula = cnf.from_clauses([[v] for v in range(1, variables + 1)])
    model = parity_rows.pack(np.ones((1, variables), dtype=bool))
    for seed in range(100 << hashes):
        key = witness.draw_key(randomness.seed_words(seed), formula.digest(), 0)
        holds = parity_rows.satisfied(*draws.draw_dense(key, hashes, variables), model)[0]
        if holds[:-1].all() and not holds[-1]:
            break
    one = witness.Round(hashes, model[:0], model)
    asked = formula.digest(), (), randomness.seed_words(seed), 15.0, 0.2
    sides = formula.sampling_set, np.zeros(0, dtype=np.int32)
    found = witness.Witness(*asked, *sides, {0: one})
    result = guarantee.estimate_of(found, guarantee.plan(15.0, 0.2))
    values = {0: np.packbits(np.ones((variables, 1), dtype=bool), axis=1)}
    return formula, result, (claim(result, "done", seed), found, values)


def test_no_seed_claims_more_than_all_assignments():
    # Unclipped, two variables would have 2^3.4 to 2^11.4 models.
    formula, result, stored = shopped(2, hashes=8)
    assert (result.claim, result.log_lower) == (estimate.Claim.CERTAIN, 0.0)
    assert result.log_value <= result.log_upper == pytest.approx(2 * math.log(2))
    assert verification.check(formula, *stored, solver="cadical153").sides == "both"
    claimed = {**stored[0], "log2_upper": 11.4, "failure_upper": 0.1, "claim": "probable"}
    assert refused(claimed, *stored[1:], formula)[0] == "estimate"


def test_a_seed_that_was_shopped_takes_another_seed():
    formula, result, stored = shopped(10, hashes=9)
    assert result.log_lower > 4 * math.log(2) and result.failure_lower < 0.1
    report = verification.check(formula, *stored, solver="cadical153")
    assert report.sides == "both" and report.level.endswith(", for the seed as given")
    what, detail = refused(*stored, formula, solver="cadical153", reseed=1)
    assert what == "another seed" and detail.startswith(
        "with seed 1 log2 lies within [0, 0], apart"
    )


def test_another_seed_agrees_with_honest_counts(gates):
    report = verification.check(FORMULA, *gates, solver="cadical153", reseed=7)
    assert (
        report.holds and report.level == "both sides: cells re-solved by cadical153, counted again"
    )
    under = counted(FORMULA, assumptions=[1, -16])
    assert verification.check(FORMULA, *under, reseed=7).checks[-1].passed


def test_failures_are_compared_relative_to_themselves():
    small = estimate.bounded(3.0, 2.0, 4.0, 1e-12, 1e-300)
    verification.compare(claim(small, "done"), small)
    for field in ("failure_lower", "failure_upper"):
        for value in (0.0, 0.5 * getattr(small, field), 5e-324):
            with pytest.raises(ValueError, match=f"{field}: expected"):
                verification.compare({**claim(small, "done"), field: value}, small)


def test_compare_is_exact_in_the_sides():
    counted_twice = estimate.exact_count(96, failure=1e-6)
    verification.compare(claim(counted_twice, "done"), counted_twice)
    for field, value in (("count", "95"), ("claim", "certain"), ("failure_upper", 1e-3)):
        with pytest.raises(ValueError, match=f"{field}: expected"):
            verification.compare({**claim(counted_twice, "done"), field: value}, counted_twice)
