"""Exact sums over acyclic parts of a model, all parts at once.

    >>> square = [[0, 1], [1, 2], [2, 3], [0, 3]]
    >>> members = cover(4, square, 4, np.random.default_rng(0))  # each leaves out another edge
    >>> members.sum(axis=0).tolist()
    [3, 3, 3, 3]
    >>> plan = schedule([2] * 4, square, [(2, 2)] * 4, members)
    >>> sums = sweep(plan, [np.zeros((4, 2, 2))], np.zeros((4, 2)))
    >>> round(math.exp(sums.log_values[0]), 9)
    16.0

A part is a set of factors without a cycle in the graph of factors and variables; it holds all
variables. Messages run level by level from the leaves to the roots and back, one array operation
for all factors of one shape, level and side in all the parts.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class LevelFactors(NamedTuple):
    """Factors of one shape at one level whose axis ``axis`` points to the root.

    Attributes:
      group: their shape, by number.
      axis: of the variable nearest to the root.
      rows: int [N], the factor within its group.
      nodes: int [N, k], part * V + variable of each axis.
    """

    group: int
    axis: int
    rows: np.ndarray
    nodes: np.ndarray


class ForestSchedule(NamedTuple):
    """Who sends when.

    Attributes:
      levels: batches from the roots to the leaves.
      roots: int, nodes without a factor towards a root.
      num_parts: number of parts P.
      padding: bool [V, S], past the states of a variable.
    """

    levels: list[LevelFactors]
    roots: np.ndarray
    num_parts: int
    padding: np.ndarray


class ForestSums(NamedTuple):
    """log Z of each part, nats [P], and log marginals, up to a constant each, [P, V, S]."""

    log_values: np.ndarray
    log_beliefs: np.ndarray


def cover(
    num_variables: int, scopes: Sequence[Sequence[int]], least: int, rng: np.random.Generator
) -> np.ndarray:
    """At least so many maximal acyclic sets of factors, bool [P, F], with every factor in one.

    What has been taken least often is taken first, so that factors appear about equally often.
    """
    counts = np.zeros(len(scopes))
    parts: list[np.ndarray] = []
    while len(parts) < least or (len(scopes) and counts.min() == 0):
        member = np.zeros(len(scopes), dtype=bool)
        component = list(range(num_variables))
        for factor in np.lexsort((rng.random(len(scopes)), counts)).tolist():
            ends = {_find(component, v) for v in scopes[factor]}
            if len(ends) == len(scopes[factor]):
                member[factor] = True
                first, *rest = ends
                for end in rest:
                    component[end] = first
        counts += member
        parts.append(member)
    return np.array(parts).reshape(len(parts), len(scopes))


def schedule(
    sizes: Sequence[int],
    scopes: Sequence[Sequence[int]],
    shapes: Sequence[tuple[int, ...]],
    members: np.ndarray,
) -> ForestSchedule:
    """The order of messages; factors are grouped by shape, in the order of first appearance."""
    groups: dict[tuple[int, ...], int] = {}
    place = []
    counts: dict[int, int] = defaultdict(int)
    for shape in shapes:
        group = groups.setdefault(tuple(shape), len(groups))
        place.append((group, counts[group]))
        counts[group] += 1
    found: dict[tuple[int, int, int], list[tuple[int, list[int]]]] = defaultdict(list)
    roots: list[int] = []
    for part, member in enumerate(members):
        base = part * len(sizes)
        starts, steps = _walk(len(sizes), scopes, np.flatnonzero(member).tolist())
        roots += [base + v for v in starts]
        for level, factor, axis in steps:
            group, row = place[factor]
            found[level, group, axis].append((row, [base + v for v in scopes[factor]]))
    levels = []
    for (_, group, axis), items in sorted(found.items()):
        rows, nodes = zip(*items, strict=True)
        levels.append(LevelFactors(group, axis, np.array(rows), np.array(nodes)))
    most = max(sizes, default=1)
    padding = np.arange(most) >= np.array(sizes, dtype=np.int64)[:, None]
    return ForestSchedule(
        levels, np.array(roots, dtype=np.int64), len(members), padding.reshape(-1, most)
    )


def maxima(plan: ForestSchedule, tables: Sequence[np.ndarray], unaries: np.ndarray) -> np.ndarray:
    """The largest log-score of each part, [P]; arguments as ``sweep``."""
    return _upward(plan, tables, unaries, np.max)[0]


def sweep(plan: ForestSchedule, tables: Sequence[np.ndarray], unaries: np.ndarray) -> ForestSums:
    """The sums of every part.

    Args:
      plan: of ``schedule``.
      tables: log-potentials of each group of factors, [F, ...], the same in all parts.
      unaries: [V, S], the same in all parts; padding is ignored.
    """
    log_values, beliefs, joints = _upward(plan, tables, unaries, _log_sum)
    for batch in plan.levels:
        joint, message = joints.pop()
        above = beliefs[batch.nodes[:, batch.axis], : message.shape[1]]
        # Where the message is -inf nothing below is possible, whatever comes from above.
        outer = np.where(
            message > -np.inf, above - np.where(message > -np.inf, message, 0.0), -np.inf
        )
        joint = joint + along(outer, batch.axis, joint.ndim)
        for axis, size in enumerate(joint.shape[1:]):
            if axis != batch.axis:
                beliefs[batch.nodes[:, axis], :size] = _log_sum(joint, _others(joint, axis))
    return ForestSums(log_values, beliefs.reshape(plan.num_parts, *plan.padding.shape))


def _upward(
    plan: ForestSchedule,
    tables: Sequence[np.ndarray],
    unaries: np.ndarray,
    reduce_fn: Callable[[np.ndarray, tuple[int, ...]], np.ndarray],
) -> tuple[np.ndarray, np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Values of the parts, what came to each node, and tables and messages by level."""
    num_variables, most = plan.padding.shape
    one = np.where(plan.padding, -np.inf, unaries)
    beliefs = np.tile(one, (plan.num_parts, 1))  # of what lies away from the root
    joints = []
    for batch in reversed(plan.levels):
        joint = tables[batch.group][batch.rows]
        for axis, size in enumerate(joint.shape[1:]):
            if axis != batch.axis:
                joint = joint + along(beliefs[batch.nodes[:, axis], :size], axis, joint.ndim)
        message = reduce_fn(joint, _others(joint, batch.axis))
        parents = batch.nodes[:, batch.axis]
        np.add.at(beliefs, (parents[:, None], np.arange(message.shape[1])), message)
        joints.append((joint, message))
    top = reduce_fn(beliefs[plan.roots], (1,))
    parts = plan.roots // max(num_variables, 1)
    log_values = (
        np.bincount(parts, top, minlength=plan.num_parts) if len(top) else np.zeros(plan.num_parts)
    )
    return log_values, beliefs, joints


