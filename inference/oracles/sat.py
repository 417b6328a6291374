"""One session for every PySAT solver: parities under switches, reversible blocking, time limits.

    >>> session = SatSession(cnf.from_clauses([[1, 2], [-1, 3]]))
    >>> switches = session.add_parities(np.array([[1, 1, 0]]), np.array([True]))
    >>> session.enumerate(10, assumptions=switches).value  # models with x1 xor x2
    3

The formula enters the solver once. A parity is added once, under a switch: a literal that turns it
on where it is assumed. Models found are blocked under a switch of their own, so blocking can be
taken back. Every model is checked against the formula before it counts.
"""

import ctypes
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pysolvers
from pysat import solvers

from inference import answer, limits
from inference.problems import cnf, xor_clauses

# A solver call runs in slices so that Ctrl-C and deadlines are seen between them. CryptoMiniSat
# takes seconds, the others conflicts; both keep what they learnt.
SLICE_SECONDS = 0.5
SLICE_CONFLICTS = 20_000

# How many threads are inside CryptoMiniSat, and the handler of Ctrl-C before the first was.
_lock, _calls, _handler = threading.Lock(), 0, None
ctypes.pythonapi.PyOS_getsig.restype = ctypes.c_void_p
ctypes.pythonapi.PyOS_setsig.argtypes = ctypes.c_int, ctypes.c_void_p
ctypes.pythonapi.PyOS_setsig.restype = ctypes.c_void_p


