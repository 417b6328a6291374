import base64
import itertools
import json
import math
import warnings
import zlib
from types import SimpleNamespace

import numpy as np
import pytest

from experiments import solve
from experiments.harness import arguments, results
from hashing.counting import approxmc
from inference import answer, estimate
from inference.exact import ganak
from inference.problems import cnf, dimacs, generators, trivial
from inference.reduction import support

CLAUSES = generators.random_ksat(4, 14, 12).clauses.tolist()
FORMULA = cnf.from_clauses(
    [*CLAUSES, [-15, 1, 2], [15, -1], [15, -2]], num_variables=18, projection=range(1, 18)
)
WEIGHTS = cnf.from_clauses([[1, 2], [-1, 3]], log_weights=np.log([[0.25, 0.75]] * 3))


def info(method, status="done", seed=0):
    return SimpleNamespace(method=method, status=status, oracle_calls=3, seed=seed)


def save(folder, formula, result, how):
    dimacs.write(formula, folder / "f.cnf")
    results.save(folder / "r.json", str(folder / "f.cnf"), formula, result, how, seconds=0.5)
    return folder / "r.json"


@pytest.fixture(scope="module")
def counted():
    return approxmc.count(FORMULA, seed=0)[0]


@pytest.fixture
def stored(tmp_path, counted):
    """A stored count by hashing."""
    return save(tmp_path, FORMULA, counted, info("approxmc"))


@pytest.fixture
def exact(tmp_path):
    """A stored count by Ganak."""
    result = ganak.count(FORMULA).value
    return save(tmp_path, FORMULA, result, info("ganak"))


def verify(capsys, *words):
    """Exit status and printed lines, but those that say what is claimed of which file."""
    status = 0
    try:
        results.verify([str(word) for word in words])
    except SystemExit as end:
        status = end.code
    lines = capsys.readouterr().out.splitlines()
    assert [line[:12].rstrip() for line in lines[:2]] == ["result", "of"]
    return status, lines[2:]


def change(path, changes):
    fields = json.loads(path.read_text())
    changes(fields)
    path.write_text(json.dumps(fields))
    return path


# ------------------------------------------------------------------------------------------------
# Round trips.


def test_a_stored_count_is_what_json_prints_and_a_witness(stored, counted):
    fields = json.loads(stored.read_text())
    assert list(fields)[0] == "format" and list(fields)[-3:] == ["status", "digest", "witness"]
    assert fields["log2_value"] == counted.log_value / math.log(2)
    assert (fields["seconds"], fields["oracle_calls"], fields["count"]) == (0.5, 3, None)
    assert len(fields["witness"]["assignments"]) == len(fields["witness"]["rounds"]) == 3
    assert not list(stored.parent.glob("*.part"))


def test_a_stored_count_holds(capsys, stored):
    status, lines = verify(capsys, stored)
    assert (status, lines[-1]) == (3, "lower side only: models checked, for the seed as given")
    assert all(line.startswith("ok ") for line in lines[:-1])
    status, lines = verify(capsys, stored, "--solver", "cadical153", "--timeout", "60")
    assert status == 0
    assert lines[-1] == "both sides: cells re-solved by cadical153, for the seed as given"


def test_the_claim_and_the_file_are_said(capsys, stored, exact):
    results.verify([str(exact), "--solver", "ganak"])
    result, of = capsys.readouterr().out.splitlines()[:2]
    assert result == (
        "result      projected count by ganak, done: probable, log2 within [14.0224, 14.0224]"
    )
    assert of == f"of          {exact.parent / 'f.cnf'}"


def test_json_repeats_the_lines(capsys, stored):
    status, lines = verify(capsys, stored, "--json")
    printed = json.loads(lines[-1])
    assert (status, printed["holds"], printed["sides"]) == (3, True, "lower")
    assert printed["level"] == lines[-2]
    assert [one["what"] for one in printed["checks"]][:2] == ["formula", "question"]


