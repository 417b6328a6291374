"""Experiments by name: what one is, which there are, how to run one.

An experiment is one flat module of the ``experiments`` package with a decorated ``run`` and, if
it has them, a ``plot`` for its figure and a ``check`` of its promises; its file name is its name
everywhere.

    @registry.experiment(presets={"smoke": Config(n=4), "default": Config(), "paper": Config(n=9)})
    def run(config, key): return registry.Result(columns={"n": [1, 2]}, scalars={"worst": 0.1})
    def plot(result): return figure
    def check(result): promises.expect(result.scalars["worst"] < 1, "expected ..., given ...")

Listing reads the sources and imports nothing, so a missing solver breaks one experiment only.
"""

import ast
import dataclasses
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from experiments.harness import promises
from inference import estimate

PRESETS = ("smoke", "default", "paper")
RESERVED = ("name", "preset", "seed", "out", "help")  # options of `tally run`, not config fields


class UnknownExperiment(ValueError):
    """No experiment has this name."""


class MissingPackage(ImportError):
    """An experiment needs a package that is not installed."""


@dataclasses.dataclass(frozen=True)
class Result:
    """What an experiment returns.

    Attributes:
      columns: arrays of numbers, strings or booleans with one common length (first axis).
      scalars: single numbers, strings or booleans.
      estimates: ``Estimate`` values by name.
      units: of scalars, by name; none for numbers of things and ratios.

    Raises:
      ValueError: lengths differ, a value is of another kind, or a unit belongs to no scalar.
    """

    columns: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    scalars: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    estimates: Mapping[str, estimate.Estimate] = dataclasses.field(default_factory=dict)
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        columns = {name: _column(name, values) for name, values in self.columns.items()}
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"expected columns of one length, given {lengths}")
        scalars = {name: _scalar(name, value) for name, value in self.scalars.items()}
        for name, value in self.estimates.items():
            if not isinstance(value, estimate.Estimate):
                raise ValueError(f"expected an Estimate for {name!r}, given {value!r}")
        if not self.units.keys() <= scalars.keys():
            raise ValueError(f"expected units of {list(scalars)}, given {list(self.units)}")
        # Frozen once here, so a stored result and the one in hand cannot drift apart.
        object.__setattr__(self, "columns", MappingProxyType(columns))
        object.__setattr__(self, "scalars", MappingProxyType(scalars))
        object.__setattr__(self, "estimates", MappingProxyType(dict(self.estimates)))
        object.__setattr__(self, "units", MappingProxyType(dict(self.units)))


@dataclasses.dataclass(frozen=True)
class Spec:
    """What the decorator attaches to ``run``: presets by name, the paper, packages needed."""

    presets: Mapping[str, Any]
    paper: str
    needs: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Entry:
    """An experiment as found on disk, not imported."""

    name: str
    title: str
    needs: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Experiment:
    """An imported experiment."""

    name: str
    text: str
    spec: Spec
    run: Callable[[Any, Any], Result]
    plot: Callable[[Result], Any] | None = None
    check: Callable[[Result], None] | None = None


def experiment(
    *, presets: Mapping[str, Any], paper: str = "", needs: tuple[str, ...] = ()
) -> Callable[[Callable], Callable]:
    """Marks ``run(config, key) -> Result`` as an experiment.

    Args:
      presets: at least smoke, default and paper; instances of one frozen dataclass of plain
        fields (numbers, strings, booleans, tuples of them).
      paper: what it reproduces; empty for none.
      needs: import names of optional packages, a literal tuple.

    Raises:
      ValueError: the presets are not as said.
    """
    missing = [name for name in PRESETS if name not in presets]
    if missing:
        raise ValueError(f"expected presets {', '.join(PRESETS)}, missing {', '.join(missing)}")
    if len({type(config) for config in presets.values()}) > 1:
        raise ValueError("expected presets of one config class, given several")
    for config in presets.values():
        _check_config(config)
    spec = Spec(MappingProxyType(dict(presets)), paper, tuple(needs))

    def attach(run: Callable) -> Callable:
        run.spec = spec  # type: ignore[attr-defined]
        return run

    return attach


