"""Names on the command line, and `tally count --each`, against enumeration."""

import io
import json
import math
import sys

import numpy as np
import pytest

import reference
from experiments.cli import each, literals, main
from experiments.harness import commonality, commonality_figure
from inference import answer, files
from inference.problems import cnf, dimacs
from inference.workers import process

CLAUSES = [[1], [-2, 1], [-3, 2], [-4, 2], [3, 4, -2], [-5, -1], [-6, 3, 4]]
NAMES = {1: "ROOT", 2: "NET", 3: "NET_IPV4", 4: "NET_IPV6", 5: "OLD_BUS", 6: "a,b"}


@pytest.fixture
def menu(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dimacs.write(cnf.from_clauses(CLAUSES, names=NAMES), "menu.cnf")
    return tmp_path


def tally(capsys, *words):
    status = main.main([str(word) for word in words])
    out, err = capsys.readouterr()
    return status, out.splitlines(), err.splitlines()


def truth(*literals, projection=None):
    units = [[literal] for literal in literals]
    return reference.count_models(6, [*CLAUSES, *units], projection=projection)


@pytest.mark.parametrize(
    "words, held",
    [
        (["--assume", "NET,-NET_IPV6"], (2, -4)),
        (["--assume", "-NET_IPV6", "NET", "--seed", "1"], (-4, 2)),
        (["--assume=-NET"], (-2,)),
        (["--assume", "-4", "2", "--assume", "NET,a,b", "3"], None),
        (["--assume", "a,b", "-NET_IPV4"], (6, -3)),
        (["--assume", "-a,b"], (-6,)),
        (["--condition", "some.txt"], (-3, 4, 6)),
        (["--condition", "some.txt", "--assume", "-2"], (-3, 4, 6, -2)),
    ],
)
def test_literals_by_name(words, held, capsys, menu):
    (menu / "some.txt").write_text("# old\n\n-NET_IPV4 4\nc net, given\n  a,b\n")
    if held is None:  # a name with a comma stands alone
        assert "given 'a'" in tally(capsys, "count", "menu.cnf", *words)[2][0]
        return
    status, out, err = tally(capsys, "count", "menu.cnf", "--method", "exhaustive", *words)
    assert (status, err) == (0, []) and f"c s exact arb int {truth(*held)}" in out


def test_words_after_assume_are_one():
    for words, expected in (
        (["f", "--assume", "1", "-X", "--json"], ["f", "--json", "--assume=1 -X"]),
        (["--assume=-X", "Y", "--assume", "-2"], ["--assume=-X Y -2"]),
        (["f", "--json"], ["f", "--json"]),
        (["f", "--assume"], ["f"]),
        (["--assumed", "-X"], ["--assumed", "-X"]),
    ):
        assert literals.joined(words) == expected


def test_wrong_literals_are_refused_in_one_line(capsys, menu, monkeypatch):
    (menu / "bad.txt").write_text("NET\n\n-ROT -NET\n")
    (menu / "far.txt").write_text("c x\n1 7\n")
    unknown = "expected the name or number of a variable, given"
    for words, message in (
        ("--assume NET_IPV5", f"--assume: {unknown} 'NET_IPV5'"),
        ("--condition bad.txt", f"bad.txt:3: {unknown} '-ROT'"),
        ("--condition far.txt", "far.txt:2: expected a literal of the variables 1..6, given 7"),
        ("--condition none.txt", "none.txt: no such file or directory"),
    ):
        status, out, [line] = tally(capsys, "count", "menu.cnf", *words.split())
        assert (status, out) == (2, []) and line.startswith(f"tally: error: {message}")
        assert "close: " in line or "name" not in message
    formula = dimacs.read("menu.cnf")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"-NET\nzzz")))
    with pytest.raises(files.ParseError, match="^<stdin>:2: .* given 'zzz'$"):
        literals.from_file(formula, "-")


def rows(*words, capsys):
    status, out, err = tally(capsys, "count", "menu.cnf", "--each", "--json", *words)
    assert (status, err) == (0, [])
    assert all(line.startswith(("c o ", "c s ", "s ")) for line in out[:-1])
    return out, json.loads(out[-1])


def test_each_variable_is_counted_on_and_off(capsys, menu):
    out, record = rows("--figure", "menu.png", capsys=capsys)
    assert (record["count"], record["claim"], record["status"]) == (str(truth()), "certain", "done")
    for v, row in enumerate(record["each"], start=1):
        assert list(row) == ["variable", "name", "count_true", "share"]
        assert (row["variable"], row["name"]) == (v, NAMES[v])
        assert row["count_true"] == str(truth(v)) and row["share"] == truth(v) / truth()
    table = [line.removeprefix("c o each ") for line in out if line.startswith("c o each ")]
    assert table[0].split() == ["variable", "name", "models", "share"] and len(table) == 9
    assert table[1].split() == ["1", "ROOT", str(truth()), "100%"]
    assert table[5].split() == ["5", "OLD_BUS", "0", "0%"]
    assert table[-2:] == ["1 dead: OLD_BUS", "1 core: ROOT"]
    assert (menu / "menu.png").read_bytes().startswith(b"\x89PNG")


