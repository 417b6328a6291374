"""Variables that no others define, by models: a second one differs in the variable alone.

    >>> formula = cnf.from_clauses([[-3, 1], [-3, 2], [3, -1, -2], [3, 4]])
    >>> with Models(formula, questions.Budget(1000)) as models:
    ...     models.undefined([1, 2, 4])
    [1, 2, 4]

First without a question: where each clause of a variable holds by another literal too, the variable
may change by itself. Then by one question for each variable that is left, most of which propagation
answers: all others as in a model, this one not.
"""

from types import TracebackType

import numpy as np
from pysat import solvers

from inference import limits
from inference.problems import cnf
from inference.reduction import questions

# Models with phases drawn at random, and how many of them in a row may show nothing new.
MODELS, PATIENCE = 30, 4
FIXED = 2  # of them that questions fix
# For one model, and for one question.
MODEL_CONFLICTS, FLIP_CONFLICTS = 2_000, 20


class Models:
    """Some models of a formula without XORs, whose clauses repeat no literal; a context.

    Attributes:
      satisfiable: None where that was not found out.
      flips_alone: bool [n + 1], entry 0 unused: a variable that no others define.
    """

    def __init__(
        self,
        formula: cnf.CNF,
        budget: questions.Budget,
        deadline: limits.Deadline = limits.NEVER,
    ):
        self._budget, self._deadline = budget, deadline
        self.satisfiable: bool | None = None
        self.flips_alone = np.zeros(formula.num_variables + 1, dtype=bool)
        self._models: list[np.ndarray] = []
        self._solver = solvers.Solver(name="minisat22")
        try:
            self._search(formula.clauses)
        except BaseException:
            self._solver.delete()
            raise

    def __enter__(self) -> "Models":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._solver.delete()

    def undefined(self, kept: list[int]) -> list[int]:
        """Those of the variables that the others of them do not define, as far as it is found.

        Raises:
          OutOfTime: at the deadline.
        """
        found = {v for v in kept if self.flips_alone[v]}
        for model in self._models[:FIXED]:
            literals = [v if model[v] else -v for v in kept]
            for place, variable in enumerate(kept):
                if variable in found:
                    continue
                if self._budget.is_spent:
                    break
                literals[place] = -literals[place]
                if self._ask(literals, FLIP_CONFLICTS):
                    found.add(variable)
                literals[place] = -literals[place]
        return [v for v in kept if v in found]

    def _search(self, clauses: cnf.Ragged) -> None:
        questions.load(self._solver, clauses, self._deadline)
        n = len(self.flips_alone) - 1
        if n:  # MiniSat takes phases of variables that it knows only
            self._solver.add_clause([n, -n])
        variables = np.arange(1, n + 1)
        rng, patience = np.random.default_rng(0), PATIENCE
        for _ in range(MODELS):
            signs = np.where(rng.random(n) < 0.5, 1, -1)
            self._solver.set_phases((signs * variables).tolist())
            found = self._ask([], MODEL_CONFLICTS)
            if not found:
                self.satisfiable = found if not self._models else True
                return
            self.satisfiable = True
            model = np.zeros(n + 1, dtype=bool)
            literals = np.array(self._solver.get_model(), dtype=np.int64)
            model[literals[(literals > 0) & (literals <= n)]] = True
            self._models.append(model)
            shown = ~_is_needed(clauses, model) & ~self.flips_alone
            self.flips_alone |= shown
            patience = PATIENCE if shown.any() else patience - 1
            if not patience:
                return

    def _ask(self, assumptions: list[int], conflicts: int) -> bool | None:
        return questions.ask(
            self._solver, assumptions, self._budget, conflicts=conflicts, deadline=self._deadline
        )


def _is_needed(clauses: cnf.Ragged, model: np.ndarray) -> np.ndarray:
    """By variable, entry 0 true, whether some clause holds by it alone: bool, as the model."""
    literals, sizes = clauses.values, np.diff(clauses.offsets)
    owner = np.repeat(np.arange(len(clauses)), sizes)
    holds = model[np.abs(literals)] == (literals > 0)
    others = np.bincount(owner[holds], minlength=len(clauses))[owner]
    needed = np.zeros(len(model), dtype=bool)
    needed[0] = True
    needed[np.abs(literals[holds & (others == 1)])] = True
    return needed
