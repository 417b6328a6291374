"""What holds for every experiment that `tally list` shows."""

import numpy as np
import pytest

from experiments.harness import registry, store

NAMES = sorted(registry.find())


def test_there_are_experiments():
    assert "elimination_ising" in NAMES


def load(name):
    try:
        return registry.load(name)
    except registry.MissingPackage as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("name", NAMES)
def test_the_smoke_preset_runs_twice_alike_and_is_stored(name, tmp_path):
    experiment = load(name)
    config = experiment.spec.presets["smoke"]
    first, again = (registry.run(experiment, config, seed=1) for _ in range(2))
    for column in first.columns:
        if not column.startswith("seconds"):
            np.testing.assert_array_equal(first.columns[column], again.columns[column])
    folder = store.save(tmp_path, experiment, config, 1, first)
    assert list(store.load(folder).result.columns) == list(first.columns)
    assert (folder / "figure.png").exists() is (experiment.plot is not None)


@pytest.mark.parametrize("name", NAMES)
def test_it_explains_itself(name):
    title = registry.find()[name].title
    assert 10 < len(title) < 80 and title.endswith(".")
    assert f"tally run {name}" in load(name).text
