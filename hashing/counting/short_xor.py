"""Lower and upper bounds on model counts from random parities of any density.

    >>> formula = cnf.from_clauses([[3, 4]], num_variables=30)
    >>> result, info = count(formula, seed=7, delta=0.2)
    >>> result.log_lower <= math.log(3 * 2**28) <= result.log_upper
    True

A trial draws one sequence of parities whose bits are 1 with probability ``density`` and finds where
the cell of the first m of them becomes empty. From all trials follow confidence limits for p(m),
the probability that cell(m) holds a model. Below, |S| >= p(m) 2^m (Markov). Above, p(m) is at least
what the worst set of that size allows (Cantelli), so a small p(m) rules out large sets. Short
parities are easier for the solver; they make the upper bound looser, never wrong. Claim: PROBABLE,
failure_lower and failure_upper at most delta / 2.

Zhao, Chaturapruek, Sabharwal and Ermon, Closing the Gap Between Short and Long XORs for Model
Counting (AAAI 2016). The worst set packs neighbours shell by shell, the last shell in part.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from hashing.cells import levels
from hashing.counting import searches
from hashing.parity import draws
from inference import answer, estimate, limits
from inference.oracles import protocol, sat
from inference.problems import cnf, parity_rows
from inference.reduction import support

# Up to so many models are listed and counted exactly.
EXACT_LIMIT = 64
# Sizes of balls are exact integers up to so many variables; later they would take too long.
MOST_EXACT = 4096
# Rows of parities that are unpacked at once, in bits.
_BLOCK_BITS = 1 << 24


class Info(NamedTuple):
    """How a count went.

    ``status`` is "done", "timeout", "interrupted" or "failed". Row t of ``levels`` [N, 2] says of
    trial t that cells of up to the first number of parities hold a model, and that those from the
    second on are empty; one more than there are variables where none was seen to be.
    """

    status: str
    seconds: float
    message: str = ""
    oracle_calls: int = 0
    levels: np.ndarray = np.zeros((0, 2), dtype=np.int64)


def count(
    formula: cnf.CNF,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    delta: float = 0.2,
    density: float | None = None,
    trials: int = 50,
    assumptions: Sequence[int] = (),
    reduce: Callable[..., support.Reduction] = support.reduce,
    open_session: Callable[[cnf.CNF], protocol.SatSession] = sat.SatSession,
    progress: searches.Progress = lambda _: None,
) -> tuple[estimate.Estimate, Info]:
    """Bounds on the number of models over the sampling set.

    Where time ends a query its cell counts as empty below and as filled above, and so do the cells
    of trials that never began; each trial gets an equal part of the time that is left.

    Args:
      formula: without weights.
      seed: an integer, a JAX key or bytes.
      timeout: seconds, half of them for the reduction; None for no limit.
      memory: mebibytes, as for ``within.count``; None for no limit.
      delta: probability of failure, in (0, 1), half for each side.
      density: the probability of a 1 in the parities, in (0, 1/2], rounded to multiples of 2^-32;
        by default ``usual_density`` of the number of variables that are hashed.
      trials: number of sequences of parities.
      assumptions: literals that hold in the models that are counted.
      reduce: from the formula to what is hashed, called as ``support.reduce`` is;
        ``support.unreduced`` hashes all of it.
      open_session: from a formula to a session.
      progress: called before each query with a line that says where the count is; not where memory
        is limited.

    Returns:
      CERTAIN with ``count`` below ``EXACT_LIMIT`` models of the reduced formula, else PROBABLE.

    Raises:
      ValueError: an argument is out of range, the formula has weights, an assumption is no literal
        of it, or with ``memory`` a function cannot go to another process.
    """
    searches.check(formula, delta, assumptions, reduce, "short_xor")
    if density is not None and not 2.0**-32 <= density <= 0.5:
        raise ValueError(f"expected a density in (0, 1/2], at least 2^-32, given {density}")
    if trials < 1:
        raise ValueError(f"expected at least 1 trial, given {trials}")
    options: dict[str, Any] = {"delta": delta, "density": density, "trials": trials}
    options |= {"assumptions": assumptions, "reduce": reduce}
    options |= {"open_session": open_session, "progress": progress}
    return searches.bound(
        formula, search=_Trials, info=Info, seed=seed, timeout=timeout, memory=memory, **options
    )


def usual_density(num_columns: int) -> float:
    """3 ln n / n, at most 1/2: the order that is needed and enough where log |S| grows with n."""
    return min(0.5, 3 * math.log(max(num_columns, 2)) / max(num_columns, 2))


def confidence_limits(hits: int, trials: int, failure: float) -> tuple[float, float]:
    """Clopper and Pearson's limits of a probability; each is wrong with at most ``failure``."""
    lower = special.betaincinv(hits, trials - hits + 1, failure) if hits else 0.0
    upper = special.betainccinv(hits + 1, trials - hits, failure) if hits < trials else 1.0
    return float(lower), float(upper)


