"""R-hat and effective sample sizes: against ArviZ, against loops, and at the edges."""

import builtins
import warnings

import numpy as np
import pytest

from inference.mcmc import diagnostics, rank_statistics

BOTH = (diagnostics, rank_statistics)


def autoregressive(rho, num_chains=4, num_draws=1000, num_quantities=3, seed=0):
    """Stationary Gaussian chains whose draws s apart have correlation rho^s."""
    noise = np.random.default_rng(seed).normal(size=(num_chains, num_draws, num_quantities))
    chains = noise.copy()
    for at in range(1, num_draws):
        chains[:, at] = rho * chains[:, at - 1] + np.sqrt(1 - rho**2) * noise[:, at]
    return chains


def arviz():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("arviz")


@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.5, 0.9, 0.99])
def test_both_routes_agree_with_arviz(rho):
    found, chains = arviz(), autoregressive(rho)
    chains[..., 2] = np.digitize(chains[..., 2], [-0.5, 0.7])  # of three states
    columns = [chains[..., quantity] for quantity in range(3)]
    for module in BOTH:
        np.testing.assert_allclose(module.rhat(chains), [found.rhat(one) for one in columns])
        bulk = [found.ess(one) for one in columns]
        np.testing.assert_allclose(module.ess_bulk(chains), bulk, rtol=0.1 if rho < 0 else 0.03)
        tail = [found.ess(one, method="tail") for one in columns]
        # An indicator without variation counts as independent draws in ArviZ; here a tail varies.
        np.testing.assert_allclose(module.ess_tail(chains)[:2], tail[:2], rtol=0.03)
        assert rho < 0 or module.ess_tail(chains)[2] <= 1.03 * tail[2]


@pytest.mark.parametrize("module", BOTH)
@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_the_effective_sample_size_is_that_of_theory(module, rho):
    chains = autoregressive(rho, 8, 2000)
    expected = 16000 * (1 - rho) / (1 + rho)
    np.testing.assert_allclose(rank_statistics.ess_mean(chains), expected, rtol=0.15)
    np.testing.assert_allclose(module.ess_bulk(chains), expected, rtol=0.15)
    assert (module.rhat(chains) < 1.01).all()
    assert module.ess_bulk(chains[..., 0]) == module.ess_bulk(chains)[0]


@pytest.mark.parametrize("module", BOTH)
def test_chains_that_differ_in_place_or_scale_are_told_apart(module):
    chains = autoregressive(0.0, 4, 400, 2)
    chains[:2, :, 0] += 1.0
    chains[:2, :, 1] *= 3.0  # the means agree, distances to the median do not
    assert (module.rhat(chains) > 1.05).all()
    assert module.rhat(np.cumsum(chains[:1], axis=1)).min() > 1.05  # one chain that drifts


STILL = np.repeat([[1.0], [1.0], [2.0]], 50, axis=1)
NOTHING = {
    "one value": np.full((3, 50), 7.0),
    "a NaN": np.where(np.arange(50) == 20, np.nan, autoregressive(0.0, 3, 50)[..., 0]),
    "an infinity": np.where(np.arange(50) == 20, -np.inf, autoregressive(0.0, 3, 50)[..., 0]),
    "one draw": autoregressive(0.0, 3, 1)[..., 0],
    "three draws": autoregressive(0.0, 3, 3)[..., 0],
    "no draw": np.zeros((3, 0)),
    "no chain": np.zeros((0, 50)),
}


@pytest.mark.parametrize("module", BOTH)
@pytest.mark.parametrize("case", NOTHING)
def test_where_there_is_nothing_to_tell_nothing_is_told(case, module):
    chains = NOTHING[case]
    for function in (module.rhat, module.ess_bulk, module.ess_tail, rank_statistics.ess_mean):
        assert np.isnan(function(chains))
    told = diagnostics.summarise(np.stack([chains, np.zeros_like(chains)], axis=-1))
    assert not told.is_settled and np.isnan(told.rhat).all()


@pytest.mark.parametrize("module", BOTH)
def test_chains_that_stand_still_apart_are_not_settled(module):
    good = autoregressive(0.0, 3, 50)[..., 0]
    mixed = np.stack([STILL, good, STILL * 0], axis=-1)
    assert module.rhat(mixed)[0] == np.inf and np.isnan(module.rhat(mixed)[2])
    assert module.ess_bulk(mixed)[0] < 10 and module.ess_tail(mixed)[0] < 10
    assert not diagnostics.summarise(STILL).is_settled
    half_still = np.where(np.arange(3)[:, None] == 2, good, 0.0)  # two chains of three
    assert module.rhat(half_still) > 1.05


def test_states_that_are_rare_and_states_that_are_frequent_have_tails():
    rng = np.random.default_rng(1)
    for share in (0.02, 0.5, 0.98):
        coin = (rng.random((4, 500)) < share).astype(float)
        for module in BOTH:
            assert 1000 < module.ess_tail(coin) < 3500


