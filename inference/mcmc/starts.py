"""Where chains begin: assignments of positive weight, far from each other where that is possible.

    >>> graph = factor_graph.build([2, 2, 3], [((0, 1), [[-np.inf, 0.0], [0.0, -np.inf]])])
    >>> find(graph, 4, seed=0).shape
    (4, 3)

Each variable draws one of its states alone. Where hard zeros rule all of that out a solver repairs
it: it keeps as much of a random assignment as can be kept by halving what it assumes, and proves
where there is nothing to find.
"""

from typing import Any

import numpy as np

from inference import answer, limits, randomness
from inference.oracles import sat
from inference.problems import cnf, convert, factor_graph

_TRIES = 16  # random assignments for each chain before a solver is asked


def find(
    graph: factor_graph.FactorGraph,
    num_chains: int,
    *,
    seed: Any = 0,
    deadline: limits.Deadline = limits.NEVER,
) -> np.ndarray | None:
    """Assignments of positive weight, int32 [C, V]; None where time ran out before there was one.

    Raises:
      ValueError: every assignment has weight 0.
    """
    rng = randomness.generator(seed, "starts")
    allowed = np.asarray(graph.log_unary) > -np.inf
    if float(graph.log_constant) == -np.inf or not allowed.any(axis=1).all():
        raise _nothing()
    if deadline.has_passed():
        return None
    found: list[np.ndarray] = []
    for _ in range(_TRIES):
        drawn = _draw(rng, allowed, num_chains)
        found += list(drawn[np.asarray(factor_graph.log_score(graph, drawn)) > -np.inf])
        if len(found) >= num_chains:
            return np.stack(found[:num_chains])
    return _repaired(graph, _draw(rng, allowed, num_chains), rng, deadline)


def _draw(rng: np.random.Generator, allowed: np.ndarray, number: int) -> np.ndarray:
    """One allowed state of each variable, all equally likely, int32 [N, V]."""
    ranks = rng.random((number, *allowed.shape))
    return np.where(allowed, ranks, -1.0).argmax(axis=-1).astype(np.int32)


def _repaired(
    graph: factor_graph.FactorGraph,
    wanted: np.ndarray,
    rng: np.random.Generator,
    deadline: limits.Deadline,
) -> np.ndarray | None:
    """For each assignment one that a solver finds near it; those found where time is over."""
    formula, literals = _support(graph)
    found: list[np.ndarray] = []
    with sat.SatSession(formula) as session:
        if session.solve(deadline=deadline).status is answer.Status.INFEASIBLE:
            raise _nothing()
        for states in wanted:
            order = rng.permutation(len(literals)).tolist()
            model = _near(session, [literals[v][states[v]] for v in order], deadline)
            if model is not None:
                found.append(_states(literals, model))
    # Where time ran out some chains begin at one place.
    return np.stack([found[chain % len(found)] for chain in range(len(wanted))]) if found else None


def _near(
    session: sat.SatSession, literals: list[int], deadline: limits.Deadline
) -> np.ndarray | None:
    """A model in which as many of the first literals hold as halving finds; None without time."""
    while True:
        found = session.solve(literals, deadline=deadline)
        if found.assignments is not None:
            return found.assignments[0]
        if not literals or deadline.has_passed():
            return None
        literals = literals[: len(literals) // 2]


def _support(graph: factor_graph.FactorGraph) -> tuple[cnf.CNF, list[list[int]]]:
    """The formula of the assignments of positive weight, and the literal of each state."""
    groups = [
        group._replace(log_potentials=_zeros_alone(group.log_potentials))
        if isinstance(group, factor_graph.FactorGroup)
        else group
        for group in graph.groups
    ]
    flat = graph._replace(groups=tuple(groups), log_constant=np.float64(0.0))
    formula = convert.factor_graph_to_cnf(flat._replace(log_unary=np.zeros_like(graph.log_unary)))
    literals, _, _ = cnf.state_literals(np.asarray(graph.num_states).tolist())
    excluded = np.asarray(graph.log_unary) == -np.inf
    units = [[-row[s]] for row, out in zip(literals, excluded) for s in range(len(row)) if out[s]]
    clauses = [*formula.clauses.tolist(), *units]
    xors = list(zip(formula.xors.tolist(), formula.xor_rhs.tolist(), strict=True))
    number = formula.num_variables
    return cnf.from_clauses(clauses, xors=xors, num_variables=number), literals


def _zeros_alone(table: np.ndarray) -> np.ndarray:
    return np.where(np.asarray(table) == -np.inf, -np.inf, 0.0)


def _states(literals: list[list[int]], model: np.ndarray) -> np.ndarray:
    """Of each variable the state whose literal holds in a model, int32 [V]."""
    holds = [[model[abs(one) - 1] == (one > 0) for one in row] for row in literals]
    return np.array([row.index(True) for row in holds], np.int32)


def _nothing() -> ValueError:
    return ValueError(
        "expected a model with samples, given one where every assignment has weight 0"
    )
