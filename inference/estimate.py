"""Numbers that say what they guarantee.

An ``Estimate`` carries a value, an interval and a claim about the interval. ``Z`` below is the
true value; every ``log_*`` is in nats.

    >>> estimate = exact_count(96)
    >>> estimate.claim, estimate.count
    (<Claim.CERTAIN: 'certain'>, 96)
"""

import dataclasses
import enum
import math
from collections.abc import Callable, Sequence
from typing import Any


class Claim(enum.Enum):
    """What the interval of an ``Estimate`` promises."""

    CERTAIN = "certain"  # log_lower <= log Z <= log_upper
    PROBABLE = "probable"  # each side wrong with at most its failure probability, over the key
    EXPECTED = "expected"  # E[log_lower] <= log Z <= E[log_upper], over the key
    NONE = "none"  # nothing: both bounds are infinite


@dataclasses.dataclass(frozen=True, repr=False)
class Estimate:
    """A value in nats with the guarantee that comes with it.

    A missing side is -inf or +inf with failure 0. ``count`` is the exact integer where it is
    known, ``witness`` whatever allows the claim to be checked again.

    Raises:
      ValueError: the fields contradict each other.
    """

    log_value: float
    log_lower: float = -math.inf
    log_upper: float = math.inf
    failure_lower: float = 0.0
    failure_upper: float = 0.0
    claim: Claim = Claim.NONE
    count: int | None = None
    witness: Any = None

    def __post_init__(self):
        if any(math.isnan(x) for x in (self.log_value, self.log_lower, self.log_upper)):
            raise ValueError(f"an estimate holds no NaN, given {self}")
        for failure, missing in (
            (self.failure_lower, self.log_lower == -math.inf and self.log_upper > -math.inf),
            (self.failure_upper, self.log_upper == math.inf),
        ):
            if not 0.0 <= failure < 1.0:
                raise ValueError(f"a failure probability lies in [0, 1), given {failure}")
            if failure and (missing or self.claim is not Claim.PROBABLE):
                raise ValueError(f"only a present side of a PROBABLE claim can fail, given {self}")
        bounded = self.log_lower > -math.inf or self.log_upper < math.inf
        if self.claim is Claim.NONE and bounded:
            raise ValueError(f"a claim of NONE has infinite bounds, given {self}")
        if self.claim is not Claim.EXPECTED and self.log_lower > self.log_upper:
            raise ValueError(f"expected log_lower <= log_upper, given {self}")

    def __str__(self) -> str:
        """The value, the interval and the claim on one line, in nats."""
        value = f"log {self.log_value:.10g}"
        if self.count is not None and abs(self.count) < 10**40:
            value = f"{self.count} ({value})"
        if self.claim is Claim.NONE:
            return f"{value}, no claim"
        interval = f"{value} in [{self.log_lower:.10g}, {self.log_upper:.10g}], {self.claim.value}"
        failures = {"below": self.failure_lower, "above": self.failure_upper}
        named = [f"{side} with probability {risk:.3g}" for side, risk in failures.items() if risk]
        return f"{interval}, wrong {', '.join(named)}" if named else interval

    def __repr__(self) -> str:
        """The fields without the witness; a count of thousands of digits in hexadecimal."""
        huge = self.count is not None and abs(self.count) >= 10**4000  # Python may refuse digits
        names = [field.name for field in dataclasses.fields(self) if field.name != "witness"]
        shown = [f"{n}={getattr(self, n)!r}" for n in names if not (huge and n == "count")]
        shown += [f"count={self.count:#x}"] if huge else []
        return f"Estimate({', '.join(shown)})"

    @property
    def log_width(self) -> float:
        """Width of the interval in nats; 0 where both bounds are -inf (Z = 0)."""
        return 0.0 if self.log_lower == self.log_upper else self.log_upper - self.log_lower


class EmptyIntersection(ValueError):
    """Estimates of one quantity contradict each other: at least one of them failed."""


def log_of_count(count: int) -> float:
    """Natural logarithm of a Python integer of any size; -inf for 0."""
    return math.log(count) if count else -math.inf


