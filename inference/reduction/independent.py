"""Sampling variables that define the others: few of them, at the price of a few passes.

    >>> formula = cnf.from_clauses([[-3, 1], [-3, 2], [3, -1, -2]], num_variables=4)
    >>> find(formula)  # variable 3 is 1 and 2
    array([1, 2, 4], dtype=int32)

What gates define is dropped first (``gates``, ``closure``). Of what remains, models show what
nothing else defines (``flips``), and the clauses of the rest are searched for further gates
(``definitions``). Then goes what XORs define (``parities``), and what a solver finds to be defined,
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
    definitions,
    flips,
    gates,
    normal,
    parities,
    questions,
    renumbering,
)

# What may be spent, in assigned variables, for each literal and variable of the formula; ten
# millions take a second or so.
MODEL_WORK, QUERY_WORK, MOST_WORK = 100, 300, 20_000_000
# Conflicts for the start from inputs and for that from rare variables, which has less to gain.
FIRST_CONFLICTS, SECOND_CONFLICTS = 100_000, 2_000
# How often variables that are left are searched for further gates.
ROUNDS = 4
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
    if known is None:  # variables that do not occur cost nothing then
        small, variables, free = renumbering.used(formula, formula.sampling_set, _array([]))
        inside = find(small, ByGates(gates.NONE, small.sampling_set), deadline)
        return np.union1d(free, variables[inside - 1])
    best = known.support
    try:
        deadline.check()
        plain = normal.clauses_only(formula, deadline)
        found = gates.concatenate([known.gates, gates.find(plain, deadline)])
        best = _inputs(found, formula.sampling_set, plain.num_variables, best, deadline)
        compact = _Small.of(formula, deadline)
        budget = questions.Budget(min(MODEL_WORK * compact.work, MOST_WORK))
        with flips.Models(compact.plain, budget, deadline) as models:
            if models.satisfiable is False:
                return best[:0]
            best, found = _mine(compact, formula.sampling_set, found, best, models, deadline)
            graph = closure.Graph(found, plain.num_variables)
            for start, frequent_first in _starts(formula, graph, best, deadline):
                if frequent_first and np.array_equal(start, best):  # nothing can be dropped
                    continue
                best = min(best, start, key=len)
                asked = _ask(compact, models, start, frequent_first, deadline)
                best = min(best, asked, key=len)
    except limits.OutOfTime:
        pass
    return best


def _inputs(
    found: gates.Gates,
    sampled: np.ndarray,
    num_variables: int,
    best: np.ndarray,
    deadline: limits.Deadline,
) -> np.ndarray:
    """The inputs of gates, where they are fewer than another support.

    Raises:
      OutOfTime: at the deadline.
    """
    graph = closure.Graph(found, num_variables)
    return min(best, _array(closure.inputs(graph, sampled, deadline)), key=len)


class _Small(NamedTuple):
    """A formula over the variables that occur.

    Attributes:
      formula: with its XORs.
      plain: without them.
      variables: int32 [n'], the original variable of each of its own.
      number: int64 [n + 1 and what cuts XORs], its own variable for each original one, or 0.
    """

    formula: cnf.CNF
    plain: cnf.CNF
    variables: np.ndarray
    number: np.ndarray

    @classmethod
    def of(cls, formula: cnf.CNF, deadline: limits.Deadline) -> "_Small":
        """Raises OutOfTime at the deadline."""
        small, variables, _ = renumbering.used(formula, formula.sampling_set, _array([]))
        plain = normal.clauses_only(small, deadline)
        cuts = plain.num_variables - small.num_variables
        number = np.zeros(formula.num_variables + cuts + 1, dtype=np.int64)
        number[variables] = np.arange(1, len(variables) + 1)
        number[formula.num_variables + 1 :] = small.num_variables + 1 + np.arange(cuts)
        return cls(small, plain, variables, number)

    @property
    def work(self) -> int:
        """The size of the formula, to which all work is proportional."""
        return 1000 + self.plain.num_variables + self.plain.clauses.values.size


def _mine(
    small: _Small,
    sampled: np.ndarray,
    found: gates.Gates,
    best: np.ndarray,
    models: flips.Models,
    deadline: limits.Deadline,
) -> tuple[np.ndarray, gates.Gates]:
    """A support with gates of other kinds for its variables, and all gates then.

    Raises:
      OutOfTime: at the deadline.
    """
    tried, wanted = best[:0], best
    for _ in range(ROUNDS):
        more = _mined(small, found, wanted, models, deadline)
        if not len(more.variables):
            break
        tried, found = np.union1d(tried, wanted), gates.concatenate([found, more])
        best = _inputs(found, sampled, len(small.number) - 1, best, deadline)
        wanted = np.setdiff1d(np.union1d(best, _alternatives(found, best)), tried)
    return best, found


def _alternatives(found: gates.Gates, support: np.ndarray) -> np.ndarray:
    """Variables that a gate could leave to one of the support, if they had a gate of their own."""
    sizes = np.diff(found.variables.offsets)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    kept = found.is_output & np.isin(found.variables.values, support)
    concerned = np.bincount(owner[kept], minlength=len(sizes)) > 0
    return np.unique(found.variables.values[found.is_output & concerned[owner]])


def _mined(
    small: _Small,
    known: gates.Gates,
    variables: np.ndarray,
    models: flips.Models,
    deadline: limits.Deadline,
) -> gates.Gates:
    """Gates of other kinds for some variables, in the original numbers.

    Raises:
      OutOfTime: at the deadline.
    """
    inside = small.number[variables]
    wanted = inside[(inside > 0) & ~models.flips_alone[inside]].tolist()
    offsets = known.variables.offsets
    groups = cnf.Ragged(small.number[known.variables.values].astype(np.int32), offsets)
    budget = questions.Budget(min(MODEL_WORK * small.work, MOST_WORK))
    seen = gates.Gates(groups, known.is_output)
    found = definitions.mine(small.plain, wanted, seen, budget, deadline)
    original = np.flatnonzero(small.number)
    values = original[found.variables.values - 1].astype(np.int32)
    return gates.Gates(cnf.Ragged(values, found.variables.offsets), found.is_output)


def _starts(
    formula: cnf.CNF, graph: closure.Graph, support: np.ndarray, deadline: limits.Deadline
) -> Iterator[tuple[np.ndarray, bool]]:
    """Supports by gates, and whether frequent variables should go first: few, then rare ones.

    Raises:
      OutOfTime: at the deadline.
    """
    sampled = formula.sampling_set
    few = min(
        closure.inputs(graph, sampled, deadline),
        closure.forward(graph, support.tolist(), deadline),
        key=len,
    )
    yield _array(sorted(few)), False
    order = np.argsort(renumbering.occurrences(formula)[sampled], kind="stable")
    rare = closure.forward(graph, sampled[order].tolist(), deadline)
    if len(rare) <= MOST_LARGER * len(few):
        yield _array(sorted(rare)), True


def _ask(
    small: _Small,
    models: flips.Models,
    start: np.ndarray,
    frequent_first: bool,
    deadline: limits.Deadline,
) -> np.ndarray:
    """What is left of a support when its variables are asked for, late or frequent ones first.

    Raises:
      OutOfTime: at the deadline.
    """
    inside = small.number[start]
    kept = parities.drop(small.formula, inside[inside > 0].astype(np.int32), deadline)
    fixed = models.undefined(kept.tolist())
    tested = np.setdiff1d(kept, fixed)
    first = -renumbering.occurrences(small.formula)[tested] if frequent_first else -tested
    order = tested[np.argsort(first, kind="stable")].tolist()
    conflicts = SECOND_CONFLICTS if frequent_first else FIRST_CONFLICTS
    budget = questions.Budget(min(QUERY_WORK * small.work, MOST_WORK), conflicts)
    left = definability.drop(small.plain, order, fixed, budget, deadline)
    chosen = small.variables[np.array([*fixed, *left], dtype=np.int64) - 1]
    return np.union1d(start[inside == 0], chosen)


def _array(variables: list[int]) -> np.ndarray:
    return np.array(variables, dtype=np.int32)
