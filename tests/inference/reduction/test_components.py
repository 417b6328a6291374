"""Components against a search through the graph of shared variables."""

import math
import time

import numpy as np
import pytest

from inference.problems import cnf
from inference.reduction import components
from tests import reference


def connected(num_variables, lists):
    """Sets of variables joined by lists, by repeated merging."""
    sets = [{v} for v in range(1, num_variables + 1)]
    for one in lists:
        touched = [s for s in sets if s & {abs(x) for x in one}]
        sets = [s for s in sets if s not in touched] + ([set().union(*touched)] if touched else [])
    mentioned = {abs(x) for one in lists for x in one}
    return sorted(sorted(s) for s in sets if s <= mentioned)


@pytest.mark.parametrize("seed", range(40))
def test_parts_are_connected_and_their_counts_multiply(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 10))

    def some(number, size):
        return [rng.choice(n, min(n, size), replace=False) + 1 for _ in range(number)]

    clauses = [(v * rng.choice([-1, 1], len(v))).tolist() for v in some(rng.integers(0, 5), 2)]
    xors = [(v.tolist(), bool(rng.integers(2))) for v in some(rng.integers(0, 3), 2)]
    sampled = sorted(v for v in range(1, n + 1) if rng.random() < 0.7)
    formula = cnf.from_clauses(clauses, num_variables=n, xors=xors, projection=sampled)
    parts = components.split(formula)
    mentioned = [p.variables.tolist() for p in parts if p.formula.num_clauses + len(p.formula.xors)]
    assert mentioned == connected(n, [*clauses, *(v for v, _ in xors)])
    assert sorted(v for part in parts for v in part.variables.tolist()) == list(range(1, n + 1))
    counts = [
        reference.count_models(
            part.formula.num_variables,
            part.formula.clauses.tolist(),
            list(zip(part.formula.xors.tolist(), part.formula.xor_rhs.tolist(), strict=True)),
            part.formula.sampling_set.tolist(),
        )
        for part in parts
    ]
    assert math.prod(counts) == reference.count_models(n, clauses, xors, sampled)


def test_weights_stay_with_their_variables():
    log_weights = np.log([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    formula = cnf.from_clauses([[1, 3]], num_variables=3, log_weights=log_weights)
    [pair, alone] = components.split(formula)
    assert np.array_equal(pair.formula.log_weights, log_weights[[0, 2]])
    assert np.array_equal(alone.formula.log_weights, log_weights[[1]])


def test_an_empty_clause_is_a_part():
    [pair, rest] = components.split(cnf.from_clauses([[1, 2], []]))
    assert pair.variables.tolist() == [1, 2]
    assert (rest.formula.num_variables, rest.formula.num_clauses) == (0, 1)
    assert components.split(cnf.from_clauses([])) == []


def test_a_long_chain_takes_few_rounds():
    n = 100_000
    order = np.random.default_rng(0).permutation(n) + 1
    chain = np.stack([order[:-1], -order[1:]], axis=1).astype(np.int32)
    offsets = np.arange(0, chain.size + 1, 2, dtype=np.int64)
    none = cnf.ragged([])
    formula = cnf.CNF(n, cnf.Ragged(chain.reshape(-1), offsets), none, np.zeros(0, dtype=bool))
    start = time.perf_counter()
    [part] = components.split(formula)
    assert part.formula.num_variables == n and time.perf_counter() - start < 5
