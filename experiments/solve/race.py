"""Ganak against hashing: the first answer wins, the other stops.

    >>> run(formula, seed=0, timeout=None, memory=None, jobs=1, epsilon=0.8, delta=0.2)[1].method
    'ganak'

Time decides, not the values, so each answer keeps its own probability of failure. An exact answer
may come a little later.
"""

import math
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

from experiments.solve import count_methods, methods
from experiments.solve.info import Info
from inference import estimate, limits
from inference.problems import cnf, trivial
from inference.reduction import support
from inference.workers import process

# Seconds that the exact counter runs alone in auto; most formulas are easy, and need no race.
HEAD_START = 0.25
# In auto an exact answer may come later than an approximate one, by this share of its time and at
# most by so many seconds.
EXACT_SHARE, EXACT_SECONDS = 0.1, 0.5
# Up to so many processes that hash, a core for Ganak is worth having while they run.
FEW_JOBS = 4


def run(
    formula: cnf.CNF,
    *,
    seed: Any,
    timeout: float | None,
    memory: int | None,
    assumptions: Sequence[int] = (),
    jobs: int,
    **options: Any,
) -> tuple[estimate.Estimate, Info]:
    """The count by whichever is first, Ganak in a process of its own; options as ``ask`` has."""
    start, deadline = time.monotonic(), limits.Deadline.after(timeout)
    exact, hashing = (methods.answering("count")[name] for name in methods.RACERS)
    pooled: list[float] = []  # when each round went to another process
    given: dict[str, Any] = {"seed": seed, "memory": memory}
    if (os.cpu_count() or 1) <= jobs <= FEW_JOBS:
        options["on_pool"] = lambda: pooled.append(time.monotonic())

    def pause() -> bool:
        asked = options["epsilon"], options["delta"]
        return _stands_aside(pooled, start, *asked, jobs, deadline.at - start)

    result, info = trivial.count(formula), Info("interrupted", 0.0, "auto", seed=seed)
    assumed = support.conditioned(formula, assumptions)
    with _Rival(exact, assumed, timeout=timeout, pause=pause, **given) as rival:
        try:
            rival.wait(HEAD_START)
            if not rival.is_solved():
                given |= {"timeout": deadline.timeout, "assumptions": assumptions, "jobs": jobs}
                options["stop"] = rival.is_solved
                result, info = count_methods.ask(hashing, formula, **given, **options)
                pooled.clear()
                if info.status == "failed":  # what is too large to hash may not be for Ganak
                    rival.wait(deadline.left)
                elif info.status == "done":
                    rival.wait(min(EXACT_SHARE * (time.monotonic() - start), EXACT_SECONDS))
        except KeyboardInterrupt:
            info = info._replace(status="interrupted")
    seconds = time.monotonic() - start
    if rival.is_solved():
        result, info = rival.answers[0]
        return result, info._replace(seconds=seconds)
    why = [told.message for _, told in rival.answers if told.status == "failed"]
    return result, info._replace(message=info.message or "".join(why), seconds=seconds)


class _Rival:
    """A count beside this thread, told to stop at the end of the block.

    Plain lists pass what the threads tell each other: Ctrl-C inside a lock could leave it locked.
    """

    def __init__(self, method: methods.Method, formula: cnf.CNF, **given: Any) -> None:
        self.answers: list[tuple[estimate.Estimate, Info]] = []
        self._over: list[bool] = []
        self._asked = lambda: count_methods.ask(method, formula, stop=self._is_over, **given)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "_Rival":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.append(True)
        self._thread.join()

    def is_solved(self) -> bool:
        """Whether it has answered."""
        return bool(self.answers) and self.answers[0][1].status == "done"

    def wait(self, seconds: float) -> None:
        """Waits until it has ended, at most so long."""
        end = time.monotonic() + seconds
        while not self.answers and time.monotonic() < end:
            time.sleep(0.005)

    def _is_over(self) -> bool:
        return bool(self._over)

    def _run(self) -> None:
        with process.without_ctrl_c():  # which is for the thread that hashes
            self.answers.append(self._asked())


def _stands_aside(
    pooled: list[float], start: float, epsilon: float, delta: float, jobs: int, timeout: float
) -> bool:
    """Whether Ganak pauses, so that the rounds that went to other processes have every core.

    Their time is known from the rounds before. Ganak goes on where they take half as long again,
    and does not wait where they take much longer than the race so far: it might be done by then.
    """
    began = min(pooled, default=math.inf)
    if began == math.inf:
        return False
    from hashing.counting import guarantee

    elapsed, left = began - start, len(pooled)
    done = max(1, guarantee.plan(epsilon, delta).rounds - left)
    expected = elapsed / done * math.ceil(left / jobs)
    if expected > 4 * elapsed or elapsed + expected > timeout:
        return False
    return time.monotonic() < began + 1.5 * expected
