"""Belief propagation far from one: what the float64 rules refute is not called converged."""

import numpy as np
import pytest

from inference.exact import elimination
from inference.message_passing import bp
from inference.problems import factor_graph, logical_groups

EQUAL = [[0.0, -np.inf], [-np.inf, 0.0]]


def star(nats):
    """Four copies of a variable, each with a field that alone is weaker than its own: a tree."""
    factors = [((0, leaf), EQUAL) for leaf in range(1, 5)]
    factors += [((0,), [0.0, 3.7 * nats]), *(((leaf,), [nats, 0.0]) for leaf in range(1, 5))]
    return factor_graph.build([2] * 5, factors)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("nats", [9.0, 90.0, 900.0])
def test_marginals_beyond_what_exponentials_carry(nats, dtype):
    rows, info = bp.marginals(star(nats), dtype=dtype)
    assert info.converged
    np.testing.assert_allclose(rows, elimination.marginals(star(nats))[0], atol=1e-6)


@pytest.mark.parametrize(("nats", "dtype"), [(90.0, np.float32), (900.0, np.float64)])
def test_a_run_that_was_cut_has_not_converged(nats, dtype):
    prepared = bp.prepare(star(nats), dtype=dtype)
    state, _ = bp.run(prepared, bp.init(prepared))
    assert state.iterations[0] < 1000 and not state.converged.any() and state.residuals[0] > 1e-3


def test_clauses_and_parities_keep_their_order_of_magnitude():
    either = logical_groups.clause_group([[1, 2]])
    odd = logical_groups.parity_group([[1, 2]], [True])
    unary = [((0,), [0.0, -1000.0]), ((1,), [0.0, -3000.0])]
    for group in (either, odd):
        graph = factor_graph.build([2, 2], unary, logical=[group])
        rows, info = bp.marginals(graph)
        assert info.converged and rows[0, 1] == pytest.approx(1) and rows[1, 0] == pytest.approx(1)
        assert (rows > 0).all()  # a zero would say that it is impossible
        assert bp.log_partition(graph)[0].log_value == pytest.approx(-1000.0)


def test_marginals_of_nothing_possible_are_zero():
    impossible = [((0,), [-np.inf, -np.inf, -np.inf]), ((0, 1), np.zeros((3, 2)))]
    rows, _ = bp.marginals(factor_graph.build([3, 2], impossible))
    np.testing.assert_array_equal(rows, 0.0)
