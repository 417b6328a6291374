"""The two passes of an elimination: messages up the tree of buckets, marginals down.

    >>> model = bucket_tree.prepare(graph, orders.best)
    >>> log_value, buckets, messages = upward(model, log_sum, keep=True)
    >>> rows = downward(model.plan, buckets, messages)  # of variables by position

All is numpy float64 in log space, worked on block by block. The function that reduces an axis
decides what is asked: ``log_sum`` gives log Z, ``maximum`` the greatest log-score.
"""

import math
from collections.abc import Callable

import numpy as np

from inference import limits
from inference.exact import bucket_tree

Reduce = Callable[[np.ndarray, np.ndarray], None]  # (table [S, ...], out [...]); spoils the table
Message = np.ndarray | None  # over the message variables; None where there is none, or no longer

BLOCK = 2**16  # entries worked on at once: half a megabyte stays in the cache


def upward(
    model: bucket_tree.Model,
    reduce_fn: Reduce,
    *,
    keep: bool,
    hidden: int = 0,
    deadline: limits.Deadline = limits.NEVER,
) -> tuple[float, list[bucket_tree.Bucket], list[Message]]:
    """Eliminates all variables: the value, and with ``keep`` the buckets and the messages.

    The first ``hidden`` positions are maximised over, whatever ``reduce_fn`` is.

    Raises:
      OutOfTime: the deadline passed between two buckets.
    """
    plan, constants = model.plan, list[float]()
    buckets: list[bucket_tree.Bucket] = [[] for _ in plan.order]
    messages: list[Message] = [None] * len(plan.order)
    for scope, table in model.factors:
        buckets[scope[0]].append((scope, table))
    with np.errstate(divide="ignore"):  # the logarithm of a zero sum
        for at, clique in enumerate(plan.cliques):
            if not buckets[at]:
                continue  # a variable with a single state
            deadline.check()
            over = maximum if at < hidden else reduce_fn
            message = _eliminate(plan, clique, buckets[at], over)
            if len(clique) > 1:
                buckets[clique[1]].append((clique[1:], message))
            else:
                constants.append(message.item())
            if keep:
                messages[at] = message
            else:
                buckets[at] = []
    return model.total(*constants), buckets, messages


def _eliminate(
    plan: bucket_tree.Plan, clique: list[int], bucket: bucket_tree.Bucket, reduce_fn: Reduce
) -> np.ndarray:
    """The message of a bucket, made block by block so that only the message takes memory."""
    shape = [plan.sizes[at] for at in clique]
    tables = sorted(
        (bucket_tree.aligned(plan, clique, *item) for item in bucket), key=lambda t: t.size
    )
    while len(tables) > 2 and 16 * tables[0].size * tables[1].size <= BLOCK:
        tables[:2] = [tables[0] + tables[1]]  # small ones first: fewer passes over the large
    head, entries = 1, math.prod(shape)
    while entries > BLOCK and head < len(shape):
        entries //= shape[head]
        head += 1
    message, work = np.empty(shape[1:]), np.empty((shape[0], *shape[head:]))
    for index in np.ndindex(*shape[1:head]):
        _add_up([block(table, index) for table in tables], work)
        reduce_fn(work, message[(*index, ...)])
    return message


def block(table: np.ndarray, index: tuple[int, ...]) -> np.ndarray:
    """The part at an index of the axes that follow the first; axes of length 1 broadcast."""
    there: list[slice | int] = [slice(None)]
    there += [i if size > 1 else 0 for i, size in zip(index, table.shape[1:], strict=False)]
    return table[tuple(there)]


def _add_up(tables: list[np.ndarray], out: np.ndarray) -> None:
    if len(tables) == 1:
        np.copyto(out, tables[0])
        return
    np.add(tables[0], tables[1], out=out)
    for table in tables[2:]:
        out += table


def log_sum(table: np.ndarray, out: np.ndarray) -> None:
    """log(sum(exp(table))) over the first axis; where all is -inf the shift is finite: no NaN."""
    np.max(table, axis=0, out=out)
    shift = np.maximum(out, np.finfo(np.float64).min)
    table -= shift
    np.exp(table, out=table)
    np.sum(table, axis=0, out=out)
    np.log(out, out=out)
    out += shift


def maximum(table: np.ndarray, out: np.ndarray) -> None:
    """max(table) over the first axis."""
    np.max(table, axis=0, out=out)


def downward(
    plan: bucket_tree.Plan,
    buckets: list[bucket_tree.Bucket],
    messages: list[Message],
    deadline: limits.Deadline = limits.NEVER,
) -> list[np.ndarray]:
    """Marginals by position, from the kept upward pass, which is consumed.

    Pr(clique) = Pr(message variables) exp(sum of tables - message), the last variable first; what
    goes to a child is this, summed to the child's message variables. That is the derivative of
    the upward pass, so impossible entries get 0 without a division.

    Raises:
      OutOfTime: the deadline passed between two buckets.
    """
    children: list[list[int]] = [[] for _ in plan.order]
    for at, clique in enumerate(plan.cliques):
        if len(clique) > 1:
            children[clique[1]].append(at)
    probability: list[Message] = [np.ones(())] * len(plan.order)  # of the message variables
    rows = [np.ones(1)] * len(plan.order)
    for at in reversed(range(len(plan.order))):
        clique = plan.cliques[at]
        message, given = messages[at], probability[at]
        if message is None or given is None:
            continue  # a variable with a single state
        deadline.check()
        joint = np.zeros([plan.sizes[other] for other in clique])
        _add_up([joint, *(bucket_tree.aligned(plan, clique, *item) for item in buckets[at])], joint)
        joint -= np.maximum(message, np.finfo(np.float64).min)
        np.exp(joint, out=joint)
        joint *= given
        rows[at] = joint.reshape(len(joint), -1).sum(axis=1)
        rows[at] /= rows[at].sum()
        for child in children[at]:
            there = set(plan.cliques[child][1:])
            gone = tuple(axis for axis, other in enumerate(clique) if other not in there)
            probability[child] = joint.sum(axis=gone)
        buckets[at], messages[at], probability[at] = [], None, None
    return rows
