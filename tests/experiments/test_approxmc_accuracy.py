"""The accuracy experiment: free variables, formulas that are listed, other tolerances."""

import math

import numpy as np
import pytest

from experiments import approxmc_accuracy
from hashing.counting import approxmc
from inference.problems import cnf, generators


def count(formula, exact, **options):
    config = approxmc_accuracy.Config(**options)
    keys = [str(i).encode() for i in range(5)]
    log_exact = math.log(exact) if exact else -math.inf
    rows = [approxmc_accuracy._count_once(config, key, formula, 0.8, log_exact) for key in keys]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def test_free_variables_count_in_single_rounds():
    """Of 40 variables 25 occur in no clause; before, every round was 'under' by 2^25."""
    clauses = generators.chain(15).clauses.tolist()
    formula = cnf.from_clauses(clauses, num_variables=40)
    assert len(approxmc.count(formula, seed=0)[1].reduction.free) == 25
    row = count(formula, generators.chain_count(15) << 25)
    assert row["inside"].all() and row["rounds"].tolist() == [3] * 5
    assert not row["under"].any() and not row["over"].any()
    assert row["mean_ratio"].mean() == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize(("clauses", "exact"), [([[1, 2], [-1, 3]], 4 * 2**6), ([[1], [-1]], 0)])
def test_listed_formulas_have_no_rounds_that_could_miss(clauses, exact):
    row = count(cnf.from_clauses(clauses, num_variables=9), exact)
    assert row["inside"].all() and not row["rounds"].any() and not row["over"].any()
    assert np.abs(row["error_log2"]).max() < 1e-9 and np.isnan(row["mean_ratio"]).all()


def test_no_two_counts_share_their_parities():
    config = approxmc_accuracy.Config((16,), (1.0,), (0.8, 0.79), repeats=2)
    result = approxmc_accuracy.run(config, 0)
    assert len(set(result.columns["mean_ratio"].tolist())) == 4


def test_large_tolerances_have_no_mean_ratio():
    result = approxmc_accuracy.run(approxmc_accuracy.Config((16,), (1.0,), (6.0,), repeats=2), 0)
    assert np.isnan(result.columns["mean_ratio"]).all()
    assert math.isnan(result.scalars["mean_ratio"])
    approxmc_accuracy.check(result)
    assert len(approxmc_accuracy.plot(result).axes) == 3
