"""What is free in a mini-bucket bound: cost moved between the parts of a bucket, and weights.

    >>> tree = power_sums.grow([2, 2, 2], [[0, 1], [0, 2]], most_entries=4)
    >>> [shift.nodes for shift in shifts(tree)], positive(tree, np.zeros(4))[0].tolist()
    ([(0, 1)], [0.5, 0.5, 1.0, 1.0])

Any cost that is added to one part and taken from another leaves their product as it is, so the
bound holds for every choice; the best is where the parts agree about what they share.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from inference.bounds import power_sums

_SHIFT_ENTRIES = 2**5  # of each cost that is moved


class Shift(NamedTuple):
    """A table over what two mini-buckets share: added to the one, taken from the other."""

    nodes: tuple[int, int]
    shapes: list[list[int]]
    others: list[tuple[int, ...]]
    place: slice  # in the vector of all parameters


def add_sizes(
    sizes: list[list[float]], shifts: list[Shift], vector: np.ndarray
) -> list[list[float]]:
    """The largest absolute values of the tables of each mini-bucket, with those that are moved."""
    sizes = [list(own) for own in sizes]
    for shift in shifts:
        for node in shift.nodes:
            sizes[node].append(float(np.abs(vector[shift.place]).max()))
    return sizes


Weigh = Callable[
    [power_sums.Tree, np.ndarray], tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]
]


def shifts(tree: power_sums.Tree) -> list[Shift]:
    """One table per further mini-bucket of a split bucket, shared with the first."""
    found, at = [], 0
    for bucket in tree.buckets:
        for node in bucket[1:]:
            nodes = (bucket[0], node)
            shared = sorted(set(tree.cliques[nodes[0]]) & set(tree.cliques[node]))
            while math.prod(tree.sizes[v] for v in shared) > _SHIFT_ENTRIES and len(shared) > 1:
                shared.pop()
            cliques = [tree.cliques[one] for one in nodes]
            size = math.prod(tree.sizes[v] for v in shared)
            shapes = [tree.shape(shared, clique) for clique in cliques]
            others = [tree.others(shared, clique) for clique in cliques]
            found.append(Shift(nodes, shapes, others, slice(at, at + size)))
            at += size
    return found


def zeros(tree: power_sums.Tree, shifts: list[Shift]) -> np.ndarray:
    """All parameters: the shifts, then one number for the weight of each mini-bucket."""
    return np.zeros((shifts[-1].place.stop if shifts else 0) + len(tree.cliques))


def move(tables: list[np.ndarray], shifts: list[Shift], vector: np.ndarray) -> list[np.ndarray]:
    moved = list(tables)
    for shift in shifts:
        for node, shape, sign in zip(shift.nodes, shift.shapes, (-1.0, 1.0), strict=True):
            moved[node] = moved[node] + sign * vector[shift.place].reshape(shape)
    return moved


def positive(
    tree: power_sums.Tree, logits: np.ndarray, total: float = 1.0
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Positive weights, ``total`` in each bucket, and what turns their gradient into logits'."""
    owner = np.array([clique[0] for clique in tree.cliques], dtype=np.int64)
    unscaled = np.exp(logits)
    shares = unscaled / np.bincount(owner, unscaled)[owner]

    def pull(gradient: np.ndarray) -> np.ndarray:
        return total * shares * (gradient - np.bincount(owner, shares * gradient)[owner])

    return total * shares, pull


def reverse(
    tree: power_sums.Tree, logits: np.ndarray
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """One weight of each bucket at least 1, the others negative, 1 together."""
    owner = np.array([clique[0] for clique in tree.cliques], dtype=np.int64)
    is_first = np.zeros(len(owner), dtype=bool)
    is_first[np.array([bucket[0] for bucket in tree.buckets], dtype=np.int64)] = True
    negative = np.where(is_first, 0.0, -np.exp(logits - 3.0))
    weights = np.where(is_first, 1.0 - np.bincount(owner, negative)[owner], negative)

    def pull(gradient: np.ndarray) -> np.ndarray:
        first = np.bincount(owner, np.where(is_first, gradient, 0.0))[owner]
        return negative * (gradient - first)

    return weights, pull


def gradient(
    tree: power_sums.Tree,
    sums: power_sums.PowerSums,
    shifts: list[Shift],
    pull: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    joints, outer = power_sums.downward(tree, sums)
    parts = []
    for shift in shifts:
        first, other = (
            joints[node].sum(axis=gone)
            for node, gone in zip(shift.nodes, shift.others, strict=True)
        )
        parts.append((other - first).ravel())
    by_weight = np.array(
        [
            0.0 if entropy is None else float((above * entropy).sum())
            for above, entropy in zip(outer, sums.entropies, strict=True)
        ]
    )
    return np.concatenate([*parts, pull(by_weight)])
