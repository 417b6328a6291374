"""Every entry keeps one signature: ``entry(problem, *, seed, timeout, memory, ...)``.

An entry is a public function of an algorithm or of ``experiments.solve`` that is named after what
it returns. They are found by walking the packages, so a new one cannot be forgotten.
"""

import importlib
import inspect
import pkgutil
import typing

import pytest

import experiments.solve
import hashing.counting
import inference.bounds
import inference.exact
import inference.mcmc
import inference.message_passing
from inference import samples

QUESTIONS = ("count", "log_partition", "partition", "marginals", "maximize", "surveys", "decimate")
QUESTIONS += ("sample",)
PACKAGES = (
    *(inference.exact, inference.bounds, inference.mcmc, inference.message_passing),
    hashing.counting,
)
PROBLEMS = ("formula", "graph")
# One name for each meaning, everywhere.
STRANGERS = ("key", "max_iterations", "sweeps", "seconds", "deadline", "limit", "trees", "rng")


def entries():
    modules = [
        importlib.import_module(found.name)
        for package in PACKAGES
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    ]
    for module in modules:
        for name in QUESTIONS:
            function = vars(module).get(name)
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                yield pytest.param(function, id=f"{module.__name__}.{name}")
    for name in QUESTIONS:
        if hasattr(experiments.solve, name):
            yield pytest.param(getattr(experiments.solve, name), id=f"solve.{name}")


ENTRIES = list(entries())


def test_the_walk_finds_them():
    found = {one.id for one in ENTRIES}
    assert {"solve.count", "inference.exact.elimination.maximize"} <= found
    assert {"hashing.counting.approxmc.count", "inference.bounds.trw.marginals"} <= found
    assert {"solve.sample", "inference.mcmc.gibbs.sample"} <= found
    assert len(found) >= 31


@pytest.mark.parametrize("entry", ENTRIES)
def test_arguments(entry):
    problem, *others = inspect.signature(entry).parameters.values()
    assert problem.name in PROBLEMS
    assert all(one.kind is inspect.Parameter.KEYWORD_ONLY for one in others)
    defaults = {one.name: one.default for one in others}
    assert (defaults["seed"], defaults["timeout"], defaults["memory"]) == (0, None, None)
    assert list(defaults)[:3] == ["seed", "timeout", "memory"]
    assert not set(defaults) & set(STRANGERS)


@pytest.mark.parametrize("entry", ENTRIES)
def test_answers(entry):
    returned = typing.get_type_hints(entry)["return"]
    assert typing.get_origin(returned) is tuple
    value, info = typing.get_args(returned)
    assert (value is samples.Samples) == (entry.__name__ == "sample")
    assert info._fields[:2] == ("status", "seconds")
    assert info.__annotations__["status"] is str and info.__annotations__["seconds"] is float
    assert entry.__name__ != "count" or info.__annotations__["message"] is str


@pytest.mark.parametrize("entry", ENTRIES)
def test_docstrings_say_what_is_returned(entry):
    assert entry.__doc__ and len(entry.__doc__.splitlines()[0]) < 100
