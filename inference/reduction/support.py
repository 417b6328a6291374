"""Independent supports: fewer variables to hash, the same count.

    >>> formula = cnf.from_clauses([[-3, 1], [-3, 2], [3, -1, -2]], num_variables=9)
    >>> independent_support(formula)  # variable 3 is 1 and 2
    array([1, 2, 4, 5, 6, 7, 8, 9], dtype=int32)
    >>> reduce(formula).free
    array([1, 2, 4, 5, 6, 7, 8, 9], dtype=int32)

A sampling variable is *defined* when the other sampling variables leave it one value at most;
dropping it changes no count. It is *free* when, with everything else eliminated, no clause mentions
it; each one doubles the count. The rest is hashed.

Definability is Padoa's test: the formula and a copy of it that agree on the other variables and
differ here have no model. Ivrii, Malik, Meel and Vardi, On Computing Minimal Independent Support
and Its Applications to Sampling and Counting (Constraints 2016). All limits count conflicts and
queries, so a formula has the same support on every machine.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from inference import limits
from inference.problems import cnf, xor_clauses
from inference.reduction import (
    closure,
    definability,
    flips,
    gates,
    parities,
    preprocess,
    questions,
)

# What may be spent, in assigned variables, for each literal and variable of the formula.
MODEL_WORK, QUERY_WORK = 50, 100
# A second start that is so much larger than the best support is not tried.
MOST_LARGER = 2


class Reduction(NamedTuple):
    """A formula with fewer models: each of them stands for 2^len(free) projected models.

    Attributes:
      formula: the residual formula, numbered anew; its sampling set is what is hashed.
      variables: int32 [n'], the original variable of each of its variables.
      free: int32 [f], the original sampling variables that are free.
    """

    formula: cnf.CNF
    variables: np.ndarray
    free: np.ndarray

    @property
    def support(self) -> np.ndarray:
        """The original variables that are hashed, increasing int32."""
        return self.variables[self.formula.sampling_set - 1]


def reduce(
    formula: cnf.CNF,
    *,
    keep: Sequence[int] = (),
    support: np.ndarray | None = None,
    deadline: limits.Deadline = limits.NEVER,
) -> Reduction:
    """Preprocesses, drops defined variables, eliminates what is not hashed, sets free ones apart.

    Args:
      formula: without weights.
      keep: variables that stay in the residual formula, so that they can be assumed.
      support: an independent support, where one is known.
      deadline: from then on every variable counts as undefined.
    """
    kept = np.array(sorted(set(keep)), dtype=np.int32)
    sampled = np.union1d(formula.sampling_set, kept)
    simpler = preprocess.simplify(formula, sampled, deadline=deadline)
    if support is None:
        support = independent_support(simpler, before=formula, deadline=deadline)
    hashed = np.union1d(support, kept)
    simpler = preprocess.simplify(simpler, hashed, rounds=2, deadline=deadline)
    return _renumber(simpler, support, kept)


def assume(
    reduction: Reduction,
    assumptions: Sequence[int],
    *,
    support: np.ndarray | None = None,
    deadline: limits.Deadline = limits.NEVER,
) -> Reduction:
    """The reduction under literals of the original formula: reduced again, as they fix others.

    Args:
      reduction: that keeps their variables.
      assumptions: literals; what comes back has no model without them.
      support: original variables that define the others under the assumptions, where known.
      deadline: as for ``reduce``.

    Raises:
      ValueError: a variable was not kept.
    """
    number = {v: i for i, v in enumerate(reduction.variables.tolist(), 1)}
    for literal in assumptions:
        if abs(literal) not in number:
            raise ValueError(
                "expected assumptions among the variables that the reduction keeps, "
                f"given {literal}"
            )
    literals = [number[abs(x)] * (1 if x > 0 else -1) for x in assumptions]
    if support is not None:
        support = np.array([number[v] for v in support.tolist() if v in number], dtype=np.int32)
    residual = conditioned(reduction.formula, literals)
    again = reduce(residual, support=support, deadline=deadline)
    free = np.union1d(reduction.free, reduction.variables[again.free - 1])
    return Reduction(again.formula, reduction.variables[again.variables - 1], free)


def conditioned(formula: cnf.CNF, assumptions: Sequence[int]) -> cnf.CNF:
    """The formula with literals that hold, each a clause of its own.

    Raises:
      ValueError: a literal is none of the formula.
    """
    units = cnf.ragged([[x] for x in checked(assumptions, formula.num_variables)])
    if not len(units):
        return formula
    return dataclasses.replace(formula, clauses=cnf.join(formula.clauses, units))


def checked(assumptions: Sequence[int], num_variables: int) -> tuple[int, ...]:
    """The literals; raises ValueError where one is none of the variables."""
    for literal in assumptions:
        if not 1 <= abs(literal) <= num_variables:
            raise ValueError(
                f"expected assumptions among the variables 1..{num_variables}, given {literal}"
            )
    return tuple(int(x) for x in assumptions)


def unreduced(formula: cnf.CNF, **_: Any) -> Reduction:
    """The formula as it is, all of its sampling set hashed."""
    everything = np.arange(1, formula.num_variables + 1, dtype=np.int32)
    return Reduction(formula, everything, np.zeros(0, dtype=np.int32))


def independent_support(
    formula: cnf.CNF, *, before: cnf.CNF | None = None, deadline: limits.Deadline = limits.NEVER
) -> np.ndarray:
    """Sampling variables that define the others: increasing int32 [k].

    What gates define is dropped first, then what a solver finds. Two starts compete, and the
    smaller support wins: inputs of gates, late variables dropped first, as encodings tend to number
    inputs before what is computed from them; rare variables, frequent ones dropped first.

    Args:
      formula: without weights.
      before: the formula before it was simplified, whose gates may be clearer.
      deadline: from then on every variable counts as undefined.
    """
    best = formula.sampling_set
    try:
        inputs, rare = _by_gates(formula, formula if before is None else before, deadline)
        best = inputs
        compact = _renumber(formula, formula.sampling_set, best[:0])
        plain, work = _plain(compact.formula), _work(compact.formula)
        with flips.Models(plain, questions.Budget(MODEL_WORK * work), deadline) as models:
            if models.satisfiable is False:
                return best[:0]
            occurrences = _count_occurrences(compact.formula)
            best = _by_questions(compact, plain, models, inputs, lambda v: -v, deadline)
            if len(rare) <= MOST_LARGER * len(best):
                frequent = lambda v: -occurrences[v]
                again = _by_questions(compact, plain, models, rare, frequent, deadline)
                best = min(best, again, key=len)
    except limits.OutOfTime:
        pass
    return best


def _by_gates(
    formula: cnf.CNF, before: cnf.CNF, deadline: limits.Deadline
) -> tuple[np.ndarray, np.ndarray]:
    """Sampling variables that make the others known through gates, twice: few of them, and rare.

    Raises:
      OutOfTime: before they were found.
    """
    # The XORs are the same in both, and so are the variables that cut them.
    both = [_as_clauses(before)] + ([_as_clauses(formula)] if formula is not before else [])
    n = max(int(np.abs(clauses.values).max(initial=formula.num_variables)) for clauses in both)
    found = [gates.find(clauses, n, deadline) for clauses in both]
    graph, sampled = closure.Graph(gates.concatenate(found), n), formula.sampling_set
    clear = len(found[0].variables)
    few = closure.smallest(graph, sampled, clear=clear, deadline=deadline)
    by_rarity = sampled[np.argsort(_count_occurrences(formula)[sampled], kind="stable")]
    rare = sorted(closure.forward(graph, by_rarity.tolist(), deadline))
    return np.array(few, dtype=np.int32), np.array(rare, dtype=np.int32)


def _by_questions(
    compact: Reduction,
    plain: cnf.CNF,
    models: flips.Models,
    start: np.ndarray,
    key: Callable[[np.ndarray], np.ndarray],
    deadline: limits.Deadline,
) -> np.ndarray:
    """What is left of a support when XORs and the solver drop variables, those of least key first.

    Raises:
      OutOfTime: before the solver was asked for each of them.
    """
    inside = np.flatnonzero(_is_in(start, compact.variables)).astype(np.int32) + 1
    kept = parities.drop(compact.formula, inside, deadline)
    fixed = models.undefined(kept.tolist())
    tested = np.setdiff1d(kept, fixed)
    order = tested[np.argsort(key(tested), kind="stable")].tolist()
    budget = questions.Budget(QUERY_WORK * _work(compact.formula))
    left = definability.drop(plain, order, fixed, budget, deadline)
    chosen = np.array([*fixed, *left], dtype=np.int64)
    outside = start[~_is_in(compact.variables, start)]
    return np.union1d(outside, compact.variables[chosen - 1])


def _work(formula: cnf.CNF) -> int:
    """The size of a formula, to which all work is proportional."""
    return 1000 + formula.num_variables + formula.clauses.values.size + formula.xors.values.size


def _is_in(increasing: np.ndarray, values: np.ndarray) -> np.ndarray:
    """As ``np.isin``, which looks at all of the first array each time."""
    if not len(increasing):
        return np.zeros(len(values), dtype=bool)
    place = np.minimum(np.searchsorted(increasing, values), len(increasing) - 1)
    return increasing[place] == values


def _plain(formula: cnf.CNF) -> cnf.CNF:
    """Without XORs, repeated literals and tautologies."""
    clauses = _as_clauses(formula)
    n = max(formula.num_variables, int(np.abs(clauses.values).max(initial=0)))
    none = cnf.from_clauses([], num_variables=n)
    return dataclasses.replace(none, clauses=gates.normal(clauses, n))


def _as_clauses(formula: cnf.CNF) -> cnf.Ragged:
    extra, _ = xor_clauses.encode_formula(formula)
    return cnf.join(formula.clauses, cnf.ragged(extra))


def _count_occurrences(formula: cnf.CNF) -> np.ndarray:
    """How often each variable occurs: int [n + 1], entry 0 unused."""
    mentioned = np.concatenate([np.abs(formula.clauses.values), formula.xors.values])
    return np.bincount(mentioned, minlength=formula.num_variables + 1)


def _renumber(formula: cnf.CNF, support: np.ndarray, kept: np.ndarray) -> Reduction:
    """Only the variables that occur or are kept, in their order; the others in the support free."""
    used = _count_occurrences(formula) > 0
    used[kept] = True
    variables = np.flatnonzero(used).astype(np.int32)
    number = np.zeros(formula.num_variables + 1, dtype=np.int32)
    number[variables] = np.arange(1, len(variables) + 1)
    residual = cnf.CNF(
        len(variables),
        cnf.Ragged(_signed(formula.clauses.values, number), formula.clauses.offsets),
        cnf.Ragged(number[formula.xors.values], formula.xors.offsets),
        formula.xor_rhs,
        number[support[used[support]]],
    )
    return Reduction(residual, variables, support[~used[support]])


def _signed(literals: np.ndarray, number: np.ndarray) -> np.ndarray:
    return np.sign(literals) * number[np.abs(literals)]
