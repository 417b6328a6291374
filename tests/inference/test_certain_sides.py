"""Sides called certain, against sums of 90 digits: not one of them is off by a last digit.

Potentials span 600 orders of magnitude, constants a million nats; both may cancel.
"""

import decimal
import math

import numpy as np
import pytest

import reference
from inference import answer, estimate
from inference.bounds import mean_field, mini_bucket, trw
from inference.exact import elimination, exhaustive
from inference.problems import factor_graph

PARTITIONS = {
    "elimination": lambda graph: elimination.log_partition(graph)[0],
    "exhaustive": lambda graph: exhaustive.log_partition(graph)[0],
    "mini_bucket 0": lambda graph: mini_bucket.log_partition(graph, i_bound=0, iterations=2)[0],
    "mini_bucket": lambda graph: mini_bucket.log_partition(graph)[0],
    "mean_field 0": lambda graph: mean_field.log_partition(graph, i_bound=0, restarts=2)[0],
    "mean_field": lambda graph: mean_field.log_partition(graph)[0],
    "trw": lambda graph: trw.log_partition(graph, iterations=3)[0],
}
MAXIMA = {
    "elimination": lambda graph: elimination.maximize(graph)[0],
    "exhaustive": lambda graph: exhaustive.maximize(graph)[0],
    "mini_bucket 0": lambda graph: mini_bucket.maximize(graph, i_bound=0, iterations=2)[0],
    "mini_bucket": lambda graph: mini_bucket.maximize(graph)[0],
    "mean_field": lambda graph: mean_field.maximize(graph, rounds=2)[0],
}


def draw(seed):
    """A random graph of up to six variables, and the exact scores of its assignments."""
    rng = np.random.default_rng(seed)
    sizes = rng.choice([1, 2, 2, 3], rng.integers(2, 7)).tolist()
    scale, zeros = rng.choice([0.3, 30.0, 690.0]), rng.choice([0.0, 0.3])
    constant = float(rng.choice([0.0, 2e3, 1e6]) * rng.normal())
    factors = [([0], -constant * (seed % 2) + rng.normal(size=sizes[0]))]
    for _ in range(rng.integers(1, 9)):
        scope = rng.permutation(len(sizes))[: rng.integers(1, 4)].tolist()
        table = scale * rng.normal(size=[sizes[v] for v in scope])
        factors.append((scope, np.where(rng.random(table.shape) < zeros, -np.inf, table)))
    graph = factor_graph.build(sizes, factors, log_constant=constant)
    return graph, reference.exact_log_scores(sizes, [*factors, ([], constant)])


@pytest.mark.parametrize("name", PARTITIONS)
def test_intervals(name):
    for seed in range(25):
        graph, scores = draw(seed)
        truth, found = reference.exact_log_partition(scores), PARTITIONS[name](graph)
        assert found.claim is estimate.Claim.CERTAIN
        if truth is None:
            assert found.log_lower == -math.inf
            continue
        assert decimal.Decimal(found.log_lower) <= truth <= decimal.Decimal(found.log_upper)
        times = round(abs(found.log_value) / math.log(2))  # may cancel
        with decimal.localcontext(reference.DIGITS):
            truth += times * decimal.Decimal(2).ln()
        found = estimate.doubled(found, times)
        assert decimal.Decimal(found.log_lower) <= truth <= decimal.Decimal(found.log_upper)


@pytest.mark.parametrize("name", MAXIMA)
def test_maxima(name):
    for seed in range(40):
        graph, scores = draw(seed)
        found = MAXIMA[name](graph)
        if not scores:
            assert (found.value, found.assignments) == (-math.inf, None)
            continue
        assert max(scores.values()) <= decimal.Decimal(found.bound)
        if found.assignments is not None:
            off = abs(decimal.Decimal(found.value) - scores[tuple(found.assignments[0])])
            assert float(off) <= math.ulp(found.value) / 2 + graph.log_error
        if found.status is answer.Status.OPTIMAL:
            size = 1 + abs(found.value)
            assert found.value <= found.bound <= found.value + 1e-8 * size
