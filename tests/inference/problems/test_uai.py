"""UAI files: what is read, what is written, and the one line said about what is wrong."""

import bz2
import decimal
import gzip
import itertools
import lzma
import math
import time

import numpy as np
import pytest

from inference import files
from inference.exact import elimination, exhaustive
from inference.problems import factor_graph, uai

MODEL = """MARKOV
3
2 3 1
4
1 1
2 0 1
0
3 2 1 0

3
 1.0 0.0 2.5
6
 1 2 3
 4 5 6
1
 0.5
6 1 1 1 1 1 0.25
"""


def entries(graph):
    """Potentials in the linear domain: constant, unaries, tables by scope."""
    tables = {
        tuple(variables): np.exp(table).tolist()
        for group in graph.groups
        for variables, table in zip(group.variables.tolist(), group.log_potentials, strict=True)
    }
    return math.exp(graph.log_constant), np.exp(graph.log_unary), tables


def test_parse():
    graph = uai.parse(MODEL)
    constant, unary, tables = entries(graph)
    assert graph.num_states.tolist() == [2, 3, 1]
    assert constant == pytest.approx(0.5)
    np.testing.assert_allclose(unary, [[1, 1, 0], [1, 0, 2.5], [1, 0, 0]])
    np.testing.assert_allclose(tables[0, 1], [[1, 2, 3], [4, 5, 6]])  # the last runs fastest
    np.testing.assert_allclose(tables[2, 1, 0], [[[1, 1], [1, 1], [1, 0.25]]])
    assert graph.log_unary[1, 1] == -np.inf


def test_bayes_and_any_white_space():
    graph = uai.parse("BAYES 2\t2 2\r\n 2\r\n1 0 2 0 1 2 .1 9e-1\f 4 1 0\v 0.5 0.5")
    _, unary, tables = entries(graph)
    np.testing.assert_allclose(unary[0], [0.1, 0.9])
    np.testing.assert_allclose(tables[0, 1], [[1, 0], [0.5, 0.5]])


@pytest.mark.parametrize("text", ["MARKOV 0 0", "MARKOV 0\n\n0\n", "MARKOV 0 1 0 1 1"])
def test_models_of_no_variable(text):
    graph = uai.parse(text)
    assert (graph.num_variables, graph.groups, float(graph.log_constant)) == (0, (), 0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("MARKOV", "MARKOW"), "m.uai:1: expected MARKOV or BAYES, given MARKOW"),
        ((MODEL, ""), "m.uai:1: expected MARKOV or BAYES, given an empty file"),
        ((MODEL, "\n \nCNF"), "m.uai:3: expected MARKOV or BAYES, given CNF"),
        ((MODEL, "MARKOV"), "m.uai:1: expected the number of variables, given the end of the file"),
        (("\n3\n2 3 1", "\n3.5\n2 3 1"), "m.uai:2: expected the number of variables in 0 or more"),
        (("2 3 1", "2 0 1"), "m.uai:3: expected a number of states in 1..1000000, given 0"),
        (("2 3 1", "2 1e12 1"), "m.uai:3: expected a number of states in 1..1000000, given 1e12"),
        (("2 3 1", "2 3"), "m.uai:6: expected the number 4 of entries over [2], given 0"),
        (("2 0 1", "2 0 3"), "m.uai:6: expected a variable in 0..2, given 3"),
        (("2 0 1", "2 0 -1"), "m.uai:6: expected a finite number of at least 0, given -1"),
        (("2 0 1", "2 0 0"), "m.uai:6: expected each variable of a function once, given 0"),
        (("3 2 1 0", "4 2 1 0"), "m.uai:8: expected a number of variables in 0..3, given 4"),
        (("\n4\n", "\n9\n"), "m.uai:11: expected a variable in 0..2, given 2.5"),
        ((" 0.0 ", " "), "m.uai:13: expected the number 6 of entries over [0, 1], given 1"),
        ((" 0.0 ", " 0.0 1 "), "m.uai:11: expected the number 6 of entries over [0, 1], given 2.5"),
        ((" 0.0 ", " -0.5 "), "m.uai:11: expected a finite number of at least 0, given -0.5"),
        ((" 0.0 ", " nan "), "m.uai:11: expected a finite number of at least 0, given nan"),
        ((" 0.0 ", " 1e999 "), "m.uai:11: expected a finite number of at least 0, given 1e999"),
        ((" 0.0 ", " 1_0 "), "m.uai:11: expected a number, given 1_0"),
        ((" 0.0 ", " 0,5 "), "m.uai:11: expected a number, given 0,5"),
        ((" 0.25", ""), "m.uai:17: expected 6 entries over [2, 1, 0], given the end of the file"),
        ((" 0.25", " 0.25 1"), "m.uai:17: expected the end of the file, given 1"),
        ((" 0.25", " 0.25\n\n0.5"), "m.uai:19: expected the end of the file, given 0.5"),
        ((" 0.25", " 0.25\n2 1"), "m.uai:18: expected the end of the file, given 2"),
    ],
)
def test_parse_refuses(change, message):
    with pytest.raises(files.ParseError) as caught:
        uai.parse(MODEL.replace(*change), "m.uai")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_lists_behind_the_model_are_left_out_with_a_warning():
    with pytest.warns(UserWarning, match="m.uai: lists after the last function"):
        graph = uai.parse(MODEL + "1 0 1\n0\n3 0 1 2\n\n", "m.uai")
    assert len(graph.groups) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("0", {}),
        ("0\n", {}),
        ("1 1 2", {1: 2}),
        ("1\n1 2\n\n", {1: 2}),
        ("2 0 1 1 0", {0: 1, 1: 0}),
        ("1\n2 0 1 1 0", {0: 1, 1: 0}),
        ("1\n0", {}),
        ("1 1 1 2", {1: 2}),
        ("2 1 2 1 2", {1: 2}),
    ],
)
def test_evidence_of_both_dialects(tmp_path, text, expected):
    path = tmp_path / "m.uai.evid"
    path.write_text(text)
    assert uai.read_evidence(path) == expected
    assert uai.read_evidence(path, [2, 3, 1]) == expected


