"""Most probable assignments from guesses: climbed by single changes, then searched.

>>> found, status = decode(graph, np.argmax(probabilities, axis=1), seed=0)
>>> found.value, status
(9.6, 'done')
"""

import math
from typing import Any

import numpy as np

from inference import answer, limits, randomness
from inference.problems import factor_graph


def decode(
    graph: factor_graph.FactorGraph,
    guess: np.ndarray,
    *,
    seed: Any,
    memory: float | None = None,
    deadline: limits.Deadline = limits.NEVER,
) -> tuple[answer.Answer, str]:
    """An assignment [V] improved as far as searches can, and "done", "timeout" or "interrupted".

    First by single changes, then, where the model fits into tables, by ``feasible.search``. Ties,
    which symmetric models have at every variable, make the most probable states alone a bad guess.
    """
    climbed, status = _climb(graph, guess, deadline)
    searched, ended = _search(graph, climbed, seed, memory, deadline)
    scores = [factor_graph.score(graph, one) for one in (climbed, searched)]
    value, status = max(scores), answer.cut_short(status, ended) or "done"
    if value == -math.inf:
        return answer.Answer(answer.Status.UNKNOWN, value), status
    best = (climbed if scores[0] == value else searched)[None].astype(np.int32)
    return answer.Answer(answer.Status.FEASIBLE, value, assignments=best), status


def _climb(
    graph: factor_graph.FactorGraph, assignment: np.ndarray, deadline: limits.Deadline
) -> tuple[np.ndarray, str]:
    """The best single changes until none helps."""
    score = float(factor_graph.log_score(graph, assignment))
    improved = True
    while improved:
        improved = False
        for variable, size in enumerate(np.asarray(graph.num_states).tolist()):
            if deadline.has_passed():
                return assignment, "timeout"
            others = np.repeat(assignment[None], size, axis=0)
            others[:, variable] = np.arange(size)
            scores = factor_graph.log_score(graph, others)
            if scores.max() > score:
                assignment, score = others[int(np.argmax(scores))], float(scores.max())
                improved = True
    return assignment, "done"


def _search(
    graph: factor_graph.FactorGraph,
    assignment: np.ndarray,
    seed: Any,
    memory: float | None,
    deadline: limits.Deadline,
) -> tuple[np.ndarray, str]:
    """The assignment improved by exact maxima around cut variables; as it is without tables."""
    from inference.bounds import entries, feasible
    from inference.exact import orders

    try:
        _, model = entries.prepare(graph, orders.min_size, memory)
    except ValueError:  # a clause too long for a table
        return assignment, "done"
    chosen = [int(assignment[v]) for v in model.plan.order]
    left = [model.states[v].tolist() for v in model.plan.order]
    start = [states.index(s) if s in states else 0 for s, states in zip(chosen, left, strict=True)]
    rng = randomness.generator(seed, "decode")
    found = feasible.search(model, rng, start=np.array(start, dtype=np.int64), deadline=deadline)
    if found.states is None:
        return assignment, found.status
    return model.assignment(found.states), found.status