def exact_count(count: int, *, failure: float = 0.0, witness: Any = None) -> Estimate:
    """The estimate for a known integer, its interval as wide as the rounding of the logarithm.

    With ``failure`` above 0 the claim is PROBABLE: an exact number from a method that can be
    wrong with that probability.
    """
    value = log_of_count(count)
    claim = Claim.PROBABLE if failure else Claim.CERTAIN
    # Past the range of floats math.log adds two logarithms: three roundings.
    few = 4 * math.ulp(value) if count > 1 else 0.0
    return Estimate(value, value - few, value + few, failure, failure, claim, count, witness)


def certain(log_value: float, log_error: float, *, witness: Any = None) -> Estimate:
    """A deterministic result, rounded once, that errs by at most ``log_error`` nats besides.

    With an error of 0 it is exact, the one rounding included.
    """
    if log_value == -math.inf:
        return Estimate(log_value, log_value, log_value, claim=Claim.CERTAIN, witness=witness)
    lower = upper = log_value
    if log_error != 0:
        lower, upper = below(log_value, log_error), above(log_value, log_error)
    return Estimate(log_value, lower, upper, claim=Claim.CERTAIN, witness=witness)


def below(value: float, error: float) -> float:
    """At most the exact ``value - error``, even if ``value`` was rounded once; -inf stays."""
    return math.nextafter(math.nextafter(value, -math.inf) - error, -math.inf)


def above(value: float, error: float) -> float:
    """At least the exact ``value + error``, even if ``value`` was rounded once; -inf stays."""
    if value == -math.inf:
        return value
    return math.nextafter(math.nextafter(value, math.inf) + error, math.inf)


def median_of(estimates: Sequence[Estimate]) -> Estimate:
    """Medians, side by side, of an odd number of independent estimates of one quantity.

    The median of the lower bounds is wrong only where more than half of them are, so the failure
    per side is the binomial tail at the largest failure among the estimates; likewise above.

    Raises:
      ValueError: the number is even, or an estimate claims EXPECTED.
    """
    rounds = len(estimates)
    if rounds % 2 == 0:
        raise ValueError(f"median_of needs an odd number of estimates, given {rounds}")
    _refuse_expected(estimates, "median_of")
    value = _median([e.log_value for e in estimates])
    lower = _median([e.log_lower for e in estimates])
    upper = _median([e.log_upper for e in estimates])
    failure_lower = majority_tail(rounds, max(e.failure_lower for e in estimates))
    failure_upper = majority_tail(rounds, max(e.failure_upper for e in estimates))
    return bounded(value, lower, upper, failure_lower, failure_upper)


def intersect(estimates: Sequence[Estimate]) -> Estimate:
    """The interval inside all the given ones; the failures add up on each side.

    The value is that of the narrowest estimate, moved into the interval. Independence is not
    needed.

    Raises:
      ValueError: no estimate is given, or one claims EXPECTED.
      EmptyIntersection: the intervals have no point in common.
    """
    failure_lower, failure_upper = _added_failures(estimates, "intersect")
    lower = max(e.log_lower for e in estimates)
    upper = min(e.log_upper for e in estimates)
    if lower > upper:
        raise EmptyIntersection(f"no common point: a lower bound is {lower}, an upper {upper}")
    best = min(estimates, key=lambda e: e.log_width)
    value = min(max(best.log_value, lower), upper)
    return bounded(value, lower, upper, failure_lower, failure_upper)


def doubled(one: Estimate, times: int) -> Estimate:
    """The estimate of 2^times Z from one of Z; its witness stays that of Z."""
    if one.count is not None:
        failure = max(one.failure_lower, one.failure_upper)
        return exact_count(one.count << times, failure=failure, witness=one.witness)
    shift = times * math.log(2)
    value, lower, upper = (x + shift for x in (one.log_value, one.log_lower, one.log_upper))
    if times:  # log 2 and the product are rounded, then the sum, which may be far smaller
        lower, upper = below(lower, 2 * math.ulp(shift)), above(upper, 2 * math.ulp(shift))
    return dataclasses.replace(one, log_value=value, log_lower=lower, log_upper=upper)


