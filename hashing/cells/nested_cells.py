"""Nested cells: the models that satisfy the first m of one sequence of random parities.

    >>> cells = NestedCells(formula, sat.SatSession, draw_key=draws.derive(7, "example"))
    >>> cells.fill(level=5, limit=73)  # models in cell(5), counted up to 73

A solver session serves a window of levels. Its base parities, in reduced row echelon form, hold for
good: with m parities over k variables no row is longer than k - m + 1, and near the end of the
search k - m is small. The parities above the base are reduced by it and switched.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from hashing.parity import draws
from inference import answer, estimate, limits
from inference.oracles import apart, protocol
from inference.problems import cnf, parity_rows

# A session for level m has its base at m - BELOW and serves up to ABOVE levels over its base.
BELOW, ABOVE = 6, 24
BYTES_IN_SOLVER = 16  # for each variable in each parity
_BLOCK_BITS = 1 << 24  # unpacked at once


class Reached(NamedTuple):
    """How far one round got.

    Attributes:
      log_product: log max |found in cell(m)| 2^m over its levels, in nats.
      small_level: the least level whose cell is known to hold at most ``threshold`` models.
    """

    log_product: float = -math.inf
    small_level: float = math.inf


class NestedCells:
    """The cells of one sequence of dense parities over the sampling set.

    Args:
      formula: what is counted.
      open_session: from the formula to what answers as a ``SatSession`` does.
      draw_key: 128 bits from which the parities derive.

    Attributes:
      num_columns: how many variables are hashed.
      reached: what the levels filled so far say about the count.
    """

    def __init__(
        self,
        formula: cnf.CNF,
        open_session: Callable[[cnf.CNF], protocol.SatSession],
        draw_key: int,
    ) -> None:
        self._formula, self._open_session, self._draw_key = formula, open_session, draw_key
        self.num_columns = len(formula.sampling_set)
        self._found = np.zeros((0, parity_rows.num_words(self.num_columns)), dtype=np.uint32)
        self._depths = np.zeros(0, dtype=np.int64)  # leading parities that each model satisfies
        self._session: protocol.SatSession | None = None
        self._closed_calls = 0
        self.reached = Reached()

    @property
    def calls(self) -> int:
        """Solver calls so far."""
        return self._closed_calls + (self._session.calls if self._session else 0)

    def fill(self, level: int, limit: int, deadline: limits.Deadline = limits.NEVER) -> int:
        """The size of cell(level), or ``limit`` where it is at least that large.

        Models found at other levels that lie in the cell are counted, not searched again.

        Raises:
          OutOfTime: the deadline passed; what was found until then is kept.
          MemoryError: the parities would take more than ``parity_rows.MOST_BYTES``.
        """
        known = int((self._depths >= level).sum())
        status = answer.Status.OPTIMAL
        if known < limit and level < self.reached.small_level:
            status, number = self._search(level, limit - known, deadline)
            known += number
        size = min(known, limit)
        product = estimate.log_of_count(size) + level * math.log(2)
        complete = status is answer.Status.OPTIMAL and known < limit
        self.reached = Reached(
            max(self.reached.log_product, product),
            min(self.reached.small_level, level if complete else math.inf),
        )
        if status is answer.Status.UNKNOWN:
            raise limits.OutOfTime
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

    def _search(
        self, level: int, limit: int, deadline: limits.Deadline
    ) -> tuple[answer.Status, int]:
        try:
            deadline.check()
            session = self._session
            if session is None or not self._base <= level <= self._base + ABOVE:
                session = self._open(max(0, level - BELOW), deadline)
        except limits.OutOfTime:
            return answer.Status.UNKNOWN, 0
        if self._contradiction:
            return answer.Status.OPTIMAL, 0
        self._add_switched(session, level)
        switches = self._switches[: level - self._base]
        search = session.enumerate(
            limit, assumptions=switches, group=self._group, deadline=deadline
        )
        assert search.assignments is not None  # an enumeration always lists what it found
        self._store(parity_rows.pack(search.assignments), level)
        return search.status, search.value

    def _open(self, base: int, deadline: limits.Deadline) -> protocol.SatSession:
        """A new session with the first ``base`` parities, without the models known there."""
        self.close()
        self._check_size(base * self.num_columns // 8, base)
        rows, rhs = draws.draw_dense(self._draw_key, base, self.num_columns)
        rows, rhs, pivots = parity_rows.row_reduce(rows, rhs, deadline.check)
        rank = len(pivots)
        self._check_size(rank * (self.num_columns - rank) // 2 * BYTES_IN_SOLVER, base)
        self._base, self._contradiction = base, bool(rhs[rank:].any())
        self._base_rows, self._base_rhs, self._pivots = rows[:rank], rhs[:rank], pivots
        in_parities = rank * (self.num_columns - rank) // 2
        session = apart.open_session(self._open_session, self._formula, in_parities)
        self._session = session
        self._group = session.open_group()
        self._switches: list[int] = []
        if self._contradiction:
            return session
        step = max(1, _BLOCK_BITS // (self.num_columns + 1))
        try:
            for start in range(0, rank, step):
                deadline.check()
                bits = parity_rows.unpack(rows[:rank][start : start + step], self.num_columns)
                session.require(bits, rhs[:rank][start : start + step])
        except BaseException:
            self.close()  # half of the parities are no cell
            raise
        for model in parity_rows.unpack(self._found[self._depths >= base], self.num_columns):
            session.block(model, self._group)
        return session

    def _check_size(self, size: int, level: int) -> None:
        if size > parity_rows.MOST_BYTES:
            raise MemoryError(
                f"{level} parities over {self.num_columns} variables: expected at most "
                f"{parity_rows.MOST_BYTES / 2**30:.3g} GiB for them, given {size / 2**30:.3g}"
            )

    def _add_switched(self, session: protocol.SatSession, level: int) -> None:
        start = self._base + len(self._switches)
        rows, rhs = self._drawn(start, max(0, level - start))
        for row, side in zip(rows, rhs):
            used = parity_rows.unpack(row, self.num_columns)[self._pivots]
            short = row ^ np.bitwise_xor.reduce(self._base_rows[used], axis=0)
            side = side ^ np.logical_xor.reduce(self._base_rhs[used])
            bits = parity_rows.unpack(short[None], self.num_columns)
            self._switches += session.add_parities(bits, np.array([side]))

    def _store(self, found: np.ndarray, level: int) -> None:
        self._found = np.concatenate([self._found, found])
        depths = draws.num_leading(self._drawn, found, level)
        self._depths = np.concatenate([self._depths, depths])

    def _drawn(self, first: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Parities ``first``, ``first + 1`` and so on; counted from 0."""
        return draws.draw_dense(self._draw_key, number, self.num_columns, first=first)
