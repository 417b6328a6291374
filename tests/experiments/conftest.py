"""A stand-in experiment, so that these tests need none of the real ones."""

import sys
from pathlib import Path

import pytest

import experiments

STAND_IN = (Path(__file__).parent / "stand_in.py").read_text()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes packages of experiments: name and {module: source} to the importable package's name."""

    def make(name, modules):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        for module, source in modules.items():
            (folder / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        return name

    return make


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Places the stand-in among the real experiments, for the command line to find."""
    folder = tmp_path / "more_experiments"
    folder.mkdir()
    (folder / "stand_in.py").write_text(STAND_IN)
    monkeypatch.setattr(experiments, "__path__", [*experiments.__path__, str(folder)])
    monkeypatch.setattr(experiments.__spec__, "submodule_search_locations", experiments.__path__)
    monkeypatch.delitem(sys.modules, "experiments.stand_in", raising=False)
    yield "stand_in"
    sys.modules.pop("experiments.stand_in", None)
