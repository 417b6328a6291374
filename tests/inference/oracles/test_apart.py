"""Sessions in a process of their own against those in this one, and against the clock."""

import time

import numpy as np
import pytest

import reference
from hashing.counting import adaptive, approxmc, short_xor
from inference import answer, limits
from inference.oracles import apart, sat
from inference.problems import cnf, generators

CLAUSES = [[1, 2, -3], [-1, 4], [3, 5], [-2, -5, 6]]
XORS = [([1, 2, 7], True), ([3, 6], False)]
FORMULA = cnf.from_clauses(CLAUSES, num_variables=8, xors=XORS)
HARD = generators.random_ksat(8, 420, 1890)


@pytest.fixture(autouse=True)
def no_process_is_left():
    yield
    apart.release()


@pytest.mark.parametrize("solver", ["cryptominisat5", "glucose4"])
def test_models_are_those_of_enumeration(solver):
    expected = set(reference.models(8, CLAUSES, XORS))
    row = np.array([[1, 0, 1, 0, 1, 1, 0, 1]], dtype=bool)
    odd = {x for x in expected if sum(np.array(x)[row[0]]) % 2}
    with apart.Session(FORMULA, solver) as session:
        switches = session.add_parities(row, np.array([True]))
        for assumptions, models in ((switches, odd), ([], expected), (switches, odd)):
            found = session.enumerate(1000, assumptions=assumptions)
            assert found.status is answer.Status.OPTIMAL
            assert {tuple(x) for x in found.assignments.astype(int).tolist()} == models
            assert found.value == len(models)
        session.require(row, np.array([False]))
        assert session.solve(switches).status is answer.Status.INFEASIBLE


@pytest.mark.parametrize("clauses", [[[]], [[1], [-1]]])
def test_without_models(clauses):
    with apart.Session(cnf.from_clauses(clauses, num_variables=2)) as session:
        assert session.solve().status is answer.Status.INFEASIBLE


def test_a_formula_without_variables():
    with apart.Session(cnf.from_clauses([])) as session:
        assert session.solve().value == 1


def test_what_looks_at_no_clock_is_killed_at_the_deadline():
    with apart.Session(FORMULA) as first:
        first.solve()  # the process, which serves the next session, has started for sure
    with apart.Session(HARD, "lingeling") as session:  # it has no budgets
        start = time.monotonic()
        assert session.solve(deadline=limits.Deadline(start + 0.5)).status is answer.Status.UNKNOWN
        assert time.monotonic() - start < 2
        assert session.ended
        assert session.solve().status is answer.Status.UNKNOWN


def test_a_stop_kills():
    with apart.Session(HARD, "cadical153") as session:
        start = time.monotonic()
        stopped = limits.Deadline(stop=lambda: time.monotonic() > start + 0.3)
        assert session.enumerate(10, deadline=stopped).status is answer.Status.UNKNOWN
        assert time.monotonic() - start < 2


def test_ctrl_c_kills():
    def interrupt():
        raise KeyboardInterrupt

    with apart.Session(HARD, "cadical153") as session:
        pending = iter([lambda: False])
        deadline = limits.Deadline(stop=lambda: next(pending, interrupt)())
        with pytest.raises(KeyboardInterrupt):
            session.solve(deadline=deadline)
        assert session.ended


def test_a_process_serves_one_session_after_the_other_until_it_is_released():
    processes = []
    for _ in range(3):
        with apart.Session(FORMULA) as session:
            assert session.enumerate(1000).value == len(reference.models(8, CLAUSES, XORS))
            processes.append(session._child._process)
    assert len(set(processes)) == 1 and processes[0].poll() is None
    apart.release()
    assert processes[0].poll() is not None


def test_a_process_that_dies_is_a_want_of_memory():
    with apart.Session(FORMULA) as session:
        assert session.solve().value == 1
        session._child._process.kill()
        with pytest.raises(MemoryError, match="process ended"):
            session.solve()


def test_only_large_plain_sessions_are_apart():
    def opened(formula):
        return sat.SatSession(formula)

    missing = apart.LITERALS - FORMULA.clauses.values.size
    for opener, in_parities, kind in (
        (sat.SatSession, missing, apart.Session),
        (sat.SatSession, missing - 1, sat.SatSession),
        (opened, missing, sat.SatSession),
    ):
        with apart.open_session(opener, FORMULA, in_parities) as session:
            assert type(session) is kind


def test_short_parities_over_a_large_formula_stay_here():
    large = generators.random_ksat(1, 1000, apart.LITERALS // 3 + 1)
    for in_parities, kind in (
        (apart.IN_PARITIES - 1, sat.SatSession),
        (apart.IN_PARITIES, apart.Session),
    ):
        with apart.open_session(sat.SatSession, large, in_parities) as session:
            assert type(session) is kind
    apart.release()


@pytest.mark.parametrize("method", [approxmc, adaptive, short_xor])
def test_counts_are_the_same(method, monkeypatch):
    formula = generators.random_ksat(1, 30, 60)
    here, _ = method.count(formula, seed=3)
    monkeypatch.setattr(apart, "LITERALS", 0)
    monkeypatch.setattr(apart, "IN_PARITIES", 0)
    there, info = method.count(formula, seed=3)
    assert there.log_lower == here.log_lower
    assert (there.log_value, there.log_upper) == (here.log_value, here.log_upper)
    assert info.status == "done" and not apart._spare
