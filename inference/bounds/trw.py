"""Tree-reweighted upper bounds of log Z: certain, converged or not.

    >>> graph = generators.ising_grid(2, 2, 1.0)  # a cycle of four: each edge in 3 of 4 trees
    >>> estimate, info = log_partition(graph)
    >>> round(estimate.log_value, 7), round(4 * math.log(2) + 3 * math.log(math.cosh(4 / 3)), 7)
    (4.8946745, 4.8946745)

log Z is convex in the log-potentials, so log Z(theta) <= sum_T rho_T log Z(theta_T) for any models
T with sum_T rho_T theta_T = theta; here acyclic sets of factors of any arity, which cover the model
(``forests``). Wainwright, Jaakkola and Willsky, "A new class of upper bounds on the log partition
function" (2005). What a factor and its variables share is moved between them by messages, fitted by
L-BFGS; every evaluation is a bound. Host code in numpy float64, nothing is compiled.
"""

import math
import time
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np

from inference import answer, estimate, randomness
from inference.bounds import descent, feasible, forests
from inference.exact import bucket_tree
from inference.problems import factor_graph, trivial

TEMPERATURES = (1.0, 0.1)


class Info(NamedTuple):
    """What the bound took.

    Attributes:
      status: "done", "timeout" or "interrupted".
      iterations: sweeps over the trees.
      converged: the trees agree about the marginals: no step lowers the bound.
      num_trees: sets of factors.
      seconds: wall time.
    """

    status: str
    iterations: int
    converged: bool
    num_trees: int
    seconds: float


class Cover(NamedTuple):
    """A model and the acyclic parts that cover it.

    Attributes:
      plan: of ``forests.schedule``.
      variables: int [F, k] of each group of factors of one shape.
      tables: float [F, ...], each divided by the chance that a part holds the factor.
      members: bool [T, F].
      unaries: float [V, S], padded with -inf.
    """

    plan: forests.Plan
    variables: list[np.ndarray]
    tables: list[np.ndarray]
    members: list[np.ndarray]
    unaries: np.ndarray


def log_partition(
    graph: factor_graph.FactorGraph,
    *,
    key: Any = 0,
    num_trees: int = 8,
    iterations: int = 200,
    timeout: float | None = None,
) -> tuple[estimate.Estimate, Info]:
    """An upper bound of log Z, CERTAIN; the lower side is the score of a decoded assignment.

    On an acyclic model the value is log Z.

    Args:
      graph: clauses and parities become tables.
      key: integer seed or JAX key, for the choice of the trees.
      num_trees: at least so many sets of factors, more where they are needed to cover all.
      iterations: most steps of L-BFGS.
      timeout: seconds, after which the best bound so far is returned.

    Raises:
      ValueError: a clause is too wide for a table.
    """
    start = time.monotonic()
    graph = factor_graph.tabulate(graph)
    model = bucket_tree.prepare(graph, _as_given)
    cover = make_cover(model, num_trees, randomness.generator(key, "trw"))
    seconds = math.inf if timeout is None else timeout - (time.monotonic() - start)
    found = _fit(cover, iterations, seconds)
    info = _info(cover, found, start)
    lower = trivial.log_lower(graph, feasible.assignment(model, _beliefs(found).argmax(axis=1)))
    upper = model.total(found.value)
    if upper == -math.inf:
        return estimate.bounded(upper, upper, upper, 0.0, 0.0), info
    error = _rounding_error(cover, found.vector) + float(graph.log_error)
    return estimate.bounded(upper, lower, estimate.above(upper, error), 0.0, 0.0), info


