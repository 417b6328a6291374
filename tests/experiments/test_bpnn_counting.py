"""The counting experiment: formulas of a folder, a family left out, the figure."""

import dataclasses
import math

import numpy as np
import pytest

from experiments import bpnn_counting
from experiments.harness import peers, registry
from experiments.training import bpnn_sat_training, counted_formulas
from inference.message_passing.learned import bpnn_sat
from inference.problems import dimacs, generators


def write_folder(folder):
    """Two families of random 2-SAT, and counts that are Ganak's."""
    lines = ["file,family,ln_count,split"]
    for index in range(12):
        formula = generators.random_ksat(index, 12, 12, k=2)
        name, family = f"{index}.cnf", "ab"[index % 2]
        dimacs.write(formula, folder / name)
        value = math.log(2) * peers.ganak(formula, seed=0)
        lines.append(f"{name},{family},{value},{'train' if index < 8 else 'test'}")
    (folder / "counts.csv").write_text("\n".join(lines) + "\n")


def test_smoke_is_near_ganak_and_draws():
    experiment = registry.load("bpnn_counting")
    result = registry.run(experiment, experiment.spec.presets["smoke"], seed=3)
    error = result.columns["log_propagation"] - result.columns["log_exact"]
    diagnosis = result.columns["family"] == "diagnosis"
    assert np.abs(error).max() < 3.0 and np.abs(error[diagnosis]).max() < 0.05
    rmse = math.sqrt(np.mean(error[diagnosis] ** 2))
    assert result.scalars["rmse_propagation_diagnosis"] == pytest.approx(rmse)
    assert all((result.columns[f"seconds_{x}"] > 0).all() for x in ("single", "batch", "ganak"))
    assert len(experiment.plot(result).axes) == 3


def test_a_folder_with_a_family_left_out(tmp_path, monkeypatch):
    write_folder(tmp_path)
    seen = []

    def note(formulas, values, **options):
        seen.append((len(formulas), options))
        return bpnn_sat.Network(), None

    monkeypatch.setattr(bpnn_sat_training, "fit", note)
    monkeypatch.setattr(counted_formulas, "make", lambda key, number: [])
    config = bpnn_counting.Config(str(tmp_path), batch=4, leave_out="b", steps=5)
    result = bpnn_counting.run(config, 0)
    assert seen == [(4, {"steps": 5})]  # of eight training formulas those of the other family
    assert sorted(result.columns["problem"]) == ["10.cnf", "11.cnf", "8.cnf", "9.cnf"]
    np.testing.assert_array_equal(result.columns["log_estimate"], result.columns["log_propagation"])
    few = bpnn_counting.run(dataclasses.replace(config, per_family=1), 0)
    assert sorted(few.columns["problem"]) == ["8.cnf", "9.cnf"]
