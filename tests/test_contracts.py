"""What every algorithm keeps, one row each: valid bounds, equal answers for equal keys, inputs left
alone; and for every kernel: jit, vmap, one trace for equal shapes."""

import copy
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reference
from experiments import solve
from experiments.harness.graph_methods import METHODS
from hashing.counting import adaptive, approxmc, short_xor
from hashing.parity import affine, families, gf2
from inference.bounds import mean_field, mini_bucket, trw
from inference.estimate import Claim, Estimate
from inference.exact import elimination, exhaustive, ganak
from inference.message_passing import bp, gbp, rules
from inference.message_passing.learned import bpnn_layers, bpnn_phases, bpnn_sat
from inference.problems import cnf, convert, factor_graph

# --- Counting: (seed, formula) -> Estimate ------------------------------------------------------

COUNTERS = {
    "exhaustive": lambda seed, formula: exhaustive.count(formula),
    "ganak": lambda seed, formula: ganak.count(formula, seed=seed, timeout=60).value,
    "approxmc": lambda seed, formula: approxmc.count(formula, seed=seed)[0],
    "approxmc, epsilon 0.3": lambda seed, formula: approxmc.count(formula, seed=seed, epsilon=0.3)[
        0
    ],
    "approxmc, epsilon 6": lambda seed, formula: approxmc.count(formula, seed=seed, epsilon=6.0)[0],
    "adaptive": lambda seed, formula: adaptive.count(formula, seed=seed)[0],
    "short_xor": lambda seed, formula: short_xor.count(formula, seed=seed)[0],
    "solve.count": lambda seed, formula: solve.count(formula, seed=seed)[0],
}
WEIGHTED = ("exhaustive", "ganak", "solve.count")

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


def check_estimate(estimate: Estimate, truth: float):
    """The interval holds the truth, or may fail to with a stated probability below one half."""
    assert estimate.claim is not Claim.NONE
    assert estimate.failure_lower + estimate.failure_upper < 0.5
    assert estimate.log_lower <= truth <= estimate.log_upper
    if estimate.count is not None:
        assert (math.log(estimate.count) if estimate.count else -math.inf) == estimate.log_value


@pytest.mark.parametrize("problem", FORMULAS)
@pytest.mark.parametrize("name", COUNTERS)
def test_counters(name, problem):
    given, counter = FORMULAS[problem], COUNTERS[name]
    formula = build(**given)
    digest = formula.digest()
    if formula.log_weights is not None and name not in WEIGHTED:
        with pytest.raises(ValueError, match="weights"):
            counter(0, formula)
        return
    truth = reference.count_models(**given)
    # Seeds fixed, so this cannot fail by chance; coverage over seeds is tested by each module.
    estimates = [counter(seed, formula) for seed in (0, 0, 1)]
    for one in estimates:
        check_estimate(one, math.log(truth) if truth else -math.inf)
    assert estimates[0].log_value == estimates[1].log_value
    assert formula.digest() == digest


# --- Partition functions: (graph) -> Estimate ---------------------------------------------------

PARTITIONS = {
    "elimination": lambda graph: elimination.log_partition(graph)[0],
    "exhaustive": exhaustive.log_partition,
    "mini_bucket": lambda graph: mini_bucket.log_partition(graph)[0],
    "mini_bucket, i-bound 1": lambda graph: mini_bucket.log_partition(graph, i_bound=1)[0],
    "mean_field": lambda graph: mean_field.log_partition(graph)[0],
    "trw": lambda graph: trw.log_partition(graph)[0],
    "solve.partition": lambda graph: solve.partition(graph)[0],
}
# They claim nothing; but on these problems, trees all of them, they are right.
ESTIMATORS = {
    "bp": lambda graph: bp.log_partition(graph)[0],
    "region": lambda graph: gbp.log_partition(graph)[0],
    "bpnn": lambda graph: bpnn_layers.log_partition(graph)[0],
}
TABLES = {
    "chain": ([2, 3, 2], [((0, 1), [[1, 2, 0], [0.5, 1, 3]]), ((1, 2), [[1, 4], [0, 1], [2, 2]])]),
    "hard zeros": ([2, 2], [((0, 1), [[0, 1], [1, 0]]), ((0,), [0, 5])]),
    "nothing possible": ([2, 2], [((0, 1), [[0, 1], [0, 0]]), ((0,), [0, 1])]),
    "no factors": ([3, 1], []),
    "no variables": ([], []),
    "three at once": ([2, 2, 2], [((2, 0, 1), [[[1, 2], [3, 4]], [[5, 6], [7, 0]]])]),
}


def build_graph(num_states, factors):
    with np.errstate(divide="ignore"):
        logs = [(variables, np.log(np.array(table, dtype=float))) for variables, table in factors]
    return factor_graph.build(num_states, logs)


@pytest.mark.parametrize("problem", TABLES)
@pytest.mark.parametrize("name", PARTITIONS)
def test_partitions(name, problem):
    graph = build_graph(*TABLES[problem])
    before = copy.deepcopy(graph)
    check_estimate(PARTITIONS[name](graph), reference.log_partition(*TABLES[problem]))
    chex.assert_trees_all_equal(graph, before)


