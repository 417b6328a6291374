"""Questions to a solver that are short and counted: the same answers on every machine.

    >>> with solvers.Solver(name="minisat22", bootstrap_with=[[1, 2]]) as solver:
    ...     ask(solver, [-1, -2], Budget(1000), conflicts=10)
    False

Work is counted in assigned variables, not in seconds. Only the deadline may end it earlier.
"""

import dataclasses
from typing import Any

import pysolvers

from inference import limits
from inference.problems import cnf

# Assigned variables between two looks at the clock: hundredths of a second.
_SLICE = 100_000


@dataclasses.dataclass
class Budget:
    """What all questions together may still take.

    Attributes:
      left: variables to assign, by assumption or by propagation.
      conflicts: of the solver.
    """

    left: int
    conflicts: int = 100_000

    @property
    def is_spent(self) -> bool:
        return self.left <= 0 or self.conflicts <= 0


def load(solver: Any, clauses: cnf.Ragged, deadline: limits.Deadline) -> None:
    """Adds clauses.

    Raises:
      OutOfTime: before all were added.
    """
    for part in clauses.parts():
        deadline.check()
        solver.append_formula(part)


def ask(
    solver: Any,
    assumptions: list[int],
    budget: Budget,
    *,
    conflicts: int,
    deadline: limits.Deadline = limits.NEVER,
) -> bool | None:
    """Whether there is a model, None where a limit came first.

    Args:
      solver: MiniSat, which keeps to its limits; Glucose looks at them between rare restarts only.
      assumptions: literals.
      budget: what may be spent over all questions; less is left afterwards.
      conflicts: for this question.
      deadline: when to leave it.

    Raises:
      OutOfTime: at the deadline.
    """
    budget.left -= len(assumptions)
    while conflicts > 0 and not budget.is_spent:
        deadline.check()
        before = solver.accum_stats()
        solver.conf_budget(conflicts)
        solver.prop_budget(min(_SLICE, budget.left))
        try:
            answer = solver.solve_limited(assumptions)
        except pysolvers.error as error:  # how PySAT's own solvers report Ctrl-C
            raise KeyboardInterrupt from error
        after = solver.accum_stats()
        # At least one, so that a question ends whatever the solver counts.
        budget.left -= max(1, after["propagations"] - before["propagations"])
        spent = after["conflicts"] - before["conflicts"]
        conflicts, budget.conflicts = conflicts - spent, budget.conflicts - spent
        if answer is not None:
            return answer
    return None
