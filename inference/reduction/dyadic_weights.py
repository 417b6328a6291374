"""Weights as models: a formula without weights whose count is a weighted count, nearly.

    >>> formula = cnf.from_clauses([[1, 2]], log_weights=np.log([[0.25, 0.75], [0.5, 0.5]]))
    >>> same = rewrite(formula, log_error=0.001)
    >>> same.formula.num_variables, same.bits  # not 1: below 1 in a number of two bits
    (4, 2)
    >>> 7 * math.exp(same.log_factor)  # the models of ``same.formula`` over 2, 3 and 4
    0.875

Where the two weights of a variable differ, k / 2^m approximates the smaller one's share in both, k
odd. The literal of that weight becomes "the number in m new bits is below k", so that k numbers go
with it and 2^m - k with its negation, and the bits are counted in place of the variable, which they
define. The factor that both literals then lack is set midway, so each weight is off by half the
error of the logarithm of the odds. The errors of the variables add up to what was asked for.

Chakraborty, Fried, Meel and Vardi, From Weighted to Unweighted Model Counting (IJCAI 2015).
"""

import bisect
import dataclasses
import itertools
import math
from typing import NamedTuple

import numpy as np

from inference import limits
from inference.problems import cnf

LN2 = math.log(2)
# Weights of one variable further apart than 2^2000 are refused: they take as many bits.
MOST_LOG2_ODDS = 2000
# Digits of k after its first; the logarithm of a double weight holds few more.
_MOST_DIGITS = 48
# Errors per variable that are tried: all of it, times 2^-1/4, ..., down to what doubles resolve.
_STEPS = 240


class Unweighted(NamedTuple):
    """A formula without weights, and what its count says about the weighted one.

    Attributes:
      formula: its first variables are those of the weighted formula.
      log_factor: the weighted count is e^log_factor times the count of ``formula``, in nats, ...
      log_error: ... up to a factor e^log_error either way, floating point included.
      bits: variables that are counted in place of those with two weights.
      log2_tilt: of the largest weight of an assignment of those over the smallest.
    """

    formula: cnf.CNF
    log_factor: float
    log_error: float
    bits: int
    log2_tilt: float


def rewrite(
    formula: cnf.CNF, log_error: float, *, deadline: limits.Deadline = limits.NEVER
) -> Unweighted:
    """A formula without weights, with the same count up to a factor and an error.

    Literals of weight 0 are ruled out. Variables that a unit clause fixes or that nothing mentions
    take no bits, their weights are part of the factor.

    Args:
      formula: weights of any size; without them it comes back as it is.
      log_error: what all rounding together may do to the weight of a model, in nats, above 0. It is
        more where doubles do not know the weights as well.
      deadline: when to give up.

    Raises:
      ValueError: two weights of a variable are further apart than 2^2000.
      limits.OutOfTime: at the deadline.
    """
    if formula.log_weights is None:
        return Unweighted(formula, 0.0, 0.0, 0, 0.0)
    variables = formula.sampling_set
    weights, formula = formula.log_weights[variables - 1], possible(formula)
    signs, is_mentioned = fixed(formula, variables), _mentioned(formula, variables)
    differ = weights[:, 0] != weights[:, 1]
    chained = differ & is_mentioned & (signs == 0)
    larger, smaller = weights[chained].max(axis=1), weights[chained].min(axis=1)
    _check_odds(variables[chained], larger - smaller)
    number, bits = fractions(larger - smaller, log_error)
    factors, errors = _other_factors(weights, signs, is_mentioned), np.zeros(len(variables))
    factors[chained], errors[chained] = _missing(larger, smaller, number, bits)
    lengths = np.where(bits > 1, bits, 0)  # a fair coin needs no new variable
    rarer = np.where(weights[chained, 1] < weights[chained, 0], 1, -1) * variables[chained]
    more = _comparisons(rarer, number, lengths, formula.num_variables + 1, deadline)
    # Neither what bits define, nor what is fixed, nor what is free with a weight for each side.
    counted = (signs == 0) & (is_mentioned | ~differ)
    counted[chained] = bits == 1
    fresh = formula.num_variables + 1 + np.arange(lengths.sum(), dtype=np.int32)
    unweighted = cnf.CNF(
        formula.num_variables + len(fresh),
        cnf.join(formula.clauses, more),
        formula.xors,
        formula.xor_rhs,
        np.concatenate([variables[counted], fresh]).astype(np.int32),
    )
    total = math.fsum(errors.tolist()) + _float_error(weights, bits)
    tilt = math.fsum((larger - smaller).tolist()) / LN2
    factor = math.fsum(factors.tolist())
    return Unweighted(unweighted, factor, total, int(bits.sum()), tilt)


def possible(formula: cnf.CNF) -> cnf.CNF:
    """The formula with a unit clause against each literal of weight 0."""
    if formula.log_weights is None:
        return formula
    rows, is_positive = np.nonzero(formula.log_weights == -np.inf)
    units = cnf.ragged(np.where(is_positive, -1 - rows, 1 + rows)[:, None])
    return dataclasses.replace(formula, clauses=cnf.join(formula.clauses, units))


def fixed(formula: cnf.CNF, variables: np.ndarray) -> np.ndarray:
    """The signs that unit clauses give variables: int [k], either where they clash, 0 for none."""
    clauses = formula.clauses
    units = clauses.values[clauses.offsets[:-1][np.diff(clauses.offsets) == 1]]
    return np.where(np.isin(variables, -units), -1, np.isin(variables, units).astype(int))


