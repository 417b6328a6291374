"""The count of a formula in parts that share no variable, whose counts multiply.

    >>> search = Product(formula, components.split(formula), limits.Deadline.after(10.0))
    >>> search.run(sat.SatSession, exactly, hashed, (0.8, 0.2))
    >>> search.claim().count
    48

Parts that are equal are counted once. Each is counted exactly where that is cheap. The others are
hashed, each by itself where they are few: parities over all would tie them together, and solvers
take far longer over that. Their errors multiply and their failures add, so they share epsilon and
delta. Where that leaves too little to each, they are hashed together.
"""

import collections
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hashing.counting import guarantee, searches
from inference import answer, estimate, limits
from inference.exact import bucket_count, cube_table, elimination
from inference.oracles import apart, protocol
from inference.problems import cnf, trivial
from inference.reduction import components, support

Exact = Callable[[cnf.CNF, limits.Deadline], int | None]
# From a formula, with ``epsilon``, ``delta``, ``timeout`` and ``progress``, to an estimate and how
# it went.
Hash = Callable[..., tuple[estimate.Estimate, Any]]


# What elimination of a part may take by its plan, so that the answer is the same on any machine;
# more seconds where there are more columns to hash.
CHEAP_SECONDS, CHEAP_MEBIBYTES = 1.5, 256
# Shares by which more models are to be found in all are too small.
MOST_MODELS = 30_000
# Below so many columns parities cost about nothing.
FEW_COLUMNS = 64


class Factor(NamedTuple):
    """A part, and how many are equal to it."""

    formula: cnf.CNF
    times: int


def whole(formula: cnf.CNF) -> list[components.Part]:
    """All of it as one part: stands for ``components.split`` where a witness is wanted."""
    everything = np.arange(1, formula.num_variables + 1, dtype=np.int32)
    return [components.Part(formula, everything)]


def exactly(formula: cnf.CNF, deadline: limits.Deadline) -> int | None:
    """The count where it is cheap, else None; raises OutOfTime at the deadline."""
    deadline.check()
    if not formula.num_clauses and not len(formula.xors):
        return 1 << len(formula.sampling_set)
    if formula.num_variables <= cube_table.MOST_VARIABLES:
        return cube_table.number_of_models(formula)
    try:
        planned = bucket_count.prepare(formula, reduce=support.unreduced, deadline=deadline)
        if planned.seconds > CHEAP_SECONDS * max(1.0, len(formula.sampling_set) / FEW_COLUMNS):
            return None
        return bucket_count.solve(planned, memory=CHEAP_MEBIBYTES, deadline=deadline)[0].count
    except elimination.TooWide:
        return None


def factors(parts: Sequence[components.Part]) -> list[Factor]:
    """The parts, equal ones together, those of the least sampling sets first.

    Equal are those of the same clauses, in any order, over variables in the same order.
    """
    alike = collections.Counter(_octets(part.formula) for part in parts)
    formulas = {_octets(part.formula): part.formula for part in reversed(parts)}
    first, times = dict[tuple, cnf.CNF](), collections.Counter[tuple]()
    for octets, number in alike.items():  # looks at the order of clauses, so a key of few
        key = _key(formulas[octets])
        first.setdefault(key, formulas[octets])
        times[key] += number
    found = [Factor(first[key], number) for key, number in times.items()]
    return sorted(found, key=lambda factor: len(factor.formula.sampling_set))


def shares(hashed: Sequence[Factor], epsilon: float, delta: float) -> list[tuple[float, float]]:
    """What each of them may have of epsilon and delta.

    The logarithms of 1 + epsilon add up, and the deltas. Time grows with about the third power of
    the columns, and with the inverse square of epsilon; so shares in proportion to the columns make
    the total about smallest.
    """
    if len(hashed) == 1 and hashed[0].times == 1:
        return [(epsilon, delta)]
    sizes = [max(FEW_COLUMNS, len(factor.formula.sampling_set)) for factor in hashed]
    copies = sum(size * factor.times for size, factor in zip(sizes, hashed))
    width, all_sizes = math.log1p(epsilon), sum(sizes)
    return [(math.expm1(width * size / copies), delta * size / all_sizes) for size in sizes]


