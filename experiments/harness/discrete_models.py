"""Models that samplers are compared on: lattices, random graphs, soft clauses, a Boltzmann machine.

    >>> round(exact_energy(generators.ising_grid(3, 3, ISING_CRITICAL)), 3)
    -2.684

All are small enough for elimination, which has the exact mean of their energy.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import networkx as nx
import numpy as np

from inference import randomness
from inference.exact import elimination
from inference.problems import factor_graph, generators

ISING_CRITICAL = math.log(1 + math.sqrt(2)) / 2  # coupling of the square lattice (Onsager)
PHASES = {"disordered": 0.7, "critical": 1.0, "ordered": 1.25}  # over the critical coupling
_STEP = 1e-3  # of the difference quotient; its error is of fifth cumulants times 1e-13


class DiscreteTarget(NamedTuple):
    """What is sampled.

    Attributes:
      name: on axes and in tables.
      graph: of tables alone.
      order: what each state adds to the magnetisation [V, S]; None where there is none.
    """

    name: str
    graph: factor_graph.FactorGraph
    order: np.ndarray | None = None


def ising(name: str, graph: factor_graph.FactorGraph) -> DiscreteTarget:
    """A ferromagnet, of which the magnetisation is the mean spin."""
    return DiscreteTarget(
        name, graph, np.tile([-1.0, 1.0], (graph.num_variables, 1)) / graph.num_variables
    )


def torus(side: int) -> DiscreteTarget:
    """The critical ferromagnet on a square lattice with its borders glued."""
    return ising(f"torus {side}", generators.ising_torus(side, side, ISING_CRITICAL))


def models(
    key: Any,
    *,
    side: int,
    potts_side: int,
    nodes: int,
    variables: int,
    units: tuple[int, int],
) -> list[DiscreteTarget]:
    """All of them, of given sizes; what is random is drawn by the key."""
    found = []
    for phase, factor in PHASES.items():
        graph = generators.ising_grid(side, side, factor * ISING_CRITICAL)
        found.append(ising(f"Ising, {phase}", graph))
    for phase, factor in PHASES.items():
        coupling = factor * math.log(1 + math.sqrt(3))  # self-dual, so critical
        graph = generators.potts_grid(potts_side, potts_side, 3, coupling)
        order = np.tile(np.eye(3)[0] - 1 / 3, (graph.num_variables, 1)) / graph.num_variables
        found.append(DiscreteTarget(f"Potts, {phase}", graph, order))
    seed = int(randomness.generator(key, "discrete_models", nodes).integers(2**31))
    edges = np.array(nx.random_regular_graph(3, nodes, seed=seed).edges)
    couplings = np.full(len(edges), math.atanh(1 / 2))  # critical on the infinite graph
    graph = generators.spin_model(edges, couplings, np.zeros(nodes))
    found.append(ising("random graph", graph))
    rng = randomness.generator(key, "discrete_models", "couplings")
    signs = rng.choice([-1.0, 1.0], size=len(edges))
    glass = math.atanh(math.sqrt(1 / 2)) * signs  # where the glass of the infinite graph begins
    found.append(DiscreteTarget("spin glass", generators.spin_model(edges, glass, np.zeros(nodes))))
    found.append(DiscreteTarget("3-SAT", soft_clauses(key, variables, round(4.2 * variables), 3.0)))
    found.append(DiscreteTarget("Boltzmann machine", boltzmann_machine(key, units, 0.3)))
    return found


def soft_clauses(
    key: Any, num_variables: int, num_clauses: int, penalty: float
) -> factor_graph.FactorGraph:
    """Random 3-SAT of which each violated clause costs so many nats."""
    formula = generators.random_ksat(key, num_variables, num_clauses)
    factors = []
    for clause in formula.clauses.tolist():
        table = np.zeros((2,) * len(clause))
        table[tuple(int(literal < 0) for literal in clause)] = -penalty
        factors.append(([abs(literal) - 1 for literal in clause], table))
    return factor_graph.build([2] * num_variables, factors)


def boltzmann_machine(key: Any, units: Sequence[int], strength: float) -> factor_graph.FactorGraph:
    """A restricted one, of spins: normal couplings between visible and hidden, small fields."""
    visible, hidden = units
    rng = randomness.generator(key, "discrete_models", "boltzmann_machine")
    edges = [(i, visible + j) for i in range(visible) for j in range(hidden)]
    couplings = strength * rng.normal(size=len(edges))
    return generators.spin_model(edges, couplings, 0.1 * rng.normal(size=visible + hidden))


def exact_energy(graph: factor_graph.FactorGraph) -> float:
    """The mean of minus the log-score in nats, by elimination; NaN where it does not fit.

    Minus the derivative of log Z by a factor before the log-score, by a quotient of fourth order.
    """

    def log_partition(factor: float) -> float:
        groups = [one._replace(log_potentials=factor * one.log_potentials) for one in graph.groups]
        scaled = graph._replace(
            log_unary=factor * graph.log_unary,
            groups=tuple(groups),
            log_constant=factor * graph.log_constant,
        )
        return elimination.log_partition(scaled)[0].log_value

    try:
        near, far = (log_partition(1 + h) - log_partition(1 - h) for h in (_STEP, 2 * _STEP))
    except elimination.TooWide:
        return math.nan
    return -(8 * near - far) / (12 * _STEP)
