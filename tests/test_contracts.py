"""What every entry keeps, whatever the method: claims that hold, equal answers for equal seeds,
limits that bind, problems left alone; and of each kind of problem an answer or one clear line.

The methods are those of ``experiments.solve.methods``: a new row there is tested here. ``VARIANTS``
adds settings, and entries that users import but do not choose by name.
"""

import copy
import functools
import importlib
import math

import chex
import jax
import numpy as np
import pytest

import reference
from experiments import solve
from experiments.solve import methods
from hashing.counting import approxmc
from inference import answer, samples
from inference.bounds import mini_bucket
from inference.estimate import Claim
from inference.message_passing.learned import bpnn_layers
from inference.problems import cnf, factor_graph, logical_groups

QUESTIONS = ("log_partition", "marginals", "maximize")
FEW = {"num_samples": 50, "iterations": 0}  # of samples
VARIANTS = {
    ("count", "approxmc, epsilon 0.3"): functools.partial(approxmc.count, epsilon=0.3),
    ("count", "approxmc, epsilon 6"): functools.partial(approxmc.count, epsilon=6.0),
    ("count", "solve"): solve.count,
    ("log_partition", "mini_bucket, i-bound 1"): functools.partial(
        mini_bucket.log_partition, i_bound=1
    ),
    ("log_partition", "bpnn_layers"): bpnn_layers.log_partition,
    ("marginals", "bpnn_layers"): bpnn_layers.marginals,
    ("log_partition", "solve"): solve.partition,
    ("marginals", "solve"): solve.marginals,
    ("maximize", "solve"): solve.maximize,
    ("sample", "solve"): solve.sample,
}


def entries_of_table():
    """The entries by question and name; maxima that are decoded from marginals have none."""
    for method in methods.METHODS:
        module = importlib.import_module(method.module)
        for question in method.claims:
            if (question, method.decoded) != ("maximize", "marginals"):
                yield (question, method.name), getattr(module, question)


ENTRIES = dict(entries_of_table()) | VARIANTS
COUNTS = [name for question, name in ENTRIES if question == "count"]
GRAPHS = [pair for pair in ENTRIES if pair[0] not in ("count", "sample")]
SAMPLERS = [name for question, name in ENTRIES if question == "sample"]


def assert_one_line(error):
    text = str(error.value if hasattr(error, "value") else error)
    assert "expected" in text and "\n" not in text


# --- Counts --------------------------------------------------------------------------------------

CLAUSES = [[1, 2, -3], [-1, 4], [3, 5], [-2, -5, 6]]
WEIGHTS = {1: 0.25, -1: 0.75, 2: 3.0, -2: 0.0, 5: 1e-3}
FORMULAS = {
    "plain": {"clauses": CLAUSES, "num_variables": 10},
    "projected": {"clauses": CLAUSES, "num_variables": 10, "projection": [1, 3, 7, 8, 9, 10]},
    "xors": {"clauses": CLAUSES, "num_variables": 10, "xors": [([1, 3, 10], True)]},
    "unsatisfiable": {"clauses": [[1], [-1]], "num_variables": 2},
    "no variables": {"clauses": [], "num_variables": 0},
    "empty sampling set": {"clauses": CLAUSES, "num_variables": 6, "projection": []},
    "weighted": {"clauses": CLAUSES, "num_variables": 7, "weights": WEIGHTS},
}


def build(clauses, num_variables, xors=(), projection=None, weights=None):
    table = None
    if weights is not None:
        signed = [[weights.get(s * v, 1.0) for s in (-1, 1)] for v in range(1, num_variables + 1)]
        with np.errstate(divide="ignore"):
            table = np.log(np.array(signed))
    return cnf.from_clauses(
        clauses,
        num_variables=num_variables,
        xors=xors,
        projection=projection,
        log_weights=table,
    )


def check_estimate(estimate, truth):
    """The interval holds the truth, or may fail to with a stated probability below one half."""
    if estimate.claim is Claim.NONE:
        assert (estimate.log_lower, estimate.log_upper) == (-math.inf, math.inf)
        assert not math.isnan(estimate.log_value)
        return
    assert estimate.failure_lower + estimate.failure_upper < 0.5
    assert estimate.log_lower <= truth <= estimate.log_upper
    if estimate.count is not None:
        assert (math.log(estimate.count) if estimate.count else -math.inf) == estimate.log_value


