import dataclasses
import json
import math
import os
import subprocess

import numpy as np
import pytest

from experiments.harness import registry, store
from inference import estimate


@dataclasses.dataclass(frozen=True)
class Config:
    n: int = 2
    limit: float = math.inf


RESULT = registry.Result(
    columns={"n": [1, 2], "log_z": [0.1, -math.inf], "name": ["a", "b"], "pair": [[1, 2], [3, 4]]},
    scalars={"worst": math.inf, "gap": math.nan, "word": "yes", "many": 2**80, "on": True},
    estimates={
        "z": estimate.exact_count(2**200, failure=1e-6, witness=object()),
        "zero": estimate.exact_count(0),
        "open": estimate.bounded(1.0, 0.5, math.inf, 0.1, 0.0),
    },
    units={"worst": "nats", "many": "s"},
)
BARE = registry.Experiment("bare", "Bare.", None, None, None)


def save(out, *, result=RESULT, config=Config(), seed=0, experiment=BARE):
    return store.save(out, experiment, config, seed, result, seconds=1.5)


def test_what_is_stored_comes_back(tmp_path):
    folder = save(tmp_path)
    stored = store.load(folder)
    assert folder.parent == tmp_path / "bare" and folder.name.endswith("-s0")
    assert (stored.experiment, stored.seed) == ("bare", 0)
    assert stored.config == {"n": 2, "limit": "inf"}
    for name, column in RESULT.columns.items():
        assert stored.result.columns[name].dtype == column.dtype
        np.testing.assert_array_equal(stored.result.columns[name], column)
    assert math.isnan(stored.result.scalars["gap"])
    same = {name: value for name, value in RESULT.scalars.items() if name != "gap"}
    assert {name: stored.result.scalars[name] for name in same} == same
    assert stored.result.units == RESULT.units
    for name, value in RESULT.estimates.items():
        assert stored.result.estimates[name] == dataclasses.replace(value, witness=None)


def test_an_empty_result_comes_back(tmp_path):
    assert store.load(save(tmp_path, result=registry.Result())).result == registry.Result()


def test_json_is_strict_and_columns_are_readable(tmp_path):
    folder = save(tmp_path)

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    for name in ("config", "summary", "environment"):
        json.loads((folder / f"{name}.json").read_text(), parse_constant=refuse)
    assert (folder / "columns.csv").read_text().split() == ["n,log_z,name", "1,0.1,a", "2,-inf,b"]


def test_the_summary_has_a_line_with_its_unit_for_each_number(tmp_path):
    folder = save(tmp_path)
    lines = (folder / "summary.txt").read_text().splitlines()
    assert lines[:3] == ["worst inf nats", "gap nan", "word yes"]
    assert lines[3] == f"many {2**80} s"
    assert lines[5].startswith("z 2^200: exact value; wrong") and lines[-1] == "seconds 1.5 s"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["units"] == {"worst": "nats", "many": "s"}


def test_the_config_tells_its_preset_and_what_was_changed(tmp_path):
    spec = registry.Spec({"smoke": Config(1), "default": Config()}, "", ())
    planned = dataclasses.replace(BARE, spec=spec)
    folder = store.save(tmp_path, planned, Config(1), 0, RESULT, preset="smoke")
    setting = json.loads((folder / "config.json").read_text())
    assert (setting["preset"], setting["changed"]) == ("smoke", [])
    # The folder is that of the config, whichever preset it came from.
    assert store.save(tmp_path, planned, Config(1), 0, RESULT, preset="default") == folder
    setting = json.loads((folder / "config.json").read_text())
    assert (setting["preset"], setting["changed"]) == ("default", ["n"])
    setting = json.loads((save(tmp_path, seed=1) / "config.json").read_text())
    assert (setting["preset"], setting["changed"]) == (None, [])


def test_results_of_earlier_versions_are_read(tmp_path):
    folder = save(tmp_path)
    for name, key in (("summary", "units"), ("config", "preset")):
        fields = json.loads((folder / f"{name}.json").read_text())
        del fields[key]
        (folder / f"{name}.json").write_text(json.dumps(fields))
    assert store.load(folder).result.units == {}


