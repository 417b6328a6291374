"""What sums to one leaves the graph, Z and its certain sides stay; and what does not, stays."""

import decimal

import numpy as np
import pytest

import reference
from experiments import solve
from inference.exact import elimination
from inference.problems import barren, factor_graph, logical_groups, uai


def network(seed, num_variables, *, digits=15, parents=3):
    """A random Bayesian network: sizes, and the tables of variables given earlier ones."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 4, num_variables).tolist()
    factors = []
    for v in range(num_variables):
        given = rng.permutation(v)[: rng.integers(0, parents + 1)].tolist()
        table = rng.random([sizes[u] for u in [*given, v]]) ** 3
        table = np.round(table / table.sum(axis=-1, keepdims=True), digits)
        with np.errstate(divide="ignore"):
            factors.append(([*given, v], np.log(table)))
    return sizes, factors


@pytest.mark.parametrize("digits", [2, 6, 9, 15])
def test_z_stays_with_and_without_evidence(digits):
    for seed in range(20):
        sizes, factors = network(seed, 7, digits=digits)
        evidence = {int(v): 0 for v in np.random.default_rng(seed).permutation(7)[: seed % 4]}
        graph = factor_graph.condition(factor_graph.build(sizes, factors), evidence)
        observed = [([v], np.where(np.arange(sizes[v]) == 0, 0.0, -np.inf)) for v in evidence]
        scores = reference.exact_log_scores(sizes, [*factors, *observed])
        truth, found = reference.exact_log_partition(scores), barren.prune(graph)
        result, _ = elimination.log_partition(found)
        if truth is None:
            assert result.log_lower == -np.inf
        else:
            assert decimal.Decimal(result.log_lower) <= truth <= decimal.Decimal(result.log_upper)
            assert result.log_width < 1e-7
        if digits == 15:
            assert found.groups == () or evidence


def test_a_wide_network_is_one_by_every_method():
    graph = factor_graph.build(*network(0, 60, parents=7))
    for method in ("elimination", "mean_field", "mini_bucket", "trw"):
        result, _ = solve.partition(graph, method=method)
        assert -1e-9 < result.log_lower <= 0.0 <= result.log_upper
        assert result.log_upper < 1e-9 or method == "mean_field"


def test_what_matters_stays():
    table = np.log([[0.25, 0.75], [0.5, 0.5]])
    chain = [((0, 1), table), ((1, 2), table)]
    pruned = barren.prune(factor_graph.build([2, 2, 2], chain))
    assert pruned.groups == () and elimination.log_partition(pruned)[0].log_value == pytest.approx(
        np.log(2)
    )
    kept = [
        factor_graph.build([2, 2, 2], [((1, 0), table), ((1, 2), table.T), ((2, 0), table)]),
        factor_graph.build([2, 2], [((0, 1), np.full((2, 2), -np.inf))]),
        factor_graph.build([2, 2], chain[:1], logical=[logical_groups.clause_group([[2, 1]])]),
    ]
    for graph in kept:
        assert barren.prune(graph) is graph


def test_maxima_and_marginals_are_not_pruned():
    sizes, factors = network(3, 5)
    graph = factor_graph.build(sizes, factors)
    _, score = reference.map(sizes, [(s, np.exp(t)) for s, t in factors])
    assert solve.maximize(graph)[0].value == pytest.approx(score)
    expected = reference.marginals(sizes, [(s, np.exp(t)) for s, t in factors])
    for row, truth in zip(solve.marginals(graph)[0], expected, strict=True):
        np.testing.assert_allclose(row[: len(truth)], truth, atol=1e-9)


@pytest.mark.parametrize(
    ("tables", "why"),
    [
        ("2 0.3 0.7  4 0.5 0.4 0.1 0.9", "function 1 does not sum to 1"),
        ("2 0.33 0.66  4 0.5 0.5 0.1 0.9", None),
    ],
)
def test_a_bayes_file_that_is_not_normalised_warns(tables, why):
    text = f"BAYES 2  2 2  2  1 0  2 0 1  {tables}"
    if why is None:
        uai.parse(text)
    else:
        with pytest.warns(UserWarning, match=why):
            uai.parse(text)
    with pytest.warns(UserWarning, match="2 functions of 1 last variables for 2"):
        uai.parse("BAYES 2  2 2  2  1 0  2 1 0  2 0.3 0.7  4 0.5 0.5 0.1 0.9")
