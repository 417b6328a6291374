"""Lower bounds of log Z by mean field around exact sums: certain, and often close.

    >>> graph = generators.ising_grid(3, 3, 0.5, field=0.1)
    >>> round(log_partition(graph, i_bound=0, leaves=1)[0].log_value, 7)
    7.5920802
    >>> log_partition(graph, i_bound=2)[0].log_lower > 7.9
    True

Variables are cut until the rest can be eliminated (``cutset``). The cut ones are independent of
each other and of the rest, and log Z >= E_q[log p] + H(q) whatever their distribution (Saul and
Jordan, "Exploiting tractable substructures in intractable networks", NIPS 1995). The bound begins
at a possible assignment, which is conditioning, log Z >= log Z(cut variables fixed), and climbs by
coordinate ascent. What could touch a hard zero keeps probability 0. Then cut variables are fixed
one at a time to each of their states, and the bounds of the cases added up. With ``i_bound=0`` and
``leaves=1`` it is naive mean field. Host code in numpy float64, nothing is compiled.
"""

import functools
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from inference import answer, estimate, randomness
from inference.bounds import coordinate_ascent, cutset, feasible, power_sums
from inference.exact import bucket_tree, orders
from inference.problems import factor_graph, trivial


class Info(NamedTuple):
    """What the ascent took.

    Attributes:
      status: "done", "timeout" or "interrupted".
      iterations: sweeps of all ascents.
      converged: the best restart stopped rising.
      num_cut: variables cut in the best restart.
      assignment: the best one found, int64 [V]; None where none was.
      seconds: wall time.
    """

    status: str
    iterations: int
    converged: bool
    num_cut: int
    assignment: np.ndarray | None
    seconds: float


def log_partition(
    graph: factor_graph.FactorGraph,
    *,
    key: Any = 0,
    i_bound: int = 8,
    restarts: int = 4,
    leaves: int = 16,
    iterations: int = 100,
    tolerance: float = 1e-6,
    timeout: float | None = None,
) -> tuple[estimate.Estimate, Info]:
    """A CERTAIN lower bound of log Z, never below the score of the best assignment found.

    Args:
      graph: clauses and parities become tables.
      key: integer seed or JAX key, for the choice of assignments and cuts.
      i_bound: what is summed exactly has tables of at most 2^(i_bound + 1) entries.
      restarts: cuts tried, every second one from a soft start.
      leaves: most cases into which the best of them is divided.
      iterations: most sweeps of each ascent.
      tolerance: an ascent ends once a sweep gains less (nats).
      timeout: seconds, after which the best bound so far is returned.

    Raises:
      ValueError: a clause is too wide for a table.
    """
    start = time.monotonic()
    graph = factor_graph.tabulate(graph)
    model = bucket_tree.prepare(graph, orders.min_size)
    deadline = start + (math.inf if timeout is None else timeout)
    limits: dict[str, Any] = {"iterations": iterations, "tolerance": tolerance}
    climb = functools.partial(coordinate_ascent.ascend, deadline=deadline, **limits)
    best = _climb(graph, model, key, i_bound, restarts, timeout, climb)
    if best.status == "done" and best.split is not None and best.state is not None:
        total, sweeps, status = _divide(model, best.split, best.state, leaves, deadline, climb)
        lower = max(best.log_lower, _certain(graph, model, total, 0.0))
        best = best._replace(log_lower=lower, sweeps=best.sweeps + sweeps, status=status)
    upper = -math.inf if best.found.is_impossible else math.inf
    result = estimate.bounded(best.log_lower, best.log_lower, upper, 0.0, 0.0)
    return result, _info(model, best, start)


def marginals(
    graph: factor_graph.FactorGraph,
    *,
    key: Any = 0,
    i_bound: int = 8,
    restarts: int = 4,
    timeout: float | None = None,
) -> tuple[np.ndarray, Info]:
    """Those of the best distribution found, float64 [V, S], without a claim.

    Arguments and errors as ``log_partition``; all zero where no possible assignment was found.
    """
    start = time.monotonic()
    graph = factor_graph.tabulate(graph)
    model = bucket_tree.prepare(graph, orders.min_size)
    deadline = start + (math.inf if timeout is None else timeout)
    climb = functools.partial(coordinate_ascent.ascend, deadline=deadline)
    best = _climb(graph, model, key, i_bound, restarts, timeout, climb)
    found = np.zeros(graph.log_unary.shape)
    for variable, row in zip(model.plan.order, _rows(model, best), strict=True):
        found[variable, model.states[variable]] = row
    return found, _info(model, best, start)


