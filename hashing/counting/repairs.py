"""Proofs that variables are free: wherever one is flipped, flipping some others repairs the model.

    >>> prover = Prover([[-3, 1, 2], [3, -1], [3, -2]], 3, fixed=[1, 2], solver="cadical153")
    >>> prover.is_free(1)  # flip 3 with it, unless 2 is true
    True

A variable is *free* where every model has a partner that differs in it and agrees on the other
fixed variables. A *repair* is a set of variables to flip, that one among them. A solver looks for a
model around which all known repairs fail. Close to it there is another repair, which excludes that
model from then on, or there is no partner. Where no such model is left the variable is free:
refinement by counterexamples, as in Janota, Klieber, Marques-Silva and Clarke, Solving QBF with
Counterexample Guided Refinement (SAT 2012).
"""

import math
from collections.abc import Iterable

import numpy as np

from inference import answer, limits
from inference.oracles import protocol, sat
from inference.problems import cnf

# For one variable; where few variables depend on it, few are needed.
MAX_REPAIRS = 200


class Prover:
    """Clauses whose free variables are to be proven free.

    Args:
      clauses: signed literals.
      num_variables: those that the clauses may mention, from 1.
      fixed: the variables that partners agree on; those proven free join them.
      solver: any name PySAT knows.
    """

    def __init__(
        self, clauses: list[list[int]], num_variables: int, fixed: Iterable[int], solver: str
    ) -> None:
        self._clauses, self._fixed, self._solver = clauses, set(fixed), solver
        self._mentions: list[list[int]] = [[] for _ in range(num_variables + 1)]
        for index, clause in enumerate(clauses):
            for variable in {abs(x) for x in clause}:
                self._mentions[variable].append(index)
        formula = cnf.from_clauses(clauses, num_variables=num_variables)
        self._session = sat.SatSession(formula, solver=solver)

    def close(self) -> None:
        """Ends the solver session."""
        self._session.close()

    def is_free(self, variable: int, deadline: limits.Deadline = limits.NEVER) -> bool:
        """Whether every model has a partner.

        From then on the variable is fixed. So the variables asked about one after the other are
        free together: the first can be set to any value, the second without touching the first.

        Raises:
          OutOfTime: at the deadline, or after ``MAX_REPAIRS``.
        """
        self._fixed.add(variable)
        switch = self._session.open_group()
        for _ in range(MAX_REPAIRS):
            model = _model(self._session, [switch], deadline)
            if model is None:
                self._session.close_group(switch)
                return True
            repair = self._repair(variable, model, deadline)
            if repair is None:
                return False
            self._exclude(repair, switch)
        raise limits.OutOfTime

    def _repair(
        self, variable: int, model: np.ndarray, deadline: limits.Deadline
    ) -> set[int] | None:
        """What to flip around a model, as close to the variable as there is anything."""
        value = model.copy()
        value[variable - 1] ^= True
        released: set[int] = set()
        while True:
            clauses = self._touched([variable, *released])
            flips = self._flips(clauses, value, sorted(released), deadline)
            if flips is not None:
                return {variable, *flips}
            wider = {abs(x) for clause in clauses for x in clause} - self._fixed
            if wider == released:
                return None
            released = wider

    def _flips(
        self,
        clauses: list[list[int]],
        value: np.ndarray,
        released: list[int],
        deadline: limits.Deadline,
    ) -> list[int] | None:
        """Few of the released variables whose flip satisfies the clauses; None if none do."""
        column = {variable: i for i, variable in enumerate(released)}
        open_clauses = [
            [int(math.copysign(column[abs(x)] + 1, x)) for x in clause if abs(x) in column]
            for clause in clauses
            if not any(abs(x) not in column and value[abs(x) - 1] == (x > 0) for x in clause)
        ]
        local = cnf.from_clauses(open_clauses, num_variables=len(released))
        start = value[np.array(released, dtype=int) - 1]
        same = np.where(start, 1, -1) * np.arange(1, len(released) + 1)
        with sat.SatSession(local, solver=self._solver) as session:
            found = _model(session, [], deadline)
            if found is None:
                return None
            for i in np.flatnonzero(found != start):  # fewer flips repair more models
                kept = same[(found == start) | (np.arange(len(start)) == i)].tolist()
                fewer = _model(session, kept, deadline) if found[i] != start[i] else None
                found = found if fewer is None else fewer
        return [released[i] for i in np.flatnonzero(found != start)]

    def _exclude(self, repair: set[int], switch: int) -> None:
        """From now on some clause fails after the repair, where ``switch`` is assumed."""
        marks = []
        for clause in self._touched(repair):
            marks.append(-self._session.open_group())
            for x in clause:
                self._session.add_clause([-marks[-1], x if abs(x) in repair else -x])
        self._session.add_clause([*marks, -switch])

    def _touched(self, variables: Iterable[int]) -> list[list[int]]:
        """The clauses that mention any of the variables, in their order."""
        indices = {i for variable in variables for i in self._mentions[variable]}
        return [self._clauses[i] for i in sorted(indices)]


def _model(
    session: protocol.SatSession, assumptions: list[int], deadline: limits.Deadline
) -> np.ndarray | None:
    """A model, bool [n], or None where there is none."""
    found = session.solve(assumptions, deadline=deadline)
    if found.status is answer.Status.UNKNOWN:
        raise limits.OutOfTime
    return None if found.assignments is None else found.assignments[0]