def find(package: str = "experiments") -> dict[str, Entry]:
    """All experiments of a package by name, from their sources alone.

    Raises:
      ValueError: two modules carry one name.
    """
    spec = importlib.util.find_spec(package)
    entries: dict[str, Entry] = {}
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for module in pkgutil.iter_modules([folder]):
            source = Path(folder, f"{module.name}.py")
            entry = None if module.ispkg or not source.exists() else _read_entry(source)
            if entry is None:
                continue
            if entry.name in entries:
                raise ValueError(f"two experiments are called {entry.name!r}")
            entries[entry.name] = entry
    return entries


def load(name: str, package: str = "experiments") -> Experiment:
    """Imports one experiment.

    Raises:
      UnknownExperiment: there is none of this name.
      MissingPackage: a package it needs is not installed; the message says how to get it.
    """
    entries = find(package)
    if name not in entries:
        raise UnknownExperiment(
            f"unknown experiment {name!r}, expected one of: {', '.join(entries) or 'none'}"
        )
    for needed in entries[name].needs:
        if importlib.util.find_spec(needed) is None:
            raise MissingPackage(f"{name} needs {needed}: pip install {_provider(needed)}")
    module = importlib.import_module(f"{package}.{name}")
    text = (module.__doc__ or "").strip()
    optional = (getattr(module, part, None) for part in ("plot", "check"))
    return Experiment(name, text, module.run.spec, module.run, *optional)


def run(chosen: Experiment, config: Any, seed: int) -> Result:
    """Runs an experiment and checks its promises; the key is made here, once, from the seed.

    Raises:
      TypeError: ``config`` or what the experiment returned is of another class.
      BrokenPromise: the numbers contradict what the experiment promises; it holds the result.
    """
    expected = type(chosen.spec.presets["default"])
    if type(config) is not expected:
        raise TypeError(f"expected a {expected.__name__}, given {config!r}")
    import jax  # a second of import that listing and showing need not pay

    result = chosen.run(config, jax.random.key(seed))
    if not isinstance(result, Result):
        raise TypeError(f"expected a Result from {chosen.name}, given {type(result).__name__}")
    check(chosen, result)
    return result


def check(chosen: Experiment, result: Result) -> None:
    """Raises BrokenPromise, one line, where a result contradicts what its experiment promises."""
    if chosen.check is None:
        return
    try:
        chosen.check(result)
    except promises.BrokenPromise as broken:
        line = f"{chosen.name} breaks its promise: {broken}"
        raise promises.BrokenPromise(line, result) from None


def _read_entry(source: Path) -> Entry | None:
    tree = ast.parse(source.read_text(encoding="utf-8"), str(source))
    for node in tree.body:
        if not (isinstance(node, ast.FunctionDef) and node.name == "run"):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and _last_name(decorator.func) == "experiment":
                title = (ast.get_docstring(tree) or "").split("\n")[0]
                return Entry(source.stem, title, _literal_needs(decorator))
    return None


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _literal_needs(decorator: ast.Call) -> tuple[str, ...]:
    values = [keyword.value for keyword in decorator.keywords if keyword.arg == "needs"]
    return tuple(ast.literal_eval(values[0])) if values else ()


def _provider(module: str) -> str:
    """What to install for a module: our extra that lists it, else the package itself."""
    for line in importlib.metadata.requires("tally-inference") or []:
        listed = re.match(r"([\w.-]+).*extra == ['\"](\w+)['\"]", line)
        if listed and listed[1].replace("-", "_").lower() == module.lower():
            return f"'tally-inference[{listed[2]}]'"
    return module


def _check_config(config: Any) -> None:
    kind = type(config)
    if not dataclasses.is_dataclass(kind) or not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise ValueError(f"expected a frozen dataclass as config, given {config!r}")
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        items = value if isinstance(value, tuple) else (value,)
        if field.name in RESERVED:
            raise ValueError(f"config field {field.name!r} is taken by an option of `tally run`")
        if not all(isinstance(item, int | float | str | bool) for item in items):
            raise ValueError(f"expected a plain value for {field.name!r}, given {value!r}")


def _column(name: str, values: Any) -> np.ndarray:
    if name == "file":
        raise ValueError("expected another column name than 'file', which numpy.savez reserves")
    array = np.array(values)
    if array.ndim == 0 or array.dtype.kind not in "biufU":
        raise ValueError(f"expected numbers, strings or booleans in {name!r}, given {values!r}")
    array.flags.writeable = False
    return array


def _scalar(name: str, value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic | np.ndarray) else value
    if not isinstance(plain, int | float | str | bool):
        raise ValueError(f"expected a number, string or boolean for {name!r}, given {value!r}")
    return plain
