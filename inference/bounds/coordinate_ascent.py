"""The bound of mean field around exact sums, and its ascent one class of variables at a time.

    >>> model = bucket_tree.prepare(generators.ising_grid(5, 5, 0.5), orders.min_fill)
    >>> split = cutset.cut(model, 4, np.zeros(25))
    >>> state, _, converged = ascend(split, soft(split, np.random.default_rng(0)))
    >>> state.log_lower <= elimination.log_partition(generators.ising_grid(5, 5, 0.5))[0].log_upper
    True

The cut variables are independent of each other and of the rest. Those of one colour share no factor
and move together; the rest follows exactly. Parallel updates of neighbours could lower the bound.
"""

import math
from typing import NamedTuple

import numpy as np

from inference import limits
from inference.bounds import cutset, power_sums
from inference.problems import factor_graph

_GAIN = 1e-6  # nats of a sweep below which an ascent ends
_SMALLEST = 1e-25  # probabilities below are 0, so that no product of a dozen underflows


class State(NamedTuple):
    """Where an ascent stands.

    Attributes:
      probabilities: float [C, S], the distributions of the cut variables.
      sums: the rest, given them.
      log_lower: the bound in nats, before its rounding.
    """

    probabilities: np.ndarray
    sums: power_sums.PowerSums
    log_lower: float


def ascend(
    split: cutset.Split,
    probabilities: np.ndarray,
    *,
    iterations: int = 100,
    deadline: limits.Deadline = limits.NEVER,
    held: np.ndarray | None = None,
) -> tuple[State, int, bool]:
    """Coordinate ascent from given distributions: the best state, sweeps taken, whether it settled.

    The bound never falls, up to rounding.

    Args:
      split: of ``cutset.cut``.
      probabilities: float [C, S].
      iterations: most sweeps; it ends before where one gains less than 1e-6 nats.
      deadline: looked at after each sweep.
      held: bool [C], distributions that stay as they are.
    """
    state = evaluate(split, probabilities)
    if not split.cut or state.log_lower == -math.inf:
        return state, 0, state.log_lower > -math.inf
    reads = make_reads(split)
    for number in range(1, iterations + 1):
        following = evaluate(split, sweep(split, reads, state, held))
        gain = following.log_lower - state.log_lower
        state = following if gain > 0 else state
        if gain < _GAIN:
            return state, number, True
        if deadline.has_passed():
            return state, number, False
    return state, iterations, False


def evaluate(split: cutset.Split, probabilities: np.ndarray) -> State:
    """The bound for given distributions, the rest at its best."""
    tables, constant = cutset.expect(split, probabilities)
    sums = power_sums.upward(split.tree, tables, np.ones(len(tables)), keep=True)
    entropy = -float(
        (probabilities * np.log(np.where(probabilities > 0, probabilities, 1.0))).sum()
    )
    return State(probabilities, sums, sums.log_value + constant + entropy)


Reads = list[list[tuple[int, int, np.ndarray]]]  # by colour: batch, cut axis, rows


def make_reads(split: cutset.Split) -> Reads:
    """What each colour of cut variables reads."""
    colour = np.empty(len(split.cut), dtype=np.int64)
    for number, members in enumerate(split.colours):
        colour[members] = number
    reads: Reads = [[] for _ in split.colours]
    for at, batch in enumerate(split.batches):
        for axis in range(batch.cut.shape[1]):
            own = colour[batch.cut[:, axis]]
            for number in np.unique(own):
                reads[number].append((at, axis, np.flatnonzero(own == number)))
    return reads


def sweep(
    split: cutset.Split, reads: Reads, state: State, held: np.ndarray | None = None
) -> np.ndarray:
    """New distributions of the cut variables, colour by colour, given that of the rest."""
    joints, _ = power_sums.downward(split.tree, state.sums)
    batches = [cutset.condense(split, batch, joints) for batch in split.batches]
    probabilities = state.probabilities.copy()
    padding = np.arange(probabilities.shape[1]) >= np.array(split.sizes)[:, None]
    for members, own in zip(split.colours, reads, strict=True):
        logits = np.where(padding, -np.inf, 0.0)
        for at, axis, rows in own:
            over = [a for a in range(batches[at].cut.shape[1]) if a != axis]
            table = cutset.average(batches[at], probabilities, over, rows)
            variables = batches[at].cut[rows, axis]
            np.add.at(logits, (variables[:, None], np.arange(table.shape[1])), table)
        probabilities[members] = _distribution(logits[members], probabilities[members])
        if held is not None:
            probabilities[held] = state.probabilities[held]
    return probabilities


def _distribution(logits: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Normalised exponentials of each row; rows without a possible state stay as they were."""
    top = logits.max(axis=1, keepdims=True)
    weights = np.exp(logits - np.where(np.isfinite(top), top, 0.0))
    weights = np.where(weights < _SMALLEST, 0.0, weights)
    total = weights.sum(axis=1, keepdims=True)
    return np.where(total > 0, weights / np.where(total > 0, total, 1.0), otherwise)


def soft(split: cutset.Split, rng: np.random.Generator) -> np.ndarray:
    """Distributions [C, S] near the uniform ones."""
    padding = np.arange(max(split.sizes, default=1)) >= np.array(split.sizes)[:, None]
    weights = np.where(padding, 0.0, 1.0 + rng.random(padding.shape))
    return weights / weights.sum(axis=1, keepdims=True)


def rounding_error(split: cutset.Split, state: State) -> float:
    """Bound on the error of ``evaluate`` in nats.

    An average has as many terms as its table has entries; the sums are those of the tree.
    """
    magnitudes = np.zeros(len(split.tree.scopes))
    error = 2.0**-46 * (abs(state.log_lower) + sum(split.sizes))
    for batch in split.batches:
        rows = factor_graph.magnitude(batch.finite.reshape(len(batch.factors), -1), axis=1)
        magnitudes[batch.factors] = rows
        error += 2.0**-52 * (64 + batch.finite[0].size) * float(rows.sum())
    sizes = power_sums.sizes_of(split.tree, magnitudes.tolist())
    return error + power_sums.rounding_error(split.tree, sizes, np.ones(len(sizes)))
