"""A smaller formula with the same projected models: units, equivalences, bounded elimination.

    >>> formula = cnf.from_clauses([[-3, 1], [-3, 2], [3, -1, -2], [3, 4]], projection=[1, 2, 4])
    >>> simplify(formula, keep=formula.sampling_set).num_clauses  # variable 3 is gone
    2

CaDiCaL's preprocessor works on everything but the variables that are kept. Numbering stays; what
was eliminated occurs in no clause any more. Native XORs stay as they are, their variables kept.

Een and Biere, Effective Preprocessing in SAT Through Variable and Clause Elimination (SAT 2005);
frozen variables: Een and Sorensson, Temporal Induction by Incremental SAT Solving (2003).
"""

import dataclasses
import itertools
import math
import time
from collections.abc import Callable

import numpy as np
import pysolvers
from pysat import solvers

from inference import answer
from inference.problems import cnf
from inference.workers import process

# Up to here even random formulas take only seconds.
MAX_LITERALS = 400_000
# From here on the preprocessor, which takes no limit, may need more than a fraction of a second.
CHILD_LITERALS = 50_000


def simplify(
    formula: cnf.CNF,
    keep: np.ndarray,
    *,
    rounds: int = 1,
    deadline: float = math.inf,
    stop: Callable[[], bool] = lambda: False,
) -> cnf.CNF:
    """The same formula over ``keep``: assignments of these variables extend to a model as before.

    Args:
      formula: what is simplified, returned as it is when it has more than ``MAX_LITERALS``, or when
        the time is too short. A large one is simplified in a child process, which can be ended.
      keep: int [k], variables that are not eliminated.
      rounds: how often everything is tried.
      deadline: a reading of ``time.monotonic()``.
      stop: once it is true, the time is over as at the deadline.
    """
    size, left = formula.clauses.values.size, deadline - time.monotonic()
    if not len(formula.clauses) or size > MAX_LITERALS or left <= 0 or stop():
        return formula
    frozen = np.union1d(keep, formula.xors.values)
    if size < CHILD_LITERALS:
        clauses = _process(formula.clauses, frozen, rounds)
    else:
        timeout = None if left == math.inf else left
        arguments = formula.clauses, frozen, rounds
        solved = process.call(_process, *arguments, timeout=timeout, stop=stop)
        if solved.status is not answer.Status.OPTIMAL:
            return formula
        clauses = solved.value
    return dataclasses.replace(formula, clauses=clauses)


def _process(clauses: cnf.Ragged, frozen: np.ndarray, rounds: int) -> cnf.Ragged:
    try:
        with solvers.Cadical153() as solver:
            for part in clauses.parts():
                solver.append_formula(part)
            # Blocked and covered clauses and autarkies are tied to satisfiability: left out.
            options = dict.fromkeys(("block", "cover", "condition"), False)
            options |= dict.fromkeys(("decompose", "elim", "probe", "probehbr"), True)
            options |= dict.fromkeys(("subsume", "vivify"), True)
            _, simplified = solver.process(rounds, **options, freeze=frozen.tolist())
    except pysolvers.error as error:  # how PySAT's own solvers report Ctrl-C
        raise KeyboardInterrupt from error
    offsets = np.zeros(len(simplified) + 1, dtype=np.int64)
    np.cumsum([len(clause) for clause in simplified], out=offsets[1:])
    values = itertools.chain.from_iterable(simplified)
    return cnf.Ragged(np.fromiter(values, dtype=np.int32), offsets)
