"""A session over a known list of models: answers as ``SatSession`` does, without a solver.

It makes thousands of counts affordable, and gives tests of hashing an oracle of their own.
"""

import numpy as np

from inference import answer


def open_session(models, formula):
    """A new session; with ``models`` bound, what a counter opens its sessions with."""
    return EnumeratedSession(models)


class EnumeratedSession:
    """Cells are found by evaluating every parity on every model, prefix by prefix."""

    ended = False

    def __init__(self, models):
        self.calls = 0
        self._models = np.asarray(models, dtype=bool)
        self._parities = {}
        self._alive = {(): np.arange(len(self._models))}
        self._blocked = {}

    def require(self, rows, rhs):
        for row, side in zip(rows, rhs):
            self._alive[()] = self._holding(self._alive[()], row, side)

    def add_parities(self, rows, rhs):
        names = range(len(self._parities), len(self._parities) + len(rows))
        self._parities.update(zip(names, zip(rows, rhs)))
        return list(names)

    def open_group(self):
        group = f"group {len(self._blocked)}"
        self._blocked[group] = np.zeros(len(self._models), dtype=bool)
        return group

    def close_group(self, group):
        del self._blocked[group]

    def block(self, model, group):
        self._blocked[group] |= (self._models == model).all(axis=1)

    def close(self):
        pass

    def enumerate(self, limit, *, assumptions=(), group=None, deadline=None):
        self.calls += 1
        inside = self._inside(tuple(assumptions))
        free = inside if group is None else inside[~self._blocked[group][inside]]
        found = free[:limit]
        if group is not None:
            self._blocked[group][found] = True
        full = len(free) >= limit
        status = answer.Status.FEASIBLE if full else answer.Status.OPTIMAL
        return answer.Answer(status, len(found), assignments=self._models[found])

    def _inside(self, switches):
        if switches not in self._alive:
            earlier = self._inside(switches[:-1])
            self._alive[switches] = self._holding(earlier, *self._parities[switches[-1]])
        return self._alive[switches]

    def _holding(self, models, row, side):
        odd = np.logical_xor.reduce(self._models[models][:, np.asarray(row, dtype=bool)], axis=1)
        return models[odd == side]
