import fractions
import math

import numpy as np
import pytest
from pysat import formula as pysat_formula

import reference
from experiments import solve
from inference.problems import cnf, dimacs


def test_what_counts_as_a_formula(tmp_path):
    clauses = [[1, 2], [-1, 3], [-3, 4, -2]]
    expected = reference.count_models(4, clauses)
    path = tmp_path / "f.cnf"
    dimacs.write(cnf.from_clauses(clauses), path)
    given = [clauses, [tuple(c) for c in clauses], np.array([[1, 2], [-1, 3]]), str(path), path]
    given.append(pysat_formula.CNF(from_clauses=clauses))
    for one in given:
        truth = (
            reference.count_models(3, [[1, 2], [-1, 3]])
            if isinstance(one, np.ndarray)
            else expected
        )
        assert solve.count(one, method="exhaustive")[0].count == truth
    text = "c p show 1 2 0\np cnf 4 3\n" + "".join(f"{' '.join(map(str, c))} 0\n" for c in clauses)
    projected = pysat_formula.CNF(from_string=text)
    assert solve.count(projected, method="exhaustive")[0].count == 3
    weighted, limited = pysat_formula.WCNF(), pysat_formula.CNFPlus()
    limited.extend(clauses)
    assert solve.count(limited, method="exhaustive")[0].count == expected
    weighted.append([1, 2])
    limited.append([[1, 2, 3], 1], is_atmost=True)
    for bad, message in (
        (weighted, "a formula of clauses alone, given soft clauses"),
        (limited, "a formula of clauses alone, given cardinality constraints"),
        (7, "a CNF, a path or lists of literals, given int"),
        ([1, 2], "lists of literals as clauses, given 1"),
        (["1 2"], "lists of literals as clauses, given '1 2'"),
        ([[1, 0]], "literals other than 0 in clauses, given 0"),
    ):
        with pytest.raises(ValueError, match=f"expected {message}"):
            solve.count(bad)


def test_weights_by_literal():
    given = {1: 0.25, -2: 3.0, 2: 0.5, -4: fractions.Fraction(2, 5), 3: 0}
    pairs = {1: (0.75, 0.25), 2: (3.0, 0.5), 3: (1.0, 0.0), 4: (0.4, 0.6), 5: (1.0, 1.0)}
    clauses = [[1, 2], [-1, 3, 5], [-3, 4, -2]]
    total = sum(
        math.prod(pairs[v][model[v - 1]] for v in pairs) for model in reference.models(5, clauses)
    )
    for method in ("exact", "exhaustive"):
        result, _ = solve.count(clauses, method=method, weights=given)
        assert math.exp(result.log_value) == pytest.approx(total, rel=1e-12)
    for bad, message in (
        ({1: -0.5}, "expected a weight of at least 0 for 1, given -0.5"),
        ({-2: math.nan}, "expected a weight of at least 0 for -2, given nan"),
        ({1: math.inf}, "expected a weight of at least 0 for 1, given inf"),
        ({-1: 2.0}, "expected a weight for 1 too: that of -1 is 2.0"),
        ({0: 0.5}, "expected a literal of the variables 1..5, given 0"),
        ({9: 0.5}, "expected a literal of the variables 1..5, given 9"),
    ):
        with pytest.raises(ValueError, match=message):
            solve.count(clauses, weights=bad)


def test_assumptions_by_name():
    clauses = [[1, 2], [-1, 3], [-3, 4, -2]]
    names = {1: "NET", 2: "NET_IPV6", 4: "8139TOO"}
    formula = cnf.from_clauses(clauses, names=names)
    for given, units in (
        (["NET", "-NET_IPV6"], [[1], [-2]]),
        (["-8139TOO", "3", -1], [[-4], [3], [-1]]),
        ([np.int32(-2)], [[-2]]),
    ):
        found, _ = solve.count(formula, method="exhaustive", assumptions=given)
        assert found.count == reference.count_models(4, [*clauses, *units])
    close = "the name or number of a variable, given"
    for bad, message in (
        ("NET_IPV4", rf"{close} 'NET_IPV4' \(close: NET_IPV6\)$"),
        ("-net", rf"{close} '-net' \(close: NET\)$"),
        ("--NET", rf"{close} '--NET' "),
        ("zzz", f"{close} 'zzz'$"),
        ("9", "a literal of the variables 1..4, given 9"),
        ("-0", "a literal of the variables 1..4, given 0"),
        ("1.5", f"{close} '1.5'$"),
    ):
        with pytest.raises(ValueError, match=f"expected {message}"):
            solve.count(formula, assumptions=[bad])
    with pytest.raises(ValueError, match="expected numbers in a formula without names, given 'A'"):
        solve.count(clauses, assumptions=["A"])