def maximize(
    graph: factor_graph.FactorGraph,
    *,
    key: Any = 0,
    i_bound: int = 8,
    rounds: int = 12,
    timeout: float | None = None,
) -> answer.Answer:
    """The best assignment int64 [1, V] of ``feasible.search``, without a bound.

    Raises:
      ValueError: a clause is too wide for a table.
    """
    start = time.monotonic()
    deadline = start + (math.inf if timeout is None else timeout)
    graph = factor_graph.tabulate(graph)
    model = bucket_tree.prepare(graph, orders.min_size)
    rng = randomness.generator(key, "mean_field")
    found = feasible.search(model, rng, i_bound=i_bound, rounds=rounds, deadline=deadline)
    seconds = time.monotonic() - start
    if found.is_impossible:
        return answer.Answer(answer.Status.INFEASIBLE, -math.inf, -math.inf, seconds=seconds)
    if found.states is None:
        unknown = answer.Status.UNKNOWN
        return answer.Answer(unknown, -math.inf, seconds=seconds, message=found.status)
    assignment = feasible.assignment(model, found.states)[None]
    value = factor_graph.score(graph, assignment[0])
    message = answer.cut_short(found.status)
    return answer.Answer(
        answer.Status.FEASIBLE, value, math.inf, assignment, seconds, message=message
    )


Climb = Callable[..., tuple[coordinate_ascent.State, int, bool]]  # ``ascend`` within its limits


class _Best(NamedTuple):
    """The best of several ascents; without a state the assignment itself is best."""

    found: feasible.Found
    log_lower: float
    status: str = "done"
    split: cutset.Split | None = None
    state: coordinate_ascent.State | None = None
    converged: bool = False
    sweeps: int = 0
    is_cut: bool = False  # the time limit left out restarts


def _climb(
    graph: factor_graph.FactorGraph,
    model: bucket_tree.Model,
    key: Any,
    i_bound: int,
    restarts: int,
    timeout: float | None,
    climb: Climb,
) -> _Best:
    """An assignment, and ascents from it; half of the time may go into these."""
    start, seconds = time.monotonic(), math.inf if timeout is None else timeout
    rng = randomness.generator(key, "mean_field")
    found = feasible.search(model, rng, i_bound=i_bound, deadline=start + seconds / 4)
    if found.states is None:
        return _Best(found, -math.inf, "done" if found.is_impossible else "timeout")
    best = _Best(found, trivial.log_lower(graph, feasible.assignment(model, found.states)))
    if found.status == "interrupted":
        return best._replace(status="interrupted")
    try:
        for restart in range(restarts):
            if restart and time.monotonic() > start + seconds / 2:
                best = best._replace(is_cut=True)
                break
            noise = 1.5 * rng.random(graph.num_variables) * (restart > 1)
            split = cutset.cut(model, 2.0 ** (i_bound + 1), noise)
            chances = cutset.point_mass(split, found.states)
            if restart % 2:
                chances = coordinate_ascent.soft(split, rng)
            state, sweeps, converged = climb(split, chances)
            best = best._replace(sweeps=best.sweeps + sweeps)
            error = coordinate_ascent.rounding_error(split, state)
            lower = _certain(graph, model, state.log_lower, error)
            if lower > best.log_lower or (best.state is None and lower > -math.inf):
                lower = max(lower, best.log_lower)
                best = best._replace(log_lower=lower, split=split, state=state, converged=converged)
            if not split.cut:
                break
    except KeyboardInterrupt:
        return best._replace(status="interrupted")
    is_late = not best.converged and time.monotonic() > start + seconds
    return best._replace(status="timeout") if is_late else best


class _Case(NamedTuple):
    """Part of all assignments: some cut variables are held at one state."""

    log_lower: float
    state: coordinate_ascent.State
    held: np.ndarray


