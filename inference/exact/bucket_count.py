"""Exact counts by reduction and elimination: plain, projected and weighted, certain.

    >>> formula = cnf.from_clauses([[3, 4]], num_variables=7)
    >>> count(formula)[0].count
    96

The formula is reduced (``support``) and split into components (``components``). Each becomes 0-1
tables (``clause_tables``), long clauses as chains of short ones, and its variables are eliminated,
in exact integers (``residues``) or, with weights, in logarithms with a bound on their rounding
(``elimination``). What that takes is known beforehand, and refused where it is too much.

Bucket elimination: Dechter (1999), as in ``elimination``. Reduction first, by Lagniez and Marquis,
"On Preprocessing Techniques and Their Impact on Propositional Model Counting" (JAR 2017).
"""

import itertools
import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from inference import estimate, limits
from inference.exact import (
    bucket_tree,
    clause_tables,
    elimination,
    literal_weights,
    orders,
    passes,
    residues,
)
from inference.problems import cnf, trivial
from inference.reduction import components, support, undefined
from inference.workers import within

# Measured on one core: an entry of a table for one prime; a bucket, its tables and all.
SECONDS_PER_ENTRY, SECONDS_PER_BUCKET = 6e-9, 1e-4
WIDEST = 34  # variables of a message; those of more would take hours
MOST_CUT = 8  # variables whose cases are counted one by one, where tables do not fit
PRIMES_AT_ONCE = 32
THREADS_FROM = 2.0**24  # entries: fewer leave nothing to share


class Info(NamedTuple):
    """What a count took.

    Attributes:
      status: "done" or "timeout".
      seconds: wall time, the reduction included.
      message: how wide the formula is, once reduced.
      width: the most variables in one message.
      entries: of all tables, each once for every prime.
    """

    status: str
    seconds: float
    message: str = ""
    width: int = 0
    entries: float = 0.0


class PlannedPart(NamedTuple):
    """A component that is planned.

    Attributes:
      planned: its tables and their order.
      bits: its count, but for variables that no table mentions, is at most 2^bits.
      log_unary: nats [n, 2] by position, None where there are no weights.
      constants: nats, of sampling variables that no table mentions.
      names: int32 [n], by position the variable of the whole formula, 0 for links.
    """

    planned: clause_tables.Planned
    bits: int
    log_unary: np.ndarray | None
    constants: list[float]
    names: np.ndarray

    @property
    def entries(self) -> float:
        """Of all tables, each once for every prime; a logarithm takes as long as four."""
        times = residues.num_primes(self.bits) if self.log_unary is None else 4
        return self.planned.entries * times


class PreparedCount(NamedTuple):
    """A formula reduced, split and planned; the count is multiplied by 2^free."""

    parts: list[PlannedPart]
    free: int
    weights: literal_weights.Weights

    @property
    def entries(self) -> float:
        """Of all tables, each once for every prime."""
        return math.fsum(part.entries for part in self.parts)

    @property
    def width(self) -> int:
        """The most variables in one message."""
        return max((part.planned.plan.width for part in self.parts), default=0)

    @property
    def seconds(self) -> float:
        """What the elimination should take on one core."""
        buckets = sum(len(part.planned.plan.order) for part in self.parts)
        return SECONDS_PER_ENTRY * self.entries + SECONDS_PER_BUCKET * buckets


