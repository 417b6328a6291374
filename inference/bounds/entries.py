"""What ``mini_bucket``, ``trw`` and ``mean_field`` begin and end with.

    >>> graph = factor_graph.build([2, 2], [((0, 1), [[0.5, 0.0], [0.0, 1.0]])])
    >>> _, model = prepare(graph, orders.min_size, None)
    >>> best(graph, model, np.array([1, 1])).value
    1.0

They work on a model whose variables are named by position (``bucket_tree``), and answer about those
of the graph.
"""

import math

import numpy as np

from inference import answer, limits
from inference.exact import bucket_tree, orders
from inference.problems import factor_graph, logical_groups


def prepare(
    graph: factor_graph.FactorGraph, order_fn: orders.Order, memory: float | None
) -> tuple[factor_graph.FactorGraph, bucket_tree.Model]:
    """The graph with tables alone, and its model.

    Raises:
      ValueError: tables of clauses and parities need more mebibytes, or one is too wide for any.
    """
    graph = tabulate(graph, memory)
    return graph, bucket_tree.prepare(graph, order_fn)


def tabulate(graph: factor_graph.FactorGraph, memory: float | None) -> factor_graph.FactorGraph:
    """The graph with tables alone; errors as ``prepare``."""
    logical = [one for one in graph.groups if not isinstance(one, factor_graph.FactorGroup)]
    most = logical_groups.MAX_TABLE_VARIABLES  # wider ones have no table: refused below
    arities = [np.minimum(group.mask.sum(axis=1), most) for group in logical]
    entries = sum(float(np.exp2(arity).sum()) for arity in arities)
    limits.require_memory(8 * entries, memory, "tables of clauses and parities")
    return factor_graph.tabulate(graph)


def ended(deadline: limits.Deadline, *statuses: str) -> str:
    """How an entry ended whose parts ended so; "timeout" also where the time is over by now."""
    last = "timeout" if deadline.has_passed() else "done"
    return answer.cut_short(*statuses, last) or "done"


def best(
    graph: factor_graph.FactorGraph,
    model: bucket_tree.Model,
    states: np.ndarray,
    bound: float = math.inf,
    rounding: float = 0.0,
) -> answer.Answer:
    """The answer of an assignment [V] by position and a bound with the constants of the model."""
    assignment = model.assignment(states)
    value, log_error = factor_graph.score(graph, assignment), float(graph.log_error)
    return answer.best(assignment[None], value, bound, rounding, log_error)