class SatSession:
    """A formula inside an incremental solver.

    Args:
      formula: what is solved; its weights play no part.
      solver: any name PySAT knows. CryptoMiniSat takes XORs natively, for the others they become
        clauses.

    Attributes:
      calls: number of solver calls so far, slices counted once.
      ended: whether nothing is found any more, whatever is asked.
    """

    ended = False

    def __init__(self, formula: cnf.CNF, solver: str = "cryptominisat5"):
        self._formula = formula
        self._native = solver in solvers.SolverNames.cryptosat
        self._solver = self._open_solver(solver)
        self._last_variable = formula.num_variables
        self._sampling = formula.sampling_set
        self._columns = self._sampling - 1
        self.calls = 0
        self._load()

    def __enter__(self) -> "SatSession":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Gives the solver's memory back; the session is of no use afterwards."""
        self._solver.delete()

    def require(self, rows: np.ndarray, rhs: np.ndarray) -> None:
        """Adds parities over the sampling set for good; arguments as ``add_parities``."""
        for row, side in zip(self._checked_rows(rows), rhs):
            self._add_xor(self._sampling[row].tolist(), bool(side))

    def add_parities(self, rows: np.ndarray, rhs: np.ndarray) -> list[int]:
        """Adds parities over the sampling set, each off until its switch is assumed.

        Args:
          rows: bool [m, k], columns in the order of ``formula.sampling_set``.
          rhs: bool [m].

        Returns:
          One switch per row: a literal for ``assumptions``.
        """
        names = (self._sampling[row].tolist() for row in self._checked_rows(rows))
        return [self._add_switched(variables, side) for variables, side in zip(names, rhs)]

    def open_group(self) -> int:
        """A switch for blocking clauses: they hold where it is assumed."""
        return -self._fresh()

    def close_group(self, group: int) -> None:
        """Takes back every blocking clause under ``group``, for good."""
        self._solver.add_clause([-group])

    def add_clause(self, literals: Sequence[int]) -> None:
        """Adds a clause for good; switches may be among its literals."""
        self._solver.add_clause(list(literals))

    def block(self, model: np.ndarray, group: int) -> None:
        """Excludes one assignment of the sampling set (bool [k]) where ``group`` is assumed."""
        literals = np.where(model, -self._sampling, self._sampling).tolist()
        self._solver.add_clause([*literals, -group])

    def solve(
        self, assumptions: Sequence[int] = (), *, deadline: limits.Deadline = limits.NEVER
    ) -> answer.Answer:
        """One model over the sampling set: OPTIMAL with bool [1, k], INFEASIBLE or UNKNOWN.

        Args:
          assumptions: literals, switches among them.
          deadline: looked at between slices; solvers that take no limit overrun it.

        Raises:
          RuntimeError: the solver returned an assignment that violates the formula.
        """
        start = time.monotonic()
        self.calls += 1
        found = self._run(list(assumptions), deadline)
        seconds = time.monotonic() - start
        if found is None:
            return answer.Answer(answer.Status.UNKNOWN, seconds=seconds)
        if not found:
            return answer.Answer(answer.Status.INFEASIBLE, seconds=seconds)
        model = self._checked_model()[self._columns]
        return answer.Answer(answer.Status.OPTIMAL, 1, assignments=model[None], seconds=seconds)

    def enumerate(
        self,
        limit: int,
        *,
        assumptions: Sequence[int] = (),
        group: int | None = None,
        deadline: limits.Deadline = limits.NEVER,
    ) -> answer.Answer:
        """Up to ``limit`` distinct models over the sampling set.

        Args:
          limit: where to stop.
          assumptions: literals, switches among them.
          group: models blocked under it are left out, and those found stay blocked under it; by
            default a group of this call alone.
          deadline: as for ``solve``.

        Returns:
          ``value`` models in ``assignments`` bool [value, k]. OPTIMAL: there are no others;
          FEASIBLE: stopped at the limit; UNKNOWN: stopped at the deadline.
        """
        start = time.monotonic()
        own = self.open_group() if group is None else group
        models: list[np.ndarray] = []
        status = answer.Status.FEASIBLE
        while len(models) < limit:
            one = self.solve([*assumptions, own], deadline=deadline)
            if one.assignments is None:
                known = one.status is answer.Status.INFEASIBLE
                status = answer.Status.OPTIMAL if known else answer.Status.UNKNOWN
                break
            models.append(one.assignments[0])
            self.block(models[-1], own)
        if group is None:
            self.close_group(own)
        found = np.array(models, dtype=bool).reshape(len(models), len(self._sampling))
        return answer.Answer(
            status, len(models), assignments=found, seconds=time.monotonic() - start
        )

    def _checked_rows(self, rows: np.ndarray) -> np.ndarray:
        rows = np.asarray(rows, dtype=bool)
        if rows.ndim != 2 or rows.shape[1] != len(self._sampling):
            raise ValueError(f"expected rows of {len(self._sampling)} columns, given {rows.shape}")
        return rows

    def _open_solver(self, name: str) -> Any:
        return solvers.Solver(name=name)

    def _add_clauses(self, clauses: list[list[int]]) -> None:
        if not self._native:
            self._solver.append_formula(clauses)
            return
        # The wrapper adds clause by clause in Python; the solver below it takes many at once.
        self._solver.solver.cryptosat.add_clauses([c for c in clauses if c])
        if not all(clauses):
            self._solver.add_clause([])

    def _load(self) -> None:
        for clauses in self._formula.clauses.parts():
            self._add_clauses(clauses)
        if self._last_variable:
            self._introduce(self._last_variable)
        for variables, rhs in zip(self._formula.xors, self._formula.xor_rhs):
            self._add_xor(variables.tolist(), bool(rhs))

    def _introduce(self, variable: int) -> None:
        # A solver knows only the variables that clauses mention, and CryptoMiniSat refuses to
        # assume others.
        self._solver.add_clause([variable, -variable])

    def _fresh(self) -> int:
        self._last_variable += 1
        self._introduce(self._last_variable)
        return self._last_variable

    def _add_switched(self, variables: list[int], rhs: bool) -> int:
        # One more variable in the XOR: assumed false the parity holds, left alone it is free.
        switch = self._fresh()
        self._add_xor([*variables, switch], bool(rhs))
        return -switch

    def _add_xor(self, variables: list[int], rhs: bool) -> None:
        if self._native:
            self._solver.add_xor_clause(variables, rhs)
            return
        first_fresh = self._last_variable + 1
        clauses, next_fresh = xor_clauses.encode(variables, rhs, first_fresh=first_fresh)
        self._last_variable = next_fresh - 1
        self._solver.append_formula(clauses)

    def _run(self, assumptions: list[int], deadline: limits.Deadline) -> bool | None:
        """True, False, or None where the deadline came first."""
        while (left := deadline.left) > 0 and not deadline.stop():
            found = self._solve_slice(assumptions, min(SLICE_SECONDS, left))
            if found is not None:
                return found
        return None

    def _solve_slice(self, assumptions: list[int], seconds: float) -> bool | None:
        if self._native:
            return self._solve_cryptominisat(assumptions, seconds)
        try:
            self._solver.conf_budget(SLICE_CONFLICTS)
            return self._solver.solve_limited(assumptions)
        except NotImplementedError:
            return self._solver.solve(assumptions)
        except pysolvers.error as error:  # how PySAT's own solvers report Ctrl-C
            raise KeyboardInterrupt from error

    def _solve_cryptominisat(self, assumptions: list[int], seconds: float) -> bool | None:
        self._solver.solver.time_budget(seconds)
        self._solver.conf_budget(sys.maxsize)  # the wrapper passes both limits on or neither
        start = time.process_time()
        # While it solves, CryptoMiniSat takes Ctrl-C for itself. Blocked, the signal waits for
        # Python's own handler, unless another thread of the process accepts it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            _keep_handler(+1)
            found = self._solver.solve_limited(assumptions)
        finally:
            _keep_handler(-1)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        # Then the solver returns early; undisturbed it uses all of its limit, counted in CPU time
        # of the process.
        if found is None and time.process_time() - start < 0.95 * seconds:
            raise KeyboardInterrupt
        return found

    def _checked_model(self) -> np.ndarray:
        """The last model as bool [n], after a check against the formula."""
        model = self._read_model()
        if not self._formula.is_satisfied(model):
            raise RuntimeError("the solver returned an assignment that violates the formula")
        return model

    def _read_model(self) -> np.ndarray:
        model = np.zeros(self._formula.num_variables, dtype=bool)
        if self._native:
            values = self._solver.solver.model  # entry v is variable v; a list would cost seconds
            model[:] = np.fromiter(values[1 : len(model) + 1], dtype=bool, count=len(model))
        else:
            literals = np.array(self._solver.get_model(), dtype=np.int64)
            literals = literals[(literals > 0) & (literals <= len(model))]
            model[literals - 1] = True
        return model


def _keep_handler(change: int) -> None:
    """Puts the handler of Ctrl-C back after the last of the calls that overlap in threads.

    Each call puts back what it found, which is the handler of another where they overlap: it would
    stay, and call into a solver that is gone. Ctrl-C is blocked here, so the lock is safe.
    """
    global _calls, _handler
    with _lock:
        if not _calls:
            _handler = ctypes.pythonapi.PyOS_getsig(signal.SIGINT)
        _calls += change
        if not _calls:
            ctypes.pythonapi.PyOS_setsig(signal.SIGINT, _handler)
