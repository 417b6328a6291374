"""Where flat-histogram walkers start: anywhere, and half of them at models a solver finds.

A walk that has to find energy 0 by itself may never do so; one that starts there needs only to
leave and come back. That counts no set of models a walk cannot reach: ``Info.round_trips`` tells.
"""

import dataclasses

import numpy as np

from inference import limits
from inference.oracles import sat
from inference.problems import cnf

SOLVER = "glucose4"


def uniform(
    formula: cnf.CNF, rng: np.random.Generator, number: int, deadline: limits.Deadline
) -> np.ndarray:
    """Uniform assignments, bool [number, n]."""
    return rng.integers(2, size=(number, formula.num_variables)).astype(bool)


def half_models(
    formula: cnf.CNF, rng: np.random.Generator, number: int, deadline: limits.Deadline
) -> np.ndarray:
    """Uniform assignments first, then models as far as a solver finds some in time.

    Solvers try false first, so each is given the formula with random variables negated: its models
    differ, though they are not uniform.
    """
    states = uniform(formula, rng, number, deadline)
    for row in range((number + 1) // 2, number):
        with sat.SatSession(_negated(formula, states[row]), SOLVER) as session:
            found = session.solve(deadline=deadline)
        if found.assignments is None:
            break
        states[row] ^= found.assignments[0]
    return states


def _negated(formula: cnf.CNF, mask: np.ndarray) -> cnf.CNF:
    """The formula about x ^ mask, over all variables."""
    literals = formula.clauses.values
    signs = np.where(mask[np.abs(literals) - 1], -1, 1).astype(np.int32)
    clauses = dataclasses.replace(formula.clauses, values=literals * signs)
    odd = np.array([bool(mask[x - 1].sum() % 2) for x in formula.xors], dtype=bool)
    none = cnf.from_clauses([], num_variables=formula.num_variables)
    return dataclasses.replace(
        none, clauses=clauses, xors=formula.xors, xor_rhs=formula.xor_rhs ^ odd
    )
