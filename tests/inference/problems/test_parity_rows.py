import numpy as np
import pytest

from hashing.parity import draws
from inference.problems import parity_rows

SIZES = [0, 1, 5, 31, 32, 33, 64, 70, 100]


def random_bits(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 2, size=shape).astype(bool)


@pytest.mark.parametrize("num_columns", SIZES)
def test_pack_sets_the_documented_bit_and_unpack_inverts_it(num_columns):
    bits = random_bits((2, 3, num_columns))
    words = parity_rows.pack(bits)
    assert words.dtype == np.uint32
    assert words.shape == (2, 3, -(-num_columns // 32))
    for j in range(num_columns):
        assert np.array_equal((words[..., j // 32] >> (j % 32)) & 1, bits[..., j])
    assert np.array_equal(parity_rows.unpack(words, num_columns), bits)
    as_integers = sum(int(w) << (32 * i) for i, w in enumerate(words[1, 2]))
    assert as_integers < 1 << num_columns or num_columns == 0


def test_unpack_refuses_the_wrong_number_of_words():
    with pytest.raises(ValueError, match="expected 2 words for 33 columns, given 1"):
        parity_rows.unpack(np.zeros((4, 1), np.uint32), 33)


@pytest.mark.parametrize("num_columns", SIZES)
def test_satisfied_is_the_inner_product_over_the_integers(num_columns):
    row_bits, models = random_bits((7, num_columns), 1), random_bits((11, num_columns), 2)
    rhs = random_bits(7, 3)
    expected = (models.astype(int) @ row_bits.astype(int).T) % 2 == rhs
    given = parity_rows.satisfied(parity_rows.pack(row_bits), rhs, parity_rows.pack(models))
    assert given.dtype == bool
    assert np.array_equal(given, expected)


def test_satisfied_without_rows_or_assignments():
    none = np.zeros((0, 2), np.uint32)
    some, rhs = draws.draw_dense(5, 3, 40)
    assert parity_rows.satisfied(none, np.zeros(0, bool), some).shape == (3, 0)
    assert parity_rows.satisfied(some, rhs, none).shape == (0, 3)
    with pytest.raises(ValueError, match="expected assignments of 2 words, given 1"):
        parity_rows.satisfied(some, rhs, some[:, :1])


def slowly_reduced(bits, rhs):
    """The reduced system as lists of 0 and 1, the last column the right side, and the pivots."""
    system = [[*map(int, row), int(side)] for row, side in zip(bits, rhs)]
    done, pivots = [], []
    for column in range(bits.shape[1]):
        source = next((row for row in system if row[column]), None)
        if source is None:
            continue
        system.remove(source)

        def cleared(row):
            return [a ^ b for a, b in zip(row, source)] if row[column] else row

        system, done = [cleared(row) for row in system], [cleared(row) for row in done]
        done.append(source)
        pivots.append(column)
    return [*done, *system], pivots


def systems():
    """Bits and sides: every shape, full rank and not, contradictions, zero rows, equal rows."""
    rng = np.random.default_rng(3)
    for num_columns in SIZES:
        for m in (0, 1, 2, 7, 33, 70):
            bits = rng.integers(0, 2, size=(m, num_columns)).astype(bool)
            rhs = rng.integers(0, 2, size=m).astype(bool)
            yield bits, rhs
            yield bits & (rng.random(bits.shape) < 0.1), rhs
            chosen = rng.integers(0, max(m // 3, 1), size=m) if m else []
            yield bits[chosen], rhs[chosen]
            yield bits[chosen], rhs


def test_row_reduce_is_the_one_reduced_form():
    for bits, rhs in systems():
        expected, expected_pivots = slowly_reduced(bits, rhs)
        rows, sides, pivots = parity_rows.row_reduce(parity_rows.pack(bits), rhs)
        assert rows.shape == (len(bits), -(-bits.shape[1] // 32))
        assert (rows.dtype, sides.dtype, pivots.tolist()) == (np.uint32, bool, expected_pivots)
        rank, given = len(pivots), parity_rows.unpack(rows, bits.shape[1]).astype(int)
        assert given.tolist() == [row[:-1] for row in expected]
        # Where the system contradicts itself its right sides are not unique.
        contradiction = any(row[-1] for row in expected[rank:])
        assert sides[rank:].any() == contradiction
        assert contradiction or sides.tolist() == [row[-1] for row in expected]


def reduced_as_integers(rows, rhs):
    """The reduced rows as integers, the right side the highest bit; and the pivots."""
    width = 32 * rows.shape[1]
    system = [
        int.from_bytes(row.astype("<u4").tobytes(), "little") | int(side) << width
        for row, side in zip(rows, rhs)
    ]
    done = []
    for column in range(width):
        source = next((i for i, row in enumerate(system) if row >> column & 1), None)
        if source is not None:
            pivot = system.pop(source)
            system = [row ^ pivot if row >> column & 1 else row for row in system]
            done = [(c, row ^ pivot if row >> column & 1 else row) for c, row in done]
            done.append((column, pivot))
    return [row for _, row in done], [column for column, _ in done]


@pytest.mark.parametrize("shape", [(600, 700), (700, 560), (1300, 200)])
@pytest.mark.parametrize("density", [0.5, 0.003])
def test_row_reduce_of_many_rows(shape, density):
    rows, rhs = draws.draw_sparse(5, *shape, density)
    expected, expected_pivots = reduced_as_integers(rows, rhs)
    reduced, sides, pivots = parity_rows.row_reduce(rows, rhs)
    rank = len(pivots)
    assert pivots.tolist() == expected_pivots
    assert not reduced[rank:].any()
    width = 32 * rows.shape[1]
    given = [int.from_bytes(row.astype("<u4").tobytes(), "little") for row in reduced[:rank]]
    assert given == [row & ((1 << width) - 1) for row in expected]
    if not sides[rank:].any():
        assert sides[:rank].tolist() == [bool(row >> width) for row in expected]


def test_a_look_ends_a_reduction():
    rows, rhs = draws.draw_dense(1, 3000, 3000)
    looks = []

    def look():
        looks.append(1)
        if len(looks) == 20:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        parity_rows.row_reduce(rows, rhs, look)
    assert len(looks) == 20


def test_row_reduce_leaves_its_arguments_alone():
    rows, rhs = draws.draw_dense(1, 20, 40)
    before = rows.copy(), rhs.copy()
    parity_rows.row_reduce(rows, rhs)
    assert np.array_equal(rows, before[0]) and np.array_equal(rhs, before[1])


def test_reduced_rows_have_the_same_solutions_and_are_short():
    rows, rhs = draws.draw_dense(2, 7, 10)
    every = parity_rows.pack((np.arange(1 << 10)[:, None] >> np.arange(10) & 1).astype(bool))
    reduced, sides, pivots = parity_rows.row_reduce(rows, rhs)
    before = parity_rows.satisfied(rows, rhs, every).all(axis=1)
    assert np.array_equal(before, parity_rows.satisfied(reduced, sides, every).all(axis=1))
    assert np.bitwise_count(reduced).sum(axis=1).max() <= 10 - len(pivots) + 1


@pytest.mark.parametrize("m, num_columns", [(12, 40), (40, 12), (33, 70)])
def test_the_kernel_and_the_host_reduce_alike(m, num_columns):
    from hashing.parity import gf2

    for key in range(5):
        rows, rhs = draws.draw_dense(key, m, num_columns)
        here, sides, pivots = parity_rows.row_reduce(rows, rhs)
        there = gf2.row_reduce(rows, rhs)
        assert int(there.rank) == len(pivots)
        assert np.array_equal(there.pivots[: len(pivots)], pivots)
        assert np.array_equal(there.rows, here)
        assert bool(there.consistent) == (not sides[len(pivots) :].any())
        assert np.array_equal(there.rhs, sides) or not there.consistent