def test_numbers_after_an_evidence_count_of_zero(tmp_path):
    path = tmp_path / "m.uai.evid"
    path.write_text("0\n2 0\n")
    with pytest.warns(UserWarning, match="evidence count of 0"):
        assert uai.read_evidence(path) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 1 3", ":1: expected a state of variable 1 in 0..2, given 3"),
        ("1\n3 0", ":2: expected a variable in 0..2, given 3"),
        ("2\n0 1\n0 0", ":3: expected variable 0 in state 1 as before, given 0"),
        ("2\n0 1\n1", ":3: expected 2 pairs of variable and state, given the end of the file"),
        ("1\n0 1\n1 1", ":3: expected the end after 1 pairs of variable and state, given 1"),
        ("2\n1 0 1\n1 1 2", ":3: expected the end after 2 pairs of variable and state, given 1"),
        ("1 0 0.5", ":1: expected a state of variable 0 in 0..1, given 0.5"),
        ("1 0 -1", ":1: expected a finite number of at least 0, given -1"),
        ("one 0 1", ":1: expected a number, given one"),
    ],
)
def test_evidence_refused(tmp_path, text, message):
    path = tmp_path / "m.uai.evid"
    path.write_text(text)
    with pytest.raises(files.ParseError) as caught:
        uai.read_evidence(path, [2, 3, 1])
    assert str(caught.value).startswith(f"{path}{message}")


def test_read_with_evidence(tmp_path):
    model, evidence = tmp_path / "m.uai", tmp_path / "m.evid"
    model.write_text(MODEL)
    evidence.write_text("1\n1 2")
    graph = uai.read(model, evidence)
    expected = factor_graph.condition(uai.parse(MODEL), {1: 2})
    for x in ([0, 2, 0], [1, 2, 0], [0, 0, 0]):
        assert factor_graph.log_score(graph, x) == factor_graph.log_score(expected, x)
    evidence.write_text("1\n1 3")
    with pytest.raises(files.ParseError, match=r"m\.evid:2: expected a state"):
        uai.read(model, evidence)


def test_compressed_files(tmp_path):
    for suffix, compress in ((".gz", gzip), (".xz", lzma), (".bz2", bz2)):
        path = tmp_path / f"m.uai{suffix}"
        path.write_bytes(compress.compress(MODEL.encode()))
        assert uai.read(path).num_states.tolist() == [2, 3, 1]
        path.write_bytes(path.read_bytes()[:-12])
        with pytest.raises(files.ParseError, match=":1: expected whole packed data, given"):
            uai.read(path)
        path.write_bytes(MODEL.encode())  # the content counts, not the name
        assert uai.read(path).num_states.tolist() == [2, 3, 1]


def test_a_formula_is_named_as_such(tmp_path):
    path = tmp_path / "f.cnf"
    path.write_text("c hello\np cnf 1 1\n1 0\n")
    with pytest.raises(
        files.ParseError, match="f.cnf:1: expected MARKOV or BAYES, .*`tally count`"
    ):
        uai.read(path)


def test_files_that_are_not_text_or_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        uai.read(tmp_path / "none.uai")
    path = tmp_path / "m.uai"
    path.write_bytes(b"MARKOV \xff\xfe")
    with pytest.raises(files.ParseError, match=":1: expected text"):
        uai.read(path)


