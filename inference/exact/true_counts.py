"""How often each variable is true among the models: all of them from one elimination.

    >>> each, info = count_each(cnf.from_clauses([[1, 2]]))
    >>> each.true, each.total
    ((2, 2), 3)

What configuration tools call commonality. The counts are exact: messages go up the tree of buckets
and down again (``residues_each``), after a reduction that keeps every variable asked for.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from inference import limits
from inference.exact import bucket_count, elimination, residues, residues_each
from inference.problems import cnf
from inference.reduction import support

AT_ONCE = 2**19  # entries of a bucket, all primes together: whole tables stay near the cache


class Each(NamedTuple):
    """How often each of some variables is true among the models.

    Attributes:
      variables: int32 [k].
      true: the number of models where it is, for each of them; empty where time ran out.
      total: the number of all models, None where time ran out.
    """

    variables: np.ndarray
    true: tuple[int, ...]
    total: int | None


def count_each(
    formula: cnf.CNF,
    *,
    variables: np.ndarray | None = None,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
) -> tuple[Each, bucket_count.Info]:
    """For each variable the number of models in which it is true: exact, from one pass and back.

    Args:
      formula: without weights, and of small width while all these variables stay.
      variables: of the sampling set, by default all.
      seed: nothing is drawn.
      timeout: seconds.
      memory: mebibytes, as for ``count``.

    Raises:
      ValueError: there are weights, or a variable is not in the sampling set.
      TooWide: the tables need more than ``memory`` mebibytes.
    """
    deadline, sampled = limits.Deadline.after(timeout), formula.sampling_set
    asked = sampled if variables is None else np.asarray(variables, dtype=np.int32)
    if formula.log_weights is not None:
        raise ValueError("expected no weights, given some")
    if not np.isin(asked, sampled).all():
        other = asked[~np.isin(asked, sampled)][0]
        raise ValueError(f"expected variables of the sampling set, given {other}")
    keep = functools.partial(_keep_all, kept=asked)
    try:
        prepared = bucket_count.prepare(formula, reduce=keep, deadline=deadline)
        allowed = elimination.MEMORY if memory is None else memory
        parts = [_by_state(part, allowed, deadline) for part in prepared.parts]
    except limits.OutOfTime:
        return Each(asked, (), None), bucket_count.Info("timeout", deadline.seconds)
    totals = [total for total, _ in parts]
    total = math.prod(totals) << prepared.free
    found = dict.fromkeys(asked.tolist(), total // 2)  # what no table mentions
    for number, (_, true) in enumerate(parts):
        others = math.prod(totals[:number] + totals[number + 1 :]) << prepared.free
        found |= {name: one * others for name, one in true.items() if name in found}
    counts = tuple(found[v] for v in asked.tolist())
    message = f"width {prepared.width} once reduced"
    info = bucket_count.Info("done", deadline.seconds, message, prepared.width, prepared.entries)
    return Each(asked, counts, total), info


def _keep_all(
    formula: cnf.CNF, *, kept: np.ndarray, deadline: limits.Deadline, **_: Any
) -> support.Reduction:
    """No variable of the sampling set is defined away; those asked for stay in clauses."""
    return support.reduce(
        formula, keep=kept.tolist(), support=formula.sampling_set, deadline=deadline
    )


def _by_state(
    part: bucket_count.PlannedPart, memory: float, deadline: limits.Deadline
) -> tuple[int, dict[int, int]]:
    """The count of a component, and of its models with each of its variables true."""
    planned, doubled = part.planned, len(part.constants)
    if planned.impossible:
        return 0, {}
    largest = max(map(planned.plan.entries, planned.plan.cliques), default=0)
    needed = 8 * (2 * planned.plan.message_entries + 4 * largest + 4 * residues.BLOCK)
    if needed > memory * limits.MEBIBYTE:
        raise elimination.TooWide(planned.plan.width, needed, memory)
    at_once = min(bucket_count.PRIMES_AT_ONCE, int(memory * limits.MEBIBYTE // needed))
    both = residues_each.by_state(
        planned.plan,
        planned.factors,
        log2_most=part.bits,
        hidden=planned.hidden,
        at_once=max(1, min(at_once, AT_ONCE // largest)) if largest else 1,
        deadline=deadline,
    )
    total = sum(both[0]) << doubled if both else 1 << doubled
    names = part.names[planned.hidden :].tolist()
    return total, {n: two << doubled for n, (_, two) in zip(names, both, strict=True) if n}
