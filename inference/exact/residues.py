"""Exact sums of products of 0-1 tables: bucket elimination in residues of word-sized primes.

    >>> plan = bucket_tree.make_plan([[0, 1]], [2, 2], orders.min_fill)
    >>> total(plan, [([0, 1], np.array([[True, False], [True, True]]))], log2_most=2)
    3

Messages are exact integers in float64 as long as they are below 2^52. Beyond, they are residues
modulo primes below 2^26, symmetric about 0, so that a product of two and the sum of two such
products stay exact. The primes are the last axis, which keeps inner loops long. The Chinese
remainder theorem gives the integer (Knuth, The Art of Computer Programming 2, section 4.3.2).
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import NamedTuple, TypeVar

import numpy as np

from inference import limits
from inference.exact import bucket_tree, passes

EXACT = 2.0**52  # integers up to here are exact, and so are their residues
PRIME_BITS = 26
BLOCK = 2**15  # entries worked on at once: three arrays of them stay in the cache


class ExactTable(NamedTuple):
    """Values over positions of a plan.

    Attributes:
      scope: increasing positions.
      values: bool or float64, an axis for each position; residues have one more, for the primes.
      most: no value is larger; infinite for residues.
    """

    scope: list[int]
    values: np.ndarray
    most: float


Buckets = list[list[ExactTable]]
T = TypeVar("T")
R = TypeVar("R")


def total(
    plan: bucket_tree.Plan,
    factors: Sequence[tuple[list[int], np.ndarray]],
    *,
    log2_most: float,
    hidden: int = 0,
    at_once: int = 32,
    jobs: int = 1,
    deadline: limits.Deadline = limits.NEVER,
) -> int:
    """The sum over all states of the product of the factors.

    Args:
      plan: of variables each of which is in some factor.
      factors: bool tables with their positions, in the order of the axes.
      log2_most: the sum is at most 2^log2_most.
      hidden: the first so many positions are not summed over: there, what holds for some state
        counts once.
      at_once: primes whose residues are computed together; memory grows with it.
      jobs: threads that do so, each for other primes.
      deadline: looked at in every bucket.

    Raises:
      OutOfTime: the deadline passed.
    """
    done, left = upward(plan, fill(plan, factors), None, hidden=hidden, deadline=deadline)
    constant = math.prod(int(one.values) for one in done)
    if not any(left) or not constant:
        return constant
    primes = largest_primes(num_primes(log2_most))
    size = min(at_once, -(-len(primes) // jobs))
    batches = [primes[first : first + size] for first in range(0, len(primes), size)]

    def run(batch: np.ndarray, within: limits.Deadline) -> list[int]:
        found, _ = upward(plan, [list(bucket) for bucket in left], batch, deadline=within)
        return product_of(found, batch)

    residues = list(itertools.chain.from_iterable(in_threads(run, batches, jobs, deadline)))
    return constant * chinese_remainder(residues, primes.astype(int).tolist())


def fill(plan: bucket_tree.Plan, factors: Sequence[tuple[list[int], np.ndarray]]) -> Buckets:
    """The 0-1 factors by the position that eliminates them."""
    buckets: Buckets = [[] for _ in plan.order]
    for scope, values in factors:
        buckets[scope[0]].append(ExactTable(scope, values, 1.0))
    return buckets


def in_threads(
    run: Callable[[T, limits.Deadline], R],
    tasks: Sequence[T],
    jobs: int,
    deadline: limits.Deadline,
) -> list[R]:
    """What each task returns, in threads that end at the deadline and with this one."""
    if min(jobs, len(tasks)) <= 1:
        return [run(task, deadline) for task in tasks]
    over = list[bool]()
    until = dataclasses.replace(deadline, stop=lambda: bool(over) or deadline.stop())
    with futures.ThreadPoolExecutor(jobs) as pool:
        try:
            return list(pool.map(lambda task: run(task, until), tasks))
        finally:
            over.append(True)


def num_primes(log2_most: float) -> int:
    """How many residues make an integer of at most 2^log2_most known."""
    return max(1, math.ceil((log2_most + 1) / (PRIME_BITS - 2.0**-9)))


def upward(
    plan: bucket_tree.Plan,
    buckets: Buckets,
    primes: np.ndarray | None,
    *,
    hidden: int = 0,
    deadline: limits.Deadline = limits.NEVER,
) -> tuple[list[ExactTable], Buckets]:
    """Messages of no variables, and the buckets that are left, both emptied on the way.

    Without primes those are left whose sums might pass ``EXACT``, and all that wait for them.
    """
    constants: list[ExactTable] = []
    waiting = [False] * len(buckets)
    for at, clique in enumerate(plan.cliques):
        if not buckets[at] and not waiting[at]:
            continue
        deadline.check()
        if primes is None and (waiting[at] or not _fits(buckets[at])):
            if len(clique) > 1:
                waiting[clique[1]] = True
            continue
        over = np.max if at < hidden else np.sum
        message = eliminate(plan, clique, buckets[at], primes, over, deadline)
        buckets[at] = []
        (buckets[clique[1]] if len(clique) > 1 else constants).append(message)
    return constants, buckets


def eliminate(
    plan: bucket_tree.Plan,
    clique: list[int],
    bucket: Sequence[ExactTable],
    primes: np.ndarray | None,
    over: Callable[..., np.ndarray] = np.sum,
    deadline: limits.Deadline = limits.NEVER,
) -> ExactTable:
    """The product of a bucket, summed over the first position of its clique.

    Block by block, so that only the message takes memory. With primes the message is residues,
    unless the sum fits into a float64.
    """
    small, large = list(bucket), list[ExactTable]()
    if primes is not None and not _fits(bucket):
        small, large = _split(bucket, primes)
    tail = [len(primes)] if primes is not None and large else []
    shape = [*(plan.sizes[at] for at in clique), *tail]
    plain = _merged([bucket_tree.aligned(plan, clique, *one[:2]) for one in small])
    plain = [table.reshape(*table.shape, *[1] * len(tail)) for table in plain]
    tables = [_aligned(plan, clique, one) for one in large] + plain
    head, entries = 1, math.prod(shape)
    while entries > BLOCK and head < len(clique):
        entries //= shape[head]
        head += 1
    out, work = np.empty(shape[1:]), np.empty((shape[0], *shape[head:]))
    for number, index in enumerate(np.ndindex(*shape[1:head])):
        if number % 64 == 63:
            deadline.check()
        _multiply([passes.block(table, index) for table in tables], len(large), work, primes)
        part = out[(*index, ...)]
        over(work, axis=0, out=part)
        if primes is not None and large:
            reduce_by(part, primes)
    return ExactTable(clique[1:], out, math.inf if large else float(out.max(initial=0.0)))


def _fits(bucket: Sequence[ExactTable]) -> bool:
    return 2 * math.prod(one.most for one in bucket) <= EXACT


def _split(
    bucket: Sequence[ExactTable], primes: np.ndarray
) -> tuple[list[ExactTable], list[ExactTable]]:
    """Tables whose product stays below 2^25, and residues of the others.

    A residue, at most 2^25, times the product, and two of these added, stay below ``EXACT``.
    """
    small, large, most = list[ExactTable](), list[ExactTable](), 1.0
    for one in sorted(bucket, key=lambda one: one.most):
        if most * one.most <= 2.0 ** (PRIME_BITS - 1):
            most *= one.most
            small.append(one)
        else:
            values = one.values if one.most == math.inf else residues_of(one.values, primes)
            large.append(ExactTable(one.scope, values, math.inf))
    return small, large


def _aligned(plan: bucket_tree.Plan, clique: list[int], table: ExactTable) -> np.ndarray:
    """Residues with an axis of length 1 for each position of the clique that is missing."""
    there = set(table.scope)
    shape = [plan.sizes[at] if at in there else 1 for at in clique]
    return table.values.reshape([*shape, table.values.shape[-1]])


def _merged(tables: list[np.ndarray]) -> list[np.ndarray]:
    """Small tables multiplied first: fewer passes over the large."""
    tables = sorted(tables, key=lambda table: table.size)
    while len(tables) > 1:
        shape = np.broadcast_shapes(tables[0].shape, tables[1].shape)
        if 4 * math.prod(shape) > max(BLOCK, tables[-1].size):
            break
        tables = sorted([tables[0] * tables[1], *tables[2:]], key=lambda table: table.size)
    return tables


def _multiply(
    tables: list[np.ndarray], num_residues: int, out: np.ndarray, primes: np.ndarray | None
) -> None:
    """The product of a block, reduced but for the last factor and what stays below 2^25."""
    if len(tables) == 1:
        np.copyto(out, tables[0])
        return
    np.multiply(tables[0], tables[1], out=out)
    for at, table in enumerate(tables[2:], 2):
        if primes is not None and at <= num_residues:
            reduce_by(out, primes)
        out *= table


def reduce_by(values: np.ndarray, primes: np.ndarray) -> None:
    """To symmetric residues, in place: at most half a prime and a unit away from 0."""
    quotient = values * (1.0 / primes)
    np.rint(quotient, out=quotient)
    quotient *= primes
    values -= quotient


def residues_of(values: np.ndarray, primes: np.ndarray) -> np.ndarray:
    """Residues of exact integers, float64 [..., P]."""
    out = np.repeat(np.asarray(values, dtype=np.float64)[..., None], len(primes), axis=-1)
    reduce_by(out, primes)
    return out


def product_of(constants: Sequence[ExactTable], primes: np.ndarray) -> list[int]:
    """The product of messages of no variables, modulo each prime."""
    product = np.ones(len(primes))
    for one in constants:
        product *= one.values if one.most == math.inf else residues_of(one.values, primes)
        reduce_by(product, primes)
    return product.astype(np.int64).tolist()


def chinese_remainder(residues: Sequence[int], moduli: Sequence[int]) -> int:
    """The least integer, not negative, that has these residues of coprime moduli."""
    value, product = 0, 1
    for residue, modulus in zip(residues, moduli, strict=True):
        value += product * ((residue - value) * pow(product, -1, modulus) % modulus)
        product *= modulus
    return value


@functools.cache
def largest_primes(number: int) -> np.ndarray:
    """The largest primes below 2^26, decreasing float64 [number]."""
    top = 2**PRIME_BITS
    divisors = np.arange(3, math.isqrt(top) + 1, 2)
    size = 30 * number + 400  # of odd numbers up there one in nine is a prime
    candidates = np.arange(top - 1, top - 2 * size, -2)[:size]
    composite = np.zeros(size, dtype=bool)
    for divisor in divisors.tolist():
        first = (int(candidates[0]) % divisor) * pow(2, -1, divisor) % divisor
        composite[first::divisor] = True
    return candidates[~composite][:number].astype(np.float64)
