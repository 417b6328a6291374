"""What an oracle for models and one for maxima must offer; any object that does will serve.

    >>> isinstance(sat.SatSession(formula), SatSession)
    True

Counting and sampling by hashing talk to a ``SatSession``, integration by hashing and perturbation
to a ``MapOracle``. What they promise is in the docstrings: an early end weakens an answer and never
makes it wrong.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from inference import answer, limits
from inference.problems import factor_graph


@runtime_checkable
class SatSession(Protocol):
    """A formula inside an incremental solver: ``sat.SatSession`` is the standard one.

    Rows are bool [m, k] over the sampling set, in its order, right sides bool [m], models bool
    [N, k]. ``calls`` is the number of solver calls so far; a session that has ``ended`` finds
    nothing any more.
    """

    @property
    def calls(self) -> int: ...

    @property
    def ended(self) -> bool: ...

    def require(self, rows: np.ndarray, rhs: np.ndarray) -> None:
        """Adds parities for good."""

    def add_parities(self, rows: np.ndarray, rhs: np.ndarray) -> list[int]:
        """Adds parities that hold where their switches, literals, are assumed."""

    def open_group(self) -> int:
        """A switch for blocking clauses."""

    def block(self, model: np.ndarray, group: int) -> None:
        """Excludes an assignment of the sampling set where ``group`` is assumed."""

    def solve(
        self, assumptions: Sequence[int] = (), *, deadline: limits.Deadline = limits.NEVER
    ) -> answer.Answer:
        """One model: OPTIMAL, INFEASIBLE or UNKNOWN."""

    def enumerate(
        self,
        limit: int,
        *,
        assumptions: Sequence[int] = (),
        group: int | None = None,
        deadline: limits.Deadline = limits.NEVER,
    ) -> answer.Answer:
        """Up to ``limit`` models: OPTIMAL where there are no others, FEASIBLE, UNKNOWN."""

    def close(self) -> None:
        """Ends the session."""


@runtime_checkable
class MapOracle(Protocol):
    """A maximiser of the log-score of a factor graph under parity constraints.

    ``exact.exhaustive.maximize`` is the reference.
    """

    def __call__(
        self,
        graph: factor_graph.FactorGraph,
        *,
        rows: np.ndarray | None = None,
        rhs: np.ndarray | None = None,
        seed: int | bytes = 0,
        timeout: float | None = None,
        memory: int | None = None,
    ) -> tuple[answer.Answer, answer.Info]:
        """The best assignment found, and a bound that no feasible one exceeds.

        Args:
          graph: what is maximised.
          rows: bool [m, V], constraints over variables of two states; none by default.
          rhs: bool [m].
          seed: for oracles that draw.
          timeout: seconds; then the best assignment so far, and the bound proven so far.
          memory: mebibytes.

        Returns:
          ``value`` is the score of ``assignments`` [1, V], which satisfy every row; ``bound`` is at
          least the maximum. OPTIMAL where rounding alone stands between the two, INFEASIBLE with
          -inf for both where the rows or hard zeros leave nothing, else FEASIBLE or UNKNOWN.
        """
