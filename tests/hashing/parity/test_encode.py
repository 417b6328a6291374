import numpy as np
import pytest

import reference
from hashing.parity import encode, gf2
from hashing.parity import rows as parity_rows


def make_parity(bits, rhs, num_rows, variables):
    packed = parity_rows.pack(np.asarray(bits, dtype=bool))
    return gf2.Parity(packed, np.asarray(rhs, dtype=bool), np.int32(num_rows), np.array(variables))


def test_rows_become_dimacs_variables_and_padding_is_left_out():
    bits = [[1, 0, 1], [0, 0, 0], [1, 1, 1], [1, 1, 0]]
    parity = make_parity(bits, [1, 1, 0, 1], 3, [4, 0, 7])
    assert encode.to_xors(parity) == [([5, 8], True), ([], True), ([5, 1, 8], False)]
    assert encode.to_xors(parity._replace(num_rows=0)) == []


@pytest.mark.parametrize("cut", [3, 4, 5])
@pytest.mark.parametrize("seed", range(6))
def test_clauses_keep_models_and_count(seed, cut):
    rng = np.random.default_rng(seed)
    n = 6
    xors = [
        ((rng.choice(n, int(size), replace=False) + 1).tolist(), bool(rng.integers(2)))
        for size in (n, *rng.integers(1, n + 1, 2))
    ]
    clauses, next_fresh = encode.to_clauses(xors, first_fresh=n + 1, cut=cut)
    assert max(len(clause) for clause in clauses) <= cut
    models = reference.models(next_fresh - 1, clauses)
    assert [x[:n] for x in models] == reference.models(n, [], xors)


def test_empty_xors():
    assert encode.to_clauses([([], False)], first_fresh=4) == ([], 4)
    assert encode.to_clauses([([], True)], first_fresh=4) == ([[]], 4)
