import importlib
import math
import os
import sys
import time

import pytest

from inference.workers import background

COUNT_UP = """
import pathlib

def count_up(path, then=None):
    for number in range(3):
        yield [number] * 10**5
        pathlib.Path(path).write_text(str(number))
    if then is not None:
        then(600.0)
"""


@pytest.fixture
def count_up(monkeypatch, tmp_path):
    """Importable here and in a child: yields numbers, notes them, and then stays, or fails."""
    (tmp_path / "counting_up.py").write_text(COUNT_UP)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    yield importlib.import_module("counting_up").count_up
    del sys.modules["counting_up"]


def wait_for(path, text):
    limit = time.monotonic() + 60
    while not (path.exists() and path.read_text() == text) and time.monotonic() < limit:
        time.sleep(0.01)


def test_a_killed_child_leaves_its_last_value(count_up, tmp_path):
    with background.Child(count_up, tmp_path / "at", time.sleep) as child:
        wait_for(tmp_path / "at", "2")
        assert not child.wait(0.0)
        assert child.read() == background.ChildReport([2] * 10**5, "running")
        start = time.monotonic()
    assert time.monotonic() - start < 10
    assert child.read() == background.ChildReport([2] * 10**5, "running")


def test_a_child_that_ends_says_how(count_up, tmp_path):
    with background.Child(count_up, tmp_path / "at") as child:
        assert child.wait(60.0)
    assert child.read() == background.ChildReport([2] * 10**5, "done")
    with background.Child(count_up, tmp_path / "at", os.chdir) as child:
        assert child.wait(60.0)
        told = child.read()
    assert (told.value, told.status) == ([2] * 10**5, "failed")
    assert told.message.startswith("TypeError: ")
    with background.Child(math.factorial, 5) as child:
        child.wait(60.0)
    assert child.read() == background.ChildReport(120, "done")
    with background.Child(math.sqrt, -1.0) as child:
        child.wait(60.0)
    assert (child.read().value, child.read().message) == (None, "math domain error")


def test_half_a_value_is_none(tmp_path):
    with open(tmp_path / "values", "w+b") as file:
        background._tell(file.fileno(), str, ("whole",))
        background._tell(file.fileno(), str, ("half" * 100,))
        size = os.fstat(file.fileno()).st_size
        for cut in range(5, 400, 13):
            file.truncate(size - cut)
            assert background._last_value(file.fileno()) == "whole"
        file.truncate(4)
        assert background._last_value(file.fileno()) is None