@pytest.mark.parametrize("problem", FORMULAS)
@pytest.mark.parametrize("name", COUNTS)
def test_counts(name, problem):
    given, count = FORMULAS[problem], ENTRIES["count", name]
    formula, row = build(**given), methods.answering("count").get(name.split(",")[0])
    digest, needs = formula.digest(), row.formulas if row else ""
    refused = [
        formula.log_weights is not None and "no weights" in needs,
        formula.projection is not None and "no sampling set" in needs,
    ]
    if any(refused):
        with pytest.raises(ValueError) as error:
            count(formula)
        assert_one_line(error)
        return
    truth = reference.count_models(**given)
    # Seeds fixed, so this cannot fail by chance; coverage over seeds is tested by each module.
    answers = [count(formula, seed=seed) for seed in (0, 0, 1)]
    for estimate, info in answers:
        assert info.status == "done" and info.seconds >= 0
        check_estimate(estimate, math.log(truth) if truth else -math.inf)
    assert answers[0][0].log_value == answers[1][0].log_value
    assert formula.digest() == digest


@pytest.mark.parametrize("name", COUNTS)
def test_counts_without_time(name):
    estimate, info = ENTRIES["count", name](build(**FORMULAS["plain"]), timeout=0.0)
    assert info.status in ("timeout", "done")
    truth = math.log(reference.count_models(**FORMULAS["plain"]))
    assert estimate.log_lower <= truth <= estimate.log_upper


@pytest.mark.parametrize("name", COUNTS)
def test_counts_take_seeds_of_any_kind(name):
    formula = build(**FORMULAS["plain"])
    for seed in (b"bytes", jax.random.key(3)):
        first, second = (ENTRIES["count", name](formula, seed=seed)[0] for _ in range(2))
        assert first.log_value == second.log_value


@pytest.mark.parametrize("name", methods.answering("count"))
def test_counts_refuse_too_little_memory(name):
    with pytest.raises(ValueError, match="expected at least 32 MiB of memory, given 1") as error:
        solve.count(build(**FORMULAS["plain"]), method=name, memory=1)
    assert_one_line(error)


