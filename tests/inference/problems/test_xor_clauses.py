import numpy as np
import pytest

import reference
from inference.problems import xor_clauses


@pytest.mark.parametrize("seed", range(6))
def test_clauses_keep_models_and_count(seed):
    rng = np.random.default_rng(seed)
    n = 6
    xors = [
        ((rng.choice(n, int(size), replace=False) + 1).tolist(), bool(rng.integers(2)))
        for size in (n, *rng.integers(1, n + 1, 2))
    ]
    clauses, next_fresh = xor_clauses.encode_all(xors, first_fresh=n + 1)
    assert max(len(clause) for clause in clauses) <= 4
    models = reference.models(next_fresh - 1, clauses)
    assert [x[:n] for x in models] == reference.models(n, [], xors)


def test_empty_xors():
    assert xor_clauses.encode_all([([], False)], first_fresh=4) == ([], 4)
    assert xor_clauses.encode_all([([], True)], first_fresh=4) == ([[]], 4)