def count(
    formula: cnf.CNF,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    reduce: Callable[..., support.Reduction] = support.reduce,
    stop: Callable[[], bool] = lambda: False,
    budget: float = math.inf,
    tables: int | None = None,
) -> tuple[estimate.Estimate, Info]:
    """The (weighted, projected) model count: CERTAIN, with ``count`` unless there are weights.

    Args:
      formula: of small width, once it is reduced.
      seed: nothing is drawn.
      timeout: seconds; then ``trivial.count``.
      memory: mebibytes, as for ``within.count``, in another process; None for no limit.
      reduce: from the formula without weights to one of fewer variables, as ``support.reduce``.
      stop: asked between tables; once it is true the count ends as at the time limit.
      budget: seconds that elimination should take at most.
      tables: mebibytes they may take, by default ``memory``, and without it ``elimination.MEMORY``.

    Raises:
      TooWide: the tables need more than that, or more than ``WIDEST`` variables.
      ValueError: elimination should take longer than the budget.
    """
    if memory is not None:
        sent: dict[str, Any] = {"reduce": reduce, "stop": stop, "budget": budget}
        sent |= {"tables": memory if tables is None else tables}
        result, how = within.count(count, formula, timeout=timeout, memory=memory, **sent)
        return result, Info(*how)
    deadline = limits.Deadline.after(timeout, stop)
    try:
        prepared = prepare(formula, reduce=reduce, deadline=deadline)
        if prepared.seconds > budget:
            raise ValueError(f"expected at most {budget} s, given {prepared.seconds:.3g} s")
        return solve(prepared, memory=tables, deadline=deadline)
    except limits.OutOfTime:
        return trivial.count(formula), Info("timeout", deadline.seconds)


def prepare(
    formula: cnf.CNF,
    *,
    reduce: Callable[..., support.Reduction] = support.reduce,
    deadline: limits.Deadline = limits.NEVER,
) -> PreparedCount:
    """Reduces, splits and plans; arguments as for ``count``.

    Raises:
      TooWide: no order was found whose messages have at most ``WIDEST`` variables.
      OutOfTime: the deadline passed.
    """
    deadline.check()
    weights = literal_weights.take(formula)
    kept = np.flatnonzero(weights.matters) + 1
    reduction = reduce(weights.formula, keep=kept.tolist(), support=None, deadline=deadline)
    if not np.isin(kept, reduction.variables).all():
        raise ValueError("expected a reduction that keeps the variables with two weights")
    outside = np.setdiff1d(reduction.variables, formula.sampling_set)
    parts = []
    for component in components.split(reduction.formula):
        deadline.check()
        names = reduction.variables[component.variables - 1]
        maybe = np.flatnonzero(np.isin(names, outside)) + 1
        hidden = undefined.among_those(component.formula, maybe, deadline=deadline)
        planned = plan(component.formula, hidden, deadline)
        parts.append(_part(planned, component.formula, names, weights))
    return PreparedCount(parts, len(reduction.free), weights)


def plan(formula: cnf.CNF, hidden: np.ndarray, deadline: limits.Deadline) -> clause_tables.Planned:
    """As ``clause_tables.plan``; raises TooWide."""
    options: dict[str, Any] = {"widest": WIDEST, "deadline": deadline}
    try:
        return clause_tables.plan(formula, hidden=hidden.tolist(), **options)
    except orders.Wide as wide:
        width = int(wide.args[0])
        raise elimination.TooWide(width, 8 << width, elimination.MEMORY) from None


def solve(
    prepared: PreparedCount,
    *,
    memory: float | None = None,
    deadline: limits.Deadline = limits.NEVER,
) -> tuple[estimate.Estimate, Info]:
    """The count of what was prepared; raises TooWide and OutOfTime."""
    allowed = elimination.MEMORY if memory is None else memory
    if prepared.weights.table is None:
        values = [_integer(part, allowed, deadline) for part in prepared.parts]
        result = estimate.exact_count(math.prod(values) << prepared.free)
    else:
        logs = [_logarithm(part, allowed, deadline) for part in prepared.parts]
        result = _weighted(logs, prepared)
    message = f"width {prepared.width} once reduced"
    return result, Info("done", deadline.seconds, message, prepared.width, prepared.entries)


