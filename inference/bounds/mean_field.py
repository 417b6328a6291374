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
from typing import Any, NamedTuple

import numpy as np

from inference import answer, estimate, limits, randomness
from inference.bounds import cases, coordinate_ascent, cutset, entries, feasible, power_sums
from inference.exact import bucket_tree, orders
from inference.problems import factor_graph, trivial

I_BOUND = 8
_ENTRY_BYTES = 72  # tables, shares and joint probabilities of three states of an ascent


class Info(NamedTuple):
    """What the ascent took.

    Attributes:
      status: "done", "timeout" or "interrupted".
      seconds: wall time.
      iterations: sweeps of all ascents.
      converged: the best restart stopped rising.
      num_cut: variables cut in the best restart.
      assignment: the best one found, int64 [V]; None where none was.
    """

    status: str
    seconds: float
    iterations: int
    converged: bool
    num_cut: int
    assignment: np.ndarray | None


def log_partition(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    i_bound: int | None = None,
    restarts: int = 4,
    leaves: int = 16,
    iterations: int = 100,
) -> tuple[estimate.Estimate, Info]:
    """A CERTAIN lower bound of log Z, never below the score of the best assignment found.

    Where no possible assignment was found in time, the bounds of ``trivial``.

    Args:
      graph: clauses and parities become tables.
      seed: integer, JAX key or bytes, for the choice of assignments and cuts.
      timeout: seconds, after which the best bound so far is returned; a possible assignment is
        improved once, and one ascent begun, in any case.
      memory: mebibytes for tables, by default without a limit.
      i_bound: what is summed exactly has tables of at most 2^(i_bound + 1) entries; by default 8,
        or less where ``memory`` asks for it.
      restarts: cuts tried, every second one from a soft start.
      leaves: most cases into which the best of them is divided.
      iterations: most sweeps of each ascent.

    Raises:
      ValueError: the tables need more memory, or a clause is too wide for one.
    """
    deadline = limits.Deadline.after(timeout)
    graph, model, i_bound = _prepare(graph, i_bound, memory)
    climb = functools.partial(coordinate_ascent.ascend, iterations=iterations, deadline=deadline)
    best = _climb(graph, model, seed, i_bound, restarts, climb, deadline)
    if best.status != "interrupted" and best.split is not None and best.state is not None:
        total, sweeps, status = cases.divide(model, best.split, best.state, leaves, climb, deadline)
        lower = max(best.log_lower, _certain(graph, model, total, 0.0))
        status = answer.cut_short(best.status, status)
        best = best._replace(log_lower=lower, sweeps=best.sweeps + sweeps, status=status)
    info = _info(model, best, deadline)
    if best.found.states is None and not best.found.is_impossible:
        return trivial.log_partition(graph), info
    upper = -math.inf if best.found.is_impossible else math.inf
    return estimate.bounded(best.log_lower, best.log_lower, upper, 0.0, 0.0), info


def marginals(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    i_bound: int | None = None,
    restarts: int = 4,
    iterations: int = 100,
) -> tuple[np.ndarray, Info]:
    """Those of the best distribution found, float64 [V, S], without a claim.

    Arguments and errors as ``log_partition``; all zero where Z = 0 was proven. Where no possible
    assignment was found in time, those of each variable without its neighbours.
    """
    deadline = limits.Deadline.after(timeout)
    graph, model, i_bound = _prepare(graph, i_bound, memory)
    climb = functools.partial(coordinate_ascent.ascend, iterations=iterations, deadline=deadline)
    best = _climb(graph, model, seed, i_bound, restarts, climb, deadline)
    info = _info(model, best, deadline)
    if best.found.states is None and not best.found.is_impossible:
        return trivial.marginals(graph), info
    return model.by_variable(graph, _rows(model, best)), info


def maximize(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    i_bound: int | None = None,
    rounds: int = 12,
) -> tuple[answer.Answer, answer.Info]:
    """The best assignment int64 [1, V] of ``feasible.search``, without a bound.

    ``rounds`` as there; the other arguments and errors as ``log_partition``. Where no possible
    assignment was found in time, the bound of ``trivial``.
    """
    deadline = limits.Deadline.after(timeout)
    graph, model, i_bound = _prepare(graph, i_bound, memory)
    rng = randomness.generator(seed, "mean_field")
    found = feasible.search(model, rng, i_bound=i_bound, rounds=rounds, deadline=deadline)
    info = answer.Info(entries.ended(deadline, found.status), deadline.seconds)
    if found.is_impossible:
        return answer.Answer(answer.Status.INFEASIBLE, -math.inf, -math.inf), info
    if found.states is None:
        return trivial.maximize(graph), info
    return entries.best(graph, model, found.states), info