class Product:
    """The parts, and what is known of each.

    Args:
      formula: all of it.
      parts: into which it falls.
      deadline: from then on what is known is all there will be.

    Attributes:
      calls: of the solver, besides those in ``told``.
      told: how hashing went, part after part.
    """

    def __init__(
        self, formula: cnf.CNF, parts: Sequence[components.Part], deadline: limits.Deadline
    ) -> None:
        self._formula, self._deadline = formula, deadline
        self._left, self._counted = factors(parts), list[tuple[int, int]]()
        self._least = -math.inf  # of each count, in nats
        self._hashed: list[estimate.Estimate] = []  # of the first that are left
        self.calls, self.told = 0, list[Any]()

    def run(
        self,
        open_session: Callable[[cnf.CNF], protocol.SatSession],
        exact: Exact,
        hashed: Hash,
        tolerances: tuple[float, float],
        progress: searches.Progress = lambda _: None,
    ) -> searches.Ending:
        """Counts all parts; raises OutOfTime at the deadline."""
        if not self._has_model(open_session):
            self._left, self._counted = [], [(0, 1)]
            return searches.Ending()
        self._count_all(lambda formula: exact(formula, self._deadline), progress)
        if len(self._left) > 1:
            plan = guarantee.plan(*tolerances)
            limit = plan.rounds * (plan.threshold + 1)  # what hashing one of them would list
            self._count_all(lambda formula: self._list(formula, open_session, limit), progress)
        self._left = _few(self._left, *tolerances)
        ending = searches.Ending()
        number = len(self._left)
        for i, (epsilon, delta) in enumerate(shares(self._left, *tolerances)):
            prefix = f"part {i + 1} of {number}, "
            result, how = hashed(
                self._left[i].formula,
                epsilon=epsilon,
                delta=delta,
                timeout=self._deadline.part(1 / (number - i)).timeout,
                progress=lambda text, prefix=prefix: progress(prefix + text),
            )
            self._hashed.append(result)
            self.told.append(how)
            if how.status != "done":
                ending = searches.Ending(how.status, how.message)
            if how.status in ("interrupted", "failed"):
                break
        return ending

    def claim(self) -> estimate.Estimate:
        """The best valid estimate from what is known so far."""
        waiting = [trivial.count(one.formula) for one in self._left[len(self._hashed) :]]
        known = [estimate.exact_count(number) for number, _ in self._counted] + self._hashed
        known += [estimate.bounded(self._least, self._least, e.log_upper, 0, 0) for e in waiting]
        times = [n for _, n in self._counted] + [one.times for one in self._left]
        return estimate.product(known, times)

    def _has_model(self, open_session: Callable[[cnf.CNF], protocol.SatSession]) -> bool:
        """Whether the whole has one; then so has each part."""
        found = self._list(self._formula, open_session, 1)
        self._least = 0.0
        return found != 0

    def _list(
        self, formula: cnf.CNF, open_session: Callable[[cnf.CNF], protocol.SatSession], limit: int
    ) -> int | None:
        """The number of models, None where it is at least the limit."""
        self._deadline.check()
        session = apart.open_session(open_session, formula, 0)
        try:
            found = session.enumerate(limit, deadline=self._deadline)
        finally:
            self.calls += session.calls
            session.close()
        if found.status is answer.Status.UNKNOWN:
            raise limits.OutOfTime
        return None if found.status is answer.Status.FEASIBLE else found.value

    def _count_all(
        self, exact: Callable[[cnf.CNF], int | None], progress: searches.Progress
    ) -> None:
        """Counts what can be counted so; the others are left."""
        waiting, left = self._left, list[Factor]()
        for i, factor in enumerate(waiting):
            progress(f"part {i + 1} of {len(waiting)}")
            number = exact(factor.formula)
            if number is None:
                left.append(factor)
            else:
                self._counted.append((number, factor.times))
            self._left = left + waiting[i + 1 :]


def _few(left: list[Factor], epsilon: float, delta: float) -> list[Factor]:
    """The parts, or one that holds them all where the share of each would be too small."""
    plans = [guarantee.plan(*share) for share in shares(left, epsilon, delta)]
    models = sum(plan.rounds * plan.threshold for plan in plans)
    return left if len(left) == 1 and left[0].times == 1 or models <= MOST_MODELS else [_join(left)]


def _join(left: list[Factor]) -> Factor:
    """One formula of them all, equal ones as often as they occur."""
    clauses, xors, n = cnf.ragged([]), cnf.ragged([]), 0
    sides, sampled = list[np.ndarray](), list[np.ndarray]()
    for formula in (one.formula for one in left for _ in range(one.times)):
        moved = formula.clauses.values + n * np.sign(formula.clauses.values)
        clauses = cnf.join(clauses, dataclasses.replace(formula.clauses, values=moved))
        odd = dataclasses.replace(formula.xors, values=formula.xors.values + n)
        xors, sides = cnf.join(xors, odd), [*sides, formula.xor_rhs]
        sampled.append(formula.sampling_set + n)
        n += formula.num_variables
    return Factor(cnf.CNF(n, clauses, xors, np.concatenate(sides), np.concatenate(sampled)), 1)


def _octets(formula: cnf.CNF) -> tuple:
    lists = formula.clauses, formula.xors
    parts = [x for one in lists for x in (one.values, one.offsets)] + [formula.xor_rhs]
    return formula.num_variables, *(x.tobytes() for x in [*parts, formula.sampling_set])


def _key(formula: cnf.CNF) -> tuple:
    """Equal for formulas of the same clauses and XORs in any order."""
    clauses = tuple(sorted(tuple(sorted(clause)) for clause in formula.clauses.tolist()))
    xors = zip(formula.xors.tolist(), formula.xor_rhs.tolist())
    odd = tuple(sorted((*sorted(variables), side) for variables, side in xors))
    return formula.num_variables, clauses, odd, formula.sampling_set.tobytes()