def test_each_variable_under_conditions_and_projected(capsys, menu):
    (menu / "some.txt").write_text("NET")
    _, record = rows("--assume", "-4", "--condition", "some.txt", capsys=capsys)
    assert record["count"] == str(truth(-4, 2))
    assert [row["count_true"] for row in record["each"]] == [
        str(truth(-4, 2, v)) for v in range(1, 7)
    ]
    dimacs.write(cnf.from_clauses(CLAUSES, projection=[2, 3, 6]), menu / "menu.cnf")
    out, record = rows(capsys=capsys)
    counts = {row["variable"]: row["count_true"] for row in record["each"]}
    assert counts == {v: str(truth(v, projection=[2, 3, 6])) for v in (2, 3, 6)}
    assert record["each"][0]["name"] is None and "name" not in " ".join(out[:-1])


def test_each_of_a_formula_without_models(capsys, menu):
    out, record = rows("--assume", "OLD_BUS", "--figure", "none.png", capsys=capsys)
    assert "c o each no model, so no shares" in out and "s UNSATISFIABLE" in out
    assert {row["share"] for row in record["each"]} == {None}


def test_each_takes_no_weights(capsys, menu):
    dimacs.write(cnf.from_clauses([[1, 2]], log_weights=np.full((2, 2), -1.0)), "menu.cnf")
    status, out, err = tally(capsys, "count", "menu.cnf", "--each")
    assert (status, out) == (2, [])
    assert err == ["tally: error: --each: expected no weights (or --ignore-weights), given some"]
    assert rows("--ignore-weights", capsys=capsys)[1]["count"] == "3"


def test_each_within_its_limits(capsys, menu, monkeypatch):
    late = answer.Answer(answer.Status.UNKNOWN, seconds=0.5)
    told = {"late": late}
    for name, message in (
        ("wide", "TooWide: expected a model that needs at most 2 MiB of tables, given more"),
        ("full", "out of memory at the limit of 64 MiB"),
    ):
        told[name] = answer.Answer(answer.Status.FAILED, message=message)
    given = {}

    def call(function, formula, **options):
        given.update(options)
        return told[case]

    monkeypatch.setattr(process, "call", call)
    words = ["count", "menu.cnf", "--each", "--json", "--timeout", "9", "--memory", "64"]
    case = "late"
    status, out, err = tally(capsys, *words)
    record = json.loads(out[-1])
    assert (status, err, record["each"], record["status"]) == (0, [], None, "timeout")
    assert record["log2_upper"] >= 6 and "s UNKNOWN" in out and "arb int" not in " ".join(out)
    assert given["memory"] == given["keywords"]["memory"] == 64
    assert 8 < given["keywords"]["timeout"] <= 9 < given["timeout"] + 1 <= 11
    case = "wide"
    status, out, err = tally(capsys, *words)
    assert (status, out) == (2, []) and err == [f"tally: error: {told['wide'].message[9:]}"]
    case = "full"
    status, out, err = tally(capsys, *words)
    assert status == 2 and err == [f"tally: error: buckets failed: {told['full'].message}"]
    assert json.loads(out[-1])["each"] is None


def test_each_is_interrupted(monkeypatch):
    def call(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "call", call)
    counted = each.count(cnf.from_clauses(CLAUSES), [])
    assert counted.info.status == "interrupted" and counted.options is None
    assert counted.estimate.log_upper >= 6 * math.log(2)


def test_shares_in_words():
    assert commonality.percentage(0, 7) == "0%" and commonality.percentage(7, 7) == "100%"
    assert commonality.percentage(1, 3) == "33.33%" and commonality.percentage(1, 2) == "50.00%"
    assert commonality.percentage(10**40 - 1, 10**40) == ">99.99%"
    assert commonality.percentage(1, 10**400) == "<1e-300%"
    assert commonality.scientific(999_999) == "999999"
    assert commonality.scientific(123_456_789) == "1.2346e+8"
    assert commonality.scientific(2**20_000) == "3.9803e+6020"


def test_the_figure_names_what_is_least_free():
    options = commonality.Commonality(
        (1, 2, 3, 4, 5), ("A", "B" * 50, "DEAD", "CORE", "E"), (1, 99, 0, 100, 50), 100
    )
    assert [name[:1] for name, *_ in commonality_figure.least_free(options)] == ["A", "B", "E"]
    assert [one[1:] for one in commonality_figure.least_free(options)[:2]] == [
        (0.01, True),
        (0.01, False),
    ]
    figure = commonality_figure.draw(options, title="five")
    shown = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert shown[0] == "A" and len(shown[1]) <= commonality_figure.LETTERS
    commonality_figure.draw(commonality.Commonality((1,), ("A",), (0,), 0))
