"""Limits on time and memory."""

import math
import time

import pytest

from inference import limits


def test_a_deadline_passes():
    start = time.monotonic()
    deadline = limits.Deadline.after(0.05)
    assert 0 < deadline.left <= 0.05 and deadline.timeout <= 0.05
    assert start + 0.05 <= deadline.at <= time.monotonic() + 0.05
    while not deadline.has_passed():
        time.sleep(0.005)
    assert time.monotonic() - start >= deadline.seconds >= deadline.part(0.5).seconds - 0.05 >= 0.0
    assert deadline.seconds >= 0.05
    assert deadline.left == deadline.timeout == 0.0
    with pytest.raises(limits.OutOfTime):
        deadline.check()


@pytest.mark.parametrize("deadline", [limits.NEVER, limits.Deadline.after(None)])
def test_without_a_limit_nothing_passes(deadline):
    assert not deadline.has_passed()
    deadline.check()
    assert (deadline.at, deadline.left, deadline.timeout) == (math.inf, math.inf, None)
    assert deadline.part(0.1).timeout is None


@pytest.mark.parametrize("timeout", [0, 0.0, -1.0])
def test_no_time_has_passed_at_once(timeout):
    deadline = limits.Deadline.after(timeout)
    assert deadline.has_passed() and deadline.part(0.5).has_passed()
    assert deadline.left == 0.0


def test_a_stop_is_asked_as_often_as_the_clock():
    answers = [False, True, False, True]
    deadline = limits.Deadline.after(60.0, lambda: answers.pop(0))
    deadline.check()
    assert deadline.has_passed()
    assert not deadline.part(0.5).has_passed()
    with pytest.raises(limits.OutOfTime):
        deadline.check()
    assert limits.Deadline.after(None, lambda: True).has_passed()


def test_a_part_is_a_share_of_what_is_left():
    deadline = limits.Deadline.after(40.0)
    assert deadline.part(0.25).left == pytest.approx(10.0, abs=0.5)
    assert deadline.part(1.0).at == pytest.approx(deadline.at, abs=0.5)


def count_up(number):
    return number + 1


def test_a_loop_runs_until_it_is_done():
    assert limits.run_until(count_up, 0, lambda n: n >= 3) == (3, "done")
    assert limits.run_until(count_up, 7, lambda n: n >= 3) == (7, "done")


def test_a_loop_without_time_returns_where_it_started():
    none = limits.Deadline.after(0)
    assert limits.run_until(count_up, 0, lambda n: n >= 3, none) == (0, "timeout")
    assert limits.run_until(count_up, 5, lambda n: n >= 3, none) == (5, "done")


def test_a_loop_ends_at_the_stop_that_comes_first():
    seen = []
    deadline = limits.Deadline.after(60.0, lambda: len(seen) >= 4)
    advance = lambda n: seen.append(n) or n + 1  # noqa: E731
    assert limits.run_until(advance, 0, lambda n: False, deadline) == (4, "timeout")


@pytest.mark.parametrize("at", [0, 2])
def test_ctrl_c_inside_a_loop_leaves_the_last_state(at):
    def advance(number):
        if number == at:
            raise KeyboardInterrupt
        return number + 1

    assert limits.run_until(advance, 0, lambda n: n >= 3) == (at, "interrupted")


def test_other_errors_pass_through_a_loop():
    with pytest.raises(ZeroDivisionError):
        limits.run_until(lambda n: n // 0, 1, lambda n: False)


def test_too_much_memory_is_refused_with_both_figures():
    limits.require_memory(3 * 2**20, 3, "a table")
    limits.require_memory(math.inf, None, "a table")
    expected = "^expected a table of at most 3 MiB, given one of 3.5 MiB$"
    with pytest.raises(ValueError, match=expected):
        limits.require_memory(3.5 * 2**20, 3, "a table")
