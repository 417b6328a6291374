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
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np

from inference import answer, estimate, limits, randomness
from inference.bounds import descent, entries, forests
from inference.exact import bucket_tree
from inference.problems import factor_graph, trivial

TEMPERATURES = (1.0, 0.1)


class Info(NamedTuple):
    """What the bound took.

    Attributes:
      status: "done", "timeout" or "interrupted".
      seconds: wall time.
      iterations: sweeps over the trees.
      converged: the trees agree about the marginals: no step lowers the bound.
      num_trees: sets of factors.
    """

    status: str
    seconds: float
    iterations: int
    converged: bool
    num_trees: int


class Cover(NamedTuple):
    """A model and the acyclic parts that cover it.

    Attributes:
      schedule: of ``forests.schedule``.
      variables: int [F, k] of each group of factors of one shape.
      tables: float [F, ...], each divided by the share of the parts that hold the factor.
      members: bool [T, F].
      unaries: float [V, S], padded with -inf.
    """

    schedule: forests.ForestSchedule
    variables: list[np.ndarray]
    tables: list[np.ndarray]
    members: list[np.ndarray]
    unaries: np.ndarray


Fitted = descent.Minimum[forests.ForestSums]


def log_partition(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    num_trees: int = 8,
    iterations: int = 200,
) -> tuple[estimate.Estimate, Info]:
    """An upper bound of log Z, CERTAIN; the lower side is the score of a decoded assignment.

    On an acyclic model the value is log Z.

    Args:
      graph: clauses and parities become tables.
      seed: integer, JAX key or bytes, for the choice of the trees.
      timeout: seconds, after which the best bound so far is returned; at least one sweep is made.
      memory: mebibytes for tables, in the model and in the trees, and for messages; by default
        without a limit.
      num_trees: at least so many sets of factors, more where they are needed to cover all.
      iterations: most steps of L-BFGS.

    Raises:
      ValueError: the tables need more memory, or a clause is too wide for one.
    """
    deadline = limits.Deadline.after(timeout)
    graph, model, cover = _prepare(graph, seed, num_trees, memory)
    found = _fit(cover, iterations, deadline)
    upper = model.total(found.value)
    lower = trivial.log_lower(graph, model.assignment(_beliefs(found).argmax(axis=1)))
    error = _rounding_error(cover, found.vector) + float(graph.log_error)
    result = estimate.bounded(upper, lower, estimate.above(upper, error), 0.0, 0.0)
    return result, _info(cover, [found], deadline)


def marginals(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    num_trees: int = 8,
    iterations: int = 200,
) -> tuple[np.ndarray, Info]:
    """Pseudo-marginals float64 [V, S], averaged over the trees, without a claim.

    Arguments and errors as ``log_partition``; all zero where Z = 0 was proven.
    """
    deadline = limits.Deadline.after(timeout)
    graph, model, cover = _prepare(graph, seed, num_trees, memory)
    found = _fit(cover, iterations, deadline)
    beliefs = _beliefs(found) * (model.total(found.value) > -math.inf)
    rows = [row[:size] for row, size in zip(beliefs, model.plan.sizes, strict=True)]
    return model.by_variable(graph, rows), _info(cover, [found], deadline)


def maximize(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    num_trees: int = 8,
    iterations: int = 200,
) -> tuple[answer.Answer, Info]:
    """A proven bound of every log-score, and the assignment decoded from the pseudo-marginals.

    The maximum is at most the average of those of the trees, for any messages. They are fitted to
    the bound of log Z at falling temperatures, where it approaches the maximum. Arguments and
    errors as ``log_partition``.
    """
    deadline = limits.Deadline.after(timeout)
    graph, model, cover = _prepare(graph, seed, num_trees, memory)
    messages, bound, error = np.zeros(_num_messages(cover)), math.inf, 0.0
    fits: list[Fitted] = []
    for temperature in TEMPERATURES:
        tables = [table / temperature for table in cover.tables]
        scaled = cover._replace(tables=tables, unaries=cover.unaries / temperature)
        found = _fit(scaled, iterations, deadline.part(0.5), messages / temperature)
        messages = found.vector * temperature
        largest = float(forests.maxima(cover.schedule, *_moved(cover, messages)).mean())
        fresh = largest, _rounding_error(cover, messages)
        bound, error = min((bound, error), fresh, key=sum)
        fits.append(found)
        if found.status == "interrupted":
            break
    states = _beliefs(found).argmax(axis=1)
    best = entries.best(graph, model, states, model.total(bound), error)
    return best, _info(cover, fits, deadline)


