import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.harness import promises, registry
from inference import estimate

STAND_IN = (Path(__file__).parent / "stand_in.py").read_text()


@dataclasses.dataclass(frozen=True)
class Config:
    n: int = 4
    values: tuple[float, ...] = (0.5, 1.0)


PRESETS = {name: Config() for name in registry.PRESETS}


def test_listing_imports_nothing(package):
    found = registry.find(package("listed", {"stand_in": STAND_IN}))
    assert found == {"stand_in": registry.Entry("stand_in", "A stand-in with one column.", ())}
    assert "listed" not in sys.modules and "listed.stand_in" not in sys.modules


def test_only_decorated_modules_count(package):
    modules = {
        "helper": "def run(config, key): ...\n",
        "other": "@wraps()\ndef run(config, key): ...\n",
        "nested": "def f():\n    @experiment(presets={})\n    def run(c, k): ...\n",
        "bare": "@experiment(presets={})\ndef run(c, k): ...\n",
    }
    assert list(registry.find(package("mixed", modules))) == ["bare"]


def test_an_empty_and_an_absent_package_have_no_experiments(package):
    assert registry.find(package("hollow", {})) == {}
    assert registry.find("no_such_package_anywhere") == {}


def test_duplicates_are_refused(stand_in, tmp_path):
    import experiments

    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "stand_in.py").write_text(STAND_IN)
    experiments.__path__.append(str(tmp_path / "again"))
    with pytest.raises(ValueError, match="two experiments are called 'stand_in'"):
        registry.find()


def test_load_and_run_give_equal_results_for_equal_seeds(package):
    chosen = registry.load("stand_in", package("loaded", {"stand_in": STAND_IN}))
    assert chosen.text.endswith("Its second paragraph.") and chosen.spec.paper == "Nobody 1999"
    smoke = chosen.spec.presets["smoke"]
    first, again, other = (registry.run(chosen, smoke, seed) for seed in (3, 3, 4))
    assert first.columns["row"].tolist() == [0, 1]
    np.testing.assert_array_equal(first.columns["draw"], again.columns["draw"])
    assert (first.columns["draw"] != other.columns["draw"]).any()


def test_unknown_names_are_refused_with_what_there_is(package):
    name = package("known", {"stand_in": STAND_IN})
    with pytest.raises(registry.UnknownExperiment, match="'nought'.*stand_in"):
        registry.load("nought", name)


def test_a_missing_package_breaks_one_experiment_only(package):
    needy = STAND_IN.replace('paper="Nobody 1999"', 'needs=("no_such_solver",)')
    needy = needy.replace("import jax\n", "import jax\nimport no_such_solver\n")
    name = package("needy", {"stand_in": STAND_IN, "broken": needy})
    assert set(registry.find(name)) == {"stand_in", "broken"}
    assert registry.load("stand_in", name).name == "stand_in"
    with pytest.raises(registry.MissingPackage, match="needs no_such_solver: pip install"):
        registry.load("broken", name)


def test_the_extra_that_provides_a_package_is_named():
    assert registry._provider("pyapproxmc") == "'tally-inference[peers]'"
    assert registry._provider("unheard_of") == "unheard_of"


@pytest.mark.parametrize(
    ("presets", "message"),
    [
        ({"smoke": Config(), "default": Config()}, "missing paper"),
        ({**PRESETS, "extra": estimate.exact_count(1)}, "one config class"),
        (dict.fromkeys(PRESETS, 3), "frozen dataclass"),
        ({**PRESETS, "paper": Config(n=[1])}, "plain value for 'n'"),
        ({**PRESETS, "paper": Config(values=(1, (2,)))}, "plain value for 'values'"),
    ],
)
def test_bad_presets_are_refused(presets, message):
    with pytest.raises(ValueError, match=message):
        registry.experiment(presets=presets)


def test_config_fields_may_not_shadow_options_of_run():
    shadow = dataclasses.make_dataclass("Shadow", [("seed", int, 0)], frozen=True)
    with pytest.raises(ValueError, match="'seed' is taken"):
        registry.experiment(presets={name: shadow() for name in registry.PRESETS})


def test_results_are_checked_and_frozen():
    result = registry.Result({"a": [1, 2], "b": ["x", "y"]}, {"n": np.int64(3)})
    assert result.scalars == {"n": 3} and type(result.scalars["n"]) is int
    with pytest.raises(ValueError, match="read-only"):
        result.columns["a"][0] = 5
    with pytest.raises(TypeError):
        result.columns["c"] = [1]
    assert registry.Result().columns == {}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"columns": {"a": [1], "b": [1, 2]}}, "one length"),
        ({"columns": {"a": 3}}, "'a'"),
        ({"columns": {"a": [2**70]}}, "'a'"),
        ({"columns": {"a": [None]}}, "'a'"),
        ({"scalars": {"a": [1, 2]}}, "'a'"),
        ({"scalars": {"a": None}}, "'a'"),
        ({"estimates": {"a": 3.0}}, "expected an Estimate for 'a'"),
        ({"scalars": {"a": 1.0}, "units": {"b": "s"}}, "expected units of .'a'., given .'b'."),
    ],
)
def test_bad_results_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        registry.Result(**fields)


def test_run_refuses_a_foreign_config_and_a_foreign_result(package):
    chosen = registry.load("stand_in", package("strict", {"stand_in": STAND_IN}))
    with pytest.raises(TypeError, match="expected a Config"):
        registry.run(chosen, {"n": 3}, 0)
    wrong = dataclasses.replace(chosen, run=lambda config, key: {"row": [1]})
    with pytest.raises(TypeError, match="expected a Result from stand_in, given dict"):
        registry.run(wrong, chosen.spec.presets["smoke"], 0)


def test_run_refuses_a_broken_promise_and_hands_out_its_result(package):
    chosen = registry.load("stand_in", package("promising", {"stand_in": STAND_IN}))
    config = dataclasses.replace(chosen.spec.presets["smoke"], scale=1000.0)
    with pytest.raises(promises.BrokenPromise, match="^stand_in breaks its promise: ") as caught:
        registry.run(chosen, config, 0)
    assert caught.value.result.scalars["scale"] == 1000.0
