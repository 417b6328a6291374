"""What an experiment promises of its numbers, checked after every run.

    def check(result):  # in an experiment; its docstring says what is promised
        promises.expect_rare(result.scalars["misses"], 200, 0.2, "intervals that miss")

Randomness may break a promise that holds; the limits here let that happen in one run of ten
thousand.
"""

from typing import Any

from inference import estimate

RARE = 1e-4
ERRORS = 4.0  # standard errors; more happens by chance in 6 of 100,000 runs


class BrokenPromise(ValueError):
    """Numbers contradict what their experiment promises; ``result`` holds them."""

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


def expect(holds: Any, what: str) -> None:
    """Raises BrokenPromise, saying what was expected and given, unless the promise holds."""
    if not holds:
        raise BrokenPromise(what)


def expect_rare(seen: Any, trials: Any, chance: float, what: str) -> None:
    """Raises BrokenPromise where independent events of at most that chance are seen too often."""
    likely = seen <= 0 or estimate.binomial_tail(int(trials), int(seen), chance) >= RARE
    expect(likely, f"expected {what} with probability at most {chance:g}, given {seen} of {trials}")


def expect_mean(mean: float, error: float, target: float, what: str) -> None:
    """Raises BrokenPromise where a mean is too many standard errors away; NaN where unknown."""
    far = abs(mean - target) > ERRORS * error + 1e-9
    expect(not far, f"expected {what} of {target:g}, given {mean:.4g} +- {error:.2g}")
