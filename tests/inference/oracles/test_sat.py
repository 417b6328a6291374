import signal
import subprocess
import sys
import time

import degenerate
import numpy as np
import pytest

import reference
from inference import answer, limits
from inference.oracles import apart, protocol, sat
from inference.problems import cnf, generators

SOLVERS = ("cryptominisat5", "cadical153", "cadical195", "glucose4", "minisat22", "lingeling")
CLAUSES = [[1, 2, -3], [-1, 4], [3, 5], [-2, -5, 6]]
XORS = [([1, 2, 3, 4, 5, 6, 7], True), ([2, 7], False)]


def all_models(session, **options):
    found = session.enumerate(10_000, **options)
    assert found.status is answer.Status.OPTIMAL
    return {tuple(row) for row in found.assignments.astype(int).tolist()}


@pytest.mark.parametrize("solver", SOLVERS)
def test_models_with_xors_and_switched_parities(solver):
    formula = cnf.from_clauses(CLAUSES, num_variables=8, xors=XORS)
    expected = set(reference.models(8, CLAUSES, XORS))
    rows = np.array([[1, 1, 1, 1, 1, 1, 0, 1], [0, 0, 1, 0, 0, 0, 0, 1]], dtype=bool)
    with sat.SatSession(formula, solver) as session:
        switches = session.add_parities(rows, np.array([True, False]))
        first = {x for x in expected if sum(np.array(x)[rows[0]]) % 2 == 1}
        both = {x for x in first if sum(np.array(x)[rows[1]]) % 2 == 0}
        # On, off, and on again, in an order that would show a parity left behind.
        assert all_models(session, assumptions=switches) == both
        assert all_models(session) == expected
        assert all_models(session, assumptions=switches[:1]) == first
        assert 0 < len(both) < len(first) < len(expected)


@pytest.mark.parametrize("solver", SOLVERS[:3])
def test_projection_counts_distinct_projections(solver):
    formula = cnf.from_clauses(CLAUSES, num_variables=6, projection=[2, 5])
    with sat.SatSession(formula, solver) as session:
        found = session.enumerate(100)
    assert found.assignments.shape == (found.value, 2)
    assert found.value == reference.count_models(6, CLAUSES, projection=[2, 5])


def test_blocking_under_a_group_can_be_taken_back():
    with sat.SatSession(cnf.from_clauses([[1, 2]])) as session:
        group = session.open_group()
        first = session.enumerate(2, group=group)
        rest = session.enumerate(10, group=group)
        assert (first.status, first.value) == (answer.Status.FEASIBLE, 2)
        assert (rest.status, rest.value) == (answer.Status.OPTIMAL, 1)
        assert session.enumerate(10, group=group).value == 0
        assert session.enumerate(10).value == 3
        session.close_group(group)
        assert session.enumerate(10).value == 3


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("formula, expected", degenerate.FORMULAS)
def test_degenerate_formulas(solver, formula, expected):
    with sat.SatSession(formula, solver) as session:
        assert session.enumerate(50).value == expected


def test_an_xor_without_variables_that_should_be_true_has_no_model():
    formula = cnf.from_clauses([], num_variables=2, xors=[([1, 1], True)])
    for solver in SOLVERS:
        with sat.SatSession(formula, solver) as session:
            assert session.solve().status is answer.Status.INFEASIBLE


def test_rows_of_the_wrong_width_are_refused():
    with sat.SatSession(cnf.from_clauses([[1, 2]])) as session:
        with pytest.raises(ValueError, match="expected rows of 2 columns, given .1, 3."):
            session.add_parities(np.ones((1, 3), dtype=bool), np.ones(1, dtype=bool))


@pytest.mark.parametrize("solver", ["cryptominisat5", "glucose4"])
def test_the_deadline_ends_a_hard_query(solver):
    formula = generators.random_ksat(1, 400, 1700)
    with sat.SatSession(formula, solver) as session:
        start = time.monotonic()
        found = session.enumerate(10**6, deadline=limits.Deadline(start + 0.5))
        assert found.status is answer.Status.UNKNOWN
        assert time.monotonic() - start < 5


def test_a_past_deadline_asks_nothing():
    with sat.SatSession(cnf.from_clauses([[1]])) as session:
        assert session.solve(deadline=limits.Deadline.after(-1.0)).status is answer.Status.UNKNOWN


