"""What the counters by hashing share: how a search ends that may be cut, bounds by way of one.

    >>> attempt(lambda: 7)
    (7, Ending(status='done', message=''))

A search looks into the reduced formula; whatever cuts it short weakens the claim alone.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from inference import estimate, limits, randomness
from inference.oracles import apart
from inference.problems import cnf, trivial
from inference.reduction import support
from inference.workers import within

T = TypeVar("T")
I = TypeVar("I", bound=tuple)  # noqa: E741
Progress = Callable[[str], None]


class Ending(NamedTuple):
    """``status`` is "done", "timeout", "interrupted" or, for want of memory, "failed"."""

    status: str = "done"
    message: str = ""


class Search(Protocol):
    """What has been found in a formula so far, and a claim about its models."""

    def run(self, deadline: limits.Deadline) -> None:
        """Searches to the end; raises OutOfTime at the deadline."""

    def claim(self) -> estimate.Estimate:
        """The best valid estimate from what has been found so far."""

    def told(self) -> tuple:
        """What an ``Info`` says besides status, seconds and message."""

    def close(self) -> None:
        """Ends the solver session."""


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
    entry: Callable[..., tuple[estimate.Estimate, I]],
    open_search: Callable[..., Search],
    info: Callable[..., I],
    formula: cnf.CNF,
    *,
    seed: Any,
    timeout: float | None,
    memory: int | None,
    delta: float,
    assumptions: Sequence[int],
    reduce: Callable[..., support.Reduction],
    progress: Progress,
    **options: Any,
) -> tuple[estimate.Estimate, I]:
    """The claim of a search over the reduced formula, doubled for each free variable.

    Half of the time is for the reduction.

    Args:
      entry: whose work this is, for a child process that keeps to the memory.
      open_search: from the seed as bytes, the reduced formula, ``progress``, ``delta`` and the
        options.
      info: from status, seconds and message, and what the search told, to an ``Info``.
      formula: and the rest as for the entry.

    Raises:
      ValueError: an argument is out of range.
    """
    start, words = time.monotonic(), randomness.seed_words(seed)
    _check(formula, delta, assumptions, reduce)
    options |= {"delta": delta}
    if memory is not None:
        options |= {"seed": words, "assumptions": assumptions, "reduce": reduce}
        result, how = within.count(entry, formula, timeout=timeout, memory=memory, **options)
        return result, info(*how)
    deadline, assumed = limits.Deadline.after(timeout), support.conditioned(formula, assumptions)

    def prepare() -> tuple[Search, int]:
        progress("preprocessing")
        reduction = reduce(assumed, deadline=deadline.part(0.5))
        return open_search(words, reduction.formula, progress, **options), len(reduction.free)

    prepared, ending = attempt(prepare)
    if prepared is None:
        return trivial.count(formula), info(ending.status, time.monotonic() - start, ending.message)
    search, free = prepared
    try:
        _, ending = attempt(lambda: search.run(deadline))
    finally:
        search.close()
        apart.release()
    told = ending.status, time.monotonic() - start, ending.message, *search.told()
    return estimate.doubled(search.claim(), free), info(*told)


def _check(
    formula: cnf.CNF,
    delta: float,
    assumptions: Sequence[int],
    reduce: Callable[..., support.Reduction],
) -> None:
    if formula.log_weights is not None:
        raise ValueError("a bound is on the number of models: expected no weights, given some")
    if not 0.0 < delta < 1.0:
        raise ValueError(f"expected delta in (0, 1), given {delta}")
    # Its own may be of the formula without them.
    if len(assumptions) and reduce not in (support.reduce, support.unreduced):
        raise ValueError("expected assumptions or a reduction of one's own, given both")
