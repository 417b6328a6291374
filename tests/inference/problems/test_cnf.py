import dataclasses
import itertools
import subprocess
import sys

import numpy as np
import pytest

import reference
from inference.problems import cnf


@pytest.mark.parametrize("lists", [[], [[]], [[1], [], [2, -3, 4], []], [[], []]])
def test_ragged_keeps_lists(lists):
    ragged = cnf.ragged(lists)
    assert ragged.tolist() == lists and len(ragged) == len(lists)
    assert [part.tolist() for part in ragged] == lists
    assert [ragged[i].tolist() for i in range(-len(lists), len(lists))] == lists + lists
    assert ragged.values.dtype == np.int32 and ragged.offsets.dtype == np.int64


@pytest.mark.parametrize("index", [2, -3])
def test_ragged_refuses_an_index_out_of_range(index):
    with pytest.raises(IndexError):
        cnf.ragged([[1], [2]])[index]


def test_number_of_variables_is_the_largest_mentioned():
    assert cnf.from_clauses([]).num_variables == 0
    assert cnf.from_clauses([[1, -4]]).num_variables == 4
    assert cnf.from_clauses([[1]], xors=[([6], True)]).num_variables == 6
    assert cnf.from_clauses([[1]], projection=[7, 2]).num_variables == 7
    assert cnf.from_clauses([[1]], log_weights=np.zeros((3, 2))).num_variables == 3
    assert cnf.from_clauses([[1]], num_variables=9).num_variables == 9


def test_sampling_set():
    assert cnf.from_clauses([[3]]).sampling_set.tolist() == [1, 2, 3]
    assert cnf.from_clauses([[3]], projection=[3, 1, 3]).sampling_set.tolist() == [1, 3]
    assert cnf.from_clauses([[3]], projection=[]).sampling_set.tolist() == []


def test_repeated_variables_of_an_xor_cancel():
    formula = cnf.from_clauses([], num_variables=3, xors=[([2, 1, 2, 2], True), ([3, 3], False)])
    assert formula.xors.tolist() == [[1, 2], []]
    assert formula.xor_rhs.tolist() == [True, False]


def random_formula(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 7))
    widths = rng.integers(0 if seed % 5 == 0 else 1, 4, size=rng.integers(0, 8))
    clauses = [(rng.choice([-1, 1], w) * rng.integers(1, n + 1, w)).tolist() for w in widths]
    sizes = rng.integers(0 if seed % 7 == 0 else 1, 4, size=rng.integers(0, 3))
    xors = [(rng.integers(1, n + 1, s).tolist(), bool(rng.integers(2))) for s in sizes]
    return n, clauses, xors


@pytest.mark.parametrize("seed", range(40))
def test_is_satisfied_by_exactly_the_models(seed):
    n, clauses, xors = random_formula(seed)
    formula = cnf.from_clauses(clauses, num_variables=n, xors=xors)
    rows = np.array(list(itertools.product([0, 1], repeat=n)))
    models = set(reference.models(n, clauses, xors))
    expected = [tuple(row) in models for row in rows.tolist()]
    assert formula.is_satisfied(rows).tolist() == expected
    assert [bool(formula.is_satisfied(row)) for row in rows] == expected  # one at a time
    doubled = formula.is_satisfied(rows.reshape(2, -1, n))
    assert doubled.ravel().tolist() == expected


@pytest.mark.parametrize(
    "clauses, xors, expected",
    [
        ([], [], True),
        ([[]], [], False),
        ([], [([], True)], False),
        ([], [([], False)], True),
    ],
)
def test_is_satisfied_without_variables(clauses, xors, expected):
    formula = cnf.from_clauses(clauses, xors=xors)
    assert formula.is_satisfied(np.zeros((3, 0), dtype=bool)).tolist() == [expected] * 3