def marginals(
    graph: factor_graph.FactorGraph,
    *,
    key: Any = 0,
    num_trees: int = 8,
    iterations: int = 200,
    timeout: float | None = None,
) -> tuple[np.ndarray, Info]:
    """Pseudo-marginals float64 [V, S], averaged over the trees, without a claim.

    Arguments and errors as ``log_partition``; all zero where Z = 0 was proven.
    """
    start = time.monotonic()
    graph = factor_graph.tabulate(graph)
    model = bucket_tree.prepare(graph, _as_given)
    cover = make_cover(model, num_trees, randomness.generator(key, "trw"))
    seconds = math.inf if timeout is None else timeout - (time.monotonic() - start)
    found = _fit(cover, iterations, seconds)
    rows = np.zeros(graph.log_unary.shape)
    if model.total(found.value) > -math.inf:
        for variable, states in enumerate(model.states):
            rows[variable, states] = _beliefs(found)[variable, : len(states)]
    return rows, _info(cover, found, start)


def maximize(
    graph: factor_graph.FactorGraph,
    *,
    key: Any = 0,
    num_trees: int = 8,
    iterations: int = 200,
    timeout: float | None = None,
) -> answer.Answer:
    """A proven bound of every log-score, and the assignment decoded from the pseudo-marginals.

    The maximum is at most the average of those of the trees, for any messages. They are fitted to
    the bound of log Z at falling temperatures, where it approaches the maximum. Arguments and
    errors as ``log_partition``.
    """
    start = time.monotonic()
    graph = factor_graph.tabulate(graph)
    model = bucket_tree.prepare(graph, _as_given)
    cover = make_cover(model, num_trees, randomness.generator(key, "trw"))
    messages, bound, error = np.zeros(_num_messages(cover)), math.inf, 0.0
    ends = {"done"}
    for temperature in TEMPERATURES:
        seconds = math.inf if timeout is None else (timeout - (time.monotonic() - start)) / 2
        found = _fit(_scaled(cover, temperature), iterations, seconds, messages / temperature)
        messages = found.vector * temperature
        largest = float(forests.maxima(cover.plan, *_moved(cover, messages)).mean())
        fresh = largest, _rounding_error(cover, messages)
        bound, error = min((bound, error), fresh, key=sum)
        ends.add(found.status)
        if found.status == "interrupted":
            break
    assignment = feasible.assignment(model, _beliefs(found).argmax(axis=1))
    value, log_error = factor_graph.score(graph, assignment), float(graph.log_error)
    bound = model.total(bound)
    seconds = time.monotonic() - start
    told: dict[str, Any] = {"seconds": seconds, "message": answer.cut_short(*ends)}
    return answer.best(assignment[None], value, bound, error, log_error, **told)


def make_cover(model: bucket_tree.Model, num_trees: int, rng: np.random.Generator) -> Cover:
    """The model covered by ``num_trees`` acyclic parts or more, all equally probable."""
    sizes = model.plan.sizes
    unaries = np.zeros((len(sizes), max(sizes, default=1)))
    unaries[np.arange(unaries.shape[1]) >= np.array(sizes, dtype=np.int64)[:, None]] = -np.inf
    factors = []
    for scope, table in model.factors:
        if len(scope) == 1:
            unaries[scope[0], : table.size] += table
        else:
            factors.append((scope, table))
    scopes, shapes = [scope for scope, _ in factors], [table.shape for _, table in factors]
    parts = forests.cover(len(sizes), scopes, 1, rng)
    if len(parts) > 1:  # else the model is acyclic, and one part is enough
        parts = forests.cover(len(sizes), scopes, num_trees, rng)
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for at, shape in enumerate(shapes):
        groups[shape].append(at)
    chance = parts.mean(axis=0)
    variables = [np.array([scopes[at] for at in group]) for group in groups.values()]
    tables = [np.stack([factors[at][1] / chance[at] for at in group]) for group in groups.values()]
    members = [parts[:, group] for group in groups.values()]
    plan = forests.schedule(sizes, scopes, shapes, parts)
    return Cover(plan, variables, tables, members, unaries)


