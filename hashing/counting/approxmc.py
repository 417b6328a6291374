"""Approximate model counting by random parities: within (1 + epsilon) with probability 1 - delta.

    >>> formula = cnf.from_clauses([[3, 4]], num_variables=30)
    >>> result, info = count(formula, seed=7, epsilon=0.8, delta=0.2)
    >>> abs(result.log_value - math.log(3 * 2**28)) < math.log(1.8)
    True

The formula is reduced first (``support``). Then a round draws one sequence of parities over what is
left of the sampling set. Its cell(m) holds the models that satisfy the first m of them, so the
cells are nested; the round finds the m where the cell becomes small, counts it and scales by 2^m.
The answer is the median of the rounds. Where the residual formula has so few models that listing
them takes no longer, the count is exact. Claim: PROBABLE, failure_lower + failure_upper <= delta.

Where the residual formula falls into components, they are counted apart (``products``).

Chakraborty, Meel and Vardi (CP 2013, IJCAI 2016); Yang and Meel, Rounding Meets Approximate Model
Counting (CAV 2023), whose constants these are; for epsilon >= 5 the rule of version 7, which needs
only satisfiability (AAAI 2025).
"""

import functools
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
from typing import Any, NamedTuple

import numpy as np

from hashing.cells import nested_cells
from hashing.counting import guarantee, products, rounds, searches, witness
from inference import answer, estimate, limits, randomness
from inference.oracles import apart, protocol, sat
from inference.problems import cnf
from inference.reduction import components, support
from inference.workers import within

NONE = np.zeros(0, dtype=np.int32)  # no variables


class Info(NamedTuple):
    """How a count went.

    ``status`` is "done", "timeout", "interrupted" or "failed"; ``rounds`` are the finished ones,
    ``scheme`` what epsilon and delta ask for, ``reduction`` what was hashed. Where several
    components were, the rounds are those of one after those of the other, by schemes of their own.
    """

    status: str
    seconds: float
    message: str
    oracle_calls: int
    rounds: tuple[witness.Round, ...]
    scheme: guarantee.Scheme
    reduction: support.Reduction


