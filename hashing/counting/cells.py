"""Nested cells: the models that satisfy the first m of one sequence of random parities.

    >>> cells = NestedCells(formula, sat.SatSession, draw_key=parity_rows.derive(7, "example"))
    >>> cells.fill(level=5, limit=73)  # models in cell(5), counted up to 73

A solver session serves a window of levels. Its base parities, in reduced row echelon form, hold for
good: with m parities over k variables no row is longer than k - m + 1, and near the end of the
search k - m is small. The parities above the base are reduced by it and switched.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hashing.counting import anytime
from hashing.parity import rows as parity_rows
from inference import answer, estimate
from inference.problems import cnf

# A session for level m has its base at m - BELOW and serves up to ABOVE levels over its base.
BELOW, ABOVE = 6, 24


class OutOfTime(Exception):
    """The deadline passed inside a query."""


class NestedCells:
    """The cells of one sequence of dense parities over the sampling set.

    Args:
      formula: what is counted.
      open_session: from the formula to what answers as a ``SatSession`` does.
      draw_key: 128 bits from which the parities derive.
      assumptions: literals that hold in every cell.
      stop: once it is true, queries end as at a deadline.

    Attributes:
      num_columns: how many variables are hashed.
      reached: what the levels filled so far say about the count.
    """

    def __init__(
        self,
        formula: cnf.CNF,
        open_session: Callable[[cnf.CNF], Any],
        draw_key: int,
        *,
        assumptions: Sequence[int] = (),
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._formula, self._open_session, self._draw_key = formula, open_session, draw_key
        self._assumptions, self._stop = list(assumptions), stop
        self.num_columns = len(formula.sampling_set)
        self._rows, self._rhs = parity_rows.draw_dense(
            draw_key, self.num_columns + 32, self.num_columns
        )
        self._found = np.zeros((0, parity_rows.num_words(self.num_columns)), dtype=np.uint32)
        self._depths = np.zeros(0, dtype=np.int64)  # leading parities that each model satisfies
        self._session: Any = None
        self._closed_calls = 0
        self.reached = anytime.Reached()

    @property
    def calls(self) -> int:
        """Solver calls so far."""
        return self._closed_calls + (self._session.calls if self._session else 0)

    def fill(self, level: int, limit: int, deadline: float = math.inf) -> int:
        """The size of cell(level), or ``limit`` where it is at least that large.

        Models found at other levels that lie in the cell are counted, not searched again.

        Raises:
          OutOfTime: the deadline passed; what was found until then is kept.
        """
        known = int((self._depths >= level).sum())
        status = answer.Status.OPTIMAL
        if known < limit and level < self.reached.small_level:
            status, number = self._search(level, limit - known, deadline)
            known += number
        size = min(known, limit)
        product = estimate.log_of_count(size) + level * math.log(2)
        complete = status is answer.Status.OPTIMAL and known < limit
        self.reached = anytime.Reached(
            max(self.reached.log_product, product),
            min(self.reached.small_level, level if complete else math.inf),
        )
        if status is answer.Status.UNKNOWN:
            raise OutOfTime
        return size

    def models(self, level: int) -> np.ndarray:
        """The models found in cell(level), packed uint32 [N, W]."""
        return self._found[self._depths >= level]

    def close(self) -> None:
        """Ends the solver session."""
        if self._session is not None:
            self._closed_calls += self._session.calls
            self._session.close()
            self._session = None

    def _search(self, level: int, limit: int, deadline: float) -> tuple[answer.Status, int]:
        if time.monotonic() >= deadline or self._stop():
            return answer.Status.UNKNOWN, 0
        if self._session is None or not self._base <= level <= self._base + ABOVE:
            self._open(max(0, level - BELOW))
        if self._contradiction:
            return answer.Status.OPTIMAL, 0
        self._add_switched(level)
        switches = self._switches[: level - self._base]
        search = self._session.enumerate(
            limit, assumptions=self._assumptions + switches, group=self._group, deadline=deadline
        )
        self._store(parity_rows.pack(search.assignments), level)
        return search.status, search.value

    def _open(self, base: int) -> None:
        """A new session with the first ``base`` parities, without the models known there."""
        self.close()
        self._session, self._base = self._open_session(self._formula), base
        self._session.stop = self._stop
        self._group = self._session.open_group()
        self._switches: list[int] = []
        self._draw(base)
        rows, rhs, pivots = parity_rows.row_reduce(self._rows[:base], self._rhs[:base])
        rank = len(pivots)
        self._contradiction = bool(rhs[rank:].any())
        self._base_rows, self._base_rhs, self._pivots = rows[:rank], rhs[:rank], pivots
        if self._contradiction:
            return
        self._session.require(parity_rows.unpack(rows[:rank], self.num_columns), rhs[:rank])
        for model in parity_rows.unpack(self._found[self._depths >= base], self.num_columns):
            self._session.block(model, self._group)

    def _add_switched(self, level: int) -> None:
        self._draw(level)
        start = self._base + len(self._switches)
        for row, side in zip(self._rows[start:level], self._rhs[start:level]):
            bits = parity_rows.unpack(row, self.num_columns)
            used = bits[self._pivots]
            short = row ^ np.bitwise_xor.reduce(self._base_rows[used], axis=0)
            side = side ^ np.logical_xor.reduce(self._base_rhs[used])
            bits = parity_rows.unpack(short[None], self.num_columns)
            self._switches += self._session.add_parities(bits, [side])

    def _store(self, found: np.ndarray, level: int) -> None:
        self._found = np.concatenate([self._found, found])
        self._depths = np.concatenate([self._depths, self._depth(found, level)])

    def _depth(self, models: np.ndarray, start: int) -> np.ndarray:
        """How many leading parities hold, for models that satisfy the first ``start``."""
        holds = parity_rows.satisfied(self._rows[start:], self._rhs[start:], models)
        ends = np.concatenate([holds, np.zeros((len(models), 1), dtype=bool)], axis=1)
        return start + np.argmin(ends, axis=1)

    def _draw(self, level: int) -> None:
        if level > len(self._rows):
            # A longer draw starts with the shorter one.
            self._rows, self._rhs = parity_rows.draw_dense(
                self._draw_key, 2 * level, self.num_columns
            )
            self._depths = self._depth(self._found, 0)
