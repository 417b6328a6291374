"""Time, memory and seeds of the entries of message passing."""

import jax
import numpy as np
import pytest

from inference import answer
from inference.message_passing import bp, gbp, schedules, survey
from inference.problems import factor_graph, generators, logical_groups

GRID = generators.spin_glass_grid(1, 4, 4, 1.0)
LARGE = generators.ising_grid(60, 60, 0.3)
GRAPH_ENTRIES = [bp.log_partition, bp.marginals, bp.maximize, gbp.log_partition, gbp.marginals]


def name(entry):
    return f"{entry.__module__.split('.')[-1]}.{entry.__name__}"


def valid(graph, value):
    """Whether an answer is one at all."""
    if isinstance(value, np.ndarray):
        return value.shape == graph.log_unary.shape and np.allclose(value.sum(axis=1), 1.0)
    if isinstance(value, answer.Answer):
        return value.value == factor_graph.score(graph, value.assignments[0])
    return np.isfinite(value.log_value) and value.log_lower == -np.inf


@pytest.mark.parametrize("entry", GRAPH_ENTRIES, ids=name)
def test_without_time_there_is_an_answer_all_the_same(entry):
    value, info = entry(GRID, timeout=0)
    assert info.status == "timeout" and info.iterations == 0 and not info.converged
    assert valid(GRID, value)


@pytest.mark.parametrize("entry", GRAPH_ENTRIES, ids=name)
def test_memory_is_refused_before_it_is_taken(entry):
    with pytest.raises(ValueError, match="expected .* of at most 1 MiB, given one of"):
        entry(LARGE, memory=1)
    value, info = entry(GRID, memory=1, timeout=0)
    assert valid(GRID, value)


def test_memory_of_long_clauses_and_given_regions():
    clause = logical_groups.clause_group([list(range(1, 19))])
    graph = factor_graph.build([2] * 18, [], logical=[clause])
    with pytest.raises(ValueError, match="expected tables of logical factors of at most 1 MiB"):
        gbp.log_partition(graph, memory=1)
    assert bp.log_partition(graph, memory=1)[1].converged  # which needs no table
    with pytest.raises(ValueError, match="expected tables of regions of at most 1 MiB"):
        gbp.log_partition(GRID, memory=1, regions=lambda graph: [range(16)])


@pytest.mark.parametrize("entry", [survey.surveys, survey.decimate], ids=name)
def test_memory_of_surveys(entry):
    with pytest.raises(ValueError, match="expected surveys of at most 1 MiB"):
        entry(generators.random_ksat(0, 1000, 3000), memory=1)


@pytest.mark.parametrize(
    "options",
    [
        {"starts": [schedules.noise(1.0)], "iterations": 3},
        {"schedule": schedules.random_subset(0.5), "iterations": 3},
    ],
)
def test_seeds_of_every_kind_draw(options):
    seeds = [3, np.int64(3), jax.random.key(3), jax.random.PRNGKey(3), b"three", 4]
    found = [bp.log_partition(GRID, seed=seed, **options)[0].log_value for seed in seeds]
    assert len(set(found[:4])) == 1 and len(set(found)) == 3


def test_seeds_of_every_kind_draw_surveys_and_noise():
    formula = generators.random_ksat(0, 20, 60)
    for seed in (3, jax.random.key(3), b"three"):
        first, again = (survey.surveys(formula, seed=seed, iterations=1)[0] for _ in range(2))
        np.testing.assert_array_equal(first.warnings, again.warnings)
        assert survey.decimate(formula, seed=seed)[0].status is answer.Status.OPTIMAL
        assert bp.maximize(GRID, seed=seed)[0].status is answer.Status.FEASIBLE
