"""Training of the shipped models: a few steps of each, and what the data may not share."""

import numpy as np
import pytest

from experiments.training import bpnn_b, bpnn_training, ising_grids

SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("bpnn_d", "bpnn_b", "gnn")]


@pytest.mark.parametrize("name", ["bpnn_phases", *SLOW])
def test_a_few_steps_lower_the_loss(name, monkeypatch):
    monkeypatch.setattr(bpnn_training, "SIDE", 3)
    monkeypatch.setattr(bpnn_b, "LAYERS", 2)
    _, history = bpnn_training.train(name, seed=1, number=100, steps=60)
    assert history.status == "done" and np.isfinite(history.loss).all()
    assert history.validation[-1] < history.validation[0]


def test_training_validation_and_test_grids_differ():
    parts = [bpnn_training.grids(0, part, 5)[0].fields for part in ("training", "validation")]
    parts.append(ising_grids.draw(0, bpnn_training.SIDE, 5, 0.1, 5.0).fields)
    for i in range(3):
        assert not np.isin(parts[i], parts[i - 1]).any()


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="expected one of bpnn_d, .*given 'none'"):
        bpnn_training.train("none")
