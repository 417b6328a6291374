"""A session for parities that are used for a while and then left switched off.

    >>> session = RenewedSession(formula, sat.SatSession)
    >>> session.renew()
    >>> switches = session.add_parities(rows, rhs)

Parities that are switched off still cost the solver time, so it is opened anew after some of them.
"""

from collections.abc import Callable, Sequence

import numpy as np

from inference import answer, limits
from inference.oracles import apart, protocol
from inference.problems import cnf

# The solver is opened anew after so many parities, and later where the formula is large, because
# loading it costs time as well.
ROWS_PER_SESSION, CLAUSES_PER_ROW = 500, 10


class RenewedSession:
    """What stays the same where the session below it is opened anew.

    Args:
      formula: what is solved.
      open_session: from the formula to a session.
    """

    def __init__(
        self, formula: cnf.CNF, open_session: Callable[[cnf.CNF], protocol.SatSession]
    ) -> None:
        self._formula, self._open_session = formula, open_session
        self._most_rows = max(ROWS_PER_SESSION, formula.num_clauses // CLAUSES_PER_ROW)
        self._num_rows = self._earlier_calls = 0
        self._session = self._open()

    @property
    def calls(self) -> int:
        """Solver calls so far."""
        return self._earlier_calls + self._session.calls

    def renew(self) -> None:
        """Opens the session anew if it holds many parities or ended; earlier switches are lost."""
        if self._num_rows >= self._most_rows or self._session.ended:
            self._earlier_calls += self._session.calls
            self.close()
            self._session, self._num_rows = self._open(), 0

    def close(self) -> None:
        """Gives the solver back."""
        self._session.close()

    def add_parities(self, rows: np.ndarray, rhs: np.ndarray) -> list[int]:
        """As a session does."""
        self._num_rows += len(rows)
        return self._session.add_parities(rows, rhs)

    def enumerate(
        self,
        limit: int,
        *,
        assumptions: Sequence[int] = (),
        deadline: limits.Deadline = limits.NEVER,
    ) -> answer.Answer:
        """As a session does."""
        return self._session.enumerate(limit, assumptions=assumptions, deadline=deadline)

    def _open(self) -> protocol.SatSession:
        return apart.open_session(self._open_session, self._formula)
