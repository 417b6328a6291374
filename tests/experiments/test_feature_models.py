"""The experiment on feature models: its own folder, and models that are too wide."""

import dataclasses

import numpy as np
import pytest

import reference
from experiments import feature_models
from experiments.harness import registry
from inference.exact import elimination, true_counts
from inference.problems import cnf, dimacs

CLAUSES = [[1], [-2, 1], [-3, 2], [-4, 2], [3, 4, -2], [-5, -1]]


@pytest.fixture
def config(tmp_path):
    dimacs.write(cnf.from_clauses(CLAUSES, num_variables=6), tmp_path / "menu.cnf")
    (tmp_path / "notes.txt").write_text("no model")
    smoke = registry.load("feature_models").spec.presets["smoke"]
    return dataclasses.replace(smoke, folder=str(tmp_path))


def test_a_folder_of_models(config):
    result = registry.run(registry.load("feature_models"), config, seed=0)
    columns, total = result.columns, reference.count_models(6, CLAUSES)
    assert columns["model"].tolist() == ["menu"] and columns["claim"].tolist() == ["certain"]
    assert columns["log2_products"][0] == pytest.approx(np.log2(total))
    on = [reference.count_models(6, [*CLAUSES, [v]]) / total for v in range(1, 7)]
    assert columns["dead"].tolist() == [on.count(0)] == [1]
    assert columns["core"].tolist() == [on.count(1)] == [1]
    assert columns["histogram"][0].tolist() == np.histogram(on, 10, (0, 1))[0].tolist()
    assert columns["shares"][0][[0, -1]].tolist() == [0.0, 1.0]
    assert set(columns["shares"][0]) == set(on) and result.scalars["checked"] == 1


def test_models_that_are_too_wide_have_a_count_alone(config, monkeypatch):
    def refuse(*_, **__):
        raise elimination.TooWide(40, 2**43, 2048)

    monkeypatch.setattr(true_counts, "count_each", refuse)
    result = registry.run(registry.load("feature_models"), config, seed=0)
    columns, total = result.columns, reference.count_models(6, CLAUSES)
    assert columns["log2_products"][0] == pytest.approx(np.log2(total))
    assert columns["dead"].tolist() == [-1] and np.isnan(columns["shares"]).all()
    feature_models.plot(result).canvas.draw()


def test_a_folder_without_models_is_refused(config, tmp_path):
    (tmp_path / "menu.cnf").unlink()
    with pytest.raises(ValueError, match="expected DIMACS files in .*, given none"):
        registry.run(registry.load("feature_models"), config, seed=0)
