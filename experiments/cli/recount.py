"""Checks of stored counts that keep nothing to check: Ganak counts again.

    recount.check(formula, claimed, solver="ganak").sides  # 'both'

Hashing counts keep models, see ``hashing.counting.verification``.
"""

import math
from collections.abc import Mapping
from typing import Any

from experiments.cli import arguments
from hashing.counting import verification
from inference.estimate import Claim, Estimate, exact_count
from inference.exact import ganak
from inference.problems import cnf, trivial

# Weighted counts add up in another order, and thousands of terms round.
NEAR = 1e-9


def check(
    formula: cnf.CNF,
    claimed: Mapping[str, Any],
    *,
    solver: str | None = None,
    timeout: float | None = None,
) -> verification.Report:
    """Whether a claim says nothing that could be wrong, or agrees with another count by Ganak.

    Args:
      formula: the one that was counted, its weights included.
      claimed: as for ``verification.check``, and ``method``.
      solver: "ganak", or None for no count.
      timeout: seconds.

    Raises:
      UsageError: the solver is not Ganak.
    """
    if solver not in (None, "ganak"):
        raise arguments.UsageError(f"--solver: expected ganak, which counts again, given {solver}")
    try:
        _check_claim(claimed)
    except ValueError as error:
        return refused("claim", str(error))
    if claimed["claim"] == "none":
        return _unchecked("nothing is claimed")
    most = trivial.count(formula).log_upper / math.log(2)
    near = NEAR * max(1.0, abs(most))
    if claimed["log2_lower"] == -math.inf and claimed["log2_upper"] >= most - near:
        seen = verification.Check(
            "count", True, "at most all assignments, which holds of any formula"
        )
        return verification.Report((seen,), "both sides: little is claimed", "both")
    if solver is None:
        return _unchecked(
            f"{claimed['method']} leaves nothing to check; --solver ganak counts again"
        )
    # Another seed, so another hash of the components in the cache.
    counted, how = ganak.count(formula, seed=claimed["seed"] + 1, timeout=timeout)
    if how.status != "done":
        return _unchecked(how.message or f"not finished within {how.seconds:.3g} s")
    try:
        seen = verification.Check("count", True, _compare(claimed, counted))
    except ValueError as error:
        return refused("count", str(error))
    return verification.Report((seen,), "both sides: counted again by ganak", "both")


def refused(what: str, detail: str) -> verification.Report:
    """The report of one check that failed."""
    seen = verification.Check(what, False, detail)
    return verification.Report((seen,), f"refused: {what}: {detail}", "none")


def _unchecked(why: str) -> verification.Report:
    return verification.Report((verification.Check("count", None, why),), "nothing checked", "none")


def _check_claim(claimed: Mapping[str, Any]) -> None:
    """Raises ValueError where its parts contradict each other."""
    names = ("log2_value", "log2_lower", "log2_upper", "failure_lower", "failure_upper")
    value, lower, upper, below, above = (claimed[name] for name in names)
    Estimate(value, lower, upper, below, above, Claim(claimed["claim"]))
    if not lower <= value <= upper:
        raise ValueError(f"expected a value in [{lower:.12g}, {upper:.12g}], given {value:.12g}")


def _compare(claimed: Mapping[str, Any], counted: Estimate) -> str:
    """Raises ValueError where the claim does not fit the new count."""
    finished = claimed["status"] in ("done", "unsatisfiable")
    if claimed["method"] == "ganak" and finished:
        verification.compare(claimed, counted, near=NEAR)
        return "the same, with another seed"
    if claimed["method"] == "exhaustive" and counted.count is not None:
        verification.compare(claimed, exact_count(counted.count))
        return "the same"
    value = counted.log_value / math.log(2)
    near = NEAR * max(1.0, abs(value))
    if not claimed["log2_lower"] - near <= value <= claimed["log2_upper"] + near:
        raise ValueError(f"log2 of the count is {value:.12g}, outside the interval")
    if claimed["count"] not in (None, str(counted.count)):
        raise ValueError(f"count: expected {counted.count}, given {claimed['count']}")
    return "inside the interval"
