"""Approximate model counting by random parities: within (1 + epsilon) with probability 1 - delta.

    >>> formula = cnf.from_clauses([[3, 4]], num_variables=30)
    >>> result, info = count(7, formula, epsilon=0.8, delta=0.2)
    >>> abs(result.log_value - math.log(3 * 2**28)) < math.log(1.8)
    True

The formula is reduced first (``support``). Then a round draws one sequence of parities over what is
left of the sampling set. Its cell(m) holds the models that satisfy the first m of them, so the
cells are nested; the round finds the m where the cell becomes small, counts it and scales by 2^m.
The answer is the median of the rounds. Where the residual formula has so few models that listing
them takes no longer, the count is exact. Claim: PROBABLE, failure_lower + failure_upper <= delta.

Chakraborty, Meel and Vardi (CP 2013, IJCAI 2016); Yang and Meel, Rounding Meets Approximate Model
Counting (CAV 2023), whose constants these are; for epsilon >= 5 the rule of version 7, which needs
only satisfiability (AAAI 2025).
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
from typing import Any, NamedTuple

import numpy as np

from hashing.cells import nested_cells
from hashing.counting import guarantee, rounds, witness
from inference import estimate, randomness
from inference.oracles import apart, sat
from inference.problems import cnf
from inference.reduction import support

NONE = np.zeros(0, dtype=np.int32)  # no variables


class Info(NamedTuple):
    """How a count went.

    ``status`` is "done", "timeout", "interrupted" or "failed", with a ``message``; ``rounds`` are
    the finished ones, ``reduction`` what was hashed.
    """

    status: str
    rounds: tuple[witness.Round, ...]
    plan: guarantee.Plan
    reduction: support.Reduction
    oracle_calls: int
    seconds: float
    message: str = ""


def count(
    key: Any,
    formula: cnf.CNF,
    *,
    epsilon: float = 0.8,
    delta: float = 0.2,
    assumptions: Sequence[int] = (),
    timeout: float | None = None,
    executor: futures.Executor | None = None,
    patience: float = 0.0,
    checkpoint: str | os.PathLike | None = None,
    reduce: Callable[..., support.Reduction] = support.reduce,
    open_session: Callable[[cnf.CNF], Any] = sat.SatSession,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[estimate.Estimate, Info]:
    """The number of models over the sampling set.

    At the time limit or Ctrl-C the claim is weakened, never wrong: a round that did not finish
    counts against both sides of the median, and before most rounds have finished both sides are
    ``anytime.bounds``.

    Args:
      key: integer seed or JAX key; equal keys give equal counts, whatever the speed.
      formula: without weights.
      epsilon: tolerance, above 0.
      delta: probability of failure, in (0, 1).
      assumptions: literals that hold in the models that are counted. For many counts of one formula
        reduce it once: ``reduced = support.reduce(formula, keep=variables)``, then
        ``reduce=lambda *_, **__: reduced``. Under the assumptions what is left is reduced again.
      timeout: seconds; None for no limit.
      executor: where rounds run; None for here, one after the other. Only ``dispatch.open_pool``
        ends rounds that still run at a stop; over others they go on up to the time limit.
      patience: the rounds that are left go to the executor once they would take longer than this
        here, in seconds; by default all go.
      checkpoint: a file that holds the support, the level and the rounds, as soon as each is known.
        Where it exists they are taken from it, and the answer is that of an unbroken run.
      reduce: from the formula to what is hashed, called as ``support.reduce`` is;
        ``support.unreduced`` hashes all of it.
      open_session: from a formula to what answers as a ``SatSession`` does; another solver is
        ``functools.partial(sat.SatSession, solver="glucose4")``. The default is a process of its
        own where formula and parities are large, see ``apart``.
      stop: asked between queries; once it is true the count ends as at the time limit.
      progress: called with a line that says where the count is.

    Returns:
      CERTAIN with ``count`` where all models were listed, PROBABLE otherwise; the witness is a
      ``witness.Witness``.

    Raises:
      ValueError: epsilon or delta out of range, the formula has weights, an assumption is no
        literal of it or one that the reduction did not keep, or the checkpoint belongs to another
        count.
    """
    if formula.log_weights is not None:
        raise ValueError("approxmc counts models: expected no weights, given some")
    start, seed = time.monotonic(), randomness.seed_words(key)
    given = _checked(assumptions, formula.num_variables)
    limits = float(epsilon), float(delta)
    asked = witness.Witness(formula.digest(), given, seed, *limits, NONE, NONE, {})
    deadline = start + (math.inf if timeout is None else timeout)
    search = _Search(formula, asked, deadline)
    try:
        progress("preprocessing")
        search.prepare(formula, reduce, checkpoint, stop)
        tasks, level = search.tasks(open_session), search.level()
        outcomes = rounds.run(tasks, level, executor, stop, progress, patience) if tasks else ()
        search.take(outcomes, checkpoint)
    except KeyboardInterrupt:
        search.status = "interrupted"
    except MemoryError as error:
        search.fail(f"out of memory: {error}".removesuffix(": "))
    finally:
        apart.release()
    return search.claim(), search.info(time.monotonic() - start)


class _Search:
    """The rounds, and what they have found when they stop."""

    def __init__(self, formula: cnf.CNF, asked: witness.Witness, deadline: float) -> None:
        self.status, self._message, self._calls, self._deadline = "done", "", 0, deadline
        self._plan = guarantee.plan(asked.epsilon, asked.delta)
        self._reached: dict[int, nested_cells.Reached] = {}
        # Until the formula is reduced, what would hold of it as it is.
        self._reduction = support.unreduced(formula)
        self._found = asked._replace(support=formula.sampling_set)

    def prepare(
        self,
        formula: cnf.CNF,
        reduce: Callable[..., support.Reduction],
        checkpoint: str | os.PathLike | None,
        stop: Callable[[], bool],
    ) -> None:
        """Reduces the formula, to the support of the checkpoint if there is one."""
        found, known = self._found, None
        if checkpoint is not None and os.path.exists(checkpoint):
            found = _resumed(found, checkpoint)
            known = np.union1d(found.support, found.free)
        now = time.monotonic()
        half = now + (self._deadline - now) / 2  # the rest is for hashing
        limits: dict[str, Any] = {"deadline": half, "stop": stop}
        self._reduction = _reduced(formula, reduce, found.assumptions, known, limits)
        hashed, free = self._reduction.support, self._reduction.free
        same = np.array_equal(hashed, found.support)
        if found.rounds and not same:
            raise ValueError(f"{checkpoint}: expected the support that the formula has now")
        level = found.level if same else None
        self._found = found._replace(support=hashed, free=free, level=level)
        self._reached = {i: guarantee.reached_by(r) for i, r in found.rounds.items()}
        if checkpoint is not None and time.monotonic() < half:  # else cut short: a poor support
            witness.save(checkpoint, self._found)

    def tasks(self, open_session: Callable[[cnf.CNF], Any]) -> list[rounds.Task]:
        """The rounds that are left."""
        found, threshold = self._found, self._plan.threshold
        common = rounds.Task(
            number=0,
            formula=self._reduction.formula,
            draw_key=0,
            threshold=threshold,
            # Listing so many models takes no longer than hashing.
            exact_limit=self._plan.rounds * (threshold + 1),
            deadline=self._deadline + time.time() - time.monotonic(),
            open_session=open_session,
        )
        left = set(range(self._plan.rounds)) - set(found.rounds)
        return [
            common._replace(number=i, draw_key=witness.draw_key(found.seed, found.digest, i))
            for i in sorted(left if guarantee.listed(found) is None else ())
        ]

    def level(self) -> int | None:
        """Where the search starts, if that is known."""
        rounds_known = self._found.rounds.values()
        return next((r.num_hashes for r in rounds_known), self._found.level)

    def take(
        self, outcomes: Iterable[rounds.Outcome], checkpoint: str | os.PathLike | None
    ) -> None:
        """Takes outcomes as they come, until all rounds are there or one listed all models."""
        for outcome in outcomes:
            self._take(outcome)
            news = outcome.finished is not None or outcome.level is not None
            if checkpoint is not None and news:
                witness.save(checkpoint, self._found)
            if guarantee.listed(self._found) is not None or outcome.interrupted:
                break
        missing = self._plan.rounds - len(self._found.rounds)
        if self.status == "done" and missing and guarantee.listed(self._found) is None:
            self.status = "timeout"

    def claim(self) -> estimate.Estimate:
        """The best valid estimate from what has been found so far."""
        found = self._found._replace(level=None)  # of use to a checkpoint alone
        return guarantee.estimate_of(found, self._plan, self._reached)

    def fail(self, message: str) -> None:
        """Something died or was too large; what has been found holds."""
        self.status, self._message = "failed", message

    def info(self, seconds: float) -> Info:
        """How it went."""
        done = tuple(self._found.rounds[i] for i in sorted(self._found.rounds))
        return Info(
            self.status, done, self._plan, self._reduction, self._calls, seconds, self._message
        )

    def _take(self, outcome: rounds.Outcome) -> None:
        self._calls += outcome.calls
        if outcome.interrupted:
            self.status = "interrupted"
        if outcome.message:
            self.fail(outcome.message)
        if outcome.number < 0:  # of no round
            return
        before = self._reached.get(outcome.number, nested_cells.Reached())
        self._reached[outcome.number] = nested_cells.Reached(
            max(before.log_product, outcome.reached.log_product),
            min(before.small_level, outcome.reached.small_level),
        )
        if outcome.finished is not None:
            kept = {} if outcome.finished.num_hashes == 0 else self._found.rounds
            kept = {**kept, outcome.number: outcome.finished}
            self._found = self._found._replace(rounds=kept, level=None)
        elif outcome.level is not None:
            self._found = self._found._replace(level=outcome.level)


def _reduced(
    formula: cnf.CNF,
    reduce: Callable[..., support.Reduction],
    assumptions: Sequence[int],
    known: np.ndarray | None,
    limits: dict[str, Any],
) -> support.Reduction:
    """What is hashed; ``known`` is its support where a checkpoint has it."""
    if not assumptions:
        return reduce(formula, keep=(), support=known, **limits)
    keep = np.union1d(np.abs(assumptions), NONE if known is None else known)
    reduction = reduce(formula, keep=keep.tolist(), support=None, **limits)
    return support.assume(reduction, assumptions, support=known, **limits)


def _checked(assumptions: Sequence[int], num_variables: int) -> tuple[int, ...]:
    for literal in assumptions:
        if not 1 <= abs(literal) <= num_variables:
            raise ValueError(
                f"expected assumptions among the variables 1..{num_variables}, given {literal}"
            )
    return tuple(int(x) for x in assumptions)


def _resumed(asked: witness.Witness, path: str | os.PathLike) -> witness.Witness:
    """The witness in the file, if it answers the same question."""
    stored = witness.load(path)
    for name in ("digest", "assumptions", "seed", "epsilon", "delta"):
        if getattr(asked, name) != getattr(stored, name):
            raise ValueError(f"{path}: expected a checkpoint of this count, given another {name}")
    planned = guarantee.plan(asked.epsilon, asked.delta).rounds
    levels = len(stored.support) + witness.SPARE_LEVELS
    for index, one in stored.rounds.items():
        if index >= planned or one.num_hashes > levels:
            raise ValueError(f"{path}: expected rounds 0..{planned - 1} of up to {levels} hashes")
    if stored.level is not None and not 0 <= stored.level <= levels:
        raise ValueError(f"{path}: expected a level in 0..{levels}, given {stored.level}")
    return stored
