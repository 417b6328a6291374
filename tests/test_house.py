"""The house rules that a machine can check: sizes, names, circles (docs/architecture.md)."""

import ast
import collections
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("inference", "hashing", "experiments")
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text(encoding="utf-8")
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}
# One thing in several places: what an entry tells, where a run stands, what an experiment takes;
# the protocols and their standard ones.
SHARED = {"Info", "State", "Config", "SatSession"}


def code_lines(function: ast.FunctionDef) -> int:
    """Lines of a function without its signature and docstring."""
    first = function.body[1] if ast.get_docstring(function) and function.body[1:] else None
    return function.end_lineno - (first or function.body[0]).lineno + 1


def own_imports(tree: ast.AST) -> set[str]:
    """The modules of ours that a module imports, also inside functions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in SOURCES else node.module)
    return found & SOURCES.keys()


@pytest.mark.parametrize("name", SOURCES)
def test_sizes(name):
    assert len(SOURCES[name].splitlines()) <= 350
    functions = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.FunctionDef)]
    assert [f.name for f in functions if code_lines(f) > 40] == []


def test_no_class_name_stands_for_two_things():
    names = collections.Counter(
        node.name for tree in TREES.values() for node in tree.body if isinstance(node, ast.ClassDef)
    )
    assert {name for name, times in names.items() if times > 1} <= SHARED


def test_nothing_of_ours_is_imported_under_another_name():
    renamed = [
        f"{name}: {alias.name} as {alias.asname}"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith(PACKAGES)
        for alias in node.names
        if alias.asname is not None
    ]
    assert renamed == []


def test_no_circles():
    graph = nx.DiGraph((name, one) for name, tree in TREES.items() for one in own_imports(tree))
    assert [part for part in nx.strongly_connected_components(graph) if len(part) > 1] == []
