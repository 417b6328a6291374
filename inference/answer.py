"""What an oracle returns: a status, what it achieved, and what it proved."""

import dataclasses
import enum
import math
from typing import Any

import numpy as np


class Status(enum.Enum):
    """How far an oracle got with one question."""

    OPTIMAL = "optimal"  # solved: value equals bound, or the list of models is complete
    FEASIBLE = "feasible"  # something was found, more may exist
    INFEASIBLE = "infeasible"  # proven to have no solution
    UNKNOWN = "unknown"  # the budget ran out before anything was found or proven
    FAILED = "failed"  # the oracle broke; ``message`` says how


@dataclasses.dataclass(frozen=True)
class Answer:
    """One oracle answer.

    ``value`` is what was achieved (a log-score in nats, a number of models, a count), ``bound``
    what was proven from above in the same unit, ``assignments`` bool or integer ``[N, V]``.
    ``message`` says why one failed, or "timeout" or "interrupted" where that ended a search.
    """

    status: Status
    value: Any = None
    bound: float = math.inf
    assignments: np.ndarray | None = None
    seconds: float = 0.0
    message: str = ""
