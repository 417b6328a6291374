"""Questions about graphical models: how the methods of the table are asked, one or several.

    >>> value, info = ask("log_partition", graph, "bp", seed=0, timeout=9.0, memory=None)
    >>> value.claim, info.status
    (<Claim.NONE: 'none'>, 'done')

``graph_runs`` asks within limits, for ``graph_questions``.
"""

import dataclasses
import importlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.solve import decoding, methods
from experiments.solve.info import Info
from inference import answer, estimate, limits
from inference.problems import factor_graph

#: What auto asks where nothing exact fits; with a time limit one process for each row.
FALL_BACKS = {
    "log_partition": (("bp",), ("mean_field", "mini_bucket")),
    "marginals": (("bp",),),
    "maximize": (("bp",), ("mini_bucket",)),
}

Found = tuple[Any, Info]  # an answer, None where the method failed, and how it came about


def answers(
    question: str,
    graph: factor_graph.FactorGraph,
    names: Sequence[str],
    *,
    deadline: limits.Deadline,
    is_limited: bool = False,
    **asked: Any,
) -> Iterator[dict[str, Found]]:
    """Asks several methods in turn; yields what each has found so far.

    Args:
      asked: seed and memory, and what the question itself takes.
      deadline: the methods share what is left until then.
      is_limited: the deadline is the user's: ask what may take long for a few rounds first, so that
        something is there early, and use all the time.
    """
    found: dict[str, Found] = {}
    for at, name in enumerate(names):
        end = deadline.part(1 / (len(names) - at))
        for share, options in _rounds(methods.answering(question)[name], is_limited):
            given: dict[str, Any] = {"timeout": end.part(share).timeout, **asked, **options}
            try:
                value, info = ask(question, graph, name, **given)
            except (ValueError, MemoryError) as error:  # a clause too long for a table, say
                why = str(error) or "out of memory"
                found[name] = None, Info("failed", 0.0, name, message=why)
                break
            if name in found:
                value = _better(question, found[name][0], value)
            found[name] = value, info
            yield dict(found)
            if info.status == "interrupted":
                return
        yield dict(found)


def ask(
    question: str,
    graph: factor_graph.FactorGraph,
    name: str,
    *,
    seed: Any,
    timeout: float | None,
    memory: int | None,
    **options: Any,
) -> tuple[Any, Info]:
    """The answer of one method to "log_partition", "marginals", "maximize" or "sample".

    Args:
      timeout: seconds, which exact methods overrun.
      memory: mebibytes of tables, or None for the method's own limit.
      options: of the method itself.

    Raises:
      ValueError: the method does not fit this model.
    """
    start, deadline = time.monotonic(), limits.Deadline.after(timeout)
    method = methods.answering(question)[name]
    is_decoded = question == "maximize" and bool(method.decoded)
    ends = deadline.part(0.5) if is_decoded else deadline
    asked = method.decoded if is_decoded else question
    given: dict[str, Any] = {"seed": seed, "memory": memory, **options}
    given["timeout"] = None if method.is_exact else ends.timeout
    entry = getattr(importlib.import_module(method.module), asked)
    value, told = entry(graph, **given)
    if is_decoded:
        limited: dict[str, Any] = {"seed": seed, "memory": memory, "deadline": deadline}
        value, status = _decoded(graph, value, told.status, **limited)
        told = told._replace(status=status)
    drawn = seed if question in method.draws else None
    return value, _info(name, told, time.monotonic() - start, drawn)


def inside(
    answers: Sequence[estimate.Estimate], value: estimate.Estimate | None = None
) -> estimate.Estimate:
    """The intersection of all intervals, with the value of one that claims nothing moved inside."""
    both = estimate.intersect(answers if value is None else [*answers, value])
    log_value = both.log_value if value is None else value.log_value
    log_value = min(max(log_value, both.log_lower), both.log_upper)
    return estimate.bounded(log_value, both.log_lower, both.log_upper, 0.0, 0.0)


def best_of(answers: Sequence[answer.Answer]) -> answer.Answer:
    """The assignment of the highest score, with the lowest bound."""
    # What is proven first: another score can be larger by rounding alone.
    proven = (answer.Status.OPTIMAL, answer.Status.INFEASIBLE)
    best = max(answers, key=lambda one: (one.status in proven, one.value))
    return dataclasses.replace(best, bound=min(one.bound for one in answers))


def _better(question: str, old: Any, new: Any) -> Any:
    """Of one method's two answers to a question; what claims nothing is better the later it is."""
    if question == "maximize":
        return best_of([old, new])
    if question == "log_partition" and new.claim is not estimate.Claim.NONE:
        return inside([old], new)
    return new


def _rounds(method: methods.Method, is_limited: bool) -> list[tuple[float, Mapping[str, Any]]]:
    """How a method is asked: shares of the time that is left, with options."""
    if not is_limited:
        return [(1.0, {})]
    return [*([(0.1, method.quick)] if method.quick else []), (1.0, method.patient)]


def _decoded(
    graph: factor_graph.FactorGraph, value: Any, status: str, **given: Any
) -> tuple[answer.Answer, str]:
    """An assignment from marginals [V, S], or a better one than an answer has; and how it ended."""
    if not isinstance(value, answer.Answer):
        found, ended = decoding.decode(graph, np.argmax(value, axis=1), **given)
    elif value.assignments is None:
        return value, status
    else:
        found, ended = decoding.decode(graph, value.assignments[0], **given)
        found = best_of([value, found])
    return found, answer.cut_short(status, ended) or "done"


def _info(name: str, told: Any, seconds: float, seed: Any) -> Info:
    """How an answer came about, from what the method's own ``Info`` says."""
    converged, message = getattr(told, "converged", None), getattr(told, "message", "")
    if converged is not None:
        end = "converged" if converged else "not converged"
        ended, converged = f"{end} after {told.iterations} sweeps", bool(converged)
        message = f"{ended}, {message}" if message else ended
    info = Info(told.status, seconds, name, seed=seed, message=message, converged=converged)
    found = {field: getattr(told, field, None) for field in ("error", "ess", "rhat")}
    return info._replace(**{field: one for field, one in found.items() if one is not None})
