"""Ganak against hashing: the first answer wins.

>>> run(formula, formula, limits, options, print)[1].method
'ganak'
"""

import math
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from experiments.solve import count_methods
from experiments.solve.info import Info
from inference import answer, estimate
from inference.problems import cnf, trivial

# Seconds that the exact counter runs alone in auto; most formulas are easy, and need no race.
HEAD_START = 0.25
# In auto an exact answer may come later than an approximate one, by this share of its time and at
# most by so many seconds.
EXACT_SHARE, EXACT_SECONDS = 0.1, 0.5
# Up to so many processes that hash, a core for Ganak is worth having while they run.
FEW_JOBS = 4


def run(
    formula: cnf.CNF,
    assumed: cnf.CNF,
    limits: dict[str, Any],
    options: dict[str, Any],
    progress: Callable[[str], None],
) -> tuple[estimate.Estimate, Info]:
    """Ganak in a process of its own against hashing; the first answer wins, the other stops.

    Time decides, not the values, so each answer keeps its own probability of failure. An exact
    answer may come a little later. ``assumed`` is the formula with its assumptions.
    """
    from inference.exact import ganak

    # Plain lists pass what the threads tell each other: Ctrl-C inside a lock could leave it locked.
    start, seed = time.monotonic(), options["seed"]
    over: list[bool] = []
    pooled: list[float] = []  # when each round went to another process
    answers: list[tuple[estimate.Estimate, answer.Info]] = []

    def run_ganak() -> None:
        # Ctrl-C is for the thread that hashes.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        watched: dict[str, Any] = {"stop": lambda: bool(over)}
        watched["pause"] = lambda: _stands_aside(pooled, start, options | limits)
        answers.append(ganak.count(assumed, seed=seed, **limits, **watched))

    def is_solved() -> bool:
        return bool(answers) and answers[0][1].status == "done"

    def wait(seconds: float) -> None:
        end = time.monotonic() + seconds
        while not answers and time.monotonic() < end:
            time.sleep(0.005)

    result, info = trivial.count(formula), Info("interrupted", 0.0, "auto", 0, seed)
    exact = threading.Thread(target=run_ganak)
    exact.start()
    try:
        wait(HEAD_START)
        if not is_solved():
            left = limits | {"timeout": count_methods.left(limits["timeout"], start)}
            watched: dict[str, Callable] = {"stop": is_solved, "progress": progress}
            if (os.cpu_count() or 1) <= options["jobs"] <= FEW_JOBS:
                watched["on_pool"] = lambda: pooled.append(time.monotonic())
            result, info = count_methods.within(formula, "approxmc", options | left, **watched)
            pooled.clear()
            ends = count_methods.left(limits["timeout"], start)
            if info.status == "failed":  # what is too large to hash may not be for Ganak
                wait(math.inf if ends is None else ends)
            elif info.status == "done":
                wait(min(EXACT_SHARE * (time.monotonic() - start), EXACT_SECONDS))
    except KeyboardInterrupt:
        info = info._replace(status="interrupted")
    finally:
        over.append(True)
        exact.join()
    if is_solved():
        return answers[0][0], Info("done", time.monotonic() - start, "ganak", 1, seed)
    why = answers[0][1].message if answers else ""
    return result, info._replace(message=info.message or why, seconds=time.monotonic() - start)


def _stands_aside(pooled: list[float], start: float, options: dict[str, Any]) -> bool:
    """Whether Ganak pauses, so that the rounds that went to other processes have every core.

    Their time is known from the rounds before. Ganak goes on where they take half as long again,
    and does not wait where they take much longer than the race so far: it might be done by then.
    """
    began = min(pooled, default=math.inf)
    if began == math.inf:
        return False
    from hashing.counting import guarantee

    elapsed, left = began - start, len(pooled)
    done = max(1, guarantee.plan(options["epsilon"], options["delta"]).rounds - left)
    expected = elapsed / done * math.ceil(left / options["jobs"])
    timeout = math.inf if options["timeout"] is None else options["timeout"]
    if expected > 4 * elapsed or elapsed + expected > timeout:
        return False
    return time.monotonic() < began + 1.5 * expected
