"""Formulas, factor graphs, PySAT formulas and networkx graphs from each other.

    >>> graph = cnf_to_factor_graph(cnf.from_clauses([[1, -2], [2, 3]]))
    >>> interaction_graph(graph).edges
    EdgeView([(0, 1), (1, 2)])

A formula's variable v is the graph's variable v - 1, and state 1 is true.
"""

import itertools
from collections.abc import Iterator

import networkx as nx
import numpy as np
from pysat import formula as pysat_formula

from inference.problems import cnf, factor_graph, generators

MAX_TABLE_VARIABLES = 20  # a table over them has 2^20 entries, 8 MiB


def from_pysat(formula: pysat_formula.CNF) -> cnf.CNF:
    """The formula in a PySAT ``CNF`` or ``CNFPlus``.

    Raises:
      ValueError: it holds cardinality constraints.
    """
    if getattr(formula, "atmosts", None):
        number = len(formula.atmosts)
        raise ValueError(f"expected clauses alone, given {number} cardinality constraints as well")
    return cnf.from_clauses(formula.clauses, num_variables=formula.nv)


def to_pysat(formula: cnf.CNF) -> pysat_formula.CNF:
    """The clauses as a PySAT ``CNF``, which has no sampling set and no weights.

    Raises:
      ValueError: the formula has XORs.
    """
    if len(formula.xors):
        raise ValueError(f"expected a formula without XORs, given {len(formula.xors)}")
    converted = pysat_formula.CNF(from_clauses=formula.clauses.tolist())
    converted.nv = formula.num_variables
    return converted


def ising_from_networkx(
    graph: nx.Graph, coupling: str = "weight", field: str = "field"
) -> factor_graph.FactorGraph:
    """log p(s) = sum of coupling s_i s_j over edges + sum of field s_i over nodes.

    Variables follow the order of ``graph.nodes``; state 0 is spin -1, state 1 is spin +1.

    Args:
      graph: undirected, without loops; parallel edges add up.
      coupling: the edge attribute, 1 where missing.
      field: the node attribute, 0 where missing.

    Raises:
      ValueError: the graph is directed or has a loop.
    """
    if graph.is_directed():
        raise ValueError("expected an undirected graph, given a directed one")
    index = {node: i for i, node in enumerate(graph.nodes)}
    edges = [(index[a], index[b]) for a, b in graph.edges()]
    for i in (a for a, b in edges if a == b):
        raise ValueError(f"expected a graph without loops, given one at {list(index)[i]!r}")
    couplings = [value for _, _, value in graph.edges(data=coupling, default=1.0)]
    fields = [value for _, value in graph.nodes(data=field, default=0.0)]
    return generators.spin_model(np.array(edges), np.array(couplings), np.array(fields))


def interaction_graph(graph: factor_graph.FactorGraph) -> nx.Graph:
    """Variables as nodes, joined where they share a table."""
    joined = nx.Graph()
    joined.add_nodes_from(range(graph.num_variables))
    for group in graph.groups:
        for scope in np.asarray(group.variables).tolist():
            joined.add_edges_from(itertools.combinations(scope, 2))
    return joined


def cnf_to_factor_graph(formula: cnf.CNF) -> factor_graph.FactorGraph:
    """The graph whose Z is the (weighted) count: clauses and XORs are tables of 0 and -inf.

    Raises:
      ValueError: a clause or XOR has more than ``MAX_TABLE_VARIABLES`` variables, or the sampling
        set leaves variables out (a graph sums over all of them).
    """
    n = formula.num_variables
    if len(formula.sampling_set) < n:
        counted = len(formula.sampling_set)
        raise ValueError(f"expected a sampling set of all {n} variables, given {counted}")
    factors = [*_clause_tables(formula.clauses), *_xor_tables(formula.xors, formula.xor_rhs)]
    if formula.log_weights is not None:
        factors += [((v,), formula.log_weights[v]) for v in range(n)]
    return factor_graph.build(np.full(n, 2), factors)


Factor = tuple[tuple[int, ...], np.ndarray]


def _clause_tables(clauses: cnf.Ragged) -> Iterator[Factor]:
    for clause in clauses.tolist():
        literals = sorted(set(clause), key=abs)
        variables = tuple(abs(literal) - 1 for literal in literals)
        if len(set(variables)) < len(variables):
            continue  # a literal and its negation: always true
        table = np.zeros(_table_shape(variables))
        table[tuple(int(literal < 0) for literal in literals)] = -np.inf
        yield variables, table


def _xor_tables(xors: cnf.Ragged, sides: np.ndarray) -> Iterator[Factor]:
    for xor, side in zip(xors.tolist(), sides.tolist(), strict=True):
        variables = tuple(variable - 1 for variable in xor)
        parity = np.indices(_table_shape(variables)).sum(axis=0) % 2
        yield variables, np.where(parity == side, 0.0, -np.inf)


def _table_shape(variables: tuple[int, ...]) -> tuple[int, ...]:
    if len(variables) > MAX_TABLE_VARIABLES:
        limit = f"at most {MAX_TABLE_VARIABLES} variables in a clause or XOR"
        raise ValueError(f"expected {limit}, given {len(variables)}")
    return (2,) * len(variables)


def factor_graph_to_cnf(graph: factor_graph.FactorGraph) -> cnf.CNF:
    """A weighted formula whose count is Z, log_constant included.

    A variable of two states is one Boolean, any other has one indicator per state, exactly one of
    them true. Each table entry other than 0 and -inf has a variable equivalent to the conjunction
    of its states, which carries the entry as its weight; an entry of -inf forbids its states. This
    is ENC1 of Chavira and Darwiche, "On probabilistic inference by weighted model counting" (2008),
    with unary potentials as weights of the states themselves.
    """
    numbers = itertools.count(1)
    clauses: list[list[int]] = []
    log_weights: dict[int, float] = {}
    states: list[list[int]] = []  # the literal of each state of each variable
    for size, log_unary in zip(graph.num_states.tolist(), np.asarray(graph.log_unary).tolist()):
        states.append(_state_literals(size, numbers, clauses))
        log_weights.update(zip(states[-1], log_unary))
    for group in graph.groups:
        for scope, table in zip(group.variables.tolist(), np.asarray(group.log_potentials)):
            for entry in np.argwhere(table != 0.0).tolist():
                literals = [states[v][s] for v, s in zip(scope, entry, strict=True)]
                log_weight = float(table[tuple(entry)])
                clauses.append([-literal for literal in literals])
                if log_weight > -np.inf:
                    parameter = next(numbers)
                    clauses[-1].append(parameter)
                    clauses += [[literal, -parameter] for literal in literals]
                    log_weights[parameter] = log_weight
    if graph.log_constant != 0.0:
        constant = next(numbers)
        clauses.append([constant])
        log_weights[constant] = float(graph.log_constant)
    table = np.zeros((next(numbers) - 1, 2))
    for literal, log_weight in log_weights.items():
        table[abs(literal) - 1, int(literal > 0)] = log_weight
    return cnf.from_clauses(clauses, num_variables=len(table), log_weights=table)


def _state_literals(size: int, numbers: Iterator[int], clauses: list[list[int]]) -> list[int]:
    if size == 2:
        variable = next(numbers)
        return [-variable, variable]
    indicators = list(itertools.islice(numbers, size))
    clauses += [indicators, *([-a, -b] for a, b in itertools.combinations(indicators, 2))]
    return indicators