def test_another_seed(capsys, stored, monkeypatch):
    status, lines = verify(capsys, stored, "--solver", "cadical153", "--reseed", "5")
    assert (status, lines[-1]) == (0, "both sides: cells re-solved by cadical153, counted again")
    assert lines[-2].startswith("ok          another seed: with seed 5 log2 lies within [")
    assert lines[-2].endswith("; the claim meets it")
    monkeypatch.setattr("secrets.randbelow", lambda below: 0)  # that of the count is left out
    status, lines = verify(capsys, stored, "--reseed")
    assert status == 3 and "another seed: with seed 1 log2" in lines[-2]
    status, lines = verify(capsys, stored, "--reseed", "5", "--timeout", "1e-9")
    assert status == 3 and lines[-1].endswith("not checked: another seed")
    assert lines[-2].startswith("not checked another seed: ")


def test_another_seed_is_for_hashing(capsys, exact):
    with pytest.raises(arguments.UsageError, match="--reseed: expected a count by approxmc"):
        verify(capsys, exact, "--reseed")


def test_too_little_time_is_no_pass(capsys, stored):
    status, lines = verify(capsys, stored, "--solver", "cadical153", "--timeout", "1e-9")
    assert status == 3
    assert lines[-1].startswith("lower side only: models checked, for the seed as given; not ")
    assert any(line.startswith("not checked complete cells: 0 of 3 cells") for line in lines)


def test_another_path_to_the_formula(capsys, stored, tmp_path):
    formula = (tmp_path / "f.cnf").rename(tmp_path / "g.cnf")
    with pytest.raises(FileNotFoundError):
        verify(capsys, stored)
    assert verify(capsys, stored, "--formula", formula)[0] == 3
    formula.write_text("p cnf 3 1\n1 2 0\n")
    status, lines = verify(capsys, stored, "--formula", formula)
    assert status == 1 and lines == [lines[0], lines[0].replace("refused     ", "refused: ")]
    assert lines[0].startswith("refused     formula: expected the digest ")


