"""Questions about graphical models by message passing: one method, or several together.

    >>> result, told = ask("log_partition", graph, "bp", seed=0, timeout=9.0, memory=None)
    >>> result.claim, told.status
    (<Claim.NONE: 'none'>, 'done')

``experiments.solve`` calls it for everything that is not exact. A method is a module of
``inference.message_passing``; what a module does not answer itself is refused, except that a most
probable assignment is always decoded from marginals.
"""

import dataclasses
import importlib
import math
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from inference import answer, estimate
from inference.problems import factor_graph

METHODS = {
    "bp": "an estimate by belief propagation; no guarantee",
    "gbp": "an estimate by generalised belief propagation on short loops; slower, mostly closer",
    "bpnn": "an estimate from ordered fixed points and learned corrections; no guarantee",
    "mean_field": "a lower bound, certain",
    "trw": "an upper bound by trees, certain",
    "mini_bucket": "bounds on both sides by weighted mini-buckets, certain",
}
MODULES = {"gbp": "region", "bpnn": "bpnn_phases"}  # where the name differs
SEEDS = {"bp": "seed", "mean_field": "key"}  # what methods that draw call it
BUDGET = 20.0  # seconds for bounds where no time limit is given


class Told(NamedTuple):
    """How an answer came about: ``status`` "done", "timeout" or "interrupted", and what else."""

    status: str
    message: str = ""


def ask(
    question: str, graph: factor_graph.FactorGraph, method: str, **limits: Any
) -> tuple[Any, Told]:
    """The answer of one method to "log_partition", "marginals" or "maximize".

    Args:
      limits: ``seed``, ``timeout`` in seconds and ``memory`` in mebibytes, or None.

    Raises:
      ValueError: the method does not answer this question.
    """
    module = _module(method)
    if hasattr(module, question):
        return _call(getattr(module, question), graph, method, **limits)
    if question == "maximize" and hasattr(module, "marginals"):
        start = time.monotonic()
        probabilities, told = _call(module.marginals, graph, method, **limits)
        return decode(graph, probabilities, time.monotonic() - start), told
    able = ", ".join(name for name in METHODS if hasattr(_module(name), question))
    raise ValueError(f"expected a method for {question} such as {able}, given {method}")


def fall_back(
    question: str,
    graph: factor_graph.FactorGraph,
    *,
    seed: int,
    timeout: float,
    memory: int | None,
) -> tuple[Any, Told]:
    """The best that message passing can say: what auto answers where nothing exact fits.

    log Z: the estimate of belief propagation inside the tightest certain interval that time
    allows, moved to its end if it lies outside. Marginals: those of belief propagation. A most
    probable assignment: the better of what belief propagation and mini-buckets decode, with the
    bound of mini-buckets.
    """
    deadline = time.monotonic() + min(timeout, BUDGET)
    methods = FALL_BACKS[question]
    answers, messages, statuses = [], [], []
    for at, method in enumerate(methods):
        share = (deadline - time.monotonic()) / (len(methods) - at)
        limits = {"seed": seed, "timeout": max(share, 0.0), "memory": memory}
        try:
            found, told = ask(question, graph, method, **limits)
        except ValueError as error:  # a clause too long for a table, say; the others may do
            if at == 0:
                raise
            messages.append(f"{method}: {error}")
            continue
        answers.append(found)
        messages.append(f"{method} {told.message}".strip())
        statuses.append(told.status)
        if told.status == "interrupted":
            break
    status = next((s for s in ("interrupted", "timeout") if s in statuses), "done")
    return COMBINE[question](answers), Told(status, ", ".join(messages))


def _inside(answers: list[estimate.Estimate]) -> estimate.Estimate:
    """The value of the first estimate, which claims nothing, inside all intervals."""
    both = estimate.intersect(answers)
    value = min(max(answers[0].log_value, both.log_lower), both.log_upper)
    return estimate.bounded(value, both.log_lower, both.log_upper, 0.0, 0.0)


def _best(answers: list[answer.Answer]) -> answer.Answer:
    """The assignment of the highest score, with the lowest bound."""
    # Among equal scores what is proven: OPTIMAL, or INFEASIBLE, where score and bound are one.
    best = max(answers, key=lambda one: (one.value, one.value == one.bound))
    return dataclasses.replace(best, bound=min(one.bound for one in answers))


FALL_BACKS = {
    "log_partition": ("bp", "mean_field", "mini_bucket"),
    "marginals": ("bp",),
    "maximize": ("bp", "mini_bucket"),
}
COMBINE: dict[str, Callable[[list], Any]] = {
    "log_partition": _inside,
    "marginals": lambda answers: answers[0],
    "maximize": _best,
}


def decode(
    graph: factor_graph.FactorGraph, probabilities: np.ndarray, seconds: float
) -> answer.Answer:
    """The most probable state of each variable, then the best single changes until none helps."""
    assignment = np.argmax(probabilities, axis=1)
    score = float(factor_graph.log_score(graph, assignment))
    improved = True
    while improved:
        improved = False
        for variable, size in enumerate(np.asarray(graph.num_states).tolist()):
            others = np.repeat(assignment[None], size, axis=0)
            others[:, variable] = np.arange(size)
            scores = factor_graph.log_score(graph, others)
            if scores.max() > score:
                assignment, score = others[int(np.argmax(scores))], float(scores.max())
                improved = True
    if score == -math.inf:
        return answer.Answer(answer.Status.UNKNOWN, score, math.inf, seconds=seconds)
    found = assignment[None].astype(np.int32)
    return answer.Answer(answer.Status.FEASIBLE, score, math.inf, found, seconds)


def _call(
    entry: Callable,
    graph: factor_graph.FactorGraph,
    method: str,
    *,
    seed: int,
    timeout: float,
    memory: int | None,
) -> tuple[Any, Told]:
    options: dict[str, Any] = {"timeout": timeout}
    if method in SEEDS:
        options[SEEDS[method]] = seed
    if method == "mini_bucket" and memory is not None:
        options["memory"] = memory
    result = entry(graph, **options)
    if isinstance(result, answer.Answer):
        return result, Told("done")
    value, info = result
    converged = getattr(info, "converged", None)
    if converged is None:
        return value, Told(info.status)
    end = "converged" if converged else "not converged"
    return value, Told(info.status, f"{end} after {info.iterations} sweeps")


def _module(method: str) -> ModuleType:
    return importlib.import_module(f"inference.message_passing.{MODULES.get(method, method)}")
