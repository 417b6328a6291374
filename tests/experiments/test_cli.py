import gzip
import io
import json
import math
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

import experiments.solve
from experiments import __main__ as main_module
from experiments.cli import main
from experiments.cli.verbs import count
from experiments.harness import claims
from experiments.solve import methods
from experiments.training import trainers
from inference import answer, estimate, samples
from inference.problems import dimacs, factor_graph, generators, uai

CNF = "p cnf 3 2\n1 2 0\n-1 3 0\n"
UAI = "MARKOV\n2\n2 3\n1\n2 0 1\n6\n1 2 3 4 5 6\n"
LN2 = math.log(2.0)


def info(**fields):
    defaults = {"method": "ganak", "status": "done", "oracle_calls": 1, "seed": 0, "message": ""}
    defaults |= {"claim": estimate.Claim.NONE, "error": math.inf, "converged": None}
    defaults |= {"ess": 812.3, "rhat": 1.0042}
    return SimpleNamespace(**{**defaults, "seconds": 0.1, **fields})


def drawn(rows):
    rows = np.array(rows, np.int8).reshape(-1, 2)
    return samples.Samples(rows, samples.SampleClaim.ASYMPTOTIC, independent=False)


@pytest.fixture
def solve(monkeypatch):
    """Stands where the entries of ``experiments.solve`` stand, and keeps what they were given."""
    calls = []

    def stand_in(given, fields):
        def call(problem, **options):
            calls.append((problem, options))
            if isinstance(given, BaseException):
                raise given
            return given, info(**{"seed": options["seed"], **fake.info, **fields})

        return call

    def answer_with(fields=None, **given):
        for name, value in given.items():
            monkeypatch.setattr(experiments.solve, name, stand_in(value, fields or {}))
        return calls

    fake = SimpleNamespace(info={}, answer_with=answer_with)
    answer_with(
        count=estimate.exact_count(4, failure=1e-6),
        partition=estimate.certain(math.log(21.0), 1e-12),
        marginals=np.array([[0.25, 0.75, 0.0], [0.2, 0.3, 0.5]]),
        maximize=answer.Answer(answer.Status.OPTIMAL, LN2, LN2, np.array([[1, 2]])),
        sample=drawn([[1, 2], [0, 0]]),
    )
    return fake


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.cnf").write_text(CNF)
    (tmp_path / "g.uai").write_text(UAI)
    return tmp_path


def tally(capsys, *words):
    """Status, lines of standard output, lines of standard error."""
    status = main.main([str(word) for word in words])
    out, err = capsys.readouterr()
    return status, out.splitlines(), err.splitlines()


def test_help_and_version(capsys):
    assert tally(capsys)[:2] == tally(capsys, "--help")[:2]
    status, out, err = tally(capsys)
    told = [line.split()[0] for line in out if line.startswith("  ")]
    assert (status, err, told) == (0, [], list(main.VERBS)) and "count" in told
    status, out, err = tally(capsys, "--version")
    assert (status, err) == (0, []) and out[0].startswith("tally ")


