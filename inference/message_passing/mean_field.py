"""Lower bounds of log Z by mean field around exact sums: certain, and often close.

    >>> graph = generators.ising_grid(3, 3, 0.5, field=0.1)
    >>> round(log_partition(graph, i_bound=0)[0].log_value, 7)
    7.5920802
    >>> log_partition(graph, i_bound=2)[0].log_lower > 7.9
    True

Variables are cut until the rest can be eliminated (``cutset``). The cut ones are independent of
each other and of the rest, and log Z >= E_q[log p] + H(q) whatever their distribution (Saul and
Jordan, "Exploiting tractable substructures in intractable networks", NIPS 1995). The bound begins
at a possible assignment, which is conditioning, log Z >= log Z(cut variables fixed), and climbs by
coordinate ascent: cut variables by colours, none together with one that shares a factor with it,
then the rest exactly. With ``i_bound=0`` everything is cut: naive mean field. What could touch a
hard zero keeps probability 0. Host code in numpy float64, nothing is compiled.
"""

import math
import time
from typing import Any, NamedTuple

import numpy as np

from inference import answer, estimate, randomness
from inference.exact import bucket_tree, orders
from inference.message_passing import cutset, feasible
from inference.message_passing import mini_bucket_tree as trees
from inference.problems import factor_graph

_SMALLEST = 1e-25  # probabilities below are 0, so that no product of a dozen underflows


class Info(NamedTuple):
    """What the ascent took.

    Attributes:
      status: "done", "timeout" or "interrupted".
      iterations: sweeps of all restarts.
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


class State(NamedTuple):
    """Where an ascent stands.

    Attributes:
      chances: float [C, S], the distributions of the cut variables.
      sums: the rest, given them.
      log_lower: the bound in nats, before its rounding.
    """

    chances: np.ndarray
    sums: trees.Sums
    log_lower: float


def log_partition(
    graph: factor_graph.FactorGraph,
    *,
    key: Any = 0,
    i_bound: int = 8,
    restarts: int = 4,
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
      iterations: most sweeps of each.
      tolerance: an ascent ends once a sweep gains less (nats).
      timeout: seconds, after which the best bound so far is returned.

    Raises:
      ValueError: a clause is too wide for a table, or a number is out of range.
    """
    start = time.monotonic()
    graph = factor_graph.tabulate(graph)
    model = bucket_tree.prepare(graph, orders.min_size)
    options = {"i_bound": i_bound, "restarts": restarts, "iterations": iterations}
    climbed = _climb(graph, model, key, tolerance=tolerance, timeout=timeout, **options)
    upper = -math.inf if climbed.found.is_impossible else math.inf
    lower = climbed.log_lower
    return estimate.bounded(lower, lower, upper, 0.0, 0.0), _info(model, climbed, start)


def marginals(
    graph: factor_graph.FactorGraph,
    *,
    key: Any = 0,
    i_bound: int = 8,
    restarts: int = 4,
    iterations: int = 100,
    tolerance: float = 1e-6,
    timeout: float | None = None,
) -> tuple[np.ndarray, Info]:
    """Those of the best distribution found, float64 [V, S], without a claim.

    Arguments and errors as ``log_partition``; all zero where no possible assignment was found.
    """
    start = time.monotonic()
    graph = factor_graph.tabulate(graph)
    model = bucket_tree.prepare(graph, orders.min_size)
    options = {"i_bound": i_bound, "restarts": restarts, "iterations": iterations}
    climbed = _climb(graph, model, key, tolerance=tolerance, timeout=timeout, **options)
    rows: list[np.ndarray] = [np.zeros(size) for size in model.plan.sizes]
    if climbed.split is not None and climbed.state is not None:
        split, tree = climbed.split, climbed.split.tree
        for at, v in enumerate(split.cut):
            rows[v] = climbed.state.chances[at, : split.sizes[at]]
        joints, _ = trees.downward(tree, climbed.state.sums)
        for joint, clique in zip(joints, tree.cliques, strict=True):
            rows[split.kept[clique[0]]] = joint.reshape(len(joint), -1).sum(axis=1)
    elif climbed.found.states is not None:
        for v, state in enumerate(climbed.found.states):
            rows[v][state] = 1.0
    found = np.zeros(graph.log_unary.shape)
    for variable, row in zip(model.plan.order, rows, strict=True):
        found[variable, model.states[variable]] = row
    return found, _info(model, climbed, start)


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
        return answer.Answer(answer.Status.UNKNOWN, -math.inf, seconds=seconds)
    assignment = feasible.assignment(model, found.states)[None]
    value = float(factor_graph.log_score(graph, assignment)[0])
    return answer.Answer(answer.Status.FEASIBLE, value, math.inf, assignment, seconds)


class _Climbed(NamedTuple):
    """The best of several ascents; without a state the assignment itself is best."""

    found: feasible.Found
    log_lower: float
    split: cutset.Split | None
    state: State | None
    converged: bool
    sweeps: int
    status: str


