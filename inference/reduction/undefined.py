"""Which variables the sampling set does not define: those may have two values beside one of it.

    >>> formula = cnf.from_clauses([[-3, 1], [3, -1], [2, 4]], projection=[1, 2])
    >>> among_those(formula, np.array([3, 4])).tolist()
    [4]

Padoa's test, as in ``definability``: the formula and a copy of it that agrees on the sampling set,
but not on the variable, have no model.
"""

import itertools

import numpy as np
import pysolvers
from pysat import solvers

from inference import limits
from inference.problems import cnf, xor_clauses

# For one variable and for all of them; what hits its limit counts as undefined.
QUERY_CONFLICTS, ALL_CONFLICTS = 500, 20_000


def among_those(
    formula: cnf.CNF, among: np.ndarray, *, deadline: limits.Deadline = limits.NEVER
) -> np.ndarray:
    """Those of some variables that the sampling set may leave open, increasing int32.

    Sound in one direction: all others are defined. The limits count conflicts, so the answer
    depends on the formula alone, unless the deadline passes.
    """
    asked = np.setdiff1d(among, formula.sampling_set).astype(np.int32)
    if not len(asked):
        return asked
    extra, fresh = xor_clauses.encode_formula(formula)
    clauses, shift = cnf.join(formula.clauses, cnf.ragged(extra)), fresh - 1
    copy = cnf.Ragged(clauses.values + np.sign(clauses.values) * shift, clauses.offsets)
    same = [[[-v, v + shift], [v, -v - shift]] for v in formula.sampling_set.tolist()]
    with solvers.Solver(name="minisat22") as solver:
        for part in itertools.chain(clauses.parts(), copy.parts(), same):
            if deadline.has_passed():
                return asked
            solver.append_formula(part)
        return np.array(_open(solver, asked.tolist(), shift, deadline), dtype=np.int32)


def _open(
    solver: solvers.Solver, asked: list[int], shift: int, deadline: limits.Deadline
) -> list[int]:
    """The variables that two models tell apart, and those that were not decided."""
    found, left = list[int](), list(asked)
    while left:
        over = solver.accum_stats()["conflicts"] > ALL_CONFLICTS
        if over or deadline.has_passed():
            return sorted(found + left)
        variable = left.pop()
        solver.conf_budget(QUERY_CONFLICTS)
        try:
            answered = solver.solve_limited([variable, -variable - shift])
        except pysolvers.error as error:  # how PySAT's own solvers report Ctrl-C
            raise KeyboardInterrupt from error
        if answered is False:
            solver.append_formula([[-variable, variable + shift], [variable, -variable - shift]])
            continue
        found.append(variable)
        if answered:  # the pair of models may tell others apart as well
            true = np.array(solver.get_model())
            differ = [v for v in left if (true[v - 1] > 0) != (true[v + shift - 1] > 0)]
            found += differ
            left = [v for v in left if v not in set(differ)]
    return sorted(found)
