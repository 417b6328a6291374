"""What the counters by hashing share: how a search ends that may be cut, bounds by way of one.

    >>> attempt(lambda: 7)
    (7, Ending(status='done', message=''))

A search looks into the reduced formula; whatever cuts it short weakens the claim alone.
"""

import abc
import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from inference import answer, estimate, limits, randomness
from inference.oracles import apart, protocol
from inference.problems import cnf, trivial
from inference.reduction import support
from inference.workers import within

T = TypeVar("T")
I = TypeVar("I", bound=tuple)  # noqa: E741
Progress = Callable[[str], None]

# Parities that are switched off still cost the solver time; it is opened anew after so many, and
# later where the formula is large, because loading it costs time as well.
ROWS_PER_SESSION, CLAUSES_PER_ROW = 500, 10


class Ending(NamedTuple):
    """``status`` is "done", "timeout", "interrupted" or, for want of memory, "failed"."""

    status: str = "done"
    message: str = ""


class Search(abc.ABC):
    """What has been found in a formula so far, and a claim about its models.

    Args:
      formula: what is hashed.
      limit: where listing all models stops.
      seed: as ``randomness.seed_words`` gives it.
      delta: probability of failure of the claim.
      open_session: from a formula to a session.
      progress: called with a line that says where the search is.
    """

    def __init__(
        self,
        formula: cnf.CNF,
        limit: int,
        *,
        seed: bytes,
        delta: float,
        open_session: Callable[[cnf.CNF], protocol.SatSession],
        progress: Progress,
    ) -> None:
        self._seed, self._digest, self._delta = seed, formula.digest(), delta
        self._num_columns, self._limit = len(formula.sampling_set), limit
        self._progress = progress
        self._open = functools.partial(apart.open_session, open_session, formula)
        self._session, self._earlier_calls = self._open(), 0
        self._num_rows = 0  # of the session
        self._most_rows = max(ROWS_PER_SESSION, formula.num_clauses // CLAUSES_PER_ROW)
        self._all_models = answer.Answer(answer.Status.UNKNOWN, 0)

    def run(self, deadline: limits.Deadline) -> None:
        """Lists all models if they are few, else hashes; raises OutOfTime at the deadline."""
        self._progress("all models, no parities")
        self._all_models = self._session.enumerate(self._limit, deadline=deadline)
        if self._all_models.status is answer.Status.UNKNOWN:
            raise limits.OutOfTime
        if self._all_models.status is answer.Status.FEASIBLE:
            self._hash(deadline)

    def claim(self) -> estimate.Estimate:
        """The best valid estimate from what has been found so far."""
        found = estimate.exact_count(self._all_models.value)
        if self._all_models.status is answer.Status.OPTIMAL:
            return found
        # Outward by more than the rounding of this product.
        return self._claim_of(found, self._num_columns * math.log(2) * (1 + 2.0**-51))

    def close(self) -> tuple[Any, ...]:
        """Ends the solver session; what is told of the search, solver calls first."""
        self._session.close()
        return (self._earlier_calls + self._session.calls, *self._told())

    def _renew(self) -> None:
        """Opens the session anew if it holds many parities or ended; earlier switches are lost."""
        if self._num_rows >= self._most_rows or self._session.ended:
            self._earlier_calls += self._session.calls
            self._session.close()
            self._session, self._num_rows = self._open(), 0

    @abc.abstractmethod
    def _hash(self, deadline: limits.Deadline) -> None:
        """Searches to the end; raises OutOfTime at the deadline."""

    @abc.abstractmethod
    def _claim_of(self, found: estimate.Estimate, most: float) -> estimate.Estimate:
        """A claim between the models ``found`` and ``most``, in nats."""

    @abc.abstractmethod
    def _told(self) -> tuple[Any, ...]:
        """What else the ``Info`` of the count holds."""


def attempt(search: Callable[[], T]) -> tuple[T | None, Ending]:
    """What it returns, None where it was cut; and how it ended."""
    try:
        return search(), Ending()
    except limits.OutOfTime:
        return None, Ending("timeout")
    except KeyboardInterrupt:
        return None, Ending("interrupted")
    except MemoryError as error:
        return None, Ending("failed", f"out of memory: {error}".removesuffix(": "))


def bound(
    formula: cnf.CNF,
    *,
    search: Callable[..., Search],
    info: Callable[..., I],
    seed: Any,
    timeout: float | None,
    memory: int | None = None,
    assumptions: Sequence[int],
    reduce: Callable[..., support.Reduction],
    progress: Progress = lambda _: None,
    **options: Any,
) -> tuple[estimate.Estimate, I]:
    """The claim of a search over the reduced formula, doubled for each free variable.

    Half of the time that is left is for the reduction.

    Args:
      search: opened with the reduced formula, ``seed``, ``progress`` and ``options``.
      info: from status, seconds, message and what is told of a search, unless none began.
    """
    start, deadline = time.monotonic(), limits.Deadline.after(timeout)
    options["seed"] = randomness.seed_words(seed)
    if memory is not None:
        sent: dict[str, Any] = {"assumptions": assumptions, "reduce": reduce} | options
        sent |= {"search": search, "info": info}
        result, how = within.count(bound, formula, timeout=timeout, memory=memory, **sent)
        return result, info(*how)
    assumed = support.conditioned(formula, assumptions)

    def prepare() -> tuple[Search, int]:
        progress("preprocessing")
        reduction = reduce(assumed, deadline=deadline.part(0.5))
        return search(reduction.formula, progress=progress, **options), len(reduction.free)

    result, told = trivial.count(formula), ()
    prepared, ending = attempt(prepare)
    if prepared is not None:
        opened, free = prepared
        try:
            _, ending = attempt(lambda: opened.run(deadline))
        finally:
            told = opened.close()
            apart.release()
        result = estimate.doubled(opened.claim(), free)
    return result, info(ending.status, time.monotonic() - start, ending.message, *told)


def check(
    formula: cnf.CNF,
    delta: float,
    assumptions: Sequence[int],
    reduce: Callable[..., support.Reduction],
    method: str,
) -> None:
    """Raises ValueError where an argument of a bound is out of range."""
    if formula.log_weights is not None:
        raise ValueError(f"{method} counts models: expected no weights, given some")
    if not 0.0 < delta < 1.0:
        raise ValueError(f"expected delta in (0, 1), given {delta}")
    # Its own may be of the formula without them.
    if len(assumptions) and reduce not in (support.reduce, support.unreduced):
        raise ValueError("expected assumptions or a reduction of one's own, given both")
