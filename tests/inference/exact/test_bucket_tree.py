"""Plans by hand, and what preparation leaves of a graph."""

import numpy as np
import pytest

from inference.exact import bucket_tree, orders
from inference.problems import factor_graph


def in_order(neighbours, num_states):
    return list(range(len(neighbours)))


def test_a_plan_by_hand():
    """Four leaves send messages of 10 * 10 entries, all of which wait for variable 4."""
    scopes = [[v, 5, 4] for v in range(4)]
    plan = bucket_tree.make_plan(scopes, [2, 2, 2, 2, 10, 10], in_order)
    assert plan.cliques == [[0, 4, 5], [1, 4, 5], [2, 4, 5], [3, 4, 5], [4, 5], [5]]
    assert plan.width == 2
    assert plan.message_entries == 4 * 100 + 10 + 1
    assert plan.peak_entries == 4 * 100 + 10
    table = np.arange(200.0).reshape(2, 10, 10)
    [(positions, turned)] = bucket_tree.fill(plan, [[3, 5, 4]], [table])[3]
    assert positions == [3, 4, 5]
    np.testing.assert_array_equal(turned, table.transpose(0, 2, 1))
    assert bucket_tree.aligned(plan, [3, 4, 5], [3, 5], table[:, 0]).shape == (2, 1, 10)


def test_no_variables():
    plan = bucket_tree.make_plan([], [], orders.best)
    assert (plan.width, plan.message_entries, plan.peak_entries) == (0, 0, 0)


def test_messages_are_freed_along_a_chain():
    plan = bucket_tree.make_plan([[v, v + 1] for v in range(99)], [3] * 100, in_order)
    assert plan.message_entries == 99 * 3 + 1
    assert plan.peak_entries == 6  # one that is used, one that is made


@pytest.mark.parametrize("order", [[0], [0, 0], [0, 2], [0, 1, 2]])
def test_an_order_that_is_no_permutation(order):
    with pytest.raises(ValueError, match="expected an order of 2 variables"):
        bucket_tree.make_plan([[0, 1]], [2, 2], lambda neighbours, num_states: order)


def test_preparation_keeps_what_is_possible_and_matters():
    copies = [[0.0, -np.inf, 1.0], [-np.inf, 0.0, 2.0]]
    factors = [
        ((0,), [-np.inf, 0.5]),
        ((0, 1), copies),
        ((1, 2), [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]),
    ]
    graph = factor_graph.build([2, 3, 2], factors)
    model = bucket_tree.prepare(graph, in_order)
    assert [left.tolist() for left in model.states] == [[1], [1, 2], [0, 1]]
    assert model.total() == 0.5
    scopes = [scope for scope, _ in model.factors]
    assert scopes == [[1], [1], [1], [2]]  # unary, copies, the table that ignores variable 2; unary
    total = sum(table for scope, table in model.factors if scope == [1])
    np.testing.assert_array_equal(total, [2.0, 5.0])
    assert graph.log_unary[1].tolist() == [0.0, 0.0, 0.0]
