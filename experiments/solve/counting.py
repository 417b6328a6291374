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

EPSILON, DELTA = 0.8, 0.2


def count(
    formula: Any,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    method: str = "auto",
    epsilon: float | None = None,
    delta: float | None = None,
    assumptions: Sequence[int | str] = (),
    weights: Mapping[int, float] | None = None,
    jobs: int = 1,
    checkpoint: str | os.PathLike | None = None,
    reduction: Any = None,
    witness: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[estimate.Estimate, Info]:
    """The (weighted, projected) model count of a formula.

    Args:
      formula: with weights it is integrated, without them counted. A ``cnf.CNF``, the path of a
        DIMACS file, lists of signed literals, or a formula of PySAT.
      seed: equal seeds give equal answers, except where a time limit cuts or, with ``auto``, where
        two methods race: which of their answers comes first is up to the machine.
      timeout: seconds; then the best valid claim so far.
      memory: mebibytes that each process of the count may take beyond what it has when it starts;
        then the best valid claim so far, and the status "failed".
      method: a key of ``methods.lines("count")``.
      epsilon: tolerance of approximate answers, by default 0.8.
      delta: their probability of failure, by default 0.2. Exact answers keep any.
      assumptions: literals that hold in the models that are counted: numbers, or the names that
        the formula has for its variables.
      weights: the weight of literals, in place of those of the formula; rules and errors are those
        of ``formulas.with_weights``.
      jobs: processes that hash where it takes longer than a second; the answer does not depend on
        it. A script that asks for more than one needs the guard ``if __name__ == "__main__"``.
      checkpoint: a file for ``approxmc.count`` to resume from.
      reduction: of ``support.reduce``, where it is known already.
      witness: hashing keeps what ``tally verify`` checks: it then counts no components apart, which
        may take longer.
      progress: called with a line that says where the count is; not where memory is limited.

    Raises:
      ValueError: unknown method, or one that cannot answer this question or does not take what was
        given; what was given is no formula, or the memory too small to start with.
    """
    chosen = methods.find("count", method)
    process.check_memory(memory)
    start, formula = time.monotonic(), formulas.with_weights(formulas.read(formula), weights)
    asked = "auto" if chosen is None else chosen.name
    options = {"epsilon": epsilon, "delta": delta, "checkpoint": checkpoint, "reduce": reduction}
    _check(asked, options, jobs, formula.log_weights is not None)
    given: dict[str, Any] = {"seed": seed, "timeout": timeout, "memory": memory, "jobs": jobs}
    held = tuple(formulas.literals(formula, assumptions))
    given |= {"assumptions": held, "progress": progress}
    if witness:
        from hashing.counting import products

        given["split"] = products.whole
    given |= options | {"epsilon": epsilon or EPSILON, "delta": delta or DELTA}
    try:
        if chosen is None:
            return race.run(formula, **given)
        result, info = count_methods.ask(chosen, formula, **given)
    except KeyboardInterrupt:
        seconds = time.monotonic() - start
        return trivial.count(formula), Info("interrupted", seconds, method, seed=seed)
    if info.status == "failed" and chosen.name == "ganak":  # there is no part of its answer
        raise ValueError(f"ganak failed: {info.message}")
    return result, info


def _check(method: str, options: dict[str, Any], jobs: int, weighted: bool) -> None:
    """Raises ValueError for what the method does not take, or values out of range."""
    for option, value in options.items():
        taking = methods.taking(option, weighted)
        if value is not None and method not in taking:
            name = "reduction" if option == "reduce" else option
            raise ValueError(f"expected {_either(taking)} for {name}, given {method}")
    epsilon, delta = options["epsilon"], options["delta"]
    if epsilon is not None and not epsilon > 0:
        raise ValueError(f"expected epsilon > 0, given {epsilon}")
    if delta is not None and not 0 < delta < 1:
        raise ValueError(f"expected delta in (0, 1), given {delta}")
    if jobs < 1:
        raise ValueError(f"expected at least 1 job, given {jobs}")


def _either(names: Sequence[str]) -> str:
    """One or several names as a phrase."""
    *some, last = names
    return f"{', '.join(some)} or {last}" if some else last
