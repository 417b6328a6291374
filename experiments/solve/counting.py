"""The count of a formula, by one method or by two that race.

>>> result, info = count(cnf.from_clauses([[3, 4]], num_variables=7))
>>> result.count, info.method
(96, 'ganak')
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.solve import count_methods, formulas, methods, race
from experiments.solve.info import Info
from inference import estimate
from inference.problems import trivial
from inference.workers import process


def count(
    formula: Any,
    *,
    seed: int = 0,
    timeout: float | None = None,
    memory: int | None = None,
    method: str = "auto",
    epsilon: float = 0.8,
    delta: float = 0.2,
    assumptions: Sequence[int] = (),
    weights: Mapping[int, float] | None = None,
    jobs: int = 1,
    checkpoint: str | os.PathLike | None = None,
    reduction: Any = None,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[estimate.Estimate, Info]:
    """The (weighted, projected) model count of a formula.

    Args:
      formula: with weights it is integrated, without them counted. A ``cnf.CNF``, the path of a
        DIMACS file, lists of signed literals, or a formula of PySAT.
      method: a key of ``methods.lines("count")``.
      epsilon: tolerance of approximate answers.
      delta: their probability of failure.
      assumptions: literals that hold in the models that are counted.
      weights: the weight of literals, in place of those of the formula; rules and errors are those
        of ``formulas.with_weights``.
      seed: equal seeds give equal answers, except where a time limit cuts or, with ``auto``, where
        two methods race: which of their answers comes first is up to the machine.
      timeout: seconds; then the best valid claim so far.
      memory: mebibytes that each process of the count may take beyond what it has when it starts;
        then the best valid claim so far, and the status "failed".
      jobs: processes that hash where it takes longer than a second; the answer does not depend on
        it. A script that asks for more than one needs the guard ``if __name__ == "__main__"``.
      checkpoint: a file for ``approxmc.count`` to resume from.
      reduction: of ``support.reduce``, where it is known already.
      progress: called with a line that says where the count is; not where memory is limited.

    Raises:
      ValueError: unknown method, or one that cannot answer this question; what was given is no
        formula, or the memory too small to start with.
    """
    chosen = methods.find("count", method)
    if checkpoint is not None and method not in ("auto", "approxmc"):
        raise ValueError(f"expected approxmc or auto for a checkpoint, given {method}")
    process.check_memory(memory)
    start, formula = time.monotonic(), formulas.with_weights(formulas.read(formula), weights)
    limits: dict[str, Any] = {"timeout": timeout, "memory": memory}
    options: dict[str, Any] = {"seed": seed, "epsilon": epsilon, "delta": delta, "jobs": jobs}
    options |= {"assumptions": tuple(assumptions), "checkpoint": checkpoint, "reduction": reduction}
    assumed = formulas.assume(formula, assumptions)
    if chosen is None and formula.log_weights is not None:
        chosen = methods.find("count", "ganak")
    try:
        if chosen is None:
            return race.run(formula, assumed, limits, options, progress)
        if chosen.name == "ganak":
            progress("ganak")
            return count_methods.exactly(assumed, seed, **limits)
        return count_methods.within(formula, chosen.name, options | limits, progress=progress)
    except KeyboardInterrupt:
        return trivial.count(formula), Info(
            "interrupted", time.monotonic() - start, method, 0, seed
        )