OPTIONS = {"epsilon": 0.5, "delta": 0.1, "checkpoint": "count.json"}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", methods.answering("count"))
def test_counts_ignore_no_option(name, option, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = methods.answering("count")[name]
    ask = functools.partial(solve.count, method=name, **{option: OPTIONS[option]})
    met = row.is_exact and option in ("epsilon", "delta")  # by every exact answer
    if met or option in row.options:
        assert ask(build(**FORMULAS["plain"]))[1].status == "done"
        assert option != "checkpoint" or (tmp_path / "count.json").exists()
        return
    with pytest.raises(ValueError, match=option) as error:
        ask(build(**FORMULAS["plain"]))
    assert_one_line(error)


# --- Graphs --------------------------------------------------------------------------------------

PAIRS = [((0, 1), [[2.0, 1.0], [0.5, 1.0]]), ((2, 4), [[1.0, 3.0], [1.0, 0.5]]), ((3,), [1.0, 4.0])]
LONG, SHORT = [1, -2, 3, 5], [-4, 2]
MODELS = {
    # Trees, where belief propagation is exact.
    "chain": ([2, 3, 2], [((0, 1), [[1, 2, 0], [0.5, 1, 3]]), ((1, 2), [[1, 4], [0, 1], [2, 2]])]),
    "hard zeros": ([2, 2], [((0, 1), [[0, 1], [1, 0]]), ((0,), [0, 5])]),
    "nothing possible": ([2, 2], [((0, 1), [[0, 1], [0, 0]]), ((0,), [0, 1])]),
    "no factors": ([3, 1], []),
    "no variables": ([], []),
    "three at once": ([2, 2, 2], [((2, 0, 1), [[[1, 2], [3, 4]], [[5, 6], [7, 0]]])]),
    # The other kinds of factor group, with loops.
    "clauses": ([2] * 5, [*PAIRS, *((c, "clause") for c in (LONG, SHORT))]),
    "parities": ([2] * 5, [*PAIRS, ([1, 3, 4], "odd"), ([2, 5], "even")]),
}
TREES = list(MODELS)[:6]
ALL_KINDS = ([2] * 5, [*PAIRS, (LONG, "clause"), ([1, 3, 4], "odd"), ([2, 5], "even")])


def build_graph(num_states, factors):
    """Tables as tables, literals as clauses and parities."""
    tables = [(scope, table) for scope, table in factors if not isinstance(table, str)]
    with np.errstate(divide="ignore"):
        logs = [(scope, np.log(np.array(table, dtype=float))) for scope, table in tables]
    clauses = [scope for scope, kind in factors if isinstance(kind, str) and kind == "clause"]
    xors = [(scope, kind == "odd") for scope, kind in factors if kind in ("odd", "even")]
    logical = [logical_groups.clause_group(clauses)] if clauses else []
    if xors:
        logical.append(logical_groups.parity_group(*zip(*xors)))
    return factor_graph.build(num_states, logs, logical=logical)


def as_tables(factors):
    """All factors as tables, for the reference."""
    found = []
    for scope, table in factors:
        if isinstance(table, str):
            states = np.indices((2,) * len(scope))
            if table == "clause":
                true = [s == (literal > 0) for s, literal in zip(states, scope)]
                table = np.any(true, axis=0).astype(float).tolist()
            else:
                table = (states.sum(axis=0) % 2 == (table == "odd")).astype(float).tolist()
            scope = [abs(literal) - 1 for literal in scope]
        found.append((scope, table))
    return found


def check_graph_answer(question, value, info, num_states, tables):
    """What an answer claims, against enumeration."""
    if question == "log_partition":
        check_estimate(value, reference.log_partition(num_states, tables))
    elif question == "marginals":
        assert value.shape == (len(num_states), max(num_states, default=1))
        sums = value.sum(axis=1)
        assert np.allclose(sums, 1.0) or (sums == 0).all()
        if getattr(info, "error", math.inf) < math.inf and reference.partition(num_states, tables):
            for row, truth in zip(value, reference.marginals(num_states, tables)):
                assert np.abs(row[: len(truth)] - truth).max() <= info.error + 1e-12
    else:
        _, best = reference.map(num_states, tables)
        assert value.value <= best + 1e-12 and best <= value.bound + 1e-12
        if value.status is answer.Status.OPTIMAL:
            assert value.value == pytest.approx(best, abs=1e-12)
        if value.assignments is not None:
            scores = dict(reference.scores(num_states, tables))
            achieved = scores[tuple(value.assignments[0].tolist())]
            assert value.value == pytest.approx(math.log(achieved), abs=1e-12)


def answered(entry, graph, **limits):
    """Value and Info, or None where the problem is refused in one line."""
    try:
        return entry(graph, **limits)
    except ValueError as error:
        assert_one_line(error)
        return None


@pytest.mark.parametrize("problem", MODELS)
@pytest.mark.parametrize(("question", "name"), GRAPHS)
def test_graphs(question, name, problem):
    num_states, factors = MODELS[problem]
    graph, tables, entry = (
        build_graph(*MODELS[problem]),
        as_tables(factors),
        ENTRIES[question, name],
    )
    before = copy.deepcopy(graph)
    first, second = answered(entry, graph, seed=3), answered(entry, graph, seed=3)
    chex.assert_trees_all_equal(graph, before)
    if first is None or second is None:
        narrow = name.startswith("bpnn") and any(size > 2 for size in num_states)
        nothing = (question, name, problem) == ("marginals", "solve", "nothing possible")
        assert first is second and (narrow or nothing)
        return
    (value, info), (again, _) = first, second
    assert info.status == "done" and info.seconds >= 0
    if question == "maximize":
        assert (value.status, value.value, value.bound) == (again.status, again.value, again.bound)
    chex.assert_trees_all_equal(
        getattr(value, "assignments", value), getattr(again, "assignments", again)
    )
    check_graph_answer(question, value, info, num_states, tables)


@pytest.mark.parametrize("problem", TREES)
@pytest.mark.parametrize("name", ["bp", "gbp", "bpnn_layers"])
def test_estimates_on_trees(name, problem):
    graph = build_graph(*MODELS[problem])
    if name == "bpnn_layers" and (graph.num_states > 2).any():
        pytest.skip("variables of two states")
    value, _ = ENTRIES["log_partition", name](graph)
    assert value.log_value == pytest.approx(reference.log_partition(*MODELS[problem]), abs=1e-6)


@pytest.mark.parametrize(("question", "name"), GRAPHS)
def test_graphs_without_time(question, name):
    num_states, factors = ALL_KINDS
    value, info = ENTRIES[question, name](build_graph(num_states, factors), timeout=0.0)
    assert info.status in ("timeout", "done")
    check_graph_answer(question, value, info, num_states, as_tables(factors))


@pytest.mark.parametrize(("question", "name"), GRAPHS)
def test_graphs_take_seeds_of_any_kind(question, name):
    graph = build_graph(*MODELS["clauses"])
    for seed in (b"bytes", jax.random.key(3)):
        first, second = (ENTRIES[question, name](graph, seed=seed)[0] for _ in range(2))
        same = [getattr(one, "value", getattr(one, "log_value", one)) for one in (first, second)]
        np.testing.assert_array_equal(*same)


@pytest.mark.parametrize(("question", "name"), [one for one in GRAPHS if one[1] != "solve"])
def test_graphs_refuse_too_little_memory(question, name):
    table = np.random.default_rng(0).normal(size=(2,) * 18)  # 2 MiB
    graph = factor_graph.build([2] * 18, [(tuple(range(18)), table)])
    with pytest.raises(ValueError, match="MiB") as error:
        ENTRIES[question, name](graph, memory=1)
    assert_one_line(error)


# --- Samples -------------------------------------------------------------------------------------

FERROMAGNET = factor_graph.build(
    [2] * 3, [((v, v + 1), [[0.4, 0.0], [0.0, 0.4]]) for v in range(2)], log_constant=-700.0
)


def check_samples(drawn, num_variables, tables=None):
    """They claim no more than chains can, and are states of positive weight."""
    assert (drawn.claim, drawn.independent) == (samples.SampleClaim.ASYMPTOTIC, False)
    assert drawn.assignments.shape[1] == num_variables
    assert np.issubdtype(drawn.assignments.dtype, np.integer)
    for states in drawn.assignments.tolist() if tables is not None else ():
        assert all(reference._entry(table, [states[v] for v in scope]) for scope, table in tables)


KERNELS = [name for name in SAMPLERS if name != "solve"]
# Others than gibbs take what is left as the tables that these are, and compile for seconds.
SAME_FOR_ALL = ("three at once", "parities", "no factors")


@pytest.mark.parametrize(
    ("name", "problem"),
    [(k, p) for k in KERNELS for p in MODELS if k == "gibbs" or p not in SAME_FOR_ALL],
)
def test_samples(name, problem):
    num_states, factors = MODELS[problem]
    graph = build_graph(num_states, factors)
    before = copy.deepcopy(graph)
    found = answered(ENTRIES["sample", name], graph, seed=3, **FEW)
    chex.assert_trees_all_equal(graph, before)
    if found is None:
        assert problem == "nothing possible" or name == "swendsen_wang"
        return
    drawn, info = found
    assert info.status == "done" and info.seconds >= 0 and len(drawn.assignments) == 50
    check_samples(drawn, len(num_states), as_tables(factors))


@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_without_time(name):
    drawn, info = ENTRIES["sample", name](FERROMAGNET, timeout=0.0)
    assert info.status == "timeout" and not info.converged
    check_samples(drawn, 3)


@pytest.mark.parametrize(
    ("name", "seed"),
    [*((name, 5) for name in KERNELS), ("gibbs", b"bytes"), ("gibbs", jax.random.key(3))],
)
def test_equal_seeds_give_equal_samples(name, seed):
    first, second = (ENTRIES["sample", name](FERROMAGNET, seed=seed, **FEW)[0] for _ in range(2))
    np.testing.assert_array_equal(first.assignments, second.assignments)


@pytest.mark.parametrize("name", KERNELS)
def test_samples_refuse_too_little_memory(name):
    table = np.random.default_rng(0).normal(size=(2,) * 18)  # 2 MiB
    graph = factor_graph.build([2] * 18, [(tuple(range(18)), table)])
    with pytest.raises(ValueError, match="MiB") as error:
        ENTRIES["sample", name](graph, memory=1)
    assert_one_line(error)


def test_auto_samples_by_what_fits():
    drawn, info = solve.sample(FERROMAGNET, num_samples=20)
    assert info.method == "swendsen_wang" and info.converged and info.ess >= 400
    assert len(drawn.assignments) == 20
    for graph in (build_graph(*MODELS["no variables"]), build_graph(*MODELS["no factors"])):
        assert len(solve.sample(graph, num_samples=20)[0].assignments) == 20
    with pytest.raises(ValueError, match="given one where every assignment has weight 0"):
        solve.sample(build_graph(*MODELS["nothing possible"]))


# --- With a time limit, in children that are killed ----------------------------------------------

LIMITED = [(q, name, 0.0) for q in QUESTIONS for name in ("auto", *methods.answering(q))]


@pytest.mark.parametrize(
    ("question", "method", "timeout"), [*LIMITED, *((q, "auto", 0.05) for q in QUESTIONS)]
)
def test_no_time_is_no_error(question, method, timeout):
    num_states, factors = ALL_KINDS
    ask = {"log_partition": solve.partition, "marginals": solve.marginals}
    graph = build_graph(num_states, factors)
    value, info = ask.get(question, solve.maximize)(graph, method=method, timeout=timeout)
    assert info.status in ("timeout", "done") and (timeout > 0 or info.status == "timeout")
    check_graph_answer(question, value, info, num_states, as_tables(factors))
    assert question != "marginals" or np.allclose(value.sum(axis=1), 1.0)
