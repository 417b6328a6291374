"""Independent supports: fewer variables to hash, the same count.

    >>> formula = cnf.from_clauses([[-3, 1], [-3, 2], [3, -1, -2]], num_variables=9)
    >>> independent_support(formula)  # variable 3 is 1 and 2
    array([1, 2, 4, 5, 6, 7, 8, 9], dtype=int32)
    >>> reduce(formula).free
    array([1, 2, 4, 5, 6, 7, 8, 9], dtype=int32)

A sampling variable is *defined* when the other sampling variables leave it one value at most;
dropping it changes no count. It is *free* when, with everything else eliminated, no clause mentions
it; each one doubles the count. The rest is hashed.

``independent`` finds what is defined. All limits count work, so a formula has the same support on
every machine, unless a deadline comes first.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from inference import limits
from inference.problems import cnf
from inference.reduction import independent, preprocess, renumbering

# Where at most one variable in so many is sampled, gates are looked for once only.
FEW = 4


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
    # Gates are clearer before, and where time ends this they are all there is. Few sampling
    # variables are asked for as fast.
    few = len(sampled) * FEW < formula.num_variables
    known = None if few or support is not None else independent.by_gates(formula, deadline)
    simpler = preprocess.simplify(formula, sampled, deadline=deadline)
    if support is None:
        support = independent.find(simpler, known, deadline=deadline)
    hashed = np.union1d(support, kept)
    simpler = preprocess.simplify(simpler, hashed, rounds=2, deadline=deadline)
    return Reduction(*renumbering.used(simpler, support, kept))


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
    formula: cnf.CNF, *, deadline: limits.Deadline = limits.NEVER
) -> np.ndarray:
    """Sampling variables that define the others: increasing int32 [k].

    Args:
      formula: without weights.
      deadline: from then on every variable counts as undefined.
    """
    return independent.find(formula, deadline=deadline)
