"""All ways to a count at once: the first answer wins, a better one may come a little later.

    >>> run(formula, seed=0, timeout=None, memory=None, jobs=1, epsilon=0.8, delta=0.2)[1].method
    'elimination'

Ganak counts in a process of its own. Beside it the formula is reduced, and eliminated where that
should take seconds; else it is hashed, and eliminated if that comes to no end. Time decides, not
the values, so each answer keeps its own probability of failure. What is certain may come later than
what is exact but probable, and that later than what is approximate.
"""

import dataclasses
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from experiments.solve import count_methods, methods
from experiments.solve.info import Info
from inference import estimate, limits
from inference.problems import cnf, trivial
from inference.reduction import support
from inference.workers import process

# An exact answer may come later than an approximate one, by this share of its time and at most by
# so many seconds; a certain one later than Ganak's, by this share and between so many seconds.
EXACT_SHARE, EXACT_SECONDS = 0.1, 0.5
CERTAIN_SHARE, CERTAIN_LEAST, CERTAIN_MOST = 0.5, 0.5, 2.0
# Elimination that should take longer comes after hashing, which has this share of it then; or
# it does not come at all where there is no time for both.
BUDGET, PATIENCE = 5.0, 0.3
# Up to so many processes that hash, a core for Ganak is worth having while they run.
FEW_JOBS = 4

Found = tuple[estimate.Estimate, Info]


def run(
    formula: cnf.CNF,
    *,
    seed: Any,
    timeout: float | None,
    memory: int | None,
    assumptions: Sequence[int] = (),
    jobs: int,
    **options: Any,
) -> Found:
    """The count by whichever is first; options as ``count_methods.ask`` has."""
    start, deadline = time.monotonic(), limits.Deadline.after(timeout)
    pooled: list[float] = []  # when each round went to another process
    given: dict[str, Any] = {"seed": seed, "memory": memory}
    if (os.cpu_count() or 1) <= jobs <= FEW_JOBS:
        options["on_pool"] = lambda: pooled.append(time.monotonic())

    def pause() -> bool:
        asked = options["epsilon"], options["delta"]
        return _stands_aside(pooled, start, *asked, jobs, deadline.at - start)

    result, info = trivial.count(formula), Info("interrupted", 0.0, "auto", seed=seed)
    assumed = support.conditioned(formula, assumptions)
    ganak = methods.answering("count")["ganak"]
    with _Rival(ganak, assumed, timeout=timeout, pause=pause, **given) as rival:
        try:
            hashed = (formula, assumptions) if options["checkpoint"] else (assumed, ())
            search = _Search(assumed, hashed, rival, deadline, given | options | {"jobs": jobs})
            result, info = search.run()
            pooled.clear()
            if info.status == "failed":  # what is too large to hash may not be for Ganak
                rival.wait(deadline.left)
            elif info.status == "done" and result.claim is not estimate.Claim.CERTAIN:
                rival.wait(min(EXACT_SHARE * (time.monotonic() - start), EXACT_SECONDS))
        except KeyboardInterrupt:
            info = info._replace(status="interrupted")
    seconds = time.monotonic() - start
    is_certain = info.status == "done" and result.claim is estimate.Claim.CERTAIN
    if rival.is_solved() and not is_certain:
        result, info = rival.answers[0]
        return result, info._replace(seconds=seconds)
    why = [told.message for _, told in rival.answers if told.status == "failed"]
    return result, info._replace(message=info.message or "".join(why), seconds=seconds)


