"""Results on disk: one folder per config and seed, whole or not there at all.

    folder = store.save(Path("results"), experiment, config, seed, result, seconds=1.5)
    stored = store.load(folder)          # .experiment, .config, .seed, .result

A folder holds ``config.json`` (with the preset and what was changed in it), ``summary.json``
(scalars with their units, estimates, seconds), ``summary.txt`` (the same as printed, a line each),
``arrays.npz`` (the columns), ``columns.csv`` (the same, to read), ``environment.json`` (versions
and the commit) and ``figure.png``.
Infinities and NaN are the strings "inf", "-inf" and "nan" in JSON.
"""

import csv
import dataclasses
import hashlib
import importlib.metadata
import json
import math
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from experiments.harness import claims, registry
from inference import estimate, files


@dataclasses.dataclass(frozen=True)
class Stored:
    """A result as read back."""

    experiment: str
    config: dict[str, Any]
    seed: int
    result: registry.Result


def place(out: Path, name: str, config: Any, seed: int) -> Path:
    """The folder of a run: ``OUT/NAME/<hash of config>-s<seed>``."""
    text = json.dumps(claims.plain(dataclasses.asdict(config)), sort_keys=True)
    return out / name / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}-s{seed}"


def check_writable(out: Path) -> None:
    """Makes the folder if needed and raises OSError unless a file can be written into it."""
    out.mkdir(parents=True, exist_ok=True)
    files.check_writable(out)


def save(
    out: Path,
    experiment: registry.Experiment,
    config: Any,
    seed: int,
    result: registry.Result,
    *,
    preset: str | None = None,
    seconds: float = math.nan,
) -> Path:
    """Writes one run and its figure; returns the folder. ``preset`` is where its config started.

    An earlier result of the same config and seed stays until its successor is complete.
    """
    target = place(out, experiment.name, config, seed)
    target.parent.mkdir(parents=True, exist_ok=True)
    with files.whole(target) as folder:
        folder.mkdir()
        _write_json(folder / "config.json", _setting(experiment, config, seed, preset))
        _write_json(folder / "summary.json", _summary(result, seconds))
        text = "\n".join([*lines(result), f"seconds {seconds:.1f} s"])
        (folder / "summary.txt").write_text(text + "\n", encoding="utf-8")
        _write_json(folder / "environment.json", environment())
        np.savez_compressed(folder / "arrays.npz", **result.columns)
        _write_csv(folder / "columns.csv", result)
        draw(experiment, result, folder / "figure.png")
    return target


def load(path: Path) -> Stored:
    """Reads a result folder back.

    Raises:
      ValueError: the folder holds no result, or one that is damaged.
    """
    try:
        setting = json.loads((path / "config.json").read_text(encoding="utf-8"))
        summary = json.loads((path / "summary.json").read_text(encoding="utf-8"))
        # Opened here, since numpy leaves a file that is no archive open.
        with (path / "arrays.npz").open("rb") as file, np.load(file) as arrays:
            columns = {name: arrays[name] for name in summary["columns"]}
        scalars = {name: _number(value) for name, value in summary["scalars"].items()}
        estimates = {name: _estimate(fields) for name, fields in summary["estimates"].items()}
        result = registry.Result(columns, scalars, estimates, summary.get("units", {}))
        return Stored(setting["experiment"], setting["config"], setting["seed"], result)
    except FileNotFoundError as error:
        missing = Path(error.filename or "config.json").name
        raise ValueError(f"{path}: expected a result folder, missing {missing}") from error
    except Exception as error:  # damaged archives raise a dozen kinds, of zlib and zipfile too
        raise ValueError(f"{path}: expected a result folder, given a damaged one") from error


def draw(experiment: registry.Experiment, result: registry.Result, path: Path) -> bool:
    """Draws the figure of a result into a file, whole or not; False if there is none to draw."""
    if experiment.plot is None:
        return False
    from experiments.harness import plots  # matplotlib takes half a second

    with files.whole(path) as beside:
        plots.save(experiment.plot(result), beside)
    return True


def lines(result: registry.Result) -> list[str]:
    """One line per scalar and estimate: name, value, unit."""
    told = []
    for name, value in result.scalars.items():
        text = claims.digits(value, 6) if isinstance(value, float) else str(value)
        told.append(f"{name} {text} {result.units.get(name, '')}".rstrip())
    for name, one in result.estimates.items():
        value = claims.digits(one.log_value / claims.LN2, 6)
        told.append(f"{name} 2^{value}: {claims.guarantee(one, '', 'value')}")
    return told


def environment() -> dict[str, Any]:
    """Versions, commit and precision flags that a result depends on; no paths, no host names."""
    import jax

    requires = importlib.metadata.requires("tally-inference") or []
    direct = [line for line in requires if "extra ==" not in line]
    names = sorted(re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in direct)
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {name: importlib.metadata.version(name) for name in names},
        "tally": importlib.metadata.version("tally-inference"),
        "commit": commit(Path(__file__).resolve().parents[2]),
        "jax_backend": jax.default_backend(),
        "jax_enable_x64": jax.config.values["jax_enable_x64"],
        "jax_default_matmul_precision": jax.config.values["jax_default_matmul_precision"],
    }


def commit(root: Path) -> str | None:
    """The commit of a checkout, with ``-dirty`` after changes; None where there is none."""
    if not (root / ".git").exists():  # installed, perhaps inside a checkout of something else
        return None
    words = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run([*words, "--exclude=*"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _setting(
    experiment: registry.Experiment, config: Any, seed: int, preset: str | None
) -> dict[str, Any]:
    fields = dataclasses.asdict(config)
    start = {} if preset is None else dataclasses.asdict(experiment.spec.presets[preset])
    return {
        "experiment": experiment.name,
        "preset": preset,
        "changed": [name for name in start if fields[name] != start[name]],
        "seed": seed,
        "config": fields,
    }


def _summary(result: registry.Result, seconds: float) -> dict[str, Any]:
    estimates = {}
    for name, value in result.estimates.items():
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        fields.pop("witness")  # an object of the algorithm's own, not a number to report
        fields["claim"] = value.claim.value
        fields["count"] = None if value.count is None else str(value.count)
        estimates[name] = fields
    return {
        "columns": list(result.columns),
        "scalars": dict(result.scalars),
        "units": dict(result.units),
        "estimates": estimates,
        "seconds": seconds,
    }


def _estimate(fields: dict[str, Any]) -> estimate.Estimate:
    numbers = {name: _number(value) for name, value in fields.items() if name != "count"}
    claim = estimate.Claim(numbers.pop("claim"))
    count = None if fields["count"] is None else int(fields["count"])
    return estimate.Estimate(**numbers, claim=claim, count=count)


def _number(value: Any) -> Any:
    return float(value) if value in ("inf", "-inf", "nan") else value


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(claims.plain(value), indent=2, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _write_csv(path: Path, result: registry.Result) -> None:
    """Columns with one value per row; longer entries are in ``arrays.npz`` only."""
    flat = {name: values.tolist() for name, values in result.columns.items() if values.ndim == 1}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(flat)
        writer.writerows(zip(*flat.values()))
