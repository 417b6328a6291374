"""What every entry of the folder promises: no time, little memory, seeds of any kind."""

import math

import jax
import numpy as np
import pytest
from small_models import build, random_model

import reference
from inference import limits
from inference.answer import Answer
from inference.bounds import entries, mean_field, mini_bucket, trw
from inference.estimate import Estimate
from inference.problems import cnf, convert, factor_graph, generators

ENTRIES = [
    pytest.param(getattr(module, name), id=f"{module.__name__.split('.')[-1]}.{name}")
    for module in (mini_bucket, mean_field, trw)
    for name in ("log_partition", "marginals", "maximize")
]
DIFFERENT = [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
MODELS = {
    "nothing possible": ([2, 2], [((0, 1), [[0, 1], [0, 0]]), ((0,), [0, 1])]),
    "no variables": ([], []),
    "no factors": ([3, 1], []),
    "the first guess is impossible": (
        [3] * 5,
        [((i, (i + 1) % 5), DIFFERENT) for i in range(5)] + [((i,), [5, 1, 1]) for i in range(5)],
    ),
} | {f"random {seed}": random_model(seed) for seed in range(8)}
WIDE = generators.spin_glass_grid(2, 9, 9, scale=1.0)


def content(value):
    """What has to be equal for equal arguments."""
    if isinstance(value, Answer):
        return value.status, value.value, value.bound, np.asarray(value.assignments).tolist()
    return value if isinstance(value, Estimate) else value.tolist()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("entry", ENTRIES)
def test_no_time_is_a_valid_answer(entry, model):
    graph = build(*MODELS[model])
    value, info = entry(graph, timeout=0.0)
    assert info.status == "timeout" and info.seconds >= 0.0
    truth, (_, best) = reference.log_partition(*MODELS[model]), reference.map(*MODELS[model])
    slack = 1e-12
    if isinstance(value, Estimate):
        assert value.log_lower <= truth + slack and truth - slack <= value.log_upper
        assert value.log_lower > -math.inf or value.log_upper < math.inf
    elif isinstance(value, Answer):
        assert value.value <= best + slack and best - slack <= value.bound
        assert value.value > -math.inf or value.bound < math.inf
    else:
        assert value.shape == graph.log_unary.shape
        np.testing.assert_allclose(value.sum(axis=1), float(truth > -math.inf))


@pytest.mark.parametrize("entry", ENTRIES)
def test_little_memory_is_refused_and_enough_changes_nothing(entry):
    graph = generators.spin_glass_grid(0, 3, 3, 1.0, 0.3)
    with pytest.raises(ValueError, match="expected tables .* of at most 0 MiB, given one of"):
        entry(graph, memory=0)
    assert content(entry(graph, memory=4096)[0]) == content(entry(graph)[0])


@pytest.mark.parametrize("entry", ENTRIES)
def test_tables_of_clauses_are_refused_before_they_are_made(entry, monkeypatch):
    wide = convert.clause_graph(cnf.from_clauses([range(1, 21)] * 3))
    monkeypatch.setattr(factor_graph, "tabulate", lambda graph: pytest.fail("tables were made"))
    with pytest.raises(ValueError, match="tables of clauses and parities of at most 23 MiB"):
        entry(wide, memory=23)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="at most 20 variables in a clause"):
        entry(convert.clause_graph(cnf.from_clauses([range(1, 60)])))


def test_mean_field_keeps_to_the_memory():
    free, info = mean_field.log_partition(WIDE)
    little, told = mean_field.log_partition(WIDE, memory=0.05)
    assert told.num_cut > info.num_cut and little.log_lower < free.log_lower
    with pytest.raises(ValueError, match="an i-bound of 8 of at most 0.05 MiB"):
        mean_field.log_partition(WIDE, memory=0.05, i_bound=8)


@pytest.mark.parametrize("entry", ENTRIES)
def test_equal_seeds_of_any_kind_are_equal(entry):
    graph = generators.spin_glass_grid(0, 3, 3, 2.0, 0.3)
    for seed in (7 << 70, jax.random.key(7), jax.random.PRNGKey(7), b"seven"):
        first, again = (content(entry(graph, seed=seed)[0]) for _ in range(2))
        assert first == again


def test_seeds_change_what_is_drawn():
    few = {"iterations": 2}
    narrow = {"i_bound": 0, "restarts": 3, "leaves": 1}
    for entry, options in [(trw.log_partition, few), (mean_field.log_partition, few | narrow)]:
        values = {entry(WIDE, seed=seed, **options)[0].log_value for seed in (0, 1, b"2")}
        assert len(values) == 3


def test_statuses_of_parts():
    assert entries.ended(limits.NEVER, "done", "done") == entries.ended(limits.NEVER) == "done"
    assert entries.ended(limits.NEVER, "done", "timeout") == "timeout"
    assert entries.ended(limits.Deadline.after(0.0), "done") == "timeout"
    assert entries.ended(limits.Deadline.after(0.0), "timeout", "interrupted") == "interrupted"
