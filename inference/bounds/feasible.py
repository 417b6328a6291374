"""Good assignments: possible ones by a solver, better ones by exact maxima around cut variables.

    >>> model = bucket_tree.prepare(generators.ising_grid(5, 5, 1.0, field=0.1), orders.min_fill)
    >>> found = search(model, np.random.default_rng(0))
    >>> round(found.log_score, 9)
    42.5

Each round cuts variables until the rest is narrow, fixes them to the best assignment so far, and
maximises over the rest exactly: the score cannot fall. Where the first assignment has a hard zero,
a SAT solver looks for one without.
"""

import itertools
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from inference import answer, limits
from inference.bounds import cutset, power_sums
from inference.exact import bucket_tree
from inference.oracles import sat
from inference.problems import cnf


class Incumbent(NamedTuple):
    """The best assignment of a search.

    Attributes:
      states: int64 [V] by position in the model; None where none was found.
      log_score: nats; -inf where none was found.
      is_impossible: there is none, Z = 0.
      status: "done", "timeout" or "interrupted".
    """

    states: np.ndarray | None
    log_score: float
    is_impossible: bool = False
    status: str = "done"


def search(
    model: bucket_tree.Model,
    rng: np.random.Generator,
    *,
    i_bound: int = 8,
    rounds: int = 12,
    deadline: limits.Deadline = limits.NEVER,
    start: np.ndarray | None = None,
) -> Incumbent:
    """An assignment that rounds of cutting have not improved further.

    Args:
      model: of ``bucket_tree.prepare``; positions name its variables.
      rng: for the cuts.
      i_bound: what is maximised exactly has tables of at most 2^(i_bound + 1) entries.
      rounds: rounds in a row without gain after which the search ends.
      deadline: looked at after each round; one is run in any case.
      start: where to begin, states by position; by default the best for the unaries.
    """
    if model.total() == -math.inf:
        return Incumbent(None, -math.inf, True)
    states = model.unaries().argmax(axis=1) if start is None else start
    if score(model, states) == -math.inf:
        solved = possible(model, deadline)
        if solved.assignments is None:
            is_impossible = solved.status is answer.Status.INFEASIBLE
            return Incumbent(None, -math.inf, is_impossible, "done" if is_impossible else "timeout")
        states = solved.assignments[0]
    best, idle, status = score(model, states), 0, "done"
    try:
        for number in itertools.count():
            # Cuts by degree alone leave the most free, but are much alike; noise varies them.
            noise = 2.0 * 4.0 ** (number % 3) * rng.random(len(model.plan.sizes))
            split = cutset.cut(model, 2.0 ** (i_bound + 1), noise)
            states = improve(split, states)
            better = score(model, states)
            idle, best = (0 if better > best + 1e-9 else idle + 1), better
            if idle == rounds or not split.cut:
                break
            if deadline.has_passed():
                status = "timeout"
                break
    except KeyboardInterrupt:
        status = "interrupted"
    return Incumbent(states, best, status=status)


def improve(split: cutset.Split, states: np.ndarray) -> np.ndarray:
    """The best assignment [V] among those that agree on the cut variables."""
    tables, _ = cutset.expect(split, cutset.point_mass(split, states))
    sums = power_sums.upward(split.tree, tables, np.zeros(len(tables)), keep=True)
    improved = states.copy()
    improved[split.kept] = power_sums.decode(split.tree, sums)
    return improved


def score(model: bucket_tree.Model, states: np.ndarray) -> float:
    """The log-score of an assignment [V] by position, in nats."""
    return model.total(*(float(table[tuple(states[scope])]) for scope, table in model.factors))


def possible(
    model: bucket_tree.Model,
    deadline: limits.Deadline = limits.NEVER,
    fixed: Mapping[int, int] | None = None,
) -> answer.Answer:
    """An assignment without a hard zero, ``assignments`` int64 [1, V] by position, from SAT.

    ``fixed`` are states by position that it must have.
    """
    names, clauses, num_variables = cnf.state_literals(model.plan.sizes)
    clauses += [[names[v][s]] for v, s in (fixed or {}).items()]
    for scope, table in model.factors:
        for entry in np.argwhere(table == -np.inf).tolist():
            clauses.append([-names[v][s] for v, s in zip(scope, entry, strict=True)])
    with sat.SatSession(cnf.from_clauses(clauses, num_variables=num_variables)) as session:
        solved = session.solve(deadline=deadline)
    if solved.assignments is None:
        return solved
    holds = np.concatenate([[False], solved.assignments[0]])
    states = [next(s for s, x in enumerate(row) if holds[abs(x)] == (x > 0)) for row in names]
    return answer.Answer(solved.status, assignments=np.array([states], dtype=np.int64))
