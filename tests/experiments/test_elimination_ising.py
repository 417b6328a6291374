"""The Ising experiment: its own transfer matrix, its columns, its figure."""

import itertools
import math

import numpy as np
import pytest

from experiments import elimination_ising
from experiments.harness import registry


@pytest.mark.parametrize("side", [1, 2, 3])
def test_the_transfer_matrix_against_enumeration(side):
    rng = np.random.default_rng(side)
    couplings, fields = rng.normal(size=(2, side, side)), rng.normal(size=(side, side))
    total = 0.0
    for spins in itertools.product([-1, 1], repeat=side * side):
        s = np.reshape(spins, (side, side))
        score = (fields * s).sum() + (couplings[0, :, :-1] * s[:, :-1] * s[:, 1:]).sum()
        total += math.exp(score + (couplings[1, :-1] * s[:-1] * s[1:]).sum())
    computed = float(elimination_ising._transfer_matrix(couplings, fields))
    assert computed == pytest.approx(math.log(total), rel=1e-13)


def test_smoke_agrees_repeats_and_draws():
    experiment = registry.load("elimination_ising")
    config = experiment.spec.presets["smoke"]
    result, again = (registry.run(experiment, config, seed=0) for _ in range(2))
    assert result.scalars["inside_stated_error"] == result.scalars["grids"] == 6
    for name in ("log_partition", "error", "stated_error", "width"):
        np.testing.assert_array_equal(result.columns[name], again.columns[name])
    other = registry.run(experiment, config, seed=1)
    glass = result.columns["model"] == "spin glass"
    changed = result.columns["log_partition"] != other.columns["log_partition"]
    np.testing.assert_array_equal(changed, glass)
    assert len(experiment.plot(result).axes) == 3
