"""The experiments on learned jumps: what they promise, what they count, where they begin."""

import jax
import numpy as np
import pytest

from experiments import a_nice_mc_starts, a_nice_mc_toys
from experiments.harness import nice_peer, peer_runs, promises, registry
from inference.mcmc import nice_checks, nice_fit, regions


def toys(**changes):
    """A table of one density, as the experiment has it, with other columns where told."""
    rows = {
        "target": ["mog6"] * 4,
        "sampler": [*a_nice_mc_toys.OURS, a_nice_mc_toys.TEMPERING, "tempered SMC"],
        "reference_ess": [800.0, 300.0, 80.0, np.nan],
        "promised_ess": [320.0, np.nan, np.nan, np.nan],
        "rhat": [1.0, 1.0, 1.01, np.nan],
        "modes_of_a_chain": [6.0, 6.0, 6.0, np.nan],
        "modes": [6] * 4,
        "mass_error": [0.005, 0.01, 0.01, 0.01],
        "warnings": [0] * 4,
        "is_population": [False, False, False, True],
        "length": [1000, 1000, 1000, 4096],
        "num_draws": [32_000, 32_000, 32_000, 4096],
        "evaluations_a_draw": [1.0, 1.0, 40.0, 120.0],
        "training_evaluations": [540_000, 540_000, 80_000, 0],
        "seconds_training": [20.0, 20.0, 1.0, 0.0],
        "seconds_sampling": [0.5, 0.5, 2.0, 0.1],
    }
    return {name: np.array(values) for name, values in (rows | changes).items()}


def test_training_pays_where_the_costs_cross():
    scalars, _ = a_nice_mc_toys._scalars(toys(), "mog6")
    assert scalars["ratio_to_tempering_evaluations"] == pytest.approx((40 / 0.08) * 0.8)
    assert scalars["paid_evaluations_tempering"] == pytest.approx(460_000 / (500 - 1.25))
    assert scalars["hardest_evaluations"] == "tempered SMC"
    assert scalars["paid_evaluations"] == pytest.approx(540_000 / (120 - 1.25))
    at = scalars["paid_evaluations"]
    costs = a_nice_mc_toys._costs(toys(), "mog6", "evaluations")
    mine, other = costs[a_nice_mc_toys.LIKELIHOOD], costs["tempered SMC"]
    assert mine.amortised(at) == pytest.approx(other.amortised(at))


def test_training_that_never_pays_and_samplers_that_miss_modes():
    columns = toys(evaluations_a_draw=[1.0, 1.0, 0.05, 120.0])
    scalars, _ = a_nice_mc_toys._scalars(columns, "mog6")
    assert scalars["paid_evaluations"] == np.inf
    columns["modes_of_a_chain"][2] = 5
    scalars, _ = a_nice_mc_toys._scalars(columns, "mog6")
    assert scalars["hardest_evaluations"] == "tempered SMC"
    assert np.isnan(scalars["paid_evaluations_tempering"])


def test_learned_chains_that_agree_on_wrong_masses_are_refused():
    wrong = toys(mass_error=[0.005, 0.3, 0.3, 0.01])
    with pytest.raises(promises.BrokenPromise, match="agree on wrong masses, given 1"):
        a_nice_mc_toys.check(registry.Result(wrong))
    for excuse in ({"warnings": [0, 1, 0, 0]}, {"rhat": [1.0, 1.2, 1.0, np.nan]}):
        a_nice_mc_toys.check(
            registry.Result(wrong | toys(**excuse) | {"mass_error": wrong["mass_error"]})
        )


def starts(**changes):
    good, six = a_nice_mc_starts.GOOD, a_nice_mc_starts.SIX
    rows = {
        "case": [six] * 2 + [good] * 20 + ["other"],
        "mass_error": [0.01] * 23,
        "warnings": [0] * 23,
    }
    return registry.Result({name: np.array(values) for name, values in (rows | changes).items()})


def test_false_warnings_are_those_of_good_runs_that_are_right():
    a_nice_mc_starts.check(starts(warnings=[1, 1, 1, *[0] * 19, 1]))
    a_nice_mc_starts.check(starts(mass_error=[0.01] * 22 + [0.5]))  # nothing is promised there
    with pytest.raises(promises.BrokenPromise, match="false warning in twenty, given 2 of 20"):
        a_nice_mc_starts.check(starts(warnings=[0, 0, 1, 1, *[0] * 19]))
    with pytest.raises(promises.BrokenPromise, match="silently wrong on six modes, given 1 of 22"):
        a_nice_mc_starts.check(starts(mass_error=[0.1, *[0.01] * 22]))


def report(*warnings):
    blank = np.zeros(0)
    checks = nice_checks.Checks(blank, blank, blank, blank, blank, 0)
    found = regions.Voronoi(blank, blank)
    return nice_fit.FitReport("done", 0.0, warnings, *[blank] * 4, found, checks, 0)


@pytest.mark.parametrize(
    ("error", "warnings", "verdict"),
    [
        (0.03, (), "right"),
        (0.04, ("chains from opposite ends differ",), "warned"),
        (0.04, (), "silently wrong"),
        (np.nan, (f"{a_nice_mc_starts.SHARED}: 0.1",), "silently wrong"),
    ],
)
def test_a_shared_start_excuses_nothing(error, warnings, verdict, monkeypatch):
    names = ("reference_ess", "rhat", "modes_of_a_chain")
    told = {"mass_error": error} | dict.fromkeys(names, 1.0)
    monkeypatch.setattr(peer_runs, "judge", lambda target, run: told)
    target, _ = a_nice_mc_starts.CASES[a_nice_mc_starts.SIX]()
    run = peer_runs.PeerRun(np.zeros((2, 10, 2)))
    row = a_nice_mc_starts._row(target, run, report(*warnings), 1)
    assert row["verdict"] == verdict
    assert row["warnings"] == (verdict == "warned")


def test_adverse_starts_are_in_one_mode():
    target, mode = a_nice_mc_starts.CASES["widths 1:10, 2 dimensions"]()
    found = a_nice_mc_starts._starts(jax.random.key(1), target, mode, 8)
    assert found.shape == (8, 2) and (found[:, 0] < 0).all()


def test_places_on_the_sphere_are_fixed_and_apart():
    centres = a_nice_mc_starts.sphere(20).target.centres
    np.testing.assert_array_equal(centres, a_nice_mc_starts.sphere(20).target.centres)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 6.0)
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    assert (apart + 10 * np.eye(4)).min() > 5.5


def test_compilation_is_told_apart():
    with nice_peer._compilation() as seconds:
        jax.jit(lambda x: x + 17)(1.0)
    spent = len(seconds)
    jax.jit(lambda x: x + 18)(1.0)
    assert sum(seconds) > 0 and len(seconds) == spent
