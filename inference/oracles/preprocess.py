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

import numpy as np
import pysolvers
from pysat import process

from inference.problems import cnf

# The preprocessor takes no time limit; up to here even random formulas take only seconds.
MAX_LITERALS = 400_000


def simplify(formula: cnf.CNF, keep: np.ndarray, *, rounds: int = 1) -> cnf.CNF:
    """The same formula over ``keep``: assignments of these variables extend to a model as before.

    Args:
      formula: what is simplified, returned as it is when it has more than ``MAX_LITERALS``.
      keep: int [k], variables that are not eliminated.
      rounds: how often everything is tried.
    """
    if not len(formula.clauses) or formula.clauses.values.size > MAX_LITERALS:
        return formula
    frozen = np.union1d(keep, formula.xors.values)
    processor = process.Processor(bootstrap_with=formula.clauses.tolist())
    try:
        # Blocked and covered clauses and autarkies are tied to satisfiability alone: left out.
        simplified = processor.process(
            rounds=rounds, block=False, cover=False, condition=False, freeze=frozen.tolist()
        )
        return dataclasses.replace(formula, clauses=cnf.ragged(simplified.clauses))
    except pysolvers.error as error:  # how PySAT's own solvers report Ctrl-C
        raise KeyboardInterrupt from error
    finally:
        processor.delete()