def log_largest_size(num_columns: int, level: int, probability: float, density: float) -> float:
    """The largest size of a set whose cells are filled with at most this probability, in nats.

    Cantelli's inequality and the variance of the worst set give
    p >= z(q) = mu^2 / (mu^2 + v(q)) = q / (2^m G(q)), where G(q) adds up the chance r(w) =
    ((1 + (1-2f)^w) / 2)^m of satisfying m parities alike over the q points nearest to one of
    them, itself included. r falls with the distance w, so G is concave, z increases, and
    z(q) <= p holds up to one q. G is the least of its pieces D_w + q r(w + 1), where
    D_w = sum over j <= w of V_j (r(j) - r(j + 1)) and V_j is the number of points within j; each
    piece gives q <= p 2^m D_w / (1 - p 2^m r(w + 1)).

    Args:
      num_columns: n, the number of variables.
      level: m, the number of parities.
      probability: p, above 0.
      density: f, in (0, 1/2].
    """
    if probability >= 1.0:
        return num_columns * math.log(2)
    bias = (1 - 2 * density) ** np.arange(num_columns + 1)
    log_r = level * np.log1p(bias)  # r and D times 2^m
    with np.errstate(divide="ignore"):  # f = 1/2: all distances are alike
        steps = np.log(-np.expm1(level * np.log1p(-2 * density * bias[:-1] / (1 + bias[:-1]))))
        log_d = np.logaddexp.accumulate(_log_ball_sizes(num_columns) + log_r[:-1] + steps)
        log_p = math.log(probability)
        room = np.minimum(log_p + log_r[1:], 0.0)
        sizes = log_p + log_d - np.log(-np.expm1(room))
    return min(float(sizes.min(initial=math.inf)), num_columns * math.log(2))


@functools.lru_cache(maxsize=4)
def _log_ball_sizes(num_columns: int) -> np.ndarray:
    """log V_j for j = 0, ..., n - 1; where n is small, from exact integers."""
    if num_columns > MOST_EXACT:
        sizes = np.arange(num_columns, dtype=np.float64)
        log_shells = special.gammaln(num_columns + 1.0) - special.gammaln(sizes + 1.0)
        log_shells -= special.gammaln(num_columns - sizes + 1.0)
        return np.logaddexp.accumulate(log_shells)
    shell = ball = 1
    logs = np.zeros(num_columns)
    for radius in range(1, num_columns):
        shell = shell * (num_columns - radius + 1) // radius
        ball += shell
        logs[radius] = math.log(ball)
    return logs