@pytest.mark.parametrize("name", ["m.uai", "m.uai.gz", "m.uai.xz", "m.uai.bz2"])
def test_what_is_written_reads_the_same(tmp_path, name):
    graph = factor_graph.condition(uai.parse(MODEL), {1: 0})
    for written in (graph, uai.parse(MODEL), factor_graph.build([], [])):
        uai.write(written, tmp_path / name)
        read = uai.read(tmp_path / name)
        assert read.num_states.tolist() == written.num_states.tolist()
        np.testing.assert_allclose(read.log_unary, written.log_unary, atol=1e-15)
        assert read.log_constant == pytest.approx(float(written.log_constant))
        for one, other in zip(read.groups, written.groups, strict=True):
            np.testing.assert_array_equal(one.variables, other.variables)
            np.testing.assert_allclose(one.log_potentials, other.log_potentials, atol=1e-15)


@pytest.mark.parametrize("value", [800.0, -800.0])
def test_write_refuses_what_a_file_cannot_hold(tmp_path, value):
    with pytest.raises(ValueError, match="positive float64"):
        uai.write(factor_graph.build([2], [((0,), [0.0, value])]), tmp_path / "m.uai")


def test_result_files():
    assert uai.partition_text(math.log(1000.0)).startswith("PR\n")
    assert float(uai.partition_text(math.log(1000.0)).split()[1]) == pytest.approx(3.0)
    assert uai.partition_text(-math.inf) == "PR\n-inf\n"
    marginals = np.array([[0.25, 0.75, 0.0], [0.5, 0.0, 0.5], [1.0, 0.0, 0.0]])
    expected = "MAR\n3 2 0.25 0.75 3 0.5 0.0 0.5 1 1.0\n"
    assert uai.marginals_text([2, 3, 1], marginals) == expected
    assert uai.assignment_text(np.array([1, 2, 0])) == "MPE\n3 1 2 0\n"


def test_half_a_million_entries_read_fast():
    scopes = "\n".join(f"2 {v} {v + 1}" for v in range(5000))
    table = "100 " + " ".join(["0.123456"] * 100)
    text = "\n".join(["MARKOV 5001", "10 " * 5001, "5000", scopes, *[table] * 5000])
    start = time.perf_counter()
    graph = uai.parse(text)
    assert time.perf_counter() - start < 3.0  # 0.3 s where it was written
    assert graph.groups[0].log_potentials.shape == (5000, 10, 10)


@pytest.mark.parametrize("seed", range(30))
def test_intervals_hold_for_the_numbers_in_the_file(seed):
    # Magnitudes that cancel, several unaries and constants: rounding happens while the graph is
    # made, before any algorithm sees it.
    rng = np.random.default_rng(seed)
    if seed < 15:
        states = rng.integers(1, 4, size=4).tolist()
        scopes = [[], [], [0], [0], [0], [1], [1], [0, 1], [2, 1], [3, 2], [3]]
    else:  # nothing is left to compute, so what was rounded before is all there is
        states, scopes = [2], [[]] * 3 + [[0]] * 5
    tables = [
        10.0 ** rng.uniform(-250, 250, size=math.prod([states[v] for v in scope], start=1))
        for scope in scopes
    ]
    if seed >= 15:
        tables = [t**0.15 for t in tables]
        tables[-1] = 1 / math.prod(tables[:-1])
    lines = ["MARKOV", str(len(states)), " ".join(map(str, states)), str(len(scopes))]
    lines += [" ".join(map(str, [len(scope), *scope])) for scope in scopes]
    lines += [f"{t.size} " + " ".join(map(repr, t.tolist())) for t in tables]
    graph = uai.parse("\n".join(lines))
    evidence = {0: 0, len(states) - 1: 0} if seed % 2 else {}
    with decimal.localcontext(prec=50, Emin=-100_000, Emax=100_000):
        total = decimal.Decimal(0)
        for x in itertools.product(*map(range, states)):
            if all(x[v] == state for v, state in evidence.items()):
                entries = (
                    t[np.ravel_multi_index([x[v] for v in s], [states[v] for v in s]) if s else 0]
                    for s, t in zip(scopes, tables)
                )
                total += math.prod(map(decimal.Decimal, map(float, entries)))
        exact = total.ln()
        conditioned = factor_graph.condition(graph, evidence)
        for estimate in (
            elimination.log_partition(conditioned)[0],
            exhaustive.log_partition(conditioned)[0],
        ):
            assert decimal.Decimal(estimate.log_lower) <= exact
            assert exact <= decimal.Decimal(estimate.log_upper)
            assert estimate.log_width < 1e-8
