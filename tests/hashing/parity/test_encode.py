import numpy as np

from hashing.parity import encode, gf2
from inference.problems import parity_rows


def make_parity(bits, rhs, num_rows, variables):
    packed = parity_rows.pack(np.asarray(bits, dtype=bool))
    return gf2.Parity(packed, np.asarray(rhs, dtype=bool), np.int32(num_rows), np.array(variables))


def test_rows_become_dimacs_variables_and_padding_is_left_out():
    bits = [[1, 0, 1], [0, 0, 0], [1, 1, 1], [1, 1, 0]]
    parity = make_parity(bits, [1, 1, 0, 1], 3, [4, 0, 7])
    assert encode.to_xors(parity) == [([5, 8], True), ([], True), ([5, 1, 8], False)]
    assert encode.to_xors(parity._replace(num_rows=0)) == []
