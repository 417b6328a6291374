"""The example of docs/adding-a-method.md is run as it stands there."""

import re
import sys
import types
from pathlib import Path

import pytest

import inference.exact

PAGE = Path(__file__).parents[1] / "docs" / "adding-a-method.md"
METHOD, TESTS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def branching(monkeypatch):
    """The method, where its test imports it from."""
    module = types.ModuleType("inference.exact.branching", METHOD.split('"""')[1])
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(inference.exact, "branching", module, raising=False)
    exec(METHOD, vars(module))
    return module


def test_the_example_passes_its_tests(branching):
    tests = types.ModuleType("test_branching")
    exec(TESTS, vars(tests))
    functions = [one for name, one in vars(tests).items() if name.startswith("test_")]
    assert len(functions) == 3
    for function in functions:
        function()


def test_the_example_can_fail(branching, monkeypatch):
    tests = types.ModuleType("test_branching")
    exec(TESTS, vars(tests))
    monkeypatch.setattr(branching, "_given", lambda clauses, _: clauses[1:])
    with pytest.raises(AssertionError):
        tests.test_counts_agree_with_enumeration()
