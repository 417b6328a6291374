"""Entries that do not keep the contract yet, called by it."""

import importlib
import importlib.util
import inspect
from types import SimpleNamespace
from typing import Any

from experiments.solve import methods
from inference import answer, estimate

_OTHER = {"iterations": ("max_iterations", "sweeps"), "seed": ("key",)}


def call(method: methods.Method, question: str, problem: Any, **given: Any) -> tuple[Any, Any]:
    """``entry(problem, **given)`` of a method's module."""
    name = method.module
    if method.name == "bpnn" and importlib.util.find_spec(name) is None:
        name += "_sat" if question == "count" else "_phases"
    entry = getattr(importlib.import_module(name), question)
    parameters = inspect.signature(entry).parameters
    is_open = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    taken = {"formula" if "formula" in parameters else "graph": problem}
    for option, value in given.items():
        names = [one for one in (option, *_OTHER.get(option, ())) if one in parameters]
        if not names and is_open and option in ("timeout", "iterations"):
            names = [option]
        if names and value is not None:
            taken[names[0]] = value
    result = entry(**taken)
    if isinstance(result, estimate.Estimate):
        return result, SimpleNamespace(status="done")
    if isinstance(result, answer.Answer):
        return result, SimpleNamespace(status=result.message or "done")
    value, info = result
    if not hasattr(info, "status"):
        return value, SimpleNamespace(status="done", error=getattr(info, "error", float("inf")))
    return result
