"""Methods for graphical models within a time limit, in processes that can be killed.

    >>> outcome = run("log_partition", graph, "auto", seed=0, memory=None, timeout=9.0)
    >>> list(outcome.found), outcome.status
    (['elimination'], 'done')

Nothing interrupts a compilation, and much host code looks at no clock. So with a time limit every
method works in a child process and hands over each better answer as it finds it. The clock of a
method runs out a little before the limit; what has not ended then is killed at the limit.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from experiments.solve import graph_methods, methods
from inference import answer, limits
from inference.problems import factor_graph
from inference.workers import background

BUDGET = 20.0  # seconds for what stands in for an exact answer, where no time limit is given
# Seconds at most that methods have for handing over, and that auto waits for an easy exact answer.
_GRACE = _HEAD_START = 1.0
_SHARE = 0.1  # of the limit, where that is less
_NICE = 5  # what stands in for an exact answer leaves the processor to it
_POLL = 0.02


class Gathered(NamedTuple):
    """What was found, by method, when the methods ended or time was up.

    Attributes:
      found: what each method last answered; those without an answer are not in it.
      status: "done", "timeout" or "interrupted".
      notes: what else there is to know, of each method.
    """

    found: dict[str, graph_methods.Found]
    status: str
    notes: list[str]


def run(
    question: str,
    graph: factor_graph.FactorGraph,
    method: str,
    *,
    timeout: float | None,
    **given: Any,
) -> Gathered:
    """Asks one method; or, for "auto", elimination and what stands in for it.

    With a time limit elimination has all of it and the others work beside it; without one they
    follow where it does not fit. Ctrl-C ends all with what there is. ``given`` are seed and memory,
    and what the question itself takes.
    """
    chosen = methods.find(question, method)
    exact = chosen is None or chosen.is_exact
    rows = graph_methods.FALL_BACKS[question] if chosen is None else ()
    first = "elimination" if chosen is None else chosen.name
    if timeout is None:
        return _here(question, graph, first, [one for row in rows for one in row], given)
    return _apart(question, graph, [(first,), *rows], given, timeout, exact)


def _here(
    question: str,
    graph: factor_graph.FactorGraph,
    first: str,
    others: Sequence[str],
    given: dict[str, Any],
) -> Gathered:
    """In this process, without a time limit but the budget of what follows ``first``."""
    found: dict[str, graph_methods.Found] = {}
    status = "done"
    try:
        for names, seconds in (([first], None), (others, BUDGET)):
            until = limits.Deadline.after(seconds)
            for now in graph_methods.answers(question, graph, names, deadline=until, **given):
                found |= now
            if any(value is not None for value, _ in found.values()):
                break
    except KeyboardInterrupt:
        status = "interrupted"
    outcome = _outcome([found], status)
    if outcome.status == "timeout":
        note = f"refined for {BUDGET:g} s, the default without a time limit"
        return outcome._replace(status="done", notes=[*outcome.notes, note])
    return outcome


def _apart(
    question: str,
    graph: factor_graph.FactorGraph,
    rows: Sequence[Sequence[str]],
    given: dict[str, Any],
    timeout: float,
    is_exact: bool,
) -> Gathered:
    """Each row of methods in a process of its own; an answer of an exact first one ends all."""
    start, status = time.monotonic(), "done"
    deadline, late = start + timeout, min(_HEAD_START, _SHARE * timeout)
    soft = deadline - min(_GRACE, _SHARE * timeout)
    children: list[background.Child] = []
    with contextlib.ExitStack() as stack:
        try:
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    status = "timeout"
                    break
                has_ended = [child.wait(0) for child in children]
                if is_exact and any(has_ended[:1]) and _answered(children[0]):
                    break
                if len(children) < len(rows):
                    if not children or has_ended[0] or time.monotonic() > start + late:
                        asked = (question, graph, rows[len(children)], given, soft)
                        nice = _NICE if children and not has_ended[0] else 0
                        child = background.Child(_work, *asked, nice)
                        children.append(stack.enter_context(child))
                        continue
                elif all(has_ended):
                    break
                children[has_ended.index(False)].wait(min(_POLL, left))
        except KeyboardInterrupt:
            status = "interrupted"
            if question == "sample":  # chains tell nothing until they end
                for child in children:
                    child.interrupt(_GRACE)
    told = [child.read() for child in children]
    if is_exact and children and _answered(children[0]):
        return _outcome([told[0].value], "done")
    outcome = _outcome([one.value or {} for one in told], status)
    return outcome._replace(notes=outcome.notes + _breaks(rows, told))


def _work(
    question: str,
    graph: factor_graph.FactorGraph,
    names: Sequence[str],
    given: dict[str, Any],
    deadline: float,
    nice: int,
) -> Iterator[dict[str, graph_methods.Found]]:
    """In the child: the clock is the parent's, all processes of a machine read the same one."""
    os.nice(nice)
    until = limits.Deadline(deadline)
    return graph_methods.answers(question, graph, names, deadline=until, is_limited=True, **given)


def _answered(child: background.Child) -> bool:
    value = child.read().value
    return bool(value) and any(answer is not None for answer, _ in value.values())


def _outcome(parts: Sequence[dict[str, graph_methods.Found]], status: str) -> Gathered:
    found = {method: one for part in parts for method, one in part.items()}
    kept = {method: one for method, one in found.items() if one[0] is not None}
    failed = [f"{m}: {info.message}" for m, (value, info) in found.items() if value is None]
    notes = [f"{m} {info.message}" for m, (_, info) in kept.items() if info.message]
    ended = answer.cut_short(status, *(info.status for _, info in kept.values()))
    return Gathered(kept, ended or "done", notes + failed)


def _breaks(rows: Sequence[Sequence[str]], told: Sequence[background.ChildReport]) -> list[str]:
    """What broke, and what had not answered when time was up."""
    notes = []
    for row, one in zip(rows, told):
        silent = [method for method in row if method not in (one.value or {})]
        if one.status == "failed":
            notes.append(f"{'+'.join(silent or row)}: {one.message}")
        elif one.status == "running" and silent:
            notes.append(f"{', '.join(silent)} did not finish")
    return notes
