"""Approximate weighted model counting by hashing: within (1 + epsilon), probability 1 - delta.

    >>> log_weights = np.log(np.tile([0.25, 0.75], (30, 1)))
    >>> formula = cnf.from_clauses([[3, 4]], log_weights=log_weights)
    >>> result, info = count(formula, seed=7, epsilon=0.8, delta=0.2)
    >>> abs(result.log_value - math.log(15 / 16)) < math.log(1.8)
    True

The formula is reduced with its weighted variables kept, ``dyadic_weights`` turns their weights into
new variables, and ``approxmc`` counts those. A tenth of log(1 + epsilon) is for the rounding of the
weights, hashing gets what is left of it, and the interval is wider than that of hashing by what
rounding took. The effort grows with the bits that the weights need, which is what the tilt of a
weight function means here, and with how small a part of all weight the models have.
Claim: that of ``approxmc``, and PROBABLE with failure_lower + failure_upper <= delta.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any, NamedTuple

import numpy as np

from hashing.counting import approxmc, guarantee, searches
from inference import answer, estimate, limits, randomness
from inference.oracles import sat
from inference.problems import cnf, trivial
from inference.reduction import dyadic_weights, support
from inference.workers import within

# Of log(1 + epsilon), for the rounding of weights. A bit less for each variable would take twice
# the share; a tenth costs hashing 15 % more models in a cell.
ROUNDING = 0.1
# So few models are listed and their weights added, which takes no longer than one cell.
MOST_LISTED = 72


class Info(NamedTuple):
    """How a count went.

    ``status`` is "done", "timeout", "interrupted" or "failed". ``bits`` are the variables that were
    counted in place of those with two weights, ``log2_tilt`` is the largest weight of an assignment
    of them over the smallest, ``log_error`` what their rounding may do, in nats; ``hashing`` tells
    of the count without weights, None where it never began or few models were listed.
    """

    status: str
    seconds: float
    message: str = ""
    oracle_calls: int = 0
    bits: int = 0
    log2_tilt: float = 0.0
    log_error: float = 0.0
    hashing: approxmc.Info | None = None


def count(
    formula: cnf.CNF,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    epsilon: float = 0.8,
    delta: float = 0.2,
    assumptions: Sequence[int] = (),
    executor: futures.Executor | None = None,
    patience: float = 0.0,
    reduce: Callable[..., support.Reduction] = support.reduce,
    stop: Callable[[], bool] = lambda: False,
    progress: searches.Progress = lambda _: None,
) -> tuple[estimate.Estimate, Info]:
    """The weight of the models over the sampling set; their number where nothing has weights.

    At the time limit or Ctrl-C the claim is weakened as that of ``approxmc.count``.

    Args:
      formula: weights of any size, 0 included.
      seed: an integer, a JAX key or bytes; equal seeds give equal counts.
      timeout: seconds, half of them for the reduction; None for no limit.
      memory: mebibytes, as for ``within.count``, in another process; None for no limit.
      epsilon: tolerance, above 0.
      delta: probability of failure, in (0, 1).
      assumptions: literals that hold in the models that are counted.
      executor: where rounds run, as for ``approxmc.count``, and so is ``patience``.
      patience: seconds.
      reduce: from the formula, without weights and under the assumptions, to what is hashed; called
        as ``support.reduce`` is, with those variables to keep that have two weights.
      stop: asked now and then; once it is true the count ends as at the time limit.
      progress: called with a line that says where the count is; not where memory is limited.

    Returns:
      CERTAIN where all models were listed or there is none, PROBABLE otherwise. No ``count`` and no
      witness.

    Raises:
      ValueError: epsilon or delta out of range, or epsilon below what doubles know of the weights;
        two weights of a variable are further apart than 2^2000; an assumption is no literal of the
        formula; or with ``memory`` there is an executor or what cannot go to another process.
    """
    start, deadline = time.monotonic(), limits.Deadline.after(timeout, stop)
    guarantee.plan(epsilon, delta)  # refuses what is out of range
    options: dict[str, Any] = {"epsilon": epsilon, "delta": delta}
    options |= {"seed": randomness.seed_words(seed), "stop": stop}
    if memory is not None:
        if executor is not None:
            raise ValueError("expected an executor or a limit on memory, given both")
        options |= {"assumptions": assumptions, "reduce": reduce, "timeout": timeout}
        result, how = within.count(count, formula, memory=memory, **options)
        return result, Info(*how)
    assumed = support.conditioned(formula, assumptions)

    def prepare() -> estimate.Estimate | tuple[dyadic_weights.Unweighted, Callable]:
        progress("preprocessing")
        residual, terms, again = _reduced(assumed, reduce, deadline)
        listed = _listed(residual, terms, deadline.part(0.25))
        return listed or (_rewritten(residual, terms, epsilon, deadline), again)

    prepared, ending = searches.attempt(prepare)
    if prepared is None or isinstance(prepared, estimate.Estimate):
        seconds = time.monotonic() - start
        return prepared or trivial.count(formula), Info(ending.status, seconds, ending.message)
    same, options["reduce"] = prepared
    options["epsilon"] = _left_of(epsilon, same.log_error)
    options |= {"executor": executor, "patience": patience, "progress": progress}
    found, hashed = approxmc.count(same.formula, timeout=deadline.timeout, **options)
    message = "; ".join(part for part in (_described(same), hashed.message) if part)
    told = hashed.oracle_calls, same.bits, same.log2_tilt, same.log_error, hashed
    result = _weighted(found, same, trivial.count(formula).log_upper)
    return result, Info(hashed.status, time.monotonic() - start, message, *told)


def _reduced(
    formula: cnf.CNF, reduce: Callable[..., support.Reduction], deadline: limits.Deadline
) -> tuple[cnf.CNF, list[float], Callable[..., support.Reduction]]:
    """A smaller weighted formula, logarithms of what its count lacks, and what reduces it again.

    It has the variables with two weights, those that are hashed, and what defines them.
    """
    formula = dyadic_weights.possible(formula)
    two, single = _parted(formula)
    kept = np.flatnonzero(two[:, 0] != two[:, 1]) + 1
    reduction = reduce(formula.unweighted(), keep=kept.tolist(), deadline=deadline.part(0.5))
    weights = two[reduction.variables - 1]
    weighted = np.flatnonzero(weights[:, 0] != weights[:, 1]).astype(np.int32) + 1
    if len(weighted) < len(kept):
        raise ValueError("expected a reduction that keeps the variables with two weights")
    hashed = reduction.formula.sampling_set
    residual = dataclasses.replace(
        reduction.formula, projection=np.union1d(hashed, weighted), log_weights=weights
    )
    # What defines a weighted variable that was not hashed is defined by its bits, perhaps.
    is_support = (np.isin(weighted, hashed) | (dyadic_weights.fixed(residual, weighted) != 0)).all()
    terms = [single, len(reduction.free) * math.log(2)]
    return residual, terms, _reduced_again if is_support else support.reduce


def _rewritten(
    residual: cnf.CNF, terms: list[float], epsilon: float, deadline: limits.Deadline
) -> dyadic_weights.Unweighted:
    """The formula without weights; its factor has the terms in it."""
    same = dyadic_weights.rewrite(residual, ROUNDING * math.log1p(epsilon), deadline=deadline)
    terms = [*terms, same.log_factor]
    log_error = same.log_error + _rounding(terms)
    return same._replace(log_factor=math.fsum(terms), log_error=log_error)


def _listed(
    formula: cnf.CNF, terms: list[float], deadline: limits.Deadline
) -> estimate.Estimate | None:
    """The weight of all models with the terms, where they are few; ``approxmc`` lists as well."""
    if formula.log_weights is None or not formula.log_weights.any():
        return None
    with sat.SatSession(formula) as session:
        found = session.enumerate(MOST_LISTED + 1, deadline=deadline)
    if found.status is not answer.Status.OPTIMAL or found.assignments is None:
        return None
    logs = formula.log_weights[formula.sampling_set - 1]
    chosen = np.where(found.assignments, logs[:, 1], logs[:, 0]).tolist()
    value = float(np.logaddexp.reduce([math.fsum([*terms, *x]) for x in chosen] or [-math.inf]))
    if value == -math.inf:
        return estimate.certain(value, 0.0)
    # A logarithm of two added weights has an error of its size, and of 1.
    largest = max(_rounding([*terms, *x]) for x in chosen)
    return estimate.certain(value, largest + 2.0**-50 * len(chosen) * (1 + abs(value) + largest))


def _parted(formula: cnf.CNF) -> tuple[np.ndarray, float]:
    """Log-weights [n, 2] of variables that have two, else 0; and those of the others, summed."""
    if formula.log_weights is None:
        return np.zeros((formula.num_variables, 2)), 0.0
    single = formula.log_weights[:, 0] == formula.log_weights[:, 1]
    two = np.where(single[:, None], 0.0, formula.log_weights)
    return two, math.fsum(formula.log_weights[single, 0].tolist())


def _reduced_again(formula: cnf.CNF, **options: Any) -> support.Reduction:
    """Simplified only: new bits define the old variables, and nothing defines them."""
    return support.reduce(formula, **options | {"support": formula.sampling_set})


def _rounding(terms: Sequence[float]) -> float:
    """More than a sum of finite terms, each rounded, and their sum are off by."""
    return 2.0**-50 * math.fsum(abs(x) for x in terms if x != -math.inf)


def _left_of(epsilon: float, log_error: float) -> float:
    """The tolerance that the rounding of weights leaves."""
    least = math.expm1(2 * log_error)
    if epsilon < least:
        raise ValueError(
            f"expected epsilon of at least {least:.2g} for such weights, given {epsilon}"
        )
    return math.expm1(math.log1p(epsilon) - log_error)


def _weighted(
    found: estimate.Estimate, same: dyadic_weights.Unweighted, most: float
) -> estimate.Estimate:
    """The estimate of the weighted count, which is at most ``most``."""
    shift, error = same.log_factor, same.log_error
    lower = estimate.below(found.log_lower + shift, error)
    upper, failure = estimate.above(found.log_upper + shift, error), found.failure_upper
    if lower <= most < upper:  # rounding has moved it past what is certain
        upper, failure = most, 0.0
    value = min(found.log_value + shift, upper)
    return estimate.bounded(value, lower, upper, found.failure_lower, failure)


def _described(same: dyadic_weights.Unweighted) -> str:
    if not same.bits:
        return ""
    rounding = f"rounded by at most {same.log_error:.3g} nats"
    return f"{same.bits} bits for weights of tilt 2^{same.log2_tilt:.4g}, {rounding}"