def _prepare(
    graph: factor_graph.FactorGraph, seed: Any, num_trees: int, memory: float | None
) -> tuple[factor_graph.FactorGraph, bucket_tree.Model, Cover]:
    graph, model = entries.prepare(graph, lambda _, num_states: [*range(len(num_states))], memory)
    return graph, model, make_cover(model, num_trees, randomness.generator(seed, "trw"), memory)


def make_cover(
    model: bucket_tree.Model,
    num_trees: int,
    rng: np.random.Generator,
    memory: float | None = None,
) -> Cover:
    """The model covered by ``num_trees`` acyclic parts or more, all equally probable.

    Raises:
      ValueError: sweeps over them need more mebibytes.
    """
    sizes = model.plan.sizes
    factors = [(scope, table) for scope, table in model.factors if len(scope) > 1]
    scopes, shapes = [scope for scope, _ in factors], [table.shape for _, table in factors]
    parts = forests.cover(len(sizes), scopes, 1, rng)
    if len(parts) > 1:  # else the model is acyclic, and one part is enough
        parts = forests.cover(len(sizes), scopes, num_trees, rng)
    limits.require_memory(_octets(sizes, shapes, parts), memory, "tables and messages of trees")
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for at, shape in enumerate(shapes):
        groups[shape].append(at)
    shares = parts.mean(axis=0)
    variables = [np.array([scopes[at] for at in group]) for group in groups.values()]
    tables = [np.stack([factors[at][1] / shares[at] for at in group]) for group in groups.values()]
    members = [parts[:, group] for group in groups.values()]
    schedule = forests.schedule(sizes, scopes, shapes, parts)
    return Cover(schedule, variables, tables, members, model.unaries())


def _octets(sizes: list[int], shapes: list[tuple[int, ...]], parts: np.ndarray) -> float:
    """What a fit takes, a float64 for each number.

    Tables as given, scaled and moved, and one in each part [T, F] that holds the factor, with its
    message and the sum being formed; beliefs of all parts, their marginals and what turns the one
    into the other; of messages, the vectors that L-BFGS keeps and its own few.
    """
    held = 3 + 3 * parts.sum(axis=0)
    tables = sum(
        float(math.prod(shape)) * times for shape, times in zip(shapes, held.tolist(), strict=True)
    )
    beliefs = 6.0 * len(parts) * len(sizes) * max(sizes, default=1)
    return 8 * (tables + beliefs + 64.0 * sum(map(sum, shapes)))


def evaluate(cover: Cover, messages: np.ndarray) -> tuple[float, np.ndarray, forests.ForestSums]:
    """The bound for some messages [n], its gradient, and the sums of the parts.

    A message moves a function of one variable from a factor, in every part that holds it, to the
    variable, in all parts; the parts still average to the model.
    """
    tables, unaries = _moved(cover, messages)
    sums = forests.sweep(cover.schedule, tables, unaries)
    probabilities = _probabilities(sums)
    everywhere = probabilities.mean(axis=0)
    parts = []
    for variables, table, members in zip(cover.variables, cover.tables, cover.members, strict=True):
        held = members.mean(axis=0)[:, None]
        for axis, size in enumerate(table.shape[1:]):
            ends = variables[:, axis]
            there = np.einsum("tf,tfs->fs", members, probabilities[:, ends, :size]) / len(members)
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


def _fit(
    cover: Cover,
    iterations: int,
    deadline: limits.Deadline,
    start: np.ndarray | None = None,
) -> Fitted:
    """The best messages [n], from ``start`` or none; their sums are the detail."""
    start = np.zeros(_num_messages(cover)) if start is None else start
    if cover.schedule.num_parts == 1:
        iterations = 0
    return descent.minimize(
        lambda at: evaluate(cover, at), start, iterations=iterations, deadline=deadline
    )


def _probabilities(sums: forests.ForestSums) -> np.ndarray:
    """Marginals [T, V, S] of each part."""
    with np.errstate(invalid="ignore"):
        top = sums.log_beliefs.max(axis=2, keepdims=True)
        weights = np.exp(sums.log_beliefs - np.where(np.isfinite(top), top, 0.0))
    return weights / np.maximum(weights.sum(axis=2, keepdims=True), 1e-300)


def _beliefs(found: Fitted) -> np.ndarray:
    """Marginals [V, S], averaged over the parts."""
    return _probabilities(found.detail).mean(axis=0)


def _info(cover: Cover, fits: list[Fitted], deadline: limits.Deadline) -> Info:
    trees, sweeps = cover.schedule.num_parts, sum(found.evaluations for found in fits)
    status = entries.ended(deadline, *(found.status for found in fits))
    converged = all(found.converged for found in fits) or trees == 1
    return Info(status, deadline.seconds, sweeps, converged, trees)


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
