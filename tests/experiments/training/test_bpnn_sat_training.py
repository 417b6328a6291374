"""Training of the learned counter: a few steps lower the loss, and what is refused."""

import math

import numpy as np
import pytest

from experiments.training import bpnn_sat_training
from inference.problems import generators


def test_training_learns():
    formulas = [generators.random_ksat(seed, 10, 14, k=2) for seed in range(40)]
    states = (np.arange(2**10)[:, None] >> np.arange(10)) & 1 == 1
    counts = [formula.is_satisfied(states).sum() for formula in formulas]
    kept = [formula for formula, number in zip(formulas, counts, strict=True) if number]
    values = [math.log(number) for number in counts if number]
    _, history = bpnn_sat_training.fit(kept, values, steps=60, rate=0.01)
    assert history.loss[-10:].mean() < 0.8 * history.loss[:5].mean()
    assert np.isfinite(history.validation).all()
    with pytest.raises(ValueError, match="finite log counts"):
        bpnn_sat_training.fit(kept, [-math.inf] * len(kept))
    with pytest.raises(ValueError, match="two or more"):
        bpnn_sat_training.fit(kept[:1], values[:1])
