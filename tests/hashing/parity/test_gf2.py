"""Packed GF(2) algebra against elimination on plain Python integers."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hashing.parity import gf2
from inference.problems import parity_rows

SHAPES = [
    (0, 5),
    (4, 0),
    (1, 1),
    (3, 5),
    (5, 31),
    (40, 32),
    (7, 33),
    (20, 64),
    (9, 70),
    (40, 100),
    (60, 12),
]
KINDS = ["random", "deficient", "zeros", "identity", "zero_columns", "duplicates"]


def to_integers(words):
    return [sum(int(w) << (32 * i) for i, w in enumerate(row)) for row in np.asarray(words)]


def parity(x):
    return bin(x).count("1") % 2


def reduce_integers(rows, sides, n):
    """Gauss-Jordan, column by column, on (row, side) pairs: (pairs, pivot columns)."""
    system, pivots = [(r, int(s)) for r, s in zip(rows, sides)], []
    for column in range(n):
        done = len(pivots)
        found = next((i for i in range(done, len(system)) if system[i][0] >> column & 1), None)
        if found is None:
            continue
        system[done], system[found] = system[found], system[done]
        row, side = system[done]
        for i, (r, s) in enumerate(system):
            if i != done and r >> column & 1:
                system[i] = (r ^ row, s ^ side)
        pivots.append(column)
    return system, pivots


def make_bits(kind, m, n, seed=0):
    rng = np.random.default_rng([seed, m, n])
    bits = rng.integers(0, 2, size=(m, n)).astype(bool)
    rhs = rng.integers(0, 2, size=m).astype(bool)
    if kind == "deficient":
        mix = rng.integers(0, 2, size=(m, max(1, m // 3)))
        bits = (mix @ bits[: max(1, m // 3)] % 2).astype(bool) if m else bits
    if kind == "zeros":
        bits[:] = False
    if kind == "identity":
        bits = np.eye(m, n, dtype=bool)
    if kind == "zero_columns":
        bits[:, ::2] = False
        bits[::3] = False
    if kind == "duplicates":
        bits[m // 2 :] = bits[: m - m // 2]
    return bits, rhs


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("m, n", SHAPES)
def test_elimination_agrees_with_integers(kind, m, n):
    bits, rhs = make_bits(kind, m, n)
    words = parity_rows.pack(bits)
    system, pivots = reduce_integers(to_integers(words), rhs, n)
    reduced = gf2.row_reduce(words, rhs)
    assert to_integers(reduced.rows) == [row for row, _ in system]
    assert reduced.rhs.tolist() == [bool(side) for _, side in system]
    assert int(reduced.rank) == int(gf2.rank(words)) == len(pivots)
    assert reduced.pivots.tolist() == pivots + [32 * words.shape[1]] * (m - len(pivots))
    assert bool(reduced.consistent) == all(row or not side for row, side in system)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("m, n", SHAPES)
def test_solutions_solve_and_the_null_space_is_a_basis(kind, m, n):
    bits, rhs = make_bits(kind, m, n, seed=1)
    rows = to_integers(parity_rows.pack(bits))
    reduced = gf2.row_reduce(parity_rows.pack(bits), rhs)
    basis, dimension = gf2.null_space(reduced, n)
    vectors = to_integers(basis)
    assert len(vectors) == n
    assert int(dimension) == n - int(reduced.rank)
    assert all(parity(row & v) == 0 for row in rows for v in vectors)
    assert vectors[int(dimension) :] == [0] * int(reduced.rank)
    independent = reduce_integers(vectors[: int(dimension)], [0] * int(dimension), n)[1]
    assert len(independent) == int(dimension)
    (solution,) = to_integers(gf2.particular_solution(reduced)[None])
    solved = all(parity(row & solution) == side for row, side in zip(rows, rhs))
    assert solved == bool(reduced.consistent)


def test_zero_rows_stand_for_their_right_side():
    zero = np.zeros((2, 1), np.uint32)
    assert gf2.row_reduce(zero, np.array([False, False])).consistent
    assert not gf2.row_reduce(zero, np.array([False, True])).consistent
    twice = np.array([[5], [5]], np.uint32)
    assert not gf2.row_reduce(twice, np.array([False, True])).consistent


@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 70])
def test_pack_and_apply_agree_with_the_host(n):
    rng = np.random.default_rng(n)
    bits, models = (
        rng.integers(0, 2, (6, n)).astype(bool),
        rng.integers(0, 2, (2, 4, n)).astype(bool),
    )
    words = gf2.pack(models)
    assert words.dtype == np.uint32
    assert np.array_equal(words, parity_rows.pack(models))
    assert np.array_equal(gf2.unpack(words, n), models)
    expected = models.astype(int) @ bits.astype(int).T % 2 == 1
    assert np.array_equal(gf2.apply(gf2.pack(bits), words), expected)
    single = gf2.apply(gf2.pack(bits), words[0, 0])
    assert np.array_equal(single, expected[0, 0])


def test_padding_is_ignored_and_drawn_zero_rows_are_not():
    rows = np.array([[0b011], [0b110], [0b001], [0]], np.uint32)
    rhs = np.array([True, False, True, True])
    models = np.arange(8, dtype=np.uint32)[:, None]
    for num_rows in range(5):
        constraints = gf2.Parity(rows, rhs, np.int32(num_rows), np.arange(3))
        expected = [
            all(parity(int(rows[i, 0]) & x) == rhs[i] for i in range(num_rows)) for x in range(8)
        ]
        assert gf2.satisfied(constraints, models).tolist() == expected
        cleared = gf2.clear_padding(constraints)
        reduced = gf2.row_reduce(cleared.rows, cleared.rhs)
        assert bool(reduced.consistent) == any(expected)
        assert int(reduced.rank) == min(num_rows, 3)


def test_one_trace_serves_a_batch_and_agrees_with_single_systems():
    traced = chex.assert_max_traces(gf2.row_reduce.__wrapped__, n=1)
    batched = jax.jit(jax.vmap(traced))
    for seed in range(3):
        systems = [make_bits(kind, 12, 40, seed) for kind in KINDS]
        words = np.stack([parity_rows.pack(bits) for bits, _ in systems])
        sides = np.stack([rhs for _, rhs in systems])
        reduced = batched(words, sides)
        basis, dimension = jax.vmap(lambda r: gf2.null_space(r, 40))(reduced)
        for i, (_, rhs) in enumerate(systems):
            single = gf2.row_reduce(words[i], rhs)
            chex.assert_trees_all_equal(jax.tree.map(lambda x: x[i], reduced), single)
            chex.assert_trees_all_equal((basis[i], dimension[i]), gf2.null_space(single, 40))
    chex.clear_trace_counter()


def test_dtypes_do_not_depend_on_the_precision_setting():
    bits, rhs = make_bits("random", 6, 40)
    for wide in (False, True):
        with jax.enable_x64(wide):
            reduced = gf2.row_reduce(jnp.asarray(parity_rows.pack(bits)), jnp.asarray(rhs))
            dtypes = [x.dtype for x in reduced] + [x.dtype for x in gf2.null_space(reduced, 40)]
            dtypes += [gf2.particular_solution(reduced).dtype, gf2.pack(jnp.asarray(bits)).dtype]
        assert [str(x) for x in dtypes] == [
            *("uint32", "bool", "int32", "int32", "bool"),
            *("uint32", "int32"),
            *("uint32", "uint32"),
        ]