def test_the_shipped_formula(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "domino_tilings_8x8.cnf"
    formula = dimacs.read(results._find(name))
    result, _ = approxmc.count(formula, seed=0)
    results.save("r.json", name, formula, result, info("approxmc"), seconds=1.0)
    assert verify(capsys, "r.json")[0] == 3
    (tmp_path / name).write_text("p cnf 1 1\n1 0\n")  # a file of that name comes first
    assert verify(capsys, "r.json")[0] == 1


def test_weights_that_were_ignored_are_ignored_again(capsys, tmp_path):
    formula = WEIGHTS.unweighted()
    path = save(tmp_path, formula, approxmc.count(formula, seed=0)[0], info("approxmc"))
    dimacs.write(WEIGHTS, tmp_path / "f.cnf")
    assert verify(capsys, path, "--solver", "minisat22")[0] == 0


@pytest.mark.parametrize("clauses", [[], [[1], [-1]], [[]], [[1, 2], [3]]])
@pytest.mark.parametrize("variables", [3, 30])
def test_degenerate_counts(capsys, tmp_path, clauses, variables):
    formula = cnf.from_clauses(clauses, num_variables=variables)
    path = save(tmp_path, formula, approxmc.count(formula, seed=0)[0], info("approxmc"))
    assert verify(capsys, path, "--solver", "cadical153")[0] == 0


def save_stopped(folder, formula, **limits):
    """A count that may have been stopped, on disk; how it went, and whether less was written."""
    result, how = approxmc.count(formula, seed=0, **limits)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        path = save(folder, formula, result, info("approxmc", how.status))
    assert all("holds a weaker claim" in str(one.message) for one in caught)
    return path, result, how, len(caught)


@pytest.mark.parametrize("first", range(4))
def test_counts_that_were_stopped_verify_at_every_stage(capsys, tmp_path, first):
    stages, weaker = set(), 0
    for queries in [*range(first, 20, 4), *range(20 + 10 * first, 400, 40)]:
        asked = itertools.count()
        limit = {"stop": lambda: next(asked) > queries}
        path, result, how, fewer = save_stopped(tmp_path, FORMULA, **limit)
        stages.add(len(how.rounds))
        weaker += fewer
        fields = json.loads(path.read_text())
        if not fewer:
            assert fields["log2_lower"] in ("-inf", result.log_lower / math.log(2))
        assert verify(capsys, path)[0] == 3
        status, lines = verify(capsys, path, "--solver", "cadical153")
        assert status == 0, lines
        rounds = "3 of 3 rounds, done" if how.status == "done" else " of 3 rounds, timeout"
        assert lines[3].endswith(rounds)
    assert stages == {0, 1, 2, 3} and weaker


def test_counts_that_ran_out_of_time_verify(capsys, tmp_path):
    for timeout in np.random.default_rng(0).exponential(0.03, 10):
        path, *_ = save_stopped(tmp_path, FORMULA, timeout=timeout)
        assert verify(capsys, path, "--solver", "cadical153")[0] == 0


def test_ctrl_c_before_anything_is_known_verifies(capsys, tmp_path):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    path, _, how, _ = save_stopped(tmp_path, FORMULA, reduce=interrupt)
    assert how.status == "interrupted"
    assert verify(capsys, path, "--solver", "cadical153")[0] == 0


def test_a_wrong_reduction_is_not_stored(tmp_path):
    def reduce(formula, **options):
        fewer = cnf.from_clauses(
            formula.clauses.tolist()[1:], num_variables=18, projection=range(1, 18)
        )
        return support.reduce(fewer, **options)

    wrong = approxmc.count(FORMULA, seed=0, reduce=reduce)[0]
    with pytest.raises(RuntimeError, match="the count is wrong"):
        save(tmp_path, FORMULA, wrong, info("approxmc"))
    assert not (tmp_path / "r.json").exists()


def test_the_size_on_disk_is_bounded(tmp_path, monkeypatch, counted, capsys, stored):
    monkeypatch.setattr(results, "MAX_OCTETS", 100)
    with pytest.raises(ValueError, match="at most 100 octets"):
        save(tmp_path, FORMULA, counted, info("approxmc"))
    with pytest.raises(ValueError, match="at most 100 octets"):
        verify(capsys, stored)


# ------------------------------------------------------------------------------------------------
# Tampered files; tests/hashing/counting/test_verify.py has those that reach the witness itself.


def reencoded(text, tamper):
    """Base64 text whose octets, as a list of integers, were changed."""
    octets = list(base64.b64decode(text))
    tamper(octets)
    return base64.b64encode(bytes(octets)).decode()


def flip_model(fields):
    models = fields["witness"]["rounds"][1]["models"]
    models["bits"] = reencoded(models["bits"], lambda octets: octets.__setitem__(0, octets[0] ^ 4))


def flip_assignment(fields):
    octets = bytearray(zlib.decompress(base64.b64decode(fields["witness"]["assignments"][2])))
    octets[17] ^= 1
    text = base64.b64encode(zlib.compress(bytes(octets))).decode()
    fields["witness"]["assignments"][2] = text


def drop_round(fields):
    fields["witness"]["rounds"].pop()
    fields["witness"]["assignments"].pop()


def rename_round(fields):
    fields["witness"]["rounds"][2]["index"] = 3


def free_the_defined(fields):
    fields["witness"]["free"] = sorted([*fields["witness"]["free"], 15])


@pytest.mark.parametrize(
    "tamper, what",
    [
        (lambda fields: fields.update(log2_value=fields["log2_value"] + 1e-5), "estimate"),
        (lambda fields: fields.update(log2_upper="inf"), "estimate"),
        (lambda fields: fields.update(failure_upper=0), "estimate"),
        (lambda fields: fields.update(claim="certain"), "estimate"),
        (lambda fields: fields.update(count="96"), "estimate"),
        (lambda fields: fields.update(seed=3), "question"),
        (lambda fields: fields.update(status="unsatisfiable"), "rounds"),
        (lambda fields: fields["witness"].update(epsilon=0.4), "rounds"),
        (lambda fields: fields["witness"].update(delta=1e-9), "rounds"),
        (lambda fields: fields["witness"].update(digest="0"), "formula"),
        (lambda fields: fields["witness"].update(assumptions=[3]), "models"),
        (lambda fields: fields["witness"]["rounds"][0].update(num_hashes=10**30), "cells"),
        (flip_model, "parities"),
        (flip_assignment, "models"),
        (drop_round, "rounds"),
        (rename_round, "rounds"),
        (free_the_defined, "models"),
    ],
)
def test_a_changed_file_is_refused(capsys, stored, tamper, what):
    status, lines = verify(capsys, change(stored, tamper))
    assert status == 1
    assert lines[-1].startswith(f"refused: {what}: ")
    assert lines[-2].startswith(f"refused     {what}: ")


# ------------------------------------------------------------------------------------------------
# Files that are no stored counts.


def bomb(fields):
    fields["witness"]["assignments"][0] = base64.b64encode(zlib.compress(bytes(10**7))).decode()


def double_round(fields):
    for name in ("rounds", "assignments"):
        fields["witness"][name].insert(0, fields["witness"][name][0])


def no_support(fields, number):
    empty = {"number": number, "bits": ""}
    fields["witness"].update(support=[])
    for one in fields["witness"]["rounds"]:
        one.update(models=dict(empty), before=dict(empty))


MALFORMED = {
    "no witness": lambda fields: fields.pop("witness"),
    "witness a list": lambda fields: fields.update(witness=[]),
    "witness a text": lambda fields: fields.update(witness="x"),
    "no claim": lambda fields: fields.pop("claim"),
    "problem no text": lambda fields: fields.update(problem=7),
    "value a text": lambda fields: fields.update(log2_value="large"),
    "value a list": lambda fields: fields.update(log2_value=[]),
    "value true": lambda fields: fields.update(log2_value=True),
    "count a number": lambda fields: fields.update(count=7),
    "seed a float": lambda fields: fields.update(seed=1.0),
    "absurd seed": lambda fields: fields.update(seed=10**50),
    "method": lambda fields: fields.update(method="ganak"),
    "format": lambda fields: fields["witness"].update(format="tally approxmc 1"),
    "no format": lambda fields: fields.pop("format"),
    "format of the count": lambda fields: fields.update(format="tally count 1"),
    "no digest": lambda fields: fields.pop("digest"),
    "epsilon true": lambda fields: fields["witness"].update(epsilon=True),
    "hashes a whole float": lambda fields: fields["witness"]["rounds"][0].update(num_hashes=7.0),
    "index false": lambda fields: fields["witness"]["rounds"][0].update(index=False),
    "seed no hexadecimal": lambda fields: fields["witness"].update(seed="xyz"),
    "epsilon a text": lambda fields: fields["witness"].update(epsilon="0.8"),
    "epsilon no number": lambda fields: fields["witness"].update(epsilon=math.nan),
    "support nested": lambda fields: fields["witness"].update(support=[[1, 2]]),
    "support of floats": lambda fields: fields["witness"].update(support=[1.5]),
    "support too large": lambda fields: fields["witness"].update(support=[2**40]),
    "free a number": lambda fields: fields["witness"].update(free=3),
    "rounds a number": lambda fields: fields["witness"].update(rounds=3),
    "rounds doubled": double_round,
    "rounds out of order": lambda fields: fields["witness"]["rounds"].reverse(),
    "round of numbers": lambda fields: fields["witness"].update(rounds=[1, 2, 3]),
    "index a text": lambda fields: fields["witness"]["rounds"][0].update(index="0"),
    "hashes a float": lambda fields: fields["witness"]["rounds"][0].update(num_hashes=6.5),
    "number too large": lambda fields: fields["witness"]["rounds"][0]["models"].update(
        number=10**9
    ),
    "number negative": lambda fields: fields["witness"]["rounds"][0]["models"].update(number=-1),
    "models no base64": lambda fields: fields["witness"]["rounds"][0]["models"].update(bits="?"),
    "models of no variable": lambda fields: no_support(fields, 10**12),
    "assignments missing": lambda fields: fields["witness"].pop("assignments"),
    "assignments short": lambda fields: fields["witness"]["assignments"].pop(),
    "assignments numbers": lambda fields: fields["witness"].update(assignments=[1, 2, 3]),
    "assignments no base64": lambda fields: fields["witness"]["assignments"].__setitem__(0, "?"),
    "assignments not packed": lambda fields: fields["witness"]["assignments"].__setitem__(
        0, "AAAA"
    ),
    "assignments a bomb": bomb,
    "another key": lambda fields: fields["witness"].update(more=1),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_files_end_in_one_line(capsys, stored, name):
    with pytest.raises(ValueError) as raised:
        verify(capsys, change(stored, MALFORMED[name]))
    assert "\n" not in str(raised.value)


def test_files_of_before_end_in_one_line(capsys, stored):
    change(stored, lambda fields: fields.pop("format"))
    words = "expected the format 'tally count 2', given None: count again"
    with pytest.raises(ValueError, match=words):
        verify(capsys, stored)


@pytest.mark.parametrize(
    "old, new",
    [
        ('"seed": 0', '"seed": 1, "seed": 0'),
        ('"num_hashes": ', '"num_hashes": 3, "num_hashes": '),
        ('"epsilon": 0.8', '"epsilon": 1e999'),
        ('"epsilon": 0.8', '"epsilon": Infinity'),
        ('"log2_upper": ', '"log2_upper": 1e400, "x": '),
    ],
)
def test_what_readers_may_take_differently_is_refused(capsys, stored, old, new):
    text = stored.read_text()
    assert old in text
    stored.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match="expected each name once|expected finite numbers"):
        verify(capsys, stored)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"7", b'"x"', b"null", b"\xff\xfe", b"[" * 10**5, b"9" * 10**6]
)
def test_other_files_end_in_one_line(capsys, tmp_path, text):
    (tmp_path / "r.json").write_bytes(text)
    with pytest.raises(ValueError, match="expected a count stored by tally count"):
        verify(capsys, tmp_path / "r.json")


