"""A bound below log Z from disjoint cases: cut variables held at their states, one at a time.

    >>> model = bucket_tree.prepare(generators.ising_grid(5, 5, 0.5), orders.min_fill)
    >>> split = cutset.cut(model, 4, np.zeros(25))
    >>> soft = coordinate_ascent.soft(split, np.random.default_rng(0))
    >>> state, *_ = coordinate_ascent.ascend(split, soft)
    >>> divide(model, split, state, 16, coordinate_ascent.ascend)[0] > state.log_lower
    True

The case of greatest bound is divided by its least certain cut variable. The sum does not fall:
E_q[log p] + H(q) of a case is at most the log-sum of those of its parts.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from inference import estimate, limits
from inference.bounds import coordinate_ascent, cutset, feasible
from inference.exact import bucket_tree

Climb = Callable[..., tuple[coordinate_ascent.State, int, bool]]  # ``ascend`` within its limits


class Case(NamedTuple):
    """Part of all assignments: some cut variables are held at one state.

    Attributes:
      log_lower: its bound in nats, less the rounding.
      probabilities: float [C, S], of the cut variables, where it is reached.
      held: bool [C].
    """

    log_lower: float
    probabilities: np.ndarray
    held: np.ndarray


def divide(
    model: bucket_tree.Model,
    split: cutset.Split,
    state: coordinate_ascent.State,
    leaves: int,
    climb: Climb,
    deadline: limits.Deadline = limits.NEVER,
) -> tuple[float, int, str]:
    """The bounds of at most ``leaves`` cases added up, less rounding; sweeps taken; the status.

    Args:
      model: of ``bucket_tree.prepare``.
      split: of ``cutset.cut``.
      state: where an ascent over all assignments ended, its bound above -inf.
      leaves: cases at which to end.
      climb: the ascent for each case.
      deadline: looked at before each division.
    """

    def advance(division: tuple[list[Case], int]) -> tuple[list[Case], int]:
        cases, sweeps = division
        divisible = [at for at, case in enumerate(cases) if not case.held.all()]
        at = max(divisible, key=lambda at: cases[at].log_lower)
        parts, taken = _parts(model, split, cases[at], climb)
        return [*cases[:at], *parts, *cases[at + 1 :]], sweeps + taken

    def done(division: tuple[list[Case], int]) -> bool:
        return len(division[0]) >= leaves or all(case.held.all() for case in division[0])

    whole = _case(split, state, np.zeros(len(split.cut), dtype=bool))
    (cases, sweeps), status = limits.run_until(advance, ([whole], 0), done, deadline)
    return add_up([case.log_lower for case in cases]), sweeps, status


def add_up(logs: list[float]) -> float:
    """At most the logarithm of the sum of these exponentials.

    At distance d below the largest a term errs by (d + 2) u exp(-d), with u = 2^-53, together by
    less than (n / e + 2) u of the sum, which is at least 1; its logarithm errs once more.
    """
    top = max(logs)
    if top == -math.inf:
        return top
    log_sum = math.log(math.fsum(math.exp(value - top) for value in logs))
    return estimate.below(top + log_sum, 2.0**-52 * (len(logs) + 8 + log_sum))


def _parts(
    model: bucket_tree.Model, split: cutset.Split, case: Case, climb: Climb
) -> tuple[list[Case], int]:
    """The case by the states of the cut variable that is least certain in it, and the sweeps."""
    v = int(np.argmin(np.where(case.held, np.inf, case.probabilities.max(axis=1))))
    held = case.held.copy()
    held[v] = True
    parts, sweeps = [], 0
    for s in range(split.sizes[v]):
        if case.probabilities[v, s] == 1.0:
            parts.append(case._replace(held=held))
            continue
        start = case.probabilities.copy()
        start[v] = np.arange(start.shape[1]) == s
        state, taken, _ = climb(split, start, held=held)
        if state.log_lower == -math.inf:  # the others have to change with it
            state, taken, _ = climb(split, _possible(model, split, start, held), held=held)
        sweeps += taken
        if state.log_lower > -math.inf:
            parts.append(_case(split, state, held))
    return parts, sweeps


def _case(split: cutset.Split, state: coordinate_ascent.State, held: np.ndarray) -> Case:
    error = coordinate_ascent.rounding_error(split, state)
    return Case(estimate.below(state.log_lower, error), state.probabilities, held)


def _possible(
    model: bucket_tree.Model, split: cutset.Split, probabilities: np.ndarray, held: np.ndarray
) -> np.ndarray:
    """All weight on a possible assignment with the states that are held; as given if none."""
    fixed = {split.cut[v]: int(np.argmax(probabilities[v])) for v in np.flatnonzero(held)}
    found = feasible.possible(model, fixed=fixed).assignments
    return probabilities if found is None else cutset.point_mass(split, found[0])