class _Trials(searches.Search):
    """The trials over one formula, and what they have found when they stop."""

    def __init__(
        self, formula: cnf.CNF, *, density: float | None, trials: int, **shared: Any
    ) -> None:
        super().__init__(formula, EXACT_LIMIT, **shared)
        density = usual_density(self._num_columns) if density is None else density
        self._density, self._trials = round(density * 2**32) / 2**32, trials
        self.levels: list[tuple[int, int]] = []

    def _told(self) -> tuple[np.ndarray]:
        return (np.array(self.levels).reshape(-1, 2),)

    def _hash(self, deadline: limits.Deadline) -> None:
        """All trials."""
        start, was_cut = 1, False
        for index in range(self._trials):
            self._progress(f"trial {index + 1} of {self._trials}, from {start} parities")
            share = deadline.part(1 / (self._trials - index))
            was_cut |= not self._run_trial(index, start, share)
            start = max(1, self.levels[-1][0])
        if was_cut:
            raise limits.OutOfTime

    def _run_trial(self, index: int, start: int, deadline: limits.Deadline) -> bool:
        """Whether the trial found its level before the deadline."""
        self._renew()
        key = draws.derive(self._seed, "short_xor", self._digest, index)
        sequence = _Sequence(self._session, key, self._num_columns, self._density)
        try:
            levels.first_level(lambda level: sequence.is_empty(level, deadline), start)
        except limits.OutOfTime:
            return False
        finally:
            self._num_rows += len(sequence.switches)
            self.levels.append((sequence.filled_to, sequence.empty_from))
        return True

    def _claim_of(self, found: estimate.Estimate, most: float) -> estimate.Estimate:
        lower, upper = self._limits(self._delta / 2)
        failure_lower = self._delta / 2 if lower > found.log_lower else 0.0
        failure_upper = self._delta / 2 if upper < most else 0.0
        lower = min(max(lower, found.log_lower), most)
        upper = max(min(upper, most), lower)  # crossed: one of them is wrong in any case
        middle = sorted(filled for filled, _ in self.levels)[len(self.levels) // 2 :][:1]
        value = max((level * math.log(2) for level in middle), default=found.log_value)
        value = min(max(value, lower), upper)
        return estimate.bounded(value, lower, upper, failure_lower, failure_upper)

    def _limits(self, failure: float) -> tuple[float, float]:
        """The best bounds over all levels, in nats; each holds at all levels at once."""
        lower, upper, tightest = -math.inf, math.inf, 1.0
        # More than what sums over n shells of numbers up to n in size can be off by, in nats.
        rounding = 2.0**-48 * (self._num_columns + 10) ** 2
        # Between the levels of the trials the limits of p(m) stay the same: the last level says
        # most below, the first one above.
        for level in sorted({level for pair in self.levels for level in pair}):
            if not 1 <= level <= self._num_columns:
                continue
            filled = sum(level <= last for last, _ in self.levels)
            empty = sum(level >= first for _, first in self.levels)
            least, _ = confidence_limits(filled, self._trials, failure / self._num_columns)
            _, most = confidence_limits(
                self._trials - empty, self._trials, failure / self._num_columns
            )
            if least:
                lower = max(lower, math.log(least) + level * math.log(2) - rounding)
            if most < tightest:  # else a lower level said more
                tightest = most
                size = log_largest_size(self._num_columns, level, most, self._density)
                upper = min(upper, size + rounding)
        return lower, upper


class _Sequence:
    """The cells of one sequence of parities, as far as they are known to hold models or none.

    Attributes:
      switches: of the parities so far.
      filled_to: cells of up to so many parities hold a model.
      empty_from: cells of this many and more hold none; one more than there are variables where
        none was seen to be empty.
    """

    def __init__(
        self, session: protocol.SatSession, draw_key: int, num_columns: int, density: float
    ) -> None:
        self._session = session
        self.switches: list[int] = []
        self._draw_key, self._num_columns, self._density = draw_key, num_columns, density
        self.filled_to, self.empty_from = 0, num_columns + 1

    def is_empty(self, level: int, deadline: limits.Deadline) -> bool:
        """Whether cell(level) holds no model; past the number of variables it counts as empty.

        Raises:
          OutOfTime: the deadline passed.
        """
        if self.filled_to < level < self.empty_from:
            self._add_parities(level, deadline)
            found = self._session.enumerate(1, assumptions=self.switches[:level], deadline=deadline)
            if found.status is answer.Status.UNKNOWN:
                raise limits.OutOfTime
            if found.assignments is not None and len(found.assignments):
                # It may satisfy further parities, too.
                model = parity_rows.pack(found.assignments)
                leading = int(draws.num_leading(self._draw, model, level)[0])
                self.filled_to = min(leading, self._num_columns)
            else:
                self.empty_from = level
        return level > self.filled_to

    def _add_parities(self, level: int, deadline: limits.Deadline) -> None:
        step = max(1, _BLOCK_BITS // (self._num_columns + 1))
        while (present := len(self.switches)) < level:
            deadline.check()
            rows, rhs = self._draw(present, min(step, level - present))
            bits = parity_rows.unpack(rows, self._num_columns)
            self.switches += self._session.add_parities(bits, rhs)

    def _draw(self, first: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Parities ``first``, ``first + 1`` and so on, counted from 0."""
        return draws.draw_sparse(
            self._draw_key, number, self._num_columns, self._density, first=first
        )