def test_a_file_cut_anywhere_ends_in_one_line(capsys, stored):
    text = stored.read_bytes().rstrip()
    for end in np.random.default_rng(0).integers(0, len(text), 200):
        stored.write_bytes(text[:end])
        with pytest.raises(ValueError, match="expected a count stored by tally count"):
            verify(capsys, stored)


def test_a_file_with_a_changed_byte_never_passes_with_another_claim(capsys, stored):
    text, rng = stored.read_bytes(), np.random.default_rng(0)
    claim = json.loads(text)
    refusals = 0
    for position, byte in zip(rng.integers(0, len(text), 300), rng.integers(32, 127, 300)):
        stored.write_bytes(text[:position] + bytes([byte]) + text[position + 1 :])
        try:
            status, _ = verify(capsys, stored, "--formula", stored.parent / "f.cnf")
        except ValueError:
            status = 2
        refusals += status != 3
        if status == 3:
            fields = json.loads(stored.read_bytes())
            for name in results._NUMBERS:
                assert fields[name] == pytest.approx(claim[name], rel=1e-9)
            assert [fields[x] for x in ("claim", "count", "seed")] == ["probable", None, 0]
    assert refusals > 250


@pytest.mark.parametrize(
    "words",
    [
        ["--solver", "nosuch"],
        ["--solver", "ganak"],
        ["--timeout", "0"],
        ["--timeout", "nan"],
        ["--reseed", "abc"],
        ["--reseed", "1.5"],
        ["--reseed", str(2**32)],
        ["--reseed", "1", "2"],
        ["--reseed", "0"],  # the seed of the count
    ],
)
def test_options_out_of_range(capsys, stored, words):
    with pytest.raises(arguments.UsageError, match=f"{words[0]}: expected"):
        verify(capsys, stored, *words)


