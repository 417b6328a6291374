"""Nested cells: the models that satisfy the first m of one sequence of random parities.

    >>> cells = NestedCells(formula, session, draw_key=parity_rows.derive(7, "example"))
    >>> cells.fill(level=5, limit=73)  # models in cell(5), counted up to 73

Parities are drawn and added as levels ask for them, and each model is found once.
"""

import math
from typing import Any

import numpy as np

from hashing.parity import rows as parity_rows
from inference import answer
from inference.problems import cnf


class OutOfTime(Exception):
    """The deadline passed inside a query."""


class NestedCells:
    """The cells of one sequence of dense parities over the sampling set.

    Args:
      formula: what is counted.
      session: a ``SatSession`` that holds the formula; sequences may follow each other in it.
      draw_key: 128 bits from which the parities derive.

    Attributes:
      largest_log_product: log max |found in cell(m)| 2^m over the levels filled so far, in nats.
    """

    def __init__(self, formula: cnf.CNF, session: Any, draw_key: int) -> None:
        self._session, self._draw_key = session, draw_key
        self._num_columns = len(formula.sampling_set)
        self._group = session.open_group()
        self._switches: list[int] = []
        self._rows, self._rhs = parity_rows.draw_dense(draw_key, 0, self._num_columns)
        self._found = np.zeros((0, parity_rows.num_words(self._num_columns)), dtype=np.uint32)
        self.largest_log_product = -math.inf

    def fill(self, level: int, limit: int, deadline: float = math.inf) -> int:
        """The size of cell(level), or ``limit`` where it is at least that large.

        Models found at other levels that lie in the cell are counted, not searched again.

        Raises:
          OutOfTime: the deadline passed; what was found until then is kept.
        """
        self._add_parities(level)
        known = int(self._inside(level).sum())
        search = self._session.enumerate(
            max(limit - known, 0),
            assumptions=self._switches[:level],
            group=self._group,
            deadline=deadline,
        )
        assert search.assignments is not None  # an enumeration always lists what it found
        self._found = np.concatenate([self._found, parity_rows.pack(search.assignments)])
        size = min(known + search.value, limit)
        if size:
            product = math.log(size) + level * math.log(2)
            self.largest_log_product = max(self.largest_log_product, product)
        if search.status is answer.Status.UNKNOWN:
            raise OutOfTime
        return size

    def models(self, level: int) -> np.ndarray:
        """The models found in cell(level), packed uint32 [N, W]."""
        return self._found[self._inside(level)]

    def close(self) -> None:
        """Takes back the blocking of the models found here."""
        self._session.close_group(self._group)

    def _inside(self, level: int) -> np.ndarray:
        rows, rhs = self._rows[:level], self._rhs[:level]
        return np.all(parity_rows.satisfied(rows, rhs, self._found), axis=1)

    def _add_parities(self, level: int) -> None:
        present = len(self._switches)
        if level > len(self._rows):
            # A longer draw starts with the shorter one; doubling keeps the total work linear.
            self._rows, self._rhs = parity_rows.draw_dense(
                self._draw_key, max(level, 2 * len(self._rows), 16), self._num_columns
            )
        bits = parity_rows.unpack(self._rows[present:level], self._num_columns)
        self._switches += self._session.add_parities(bits, self._rhs[present:level])
