"""Sampling variables that define the others: few of them, at the price of a few passes.

    >>> formula = cnf.from_clauses([[-3, 1], [-3, 2], [3, -1, -2]], num_variables=4)
    >>> find(formula)  # variable 3 is 1 and 2
    array([1, 2, 4], dtype=int32)

What gates define is dropped first (``gates``, ``closure``), then what XORs define (``parities``).
Of what remains, models show what nothing else defines (``flips``), and only the rest is asked for,
one variable after the other (``definability``). Two starts compete, and the smaller support wins:
inputs of gates, late variables dropped first, as encodings tend to number inputs before what is
computed from them; and rare variables, frequent ones dropped first.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from inference import limits
from inference.problems import cnf
from inference.reduction import (
    closure,
    definability,
    flips,
    gates,
    normal,
    parities,
    questions,
    renumbering,
)

# What may be spent, in assigned variables, for each literal and variable of the formula; ten
# millions take a second or so.
MODEL_WORK, QUERY_WORK, MOST_WORK = 100, 300, 50_000_000
# Conflicts for the start from inputs and for that from rare variables, which has less to gain.
FIRST_CONFLICTS, SECOND_CONFLICTS = 100_000, 2_000
# A second start that is so much larger than the first is not tried.
MOST_LARGER = 2


class ByGates(NamedTuple):
    """What gates alone showed of a formula.

    Attributes:
      gates: over its variables and those that cut its XORs.
      support: sampling variables that make the others known, increasing int32.
    """

    gates: gates.Gates
    support: np.ndarray


def by_gates(formula: cnf.CNF, deadline: limits.Deadline = limits.NEVER) -> ByGates:
    """The gates of a formula and their inputs; none and all sampling variables without time."""
    found, sampled = gates.NONE, formula.sampling_set
    try:
        deadline.check()
        plain = normal.clauses_only(formula, deadline)
        found = gates.find(plain, deadline)
        graph = closure.Graph(found, plain.num_variables)
        return ByGates(found, _array(closure.inputs(graph, sampled, deadline)))
    except limits.OutOfTime:
        return ByGates(found, sampled)


def find(
    formula: cnf.CNF, known: ByGates | None = None, deadline: limits.Deadline = limits.NEVER
) -> np.ndarray:
    """An independent support: increasing int32 [k].

    Args:
      formula: without weights.
      known: what gates showed of it before it was simplified.
      deadline: then the best support so far.
    """
    known = ByGates(gates.NONE, formula.sampling_set) if known is None else known
    best = known.support
    try:
        deadline.check()
        best, rare = _starts(formula, known, deadline)
        starts = [(best, False)] + [(rare, True)] * (len(rare) <= MOST_LARGER * len(best))
        for found in _ask(formula, starts, deadline):
            best = min(best, found, key=len)
    except limits.OutOfTime:
        pass
    return best


def _starts(
    formula: cnf.CNF, known: ByGates, deadline: limits.Deadline
) -> tuple[np.ndarray, np.ndarray]:
    """Two supports by gates: few variables, and rare ones.

    Raises:
      OutOfTime: at the deadline.
    """
    plain, sampled = normal.clauses_only(formula, deadline), formula.sampling_set
    together = gates.concatenate([known.gates, gates.find(plain, deadline)])
    graph = closure.Graph(together, plain.num_variables)
    few = min(
        closure.inputs(graph, sampled, deadline),
        closure.forward(graph, known.support.tolist(), deadline),
        key=len,
    )
    order = np.argsort(renumbering.occurrences(formula)[sampled], kind="stable")
    rare = closure.forward(graph, sampled[order].tolist(), deadline)
    return _array(sorted(few)), _array(sorted(rare))


def _ask(
    formula: cnf.CNF, starts: list[tuple[np.ndarray, bool]], deadline: limits.Deadline
) -> Iterator[np.ndarray]:
    """What is left of each support when its variables are asked for, late or frequent ones first.

    Raises:
      OutOfTime: at the deadline.
    """
    compact, variables, _ = renumbering.used(formula, formula.sampling_set, np.zeros(0, np.int32))
    plain = normal.clauses_only(compact, deadline)
    work = 1000 + plain.num_variables + plain.clauses.values.size
    occurrences = renumbering.occurrences(compact)
    with flips.Models(
        plain, questions.Budget(min(MODEL_WORK * work, MOST_WORK)), deadline
    ) as models:
        if models.satisfiable is False:
            yield starts[0][0][:0]
            return
        found = np.zeros(0, dtype=np.int32)
        for start, frequent_first in starts:
            if np.array_equal(start, found):  # nothing can be dropped
                continue
            inside = 1 + np.flatnonzero(np.isin(variables, start)).astype(np.int32)
            kept = parities.drop(compact, inside, deadline)
            fixed = models.undefined(kept.tolist())
            tested = np.setdiff1d(kept, fixed)
            first = -occurrences[tested] if frequent_first else -tested
            order = tested[np.argsort(first, kind="stable")].tolist()
            conflicts = SECOND_CONFLICTS if frequent_first else FIRST_CONFLICTS
            budget = questions.Budget(min(QUERY_WORK * work, MOST_WORK), conflicts)
            left = definability.drop(plain, order, fixed, budget, deadline)
            chosen = variables[np.array([*fixed, *left], dtype=np.int64) - 1]
            found = np.union1d(np.setdiff1d(start, variables), chosen)
            yield found


def _array(variables: list[int]) -> np.ndarray:
    return np.array(variables, dtype=np.int32)
