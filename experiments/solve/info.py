"""How an answer came about, whatever the question."""

import math
from typing import Any, NamedTuple

from inference import estimate


class Info(NamedTuple):
    """How an answer came about.

    Attributes:
      status: "done", "timeout", "interrupted" or "failed" (a worker died).
      seconds: wall time.
      method: the one that answered.
      oracle_calls: of a solver.
      seed: None where nothing was drawn.
      message: what else there is to know.
      claim: of marginals; an ``Estimate`` carries its own.
      error: of marginals whose claim is certain, how far off each may be at most.
      converged: of what iterates; None where nothing does.
      ess, rhat: of samples, the least effective sample size and the largest R-hat.
    """

    status: str
    seconds: float
    method: str
    oracle_calls: int = 0
    seed: Any = None
    message: str = ""
    claim: estimate.Claim = estimate.Claim.NONE
    error: float = math.inf
    converged: bool | None = None
    ess: float = math.nan
    rhat: float = math.nan

    def __str__(self) -> str:
        calls = f", oracle calls {self.oracle_calls}" if self.oracle_calls else ""
        told = f"; {self.message}" if self.message else ""
        return f"{self.method}, {self.status}, {self.seconds:.2f} s{calls}, seed {self.seed}{told}"