def test_a_command_imports_its_verb_alone():
    program = """
import sys
from experiments.cli import main
main.main(["count", "--help"])
print(*(name for name in sys.modules if name.startswith("experiments.cli.verbs.")))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "experiments.cli.verbs.count"


@pytest.mark.parametrize("verb", main.VERBS)
def test_every_verb_has_help(verb, capsys, solve):
    status, out, err = tally(capsys, verb, "--help")
    assert (status, err) == (0, []) and out[0].startswith(f"usage: tally {verb}")
    if verb in ("count", "partition"):
        assert any(line.startswith("  auto ") for line in out)


def test_count_prints_the_competition_lines(capsys, solve, files):
    calls = solve.answer_with()
    status, out, err = tally(capsys, "count", "f.cnf", "--epsilon", "0.3", "--seed", "7")
    assert (status, err) == (0, [])
    assert [line for line in out if line.startswith(("s ", "c s"))] == [
        "s SATISFIABLE",
        "c s type mc",
        f"c s log10-estimate {math.log10(4):.15g}",
        "c s exact arb int 4",
    ]
    assert all(line.startswith(("c o ", "c s ", "s ")) for line in out)
    assert "c o problem f.cnf: 3 variables, 2 clauses" in out
    [(formula, options)] = calls
    assert formula.num_clauses == 2 and (options["epsilon"], options["seed"]) == (0.3, 7)


def test_json_has_exactly_the_documented_keys(capsys, solve, files):
    out = tally(capsys, "count", "f.cnf", "--json")[1]
    record = json.loads(out[-1])
    assert list(record) == [
        *("problem", "method", "claim", "log2_value", "log2_lower", "log2_upper"),
        *("failure_lower", "failure_upper", "count", "seconds", "oracle_calls", "seed", "status"),
    ]
    assert (record["problem"], record["method"], record["claim"]) == ("f.cnf", "ganak", "probable")
    assert record["count"] == "4" and record["status"] == "done"
    assert record["log2_lower"] <= 2.0 <= record["log2_upper"]
    assert out[:-1] != [] and "s SATISFIABLE" in out


def test_an_estimate_that_claims_nothing_is_printed_but_proves_no_model(capsys, solve, files):
    solve.answer_with(count=estimate.Estimate(math.log(100.0)))
    _, out, _ = tally(capsys, "count", "f.cnf")
    assert "s UNKNOWN" in out and "c s log10-estimate 2" in out


@pytest.mark.parametrize(
    "status, code, complaint",
    [
        ("failed", 2, ["tally: error: approxmc failed: a worker died"]),
        ("interrupted", 130, ["tally: interrupted"]),
        ("timeout", 0, []),
    ],
)
def test_a_count_that_did_not_end_has_a_claim_and_no_answer(
    status, code, complaint, capsys, solve, files
):
    told = {"method": "approxmc", "status": status, "message": "a worker died"}
    solve.answer_with(told, count=estimate.bounded(3.0, 2.0, 9.0, 0.1, 0.1))
    got, out, err = tally(capsys, "count", "f.cnf", "--json", "--save", "saved.json")
    assert (got, err) == (code, complaint)
    assert "s SATISFIABLE" in out and json.loads(out[-1])["status"] == status
    assert [line for line in out if line.startswith("c s")] == ["c s type mc"]
    assert json.loads((files / "saved.json").read_text())["status"] == status
    if status != "timeout":
        for verb, given in (
            ("partition", estimate.bounded(3.0, 2.0, 9.0, 0, 0)),
            ("maximize", answer.Answer(answer.Status.UNKNOWN)),
        ):
            solve.answer_with(told, **{verb: given})
            assert tally(capsys, verb.replace("maximize", "map"), "g.uai")[::2] == (code, complaint)


def test_a_bound_on_one_side_is_no_answer(capsys, solve, files):
    solve.answer_with(count=estimate.bounded(3.0, 3.0, math.inf, 0.1, 0.0))
    _, out, _ = tally(capsys, "count", "f.cnf")
    assert "s SATISFIABLE" in out
    assert [line for line in out if line.startswith("c s")] == ["c s type mc"]


@pytest.mark.parametrize("option", ["--save", "--checkpoint", "--write-support"])
def test_what_cannot_be_written_is_refused_before_the_count(option, capsys, solve, files):
    calls = solve.answer_with()
    for path in ("nowhere/x", "."):
        status, out, [line] = tally(capsys, "count", "f.cnf", option, path)
        assert (status, out, calls) == (2, [], []) and line.startswith(f"tally: error: {path}: ")


@pytest.mark.parametrize(
    "command, message",
    [
        ("count f.cnf --timeout abc", "--timeout: expected a number, given 'abc'"),
        ("partition g.uai --timeout abc", "--timeout: expected a number, given 'abc'"),
        ("count f.cnf --seed 1.5", "--seed: expected an integer, given '1.5'"),
        ("count f.cnf --memory much", "--memory: expected an integer, given 'much'"),
        ("count f.cnf --memory 5", "--memory: expected 32 to 2^40 mebibytes, given 5"),
        ("count f.cnf --epsilon", "--epsilon: expected a value, given none"),
        ("count f.cnf b.cnf", "expected one file, given a second: b.cnf"),
        ("map g.uai b.uai", "expected one file, given a second: b.uai"),
        ("run stand_in again", "expected one name, given a second: again"),
        ("list everything", "expected no more words, given: everything"),
        ("partition", "expected FILE, given none"),
        (
            "count f.cnf --assume 1 x",
            "--assume: expected numbers in a formula without names, given",
        ),
        ("count f.cnf --assume 4", "--assume: expected a literal of the variables 1..3, given 4"),
        ("count f.cnf --condition f.cnf --save x", "expected --condition or --save, given both"),
        ("count - --condition -", "expected one of formula and --condition as -, given both"),
        ("count f.cnf --figure x.png", "expected --each with --figure, given none"),
        ("count f.cnf --each --epsilon 2", "expected --each or --epsilon, given both"),
        ("count f.cnf --each --method ganak", "expected --each or --method, given both"),
        ("count f.cnf --assume 1 --save x", "expected --assume or --save, given both"),
        ("count g.uai", "g.uai:1: expected a line 'p cnf VARIABLES CLAUSES', given a UAI model"),
        ("marginals f.cnf", "f.cnf:1: expected MARKOV or BAYES, given a CNF formula, which `tally"),
        ("map - --evidence -", "expected one of model and evidence as -, given both"),
        ("help cuont", "unknown command 'cuont', did you mean count?"),
    ],
)
def test_errors_are_in_plain_words(command, message, capsys, solve, files, stand_in):
    status, out, [line] = tally(capsys, *command.split())
    assert (status, out) == (2, []) and line.startswith(f"tally: error: {message}")


def test_help_for_a_verb(capsys):
    assert tally(capsys, "help", "map") == tally(capsys, "map", "--help")


@pytest.mark.parametrize("verb", ["partition", "marginals", "map"])
def test_models_from_standard_input(verb, capsys, solve, files, monkeypatch):
    expected = tally(capsys, verb, "g.uai")[1][1:]
    for data in (UAI.encode(), gzip.compress(UAI.encode())):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert [line for line in tally(capsys, verb, "-")[1][1:] if "method" not in line] == [
            line for line in expected if "method" not in line
        ]


def test_literals_can_be_assumed(capsys, files):
    for method in ("exact", "approxmc", "adaptive"):
        words = ["--method", method, "--assume", "-1", "2", "--json"]
        record = json.loads(tally(capsys, "count", "f.cnf", *words)[1][-1])
        assert record["log2_lower"] <= 1.0 <= record["log2_upper"]


def test_a_memory_limit_ends_in_one_line(tmp_path):
    dimacs.write(generators.chain(100_000), tmp_path / "big.cnf")
    for method in ("approxmc", "ganak"):
        words = ["count", str(tmp_path / "big.cnf"), "--method", method, "--memory", "32"]
        done = subprocess.run(
            [sys.executable, "-m", "experiments", *words], capture_output=True, text=True
        )
        assert done.returncode == 2 and "arb int" not in done.stdout
        assert done.stderr.startswith(f"tally: error: {method} failed: out of memory at the limit")
        assert done.stderr.count("\n") == 1
        # Of hashing what holds anyway is left, of Ganak there is no part of an answer.
        claim = "the count lies within [0, 2^100000], certain\ns UNKNOWN\n"
        assert (claim in done.stdout) == bool(done.stdout) == (method == "approxmc")


def test_huge_counts_are_printed_in_full(capsys, solve, files):
    solve.answer_with(count=estimate.exact_count(10**20000))
    out = tally(capsys, "count", "f.cnf", "--json")[1]
    assert f"c s exact arb int 1{'0' * 20000}" in out
    assert json.loads(out[-1])["count"] == "1" + "0" * 20000


def test_partition_marginals_and_map(capsys, solve, files):
    status, out, err = tally(capsys, "partition", "g.uai", "--json")
    assert (status, err) == (0, []) and out[-3] == "PR"
    assert math.isclose(float(out[-2]), math.log10(21))
    assert json.loads(out[-1])["claim"] == "certain"
    assert any(line.startswith("log2 Z") for line in out)
    status, out, err = tally(capsys, "marginals", "g.uai")
    assert out[-2:] == ["MAR", "2 2 0.25 0.75 3 0.2 0.3 0.5"]
    assert json.loads(tally(capsys, "marginals", "g.uai", "--json")[1][-1])["marginals"] == [
        [0.25, 0.75],
        [0.2, 0.3, 0.5],
    ]
    assert tally(capsys, "map", "g.uai")[1][-2:] == ["MPE", "2 1 2"]
    record = json.loads(tally(capsys, "map", "g.uai", "--json")[1][-1])
    assert record["assignment"] == [1, 2] and record["log2_value"] == pytest.approx(1.0)


def test_marginals_say_what_they_claim(capsys, solve, files):
    solve.info = {"converged": False, "message": "gave up", "status": "timeout", "seed": None}
    status, out, err = tally(capsys, "marginals", "g.uai", "--json")
    assert (status, err) == (0, ["tally: warning: " + DOUBT])
    assert "claim     none" in out and "guarantee none; the marginals may be anything" in out
    assert any(line.startswith("method") and "timeout" in line for line in out)
    assert any("nothing drawn" in line for line in out)
    record = json.loads(out[-1])
    found = [record[name] for name in ("claim", "converged", "note", "error", "seed", "status")]
    assert found == ["none", False, "gave up", "inf", None, "timeout"]
    solve.info = {"claim": estimate.Claim.CERTAIN, "error": 2e-12}
    status, out, err = tally(capsys, "marginals", "g.uai", "--json")
    assert (status, err) == (0, []) and "claim     certain" in out
    assert "guarantee exact marginals, each within 2e-12, certain" in out
    assert json.loads(out[-1])["error"] == 2e-12


def test_sample_prints_what_chains_tell_and_a_sample_a_line(capsys, solve, files):
    solve.info = {"method": "gibbs", "converged": True, "message": "8 chains"}
    status, out, err = tally(capsys, "sample", "g.uai", "-n", "2", "--json")
    assert (status, err) == (0, []) and out[-3:-1] == ["1 2", "0 0"]
    assert {"claim     asymptotic", "samples   2 of 2", "note      8 chains"} <= {*out}
    assert any(line.startswith("ESS       812,") for line in out)
    assert any(line.startswith("R-hat     1.004,") for line in out)
    record = json.loads(out[-1])
    assert record["samples"] == [[1, 2], [0, 0]] and record["claim"] == "asymptotic"
    assert (record["ess"], record["rhat"], record["converged"]) == (812.3, 1.0042, True)
    [(_, options)] = solve.answer_with()
    assert (options["num_samples"], options["method"], options["seed"]) == (2, "auto", 0)
    status, out, err = tally(capsys, "sample", "g.uai", "--out", "drawn.txt", "--json")
    assert (files / "drawn.txt").read_text() == "1 2\n0 0\n"
    assert "1 2" not in out and "samples" not in json.loads(out[-1])


def test_samples_of_chains_that_disagree_come_with_a_warning(capsys, solve, files):
    solve.info = {"method": "gibbs", "converged": False, "ess": math.nan, "rhat": math.inf}
    status, out, err = tally(capsys, "sample", "g.uai", "--json")
    warning = "not converged (gibbs): these samples may be far off"
    assert (status, err) == (0, [f"tally: warning: {warning}"])
    assert any(line.startswith("ESS       unknown") for line in out)
    record = json.loads(out[-1])
    assert (record["ess"], record["rhat"]) == ("nan", "inf")


def test_ctrl_c_leaves_the_samples_so_far(capsys, solve, files):
    told = {"method": "gibbs", "converged": False, "status": "interrupted"}
    solve.answer_with(told, sample=drawn([[1, 1]]))
    status, out, err = tally(capsys, "sample", "g.uai")
    assert status == 130 and out[-2:] == ["samples   1 of 10", "1 1"]
    assert err[-1] == "tally: interrupted"
    solve.answer_with(told, sample=drawn([]))
    status, out, err = tally(capsys, "sample", "g.uai")
    assert (status, out[-1], err) == (130, "samples   0 of 10", ["tally: interrupted"])


DOUBT = "not converged (ganak): these marginals may be far off"


@pytest.mark.parametrize("verb", ["partition", "marginals", "map", "sample"])
def test_help_lists_what_answers(capsys, verb):
    out = tally(capsys, verb, "--help")[1]
    names = {"partition": "log_partition", "map": "maximize"}
    for method, text in methods.lines(names.get(verb, verb)).items():
        assert f"  {method:<12} {text}" in out


def test_reading_counts_for_the_time_limit(capsys, solve, files, monkeypatch):
    calls = solve.answer_with()
    for verb in ("partition", "marginals", "map", "sample"):
        words = [verb, "g.uai", "--timeout", "4"]
        assert main.main(words, started=time.monotonic() - 3.0) == 0
        assert 0.5 < calls[-1][1]["timeout"] <= 1.0
        assert main.main(words, started=time.monotonic() - 9.0) == 0
        assert calls[-1][1]["timeout"] == 0.0


def test_compilations_are_kept_where_a_folder_can_be_written(tmp_path, monkeypatch):
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("no folder")
    main_module._keep_compilations()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    main_module._keep_compilations()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "tally" / "jax")
    assert not (tmp_path / "tally").exists()  # JAX makes it once there is something to keep
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "mine")
    main_module._keep_compilations()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "mine"


def test_map_without_an_answer(capsys, solve, files):
    solve.answer_with(maximize=answer.Answer(answer.Status.UNKNOWN))
    status, out, err = tally(capsys, "map", "g.uai", "--json")
    record = json.loads(out[-1])
    assert (record["assignment"], record["log2_value"], record["log2_upper"]) == (
        *(None, "-inf", "inf"),
    )


BAD = [
    "count nowhere.cnf",
    "count .",
    "count empty.cnf",
    "count wrong.cnf",
    "count f.cnf g.cnf",
    "count f.cnf --method magic",
    "count f.cnf --epsilon 0",
    "count f.cnf --epsilon nan",
    "count f.cnf --epsilon many",
    "count f.cnf --delta 0",
    "count f.cnf --delta 1",
    "count f.cnf --timeout 0",
    "count f.cnf --timeout nan",
    "count f.cnf --timeout inf",
    "partition g.uai --timeout -1",
    "map g.uai --timeout 0",
    "sample",
    "sample nowhere.uai",
    "sample f.cnf",
    "sample g.uai -n 0",
    "sample g.uai -n many",
    "sample g.uai -n",
    "sample g.uai --method ganak",
    "sample g.uai --method elimination",
    "sample g.uai --seed -1",
    "sample g.uai --timeout 0",
    "sample g.uai --evidence wrong.evid",
    "sample g.uai --out .",
    "sample g.uai --out nowhere/x",
    "count f.cnf --memory 0",
    "count f.cnf --memory 1000000000000000000000",
    "count f.cnf --seed -1",
    "count f.cnf --seed 4294967296",
    "count f.cnf --seed 1.5",
    "count f.cnf --epsilom 0.8",
    "count f.cnf --epsilon",
    "partition",
    "partition nowhere.uai",
    "partition empty.cnf",
    "partition g.uai --evidence nowhere.evid",
    "partition g.uai --evidence wrong.evid",
    "partition g.uai --method magic",
    "marginals f.cnf",
    "map f.cnf",
    "cuont",
    "--frobnicate",
    "list everything",
    "show",
    "show nothing",
    "run",
    "run nothing",
    "run --preset smoke",
    "run stand_in --preset vast",
    "run stand_in --fields 3",
    "run stand_in --n many",
    "run stand_in again",
    "run stand_in --sizes 1 x",
    "run stand_in --preset",
    "run stand_in --seed -1",
    "run stand_in --preset smoke --out f.cnf",
    "run stand_in --preset smoke --loud",
    "plot",
    "plot nowhere",
    "plot .",
    "plot f.cnf",
]


@pytest.mark.parametrize("command", BAD)
def test_bad_commands_end_in_one_line(command, capsys, solve, files, stand_in):
    (files / "empty.cnf").write_text("")
    (files / "wrong.cnf").write_text("p cnf 2 1\n1 3 0\n")
    (files / "wrong.evid").write_text("1 1 9\n")
    status, out, err = tally(capsys, *command.split())
    assert status == 2 and out == []
    assert len(err) == 1 and err[0].startswith("tally: error: ") and len(err[0]) > 25
    assert "│" not in err[0] and "Traceback" not in err[0]


def test_refusals_of_the_solver_are_one_line_too(capsys, solve, files):
    solve.answer_with(count=ValueError("approxmc takes\nno weights"))
    assert tally(capsys, "count", "f.cnf")[2] == ["tally: error: approxmc takes no weights"]
    solve.answer_with(count=ZeroDivisionError("by zero"))
    [line] = tally(capsys, "count", "f.cnf")[2]
    assert line.startswith("tally: error: ZeroDivisionError: by zero")


def test_tracebacks_can_be_asked_for(capsys, solve, files, monkeypatch):
    monkeypatch.setenv(main.TRACEBACK, "1")
    solve.answer_with(count=ZeroDivisionError("by zero"))
    with pytest.raises(ZeroDivisionError):
        main.main(["count", "f.cnf"])


def test_an_interrupt_is_one_line(capsys, solve, files):
    solve.answer_with(count=KeyboardInterrupt())
    assert tally(capsys, "count", "f.cnf") == (130, [], ["tally: interrupted"])


def test_warnings_are_one_line(capsys, solve, files):
    (files / "f.cnf").write_text("p cnf 3 5\n1 2 0\n")
    status, out, err = tally(capsys, "count", "f.cnf")
    assert status == 0 and len(err) == 1 and err[0].startswith("tally: warning: f.cnf:1")


def test_experiments_run_and_plot(capsys, files, stand_in):
    assert any(line.startswith("stand_in") for line in tally(capsys, "list")[1])
    shown = "\n".join(tally(capsys, "show", "stand_in")[1])
    assert "preset paper: n=9" in shown
    assert "checked after every run: The scale is below 100." in shown
    help_text = "\n".join(tally(capsys, "run", "stand_in", "--help")[1])
    assert "how many rows" in help_text and "--preset" in help_text and "Nobody" not in help_text
    words = "run stand_in --preset smoke --scale -2.5 --sizes 3 4 5 --seed 9 --out there".split()
    status, out, err = tally(capsys, *words)
    assert (status, err) == (0, [])
    folder = files / out[-1]
    config = json.loads((folder / "config.json").read_text())
    assert config["config"] == {"n": 2, "scale": -2.5, "sizes": [3, 4, 5], "loud": False}
    assert (config["preset"], config["changed"]) == ("smoke", ["scale", "sizes"])
    assert "scale -2.5 volts" in out
    assert (folder / "summary.txt").read_text().splitlines()[: len(out) - 1] == out[:-1]
    assert folder.name.endswith("-s9") and folder.parent == files / "there" / "stand_in"
    first = (folder / "figure.png").read_bytes()
    (folder / "figure.png").unlink()
    assert tally(capsys, "plot", out[-1]) == (0, [f"{out[-1]}/figure.png"], [])
    assert (folder / "figure.png").read_bytes() == first
    assert tally(capsys, "plot", f"{out[-1]}/config.json", "--out", "f.svg")[0] == 0
    assert "<svg" in (files / "f.svg").read_text()


def test_a_broken_promise_is_told_and_its_result_kept(capsys, files, stand_in):
    words = "run stand_in --preset smoke --scale 1000 --out there".split()
    status, out, err = tally(capsys, *words)
    expected = "stand_in breaks its promise: expected a scale below 100, given 1000"
    assert (status, err) == (2, [f"tally: error: {expected}"])
    assert (files / out[-1] / "figure.png").exists()


@pytest.mark.parametrize(
    ("given", "fields", "expected"),
    [
        (estimate.exact_count(0), {}, "UNSATISFIABLE unsatisfiable"),
        (estimate.exact_count(5), {}, "SATISFIABLE done"),
        (estimate.Estimate(3.0), {}, "UNKNOWN done"),
        (estimate.bounded(0, -math.inf, 9.0, 0, 0), {"status": "timeout"}, "UNKNOWN timeout"),
        (estimate.bounded(1, 0.5, 9.0, 0, 0), {"status": "timeout"}, "SATISFIABLE timeout"),
        (estimate.Estimate(-math.inf), {"status": "interrupted"}, "UNKNOWN interrupted"),
    ],
)
def test_verdicts(given, fields, expected):
    words = claims.satisfiable(given, info(**fields)), claims.status(given, info(**fields))
    assert " ".join(words) == expected


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (estimate.exact_count(96), "exact count, certain"),
        (estimate.exact_count(0), "exact count, certain"),
        (
            estimate.exact_count(96, failure=1e-6),
            "exact count; wrong on either side with probability at most 1e-06",
        ),
        (
            estimate.bounded(4 * LN2, 3 * LN2, 5 * LN2, 0.1, 0.2),
            "the count lies within [2^3, 2^5]; wrong below with probability at most 0.1 and "
            "above with probability at most 0.2",
        ),
        (estimate.bounded(0, -math.inf, 5 * LN2, 0, 0), "the count lies within [0, 2^5], certain"),
        (estimate.Estimate(1.0), "none; the count may be anything"),
    ],
)
def test_guarantees_in_words(given, text):
    assert claims.guarantee(given, "", "count") == text


def test_values_of_any_magnitude():
    def line(log_value, weighted):
        return count._value_line(estimate.certain(log_value, 1.0), weighted)

    text = "approx double prec-sci"
    assert line(math.log(2.5) - 580 * math.log(10), True) == f"{text} 2.5000000000e-580"
    assert line(math.log(2.5) + 1e7 * math.log(10), True).endswith("e+10000000")
    assert line(-math.inf, True) == "exact double prec-sci 0"
    assert line(math.log(1000), False) == "approx arb int 1000"
    exact = estimate.certain(math.log(2.0), 2e-13)
    assert count._value_line(exact, True) == "exact double prec-sci 2.000000000000e+0"
    digits = line(300 * LN2, False).split()[-1]
    assert abs(int(digits) / 2**300 - 1) < 1e-12


def test_a_reader_who_leaves_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "experiments", "--help"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_the_name_of_a_file_may_be_beyond_the_encoding_of_the_output(tmp_path):
    file = tmp_path / "f\N{LATIN SMALL LETTER U WITH DIAERESIS}.cnf"
    file.write_text(CNF)
    command = [sys.executable, "-m", "experiments", "count", str(file), "--json"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, env=environment)
    assert json.loads(done.stdout.splitlines()[-1])["count"] == "4"
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    "method, seconds, more",
    [
        ("exact", 1.5, []),
        ("approxmc", 1.5, []),
        ("approxmc", 2.2, []),
        ("approxmc", 3.0, ["--memory", "500"]),
    ],
)
def test_ctrl_c_leaves_a_valid_answer(method, seconds, more, tmp_path):
    formula = generators.latin_square(9) if method == "exact" else generators.random_ksat(5, 90, 90)
    dimacs.write(formula, tmp_path / "hard.cnf")
    words = ["count", str(tmp_path / "hard.cnf"), "--method", method, "--epsilon", "0.03", "--json"]
    command = [sys.executable, "-m", "experiments", *words, *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        time.sleep(seconds)
        running.send_signal(signal.SIGINT)
        printed, complaints = running.communicate(timeout=20)
    last = json.loads(printed.splitlines()[-1])
    assert (running.returncode, last["status"]) == (130, "interrupted")
    assert complaints == b"tally: interrupted\n"
    assert last["claim"] == "probable" if more else last["claim"] in ("certain", "probable")
    assert float(last["log2_lower"]) < float(last["log2_upper"])
    assert last["log2_upper"] <= len(formula.sampling_set) * (1 + 1e-9)


def test_packages_of_others_are_noticed(tmp_path):
    (tmp_path / "inference").mkdir()
    (tmp_path / "inference" / "__init__.py").write_text("")
    command = [sys.executable, "-m", "experiments", "list"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("tally: error: expected the package")
    assert done.stderr.count("\n") == 1


def test_training_writes_weights(capsys, files, monkeypatch):
    asked = []

    def train(name, **options):
        asked.append((name, options["steps"], options["folder"]))
        loss = np.array([3.0, 2.0])
        return {"a": np.ones(2)}, SimpleNamespace(status="done", loss=loss, validation=loss)

    monkeypatch.setattr(trainers, "train", train)
    assert main.main(["train", "gnn", "--steps", "2", "--out", "w.npz"]) == 0
    assert "done" in capsys.readouterr().out
    assert asked == [("gnn", 2, None)]
    with np.load("w.npz") as stored:
        assert [stored[name].tolist() for name in stored] == [[1.0, 1.0]]


@pytest.mark.parametrize(
    "words, message",
    [
        (["nothing"], "expected one of bpnn_d, "),
        (["bpnn_sat"], "expected --folder with formulas"),
        (["bpnn_d", "--folder", "there"], "bpnn_d makes its own training data"),
        (["bpnn_d", "--steps", "0"], "--steps: expected at least 1, given 0"),
    ],
)
def test_training_refuses_in_one_line(words, message, capsys, files):
    assert main.main(["train", *words]) == 2
    assert message in capsys.readouterr().err


def test_an_interrupted_command_leaves_without_winding_up():
    # JAX, still computing in its threads, crashed meanwhile; the status was that of the crash.
    program = """
