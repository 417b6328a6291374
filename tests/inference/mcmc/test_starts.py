import numpy as np
import pytest

from inference import limits
from inference.mcmc import starts
from inference.problems import convert, factor_graph, generators, logical_groups

UNEQUAL = np.where(np.eye(3), -np.inf, 0.0)


def ring(size):
    """Neighbours on a ring have different ones of three states."""
    return factor_graph.build([3] * size, [((i, (i + 1) % size), UNEQUAL) for i in range(size)])


def parities(size):
    rows = [[i + 1, i + 2, i + 3] for i in range(size - 2)]
    group = logical_groups.parity_group(rows, [True] * len(rows))
    return factor_graph.build([2] * size, [], logical=[group])


MODELS = {
    "soft": generators.ising_grid(3, 3, 1.0),
    "ring": ring(9),
    "formula": convert.clause_graph(generators.random_ksat(0, 60, 200)),
    "parities": parities(12),
    "unaries": factor_graph.build([3, 2], [((0,), [0.0, -np.inf, 0.0]), ((1,), [-np.inf, 5.0])]),
    "no variables": factor_graph.build([], []),
}


@pytest.mark.parametrize("name", MODELS)
def test_starts_have_positive_weight_and_follow_the_seed(name):
    graph = MODELS[name]
    found = starts.find(graph, 6, seed=3)
    assert found.shape == (6, graph.num_variables) and found.dtype == np.int32
    assert (np.asarray(factor_graph.log_score(graph, found)) > -np.inf).all()
    np.testing.assert_array_equal(found, starts.find(graph, 6, seed=3))
    if name in ("soft", "formula"):
        assert (found != starts.find(graph, 6, seed=4)).any()


@pytest.mark.parametrize("name", ["ring", "formula", "parities"])
def test_what_a_solver_repairs_is_not_all_in_one_place(name):
    found = starts.find(MODELS[name], 6)
    assert len(np.unique(found, axis=0)) > 2


IMPOSSIBLE = {
    "four in a ring of three colours, all joined": factor_graph.build(
        [3] * 4, [((i, j), UNEQUAL) for i in range(4) for j in range(i)]
    ),
    "unary": factor_graph.build([2], [((0,), [-np.inf, -np.inf])]),
    "constant": factor_graph.build([2], [], log_constant=-np.inf),
    "formula": convert.clause_graph(generators.random_ksat(0, 5, 90)),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_where_there_is_nothing_to_find_it_is_proven(name):
    with pytest.raises(ValueError, match="given one where every assignment has weight 0"):
        starts.find(IMPOSSIBLE[name], 2)


def test_without_time_there_is_none():
    assert starts.find(MODELS["formula"], 2, deadline=limits.Deadline.after(0.0)) is None
