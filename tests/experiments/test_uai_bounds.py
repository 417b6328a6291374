"""The experiment on certain intervals: its models, its folder, its checks."""

import math

import numpy as np
import pytest

from experiments import uai_bounds
from experiments.harness import promises, registry
from inference.exact import elimination
from inference.problems import generators, trivial, uai


def test_smoke_holds_and_draws():
    experiment = registry.load("uai_bounds")
    result = registry.run(experiment, experiment.spec.presets["smoke"], seed=0)
    assert result.scalars["violations"] == 0
    assert result.scalars["finite_fraction"] == 1.0
    assert result.scalars["median_ratio"] < 0.5
    assert (result.columns["lower_trivial"] <= result.columns["lower"]).all()
    assert (result.columns["upper"] <= result.columns["upper_trivial"]).all()
    assert len(experiment.plot(result).axes) == 2


def write_folder(folder, shift):
    """A folder of two models of which one has a known value, wrong by ``shift`` in log10."""
    graph = generators.spin_glass_grid(0, 3, 3, 1.0, 0.3)
    uai.write(graph, folder / "a.uai.gz")
    (folder / "a.evid").write_text("1\n1 0 1\n")
    exact = elimination.log_partition(uai.read(folder / "a.uai.gz", folder / "a.evid"))[0]
    answer = exact.log_value / math.log(10) + shift
    lines = ["file,evidence,exact_log10_partition", f"a.uai.gz,a.evid,{answer!r}", "b.uai.gz,,"]
    (folder / "answers.csv").write_text("\n".join(lines) + "\n")


def test_folders_and_wrong_answers(tmp_path):
    experiment = registry.load("uai_bounds")
    config = uai_bounds.Config(folder=str(tmp_path), i_bounds=(1,), seconds=1e6, iterations=5)
    write_folder(tmp_path, 0.0)
    result = registry.run(experiment, config, seed=0)
    assert result.scalars["models"] == 1 and result.scalars["violations"] == 0
    np.testing.assert_array_equal(result.columns["model"], ["a.uai.gz"])
    write_folder(tmp_path, 3.0)
    with pytest.raises(promises.BrokenPromise, match="no bound on the wrong side") as caught:
        registry.run(experiment, config, seed=0)
    assert caught.value.result.scalars["violations"] >= 1


def test_the_trivial_interval_holds_log_z():
    for seed in range(5):
        graph = generators.spin_glass_grid(seed, 3, 3, 2.0, 0.3)
        for assignment in (np.zeros(9, dtype=np.int64), None):
            found = trivial.log_partition(graph, assignment)
            truth = elimination.log_partition(graph)[0].log_value
            assert -math.inf < found.log_lower <= truth <= found.log_upper < math.inf
