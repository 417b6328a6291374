"""The two BPNN experiments: which rows there are, what they agree on, their figures."""

import dataclasses

import numpy as np
import pytest

from experiments import bpnn_ising
from experiments.harness import registry


def test_methods_that_should_agree_do_and_the_figure_has_all_panels():
    experiment = registry.load("bpnn_ising")
    # Two sites: a tree, where BP and all that builds on it is exact.
    config = dataclasses.replace(
        experiment.spec.presets["smoke"], sides=(2,), coupling_maxima=(1.0,), sweeps=2000
    )
    result = registry.run(experiment, config, seed=0)
    columns = result.columns
    methods = set(columns["method"].tolist())
    assert methods >= {*bpnn_ising.LEARNED, *bpnn_ising.SLOW, "BP, 10 sweeps", "ordered start"}
    # One cycle: BP has one fixed point, and the first term of the loop series is all of it.
    ring = (columns["side"] == 2) & (columns["method"] == "two phases, loops")
    assert columns["rmse"][ring][0] == pytest.approx(0.0, abs=1e-4)
    lower = columns["method"] == "mean field"
    assert columns["mean_error"][lower][0] < 0 and "columns_won_2" in result.scalars
    assert len(experiment.plot(result).axes) == 2


def test_errors_carry_their_standard_error():
    errors = np.random.default_rng(0).normal(size=(2000, 50))
    found = [bpnn_ising._errors(row) for row in errors]
    spread = np.std([one["rmse"] for one in found])
    assert np.mean([one["rmse_error"] for one in found]) == pytest.approx(spread, rel=0.1)
    assert bpnn_ising._errors(np.zeros(3))["rmse_error"] == 0.0


def test_wins_are_counted_against_all_plain_methods_in_batch():
    def row(method, rmse):
        return {
            "side": 4, "field_max": 0.1, "coupling_max": 5.0, "method": method, "rmse": rmse,
        }  # fmt: skip

    rows = [row("BPNN phases", 0.1), row("two phases", 0.4), row("two phases, loops", 0.2)]
    rows += [row("GBP", 0.01), row("GNN", 0.05)]
    wins = bpnn_ising._wins(rows)
    assert wins["columns_won_4"] == 1
    assert wins["ratio_to_two phases_4"] == pytest.approx(0.25)
    assert bpnn_ising._wins([*rows, row("BP", 0.1)])["columns_won_4"] == 0


def test_convergence_counts_only_converged_values_as_bounds():
    experiment = registry.load("bpnn_convergence")
    result = registry.run(experiment, experiment.spec.presets["smoke"], seed=0)
    columns = result.columns
    bad = columns["converged"] & (columns["error"] > 1e-4)
    assert not bad.any() and columns["converged"].any()
    for name in dict.fromkeys(columns["method"].tolist()):
        mine = columns["method"] == name
        assert result.scalars[f"converged: {name}"] == columns["converged"][mine].sum()
        assert result.scalars[f"mean_sweeps: {name}"] == columns["sweeps"][mine].mean()
    assert len(experiment.plot(result).axes) == 2