def fractions(log_odds: np.ndarray, log_error: float) -> tuple[np.ndarray, np.ndarray]:
    """Fractions k / 2^m for shares 1 / (1 + e^log_odds), whose errors add up to ``log_error``.

    An error is half the difference between the logarithms of the odds (2^m - k) / k and of those
    that are given. All variables are allowed the same error, the largest that adds up, because one
    bit halves an error whatever the variable; those that need fewer bits for less take fewer.

    Args:
      log_odds: [c] in nats, at least 0.
      log_error: nats in total.

    Returns:
      k int64 [c], odd, and m int64 [c].
    """
    odds, index, times = np.unique(log_odds, return_inverse=True, return_counts=True)
    number, bits, errors = _candidates(odds)

    def chosen(step: int) -> np.ndarray:
        allowed = errors <= log_error * 2.0 ** (-step / 4)
        first = np.where(allowed.any(axis=1), allowed.argmax(axis=1), errors.argmin(axis=1))
        return first[:, None]

    def fits(step: int) -> bool:
        return times @ np.take_along_axis(errors, chosen(step), 1)[:, 0] <= log_error

    best = chosen(bisect.bisect_left(range(_STEPS), True, key=fits))
    k, m = (np.take_along_axis(x, best, 1)[:, 0] for x in (number, bits))
    twos = np.log2(k & -k).astype(np.int64)
    return (k >> twos)[index], (m - twos)[index]


def _candidates(log_odds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers, bits and errors [c, digits] with 0, 1, ... digits of k after its first."""
    digits = np.arange(_MOST_DIGITS + 1)
    log2_share = -np.logaddexp(0.0, log_odds) / LN2
    zeros = np.maximum(1, np.floor(-log2_share))  # the share lies between 2^-zeros and half of it
    bits = (zeros[:, None] + digits).astype(np.int64)
    number = np.maximum(1, np.rint(np.exp2(log2_share[:, None] + bits))).astype(np.int64)
    odds = _log_rest(number, bits) - np.log(number)
    return number, bits, np.abs(odds - log_odds[:, None]) / 2


def _log_rest(number: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """log(2^bits - number), where the latter is at most half of the former."""
    return bits * LN2 + np.log1p(-np.ldexp(number.astype(float), -bits))


def _missing(
    larger: np.ndarray, smaller: np.ndarray, number: np.ndarray, bits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What the logarithms of the numbers lack to the log-weights: midway, and half the gap."""
    first, second = larger - _log_rest(number, bits), smaller - np.log(number)
    return (first + second) / 2, np.abs(first - second) / 2


def _other_factors(weights: np.ndarray, signs: np.ndarray, is_mentioned: np.ndarray) -> np.ndarray:
    """Log-factors [k] of variables that are fixed, not mentioned or have one weight."""
    fixed = np.where(signs > 0, weights[:, 1], weights[:, 0])
    either = np.logaddexp(weights[:, 0], weights[:, 1])
    free = np.where((signs != 0) | is_mentioned, fixed, either)
    return np.where(weights[:, 0] == weights[:, 1], weights[:, 0], free)


def _float_error(weights: np.ndarray, bits: np.ndarray) -> float:
    """More than all rounding of floating point: each term has a few operations of its size."""
    sizes = np.abs(np.where(np.isfinite(weights), weights, 0.0)).max(axis=1, initial=0.0)
    terms = math.fsum(sizes.tolist()) + len(sizes) + float(bits.sum())
    return 2.0**-48 * terms if (weights != 0).any() else 0.0


def _mentioned(formula: cnf.CNF, variables: np.ndarray) -> np.ndarray:
    """Whether a clause or an XOR has each of the variables: bool [k]."""
    return np.isin(variables, np.abs(formula.clauses.values)) | np.isin(
        variables, formula.xors.values
    )


def _check_odds(variables: np.ndarray, log_odds: np.ndarray) -> None:
    far = np.flatnonzero(log_odds > MOST_LOG2_ODDS * LN2)
    if far.size:
        raise ValueError(
            f"expected weights of one variable within a factor 2^{MOST_LOG2_ODDS}, "
            f"given 2^{log_odds[far[0]] / LN2:.0f} for {variables[far[0]]}"
        )


def _comparisons(
    literals: np.ndarray,
    numbers: np.ndarray,
    lengths: np.ndarray,
    first: int,
    deadline: limits.Deadline,
) -> cnf.Ragged:
    """Clauses of all variables with fresh bits, one after the other from ``first`` on."""
    clauses = []
    for literal, number, length in zip(literals.tolist(), numbers.tolist(), lengths.tolist()):
        deadline.check()
        if length:
            clauses += comparison(literal, number, range(first, first + length))
        first += length
    # Faster than ``cnf.ragged``, which makes an array of each.
    offsets = np.zeros(len(clauses) + 1, dtype=np.int64)
    np.cumsum([len(clause) for clause in clauses], out=offsets[1:])
    return cnf.Ragged(np.fromiter(itertools.chain.from_iterable(clauses), np.int32), offsets)


def comparison(literal: int, number: int, bits: range) -> list[list[int]]:
    """Clauses that hold exactly where the literal says whether the bits are below the number.

    Args:
      literal: of another variable.
      number: odd, below 2^len(bits).
      bits: variables, the most significant last.
    """
    # From the top: below where this bit is 0 and the number's 1, not where it is the reverse.
    below, above, clauses = [-literal], [literal], []
    for place in range(len(bits) - 1, 0, -1):
        if number >> place & 1:
            clauses.append([*above, bits[place]])
            below.append(-bits[place])
        else:
            clauses.append([*below, -bits[place]])
            above.append(bits[place])
    return [*clauses, [*below, -bits[0]], [*above, bits[0]]]