def count(
    formula: cnf.CNF,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    epsilon: float = 0.8,
    delta: float = 0.2,
    assumptions: Sequence[int] = (),
    executor: futures.Executor | None = None,
    patience: float = 0.0,
    checkpoint: str | os.PathLike | None = None,
    reduce: Callable[..., support.Reduction] = support.reduce,
    split: Callable[[cnf.CNF], Sequence[components.Part]] = components.split,
    exact: products.Exact = products.exactly,
    open_session: Callable[[cnf.CNF], protocol.SatSession] = sat.SatSession,
    stop: Callable[[], bool] = lambda: False,
    progress: searches.Progress = lambda _: None,
) -> tuple[estimate.Estimate, Info]:
    """The number of models over the sampling set.

    At the time limit or Ctrl-C the claim is weakened, never wrong: a round that did not finish
    counts against both sides of the median, and before most rounds have finished both sides are
    ``anytime.bounds``.

    Args:
      formula: without weights.
      seed: an integer, a JAX key or bytes; equal seeds give equal counts, whatever the speed.
      timeout: seconds, half of them for the reduction; None for no limit.
      memory: mebibytes, as for ``within.count``, in another process; None for no limit.
      epsilon: tolerance, above 0.
      delta: probability of failure, in (0, 1).
      assumptions: literals that hold in the models that are counted. For many counts of one formula
        reduce it once: ``reduced = support.reduce(formula, keep=variables)``, then
        ``reduce=lambda *_, **__: reduced``. Under the assumptions what is left is reduced again.
      executor: where rounds run; None for here, one after the other. Only ``dispatch.open_pool``
        ends rounds that still run at a stop; over others they go on up to the time limit.
      patience: the rounds that are left go to the executor once they would take longer than this
        here, in seconds; by default all go.
      checkpoint: a file that holds the support, the level and the rounds, as soon as each is known.
        Where it exists they are taken from it, and the answer is that of an unbroken run. The
        formula is then hashed whole.
      reduce: from the formula to what is hashed, called as ``support.reduce`` is;
        ``support.unreduced`` hashes all of it.
      split: from the residual formula to parts whose counts multiply; ``products.whole`` hashes it
        whole, so that the answer has a witness.
      exact: the count of a part where it is cheap, else None; not asked for the whole.
      open_session: from a formula to a session; another solver is
        ``functools.partial(sat.SatSession, solver="glucose4")``. The default is a process of its
        own where formula and parities are large, see ``apart``.
      stop: asked between queries; once it is true the count ends as at the time limit.
      progress: called with a line that says where the count is; not where memory is limited.

    Returns:
      CERTAIN with ``count`` where all models were listed or all parts counted exactly, PROBABLE
      otherwise; the witness is a ``witness.Witness``, or None where there were several parts.

    Raises:
      ValueError: epsilon or delta out of range, the formula has weights, an assumption is no
        literal of it or one that the reduction did not keep, the checkpoint belongs to another
        count, or with ``memory`` there is an executor or what cannot go to another process.
    """
    if formula.log_weights is not None:
        raise ValueError("approxmc counts models: expected no weights, given some")
    start, given = time.monotonic(), support.checked(assumptions, formula.num_variables)
    words, tolerances = randomness.seed_words(seed), (float(epsilon), float(delta))
    scheme = guarantee.plan(*tolerances)
    if memory is not None:
        if executor is not None:
            raise ValueError("expected an executor or a limit on memory, given both")
        sent: dict[str, Any] = {"epsilon": epsilon, "delta": delta, "assumptions": given}
        sent |= {"checkpoint": checkpoint, "reduce": reduce, "open_session": open_session}
        sent |= {"seed": words, "split": split, "exact": exact}
        result, how = within.count(  # which kills the child at a stop
            count, formula, timeout=timeout, memory=memory, stop=stop, **sent
        )
        return result, how if isinstance(how, Info) else _cut(formula, scheme, how)
    everything = formula.sampling_set  # until the formula is reduced
    found = witness.Witness(formula.digest(), given, words, *tolerances, everything, NONE, {})
    search = _Rounds(formula, found, scheme, limits.Deadline.after(timeout, stop))

    def run() -> None:
        progress("preprocessing")
        search.prepare(formula, reduce, checkpoint)
        parts = split(search.residual) if checkpoint is None else ()
        if len(parts) > 1:
            options: dict[str, Any] = {"seed": words, "executor": executor}
            options |= {"patience": patience, "stop": stop}
            options |= {"reduce": support.unreduced, "split": products.whole}
            hashed = functools.partial(count, open_session=open_session, **options)
            search.multiply(parts, open_session, exact, hashed, progress)
            return
        tasks, level = search.tasks(open_session)
        outcomes = rounds.run(tasks, level, executor, stop, progress, patience) if tasks else ()
        search.take(outcomes, checkpoint)

    try:
        _, ending = searches.attempt(run)
    finally:
        apart.release()
    return search.claim(), search.info(ending, time.monotonic() - start)


def _cut(formula: cnf.CNF, scheme: guarantee.Scheme, how: answer.Info) -> Info:
    """How a count went whose process ended before it could tell."""
    return Info(*how, 0, (), scheme, support.unreduced(formula))