class _Search:
    """What is done beside Ganak: elimination and hashing, on one reduction.

    Args:
      formula: under the assumptions.
      hashed: the formula and the assumptions that hashing is given.
      rival: ends the search, some time after it has answered.
      deadline: does too.
      given: limits and options of ``count_methods.ask``.
    """

    def __init__(
        self,
        formula: cnf.CNF,
        hashed: tuple[cnf.CNF, Sequence[int]],
        rival: "_Rival",
        deadline: limits.Deadline,
        given: dict[str, Any],
    ) -> None:
        self._formula, self._hashed, self._rival = formula, hashed, rival
        self._deadline, self._given = deadline, given
        self._reduction: Any = given.pop("reduce", None)

    def run(self) -> Found:
        """The answer of the first that gives one, else the best claim."""
        try:
            expected, eliminate = self._narrow()
        except (ValueError, limits.OutOfTime):  # too wide
            return self._hash(self._deadline)
        first = PATIENCE * expected if expected > BUDGET else 0.0
        if first + expected > self._deadline.left:
            return self._hash(self._deadline)
        if first:
            found = self._hash(limits.Deadline.after(first))
            if found[1].status != "timeout" or self._rival.is_solved():
                return found
        try:
            return eliminate()
        except (ValueError, limits.OutOfTime):
            return self._hash(self._deadline)

    def _narrow(self) -> tuple[float, Callable[[], Found]]:
        """What elimination should take in seconds, and what does it.

        Under a limit of memory it is done in a child process, where it is found out on the way.
        """
        from inference.exact import bucket_count

        certain, start = methods.answering("count")["elimination"], time.monotonic()
        until = dataclasses.replace(self._deadline, stop=self._rival.has_answered_for_long)
        if self._given["memory"] is not None:
            asked = self._given | {"timeout": until.part(0.5).timeout, "budget": BUDGET}
            asked["stop"] = self._rival.has_answered_for_long
            found = count_methods.ask(certain, self._formula, **asked)
            if found[1].status != "done":
                raise limits.OutOfTime
            return 0.0, lambda: found
        self._given["progress"]("preprocessing")
        prepared = bucket_count.prepare(self._formula, reduce=self._reduce, deadline=until)

        def eliminate() -> Found:
            self._given["progress"](f"elimination, width {prepared.width}")
            result, how = bucket_count.solve(prepared, deadline=until)
            seconds, seed = time.monotonic() - start, self._given["seed"]
            return result, Info(how.status, seconds, certain.name, 0, seed, how.message)

        return prepared.seconds, eliminate

    def _reduce(self, formula: cnf.CNF, *, deadline: limits.Deadline, **options: Any) -> Any:
        """``support.reduce`` in half of the time; without weights hashing has the same."""
        if self._reduction is not None:
            return self._reduction
        reduction = support.reduce(formula, deadline=deadline.part(0.5), **options)
        if self._formula.log_weights is None:
            self._reduction = reduction
        return reduction

    def _hash(self, deadline: limits.Deadline) -> Found:
        weighted = self._formula.log_weights is not None
        hashing = methods.answering("count")["approxwmc" if weighted else "approxmc"]
        formula, assumptions = self._hashed
        given = self._given | {"timeout": deadline.timeout, "stop": self._rival.is_solved}
        given |= {"reduce": None if assumptions else self._reduction, "assumptions": assumptions}
        return count_methods.ask(hashing, formula, **given)


class _Rival:
    """A count beside this thread, told to stop at the end of the block.

    Plain lists pass what the threads tell each other: Ctrl-C inside a lock could leave it locked.
    """

    def __init__(self, method: methods.Method, formula: cnf.CNF, **given: Any) -> None:
        self.answers: list[tuple[estimate.Estimate, Info]] = []
        self._over: list[bool] = []
        self._asked = lambda: count_methods.ask(method, formula, stop=self._is_over, **given)
        self._thread, self._start = threading.Thread(target=self._run), time.monotonic()

    def __enter__(self) -> "_Rival":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.append(True)
        self._thread.join()

    def is_solved(self) -> bool:
        """Whether it has answered."""
        return bool(self.answers) and self.answers[0][1].status == "done"

    def has_answered_for_long(self) -> bool:
        """Whether it is no use to wait any longer for an answer that is certain."""
        if not self.is_solved():
            return False
        took = self.answers[0][1].seconds
        grace = min(max(CERTAIN_SHARE * took, CERTAIN_LEAST), CERTAIN_MOST)
        return time.monotonic() - self._start > took + grace

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
