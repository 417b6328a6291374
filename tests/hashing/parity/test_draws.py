import hashlib
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from hashing.parity import draws
from inference.problems import parity_rows

SIZES = [0, 1, 5, 31, 32, 33, 64, 70, 100]


def families():
    yield draws.draw_dense
    for density in (0.0, 0.1, 1.0):
        yield lambda key, m, n, f=density: draws.draw_sparse(key, m, n, f)


@pytest.mark.parametrize("draw", list(families()))
@pytest.mark.parametrize("num_columns", [0, 1, 31, 32, 33, 64, 100])
def test_a_short_draw_is_a_prefix_of_a_longer_one_and_padding_is_zero(draw, num_columns):
    long_rows, long_rhs = draw(123, 40, num_columns)
    for m in (0, 1, 17):
        short_rows, short_rhs = draw(123, m, num_columns)
        assert np.array_equal(short_rows, long_rows[:m])
        assert np.array_equal(short_rhs, long_rhs[:m])
    unpacked = parity_rows.unpack(long_rows, num_columns)
    assert np.array_equal(parity_rows.pack(unpacked), long_rows)


@pytest.mark.parametrize("draw", [draws.draw_dense, draws.draw_sparse])
@pytest.mark.parametrize("num_columns", [0, 1, 33, 64, 100, 40_000])
def test_a_draw_starts_at_any_row(draw, num_columns):
    options = () if draw is draws.draw_dense else (0.3,)
    rows, rhs = draw(123, 9, num_columns, *options)
    for first in (0, 1, 2, 3, 8):
        there, sides = draw(123, 9 - first, num_columns, *options, first=first)
        assert np.array_equal(there, rows[first:]) and np.array_equal(sides, rhs[first:])


def test_draws_are_pinned():
    # A witness derives its rows again, so these values may change only on purpose.
    key = draws.derive(7, "round", 3)
    rows, rhs = draws.draw_dense(key, 5, 70)
    sparse, _ = draws.draw_sparse(key, 5, 70, 0.1)
    assert key == PINNED["key"]
    assert hashlib.sha256(rows.astype("<u4").tobytes()).hexdigest()[:16] == PINNED["dense"]
    assert hashlib.sha256(sparse.astype("<u4").tobytes()).hexdigest()[:16] == PINNED["sparse"]
    assert rhs.tolist() == PINNED["rhs"]


PINNED = {
    "key": 236903085085988792661022873801627827166,
    "dense": "d0e69ed337f96b09",
    "sparse": "183fb313235d9c77",
    "rhs": [False, False, False, True, True],
}


@pytest.mark.parametrize("density", [0.0, 0.03, 0.5, 1.0])
def test_bits_have_their_density(density):
    rows, rhs = draws.draw_sparse(7, 500, 100, density)
    ones = int(np.bitwise_count(rows).sum())
    assert stats.binomtest(ones, 500 * 100, density).pvalue > 1e-6
    assert stats.binomtest(int(rhs.sum()), 500, 0.5).pvalue > 1e-6


def test_dense_bits_are_fair_in_every_column():
    rows, rhs = draws.draw_dense(8, 2000, 70)
    ones = np.append(parity_rows.unpack(rows, 70).sum(axis=0), rhs.sum())
    assert min(stats.binomtest(int(k), 2000, 0.5).pvalue for k in ones) > 1e-6


def test_density_outside_the_unit_interval_is_refused():
    with pytest.raises(ValueError, match=r"expected a density in \[0, 1\], given 1.5"):
        draws.draw_sparse(0, 1, 1, 1.5)


def test_derive_separates_seeds_and_labels():
    parts = [(1,), (1, "a"), (1, "a", "b"), (1, "ab"), (1, 2), (1, "2"), (12,), (2,), (1, 2, 3)]
    keys = [draws.derive(*x) for x in parts]
    assert len(set(keys)) == len(keys)
    assert all(0 <= key < 1 << 128 for key in keys)
    assert max(keys) > 1 << 120


def test_draws_come_without_jax():
    code = "import sys; from hashing.parity import draws; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
