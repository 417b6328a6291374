"""The method ``bpnn``: counts of formulas, log Z and marginals of graphs, by learned corrections.

    >>> estimate, info = log_partition(generators.ising_grid(10, 10, 1.0))  # log Z = 180.9063
    >>> round(estimate.log_value, 2), info.phases
    (180.91, 2)
    >>> estimate, info = count(cnf.from_clauses([[1, 2], [2, 3], [-1, -3], [3, 4]]))  # four models
    >>> 3.5 < np.exp(estimate.log_value) < 4.5, estimate.claim
    (True, <Claim.NONE: 'none'>)

After Kuck, Chakraborty, Tang, Luo, Song, Sabharwal and Ermon, "Belief propagation neural networks"
(NeurIPS 2020), whose layers are in ``bpnn_layers``. Graphs: the two ordered fixed points of belief
propagation, corrected around short cycles (``bpnn_phases``). Formulas: belief propagation on tables
of up to five variables, corrected (``bpnn_sat``). Nothing is drawn, and every claim is NONE but
that of a count for which there was no time.
"""

import time
from typing import Any

import jax
import numpy as np

from inference import estimate, limits
from inference.message_passing.learned import bpnn_layers, bpnn_phases, bpnn_sat
from inference.problems import cnf, factor_graph, trivial


def count(
    formula: cnf.CNF,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    network: bpnn_sat.Network | None = None,
    iterations: int = bpnn_sat.ITERATIONS,
) -> tuple[estimate.Estimate, bpnn_sat.Info]:
    """Estimates the number of models; claim NONE.

    Args:
      seed: nothing is drawn.
      timeout: seconds; the value of the messages reached by then is what comes back. Before there
        are any it is what is certain at sight, at most 2^n.
      memory: mebibytes of tables and messages, as the number of literals tells.
      network: the shipped one by default; ``Network()`` for belief propagation alone.
      iterations: sweeps over all messages; the more of them cost time alone.

    Raises:
      ValueError: the formula has weights, or a sampling set that leaves variables out, or there is
        too little memory.
    """
    began, deadline = time.monotonic(), limits.Deadline.after(timeout)
    limits.require_memory(bpnn_sat.octets(formula), memory, "tables and messages")
    try:
        [answer] = bpnn_sat.solve([formula], network, iterations=iterations, deadline=deadline)
    except limits.OutOfTime:
        left = len(formula.clauses) + len(formula.xors)
        info = bpnn_sat.Info("timeout", time.monotonic() - began, 0, left)
        return trivial.count(formula), info
    return answer


def log_partition(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    network: bpnn_phases.CycleNetwork | None = None,
    iterations: int = 1000,
    tolerance: float = 1e-8,
) -> tuple[estimate.Estimate, bpnn_phases.Info]:
    """Corrected log Z of the two phases, float64; of the one that converged if one did not.

    Args:
      seed: nothing is drawn.
      timeout: seconds; what comes back then stands on the messages reached.
      memory: mebibytes of tables and messages.
      network: the shipped one by default.
      iterations: sweeps of each phase at most.

    Raises:
      ValueError: a variable has more than two states, or there are too many short cycles, or too
        little memory.
    """
    found = _solve(graph, timeout, memory, network, iterations, tolerance)
    return estimate.Estimate(found.log_value), found.info


def marginals(
    graph: factor_graph.FactorGraph,
    *,
    seed: Any = 0,
    timeout: float | None = None,
    memory: int | None = None,
    network: bpnn_phases.CycleNetwork | None = None,
    iterations: int = 1000,
    tolerance: float = 1e-8,
) -> tuple[np.ndarray, bpnn_phases.Info]:
    """Beliefs of the phases, weighted by their corrected values, float64 [V, S].

    Arguments as in ``log_partition``; zeros where the value is -inf.
    """
    found = _solve(graph, timeout, memory, network, iterations, tolerance)
    if found.log_value == -np.inf:
        return np.zeros(graph.log_unary.shape), found.info
    weights = np.exp(found.values - np.logaddexp.reduce(found.values))
    magnetisation = weights @ np.stack([phase.magnetisations for phase in found.phases])
    rows = np.stack([1 - magnetisation, 1 + magnetisation], axis=1) / 2
    return rows[:, : graph.log_unary.shape[1]], found.info


def _solve(
    graph: factor_graph.FactorGraph,
    timeout: float | None,
    memory: int | None,
    network: bpnn_phases.CycleNetwork | None,
    iterations: int,
    tolerance: float,
) -> bpnn_phases.Solution:
    deadline = limits.Deadline.after(timeout)
    limits.require_memory(bpnn_layers.octets(graph), memory, "tables and messages")
    options: Any = {"iterations": iterations, "tolerance": tolerance, "deadline": deadline}
    with jax.enable_x64(True):
        return bpnn_phases.solve(graph, network, **options)
