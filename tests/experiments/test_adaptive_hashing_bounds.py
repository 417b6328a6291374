"""The experiment on lower bounds: folders, formulas left out, violations, its figure."""

import math

import numpy as np
import pytest

from experiments import adaptive_hashing_bounds
from experiments.harness import registry
from hashing.counting import adaptive
from inference import estimate
from inference.problems import cnf, dimacs, generators

SMOKE = adaptive_hashing_bounds.run.spec.presets["smoke"]


def test_smoke_holds_and_draws():
    experiment = registry.load("adaptive_hashing_bounds")
    result = registry.run(experiment, SMOKE, seed=0)
    assert result.scalars["formulas"] == result.scalars["compared"] == result.scalars["known"] == 6
    assert result.scalars["violations"] == 0
    for method in adaptive_hashing_bounds.METHODS:
        bounds, exact = result.columns[f"lower_{method}"], result.columns["exact_log2"]
        assert (bounds <= exact + 1e-9).all() and (bounds > exact - 8).all()
        assert result.columns[f"done_{method}"].all()
    assert len(experiment.plot(result).axes) == 3


@pytest.fixture
def folder(tmp_path):
    dimacs.write(generators.chain(14), tmp_path / "chain.cnf")
    weighted = cnf.from_clauses([[1, 2]], num_variables=9, log_weights=np.zeros((9, 2)))
    dimacs.write(weighted, tmp_path / "weighted.cnf")
    dimacs.write(cnf.from_clauses([[1], [-1]]), tmp_path / "none.cnf")
    (tmp_path / "notes.txt").write_text("not a formula")
    return str(tmp_path)


def config(**fields):
    return adaptive_hashing_bounds.Config(**{"repetitions": 3, "timeout": 20.0, **fields})


def test_a_folder(folder):
    result = adaptive_hashing_bounds.run(config(folder=folder), 1)
    assert result.columns["formula"].tolist() == ["chain.cnf", "none.cnf", "weighted.cnf"]
    expected = [math.log2(generators.chain_count(14)), -math.inf, math.log2(3 * 2**7)]
    assert result.columns["exact_log2"] == pytest.approx(expected)
    assert result.columns["lower_adaptive"][1] == -math.inf
    assert result.scalars["violations"] == 0
    assert math.isfinite(result.scalars["median_gain_log2_adaptive_over_baseline"])


def test_formulas_that_are_easy_are_left_out(folder):
    result = adaptive_hashing_bounds.run(config(folder=folder, easy_seconds=60.0), 1)
    assert result.columns["easy"].all() and np.isnan(result.columns["lower_baseline"]).all()
    assert result.scalars["compared"] == result.scalars["known"] == 0
    assert math.isnan(result.scalars["median_gain_log2_adaptive_over_baseline"])
    assert len(adaptive_hashing_bounds.plot(result).axes) == 3


def test_a_bound_above_the_count_is_reported(folder, monkeypatch):
    honest = adaptive.count

    def too_high(formula, **options):
        result, info = honest(formula, **options)
        if formula.num_variables != 14 or options["repetitions"] == 1:
            return result, info
        return estimate.bounded(10.0, 10.0, 14.0, 0.05, 0.0), info

    monkeypatch.setattr(adaptive, "count", too_high)
    result = adaptive_hashing_bounds.run(config(folder=folder), 1)
    assert result.scalars["violations"] == 2
    assert result.columns["violated_adaptive"].tolist() == [True, False, False]
    assert not result.columns["violated_baseline"].any()


def test_a_folder_without_formulas(tmp_path):
    with pytest.raises(ValueError, match=r"expected files named \*\.cnf"):
        adaptive_hashing_bounds.run(config(folder=str(tmp_path)), 1)
