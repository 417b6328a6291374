"""What the counters by hashing share: how a search ends that may be cut, bounds by way of one.

    >>> attempt(lambda: 7)
    (7, Ending(status='done', message=''))

A search looks into the reduced formula; whatever cuts it short weakens the claim alone.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from inference import estimate, limits
from inference.oracles import apart
from inference.problems import cnf, trivial
from inference.reduction import support

T = TypeVar("T")
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

    def close(self) -> None:
        """Ends the solver session."""


S = TypeVar("S", bound=Search)


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
    open_search: Callable[[cnf.CNF], S],
    *,
    assumptions: Sequence[int],
    reduce: Callable[..., support.Reduction],
    deadline: limits.Deadline,
    progress: Progress,
) -> tuple[estimate.Estimate, S | None, Ending]:
    """The claim of a search over the reduced formula, doubled for each free variable.

    Half of the time that is left is for the reduction.

    Returns:
      The estimate, the search unless it never began, and how it ended.
    """
    assumed = support.conditioned(formula, assumptions)

    def prepare() -> tuple[S, int]:
        progress("preprocessing")
        reduction = reduce(assumed, deadline=deadline.part(0.5))
        return open_search(reduction.formula), len(reduction.free)

    prepared, ending = attempt(prepare)
    if prepared is None:
        return trivial.count(formula), None, ending
    search, free = prepared
    try:
        _, ending = attempt(lambda: search.run(deadline))
    finally:
        search.close()
        apart.release()
    return estimate.doubled(search.claim(), free), search, ending


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
