"""The README shows real output: its console blocks are run again, its Python too.

What it and ``docs/how-to-choose.md`` say of methods is compared with the table of methods.
"""

import re
import shlex
from pathlib import Path

import pytest

from experiments.cli import main
from experiments.solve import methods

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    tuple(part.split("\n", 1)) for block in BLOCKS for part in block.split("$ tally ") if part
]


def comparable(text: str) -> str:
    """Without times and effort, and with the digits that every machine agrees on."""
    effort = r'\d+\.\d+ s\b|"seconds": [\d.e-]+|oracle.calls"?:? \d+|width .* nats'
    text = re.sub(effort, "...", text)
    return re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.10g}", text).strip()


def test_there_is_a_tour():
    assert len(COMMANDS) >= 3


@pytest.mark.parametrize(("command", "expected"), COMMANDS)
def test_the_tour_shows_what_is_printed(command, expected, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main.main(shlex.split(command)) == 0
    assert comparable(capsys.readouterr().out) == comparable(expected)


def test_the_python_runs(capsys):
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(code, {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{2**39} ") and len(lines) == 5


def test_set_up_takes_two_commands():
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert len(commands) == 2 and all(".venv/bin/tally" in command for command in commands)
    assert commands[0].endswith("tally count") and "pytest" in commands[1]


CHOICE = (ROOT / "docs" / "how-to-choose.md").read_text(encoding="utf-8")
WORDS = {
    "log Z": "log_partition",
    "marginals": "marginals",
    "maximum": "maximize",
    "count": "count",
    "samples": "sample",
}
NAMES = {name for question in methods.AUTO for name in methods.lines(question)}


def test_the_table_of_methods_is_that_of_the_readme():
    section = README.split("## Methods\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.*?) \| `(\w+)` \| .* \| `([\w.]+)` \|$", section, re.MULTILINE)
    shown = {
        (name, module, question)
        for words, name, module in rows
        for word, question in WORDS.items()
        if word in words
    }
    table = {
        (method.name, method.module, question)
        for method in methods.METHODS
        for question in method.claims
    }
    assert shown == table


def test_how_to_choose_names_every_method_and_no_other():
    rows = re.findall(r"^\| (?!---|your)(.*?) \| (.*?) \| .* \|$", CHOICE, re.MULTILINE)
    named = {name for _, cell in rows for name in re.findall(r"`([^`]+)`", cell)}
    functions = {name for name in named if "." in name}  # of Python alone
    assert named - functions <= NAMES
    assert {method.name for method in methods.METHODS} <= named


@pytest.mark.parametrize("text", [README, CHOICE], ids=["README", "how to choose"])
def test_methods_that_are_asked_for_exist(text):
    asked = set(re.findall(r"--method[\s`]+(\w+)|method=\"(\w+)\"", text))
    assert {name for pair in asked for name in pair if name} <= NAMES