def _divide(
    model: bucket_tree.Model,
    split: cutset.Split,
    state: coordinate_ascent.State,
    leaves: int,
    deadline: float,
    climb: Climb,
) -> tuple[float, int, str]:
    """The sum of the bounds of disjoint cases, less rounding; sweeps taken; and the status.

    The case of greatest bound is divided by its least certain cut variable. The sum does not fall:
    E_q[log p] + H(q) of a case is at most the log-sum of those of its parts.
    """
    whole = estimate.below(state.log_lower, coordinate_ascent.rounding_error(split, state))
    cases, sweeps, status = [_Case(whole, state, np.zeros(len(split.cut), dtype=bool))], 0, "done"
    try:
        while len(cases) < leaves:
            divisible = [at for at, case in enumerate(cases) if not case.held.all()]
            if not divisible:
                break
            if time.monotonic() > deadline:
                status = "timeout"
                break
            at = max(divisible, key=lambda at: cases[at].log_lower)
            parts, taken = _parts(model, split, cases[at], climb)
            cases[at : at + 1] = parts
            sweeps += taken
    except KeyboardInterrupt:
        status = "interrupted"
    return _add_up([case.log_lower for case in cases]), sweeps, status


def _add_up(logs: list[float]) -> float:
    """At most the logarithm of the sum of these exponentials.

    At distance d below the largest a term errs by (d + 2) u exp(-d), with u = 2^-53, together by
    less than (n / e + 2) u of the sum, which is at least 1; its logarithm errs once more.
    """
    top = max(logs)
    if top == -math.inf:
        return top
    log_sum = math.log(math.fsum(math.exp(value - top) for value in logs))
    return estimate.below(top + log_sum, 2.0**-52 * (len(logs) + 8 + log_sum))


def _certain(
    graph: factor_graph.FactorGraph, model: bucket_tree.Model, value: float, error: float
) -> float:
    """A bound of the graph from one of the model that errs by so much."""
    return estimate.below(model.total(value), error + float(graph.log_error))


def _parts(
    model: bucket_tree.Model, split: cutset.Split, case: _Case, climb: Climb
) -> tuple[list[_Case], int]:
    """The case by the states of the cut variable that is least certain in it."""
    chances = case.state.chances
    v = int(np.argmin(np.where(case.held, np.inf, chances.max(axis=1))))
    held = case.held.copy()
    held[v] = True
    parts, sweeps = [], 0
    for s in range(split.sizes[v]):
        if chances[v, s] == 1.0:
            parts.append(case._replace(held=held))
            continue
        start = chances.copy()
        start[v] = np.arange(chances.shape[1]) == s
        state, taken, _ = climb(split, start, held=held)
        if state.log_lower == -math.inf:  # the others have to change with it
            state, taken, _ = climb(split, _possible(model, split, start, held), held=held)
        sweeps += taken
        if state.log_lower > -math.inf:
            lower = estimate.below(state.log_lower, coordinate_ascent.rounding_error(split, state))
            parts.append(_Case(lower, state, held))
    return parts, sweeps


def _possible(
    model: bucket_tree.Model, split: cutset.Split, chances: np.ndarray, held: np.ndarray
) -> np.ndarray:
    """All weight on a possible assignment with the states that are held; as given if none."""
    fixed = {split.cut[v]: int(np.argmax(chances[v])) for v in np.flatnonzero(held)}
    found = feasible.possible(model, fixed=fixed).assignments
    return chances if found is None else cutset.point_mass(split, found[0])


def _rows(model: bucket_tree.Model, best: _Best) -> list[np.ndarray]:
    """Distributions by position; zeros where no possible assignment was found."""
    rows: list[np.ndarray] = [np.zeros(size) for size in model.plan.sizes]
    if best.split is not None and best.state is not None:
        split, tree = best.split, best.split.tree
        for at, v in enumerate(split.cut):
            rows[v] = best.state.chances[at, : split.sizes[at]]
        joints, _ = power_sums.downward(tree, best.state.sums)
        for joint, clique in zip(joints, tree.cliques, strict=True):
            rows[split.kept[clique[0]]] = joint.reshape(len(joint), -1).sum(axis=1)
    elif best.found.states is not None:
        for v, state in enumerate(best.found.states):
            rows[v][state] = 1.0
    return rows


def _info(model: bucket_tree.Model, best: _Best, start: float) -> Info:
    states, num_cut = best.found.states, 0 if best.split is None else len(best.split.cut)
    assignment = None if states is None else feasible.assignment(model, states)
    seconds = time.monotonic() - start
    status = "timeout" if best.is_cut and best.status == "done" else best.status
    return Info(status, best.sweeps, best.converged, num_cut, assignment, seconds)
