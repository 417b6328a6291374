"""What chance allows and what breaks a promise."""

import math

import numpy as np
import pytest

from experiments.harness import promises


def test_rare_events_may_happen_and_not_often():
    promises.expect_rare(0, 0, 0.2, "misses")
    promises.expect_rare(np.int64(40), np.int64(100), 0.25, "misses")
    with pytest.raises(promises.BrokenPromise, match="misses .* at most 0.25, given 45 of 100"):
        promises.expect_rare(45, 100, 0.25, "misses")
    with pytest.raises(promises.BrokenPromise, match="given 1 of 5"):
        promises.expect_rare(1, 5, 0.0, "misses")


def test_a_promise_that_holds_breaks_by_chance_in_one_run_of_ten_thousand():
    rng = np.random.default_rng(0)
    broken = 0
    for seen in rng.binomial(20, 0.2, size=20_000):
        try:
            promises.expect_rare(seen, 20, 0.2, "misses")
        except promises.BrokenPromise:
            broken += 1
    assert broken <= 8  # Pr[Poisson(2) > 8] < 3e-4


def test_means_may_be_four_standard_errors_away():
    promises.expect_mean(1.04, 0.01, 1.0, "a mean")
    promises.expect_mean(math.nan, math.nan, 1.0, "a mean")
    promises.expect_mean(1.3, math.nan, 1.0, "a mean")  # one value has no standard error
    with pytest.raises(promises.BrokenPromise, match="a mean of 1, given 0.834 [+]- 0.016"):
        promises.expect_mean(0.834, 0.016, 1.0, "a mean")