def _prepare(
    graph: factor_graph.FactorGraph, i_bound: int | None, memory: float | None
) -> tuple[factor_graph.FactorGraph, bucket_tree.Model, int]:
    """The graph with tables alone, its model, and the i-bound or the largest up to 8 that fits.

    Raises:
      ValueError: the tables need more mebibytes: twice those of the factors, with their hard zeros
        and an average, and one table of full size for each variable.
    """
    graph, model = entries.prepare(graph, orders.min_size, memory)
    factors = 4 * sum(table.nbytes for _, table in model.factors)

    def octets(i_bound: int) -> float:
        return factors + _ENTRY_BYTES * len(model.plan.sizes) * 2.0 ** (i_bound + 1)

    if i_bound is None:
        most = math.inf if memory is None else memory * limits.MEBIBYTE
        i_bound = next((i for i in range(I_BOUND, 0, -1) if octets(i) <= most), 0)
    limits.require_memory(octets(i_bound), memory, f"tables for an i-bound of {i_bound}")
    return graph, model, i_bound


class _Best(NamedTuple):
    """The best of several ascents; without a state the assignment itself is best."""

    found: feasible.Incumbent
    log_lower: float
    status: str = "done"
    split: cutset.Split | None = None
    state: coordinate_ascent.State | None = None
    converged: bool = False
    sweeps: int = 0


def _climb(
    graph: factor_graph.FactorGraph,
    model: bucket_tree.Model,
    seed: Any,
    i_bound: int,
    restarts: int,
    climb: cases.Climb,
    deadline: limits.Deadline,
) -> _Best:
    """An assignment, and ascents from it; half of the time may go into these."""
    rng, half = randomness.generator(seed, "mean_field"), deadline.part(0.5)
    found = feasible.search(model, rng, i_bound=i_bound, deadline=deadline.part(0.25))
    if found.states is None:
        return _Best(found, -math.inf, found.status)
    best = _Best(found, trivial.log_lower(graph, model.assignment(found.states)))
    if found.status == "interrupted":
        return best._replace(status="interrupted")
    try:
        for restart in range(restarts):
            if restart and half.has_passed():
                return best._replace(status="timeout")
            noise = 1.5 * rng.random(graph.num_variables) * (restart > 1)
            split = cutset.cut(model, 2.0 ** (i_bound + 1), noise)
            begin = cutset.point_mass(split, found.states)
            if restart % 2:
                begin = coordinate_ascent.soft(split, rng)
            state, sweeps, converged = climb(split, begin)
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
    return best


def _certain(
    graph: factor_graph.FactorGraph, model: bucket_tree.Model, value: float, error: float
) -> float:
    """A bound of the graph from one of the model that errs by so much."""
    return estimate.below(model.total(value), error + float(graph.log_error))


def _rows(model: bucket_tree.Model, best: _Best) -> list[np.ndarray]:
    """Distributions by position; zeros where no possible assignment was found."""
    rows: list[np.ndarray] = [np.zeros(size) for size in model.plan.sizes]
    if best.split is not None and best.state is not None:
        split, tree = best.split, best.split.tree
        for at, v in enumerate(split.cut):
            rows[v] = best.state.probabilities[at, : split.sizes[at]]
        joints, _ = power_sums.downward(tree, best.state.sums)
        for joint, clique in zip(joints, tree.cliques, strict=True):
            rows[split.kept[clique[0]]] = joint.reshape(len(joint), -1).sum(axis=1)
    elif best.found.states is not None:
        for v, state in enumerate(best.found.states):
            rows[v][state] = 1.0
    return rows


def _info(model: bucket_tree.Model, best: _Best, deadline: limits.Deadline) -> Info:
    states, num_cut = best.found.states, 0 if best.split is None else len(best.split.cut)
    assignment = None if states is None else model.assignment(states)
    status = entries.ended(deadline, best.status)
    return Info(status, deadline.seconds, best.sweeps, best.converged, num_cut, assignment)
