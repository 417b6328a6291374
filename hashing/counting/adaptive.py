"""Lower bounds on model counts from parities with few ones: averaged cells, adaptive rows.

    >>> formula = cnf.from_clauses([[3, 4]], num_variables=30)
    >>> result, info = count(formula, seed=7, delta=0.05)
    >>> result.log_lower <= math.log(3 * 2**28), result.failure_lower
    (True, 0.05)

A trial at level m draws ``repetitions`` cells of m parities each and takes the mean number of
models, clipped at the cutoff s. Where |S| < s 2^(m-2) its mean is below s/4 whatever the rows are,
even chosen after seeing earlier models, because the right sides are fresh coins. So a level whose
trials come out high proves a bound; averaging, and dealing the variables that vary out to all rows,
make them come out high. Claim: PROBABLE below, failure_lower <= delta; nothing but 2^k above.

Kuck, Dao, Zhao, Bartan, Sabharwal and Ermon, Adaptive Hashing for Model Counting (UAI 2019),
Algorithm 2; with ``repetitions=1, draw_rows=row_laws.biregular`` its baseline, Algorithm 1. In
place of Hoeffding's inequality, which needs independent trials, stands a bet on each (Ville): it
passes whenever the paper's test does, and after a third of the trials where cells are full.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hashing.cells import levels
from hashing.counting import searches
from hashing.parity import row_laws
from inference import estimate, limits, randomness
from inference.oracles import protocol, sat
from inference.problems import cnf
from inference.reduction import support

# Rows adapt from this number of models on, as in the authors' program.
FEWEST_MODELS = 10
# A trial may take this part of the time left, as a level passes after about eight full trials.
TRIAL_PART = 1 / 8
# In the rows of one cell. Levels with more are left alone, which is a loss, never an error.
MOST_BITS = 1 << 30


class Info(NamedTuple):
    """How a count went.

    ``status`` is "done", "timeout", "interrupted" or "failed"; ``level`` the number of parities
    whose test passed, 0 for none; ``trials`` the number of trials run.
    """

    status: str
    seconds: float
    message: str = ""
    oracle_calls: int = 0
    level: int = 0
    trials: int = 0


def count(
    formula: cnf.CNF,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    delta: float = 0.05,
    cutoff: int = 4,
    repetitions: int = 10,
    draw_rows: row_laws.RowLaw = row_laws.adaptive,
    assumptions: Sequence[int] = (),
    reduce: Callable[..., support.Reduction] = support.reduce,
    open_session: Callable[[cnf.CNF], protocol.SatSession] = sat.SatSession,
    progress: searches.Progress = lambda _: None,
) -> tuple[estimate.Estimate, Info]:
    """A lower bound on the number of models over the sampling set.

    A cell that the time limit cuts counts what was found in it. At the limit or Ctrl-C before any
    test has passed, Markov's inequality over the trials so far still gives a bound.

    Args:
      formula: without weights.
      seed: an integer, a JAX key or bytes. Which models of a large cell are found, and so the rows
        drawn later, is up to the solver; the claim is not.
      timeout: seconds, half of them for the reduction; None for no limit.
      memory: mebibytes, as for ``within.count``; None for no limit.
      delta: probability of failure, in (0, 1).
      cutoff: s, where the mean of the cells of one trial is clipped.
      repetitions: K, cells per trial.
      draw_rows: the law of the rows, see ``row_laws``; any law gives valid bounds.
      assumptions: literals that hold in the models that are counted.
      reduce: from the formula to what is hashed, called as ``support.reduce`` is;
        ``support.unreduced`` hashes all of it.
      open_session: from a formula to a session.
      progress: called before each trial with a line that says where the count is; not where memory
        is limited.

    Returns:
      CERTAIN with ``count`` up to cutoff * repetitions models of the reduced formula, else
      PROBABLE.

    Raises:
      ValueError: an argument is out of range, the formula has weights, an assumption is no literal
        of it, or with ``memory`` a function cannot go to another process.
    """
    searches.check(formula, delta, assumptions, reduce, "adaptive")
    if cutoff < 1 or repetitions < 1:
        raise ValueError(
            f"expected cutoff and repetitions of at least 1, given {cutoff} and {repetitions}"
        )
    options: dict[str, Any] = {"delta": delta, "cutoff": cutoff, "repetitions": repetitions}
    options |= {"draw_rows": draw_rows, "open_session": open_session, "progress": progress}
    options |= {"assumptions": assumptions, "reduce": reduce}
    return searches.bound(
        formula, search=_Levels, info=Info, seed=seed, timeout=timeout, memory=memory, **options
    )


def num_tests(num_columns: int) -> int:
    """How many statements of equal failure make up delta.

    Levels go down from at most k - 1 in steps 1, 2, 4, ...; one more for an early end.
    """
    return num_columns.bit_length() + 1


def num_trials(num_columns: int, delta: float) -> int:
    """T = ceil(8 ln(tests / delta)): the most trials at one level."""
    return math.ceil(8 * math.log(num_tests(num_columns) / delta))


def log_bet(average: float) -> float:
    """What a trial multiplies a gambler's wealth by, in logs; ``average`` is in units of s.

    The factor 1 + 4/3 (average - 1/4) has mean at most 1 where the average has mean at most 1/4.
    A mean of 1/2 over T trials makes at least (4/3)^(T/2) > exp(T/8), by concavity.
    """
    return math.log(2 / 3 + 4 / 3 * average)


class _Levels(searches.Search):
    """Single trials to find a level, tests downward from it, and what has been found meanwhile."""

    def __init__(
        self,
        formula: cnf.CNF,
        *,
        cutoff: int,
        repetitions: int,
        draw_rows: row_laws.RowLaw,
        **shared: Any,
    ) -> None:
        super().__init__(formula, cutoff * repetitions + 1, **shared)
        self._cutoff, self._repetitions, self._draw_rows = cutoff, repetitions, draw_rows
        self._log_needed = math.log(num_tests(self._num_columns) / self._delta)
        self._num_models = 0
        self._ones = np.zeros(self._num_columns)
        self._log_early = -math.inf  # log max_t 2^m (mean cell of trial t) / (t (t + 1))
        self._log_mean = -math.inf  # mean cell at the level that passed, in logs
        self.passed = self.trials = 0

    def _told(self) -> tuple[int, int]:
        return self.passed, self.trials

    def _hash(self, deadline: limits.Deadline) -> None:
        """Finds and tests levels."""
        self._deadline = deadline
        too_high, step = levels.first_level(self._seems_too_high, 1), 1
        # Again from there: single trials fail by chance, and rows are better than on the way up.
        level = levels.first_level(self._seems_too_high, too_high) - 1
        while level > 0 and not self._passes(level):
            level, step = level - step, 2 * step

    def _seems_too_high(self, level: int) -> bool:
        if not 0 < level < min(self._num_columns, MOST_BITS // self._num_columns):
            return level > 0
        return 2 * self._trial(level, self._cutoff) < self._cutoff

    def _passes(self, level: int) -> bool:
        """Whether the trials of a level prove |S| >= s 2^(m-2)."""
        half_time = self._deadline.part(0.5)
        trials, log_wealth, total = num_trials(self._num_columns, self._delta), 0.0, 0.0
        for trial in range(1, trials + 1):
            average = self._trial(level, self._cutoff * self._repetitions)
            log_wealth += log_bet(average / self._cutoff)
            total += average
            if log_wealth >= self._log_needed:
                self.passed, self._log_mean = level, math.log(total / trial)
                return True
            out_of_reach = log_wealth + (trials - trial) * log_bet(1.0) < self._log_needed
            # Lower levels should get their turn, unless this one is more than half way there.
            too_slow = half_time.has_passed() and 2 * log_wealth < self._log_needed
            if out_of_reach or too_slow:
                return False
        return False

    def _trial(self, level: int, at_first: int) -> float:
        """The mean number of models found in fresh cells, at most the cutoff."""
        self._deadline.check()
        self._progress(f"trial {self.trials + 1}, {level} parities")
        # Clipped after averaging: one large cell may make up for empty ones.
        most = self._cutoff * self._repetitions
        missing = self._search_cells(level, at_first, most, self._deadline.part(TRIAL_PART))
        self.trials += 1
        average = self._cutoff - missing / self._repetitions
        if average:
            # E[average] 2^m <= |S|, and the weights 1 / (t (t + 1)) add up to 1.
            spent = math.log(self.trials) + math.log(self.trials + 1)
            early = math.log(average) + level * math.log(2) - spent
            self._log_early = max(self._log_early, early)
        return average

    def _search_cells(
        self, level: int, at_first: int, missing: int, deadline: limits.Deadline
    ) -> int:
        """How many models of ``missing`` the cells of a trial lack.

        Each cell is searched for ``at_first`` models, then full ones for more. Few at first give
        models from many cells to learn from, many at first need fewer cells.
        """
        full = []
        for index in range(self._repetitions):
            if not missing or deadline.has_passed():
                break  # cells that are not looked into count as empty
            rows, rhs = self._draw_cell(level, index)
            found = self._models(rows, rhs, min(at_first, missing), deadline)
            self._ones += found.sum(axis=0)
            self._num_models += len(found)
            missing -= len(found)
            if len(found) == at_first:
                full.append((np.packbits(rows, axis=1), rhs))
        for packed, rhs in full:
            if missing:
                rows = np.unpackbits(packed, axis=1, count=self._num_columns).astype(bool)
                found = self._models(rows, rhs, at_first + missing, deadline)
                missing -= max(0, len(found) - at_first)
        return missing

    def _draw_cell(self, level: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        labels = ("adaptive", self._digest, self.trials, index)
        generator = randomness.generator(self._seed, *labels)
        rows = self._draw_rows(generator, level, self._frequencies())
        return rows, generator.integers(2, size=level).astype(bool)

    def _models(
        self, rows: np.ndarray, rhs: np.ndarray, limit: int, deadline: limits.Deadline
    ) -> np.ndarray:
        """Up to ``limit`` models in a cell: bool [N, k]."""
        self._renew()
        self._num_rows += len(rows)
        switches = self._session.add_parities(rows, rhs)
        found = self._session.enumerate(limit, assumptions=switches, deadline=deadline)
        assert found.assignments is not None  # an enumeration always lists what it found
        return found.assignments

    def _frequencies(self) -> np.ndarray:
        if self._num_models < FEWEST_MODELS:
            return np.full(self._num_columns, 0.5)
        return self._ones / self._num_models

    def _claim_of(self, found: estimate.Estimate, most: float) -> estimate.Estimate:
        tested = early = -math.inf
        value = self._log_early
        if self.passed:
            tested = math.log(self._cutoff) + (self.passed - 2) * math.log(2)
            value = self._log_mean + self.passed * math.log(2)
        if self._log_early > -math.inf:
            early = self._log_early - self._log_needed
        probable = min(max(tested, early), most)
        if probable <= found.log_lower:
            return estimate.bounded(found.log_value, found.log_lower, most, 0.0, 0.0)
        value = min(max(value, probable), most)
        return estimate.bounded(value, probable, most, self._delta, 0.0)