import atexit, sys, types
from experiments import __main__ as main_module
from experiments.cli import main
sys.modules["jax"] = types.ModuleType("jax")
main.main = lambda *_, **__: print("so far") or 130
atexit.register(print, "winding up")
sys.exit(main_module.main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "so far\n")


@pytest.mark.parametrize("more", [[], ["--timeout", "200"]])
def test_ctrl_c_ends_real_chains_with_what_they_have(more, tmp_path):
    # Hard constraints of which single changes satisfy none: the chains never agree.
    table = np.where(np.arange(2)[:, None] == np.arange(2), 0.0, -np.inf)
    ring = factor_graph.build([2] * 4000, [((i, (i + 1) % 4000), table) for i in range(4000)])
    uai.write(ring, tmp_path / "ring.uai")
    words = ["sample", str(tmp_path / "ring.uai"), "--method", "gibbs", "-n", "3", "--json", *more]
    command = [sys.executable, "-m", "experiments", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        time.sleep(6.0)
        running.send_signal(signal.SIGINT)
        printed, complaints = running.communicate(timeout=60)
    assert running.returncode == 130, complaints
    assert complaints.decode().splitlines()[-1] == "tally: interrupted"
    if printed:  # else it was still being imported
        record = json.loads(printed.decode().splitlines()[-1])
        assert record["status"] == "interrupted" and len(record["samples"]) in (0, 3)
