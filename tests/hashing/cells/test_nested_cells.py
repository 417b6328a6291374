import functools
import time
import tracemalloc

import enumerated
import numpy as np
import pytest

import reference
from hashing.cells import nested_cells
from hashing.parity import draws
from inference import limits
from inference.oracles import sat
from inference.problems import cnf, generators, parity_rows

CLAUSES = [[1, 2, -3], [-1, 4], [3, 5], [-2, -5, 6]]
FORMULA = cnf.from_clauses(CLAUSES, num_variables=9)


def expected_sizes(draw_key, levels):
    rows, rhs = draws.draw_dense(draw_key, levels, 9)
    bits = parity_rows.unpack(rows, 9)
    parities = [([j + 1 for j in np.flatnonzero(r)], bool(b)) for r, b in zip(bits, rhs)]
    return [reference.count_models(9, CLAUSES, parities=parities[:m]) for m in range(levels + 1)]


@pytest.mark.parametrize("seed", range(5))
def test_cells_in_any_order_have_the_sizes_of_enumeration(seed):
    sizes = expected_sizes(seed, 7)
    nested = nested_cells.NestedCells(FORMULA, sat.SatSession, draw_key=seed)
    for level in (3, 1, 7, 0, 2, 6, 5, 4):
        assert nested.fill(level, limit=1000) == sizes[level]
        assert len(nested.models(level)) == sizes[level]


def test_a_cell_is_counted_up_to_the_limit():
    nested = nested_cells.NestedCells(FORMULA, sat.SatSession, draw_key=1)
    assert nested.fill(1, limit=5) == 5
    assert nested.fill(0, limit=5) == 5
    assert nested.fill(0, limit=1000) == expected_sizes(1, 1)[0]


def test_models_are_found_once():
    nested = nested_cells.NestedCells(FORMULA, sat.SatSession, draw_key=1)
    assert nested.fill(0, limit=1000) > 50
    calls = nested.calls
    for level in range(1, 8):
        nested.fill(level, limit=1000)
    assert nested.calls == calls  # the models of cell(0) are all there are


@pytest.mark.parametrize("below, above", [(0, 0), (0, 3), (2, 1), (9, 9)])
def test_windows_change_no_cell(monkeypatch, below, above):
    monkeypatch.setattr(nested_cells, "BELOW", below)
    monkeypatch.setattr(nested_cells, "ABOVE", max(above, below))
    for seed in range(5):
        sizes = expected_sizes(seed, 12)
        nested = nested_cells.NestedCells(FORMULA, sat.SatSession, draw_key=seed)
        for level in (5, 3, 8, 2, 12, 0, 7):
            assert nested.fill(level, limit=20) == min(sizes[level], 20)
        nested.close()


def test_more_parities_than_variables():
    formula = cnf.from_clauses([], num_variables=2)
    nested = nested_cells.NestedCells(formula, sat.SatSession, draw_key=3)
    assert nested.fill(200, limit=10) == 0
    assert nested.reached.small_level == 200


def test_parities_are_drawn_when_they_are_needed():
    models = np.zeros((1, 200_000), dtype=bool)
    formula = cnf.from_clauses([], num_variables=200_000)
    tracemalloc.start()
    nested = nested_cells.NestedCells(
        formula, functools.partial(enumerated.open_session, models), draw_key=1
    )
    assert nested.fill(0, limit=1) == 1
    with pytest.raises(MemoryError, match="200001 parities over 200000 variables"):
        nested.fill(200_001 + nested_cells.BELOW, limit=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6  # all rows would take 5 GB


def test_the_clock_is_looked_at_while_parities_are_reduced():
    formula = cnf.from_clauses([], num_variables=8000)
    nested = nested_cells.NestedCells(formula, sat.SatSession, draw_key=1)
    start = time.monotonic()
    with pytest.raises(limits.OutOfTime):
        nested.fill(8001, limit=1, deadline=limits.Deadline(start + 0.3))
    assert time.monotonic() - start < 1.5


def test_a_stop_ends_a_search():
    formula = generators.chain(40)
    nested = nested_cells.NestedCells(formula, sat.SatSession, draw_key=1)
    with pytest.raises(limits.OutOfTime):
        nested.fill(2, limit=10, deadline=limits.Deadline(stop=lambda: True))


def test_what_was_found_before_the_deadline_is_kept():
    formula = generators.chain(40)
    nested = nested_cells.NestedCells(formula, sat.SatSession, draw_key=1)
    with pytest.raises(limits.OutOfTime):
        nested.fill(2, limit=10**6, deadline=limits.Deadline.after(0.5))
    found = len(nested.models(2))
    assert found > 0
    assert nested.reached.log_product == pytest.approx(np.log(found) + 2 * np.log(2))


def test_enumerated_and_solver_sessions_agree():
    models = np.array(reference.models(9, CLAUSES), dtype=bool)
    for seed in range(5):
        open_session = functools.partial(enumerated.open_session, models)
        nested = nested_cells.NestedCells(FORMULA, open_session, draw_key=seed)
        assert [nested.fill(m, limit=1000) for m in range(8)] == expected_sizes(seed, 7)


def test_an_empty_sampling_set_has_one_projection():
    formula = cnf.from_clauses(CLAUSES, projection=[])
    nested = nested_cells.NestedCells(formula, sat.SatSession, draw_key=3)
    assert nested.fill(0, limit=10) == 1
