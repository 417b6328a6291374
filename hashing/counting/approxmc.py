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

import dataclasses
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from typing import Any, NamedTuple

import numpy as np

from hashing.counting import anytime, rounds, support, witness
from inference import estimate, randomness
from inference.oracles import sat
from inference.problems import cnf

NONE = np.zeros(0, dtype=np.int32)  # no variables


class Plan(NamedTuple):
    """What (epsilon, delta) ask for.

    Attributes:
      threshold: a cell is small up to this many models; 0 in version 7.
      rounds: odd, repetitions whose median is taken.
      failure_under: Pr[a round's value < |S| / (1 + epsilon)] is at most this.
      failure_over: Pr[a round's value > (1 + epsilon) |S|] is at most this.
      scale: from the number of models in the first small cell to the value of cell times 2^-m.
    """

    threshold: int
    rounds: int
    failure_under: float
    failure_over: float
    scale: Callable[[int], float]

    def log_value(self, finished: witness.Round) -> float:
        """What one round says the residual count is, in nats."""
        return math.log(self.scale(len(finished.models))) + finished.num_hashes * math.log(2)


class Info(NamedTuple):
    """How a count went.

    ``status`` is "done", "timeout", "interrupted" or "failed", with a ``message``; ``rounds`` are
    the finished ones, ``reduction`` what was hashed.
    """

    status: str
    rounds: tuple[witness.Round, ...]
    plan: Plan
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
        ``reduce=lambda *_, **__: reduced``.
      timeout: seconds; None for no limit.
      executor: where rounds run; None for here, one after the other.
      checkpoint: a file that holds the rounds finished so far. Where it exists they are taken from
        it, and the answer is that of an unbroken run.
      reduce: from the formula to what is hashed; ``support.unreduced`` hashes all of it.
      open_session: from a formula to what answers as a ``SatSession`` does; another solver is
        ``functools.partial(sat.SatSession, solver="glucose4")``.
      stop: asked between queries; once it is true the count ends as at the time limit.
      progress: called with a line that says where the count is.

    Returns:
      CERTAIN with ``count`` where all models were listed, PROBABLE otherwise; the witness is a
      ``witness.Witness``.

    Raises:
      ValueError: epsilon or delta out of range, the formula has weights, an assumption is no
        literal of it, or the checkpoint belongs to another count.
    """
    if formula.log_weights is not None:
        raise ValueError("approxmc counts models: expected no weights, given some")
    start, steps = time.monotonic(), plan(epsilon, delta)
    given = _checked(assumptions, formula.num_variables)
    deadline = start + (math.inf if timeout is None else timeout)
    seed = randomness.seed_words(key)
    found = witness.Witness(formula.digest(), given, seed, epsilon, delta, NONE, NONE, {})
    if checkpoint is not None and os.path.exists(checkpoint):
        found = _resumed(found, checkpoint)
    progress("preprocessing")
    status = "done"
    try:
        known = np.union1d(found.support, found.free) if found.rounds else None
        reduction = reduce(formula, keep=[abs(x) for x in given], support=known, deadline=deadline)
    except KeyboardInterrupt:
        reduction, found = support.unreduced(formula), found._replace(rounds={})
        status, deadline = "interrupted", start
    found = found._replace(support=reduction.support, free=reduction.free)
    search = _Search(reduction, found, steps, checkpoint, status)
    try:
        search.run(deadline, executor, open_session, stop, progress)
    except KeyboardInterrupt:
        search.status = "interrupted"
    done = tuple(search.found.rounds[i] for i in sorted(search.found.rounds))
    seconds = time.monotonic() - start
    how = Info(search.status, done, steps, reduction, search.calls, seconds, search.message)
    return search.claim(), how


def plan(epsilon: float, delta: float) -> Plan:
    """Threshold, number of rounds and rounding for a tolerance and a failure probability.

    Raises:
      ValueError: epsilon is not above 0, or so small or large that its square is no double, or
        delta is not in (0, 1).
    """
    if not 1e-150 < epsilon < 1e150:
        raise ValueError(f"expected epsilon > 0, between 1e-150 and 1e150, given {epsilon}")
    if not 0.0 < delta < 1.0:
        raise ValueError(f"expected delta in (0, 1), given {delta}")
    if epsilon >= 5.0:
        beta = (1 + math.sqrt(1 + 2 * (1 + epsilon) ** 2)) / 2
        # 2^(m - 1) sqrt(2 (beta - 1) / beta) where cell(m) is the first empty one.
        factor = math.sqrt(2 * (beta - 1) / beta) / 2
        return Plan(0, num_rounds(1 / beta, 1 / beta, delta), 1 / beta, 1 / beta, lambda n: factor)
    pivot = 9.84 * (1 + 1 / epsilon) ** 2
    threshold = math.floor(1 + pivot * (1 + epsilon / (1 + epsilon)))
    failure_under, failure_over, scale = _rounding(epsilon, pivot)
    rounds = num_rounds(failure_under, failure_over, delta)
    return Plan(threshold, rounds, failure_under, failure_over, scale)


def num_rounds(failure_under: float, failure_over: float, delta: float) -> int:
    """The smallest odd number of rounds whose median fails with probability at most delta."""
    rounds = 1
    while (
        estimate.majority_tail(rounds, failure_under) + estimate.majority_tail(rounds, failure_over)
        > delta
    ):
        rounds += 2
    return rounds


def estimate_of(
    found: witness.Witness, steps: Plan, reached: Mapping[int, anytime.Reached] | None = None
) -> estimate.Estimate:
    """The best valid estimate that finished rounds support.

    Args:
      found: the rounds so far.
      steps: what its epsilon and delta ask for.
      reached: by round, how far each got, unfinished ones included; by default what the finished
        ones show. Only early ends depend on it.
    """
    exact = _exact(found)
    if exact is not None:
        return estimate.exact_count(len(exact.models) << len(found.free), witness=found)
    if 2 * len(found.rounds) > steps.rounds:
        return dataclasses.replace(_median(found, steps), witness=found)
    if reached is None:
        reached = {i: _reached_by(r) for i, r in found.rounds.items()}
    return dataclasses.replace(_anytime(found, steps, list(reached.values())), witness=found)


def _rounding(epsilon: float, pivot: float) -> tuple[float, float, Callable[[int], float]]:
    """Per-round failures under and over, and the rounding of a cell count (CAV 2023)."""
    if epsilon < math.sqrt(2) - 1:
        low = pivot * math.sqrt(1 + 2 * epsilon) / 2
        return 0.262, 0.169, lambda n: max(n, low)
    if epsilon < 1:
        return 0.157, 0.169, lambda n: max(n, pivot / math.sqrt(2))
    if epsilon < 3:
        return 0.085, 0.169, lambda n: max(n, pivot)
    if epsilon < 4 * math.sqrt(2) - 1:
        return 0.055, 0.044, lambda n: pivot
    return 0.023, 0.044, lambda n: math.sqrt(2) * pivot


class _Search:
    """The rounds, and what they have found when they stop."""

    def __init__(
        self,
        reduction: support.Reduction,
        found: witness.Witness,
        steps: Plan,
        checkpoint: str | os.PathLike | None,
        status: str,
    ) -> None:
        self.found, self.status, self.message, self.calls = found, status, "", 0
        self._reduction, self._plan, self._checkpoint = reduction, steps, checkpoint
        self._reached = {i: _reached_by(r) for i, r in found.rounds.items()}

    def run(
        self,
        deadline: float,
        executor: futures.Executor | None,
        open_session: Callable[[cnf.CNF], Any],
        stop: Callable[[], bool],
        progress: Callable[[str], None],
    ) -> None:
        """All rounds, or one where the count is small."""
        tasks = self._tasks(deadline, open_session)
        if not tasks:
            return
        if executor is None:
            outcomes = rounds.run_here(tasks, stop, progress)
        else:
            outcomes = rounds.run_over(tasks, executor, stop, progress)
        for outcome in outcomes:
            self._take(outcome)
            if _exact(self.found) is not None or outcome.interrupted:
                break
        if _exact(self.found) is None and len(self.found.rounds) < self._plan.rounds:
            self.status = self.status if self.status != "done" else "timeout"

    def claim(self) -> estimate.Estimate:
        """The best valid estimate from what has been found so far."""
        return estimate_of(self.found, self._plan, self._reached)

    def _tasks(self, deadline: float, open_session: Callable) -> list[rounds.Task]:
        number = {int(v): i + 1 for i, v in enumerate(self._reduction.variables)}
        assumed = tuple(number[abs(x)] * (1 if x > 0 else -1) for x in self.found.assumptions)
        threshold, number_of_rounds = self._plan.threshold, self._plan.rounds
        # Listing so many models takes no longer than hashing.
        common = (threshold, number_of_rounds * (threshold + 1), assumed)
        wall_deadline = deadline + time.time() - time.monotonic()
        return [
            rounds.Task(
                index,
                self._reduction.formula,
                witness.draw_key(self.found.seed, self.found.digest, index),
                *common,
                wall_deadline,
                open_session,
            )
            for index in range(self._plan.rounds)
            if index not in self.found.rounds and _exact(self.found) is None
        ]

    def _take(self, outcome: rounds.Outcome) -> None:
        self.calls += outcome.calls
        if outcome.message:
            self.status, self.message = "failed", outcome.message
        else:
            self._reached[outcome.number] = outcome.reached
        if outcome.interrupted:
            self.status = "interrupted"
        if outcome.finished is None:
            return
        kept = {} if outcome.finished.num_hashes == 0 else self.found.rounds
        kept = {**kept, outcome.number: outcome.finished}
        self.found = self.found._replace(rounds=kept)
        if self._checkpoint is not None:
            witness.save(self._checkpoint, self.found)


def _exact(found: witness.Witness) -> witness.Round | None:
    """The round that found all models of the residual formula, if one did."""
    return next((r for r in found.rounds.values() if r.num_hashes == 0), None)


def _median(found: witness.Witness, steps: Plan) -> estimate.Estimate:
    # Unfinished rounds count as infinitely wrong on both sides, which can only widen the
    # interval of the complete run; so its failure probabilities still hold.
    width, log_factor = math.log1p(found.epsilon), len(found.free) * math.log(2)
    under, over = steps.failure_under, steps.failure_over
    values = [steps.log_value(r) + log_factor for r in found.rounds.values()]
    each = [estimate.bounded(v, v - width, v + width, over, under) for v in values]
    missing = steps.rounds - len(each)
    return estimate.median_of([*each, *[estimate.Estimate(-math.inf)] * missing])


def _anytime(
    found: witness.Witness, steps: Plan, reached: Sequence[anytime.Reached]
) -> estimate.Estimate:
    """Both sides from the levels that were reached, and what is certain without hashing.

    Reported only where the median is not, so the failures of the two add.
    """
    log_factor = len(found.free) * math.log(2)
    reached = [*reached, *[anytime.Reached()] * (steps.rounds - len(reached))]
    lower, upper = anytime.bounds(reached, steps.threshold, found.delta)
    lower, upper = lower + log_factor, upper + log_factor
    # Outward by more than the rounding of this product.
    most = (len(found.support) + len(found.free)) * math.log(2) * (1 + 2.0**-51)
    product = max(r.log_product for r in reached)
    least = -math.inf if product == -math.inf else 0.0
    if lower > min(upper, most):  # one of them failed
        lower, upper = least, most
    spent = found.delta / 2
    below = spent + estimate.majority_tail(steps.rounds, steps.failure_over)
    above = spent + estimate.majority_tail(steps.rounds, steps.failure_under)
    lower, below = (lower, below) if lower > least else (least, 0.0)
    upper, above = (upper, above) if upper < most else (most, 0.0)
    value = min(max(product + log_factor, lower), upper)
    return estimate.bounded(value, lower, upper, below, above)


def _reached_by(finished: witness.Round) -> anytime.Reached:
    level, size = finished.num_hashes, len(finished.models)
    products = [estimate.log_of_count(size) + level * math.log(2)]
    if level:
        products.append(math.log(len(finished.before)) + (level - 1) * math.log(2))
    return anytime.Reached(max(products), level)


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
    return stored
