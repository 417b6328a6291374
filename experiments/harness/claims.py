"""What is said of an estimate: its guarantee in words, its verdict, its fields in JSON.

    >>> guarantee(estimate.exact_count(96), "exhaustive", "count")
    'exact count, certain'

Values go in as the nats of an ``Estimate`` and come out in bits.
"""

import math
from typing import Any

from inference.estimate import Claim, Estimate

LN2 = math.log(2.0)
# log2 of a double resolves no relative error below this, so a narrower interval is one number.
EXACT_WIDTH = 1e-9


def status(estimate: Estimate, info: Any) -> str:
    """What became of the call; a finished count of 0 is ``unsatisfiable``."""
    zero = estimate.log_upper == -math.inf
    return "unsatisfiable" if zero and info.status == "done" else info.status


def satisfiable(estimate: Estimate, info: Any) -> str:
    """The competition's word for whether there is a model (of weight above 0)."""
    if estimate.log_upper == -math.inf:
        return "UNSATISFIABLE"
    found = estimate.log_lower > -math.inf
    # A value that claims nothing proves no model either.
    claims = estimate.claim is not Claim.NONE
    answered = info.status == "done" and claims and estimate.log_value > -math.inf
    return "SATISFIABLE" if found or answered else "UNKNOWN"


def guarantee(estimate: Estimate, method: str, what: str) -> str:
    """The claim in plain words."""
    if estimate.claim is Claim.NONE:
        return f"none; the {what} may be anything"
    low, high = (digits(x / LN2, 6) for x in (estimate.log_lower, estimate.log_upper))
    if estimate.claim is Claim.EXPECTED:
        return f"in expectation over the seed, log2 of the {what} lies in [{low}, {high}]"
    exact = is_exact(estimate)
    rounded = "" if estimate.count is not None else " up to rounding"
    where = f"exact {what}{rounded}" if exact else f"the {what} lies within [2^{low}, 2^{high}]"
    where = where.replace("2^-inf", "0").replace("2^inf", "inf")
    if estimate.claim is Claim.CERTAIN:
        return f"{where}, certain"
    risks = [(estimate.failure_lower, "below"), (estimate.failure_upper, "above")]
    named = [f"{side} with probability at most {risk:.3g}" for risk, side in risks if risk]
    if exact and estimate.failure_lower == estimate.failure_upper:
        named = [f"on either side with probability at most {estimate.failure_lower:.3g}"]
    reason = " (hashed component cache)" if method == "ganak" else ""
    return f"{where}; wrong {' and '.join(named)}{reason}"


def is_exact(estimate: Estimate) -> bool:
    """Whether the interval is one number up to rounding."""
    return estimate.count is not None or estimate.log_width <= EXACT_WIDTH


def fields(problem: str, estimate: Estimate, info: Any, seconds: float) -> dict[str, Any]:
    """What a JSON object says about an estimate."""
    told = {
        "problem": problem,
        "method": info.method,
        "claim": estimate.claim.value,
        "log2_value": estimate.log_value / LN2,
        "log2_lower": estimate.log_lower / LN2,
        "log2_upper": estimate.log_upper / LN2,
        "failure_lower": estimate.failure_lower,
        "failure_upper": estimate.failure_upper,
        "count": None if estimate.count is None else str(estimate.count),
        "seconds": seconds,
        "oracle_calls": info.oracle_calls,
        "seed": info.seed,
        "status": status(estimate, info),
    }
    return plain(told)


def plain(value: Any) -> Any:
    """JSON has no infinities and no NaN: they become the strings "inf", "-inf" and "nan"."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def digits(value: float, number: int = 15) -> str:
    """A number to so many significant digits."""
    return f"{value:.{number}g}"