def _part(
    planned: clause_tables.Planned,
    formula: cnf.CNF,
    names: np.ndarray,
    weights: literal_weights.Weights,
) -> PlannedPart:
    """With the weights of its variables, which go by these names in the whole formula."""
    apart = np.setdiff1d(formula.sampling_set, planned.variables)
    bits = len(formula.sampling_set) - len(apart)
    numbers = np.where(planned.variables <= formula.num_variables, planned.variables, 0)
    whole = np.concatenate([[0], names])[numbers]
    if weights.table is None:
        return PlannedPart(planned, bits, None, [math.log(2)] * len(apart), whole)
    log_unary = np.zeros((formula.num_variables + 1, 2))  # row 0 for links
    mine = np.flatnonzero(weights.matters[names - 1])
    log_unary[1 + mine] = weights.table[names[mine] - 1]
    constants = np.logaddexp(log_unary[apart, 0], log_unary[apart, 1]).tolist()
    return PlannedPart(planned, bits, log_unary[numbers], constants, whole)


def _integer(part: PlannedPart, memory: float, deadline: limits.Deadline) -> int:
    """The count of a component without weights."""
    if part.planned.impossible:
        return 0
    cases, needed = _cases(part, memory)
    fitting = int(memory * limits.MEBIBYTE // needed)  # primes at a time, in all threads
    jobs = min(os.cpu_count() or 1, fitting) if part.entries > THREADS_FROM else 1
    at_once, apart = min(PRIMES_AT_ONCE, fitting // jobs), len(cases) > 1

    def run(case: clause_tables.Planned, until: limits.Deadline) -> int:
        return residues.total(
            case.plan,
            case.factors,
            log2_most=part.bits,
            hidden=case.hidden,
            at_once=at_once,
            jobs=1 if apart else jobs,
            deadline=until,
        )

    values = residues.in_threads(run, cases, jobs if apart else 1, deadline)
    return sum(values) << len(part.constants)


def _logarithm(part: PlannedPart, memory: float, deadline: limits.Deadline) -> tuple[float, float]:
    """The weighted count of a component in nats, and a bound on its error."""
    planned = part.planned
    if planned.impossible:
        return -math.inf, 0.0
    if _octets(planned.plan) > memory * limits.MEBIBYTE:
        raise elimination.TooWide(planned.plan.width, _octets(planned.plan), memory)
    with np.errstate(divide="ignore"):
        factors = [(scope, np.log(table)) for scope, table in planned.factors]
    rows = np.zeros((0, 2)) if part.log_unary is None else part.log_unary
    factors += [([at], row) for at, row in enumerate(rows) if row.any()]
    model = bucket_tree.Model(planned.plan, factors, part.constants, [])
    options: dict[str, Any] = {"keep": False, "hidden": planned.hidden, "deadline": deadline}
    value, _, _ = passes.upward(model, passes.log_sum, **options)
    if value == -math.inf:
        return value, 0.0
    # A few units for each of the constants, which are rounded logarithms of sums.
    units = math.fsum(2 + abs(x) for x in part.constants)
    return value, elimination.rounding_error(model, value) + 2.0**-50 * units


def _weighted(logs: list[tuple[float, float]], prepared: PreparedCount) -> estimate.Estimate:
    """The product of the components, free variables and the constant."""
    weights, free = prepared.weights, prepared.free * math.log(2)
    value = math.fsum([free, weights.log_constant, *(value for value, _ in logs)])
    if value == -math.inf:
        return estimate.certain(value, 0.0)
    error = math.fsum([2.0**-50 * free, weights.log_error, *(error for _, error in logs)])
    return estimate.certain(value, error + 2.0**-50 * abs(value))


def _cases(part: PlannedPart, memory: float) -> tuple[list[clause_tables.Planned], int]:
    """The plan, cut into cases where its tables take too much memory, and octets for one prime."""
    planned, cut = part.planned, list[int]()
    while (needed := _octets(planned.plan)) > memory * limits.MEBIBYTE:
        at = planned.costliest()
        if len(cut) == MOST_CUT or at is None:
            raise elimination.TooWide(part.planned.plan.width, _octets(part.planned.plan), memory)
        cut.append(at)
        planned = planned.given({at: 0})
    states = itertools.product(range(2), repeat=len(cut))
    return [part.planned.given(dict(zip(cut, one, strict=True))) for one in states], needed


def _octets(plan: bucket_tree.Plan) -> int:
    """Of messages and the block worked on."""
    return 8 * (plan.peak_entries + 4 * residues.BLOCK)