# ------------------------------------------------------------------------------------------------
# Counts without a witness.


def test_ganak_leaves_nothing_to_check(capsys, exact):
    status, lines = verify(capsys, exact)
    assert (status, lines[-1]) == (1, "nothing checked")
    assert "--solver ganak counts again" in lines[0]
    with pytest.raises(arguments.UsageError, match="expected ganak"):
        verify(capsys, exact, "--solver", "cadical153")


def test_ganak_counts_again_with_another_seed(capsys, exact, monkeypatch):
    seeds, honest = [], ganak.count
    monkeypatch.setattr(ganak, "count", lambda *a, **o: seeds.append(o["seed"]) or honest(*a, **o))
    status, lines = verify(capsys, exact, "--solver", "ganak")
    assert (status, lines[-1], seeds) == (0, "both sides: counted again by ganak", [1])


@pytest.mark.parametrize(
    "changes, what",
    [
        ({"count": "95"}, "count"),
        ({"log2_value": 3.0}, "claim"),
        ({"claim": "certain"}, "claim"),
        ({"claim": "none"}, "claim"),
        ({"failure_lower": 0.0}, "count"),
        ({"failure_lower": 9.99e-7}, "count"),
        ({"log2_upper": "inf"}, "claim"),
        ({"log2_upper": "inf", "failure_upper": 0.0}, "count"),
        ({"method": "exhaustive"}, "count"),
        ({"method": "approxmc", "count": "95"}, "count"),
        ({"method": "approxmc", "log2_upper": 3.0}, "claim"),
        ({"method": "short_xor", "log2_value": 40.0}, "claim"),
        ({"method": "short_xor", **dict.fromkeys(("log2_value", "log2_lower"), 20.0)}, "claim"),
        ({"digest": "0" * 64}, "formula"),
    ],
)
def test_a_changed_exact_count_is_refused(capsys, exact, changes, what):
    change(exact, lambda fields: fields.update(changes))
    status, lines = verify(capsys, exact, "--solver", "ganak")
    assert status == 1 and lines[-1].startswith(f"refused: {what}: ")


