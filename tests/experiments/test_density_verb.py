"""`tally density`, through the command line."""

import gzip
import io
import json
import math
import sys

import numpy as np
import pytest

from experiments.cli import main
from inference.mcmc import density, flat_histogram, flat_histogram_results
from inference.problems import generators, uai

CNF = "p cnf 3 2\n1 2 0\n-1 3 0\n"
UAI = "MARKOV\n2\n2 3\n1\n2 0 1\n6\n1 2 3 4 5 6\n"
LN2 = math.log(2.0)


def tally(capsys, *words):
    """Status, lines of standard output, lines of standard error."""
    status = main.main([str(word) for word in words])
    out, err = capsys.readouterr()
    return status, out.splitlines(), err.splitlines()


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.cnf").write_text(CNF)
    (tmp_path / "g.uai").write_text(UAI)
    return tmp_path


@pytest.fixture
def walks(monkeypatch):
    """Stands where the walks stand, and keeps what they were given."""
    calls = []

    def of_levels(number, fields=None, merged=False):
        energies = np.arange(number, dtype=float)
        counts = np.full(number, LN2)
        error = np.full(number, 0.125)
        found = density.DensityOfStates(
            energies, 0 * energies, counts, error, energies, 9.0, np.zeros((0, number)), merged
        )
        info = flat_histogram_results.Info("done", 0.5, rule="plain", num_walkers=64)
        info = info._replace(**(fields or {}))

        def call(problem, **options):
            calls.append((problem, options))
            return found, info

        monkeypatch.setattr(flat_histogram, "density_of_states", call)
        monkeypatch.setattr(flat_histogram, "density_of_scores", call)
        return calls

    return of_levels


def test_a_formula_is_walked_over_and_drawn(capsys, files):
    words = ["f.cnf", "--json", "--figure", "out.png", "--seed", "3"]
    status, out, err = tally(capsys, "density", *words)
    assert (status, err) == (0, [])
    assert out[0] == "problem   f.cnf: 3 variables, 2 clauses"
    assert out[1].startswith("method    flat histogram (plain), done") and "seed 3" in out[1]
    assert "claim     none" in out
    [value] = [line for line in out if line.startswith("ln count")]
    assert abs(float(value.split()[2]) - math.log(4)) < 0.05
    record = json.loads(out[-1])
    assert record["energies"] == [0.0, 1.0] and (record["claim"], record["seed"]) == ("none", 3)
    np.testing.assert_allclose(record["log2_counts"], [2.0, 2.0], atol=0.05)
    assert (files / "out.png").read_bytes().startswith(b"\x89PNG")


def test_a_model_is_recognised_by_its_first_word(capsys, files, walks, monkeypatch):
    calls = walks(3)
    status, out, err = tally(capsys, "density", "g.uai")
    assert (status, err) == (0, []) and any(line.startswith("ln Z ") for line in out)
    assert out[0].startswith("problem   g.uai: 2 variables of up to 3 states")
    for data in (UAI.encode(), gzip.compress(UAI.encode())):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert tally(capsys, "density", "-")[0] == 0
    assert [problem.num_variables for problem, _ in calls] == [2, 2, 2]
    (files / "e.evid").write_text("1 0 1\n")
    assert tally(capsys, "density", "g.uai", "--evidence", "e.evid")[0] == 0
    assert calls[-1][0].log_unary[0].tolist()[0] == -math.inf


def test_options_reach_the_walk(capsys, files, walks):
    calls = walks(2)
    words = "--rule mixture --highest 5 --seed 4 --timeout 100 --memory 64".split()
    assert tally(capsys, "density", "f.cnf", *words)[0] == 0
    options = calls[0][1]
    assert (options["rule"].name, options["highest"]) == ("mixture of 0.5", 5)
    assert (options["seed"], options["memory"]) == (4, 64) and 50 < options["timeout"] <= 100
    weighted = "p cnf 2 1\nc p show 1 0\nc p weight 1 0.4 0\n1 2 0\n"
    (files / "w.cnf").write_text(weighted)
    assert tally(capsys, "density", "w.cnf", "--ignore-weights")[0] == 0
    assert calls[-1][0].projection is None and calls[-1][0].log_weights is None


def test_long_tables_are_cut_and_merged_levels_named(capsys, files, walks):
    walks(200, {"message": "walkers\ncame seldom"}, merged=True)
    out = tally(capsys, "density", "f.cnf")[1]
    table = out[1 + [line.split()[:1] for line in out].index(["energy"]) :]
    assert [line.split()[0] for line in table[:12]] == [str(i) for i in range(12)]
    assert 20 <= len(table) <= 24 and table[-1].split()[0] == "above"
    assert "note      walkers came seldom" in out
    assert table[0].split()[1:] == ["0.6931", "0.12", "0.3010"]


@pytest.mark.parametrize(
    "status, code, complaint",
    [("interrupted", 130, ["tally: interrupted"]), ("timeout", 0, [])],
)
def test_what_ended_early_is_printed(status, code, complaint, capsys, files, walks):
    walks(2, {"status": status, "message": "no steps"})
    got, out, err = tally(capsys, "density", "f.cnf", "--json")
    assert (got, err) == (code, complaint)
    assert json.loads(out[-1])["status"] == status and "note      no steps" in out


@pytest.mark.parametrize(
    "command, message",
    [
        ("density", "expected FILE, given none"),
        ("density nowhere.cnf", "nowhere.cnf: no such file"),
        ("density f.cnf --rule fast", "--rule: expected one of plain, mixture, rejection-free,"),
        ("density f.cnf --timeout 0", "--timeout: expected seconds between 0 and 1e9, given 0"),
        ("density f.cnf --evidence f.cnf", "--evidence: expected a UAI model, given a formula"),
        ("density - --evidence -", "expected one of file and --evidence as -, given both"),
        ("density f.cnf --highest 0", "expected a highest level of at least 1, given 0"),
        ("density w.cnf", "expected a formula whose assignments all count alike, given a sampling"),
        ("density g.uai --rule rejection-free", "expected two states a variable without"),
        ("density f.cnf --figure nowhere/x.png", "nowhere/x.png: "),
        ("density b.uai", "b.uai:"),
    ],
)
def test_errors_are_one_line(command, message, capsys, files):
    (files / "w.cnf").write_text("p cnf 2 1\nc p show 1 0\n1 2 0\n")
    (files / "b.uai").write_bytes(b"MARKOV\n1\n\xff")
    status, out, [line] = tally(capsys, *command.split())
    assert (status, out) == (2, []) and line.startswith(f"tally: error: {message}")


def test_lattices_are_drawn_at_all_temperatures(capsys, files, walks):
    uai.write(generators.ising_grid(2, 2, 0.5), files / "i.uai")
    walks(5)
    assert tally(capsys, "density", "i.uai", "--figure", "i.png")[0] == 0
    assert (files / "i.png").exists()
