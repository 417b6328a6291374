"""Random grids: their exact log Z, their graphs, what a key fixes."""

import numpy as np
import pytest

from experiments.training import ising_grids
from inference.exact import elimination


@pytest.mark.parametrize("side", [1, 2, 5])
def test_exact_values_are_those_of_the_graphs(side):
    grids = ising_grids.draw(3, side, 3, 1.0, np.array([1.0, 5.0, 50.0]))
    graph = ising_grids.stacked(grids)
    exact = [elimination.log_partition(ising_grids.one_of(graph, i))[0].log_value for i in range(3)]
    for block in (1, 64):
        np.testing.assert_allclose(ising_grids.log_partitions(grids, block), exact, rtol=1e-12)


def test_limits_hold_and_keys_differ():
    grids = ising_grids.draw(0, 4, 200, 0.5, 2.0)
    assert 0 <= grids.couplings.min() and 1.5 < grids.couplings.max() <= 2.0
    assert -0.5 <= grids.fields.min() < -0.4 and 0.4 < grids.fields.max() <= 0.5
    np.testing.assert_array_equal(grids.fields, ising_grids.draw(0, 4, 200, 0.5, 2.0).fields)
    assert (grids.fields != ising_grids.draw(1, 4, 200, 0.5, 2.0).fields).all()
    weak = ising_grids.draw_mixture(0, 4, 400).couplings.max(axis=(1, 2, 3)) <= 3.0
    assert 0.5 < weak.mean() < 0.8