@pytest.mark.parametrize("solver", ["cryptominisat5", "glucose4"])
def test_a_wrong_model_is_never_counted(solver, monkeypatch):
    with sat.SatSession(cnf.from_clauses([[1, 2], [-1]]), solver) as session:
        inner = session._solver.solver
        monkeypatch.setattr(sat.SatSession, "_solve_slice", lambda *_: True)
        if solver == "cryptominisat5":
            inner.model = (None, True, True)
        else:
            monkeypatch.setattr(session._solver, "get_model", lambda: [1, 2])
        with pytest.raises(RuntimeError, match="violates the formula"):
            session.solve()


@pytest.mark.parametrize("solver", ["cryptominisat5", "glucose4"])
@pytest.mark.parametrize("seconds", [0.3, 0.8])
def test_ctrl_c_inside_the_solver(solver, seconds):
    script = (
        "from inference.oracles import sat; from inference.problems import generators\n"
        f"session = sat.SatSession(generators.random_ksat(8, 420, 1890), {solver!r})\n"
        "print('ready', flush=True)\n"
        "try: session.enumerate(10**6)\n"
        "except KeyboardInterrupt: print('stopped')"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout.readline() == b"ready\n"
        try:
            for _ in range(3):  # a signal in the last moments of a slice goes unnoticed
                time.sleep(seconds)
                child.send_signal(signal.SIGINT)
                time.sleep(1.5)
                if child.poll() is not None:
                    break
            assert b"stopped" in child.communicate(timeout=1)[0]
        finally:
            child.kill()


def test_ctrl_c_after_solvers_in_threads_is_that_of_python():
    script = (
        "import os, signal, threading, time\n"
        "from inference import limits\n"
        "from inference.oracles import sat; from inference.problems import generators\n"
        "formula = generators.random_ksat(8, 420, 1890)\n"
        "def solve(wait):\n"
        "    time.sleep(wait)\n"
        "    with sat.SatSession(formula) as session:\n"
        "        session.solve(deadline=limits.Deadline.after(0.8))\n"
        "threads = [threading.Thread(target=solve, args=[wait]) for wait in (0.0, 0.2)]\n"
        "[thread.start() for thread in threads]\n"
        "[thread.join() for thread in threads]\n"
        "try: os.kill(os.getpid(), signal.SIGINT); time.sleep(5)\n"
        "except KeyboardInterrupt: print('stopped')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("stopped\n", "", 0)


def test_a_solver_at_its_limit_is_not_taken_for_ctrl_c():
    with sat.SatSession(generators.random_ksat(8, 420, 1890)) as session:
        for seconds in (0.05, 0.2, 0.7):
            found = session.solve(deadline=limits.Deadline.after(seconds))
            assert found.status is answer.Status.UNKNOWN


# ------------------------------------------------------------------------------------------------
# Parities for good, switched ones over them, and the end of a session.


@pytest.mark.parametrize("solver", SOLVERS)
def test_required_parities_hold_for_good(solver):
    formula = cnf.from_clauses(CLAUSES, num_variables=8, xors=XORS)
    rows = np.array([[1, 1, 1, 1, 1, 1, 0, 1], [0, 0, 1, 0, 0, 0, 0, 1]], dtype=bool)
    expected = set(reference.models(8, CLAUSES, XORS))
    first = {x for x in expected if sum(np.array(x)[rows[0]]) % 2 == 1}
    both = {x for x in first if sum(np.array(x)[rows[1]]) % 2 == 0}
    with sat.SatSession(formula, solver) as session:
        session.require(np.zeros((0, 8), dtype=bool), np.zeros(0, dtype=bool))
        assert all_models(session) == expected
        session.require(rows[:1], np.array([True]))
        switches = session.add_parities(rows[1:], np.array([False]))
        assert all_models(session, assumptions=switches) == both
        assert all_models(session) == first
        session.require(rows[1:], np.array([False]))
        assert all_models(session) == both


@pytest.mark.parametrize("solver", SOLVERS)
def test_required_parities_are_over_the_sampling_set(solver):
    formula = cnf.from_clauses(CLAUSES, num_variables=6, projection=[2, 5, 6])
    with sat.SatSession(formula, solver) as session:
        session.require(np.array([[1, 0, 1]]), [True])
        found = session.enumerate(100)
    expected = reference.count_models(6, CLAUSES, projection=[2, 5, 6], parities=[([2, 6], True)])
    assert found.value == expected > 0
    assert all(x[0] != x[2] for x in found.assignments)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("side", [False, True])
def test_rows_of_zeros(solver, side):
    none, formula = np.zeros((1, 2), dtype=bool), cnf.from_clauses([[1, 2]])
    with sat.SatSession(formula, solver) as session:
        (switch,) = session.add_parities(none, [side])
        assert session.enumerate(9, assumptions=[switch]).value == (0 if side else 3)
        assert session.enumerate(9).value == 3
        session.require(none, [side])
        assert session.enumerate(9).value == (0 if side else 3)
        assert session.solve().status is (
            answer.Status.INFEASIBLE if side else answer.Status.OPTIMAL
        )


@pytest.mark.parametrize("solver", SOLVERS)
def test_rows_without_columns(solver):
    none, formula = np.zeros((2, 0), dtype=bool), cnf.from_clauses([[1, 2]], projection=[])
    with sat.SatSession(formula, solver) as session:
        switches = session.add_parities(none, [False, True])
        assert session.enumerate(9, assumptions=switches[:1]).value == 1
        assert session.enumerate(9, assumptions=switches).value == 0
        session.require(none[:1], [False])
        assert session.enumerate(9).value == 1
        session.require(none[:1], [True])
        assert session.enumerate(9).value == 0


def test_required_rows_of_the_wrong_width_are_refused():
    with sat.SatSession(cnf.from_clauses([[1, 2]])) as session:
        with pytest.raises(ValueError, match="expected rows of 2 columns, given .1, 3."):
            session.require(np.ones((1, 3), dtype=bool), np.ones(1, dtype=bool))


@pytest.mark.parametrize("solver", SOLVERS)
def test_long_parities_among_random_clauses(solver):
    formula = generators.random_ksat(3, 12, 20)
    rng = np.random.default_rng(1)
    rows, rhs = rng.integers(0, 2, size=(4, 12)).astype(bool), rng.integers(0, 2, 4).astype(bool)
    parities = [(1 + np.flatnonzero(row), side) for row, side in zip(rows, rhs)]
    clauses = formula.clauses.tolist()
    with sat.SatSession(formula, solver) as session:
        session.require(rows[:2], rhs[:2])
        switches = session.add_parities(rows[2:], rhs[2:])
        for m, number in ((2, 0), (3, 1), (4, 2)):
            expected = reference.count_models(12, clauses, parities=parities[:m])
            assert session.enumerate(999, assumptions=switches[:number]).value == expected > 0


@pytest.mark.parametrize("solver", ["cryptominisat5", "cadical153", "glucose4"])
def test_a_session_ends_and_another_begins(solver):
    formula = cnf.from_clauses(CLAUSES)
    for _ in range(3):
        session = sat.SatSession(formula, solver)
        assert session.enumerate(3).value == 3
        session.close()
        session.close()


@pytest.mark.parametrize("solver", ["cryptominisat5", "cadical153", "glucose4"])
def test_a_stop_asks_nothing(solver):
    with sat.SatSession(cnf.from_clauses(CLAUSES), solver) as session:
        stopped = limits.Deadline(stop=lambda: True)
        assert session.solve(deadline=stopped).status is answer.Status.UNKNOWN
        found = session.enumerate(9, deadline=stopped)
        assert (found.status, found.value) == (answer.Status.UNKNOWN, 0)
        assert session.enumerate(9).value == 9


@pytest.mark.parametrize("solver", ["cryptominisat5", "glucose4"])
def test_a_stop_ends_a_hard_query(solver):
    start = time.monotonic()
    with sat.SatSession(generators.random_ksat(1, 400, 1700), solver) as session:
        stopped = limits.Deadline(stop=lambda: time.monotonic() > start + 0.3)
        assert session.enumerate(10**6, deadline=stopped).status is answer.Status.UNKNOWN
    assert time.monotonic() - start < 5


def test_a_stop_keeps_the_models_that_were_found():
    formula = cnf.from_clauses([], num_variables=6)
    with sat.SatSession(formula) as session:
        stopped = limits.Deadline(stop=lambda: session.calls > 5)
        group = session.open_group()
        first = session.enumerate(100, group=group, deadline=stopped)
        assert (first.status, first.value) == (answer.Status.UNKNOWN, 5)
        assert session.enumerate(100, group=group).value == 64 - 5


@pytest.mark.parametrize("open_session", [sat.SatSession, apart.Session])
def test_sessions_offer_what_counting_needs(open_session):
    with open_session(cnf.from_clauses(CLAUSES)) as session:
        assert isinstance(session, protocol.SatSession)
        assert not session.ended and session.calls == 0
    apart.release()
    assert not isinstance(cnf.from_clauses(CLAUSES), protocol.SatSession)
