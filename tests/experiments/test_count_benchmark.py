"""The benchmark of counters: its peers' corrections, its verdicts, its limits, its figures."""

import dataclasses
import math
import pathlib
import time
from contextlib import nullcontext

import numpy as np
import pytest

import reference
from experiments import count_benchmark
from experiments.harness import commands, counting_families, peers, promises, registry
from inference.problems import cnf, dimacs, generators

pytest.importorskip("pyapproxmc")

# Small counts, which ApproxMC finds exactly; what it forgets are the factors of free variables.
KNOWN = {
    "nothing": (cnf.from_clauses([], num_variables=0), 1),
    "no clause": (cnf.from_clauses([], num_variables=5), 32),
    "empty clause": (cnf.from_clauses([[1], []], num_variables=3), 0),
    "no model": (cnf.from_clauses([[1], [-1]], num_variables=4), 0),
    "free above": (cnf.from_clauses([[1, 2]], num_variables=6), 3 * 16),
    "free below": (cnf.from_clauses([[5, 6]], num_variables=6), 3 * 16),
    "free in clauses": (cnf.from_clauses([[1, -1, 2], [3, 4]], num_variables=5), 8 * 3),
    "free, projected": (cnf.from_clauses([[3, 4]], projection=[1, 2]), 4),
    "empty projection": (cnf.from_clauses([[3, 4]], projection=[]), 1),
    "xor": (cnf.from_clauses([[1, 2]], xors=[(range(1, 8), True)], num_variables=8), 48 * 2),
    "projected xor": (cnf.from_clauses([], xors=[([1, 2, 3], True)], projection=[1, 2]), 4),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_peers_know_small_counts(name):
    formula, count = KNOWN[name]
    assert peers.approxmc(formula, 0.8, 0.2, seed=1) == pytest.approx(peers._log2(count))
    assert peers.ganak(formula, seed=1) == pytest.approx(peers._log2(count))


@pytest.mark.parametrize("seed", range(4))
def test_the_peers_against_enumeration(seed):
    sampled = np.array([1, 4, 5, 6, 9], dtype=np.int32)
    formula = dataclasses.replace(generators.random_ksat(seed, 10, 12), projection=sampled)
    count = reference.count_models(10, formula.clauses.tolist(), projection=sampled.tolist())
    assert peers.approxmc(formula, 0.8, 0.2, seed) == pytest.approx(math.log2(count))
    assert peers.ganak(formula, seed) == pytest.approx(math.log2(count))


def test_a_peer_answers_as_a_command(tmp_path):
    dimacs.write(cnf.from_clauses([[1, 2]], num_variables=6), tmp_path / "f.cnf")
    words = ["experiments.harness.peers", "approxmc", tmp_path / "f.cnf", 0.5, 0.2, 1]
    seconds, answer = commands.call(words, limit=60.0)
    assert seconds > 0 and answer["status"] == "done"
    middle = math.log2(48)
    bounds = [middle - math.log2(1.5), middle, middle + math.log2(1.5)]
    names = ["log2_lower", "log2_value", "log2_upper"]
    assert [answer[name] for name in names] == pytest.approx(bounds)


def test_a_failing_command_says_why():
    _, answer = commands.call(["experiments.harness.peers", "abacus", "f", 1, 1, 1], limit=60.0)
    assert answer["status"] == "failed" and "FileNotFoundError" in answer["message"]


def test_a_command_past_its_limit_is_killed_with_its_children(tmp_path, monkeypatch):
    late = tmp_path / "late"
    (tmp_path / "sleeper.py").write_text(
        f"import subprocess\nsubprocess.run(['sh', '-c', 'sleep 2; touch {late}'])\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    seconds, answer = commands.call(["sleeper"], limit=1.0)
    assert answer == {"status": "timeout"} and 1.0 <= seconds < 2.0
    time.sleep(1.5)
    assert not late.exists()


def run(config, seed=1):
    return registry.run(registry.load("count_benchmark"), config, seed)


def test_a_time_limit_in_earnest(tmp_path, monkeypatch):
    monkeypatch.setattr(count_benchmark, "GRACE", 1.0)
    dimacs.write(generators.latin_square(12), tmp_path / "latin.cnf")
    config = count_benchmark.Config(str(tmp_path), tools=("ganak", "hashing"), timeout=2.0)
    result = run(config)
    assert result.columns["status"].tolist() == ["timeout", "timeout"]
    assert result.columns["seconds_par2"].tolist() == [4.0, 4.0]
    assert result.scalars["solved_ganak"] == result.scalars["contradictions_hashing"] == 0


@pytest.fixture
def scripted(tmp_path, monkeypatch):
    """Replaces processes: {(file, tool): [(seconds, log2 count or status), ...]}.

    Runs on one clause take 0.1 s, or what ``starts`` lists.
    """
    script, calls, starts = {}, [], []

    def call(words, limit):
        ours = "--method" in words
        tool = words[words.index("--method") + 1] if ours else words[1]
        tool = "hashing" if ours and tool == "approxmc" else tool
        file = pathlib.Path(words[2] if ours or "peers" in words[0] else words[1]).name
        if not (tmp_path / file).exists():
            return starts.pop(0) if starts else 0.1, {"status": "done"}
        calls.append((file, tool))
        seconds, found = script[file, tool].pop(0)
        if isinstance(found, str):
            return seconds, {"status": found}
        width = 0.0 if tool == "ganak" else 0.8
        bounds = {"log2_lower": found - width, "log2_upper": found + width}
        return seconds, {"status": "done", "method": tool, "log2_value": found, **bounds}

    def start(more, **fields):
        starts.extend(fields.pop("starts", []))
        script.update({key: list(answers) for key, answers in more.items()})
        for file, _ in more:
            (tmp_path / file).touch()
        return run(count_benchmark.Config(str(tmp_path), timeout=10.0, **fields)), calls

    monkeypatch.setattr(commands, "call", call)
    return start


ALL = ("hashing", "auto", "approxmc", "ganak")


def test_times_scores_and_ratios(scripted):
    times = {
        "a__1.cnf": [(4.1, 9.5), (1.1, 10.0), (1.1, 10.2), (2.1, 10.0)],
        "a__2.cnf": [(15.0, "timeout"), (3.1, 10.0), (5.1, 10.0), (15.0, "timeout")],
        "b__1.cnf": [(15.0, "timeout"), (15.0, "timeout"), (15.0, "timeout"), (10.3, 7.0)],
        "c.cnf.gz": [(0.05, 1.0), (0.2, 1.0), (0.1, 1.0), (0.1, 1.0)],
    }
    script = {(f, tool): [one] for f, row in times.items() for tool, one in zip(ALL, row)}
    result, calls = scripted(script)
    scores = result.columns["seconds_par2"].reshape(4, 4)
    expected = [[4, 1, 1, 2], [20, 3, 5, 20], [20, 20, 20, 20], [0.01, 0.1, 0.01, 0.01]]
    np.testing.assert_allclose(scores, expected)
    assert result.columns["family"].tolist() == ["a"] * 8 + ["b"] * 4 + [""] * 4
    # What nobody solves and what is short is left out; each timeout stands at twice the limit.
    assert result.scalars["ratio_hashing_approxmc"] == pytest.approx(4.0)
    assert result.scalars["ratio_auto_best_peer"] == pytest.approx(math.sqrt(1 / 1 * 3 / 5))
    assert result.scalars["par2_best_peer"] == pytest.approx((1 + 5 + 20 + 0.01) / 4)
    assert [result.scalars[f"solved_{tool}"] for tool in ALL] == [2, 3, 3, 2]
    assert result.scalars["contradictions_ganak"] == 0
    lines = {name: text for name, text in result.scalars.items() if name.startswith("family")}
    assert list(lines) == ["family a:", "family b:", "family (none):"]
    expected = "2 formulas, hashing 1 in 12.00 s, auto 2 in 2.00 s, approxmc 2 in 3.00 s, "
    assert lines["family a:"].startswith(expected + "ganak 1 in 11.00 s, best_peer 2 in 3.00 s, ")
    assert all(text.endswith(" s") for text in list(lines.values())[1:])  # no ratio to speak of
    assert [tool for _, tool in calls[:8]] == [*ALL, *ALL[1:], ALL[0]]
    assert len(count_benchmark.plot(result).axes) == 3


def test_the_median_of_repeats(scripted):
    answers = [(15.0, "timeout"), (1.1, 10.0), (4.1, 10.0)]
    result, calls = scripted({("f.cnf", "ganak"): answers}, tools=("ganak",), repeats=3)
    assert len(calls) == 3
    assert result.columns["seconds_net"].tolist() == pytest.approx([4.0])
    assert "ratio_hashing_approxmc" not in result.scalars
    assert len(count_benchmark.plot(result).axes) == 3


def test_starts_are_those_nearby(scripted):
    script = {(f"{i}.cnf", "ganak"): [(5.0, 10.0)] for i in range(6)}
    result, _ = scripted(script, tools=("ganak",), starts=[1.0, 3.0, 1.0, 1.0, 2.0, 2.5])
    expected = [1.0, 1.0, 1.0, 2.0, 1.5, 2.0]
    assert result.columns["seconds_start"].tolist() == expected
    assert result.columns["seconds_net"].tolist() == [5.0 - start for start in expected]


WRONG = [(9.1, True), (9.3, False), (10.7, False), (10.9, True), (-math.inf, True)]


@pytest.mark.parametrize("tool", ["hashing", "approxmc"])
@pytest.mark.parametrize(("found", "wrong"), WRONG)
def test_a_wrong_answer_is_seen(scripted, tool, found, wrong):
    script = {("f.cnf", tool): [(1.0, found)], ("f.cnf", "ganak"): [(1.0, 10.0)]}
    result, _ = scripted(script, tools=(tool, "ganak"))
    assert result.scalars[f"contradictions_{tool}"] == wrong
    assert result.scalars["contradictions_ganak"] == 0


@pytest.mark.parametrize(
    ("found", "exact", "wrong"),
    [(-math.inf, -math.inf, False), (3.0, -math.inf, True), (3.0, "timeout", False)],
)
def test_no_model_and_no_reference(scripted, found, exact, wrong):
    script = {("f.cnf", "hashing"): [(1.0, found)], ("f.cnf", "ganak"): [(1.0, exact)]}
    result, _ = scripted(script, tools=("hashing", "ganak"))
    assert result.scalars["contradictions_hashing"] == wrong


def test_a_tool_that_cannot_start_is_named(monkeypatch, tmp_path):
    answer = {"status": "failed", "message": "no abacus"}
    monkeypatch.setattr(commands, "call", lambda words, limit: (0.1, answer))
    with pytest.raises(RuntimeError, match="hashing fails on one clause: no abacus"):
        run(count_benchmark.Config())


def test_what_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected tools among hashing, .* given .*abacus"):
        run(count_benchmark.Config(tools=("abacus",)))
    with pytest.raises(ValueError, match="expected repeats and jobs of at least 1"):
        run(count_benchmark.Config(repeats=0))
    with pytest.raises(ValueError, match="expected a folder or families, given"):
        run(count_benchmark.Config(folder=str(tmp_path), families="tuning"))
    with pytest.raises(ValueError, match="expected .cnf files"):
        run(count_benchmark.Config(folder=str(tmp_path)))


def test_the_halves_of_the_families_share_no_draw():
    tuning, held_out = (counting_families.families(half) for half in ("tuning", "held_out"))
    assert list(tuning) == list(held_out) and len(tuning) == 24
    one, other = tuning["roads__1"](), held_out["roads__1"]()
    assert one.digest() != other.digest()
    seeds = [{make.args[0] for make in half.values()} for half in (tuning, held_out)]
    assert not seeds[0] & seeds[1]
    with pytest.raises(ValueError, match="expected families tuning or held_out, given 'all'"):
        run(count_benchmark.Config(families="all"))


def test_families_are_run(monkeypatch):
    monkeypatch.setattr(commands, "call", lambda words, limit: (0.1, {"status": "done"}))
    config = count_benchmark.Config(families="held_out", pattern="roads__1*", tools=("hashing",))
    result = run(config)
    assert result.columns["problem"].tolist() == ["roads__1.cnf"]
    assert result.columns["family"].tolist() == ["roads"] and result.columns["solved"].all()


def test_weights_are_those_of_the_file(tmp_path):
    weights = np.log([[0.3, 0.7], [0.5, 0.25]])
    formula = cnf.from_clauses([[1, 2]], log_weights=weights)
    dimacs.write(formula, tmp_path / "f.cnf")
    for tools in (("hashing",), ("auto", "approxmc")):
        with pytest.raises(
            ValueError, match="expected tools among auto, elimination, ganak, given"
        ):
            run(count_benchmark.Config(str(tmp_path), weights=True, tools=tools))
    result = run(count_benchmark.Config(str(tmp_path), weights=True, tools=("ganak", "auto")))
    expected = math.log2(0.7 * 0.75 + 0.3 * 0.25)
    assert result.columns["log2_value"] == pytest.approx([expected] * 2)
    assert result.columns["solved"].all() and not result.columns["contradicts"].any()


def test_smoke_agrees():
    experiment = registry.load("count_benchmark")
    result = registry.run(experiment, experiment.spec.presets["smoke"], seed=0)
    exact = result.columns["log2_value"][result.columns["tool"] == "ganak"]
    chains = [generators.chain_count(60), generators.chain_count(40)]
    np.testing.assert_allclose(exact, np.log2(chains))
    assert result.columns["solved"].all() and not result.columns["contradicts"].any()


def test_a_counter_that_fails_breaks_a_promise(scripted):
    script = {("f.cnf", "ganak"): [(1.0, "failed")]}
    with pytest.raises(promises.BrokenPromise, match="expected no counter to fail, given ganak"):
        scripted(script, tools=("ganak",))


@pytest.mark.parametrize(("wrong", "expected"), [(6, None), (8, "by hashing .*, given 8 of 8")])
def test_contradictions_may_be_rare(scripted, wrong, expected):
    """Each with probability 0.2: six of eight happen once in 800, all of them once in 400,000."""
    script = {(f"{i}.cnf", "hashing"): [(1.0, 9.0 if i < wrong else 10.0)] for i in range(8)}
    script |= {(f"{i}.cnf", "ganak"): [(1.0, 10.0)] for i in range(8)}
    broken = pytest.raises(promises.BrokenPromise, match=expected) if expected else nullcontext()
    with broken:
        scripted(script, tools=("hashing", "ganak"))