class _Rounds:
    """The rounds, and what they have found when they stop."""

    def __init__(
        self,
        formula: cnf.CNF,
        asked: witness.Witness,
        scheme: guarantee.Scheme,
        deadline: limits.Deadline,
    ) -> None:
        self._ending, self._calls = searches.Ending(), 0
        self._scheme, self._deadline = scheme, deadline
        self._reached: dict[int, nested_cells.Reached] = {}
        self._reduction, self._found = support.unreduced(formula), asked
        self._product: products.Product | None = None

    @property
    def residual(self) -> cnf.CNF:
        """What is hashed."""
        return self._reduction.formula

    def prepare(
        self,
        formula: cnf.CNF,
        reduce: Callable[..., support.Reduction],
        checkpoint: str | os.PathLike | None,
    ) -> None:
        """Reduces the formula, to the support of the checkpoint if there is one."""
        found, known = self._found, None
        if checkpoint is not None and os.path.exists(checkpoint):
            found = _resumed(found, checkpoint)
            known = np.union1d(found.support, found.free)
        half = self._deadline.part(0.5)  # the rest is for hashing
        self._reduction = _reduced(formula, reduce, found.assumptions, known, half)
        hashed, free = self._reduction.support, self._reduction.free
        same = np.array_equal(hashed, found.support)
        if found.rounds and not same:
            raise ValueError(f"{checkpoint}: expected the support that the formula has now")
        level = found.level if same else None
        self._found = found._replace(support=hashed, free=free, level=level)
        self._reached = {i: guarantee.reached_by(r) for i, r in found.rounds.items()}
        if checkpoint is not None and half.left:  # else cut short: a poor support
            witness.save(checkpoint, self._found)

    def tasks(
        self, open_session: Callable[[cnf.CNF], protocol.SatSession]
    ) -> tuple[list[rounds.RoundTask], int | None]:
        """The rounds that are left, and where the search starts, if that is known."""
        found, threshold = self._found, self._scheme.threshold
        common = rounds.RoundTask(
            number=0,
            formula=self._reduction.formula,
            draw_key=0,
            threshold=threshold,
            # Listing so many models takes no longer than hashing.
            exact_limit=self._scheme.rounds * (threshold + 1),
            deadline=self._deadline.at + time.time() - time.monotonic(),
            open_session=open_session,
        )
        left = [i for i in range(self._scheme.rounds) if i not in found.rounds]
        tasks = [
            common._replace(number=i, draw_key=witness.draw_key(found.seed, found.digest, i))
            for i in (left if guarantee.listed(found) is None else ())
        ]
        return tasks, next((r.num_hashes for r in found.rounds.values()), found.level)

    def take(
        self, outcomes: Iterable[rounds.RoundOutcome], checkpoint: str | os.PathLike | None
    ) -> None:
        """Takes outcomes as they come, until all rounds are there or one listed all models."""
        for outcome in outcomes:
            self._take(outcome)
            news = outcome.finished is not None or outcome.level is not None
            if checkpoint is not None and news:
                witness.save(checkpoint, self._found)
            if guarantee.listed(self._found) is not None or outcome.ending.status == "interrupted":
                break
        missing = self._scheme.rounds - len(self._found.rounds)
        is_done = self._ending.status == "done"
        if is_done and missing and guarantee.listed(self._found) is None:
            self._ending = searches.Ending("timeout")

    def multiply(
        self,
        parts: Sequence[components.Part],
        open_session: Callable[[cnf.CNF], protocol.SatSession],
        exact: products.Exact,
        hashed: products.Hash,
        progress: searches.Progress,
    ) -> None:
        """Counts the parts of the residual formula apart."""
        tolerances = self._found.epsilon, self._found.delta
        self._product = products.Product(self.residual, parts, self._deadline)
        self._ending = self._product.run(open_session, exact, hashed, tolerances, progress)

    def claim(self) -> estimate.Estimate:
        """The best valid estimate from what has been found so far."""
        if self._product is not None:
            return estimate.doubled(self._product.claim(), len(self._reduction.free))
        found = self._found._replace(level=None)  # of use to a checkpoint alone
        return guarantee.estimate_of(found, self._scheme, self._reached)

    def info(self, ending: searches.Ending, seconds: float) -> Info:
        """How it went; ``ending`` is that of whatever took the outcomes."""
        status, message = self._ending if ending.status == "done" else ending
        done = tuple(self._found.rounds[i] for i in sorted(self._found.rounds))
        calls = self._calls
        if self._product is not None:
            done = tuple(one for how in self._product.told for one in how.rounds)
            calls = self._product.calls + sum(how.oracle_calls for how in self._product.told)
        shared = status, seconds, message, calls
        return Info(*shared, done, self._scheme, self._reduction)

    def _take(self, outcome: rounds.RoundOutcome) -> None:
        self._calls += outcome.calls
        if outcome.ending.status in ("interrupted", "failed"):
            self._ending = outcome.ending
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
    deadline: limits.Deadline,
) -> support.Reduction:
    """What is hashed; ``known`` is its support where a checkpoint has it."""
    if not assumptions:
        return reduce(formula, keep=(), support=known, deadline=deadline)
    keep = np.union1d(np.abs(assumptions), NONE if known is None else known)
    reduction = reduce(formula, keep=keep.tolist(), support=None, deadline=deadline)
    return support.assume(reduction, assumptions, support=known, deadline=deadline)


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