@pytest.mark.parametrize(
    "arguments, words",
    [
        (dict(clauses=[[1, 0]]), "literal in 1..1, given 0"),
        (dict(clauses=[[1, -3]], num_variables=2), "literal in 1..2, given -3"),
        (dict(clauses=[[-(2**31)]], num_variables=2), "literal in 1..2"),
        (dict(clauses=[[1], [2**31]]), "integers of 32 bits, given int64 2147483648"),
        (dict(clauses=[[2**70]]), "integers of 32 bits"),
        (dict(clauses=[[1.0]]), "integers of 32 bits, given float64 1.0"),
        (dict(clauses=[], xors=[([1.5], True)]), "integers of 32 bits, given float64 1.5"),
        (dict(clauses=[], num_variables=-1), "at least 0 variables, given -1"),
        (dict(clauses=[], num_variables=2, xors=[([3], True)]), "XOR variable in 1..2, given 3"),
        (dict(clauses=[], num_variables=2, xors=[([-1], True)]), "XOR variable in 1..2, given -1"),
        (dict(clauses=[], num_variables=2, projection=[3]), "sampling variable in 1..2, given 3"),
        (dict(clauses=[], num_variables=2, projection=[-1]), "sampling variable in 1..2, given -1"),
        (dict(clauses=[], num_variables=2, log_weights=np.zeros((1, 2))), r"shape \(2, 2\), given"),
        (dict(clauses=[], log_weights=[[0, np.nan]]), "finite weight.* variable 1"),
        (dict(clauses=[], log_weights=[[0, 0], [np.inf, 0]]), "finite weight.* variable 2"),
        (
            dict(clauses=[], num_variables=2, projection=[1], log_weights=[[0, 0], [0, -1]]),
            "outside the sampling set, given another for 2",
        ),
    ],
)
def test_refuses_what_is_no_formula(arguments, words):
    with pytest.raises(ValueError, match=words):
        cnf.from_clauses(**arguments)


def test_refuses_missing_sides_and_unordered_projections():
    formula = cnf.from_clauses([], num_variables=2, xors=[([1], True)])
    with pytest.raises(ValueError, match="expected 1 XOR sides, given 0"):
        dataclasses.replace(formula, xor_rhs=np.zeros(0, dtype=bool))
    with pytest.raises(ValueError, match="increasing"):
        dataclasses.replace(formula, projection=np.array([2, 1], dtype=np.int32))


def test_digest_is_that_of_the_content():
    base = dict(clauses=[[1, 2], [3]], xors=[([1, 2], True)])
    variants = [
        base,
        base | dict(clauses=[[1, 2, 3]]),
        base | dict(clauses=[[1], [2, 3]]),
        base | dict(clauses=[[1, -2], [3]]),
        base | dict(xors=[([1, 2], False)]),
        base | dict(xors=[]),
        base | dict(num_variables=4),
        base | dict(projection=[1, 2]),
        base | dict(projection=[]),
        base | dict(log_weights=np.zeros((3, 2))),
        base | dict(log_weights=np.ones((3, 2))),
    ]
    digests = [cnf.from_clauses(**variant).digest() for variant in variants]
    assert len(set(digests)) == len(variants)
    again = [cnf.from_clauses(**variant).digest() for variant in variants]
    assert digests == again
    assert cnf.from_clauses(**base, projection=[3, 2, 1]).digest() == digests[0]


def test_unweighted_drops_the_weights_alone():
    formula = cnf.from_clauses([[1, 2]], log_weights=np.ones((2, 2)))
    assert formula.unweighted().digest() == cnf.from_clauses([[1, 2]]).digest()
    assert formula.log_weights is not None


def test_imports_no_jax():
    code = "import sys; from inference.problems import cnf; print('jax' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_formulas_are_printed_on_one_line():
    assert repr(cnf.from_clauses([[1, 2]])) == "<CNF: 2 variables, 1 clauses>"
    formula = cnf.from_clauses(
        [[1]], xors=[([1, 2], True)], projection=[1, 2], log_weights=np.zeros((2, 2))
    )
    assert str(formula) == "<CNF: 2 variables, 1 clauses, 1 XORs, 2 sampled, weighted>"


def test_names_are_those_of_variables():
    assert cnf.from_clauses([[1, 2]], names={2: "B"}).unweighted().names == {2: "B"}
    for names, message in (
        ({3: "A"}, "each named variable in 1..2, given 3"),
        ({0: "A"}, "each named variable in 1..2, given 0"),
        ({1: "two words"}, "one word as a name, no number, given 'two words'"),
        ({1: ""}, "one word as a name, no number, given ''"),
        ({1: "-A"}, "one word as a name, no number, given '-A'"),
        ({1: "12"}, "one word as a name, no number, given '12'"),
        ({1: "A", 2: "A"}, "a name of its own for each variable, given 'A' twice"),
    ):
        with pytest.raises(ValueError, match=f"expected {message}"):
            cnf.from_clauses([[1, 2]], names=names)