def test_many_quantities_are_looked_at_in_blocks(monkeypatch):
    chains = autoregressive(0.5, 4, 100, 7)
    whole = rank_statistics.rhat(chains), rank_statistics.ess_tail(chains)
    monkeypatch.setattr(rank_statistics, "_ENTRIES", 800)  # two at a time
    np.testing.assert_array_equal(rank_statistics.rhat(chains), whole[0])
    np.testing.assert_array_equal(rank_statistics.ess_tail(chains), whole[1])


def test_shapes_are_checked():
    for given in (np.zeros(5), np.zeros((2, 2, 2, 2))):
        with pytest.raises(ValueError, match=r"expected chains \[C, T\] or \[C, T, D\], given"):
            diagnostics.rhat(given)


def reference_ess_in_loops(chains, mean, variance):
    num_chains, length, dimensions = chains.shape
    found = [1.0] * dimensions
    for lag in range(1, length):
        rho = [
            np.mean([np.mean((x[:-lag, d] - mean[d]) * (x[lag:, d] - mean[d])) for x in chains])
            / variance[d]
            for d in range(dimensions)
        ]
        if max(rho) <= 0.05:
            break
        for d in range(dimensions):
            found[d] += 2 * (1 - lag / length) * rho[d] if rho[d] > 0.05 else 0
    return length / max(found)


def test_the_reference_ess_is_that_of_its_definition():
    for rho, seed in ((0.0, 0), (0.7, 1), (0.97, 2)):
        chains = autoregressive(rho, 3, 150, 2, seed) * [1.0, 2.0] + [0.0, 5.0]
        given = [0.1, 5.0], [1.0, 4.0]
        expected = reference_ess_in_loops(chains, *given)
        assert diagnostics.reference_ess(chains, *given) == pytest.approx(expected, rel=1e-9)
    stuck = np.ones((2, 100))
    assert diagnostics.reference_ess(stuck, 0.0, 1.0) == pytest.approx(1.0)
    assert diagnostics.reference_ess(autoregressive(-0.9)[..., 0], 0.0, 1.0) <= 1000
    assert np.isnan(diagnostics.reference_ess(NOTHING["a NaN"], 0.0, 1.0))
    assert diagnostics.reference_ess(np.zeros((3, 1)), 0.0, 1.0) == 1.0
    for given in ((np.zeros((3, 0)), 0.0, 1.0), (np.ones((3, 5)), 0.0, 0.0)):
        with pytest.raises(ValueError, match="^expected"):
            diagnostics.reference_ess(*given)


def test_modes():
    centres = np.array([[-5.0, 0.0], [5.0, 0.0], [0.0, 9.0]])
    chains = centres[[[0, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 0]]] + 0.3
    labels = diagnostics.nearest(chains, centres)
    told = diagnostics.modes(labels, 3)
    np.testing.assert_allclose(told.masses, [7 / 12, 5 / 12, 0])
    assert told.visited.tolist() == [2, 1, 2]
    assert told.switches == pytest.approx(2 / 9) and told.outside == 0
    chains[1, 2] = np.nan
    labels = diagnostics.nearest(chains, centres)
    assert labels[1].tolist() == [0, 0, -1, 0]
    assert diagnostics.modes(labels, 3).outside == pytest.approx(1 / 12)
    assert np.isnan(diagnostics.modes(labels[:, :1], 3).switches)
    for given in (labels + 2, labels[0], labels[:0]):
        with pytest.raises(ValueError, match=r"expected labels \[C, T\] below 3, given up to"):
            diagnostics.modes(given, 3)


def test_a_summary():
    chains = autoregressive(0.5, 4, 2000)
    told = diagnostics.summarise(chains, density_evaluations=8000, gradient_evaluations=3)
    assert told.is_settled and (told.num_chains, told.num_draws) == (4, 2000)
    assert (told.density_evaluations, told.gradient_evaluations) == (8000, 3)
    assert (np.abs(told.mean) < 4 * told.error).all()
    np.testing.assert_allclose(told.error, np.sqrt(3 / 8000), rtol=0.15)
    assert not diagnostics.summarise(chains[:, :200]).is_settled  # too few
    np.testing.assert_array_equal(told.ess_bulk, diagnostics.ess_bulk(chains))


def test_inference_data():
    arviz()
    draws = {"states": np.zeros((2, 5, 3), int), "energy": np.ones((2, 5))}
    data = diagnostics.to_inference_data(draws, {"accepted": np.ones((2, 5), bool)})
    assert data["posterior"]["states"].shape == (2, 5, 3)
    assert data["sample_stats"]["accepted"].dims == ("chain", "draw")
    assert "sample_stats" not in diagnostics.to_inference_data(draws)


def test_without_arviz(monkeypatch):
    chains = autoregressive(0.5)
    with_arviz = diagnostics.ess_bulk(chains)
    original = builtins.__import__

    def without(name, *rest, **given):
        if name.split(".")[0] == "arviz":
            raise ImportError(name)
        return original(name, *rest, **given)

    diagnostics._arviz.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(builtins, "__import__", without)
        np.testing.assert_allclose(diagnostics.ess_bulk(chains), with_arviz, rtol=0.03)
        with pytest.raises(ImportError, match="expected ArviZ to be installed") as error:
            diagnostics.to_inference_data({"x": chains})
        assert "\n" not in str(error.value)
    diagnostics._arviz.cache_clear()
