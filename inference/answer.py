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
