import numpy as np
import pytest

import reference
from inference.exact import cube_table
from inference.problems import cnf, generators


@pytest.mark.parametrize("seed", range(40))
def test_counts_agree_with_enumeration(seed):
    rng = np.random.default_rng(seed)
    literals = rng.integers(1, 9, (10, 3)) * rng.choice([-1, 1], (10, 3))
    clauses = [sorted(set(c)) for c in literals[: seed % 11].tolist()]
    projection = sorted({int(v) for v in rng.integers(1, 9, 5)}) if seed % 2 else None
    xors = [([1, 3, 5, 8], seed % 4 < 2), ([2, 3], True)] if seed % 3 else []
    formula = cnf.from_clauses(clauses, num_variables=8, xors=xors, projection=projection)
    assert cube_table.number_of_models(formula) == reference.count_models(
        8, clauses, xors, projection
    )


def test_degenerate_formulas():
    assert cube_table.number_of_models(cnf.from_clauses([])) == 1
    assert cube_table.number_of_models(cnf.from_clauses([], num_variables=18)) == 2**18
    assert cube_table.number_of_models(cnf.from_clauses([[]], num_variables=3)) == 0
    assert (
        cube_table.number_of_models(cnf.from_clauses([], num_variables=2, xors=[([], True)])) == 0
    )
    assert cube_table.number_of_models(cnf.from_clauses([[1, -1], [2, 2]])) == 2
    assert cube_table.number_of_models(cnf.from_clauses([[1, 2]], projection=[])) == 1
    assert cube_table.number_of_models(cnf.from_clauses([[1], [-1]], projection=[])) == 0


def test_larger_formulas_are_refused():
    with pytest.raises(ValueError, match="expected at most 18 variables, given 19"):
        cube_table.number_of_models(generators.random_ksat(0, 19, 5))