def product(estimates: Sequence[Estimate], times: Sequence[int] | None = None) -> Estimate:
    """The estimate of a product of quantities, at least 0 each; no witness.

    Counts that are all known multiply. Logarithms add, rounded outward, and so do the failures of
    each side; independence is not needed. An estimate of 0 makes the product 0, whatever the
    others are.

    Args:
      estimates: one for each factor.
      times: how often each factor is in the product, at least once; by default once. Its estimate
        fails only once.

    Raises:
      ValueError: no estimate is given, or one claims EXPECTED.
    """
    failure_lower, failure_upper = _added_failures(estimates, "product")
    powers = [1] * len(estimates) if times is None else list(times)
    zeros = [e for e in estimates if e.log_upper == -math.inf]
    if zeros:
        return dataclasses.replace(min(zeros, key=lambda e: e.failure_upper), witness=None)
    counts = [e.count for e in estimates if e.count is not None]
    failure = sum(max(e.failure_lower, e.failure_upper) for e in estimates)
    if len(counts) == len(estimates) and failure < 1.0:
        return exact_count(math.prod(c**n for c, n in zip(counts, powers)), failure=failure)
    value = _scaled_sum([e.log_value for e in estimates], powers, 0.0)
    lower = _scaled_sum([e.log_lower for e in estimates], powers, -math.inf)
    upper = _scaled_sum([e.log_upper for e in estimates], powers, math.inf)
    return bounded(value, lower, upper, failure_lower, failure_upper)


def choose(estimates: Sequence[Estimate], badness: Callable[[Estimate], float]) -> Estimate:
    """The estimate of least ``badness``, paid for: each side's failure is the sum over all.

    Raises:
      ValueError: no estimate is given, or one claims EXPECTED.
    """
    failure_lower, failure_upper = _added_failures(estimates, "choose")
    best = min(estimates, key=badness)
    chosen = bounded(best.log_value, best.log_lower, best.log_upper, failure_lower, failure_upper)
    count = None if chosen.claim is Claim.NONE else best.count
    return dataclasses.replace(chosen, count=count, witness=best.witness)


def bounded(
    log_value: float,
    log_lower: float,
    log_upper: float,
    failure_lower: float,
    failure_upper: float,
    *,
    witness: Any = None,
) -> Estimate:
    """The strongest claim these bounds support; a side that may always fail is dropped."""
    if failure_lower >= 1.0 or (log_lower == -math.inf and log_upper > -math.inf):
        log_lower, failure_lower = -math.inf, 0.0
    if failure_upper >= 1.0 or log_upper == math.inf:
        log_upper, failure_upper = math.inf, 0.0
    if log_lower == -math.inf and log_upper == math.inf:
        return Estimate(log_value, witness=witness)
    claim = Claim.PROBABLE if failure_lower or failure_upper else Claim.CERTAIN
    return Estimate(
        log_value, log_lower, log_upper, failure_lower, failure_upper, claim, witness=witness
    )


def majority_tail(rounds: int, failure: float) -> float:
    """Pr[Bin(rounds, failure) >= ceil(rounds / 2)]: more than half of an odd number fail."""
    return binomial_tail(rounds, (rounds + 1) // 2, failure)


def binomial_tail(trials: int, at_least: int, probability: float) -> float:
    """Pr[Bin(trials, probability) >= at_least] for at_least >= 1."""
    if not 0.0 < probability < 1.0:
        return probability
    log_ways = math.lgamma(trials + 1)  # in logs, as binomials of 1030 trials overflow
    terms = (
        math.exp(
            log_ways
            - math.lgamma(k + 1)
            - math.lgamma(trials - k + 1)
            + k * math.log(probability)
            + (trials - k) * math.log1p(-probability)
        )
        for k in range(at_least, trials + 1)
    )
    return min(1.0, math.fsum(terms))


def _scaled_sum(values: list[float], times: list[int], outward: float) -> float:
    """Each value so many times, rounded outward where that is infinite; 0 stays 0."""
    terms = [n * x for n, x in zip(times, values) if x != 0.0]
    if -math.inf in terms or not terms or outward == 0.0:
        return -math.inf if -math.inf in terms else math.fsum(terms)
    return math.nextafter(math.fsum(math.nextafter(x, outward) for x in terms), outward)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _added_failures(estimates: Sequence[Estimate], rule: str) -> tuple[float, float]:
    """Of each side; ValueError where there is no estimate, or one claims EXPECTED."""
    if not estimates:
        raise ValueError(f"{rule} needs at least one estimate, given none")
    _refuse_expected(estimates, rule)
    return sum(e.failure_lower for e in estimates), sum(e.failure_upper for e in estimates)


def _refuse_expected(estimates: Sequence[Estimate], rule: str) -> None:
    if any(e.claim is Claim.EXPECTED for e in estimates):
        raise ValueError(f"{rule} refuses estimates that hold only in expectation")
