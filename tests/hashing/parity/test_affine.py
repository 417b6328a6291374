import chex
import jax
import numpy as np
import pytest

from hashing.parity import affine, draws
from inference.problems import parity_rows


def enumerate_coset(bits, rhs):
    n = bits.shape[1]
    every = (np.arange(1 << n)[:, None] >> np.arange(n)) & 1
    return every[((every @ bits.T.astype(int)) % 2 == rhs).all(axis=1)].tolist()


@pytest.mark.parametrize("m, n", [(0, 0), (0, 3), (3, 0), (1, 1), (4, 10), (12, 10), (8, 12)])
@pytest.mark.parametrize("size", [7, 1 << 10])
def test_every_solution_once(m, n, size):
    for seed in range(4):
        rng = np.random.default_rng([m, n, seed])
        bits = rng.random((m, n)) < 0.3
        rhs = bits @ rng.integers(0, 2, n) % 2 == 1
        if seed == 3:
            rhs = rng.integers(0, 2, m).astype(bool)
        made = list(affine.chunks(affine.solve(parity_rows.pack(bits), rhs, n), size))
        found = [x for chunk in made for x in parity_rows.unpack(chunk, n).astype(int).tolist()]
        assert sorted(found) == sorted(enumerate_coset(bits, rhs))
        assert all(len(chunk) <= size for chunk in made)


def test_points_beyond_one_word():
    rows, rhs = draws.draw_dense(5, 60, 70)
    coset = affine.solve(rows, rhs, 70)
    (found,) = affine.chunks(coset)
    assert parity_rows.satisfied(rows, rhs, found).all()
    assert len(np.unique(found, axis=0)) == len(found) == 1 << int(coset.dimension) >= 1 << 10


def test_inconsistent_and_too_large():
    zero = np.zeros((1, 2), np.uint32)
    assert list(affine.chunks(affine.solve(zero, np.array([True]), 40))) == []
    with pytest.raises(ValueError, match="expected dimension at most 30, given 40"):
        next(affine.chunks(affine.solve(zero, np.array([False]), 40)))


def test_one_trace_serves_all_dimensions(monkeypatch):
    traced = chex.assert_max_traces(affine.points.__wrapped__, n=1)
    monkeypatch.setattr(affine, "points", jax.jit(traced, static_argnames="size"))
    for seed in range(3):
        rows, rhs = draws.draw_sparse(seed, 4, 10, 0.3)
        for chunk in affine.chunks(affine.solve(rows, rhs, 10), 16):
            assert parity_rows.satisfied(rows, rhs, chunk).all()
    chex.clear_trace_counter()
