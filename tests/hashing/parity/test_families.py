import chex
import jax
import numpy as np
import pytest
from scipy import stats

from hashing.parity import families, gf2

FAMILIES = {
    "dense": families.dense,
    "bernoulli": lambda key, m, variables: families.bernoulli(key, m, variables, 0.2),
    "fixed_weight": lambda key, m, variables: families.fixed_weight(
        key, m, variables, min(3, len(variables))
    ),
}
each_family = pytest.mark.parametrize("draw", FAMILIES.values(), ids=FAMILIES.keys())


def variables(n):
    return np.arange(n, dtype=np.int32)


def bits_of(parity):
    return np.asarray(gf2.unpack(parity.rows, len(parity.variables)))


@each_family
@pytest.mark.parametrize("n", [0, 32, 33])
def test_a_short_draw_is_a_prefix_and_padding_bits_are_zero(draw, n, getkey):
    key = getkey()
    long = draw(key, 12, variables(n))
    assert np.array_equal(gf2.pack(gf2.unpack(long.rows, n)), long.rows)
    assert int(long.num_rows) == 12
    for m in (0, 7) if n == 33 else (7,):
        short = draw(key, m, variables(n))
        assert np.array_equal(short.rows, long.rows[:m])
        assert np.array_equal(short.rhs, long.rhs[:m])
        assert np.array_equal(short.variables, variables(n))


@each_family
def test_draws_do_not_change_with_the_precision_setting(draw):
    drawn = []
    for wide in (False, True):
        with jax.enable_x64(wide):
            drawn.append(jax.tree.map(np.asarray, draw(jax.random.key(3), 20, variables(70))))
    chex.assert_trees_all_equal(*drawn)
    assert [str(x.dtype) for x in drawn[1]] == ["uint32", "bool", "int32", "int32"]
    assert drawn[0].rows.any()


def test_dense_hashes_are_pairwise_independent():
    # For two rows over three variables every pair of points must meet all 16 pairs of hash
    # values equally often; a family without right sides fails here at x = 0.
    keys = jax.random.split(jax.random.key(11), 4000)
    parity = jax.vmap(lambda key: families.dense(key, 2, variables(3)))(keys)
    points = np.arange(8, dtype=np.uint32)[:, None]
    values = np.asarray(jax.vmap(lambda rows: gf2.apply(rows, points))(parity.rows))
    values = (values ^ np.asarray(parity.rhs)[:, None, :]) @ np.array([1, 2])  # [keys, points]
    pairs = [(a, b) for a in range(8) for b in range(a)]
    tables = [np.bincount(4 * values[:, a] + values[:, b], minlength=16) for a, b in pairs]
    assert min(stats.chisquare(table).pvalue for table in tables) > 1e-6


def test_dense_rows_and_sides_are_uniform():
    parity = families.dense(jax.random.key(12), 8000, variables(3))
    outcomes = np.asarray(parity.rows)[:, 0].astype(int) * 2 + np.asarray(parity.rhs)
    assert stats.chisquare(np.bincount(outcomes, minlength=16)).pvalue > 1e-6


@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 0.9, 1.0])
def test_bernoulli_bits_have_their_density(density, getkey):
    parity = families.bernoulli(getkey(), 500, variables(100), density)
    ones = int(bits_of(parity).sum())
    assert stats.binomtest(ones, 500 * 100, density).pvalue > 1e-6
    assert stats.binomtest(int(np.sum(parity.rhs)), 500, 0.5).pvalue > 1e-6


def test_fixed_weight_rows_are_uniform(getkey):
    parity = families.fixed_weight(getkey(), 5000, variables(5), 2)
    assert (bits_of(parity).sum(axis=1) == 2).all()
    frequencies = np.bincount(np.asarray(parity.rows)[:, 0], minlength=32)
    seen = frequencies[frequencies > 0]
    assert len(seen) == 10
    assert stats.chisquare(seen).pvalue > 1e-6
    assert stats.binomtest(int(np.sum(parity.rhs)), 5000, 0.5).pvalue > 1e-6


@pytest.mark.parametrize("weight", [0, 5])
def test_extreme_weights(weight, getkey):
    parity = families.fixed_weight(getkey(), 4, variables(5), weight)
    assert (bits_of(parity).sum(axis=1) == weight).all()


def test_one_trace_serves_all_densities(monkeypatch, getkey):
    traced = chex.assert_max_traces(families._bernoulli.__wrapped__, n=1)
    monkeypatch.setattr(families, "_bernoulli", jax.jit(traced, static_argnames="num_rows"))
    for density in (0.0, 0.1, 0.7, 1.0):
        families.bernoulli(getkey(), 3, variables(10), density)
    chex.clear_trace_counter()


def test_refusals(getkey):
    with pytest.raises(ValueError, match=r"expected a density in \[0, 1\], given -0.1"):
        families.bernoulli(getkey(), 1, variables(1), -0.1)
    with pytest.raises(ValueError, match=r"expected a row weight in 0..3, given 4"):
        families.fixed_weight(getkey(), 1, variables(3), 4)