def test_the_commit_of_a_checkout_and_of_no_other(tmp_path):
    def git(*words):
        name = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *name, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert store.commit(tmp_path) is None
    git("init")
    assert store.commit(tmp_path) is None  # no commit yet
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-m", "first")
    git("tag", "v1")
    assert store.commit(tmp_path) == git("rev-parse", "HEAD")
    (tmp_path / "file").write_text("2")
    assert store.commit(tmp_path) == git("rev-parse", "HEAD") + "-dirty"
    (tmp_path / "site-packages").mkdir()  # installed into a checkout of something else
    assert store.commit(tmp_path / "site-packages") is None


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert store.commit(tmp_path) is None


def test_the_environment_holds_versions_and_no_paths():
    environment = store.environment()
    assert environment["tally"] and "commit" in environment
    assert {"numpy", "jax", "python-sat"} <= set(environment["packages"])
    assert environment["jax_enable_x64"] in (True, False)
    assert "/" not in json.dumps(environment) and "\\" not in json.dumps(environment)


def test_folders_differ_by_config_and_seed(tmp_path):
    folders = {save(tmp_path, config=Config(n), seed=seed) for n in (1, 2) for seed in (0, 1)}
    assert len(folders) == 4 and save(tmp_path, config=Config(1), seed=1) in folders


def test_an_old_result_stays_when_saving_fails(tmp_path, monkeypatch):
    folder = save(tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(path, result):
        raise OSError("disk full")

    monkeypatch.setattr(store, "_write_csv", fail)
    with pytest.raises(OSError, match="disk full"):
        save(tmp_path, result=registry.Result({"n": [7]}))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(folder.parent.iterdir()) == [folder]


def test_an_old_result_comes_back_when_the_last_move_fails(tmp_path, monkeypatch):
    folder = save(tmp_path)
    rename, calls = os.rename, []

    def fail_once(source, target, **options):
        calls.append(target)
        if len(calls) == 2:
            raise OSError("no more moves")
        rename(source, target, **options)

    monkeypatch.setattr("os.rename", fail_once)
    with pytest.raises(OSError, match="no more moves"):
        save(tmp_path, result=registry.Result({"n": [7]}))
    assert store.load(folder).result.columns["n"].tolist() == [1, 2]
    assert list(folder.parent.iterdir()) == [folder]


def test_a_new_result_replaces_the_old_one(tmp_path):
    save(tmp_path)
    folder = save(tmp_path, result=registry.Result({"n": [7]}))
    assert store.load(folder).result.columns["n"].tolist() == [7]
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("name", ["config.json", "summary.json", "arrays.npz"])
@pytest.mark.parametrize("damage", ["missing", "empty", "garbage", "cut"])
def test_damaged_folders_are_refused_in_one_line(tmp_path, name, damage):
    path = save(tmp_path) / name
    if damage == "missing":
        path.unlink()
    else:
        left = {"empty": b"", "garbage": b"[1]", "cut": path.read_bytes()[:-30]}
        path.write_bytes(left[damage])
    with pytest.raises(ValueError, match="expected a result folder") as caught:
        store.load(path.parent)
    assert "\n" not in str(caught.value)


def test_a_failing_figure_leaves_the_old_one(tmp_path):
    def plot(result):
        raise RuntimeError("no figure today")

    folder = save(tmp_path)
    (folder / "figure.png").write_bytes(b"old")
    with pytest.raises(RuntimeError):
        store.draw(dataclasses.replace(BARE, plot=plot), RESULT, folder / "figure.png")
    assert (folder / "figure.png").read_bytes() == b"old"
    assert not list(folder.glob(".*"))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes everywhere")
def test_an_unwritable_place_is_found_before_the_run(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError):
        store.check_writable(tmp_path / "results")
    tmp_path.chmod(0o700)


def test_a_file_in_the_way_is_found_before_the_run(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(OSError):
        store.check_writable(tmp_path / "results" / "bare")