def evaluate(cover: Cover, messages: np.ndarray) -> tuple[float, np.ndarray, forests.Sums]:
    """The bound for some messages [n], its gradient, and the sums of the parts.

    A message moves a function of one variable from a factor, in every part that holds it, to the
    variable, in all parts; the parts still average to the model.
    """
    tables, unaries = _moved(cover, messages)
    sums = forests.sweep(cover.plan, tables, unaries)
    with np.errstate(invalid="ignore"):
        top = sums.log_beliefs.max(axis=2, keepdims=True)
        powers = np.exp(sums.log_beliefs - np.where(np.isfinite(top), top, 0.0))
    chances = powers / np.maximum(powers.sum(axis=2, keepdims=True), 1e-300)
    everywhere = chances.mean(axis=0)
    parts = []
    for variables, table, members in zip(cover.variables, cover.tables, cover.members, strict=True):
        held = members.mean(axis=0)[:, None]
        for axis, size in enumerate(table.shape[1:]):
            ends = variables[:, axis]
            there = np.einsum("tf,tfs->fs", members, chances[:, ends, :size]) / len(members)
            parts.append((held * everywhere[ends, :size] - there).ravel())
    gradient = np.concatenate([np.zeros(0), *parts])
    return float(sums.log_values.mean()), gradient, sums


def _moved(cover: Cover, messages: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Tables and unaries after the messages."""
    at, tables, unaries = 0, [], cover.unaries.copy()
    for variables, table, members in zip(cover.variables, cover.tables, cover.members, strict=True):
        held = members.mean(axis=0)[:, None]
        moved = table
        for axis, size in enumerate(table.shape[1:]):
            block = messages[at : at + len(table) * size].reshape(len(table), size)
            at += block.size
            moved = moved - forests.along(block, axis, table.ndim)
            np.add.at(unaries, (variables[:, axis, None], np.arange(size)), held * block)
        tables.append(moved)
    return tables, unaries


def _num_messages(cover: Cover) -> int:
    return sum(len(table) * sum(table.shape[1:]) for table in cover.tables)


def _scaled(cover: Cover, temperature: float) -> Cover:
    """The model divided by a temperature."""
    tables = [table / temperature for table in cover.tables]
    return cover._replace(tables=tables, unaries=cover.unaries / temperature)


def _fit(
    cover: Cover, iterations: int, seconds: float, start: np.ndarray | None = None
) -> descent.Found:
    start = np.zeros(_num_messages(cover)) if start is None else start
    if cover.plan.num_parts == 1:
        iterations = 0
    return descent.minimize(
        lambda at: evaluate(cover, at), start, iterations=iterations, seconds=seconds
    )


def _beliefs(found: descent.Found) -> np.ndarray:
    """Marginals [V, S], averaged over the parts."""
    logs = found.detail.log_beliefs
    top = logs.max(axis=2, keepdims=True)
    powers = np.exp(logs - np.where(np.isfinite(top), top, 0.0))
    return (powers / np.maximum(powers.sum(axis=2, keepdims=True), 1e-300)).mean(axis=0)


def _info(cover: Cover, found: descent.Found, start: float) -> Info:
    trees, seconds = cover.plan.num_parts, time.monotonic() - start
    converged = found.converged or trees == 1
    return Info(found.status, found.evaluations, converged, trees, seconds)


def _as_given(neighbours: Any, num_states: Any) -> list[int]:
    return list(range(len(num_states)))


def _rounding_error(cover: Cover, messages: np.ndarray) -> float:
    """Bound on the error of a sweep in nats, of first order, coarser than for elimination.

    With B the absolute values of all tables and messages together no sum exceeds B; what a factor
    of k variables and n entries sends errs by at most (k + 3) B + 2 n + 20 units, and is used once.
    """
    tables, unaries = cover.tables, cover.unaries
    total = float(factor_graph.magnitude(unaries, axis=1).sum()) + 2 * float(np.abs(messages).sum())
    total += sum(float(factor_graph.magnitude(t.reshape(len(t), -1), axis=1).sum()) for t in tables)
    units = sum(len(t) * ((t.ndim + 2) * total + 2 * t[0].size + 20) for t in tables)
    return 2.0**-52 * (units + 4 * len(unaries) * (total + 1))