def test_weighted_counts_are_recounted(capsys, tmp_path):
    path = save(tmp_path, WEIGHTS, ganak.count(WEIGHTS).value, info("ganak"))
    assert verify(capsys, path, "--solver", "ganak")[0] == 0
    change(path, lambda fields: fields.update(log2_value=fields["log2_value"] + 1e-6))
    assert verify(capsys, path, "--solver", "ganak")[0] == 1


def test_other_counts_without_a_witness_hold_the_new_one(capsys, tmp_path):
    size = ganak.count(FORMULA).value.count
    exhaustive = estimate.exact_count(size)
    early = estimate.bounded(-math.inf, -math.inf, 16.5 * math.log(2), 0.0, 0.0)
    cases = [(exhaustive, info("exhaustive")), (early, info("ganak", "timeout"))]
    for result, how in cases:
        path = save(tmp_path, FORMULA, result, how)
        assert verify(capsys, path)[0] == 1
        status, lines = verify(capsys, path, "--solver", "ganak")
        assert (status, lines[-1]) == (0, "both sides: counted again by ganak")


@pytest.mark.parametrize("formula", [FORMULA, WEIGHTS])
def test_what_holds_of_any_formula_takes_no_solver(capsys, tmp_path, formula):
    path = save(tmp_path, formula, trivial.count(formula), info("auto", "interrupted"))
    status, lines = verify(capsys, path)
    assert (status, lines[-1]) == (0, "both sides: little is claimed")
    change(path, lambda fields: fields.update(log2_upper=fields["log2_upper"] - 1e-3))
    assert verify(capsys, path)[0] == 1


def test_what_claims_nothing_is_not_checked(capsys, tmp_path):
    path = save(tmp_path, FORMULA, estimate.Estimate(3.0), info("bpnn"))
    status, lines = verify(capsys, path, "--solver", "ganak")
    assert (status, lines[0]) == (1, "not checked count: nothing is claimed")


@pytest.mark.parametrize("method", ["adaptive", "short_xor", "exhaustive"])
def test_counts_of_other_methods_are_recounted(capsys, tmp_path, method):
    formula = cnf.from_clauses([[1, 2, 3], [-1, 4]], num_variables=9)
    result, how = solve.count(formula, method=method)
    path = save(tmp_path, formula, result, how)
    assert verify(capsys, path)[0] == 1
    assert verify(capsys, path, "--solver", "ganak")[0] == 0


@pytest.mark.parametrize("status", [answer.Status.UNKNOWN, answer.Status.FAILED])
def test_a_recount_that_does_not_end_is_no_pass(capsys, exact, monkeypatch, status):
    monkeypatch.setattr(ganak, "count", lambda *_, **__: answer.Answer(status))
    assert verify(capsys, exact, "--solver", "ganak")[0] == 1
    assert verify(capsys, exact, "--solver", "ganak")[1][-1] == "nothing checked"
