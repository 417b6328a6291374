"""What holds of a problem at sight: the claims that remain when a method finds nothing in time.

    >>> count(cnf.from_clauses([[1, 2]])).log_upper  # at most 2^2 models
    1.386...

All are certain, rounding included, and take one pass over the problem.
"""

import math

import numpy as np

from inference import answer, estimate
from inference.problems import cnf, factor_graph


def count(formula: cnf.CNF) -> estimate.Estimate:
    """At most every assignment of the sampling set is a model, with its weight."""
    weights = np.zeros((len(formula.sampling_set), 2))
    if formula.log_weights is not None:
        weights = formula.log_weights[formula.sampling_set - 1]
    upper = math.fsum(np.logaddexp(weights[:, 0], weights[:, 1])) + _rounding([weights])
    return estimate.bounded(-math.inf, -math.inf, upper, 0.0, 0.0)


def log_partition(
    graph: factor_graph.FactorGraph, assignment: np.ndarray | None = None
) -> estimate.Estimate:
    """From one assignment [V], by default the best for the unaries, to each factor at its largest.

    Clauses and parities are 0 at most.
    """
    chosen = np.argmax(graph.log_unary, axis=1) if assignment is None else assignment
    lower = log_lower(graph, chosen)
    return estimate.bounded(lower, lower, _upper(graph, np.logaddexp), 0.0, 0.0)


def log_lower(graph: factor_graph.FactorGraph, assignment: np.ndarray) -> float:
    """The log-score of an assignment [V] less its rounding: log Z is above it."""
    return estimate.below(factor_graph.score(graph, assignment), float(graph.log_error))


def marginals(graph: factor_graph.FactorGraph) -> np.ndarray:
    """The distribution of each variable without its neighbours, [V, S]; no claim.

    All zero where a variable has no state of positive weight: then Z = 0.
    """
    top = graph.log_unary.max(axis=1, keepdims=True, initial=-math.inf)
    if (top == -math.inf).any():
        return np.zeros(graph.log_unary.shape)
    weights = np.exp(graph.log_unary - top)
    return weights / weights.sum(axis=1, keepdims=True)


def maximize(graph: factor_graph.FactorGraph) -> answer.Answer:
    """The assignment best for the unaries, and each factor at its largest as a bound."""
    assignment = np.argmax(graph.log_unary, axis=1)
    score, upper = factor_graph.score(graph, assignment), _upper(graph, np.maximum)
    if upper == -math.inf:
        return answer.Answer(answer.Status.INFEASIBLE, upper, upper)
    if score == -math.inf:
        return answer.Answer(answer.Status.UNKNOWN, score, upper)
    return answer.Answer(answer.Status.FEASIBLE, score, upper, assignment[None])


def _upper(graph: factor_graph.FactorGraph, combine: np.ufunc) -> float:
    """Each factor at its largest: above log Z with logaddexp, above any log-score with maximum."""
    terms = [float(graph.log_constant), *combine.reduce(graph.log_unary, axis=1)]
    tables = [
        group.log_potentials.reshape(len(group.variables), -1)
        for group in graph.groups
        if isinstance(group, factor_graph.FactorGroup)
    ]
    for table in tables:
        terms += table.max(axis=1).tolist()
    constant = np.reshape(graph.log_constant, (1, 1))
    rounding = _rounding([constant, graph.log_unary, *tables]) + float(graph.log_error)
    return math.fsum(terms) + rounding


def _rounding(tables: list[np.ndarray]) -> float:
    """What sums of up to 2^16 terms, one from each row of the tables, may be off by."""
    sizes = [factor_graph.magnitude(table, axis=1) for table in tables]
    return 2.0**-36 * (1.0 + math.fsum(np.concatenate(sizes)))