def along(rows: np.ndarray, axis: int, ndim: int) -> np.ndarray:
    """Rows [F, s] as tables of ``ndim`` axes that vary along one of them."""
    shape = [len(rows)] + [1] * (ndim - 1)
    shape[1 + axis] = rows.shape[1]
    return rows.reshape(shape)


def _others(tables: np.ndarray, axis: int) -> tuple[int, ...]:
    """All axes of tables [F, ...] but the first and that of one variable."""
    return tuple(a for a in range(1, tables.ndim) if a != 1 + axis)


def _log_sum(table: np.ndarray, over: tuple[int, ...]) -> np.ndarray:
    """log sum exp over some axes."""
    top = table.max(axis=over, keepdims=True)
    shift = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        total = np.log(np.exp(table - shift).sum(axis=over))
    return total + shift.reshape(total.shape)


def _find(component: list[int], v: int) -> int:
    while component[v] != v:
        component[v] = component[component[v]]
        v = component[v]
    return v


def _walk(
    num_variables: int, scopes: Sequence[Sequence[int]], factors: list[int]
) -> tuple[list[int], list[tuple[int, int, int]]]:
    """Roots, and for each factor its level and the axis of its variable nearest to a root."""
    around: list[list[int]] = [[] for _ in range(num_variables)]
    for factor in factors:
        for v in scopes[factor]:
            around[v].append(factor)
    depth = [-1] * num_variables
    used: set[int] = set()
    roots, steps = [], []
    for root in sorted(range(num_variables), key=lambda v: -len(around[v])):
        if depth[root] >= 0:
            continue
        depth[root] = 0
        roots.append(root)
        frontier = [root]
        for v in frontier:
            for factor in around[v]:
                if factor in used:
                    continue
                used.add(factor)
                steps.append((depth[v], factor, list(scopes[factor]).index(v)))
                for u in scopes[factor]:
                    if u != v:
                        depth[u] = depth[v] + 1
                        frontier.append(u)
    return roots, steps
