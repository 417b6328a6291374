"""Most probable assignments from guesses: climbed by single changes, then searched.

>>> decode(graph, np.argmax(marginals, axis=1), seed=0, deadline=math.inf).value
9.6
"""

import math
import time
from typing import Any

import numpy as np

from inference import answer, limits, randomness
from inference.problems import factor_graph


def decode(
    graph: factor_graph.FactorGraph, assignment: np.ndarray, seed: Any, deadline: float
) -> answer.Answer:
    """An assignment of the most probable states [V], improved as far as searches can.

    First by single changes, then, where the model fits into tables, by ``feasible.search``. Ties,
    which symmetric models have at every variable, make the first guess alone a bad one.
    """
    start = time.monotonic()
    assignment, status = _climb(graph, assignment, deadline)
    searched, ended = _search(graph, assignment, seed, deadline)
    scores = [factor_graph.score(graph, one) for one in (assignment, searched)]
    value, seconds = max(scores), time.monotonic() - start
    message = answer.cut_short(status, ended)
    if value == -math.inf:
        return answer.Answer(answer.Status.UNKNOWN, value, seconds=seconds, message=message)
    found = (assignment if scores[0] == value else searched)[None].astype(np.int32)
    return answer.Answer(answer.Status.FEASIBLE, value, math.inf, found, seconds, message)


def _climb(
    graph: factor_graph.FactorGraph, assignment: np.ndarray, deadline: float
) -> tuple[np.ndarray, str]:
    """The best single changes until none helps."""
    score = float(factor_graph.log_score(graph, assignment))
    improved = True
    while improved:
        improved = False
        for variable, size in enumerate(np.asarray(graph.num_states).tolist()):
            if time.monotonic() > deadline:
                return assignment, "timeout"
            others = np.repeat(assignment[None], size, axis=0)
            others[:, variable] = np.arange(size)
            scores = factor_graph.log_score(graph, others)
            if scores.max() > score:
                assignment, score = others[int(np.argmax(scores))], float(scores.max())
                improved = True
    return assignment, "done"


def _search(
    graph: factor_graph.FactorGraph, assignment: np.ndarray, seed: Any, deadline: float
) -> tuple[np.ndarray, str]:
    """The assignment improved by exact maxima around cut variables; as it is without tables."""
    from inference.bounds import feasible
    from inference.exact import bucket_tree, orders

    try:
        model = bucket_tree.prepare(factor_graph.tabulate(graph), orders.min_size)
    except ValueError:  # a clause too long for a table
        return assignment, "done"
    chosen = [int(assignment[v]) for v in model.plan.order]
    left = [model.states[v].tolist() for v in model.plan.order]
    start = [states.index(s) if s in states else 0 for s, states in zip(chosen, left, strict=True)]
    rng = randomness.generator(seed, "decode")
    found = feasible.search(
        model, rng, start=np.array(start, dtype=np.int64), deadline=limits.Deadline(deadline)
    )
    if found.states is None:
        return assignment, found.status
    return feasible.assignment(model, found.states), found.status
