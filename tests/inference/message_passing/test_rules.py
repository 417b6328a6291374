"""Rules of a factor against enumeration in plain Python and against the tables they stand for."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from inference.message_passing import rules

clause_messages = jax.jit(rules.clause_messages)
clause_log_partition = jax.jit(rules.clause_log_partition)
parity_messages = jax.jit(rules.parity_messages)
parity_log_partition = jax.jit(rules.parity_log_partition)
table_messages = jax.jit(rules.table_messages, static_argnums=2)
table_log_partition = jax.jit(rules.table_log_partition)


def expected_messages(table, shares):
    """Normalised messages and Z_a by enumeration in the linear domain, over nested dictionaries."""
    sizes = [len(row) for row in shares]
    out = [[0.0] * size for size in sizes]
    total = 0.0
    for states in itertools.product(*map(range, sizes)):
        for slot, state in enumerate(states):
            others = [shares[j][x] for j, x in enumerate(states) if j != slot]
            out[slot][state] += table[states] * math.prod(others)
        total += table[states] * math.prod(row[x] for row, x in zip(shares, states))
    return [[x / sum(row) if sum(row) else 0.0 for x in row] for row in out], total


def clause_table(signs):
    return {
        x: float(any(a == b for a, b in zip(x, signs)))
        for x in itertools.product([0, 1], repeat=len(signs))
    }


def parity_table(size, rhs):
    return {x: float(sum(x) % 2 == rhs) for x in itertools.product([0, 1], repeat=size)}


def log_ratios(shares):
    with np.errstate(divide="ignore"):
        return np.log([[row[1] for row in shares]]) - np.log([[row[0] for row in shares]])


def draw(rng, size, zeros):
    shares = rng.dirichlet(np.ones(2), size=size)
    for row in shares[rng.random(size) < zeros]:
        row[:] = [0.0, 1.0] if rng.random() < 0.5 else [1.0, 0.0]
    return shares.tolist()


@pytest.mark.parametrize("zeros", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["clause", "parity"])
def test_clauses_and_parities_by_enumeration(kind, zeros):
    rng = np.random.default_rng(1)
    for size in [1, 3, 10]:
        shares = draw(rng, size, zeros)
        signs, rhs = rng.integers(2, size=size), int(rng.integers(2))
        table = clause_table(signs) if kind == "clause" else parity_table(size, rhs)
        want, total = expected_messages(table, shares)
        mask = np.ones((1, size + 2), bool)
        mask[0, [0, -1]] = False  # slots that do not count, with values that must not show
        given = jnp.asarray(np.pad(log_ratios(shares), ((0, 0), (1, 1)), constant_values=3.0))
        if kind == "clause":
            signs = np.pad(signs[None].astype(bool), ((0, 0), (1, 1)))
            got = clause_messages(signs, mask, given)
            log_z = clause_log_partition(signs, mask, given)
        else:
            got = parity_messages(np.array([bool(rhs)]), mask, given)
            log_z = parity_log_partition(np.array([bool(rhs)]), mask, given)
        assert got[0, 0] == got[0, -1] == 0.0
        for row, log_ratio in zip(want, np.asarray(got)[0, 1:-1]):
            if sum(row):
                assert np.isclose(row[1], 1 / (1 + math.exp(-log_ratio)), atol=1e-6)
            if sum(row) and min(row) == 0:
                assert np.isinf(log_ratio)
        assert np.isclose(math.exp(log_z[0]), total, atol=1e-6)


def test_numbers_of_the_literature():
    with jax.enable_x64(True):
        false = np.array([[0.2, 0.5, 0.9]])
        ones = np.ones((1, 3), bool)
        rows = rules.to_rows(clause_messages(ones, ones, jnp.log((1 - false) / false)))
        want = [(0.645161, 0.354839), (0.549451, 0.450549), (0.526316, 0.473684)]
        np.testing.assert_allclose(np.exp(rows)[0, :, ::-1], want, atol=5e-7)
        given = jnp.asarray(log_ratios([[0.9, 0.1], [0.7, 0.3], [0.5, 0.5]]))
        third = jax.nn.sigmoid(parity_messages(np.zeros(1, bool), ones, given))[0, 2]
        np.testing.assert_allclose(third, 0.34, atol=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 0, 0.3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-3, 10.0])
def test_rules_equal_their_tables(temperature, dtype, scale):
    rng = np.random.default_rng(2)
    with jax.enable_x64(True):
        for size in [2, 4]:
            ones = np.ones((6, size), bool)
            signs, rhs = rng.random((6, size)) < 0.5, rng.random(6) < 0.5
            ratios = jnp.asarray(scale * rng.normal(size=(6, size)), dtype)
            rows = jnp.stack([jnp.zeros_like(ratios), ratios], axis=-1)
            for rule, other, table in [
                (rules.clause_messages, signs, lambda i: clause_table(signs[i])),
                (rules.parity_messages, rhs, lambda i: parity_table(size, rhs[i])),
            ]:
                tables = np.zeros((6, *(2,) * size))
                for i in range(6):
                    for x, value in table(i).items():
                        tables[(i, *x)] = 0.0 if value else -np.inf
                messages = table_messages(jnp.asarray(tables, dtype), rows, temperature)
                got = jax.jit(rule, static_argnums=3)(other, ones, ratios, temperature)
                assert got.dtype == dtype
                close = 1e-12 if dtype == np.float64 else 3e-6
                want = rules.to_log_ratios(messages)
                np.testing.assert_allclose(
                    got, want, atol=close * max(1.0, scale), rtol=100 * close
                )


def test_tables_of_mixed_domains_with_zeros():
    rng = np.random.default_rng(3)
    sizes = (2, 3, 4)
    table = rng.random(sizes) * (rng.random(sizes) < 0.6)
    shares = [rng.dirichlet(np.ones(size)) for size in sizes]
    shares[1][0] = 0.0
    want, total = expected_messages(table, [row.tolist() for row in shares])
    incoming = np.full((1, 3, 4), -np.inf)
    with np.errstate(divide="ignore"):
        for slot, row in enumerate(shares):
            incoming[0, slot, : len(row)] = np.log(row)
        log_table = np.log(table)[None]
    with jax.enable_x64(True):
        got = np.exp(table_messages(jnp.asarray(log_table), jnp.asarray(incoming)))[0]
        log_z = table_log_partition(jnp.asarray(log_table), jnp.asarray(incoming))
    for row, expected in zip(got, want):
        np.testing.assert_allclose(row[: len(expected)], expected, atol=1e-12)
        assert not row[len(expected) :].any()
    np.testing.assert_allclose(np.exp(log_z), total, rtol=1e-12)


def test_impossible_factors_give_rows_of_minus_infinity_and_no_nan():
    table, rows = jnp.full((1, 2, 2), -jnp.inf), jnp.full((1, 2, 2), -jnp.inf)
    assert np.all(table_messages(table, rows) == -np.inf)
    assert table_log_partition(table, rows)[0] == -np.inf
    assert rules.to_log_ratios(jnp.full((1, 2), -jnp.inf)) == 0.0
    ones = np.ones((1, 2), bool)
    false = jnp.full((1, 2), -jnp.inf)  # both literals false: each message forces its variable
    assert np.all(clause_messages(ones, ones, false) == np.inf)
    assert clause_log_partition(ones, ones, false)[0] == -np.inf
    assert parity_log_partition(np.ones(1, bool), ones, false)[0] == -np.inf
    no = np.zeros((1, 2), bool)  # a row of padding holds
    assert clause_log_partition(ones, no, false)[0] == 0.0
    assert parity_log_partition(np.ones(1, bool), no, false)[0] == 0.0


@pytest.mark.parametrize("zeros", [0.0, 0.4])
def test_gradients_are_right_and_finite(zeros):
    rng = np.random.default_rng(4)
    with jax.enable_x64(True):
        ones, signs = np.ones((3, 4), bool), rng.random((3, 4)) < 0.5
        ratios = rng.normal(size=(3, 4))
        ratios[0, 0] = 0.0  # where the absolute value in the parity rule has its corner
        ratios[1, 1] = 30.0
        hard = rng.random((3, 4)) < zeros
        tables = rng.normal(size=(3, 2, 2, 2))
        tables[rng.random(tables.shape) < zeros] = -np.inf

        def clause(x):
            return clause_messages(signs, ones, jnp.where(hard, jnp.inf, x))

        def parity(x):
            return parity_messages(signs[:, 0], ones, jnp.where(hard, -jnp.inf, x))

        def table(x, y):
            rows = jnp.stack([-x, jnp.where(hard, -jnp.inf, x)], axis=-1)[:, :3]
            return table_messages(jnp.where(jnp.isfinite(tables), y, -jnp.inf), rows)

        def finite_part(function):
            def inner(*arguments):
                value = function(*arguments)
                return jnp.where(jnp.isfinite(value), value, 0.0)

            return inner

        smooth = np.where(np.isfinite(tables), tables, 0.0)
        check_grads(finite_part(clause), (ratios,), 1, ["fwd", "rev"], rtol=1e-5, atol=1e-5)
        check_grads(finite_part(parity), (ratios,), 1, ["fwd", "rev"], rtol=1e-5, atol=1e-5)
        check_grads(finite_part(table), (ratios, smooth), 1, ["fwd", "rev"], rtol=1e-5, atol=1e-5)


def test_exclusive_long_and_short():
    rng = np.random.default_rng(5)
    for size in [1, 2, 8, 9, 33]:
        values = rng.normal(size=(2, size))
        got = rules.exclusive(jnp.add, jnp.asarray(values), 0.0)
        np.testing.assert_allclose(got, values.sum(axis=1, keepdims=True) - values, atol=1e-5)


def test_wide_factors_need_no_table():
    """A clause of 1000 literals and a parity of as many."""
    ones = np.ones((1, 1000), bool)
    quiet = jnp.zeros((1, 1000))
    assert np.all(np.abs(clause_messages(ones, ones, quiet)) < 1e-30)
    forced = jnp.full((1, 1000), jnp.inf).at[0, 0].set(0.0)
    assert parity_messages(np.ones(1, bool), ones, forced)[0, 0] == -jnp.inf  # 999 ones
    assert parity_messages(np.zeros(1, bool), ones, forced)[0, 0] == jnp.inf