@pytest.mark.parametrize("problem", TABLES)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators(name, problem):
    graph = build_graph(*TABLES[problem])
    before = copy.deepcopy(graph)
    if name == "bpnn" and (graph.num_states != 2).any():
        with pytest.raises(ValueError, match="variables of two states, given one of"):
            ESTIMATORS[name](graph)
        return
    estimates = [ESTIMATORS[name](graph) for _ in range(2)]
    assert estimates[0] == estimates[1]
    assert estimates[0].claim is Claim.NONE
    truth = reference.log_partition(*TABLES[problem])
    assert estimates[0].log_value == pytest.approx(truth, abs=1e-6)
    chex.assert_trees_all_equal(graph, before)


LIMITED = [(question, name) for question, row in METHODS.items() for name in row]


@pytest.mark.parametrize("timeout", [0.0, 0.05])
@pytest.mark.parametrize(("question", "method"), LIMITED)
def test_no_time_is_no_error(question, method, timeout):
    formula = cnf.from_clauses(CLAUSES, num_variables=6, xors=[([1, 3, 6], True)])
    logical = convert.clause_graph(formula).groups
    tables = [((0, 1), [[0.5, -1.0], [2.0, 0.0]]), ((2,), [0.0, 1.0])]
    graph = factor_graph.build([2] * 6, tables, logical=logical)
    ask = {"log_partition": solve.partition, "marginals": solve.marginals}
    value, info = ask.get(question, solve.maximize)(graph, method=method, timeout=timeout)
    assert info.status in ("timeout", "done") and (timeout > 0 or info.status == "timeout")
    scores = [float(factor_graph.log_score(graph, np.array(x))) for x in np.ndindex(*[2] * 6)]
    if question == "log_partition":
        assert value.log_lower <= np.logaddexp.reduce(scores) <= value.log_upper
    elif question == "marginals":
        np.testing.assert_allclose(value.sum(axis=1), 1.0)
    else:
        assert value.value <= max(scores) + 1e-12 and max(scores) <= value.bound


def test_learned_methods_claim_nothing():
    graph = build_graph([2] * 4, [((v, (v + 1) % 4), [[2, 1], [1, 2]]) for v in range(4)])
    formula = build(**FORMULAS["plain"])
    for one in (bpnn_phases.log_partition(graph)[0], bpnn_sat.count(formula)[0]):
        assert one.claim is Claim.NONE and math.isfinite(one.log_value)


# --- Kernels: function and arguments, made from an index, of equal shapes -----------------------


def _system(i):
    rng = np.random.default_rng(i)
    rows = rng.integers(0, 2**32, size=(5, 2), dtype=np.uint32)
    return jnp.array(rows), jnp.array(rng.integers(0, 2, size=5), dtype=bool)


def _graph(i):
    graph = build_graph(*TABLES["chain"])
    shift = np.float32(i)
    groups = tuple(
        factor_graph.FactorGroup(g.variables, np.float32(g.log_potentials) - shift)
        for g in graph.groups
    )
    return (graph._replace(log_unary=np.float32(graph.log_unary), groups=groups),)


def _ratios(i):
    rng = np.random.default_rng(i)
    sides = jnp.array(rng.random((6, 4)) < 0.5)
    return sides, jnp.array(rng.random((6, 4)) < 0.8), jnp.array(rng.normal(size=(6, 4)), "float32")


def _rows(i):
    rng = np.random.default_rng(i)
    incoming = rules.normalize(jnp.array(rng.normal(size=(5, 2, 3)), "float32"))
    return jnp.array(rng.normal(size=(5, 3, 3)), "float32"), incoming


VARIABLES = jnp.arange(40, dtype=jnp.int32)
KERNELS = {
    "gf2.row_reduce": (gf2.row_reduce, _system),
    "gf2.rank": (gf2.rank, lambda i: _system(i)[:1]),
    "gf2.apply": (gf2.apply, lambda i: (_system(i)[0], _system(i + 9)[0])),
    "affine.solve": (lambda rows, rhs: affine.solve(rows, rhs, 64), _system),
    "families.dense": (
        lambda key: families.dense(key, 4, VARIABLES),
        lambda i: (jax.random.key(i),),
    ),
    "families.fixed_weight": (
        lambda key: families.fixed_weight(key, 4, VARIABLES, 3),
        lambda i: (jax.random.key(i),),
    ),
    "rules.table_messages": (rules.table_messages, _rows),
    "rules.clause_messages": (rules.clause_messages, _ratios),
    "rules.parity_messages": (
        lambda sides, mask, log_ratios: rules.parity_messages(sides[:, 0], mask, log_ratios),
        _ratios,
    ),
    "elimination": (elimination.compile_log_partition(build_graph(*TABLES["chain"])), _graph),
    "bp": (bp.compile_log_partition(build_graph(*TABLES["chain"])), _graph),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernels(name):
    function, arguments = KERNELS[name]
    cases = [arguments(i) for i in range(3)]
    traces = []

    def counted(*given):
        traces.append(given)
        return function(*given)

    traced = jax.jit(counted)
    single = [traced(*case) for case in cases]
    assert len(traces) == 1
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *cases)
    together = jax.jit(jax.vmap(function))(*stacked)
    for i, one in enumerate(single):
        batched = jax.tree.map(lambda leaf, i=i: leaf[i], together)
        chex.assert_trees_all_close(one, batched, rtol=1e-6)
        chex.assert_trees_all_equal(one, traced(*cases[i]))
