"""What oracles and entries return beside values: how far they got, and how that came about."""

import dataclasses
import enum
import math
from typing import Any, NamedTuple

import numpy as np

from inference import estimate


class Info(NamedTuple):
    """How an entry went that has no more to tell; every other ``Info`` starts with these two.

    Attributes:
      status: "done"; "timeout" or "interrupted" where that cut the work short; "failed" where
        memory did, or a process died.
      seconds: wall time.
      message: what else there is to know.
    """

    status: str
    seconds: float
    message: str = ""


class Settled(NamedTuple):
    """How rounds of updates went that settle where nothing moves.

    Attributes:
      status: "done", "timeout" or "interrupted".
      seconds: wall time, compilation included.
      converged: whether nothing moved by more than the tolerance in the last round.
      iterations: updates of all messages.
      residual: the largest move in the last of them.
    """

    status: str
    seconds: float
    converged: bool
    iterations: int
    residual: float


class Status(enum.Enum):
    """How far an oracle got with one question."""

    OPTIMAL = "optimal"  # solved: value is bound up to rounding, or the list of models is complete
    FEASIBLE = "feasible"  # something was found, more may exist
    INFEASIBLE = "infeasible"  # proven to have no solution
    UNKNOWN = "unknown"  # the budget ran out before anything was found or proven
    FAILED = "failed"  # the oracle broke; ``message`` says how


@dataclasses.dataclass(frozen=True)
class Answer:
    """One oracle answer.

    ``value`` is what was achieved (a log-score in nats, a number of models, a count), ``bound``
    what was proven from above in the same unit, ``assignments`` bool or integer ``[N, V]``.
    ``message`` says why one failed.

    A log-score is the exact sum of the float64 potentials at the assignment, rounded once. No exact
    log-score is above ``bound``, which allows for rounding and for the graph's ``log_error``; where
    the status is OPTIMAL nothing else lies between the two.
    """

    status: Status
    value: Any = None
    bound: float = math.inf
    assignments: np.ndarray | None = None
    seconds: float = 0.0
    message: str = ""

    def __str__(self) -> str:
        found = 0 if self.assignments is None else len(self.assignments)
        parts = [self.status.value, f"value {self.value}", f"bound {self.bound:.10g}"]
        parts += [f"{found} assignments", f"{self.seconds:.2f} s", self.message]
        return ", ".join(part for part in parts if part)


def cut_short(*statuses: str) -> str:
    """The message of searches that ended so: "interrupted" or "timeout" where one did, or ""."""
    return next((one for one in ("interrupted", "timeout") if one in statuses), "")


def best(
    assignment: np.ndarray,
    value: float,
    bound: float,
    rounding: float,
    log_error: float = 0.0,
    *,
    seconds: float = 0.0,
    message: str = "",
) -> Answer:
    """The answer for the best assignment [1, V] known.

    Args:
      value: its log-score, rounded once.
      bound: of every log-score, computed with an error of at most ``rounding`` nats.
      log_error: of the potentials. OPTIMAL where rounding alone keeps value and bound apart,
        INFEASIBLE where the bound is -inf, UNKNOWN where the value is.
    """
    if bound == -math.inf:
        return Answer(Status.INFEASIBLE, bound, bound, seconds=seconds)
    if value == -math.inf:
        proven = estimate.above(bound, rounding + log_error)
        return Answer(Status.UNKNOWN, value, proven, seconds=seconds, message=message)
    is_optimal = value >= estimate.below(bound, 2 * rounding)
    status = Status.OPTIMAL if is_optimal else Status.FEASIBLE
    proven = max(value, estimate.above(bound, rounding + log_error))
    return Answer(status, value, proven, assignment, seconds, message)
