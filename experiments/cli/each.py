"""`tally count --each`: every variable counted on and off, and what is printed of it.

counted = each.count(formula, [1, -3], timeout=60.0)
each.show(formula, counted.options, figure="options.png")
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.cli import arguments, output
from experiments.harness import commonality
from experiments.solve.info import Info
from inference import answer, estimate, files
from inference.problems import cnf, trivial
from inference.reduction import support
from inference.workers import process

METHOD = "buckets"
# Options of other counts, and their values where they are not given.
OTHERS = {"method": "auto", "epsilon": None, "delta": None, "checkpoint": None, "save": None}
OTHERS |= {"write_support": None}


class Counted(NamedTuple):
    """The count, how it came about, and those of the variables; None where it did not end."""

    estimate: estimate.Estimate
    info: Info
    options: commonality.Commonality | None


def check(options: Any) -> None:
    """Raises UsageError where options of `tally count` do not go together."""
    if options.figure is not None and not options.each:
        raise arguments.UsageError("expected --each with --figure, given none")
    for name, value in OTHERS.items():
        if options.each and getattr(options, name) != value:
            option = f"--{name.replace('_', '-')}"
            raise arguments.UsageError(f"expected --each or {option}, given both")


def count(
    formula: cnf.CNF,
    literals: Sequence[int],
    *,
    seed: int = 0,
    timeout: float | None = None,
    memory: int | None = None,
) -> Counted:
    """Exact counts of the models where literals hold, and of those with each variable true.

    All is done in a child process, which is killed at its limits.

    Raises:
      ValueError: the formula has weights, or is too wide for the memory.
    """
    if formula.log_weights is not None:
        raise ValueError("--each: expected no weights (or --ignore-weights), given some")
    from inference.exact import true_counts  # no other count needs it

    held = support.conditioned(formula, literals)
    keywords = {"seed": seed, "timeout": timeout, "memory": memory}
    late = None if timeout is None else timeout + min(1.0, 0.25 + timeout / 8)
    try:
        told = process.call(
            true_counts.count_each, held, keywords=keywords, timeout=late, memory=memory
        )
    except KeyboardInterrupt:
        return _unfinished(held, "interrupted", 0.0)
    if told.status is not answer.Status.OPTIMAL:
        kind, _, reason = told.message.partition(": ")
        if kind in ("ValueError", "TooWide"):
            raise ValueError(reason)
        status = "failed" if told.status is answer.Status.FAILED else "timeout"
        return _unfinished(held, status, told.seconds, told.message)
    found, how = told.value
    if how.status != "done":
        return _unfinished(held, how.status, told.seconds)
    info = Info("done", told.seconds, METHOD, message=how.message)  # nothing was drawn
    return Counted(estimate.exact_count(found.total), info, commonality.of(formula, found))


def show(options: commonality.Commonality, figure: str | None, problem: str) -> None:
    """Prints the table as comments of the competition's format, and saves the figure."""
    for line in commonality.lines(options):
        print(output.COMMENT.format("each", line))
    if figure is not None:
        from experiments.harness import commonality_figure, plots  # they take half a second

        drawn = commonality_figure.draw(options, title=problem)
        with files.whole(figure) as beside:
            plots.save(drawn, Path(beside))


def fields(
    formula: cnf.CNF, asked: bool, options: commonality.Commonality | None
) -> dict[str, Any]:
    """What ``--json`` has beyond the keys of every count: ``each``, null where it did not end."""
    if not asked:
        return {}
    return {"each": None if options is None else commonality.rows(formula, options)}


def _unfinished(formula: cnf.CNF, status: str, seconds: float, message: str = "") -> Counted:
    return Counted(trivial.count(formula), Info(status, seconds, METHOD, message=message), None)
