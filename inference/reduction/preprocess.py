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

import numpy as np
import pysolvers
from pysat import solvers

from inference import answer, limits
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
    deadline: limits.Deadline = limits.NEVER,
) -> cnf.CNF:
    """The same formula over ``keep``: assignments of these variables extend to a model as before.

    Args:
      formula: what is simplified, returned as it is when it has more than ``MAX_LITERALS``, or when
        the time is too short. A large one is simplified in a child process, which can be ended.
      keep: int [k], variables that are not eliminated.
      rounds: how often everything is tried.
      deadline: when to leave it.
    """
    size = formula.clauses.values.size
    if not len(formula.clauses) or size > MAX_LITERALS or deadline.has_passed():
        return formula
    frozen = np.union1d(keep, formula.xors.values)
    if size < CHILD_LITERALS:
        clauses = _process(formula.clauses, frozen, rounds)
    else:
        arguments, until = (formula.clauses, frozen, rounds), deadline.timeout
        solved = process.call(_process, *arguments, timeout=until, stop=deadline.stop)
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