def _climb(
    graph: factor_graph.FactorGraph,
    model: bucket_tree.Model,
    key: Any,
    *,
    i_bound: int,
    restarts: int,
    iterations: int,
    tolerance: float,
    timeout: float | None,
) -> _Climbed:
    start = time.monotonic()
    deadline = start + (math.inf if timeout is None else timeout)
    rng = randomness.generator(key, "mean_field")
    third = math.inf if timeout is None else start + timeout / 3
    found = feasible.search(model, rng, i_bound=i_bound, deadline=third)
    if found.states is None:
        status = "done" if found.is_impossible else "timeout"
        return _Climbed(found, -math.inf, None, None, found.is_impossible, 0, status)
    lower = feasible.log_lower(graph, feasible.assignment(model, found.states))
    best = _Climbed(found, lower, None, None, False, 0, "done")
    try:
        for restart in range(restarts):
            if restart and time.monotonic() > deadline:
                return best._replace(status="timeout")
            noise = 1.5 * rng.random(graph.num_variables) * (restart > 1)
            split = cutset.cut(model, 2.0 ** (i_bound + 1), noise)
            chances = cutset.point_mass(split, found.states)
            if restart % 2:
                chances = _soft(split, rng)
            state, sweeps, converged = ascend(split, chances, iterations, tolerance, deadline)
            best = best._replace(sweeps=best.sweeps + sweeps)
            slack = _rounding_error(split, state) + float(graph.log_error)
            lower = state.log_lower + model.constant - slack
            if lower > best.log_lower or best.state is None and lower > -math.inf:
                lower = max(lower, best.log_lower)
                best = best._replace(log_lower=lower, split=split, state=state, converged=converged)
            if not split.cut:
                break
    except KeyboardInterrupt:
        return best._replace(status="interrupted")
    return best


def _info(model: bucket_tree.Model, climbed: _Climbed, start: float) -> Info:
    found, num_cut = climbed.found, 0 if climbed.split is None else len(climbed.split.cut)
    assignment = None if found.states is None else feasible.assignment(model, found.states)
    seconds = time.monotonic() - start
    return Info(climbed.status, climbed.sweeps, climbed.converged, num_cut, assignment, seconds)


def ascend(
    split: cutset.Split,
    chances: np.ndarray,
    iterations: int = 100,
    tolerance: float = 1e-6,
    deadline: float = math.inf,
) -> tuple[State, int, bool]:
    """Coordinate ascent from given distributions: the best state, sweeps taken, whether it settled.

    The bound never falls, up to rounding.
    """
    state = evaluate(split, chances)
    if not split.cut or state.log_lower == -math.inf:
        return state, 0, state.log_lower > -math.inf
    plan = _plan(split)
    for sweep in range(1, iterations + 1):
        following = evaluate(split, _sweep(split, plan, state))
        gain = following.log_lower - state.log_lower
        state = following if gain > 0 else state
        if gain < tolerance:
            return state, sweep, True
        if time.monotonic() > deadline:
            return state, sweep, False
    return state, iterations, False


def evaluate(split: cutset.Split, chances: np.ndarray) -> State:
    """The bound for given distributions, the rest at its best."""
    tables, constant = cutset.expect(split, chances)
    sums = trees.upward(split.tree, tables, np.ones(len(tables)), keep=True)
    entropy = -float((chances * np.log(np.where(chances > 0, chances, 1.0))).sum())
    return State(chances, sums, sums.log_value + constant + entropy)


Plan = list[list[tuple[int, int, np.ndarray]]]  # by colour: batch, cut axis, rows


def _plan(split: cutset.Split) -> Plan:
    """What each colour of cut variables reads."""
    colour = np.empty(len(split.cut), dtype=np.int64)
    for number, members in enumerate(split.colours):
        colour[members] = number
    plan: Plan = [[] for _ in split.colours]
    for at, batch in enumerate(split.batches):
        for axis in range(batch.cut.shape[1]):
            own = colour[batch.cut[:, axis]]
            for number in np.unique(own):
                plan[number].append((at, axis, np.flatnonzero(own == number)))
    return plan


def _sweep(split: cutset.Split, plan: Plan, state: State) -> np.ndarray:
    """New distributions of the cut variables, colour by colour, given that of the rest."""
    joints, _ = trees.downward(split.tree, state.sums)
    batches = [cutset.condense(split, batch, joints) for batch in split.batches]
    chances = state.chances.copy()
    padding = np.arange(chances.shape[1]) >= np.array(split.sizes)[:, None]
    for members, reads in zip(split.colours, plan, strict=True):
        logits = np.where(padding, -np.inf, 0.0)
        for at, axis, rows in reads:
            over = [a for a in range(batches[at].cut.shape[1]) if a != axis]
            table = cutset.average(batches[at], chances, over, rows)
            variables = batches[at].cut[rows, axis]
            np.add.at(logits, (variables[:, None], np.arange(table.shape[1])), table)
        chances[members] = _distribution(logits[members], chances[members])
    return chances


def _distribution(logits: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Normalised exponentials of each row; rows without a possible state stay as they were."""
    top = logits.max(axis=1, keepdims=True)
    powers = np.exp(logits - np.where(np.isfinite(top), top, 0.0))
    powers = np.where(powers < _SMALLEST, 0.0, powers)
    total = powers.sum(axis=1, keepdims=True)
    return np.where(total > 0, powers / np.where(total > 0, total, 1.0), otherwise)


def _soft(split: cutset.Split, rng: np.random.Generator) -> np.ndarray:
    padding = np.arange(max(split.sizes, default=1)) >= np.array(split.sizes)[:, None]
    powers = np.where(padding, 0.0, 1.0 + rng.random(padding.shape))
    return powers / powers.sum(axis=1, keepdims=True)


def _rounding_error(split: cutset.Split, state: State) -> float:
    """Of the averages, whose terms are as many as a table has entries, and of the sums."""
    tables, _ = cutset.expect(split, state.chances)
    error = trees.rounding_error(split.tree, tables, np.ones(len(tables)))
    for batch in split.batches:
        sizes = factor_graph.magnitude(batch.finite.reshape(len(batch.factors), -1), axis=1)
        error += 2.0**-52 * (64 + batch.finite[0].size) * float(sizes.sum())
    return error + 2.0**-46 * (abs(state.log_lower) + len(split.cut))
