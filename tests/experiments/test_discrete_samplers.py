"""Models of known energy, and what is told of runs on them."""

import itertools
import math

import jax
import numpy as np
import pytest

from experiments import discrete_samplers
from experiments.harness import discrete_kernels, discrete_models
from inference.problems import factor_graph, generators

SIZES = {"side": 3, "potts_side": 2, "nodes": 6, "variables": 6, "units": (3, 2)}


def small():
    return discrete_models.models(0, **SIZES)


def test_exact_energies_agree_with_enumeration():
    models = small()
    assert len({model.name for model in models}) == 10
    for model in models:
        states = list(itertools.product(*map(range, model.graph.num_states)))
        scores = factor_graph.log_score(model.graph, np.array(states))
        chances = np.exp(scores - scores.max())
        expected = -(chances * scores).sum() / chances.sum()
        assert discrete_models.exact_energy(model.graph) == pytest.approx(expected, abs=1e-8)


def test_the_magnetisation_is_that_of_the_spins_and_even_in_them():
    named = {model.name: model for model in small()}
    assert named["Ising, critical"].order[:, 1].sum() == pytest.approx(1.0)
    assert named["Potts, ordered"].order[:, 0].sum() == pytest.approx(2 / 3)
    assert named["spin glass"].order is named["3-SAT"].order is None
    np.testing.assert_allclose(discrete_models.torus(3).order.sum(axis=1), 0.0)


def test_a_violated_clause_costs_its_penalty():
    graph = discrete_models.soft_clauses(0, 5, 9, 1.5)
    formula = generators.random_ksat(0, 5, 9)
    for states in itertools.product([0, 1], repeat=5):
        broken = sum(
            all(states[abs(x) - 1] != (x > 0) for x in one) for one in formula.clauses.tolist()
        )
        assert factor_graph.score(graph, np.array(states)) == pytest.approx(-1.5 * broken)


def test_energies_that_are_too_wide_are_not_known():
    assert math.isnan(discrete_models.exact_energy(discrete_models.torus(20).graph))


def test_chances_of_errors_count_all_of_them_and_none_that_is_unknown():
    columns = {
        "mean_energy": np.array([1.0, 5.0, 2.0]),
        "exact_energy": np.array([1.3, math.nan, 2.0]),
        "energy_error": np.array([0.1, 0.1, 0.1]),
        "chains": np.array([32, 32, 32]),
    }
    # Student's distribution of 31 degrees is above 3 in 0.00264 of cases.
    assert discrete_samplers._least_chance(columns) == pytest.approx(2 * 0.00528, rel=2e-2)


def test_a_run_tells_passes_errors_and_times():
    model = small()[1]
    job = discrete_kernels.KernelJob(model, "Gibbs with gradients", 5, 200, 32)
    exact = discrete_models.exact_energy(model.graph)
    row, positions = discrete_kernels.measure(jax.random.key(0), job._replace(exact=exact))
    assert positions.shape == (32, 9) and 0.7 < row["acceptance"] < 1
    assert abs(row["mean_energy"] - exact) < 4 * row["energy_error"]
    assert row["passes_per_effective_draw"] == 2 * 5 * 32 * 200 / row["ess_energy"]
    assert 100 < row["ess_energy"] < 6400 and row["autocorrelation"] > 5
