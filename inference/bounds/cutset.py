"""Variables to cut out of a model so that the rest can be eliminated, and the two parts' factors.

    >>> model = bucket_tree.prepare(generators.ising_grid(9, 9, 0.5), orders.min_fill)
    >>> split = cut(model, most_entries=2**5, noise=np.zeros(81))
    >>> split.tree.is_exact, len(split.cut) < 20
    (True, True)

Given a distribution over the cut variables, ``expect`` averages the factors over them; what remains
is a model that ``power_sums`` sums exactly. With all weight on one state each, that is
conditioning.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from inference.bounds import power_sums
from inference.exact import bucket_tree


class CutFactors(NamedTuple):
    """Factors of one shape, the axes of kept variables first.

    Attributes:
      factors: int [F], as numbered in ``Split.scopes``.
      kept: int [F, r], positions in the tree.
      cut: int [F, c], positions in ``Split.cut``.
      finite: float [F, ...], the log-potentials with 0 for -inf.
      zeros: float [F, ...], 1 where they are -inf; None where nowhere.
    """

    factors: np.ndarray
    kept: np.ndarray
    cut: np.ndarray
    finite: np.ndarray
    zeros: np.ndarray | None


Item = tuple[list[int], list[int], np.ndarray]  # kept and cut positions of a factor, its table


class Split(NamedTuple):
    """A model in two parts.

    Attributes:
      tree: exact, over the kept variables.
      kept: variables of the model (positions there) by position in the tree.
      cut: variables of the model by position among those cut.
      batches: the factors.
      sizes: states of the cut variables.
      colours: positions in ``cut`` that share no factor, class by class.
    """

    tree: power_sums.Tree
    kept: list[int]
    cut: list[int]
    batches: list[CutFactors]
    sizes: list[int]
    colours: list[np.ndarray]


def cut(model: bucket_tree.Model, most_entries: float, noise: np.ndarray) -> Split:
    """Cuts variables until every table of an elimination has at most so many entries.

    Args:
      model: of ``bucket_tree.prepare``.
      most_entries: below 2 every variable that shares a factor is cut.
      noise: float [V], added to the degrees by which variables are chosen.
    """
    sizes = model.plan.sizes
    neighbours = bucket_tree.find_neighbours((scope for scope, _ in model.factors), len(sizes))
    order, removed = _order(neighbours, sizes, most_entries, noise)
    place = {v: at for at, v in enumerate(order)}
    where = {v: at for at, v in enumerate(removed)}
    found: dict[tuple[int, tuple[int, ...]], list[Item]] = defaultdict(list)
    for scope, table in model.factors:
        kept = sorted(
            (axis for axis, v in enumerate(scope) if v in place), key=lambda a: place[scope[a]]
        )
        gone = [axis for axis, v in enumerate(scope) if v in where]
        moved = table.transpose([*kept, *gone])
        item = ([place[scope[a]] for a in kept], [where[scope[a]] for a in gone], moved)
        found[len(kept), moved.shape].append(item)
    batches: list[CutFactors] = []
    scopes: list[list[int]] = []
    for items in found.values():
        batches.append(_batch(len(scopes), items))
        scopes += [inner for inner, _, _ in items]
    tree = power_sums.grow([sizes[v] for v in order], scopes, math.inf)
    colours = _colours(len(removed), batches)
    return Split(tree, order, removed, batches, [sizes[v] for v in removed], colours)


def expect(split: Split, probabilities: np.ndarray) -> tuple[list[np.ndarray], float]:
    """The factors averaged over the cut variables: of each mini-bucket, and those that are numbers.

    Args:
      split: of ``cut``.
      probabilities: float [C, S], a distribution of each cut variable, padded with 0.
    """
    tables: list[np.ndarray] = [np.empty(0)] * len(split.tree.scopes)
    constants = [0.0]
    for batch in split.batches:
        averages = average(batch, probabilities, range(batch.cut.shape[1]))
        if batch.kept.shape[1]:
            for factor, table in zip(batch.factors, averages, strict=True):
                tables[factor] = table
        else:
            constants += averages.tolist()
    return power_sums.fill(split.tree, tables), math.fsum(constants)


def average(
    batch: CutFactors,
    probabilities: np.ndarray,
    over: Sequence[int],
    rows: slice | np.ndarray = slice(None),
) -> np.ndarray:
    """Log-potentials [F, ...] averaged over some cut axes; -inf where a hard zero has some."""
    axes, ahead, cut = list(range(batch.finite.ndim)), 1 + batch.kept.shape[1], batch.cut[rows]
    operands: list[np.ndarray | list[int]] = []
    for axis in over:
        operands += [
            probabilities[cut[:, axis], : batch.finite.shape[ahead + axis]],
            [0, ahead + axis],
        ]
    left = [axis for axis in axes if axis - ahead not in over]
    result = np.einsum(batch.finite[rows], axes, *operands, left)
    if batch.zeros is None:
        return result
    return np.where(np.einsum(batch.zeros[rows], axes, *operands, left) > 0, -np.inf, result)


def condense(split: Split, batch: CutFactors, joints: list[np.ndarray]) -> CutFactors:
    """The batch averaged over its kept axes, given the probabilities of each mini-bucket."""
    ahead = batch.kept.shape[1]
    if not ahead:
        return batch
    rows = []
    for factor in batch.factors:
        scope = split.tree.scopes[factor]
        node = split.tree.buckets[scope[0]][0]
        rows.append(joints[node].sum(axis=split.tree.others(scope, split.tree.cliques[node])))
    weights = np.stack(rows)[(..., *[None] * batch.cut.shape[1])]
    gone = tuple(range(1, 1 + ahead))
    zeros = batch.zeros
    if zeros is not None:
        # The kept variables adapt next, so what they hardly ever are forbids nothing.
        zeros = (zeros * np.where(weights < 1e-9, 0.0, weights)).sum(axis=gone)
    finite = (batch.finite * weights).sum(axis=gone)
    return CutFactors(batch.factors, batch.kept[:, :0], batch.cut, finite, zeros)


def point_mass(split: Split, states: np.ndarray) -> np.ndarray:
    """Probabilities [C, S] all on the states [V] of an assignment, by position in the model."""
    probabilities = np.zeros((len(split.cut), max(split.sizes, default=1)))
    probabilities[np.arange(len(split.cut)), states[split.cut]] = 1.0
    return probabilities


def _batch(start: int, items: list[Item]) -> CutFactors:
    tables = np.stack([table for _, _, table in items])
    zero = tables == -np.inf
    return CutFactors(
        np.arange(start, start + len(items)),
        np.array([kept for kept, _, _ in items], dtype=np.int64).reshape(len(items), -1),
        np.array([gone for _, gone, _ in items], dtype=np.int64).reshape(len(items), -1),
        np.where(zero, 0.0, tables),
        zero.astype(np.float64) if zero.any() else None,
    )


def _order(
    adjacent: list[set[int]], sizes: list[int], most_entries: float, noise: np.ndarray
) -> tuple[list[int], list[int]]:
    """Variables in an order of elimination, the cheapest first, and those that were cut.

    Where the cheapest is too large, the variable of most neighbours is cut.
    """
    logs, limit = np.log(sizes), math.log(most_entries) + 1e-9
    log_size = np.array([logs[v] + sum(logs[u] for u in adjacent[v]) for v in range(len(sizes))])
    degree = np.array([len(around) for around in adjacent]) + noise
    order: list[int] = []
    removed: list[int] = []
    for _ in sizes:
        v = int(np.argmin(log_size))
        is_cut = log_size[v] > limit and len(adjacent[v]) > 0
        if is_cut:
            v = int(np.argmax(degree))
        (removed if is_cut else order).append(v)
        log_size[v], degree[v] = np.inf, -np.inf
        for u in adjacent[v]:
            adjacent[u].discard(v)
            if not is_cut:
                adjacent[u] |= adjacent[v] - {u}
            log_size[u] = logs[u] + sum(logs[w] for w in adjacent[u])
            degree[u] = len(adjacent[u]) + noise[u]
    return order, removed


def _colours(number: int, batches: list[CutFactors]) -> list[np.ndarray]:
    """Classes of cut variables without a common factor, greedily."""
    scopes = (scope for batch in batches for scope in batch.cut.tolist())
    adjacent = bucket_tree.find_neighbours(scopes, number)
    colour = np.full(number, -1)
    for v in range(number):
        taken = {colour[u] for u in adjacent[v]}
        colour[v] = next(c for c in range(number) if c not in taken)
    return [np.flatnonzero(colour == c) for c in range(int(colour.max(initial=-1)) + 1)]
