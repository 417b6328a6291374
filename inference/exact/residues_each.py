"""Exact sums with one variable fixed, for all variables at once: buckets up, then down again.

    >>> plan = bucket_tree.make_plan([[0, 1]], [2, 2], lambda *_: [0, 1])
    >>> by_state(plan, [([0, 1], np.array([[True, False], [True, True]]))], log2_most=2)
    [(1, 2), (2, 1)]

The upward pass is that of ``residues``. On the way down each bucket is told what the rest of the
formula counts for each state of its message: the derivative of the sum, so nothing is divided
(Darwiche, "A differential approach to inference in Bayesian networks", JACM 2003).
"""

import functools
import math
from collections.abc import Sequence

import numpy as np

from inference import limits
from inference.exact import bucket_tree, residues
from inference.exact.residues import ExactTable


def by_state(
    plan: bucket_tree.Plan,
    factors: Sequence[tuple[list[int], np.ndarray]],
    *,
    log2_most: float,
    hidden: int = 0,
    at_once: int = 32,
    deadline: limits.Deadline = limits.NEVER,
) -> list[tuple[int, int]]:
    """The sum with each position in its first state and in its second, from ``hidden`` on.

    Arguments and errors as for ``residues.total``.
    """
    primes = residues.largest_primes(residues.num_primes(log2_most))
    batches = [primes[first : first + at_once] for first in range(0, len(primes), at_once)]
    found = np.concatenate(
        [_both(plan, factors, hidden, one, deadline) for one in batches], axis=-1
    )
    moduli = primes.astype(int).tolist()
    solve = functools.partial(residues.chinese_remainder, moduli=moduli)
    return [(solve(first), solve(second)) for first, second in found.astype(np.int64).tolist()]


def _both(
    plan: bucket_tree.Plan,
    factors: Sequence[tuple[list[int], np.ndarray]],
    hidden: int,
    primes: np.ndarray,
    deadline: limits.Deadline,
) -> np.ndarray:
    """Modulo each prime: float64 [positions from ``hidden`` on, 2, P]."""
    buckets = residues.fill(plan, factors)
    kept: list[
        tuple[list[ExactTable], list[int]]
    ] = []  # each bucket, with who sent what it ends with
    senders = [list[int]() for _ in plan.order]
    roots: list[tuple[int, ExactTable]] = []
    for at, clique in enumerate(plan.cliques):
        deadline.check()
        over = np.max if at < hidden else np.sum
        message = residues.eliminate(plan, clique, buckets[at], primes, over, deadline)
        kept.append((buckets[at], senders[at]))
        if len(clique) > 1:
            buckets[clique[1]].append(message)
            senders[clique[1]].append(at)
        else:
            roots.append((at, message))
    return _downward(plan, kept, roots, hidden, primes, deadline)


def _downward(
    plan: bucket_tree.Plan,
    kept: list[tuple[list[ExactTable], list[int]]],
    roots: list[tuple[int, ExactTable]],
    hidden: int,
    primes: np.ndarray,
    deadline: limits.Deadline,
) -> np.ndarray:
    found = np.zeros((len(plan.order) - hidden, 2, len(primes)))
    outside: dict[int, np.ndarray] = {}
    for at, _ in roots:
        others = [message for other, message in roots if other != at]
        outside[at] = np.array(residues.product_of(others, primes), dtype=np.float64)
    for at in reversed(range(hidden, len(plan.order))):
        deadline.check()
        clique, (bucket, sent) = plan.cliques[at], kept[at]
        tables = [_spread(plan, clique, one, primes) for one in bucket]
        rest = outside.pop(at)[None]
        first = len(tables) - len(sent)  # messages come last
        for number, child in enumerate(sent, first):
            if child >= hidden:
                some = tables[:number] + tables[number + 1 :]
                there = plan.cliques[child][1:]
                outside[child] = _summed(_product(plan, clique, rest, some, primes), clique, there)
                residues.reduce_by(outside[child], primes)
        found[at - hidden] = _summed(_product(plan, clique, rest, tables, primes), clique, [at])
        residues.reduce_by(found[at - hidden], primes)
    return found


def _spread(
    plan: bucket_tree.Plan, clique: list[int], table: ExactTable, primes: np.ndarray
) -> np.ndarray:
    """With all axes of the clique and one for the primes, of length 1 where nothing varies."""
    there = set(table.scope)
    shape = [plan.sizes[at] if at in there else 1 for at in clique]
    if table.most == 1:
        return table.values.reshape([*shape, 1])
    values = table.values
    if table.most < math.inf:
        values = residues.residues_of(values, primes)
    return values.reshape([*shape, len(primes)])


def _product(
    plan: bucket_tree.Plan,
    clique: list[int],
    rest: np.ndarray,
    tables: list[np.ndarray],
    primes: np.ndarray,
) -> np.ndarray:
    """Reduced, over the whole clique: float64 [2, ..., 2, P]."""
    out = np.empty([*(plan.sizes[at] for at in clique), len(primes)])
    out[...] = rest
    for table in tables:
        out *= table
        if table.dtype != bool:  # 0-1 tables leave all as small as it was
            residues.reduce_by(out, primes)
    return out


def _summed(values: np.ndarray, clique: list[int], there: list[int]) -> np.ndarray:
    gone = tuple(axis for axis, at in enumerate(clique) if at not in there)
    return values.sum(axis=gone)
