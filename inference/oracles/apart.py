"""A SAT session whose solver runs in a process of its own, which can be ended.

    >>> with apart.Session(formula) as session:  # in little over 3 s
    ...     session.enumerate(10**6, deadline=limits.Deadline.after(3.0)).value

While it prepares many parities, CryptoMiniSat looks at no clock, for minutes if need be. Whatever
still runs a moment after the deadline is killed, and the session has ended. Starting a process
takes a quarter of a second, so this is for large formulas, and the process of a session that was
closed serves the next one.
"""

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import connection
from typing import Any

import numpy as np

from inference import limits
from inference.oracles import protocol, sat
from inference.problems import cnf
from inference.workers import process

# A solver may overrun by seconds where so many literals, and so many of them in parities, come
# together. Short parities over a large circuit do no harm, and each question there and back costs.
LITERALS, IN_PARITIES = 50_000, 10_000
# What a solver that looks at the clock may be late by, and how often its parent looks.
GRACE_SECONDS, POLL_SECONDS = 0.2, 0.02
_MESSAGES = 1000  # sent at once

_spare: list["_SolverProcess"] = []


def open_session(
    opener: Callable[[cnf.CNF], protocol.SatSession],
    formula: cnf.CNF,
    in_parities: int = IN_PARITIES,
) -> protocol.SatSession:
    """What ``opener`` opens; a plain ``SatSession`` of a large formula in a process of its own.

    ``in_parities`` is how many literals the parities will have that come later, by default many.
    """
    literals = formula.clauses.values.size + in_parities
    is_large = literals >= LITERALS and in_parities >= IN_PARITIES
    return Session(formula) if is_large and opener is sat.SatSession else opener(formula)


def release() -> None:
    """Ends processes that wait for a next session."""
    while _spare:
        _spare.pop().kill()


class Session(sat.SatSession):
    """As ``SatSession``; ``ended`` once the process was killed."""

    def __init__(self, formula: cnf.CNF, solver: str = "cryptominisat5"):
        self._child = _spare.pop() if _spare else _SolverProcess()
        super().__init__(formula, solver)

    @property
    def ended(self) -> bool:  # type: ignore[override]
        return self._child.ended

    def close(self) -> None:
        """Leaves the process to the next session."""
        self._child.tell("close")
        if not self._child.ended:
            self._child.flush()
            _spare.append(self._child)
            self._child = _SolverProcess.none()

    def _open_solver(self, name: str) -> Any:
        self._child.tell("open", name, self._formula.num_variables)
        return _Solver(self._child)

    def _add_clauses(self, clauses: list[list[int]]) -> None:
        self._child.tell("_add_clauses", clauses)

    def _run(self, assumptions: list[int], deadline: limits.Deadline) -> bool | None:
        if deadline.has_passed():
            return None
        found, self._model = self._child.ask(assumptions, deadline)
        return found

    def _read_model(self) -> np.ndarray:
        bits = np.frombuffer(self._model, dtype=np.uint8)
        return np.unpackbits(bits, count=self._formula.num_variables).astype(bool)


class _Solver:
    """Takes what a PySAT solver takes, for the one in the child."""

    def __init__(self, child: "_SolverProcess") -> None:
        self._child = child

    def add_clause(self, clause: list[int]) -> None:
        self._child.tell("_add_clauses", [clause])

    def append_formula(self, clauses: list[list[int]]) -> None:
        self._child.tell("_add_clauses", clauses)

    def add_xor_clause(self, variables: list[int], rhs: bool) -> None:
        self._child.tell("_add_xor", variables, rhs)


class _SolverProcess:
    """The process and what was not sent to it yet."""

    def __init__(self) -> None:
        self.ended, self._size = False, 0
        self._messages: list[tuple] = []
        here, there = multiprocessing.Pipe()
        self._connection: Any = here
        # Ctrl-C is for the parent, also in threads that numpy starts.
        with there, process.without_ctrl_c():
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "inference.oracles.apart", str(there.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=process.environment(),
                pass_fds=[there.fileno()],
                start_new_session=True,
            )

    @classmethod
    def none(cls) -> "_SolverProcess":
        """One that has ended."""
        child = cls.__new__(cls)
        child.ended = True
        return child

    def tell(self, name: str, *arguments: Any) -> None:
        """Something that needs no reply."""
        if not self.ended:
            self._messages.append((name, *arguments))
            self._size += sum(len(x) for x in arguments if isinstance(x, list))
            if len(self._messages) >= _MESSAGES or self._size >= 100 * _MESSAGES:
                self.flush()

    def flush(self) -> None:
        messages, self._messages, self._size = self._messages, [], 0
        try:
            self._connection.send(messages)
        except OSError as error:
            self._die(error)

    def ask(self, assumptions: list[int], deadline: limits.Deadline) -> tuple[bool | None, bytes]:
        """Whether there is a model, and its packed bits; None where it was too late."""
        if self.ended:
            return None, b""
        self.tell("run", assumptions, deadline.at)
        try:
            self.flush()
            while not self._connection.poll(POLL_SECONDS):
                if deadline.stop() or time.monotonic() > deadline.at + GRACE_SECONDS:
                    self.kill()
                    return None, b""
            reply = self._connection.recv()
        except (EOFError, OSError) as error:
            self._die(error)
        except BaseException:  # Ctrl-C: its reply would be taken for that to the next question
            self.kill()
            raise
        if isinstance(reply, BaseException):
            raise reply
        return reply

    def kill(self) -> None:
        if not self.ended:
            self.ended = True
            self._connection.close()
            self._process.kill()
            self._process.wait()

    def __del__(self) -> None:
        self.kill()

    def _die(self, error: Exception) -> None:
        self.kill()
        raise MemoryError("the solver's process ended, most likely for want of memory") from error


def _main() -> None:
    """The child: does what it is told until its parent closes the connection."""
    process.limit(None)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # solvers print
    parent = connection.Connection(int(sys.argv[1]))
    session: Any = None
    while True:
        try:
            messages = parent.recv()
        except EOFError:
            return
        for name, *arguments in messages:
            if name == "open":
                session = _open(*arguments)
            elif name == "run":
                parent.send(_reply(session, *arguments))
            else:
                getattr(session, name)(*arguments)


def _open(solver: str, num_variables: int) -> sat.SatSession:
    session = sat.SatSession(cnf.from_clauses([]), solver)
    # The parent knows the clauses and checks models; here only the number of variables counts.
    session._formula = cnf.from_clauses([], num_variables=num_variables)
    return session


def _reply(session: sat.SatSession, assumptions: list[int], end: float) -> Any:
    try:
        found = session._run(assumptions, limits.Deadline(end))
        return found, np.packbits(session._read_model()).tobytes() if found else b""
    except KeyboardInterrupt:  # a solver that returned early
        return None, b""
    except Exception as error:
        return error


if __name__ == "__main__":
    _main()
