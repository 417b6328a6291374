"""Formulas, factor graphs, PySAT formulas and networkx graphs from each other.

    >>> graph = cnf_to_factor_graph(cnf.from_clauses([[1, -2], [2, 3]]))
    >>> interaction_graph(graph).edges
    EdgeView([(0, 1), (1, 2)])

A formula's variable v is the graph's variable v - 1, and state 1 is true.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import TypeVar

import networkx as nx
import numpy as np
from pysat import formula as pysat_formula

from inference.problems import cnf, factor_graph, generators, logical_groups

Row = TypeVar("Row")


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
    return generators.spin_model(edges, np.array(couplings), np.array(fields))


def interaction_graph(graph: factor_graph.FactorGraph) -> nx.Graph:
    """Variables as nodes, joined where they share a factor."""
    joined = nx.Graph()
    joined.add_nodes_from(range(graph.num_variables))
    for group in graph.groups:
        mask = getattr(group, "mask", np.ones_like(group.variables))
        for scope, counts in zip(np.asarray(group.variables), np.asarray(mask, dtype=bool)):
            joined.add_edges_from(itertools.combinations(scope[counts].tolist(), 2))
    return joined


def cnf_to_factor_graph(formula: cnf.CNF) -> factor_graph.FactorGraph:
    """The graph whose Z is the (weighted) count: clauses and XORs are tables of 0 and -inf.

    Raises:
      ValueError: a clause or XOR is too long for a table, or the sampling set leaves variables out.
    """
    return factor_graph.tabulate(clause_graph(formula))


def clause_graph(formula: cnf.CNF) -> factor_graph.FactorGraph:
    """The graph whose Z is the (weighted) count; clauses and XORs stay what they are.

    Clauses of one length make a group, up to 8 literals, and so do those of up to 16, 32 and so on,
    so that few long ones do not pad the others. Repeated literals are merged; clauses that always
    hold are left out.

    Raises:
      ValueError: the sampling set leaves variables out (a graph sums over all of them).
    """
    n = formula.num_variables
    if len(formula.sampling_set) < n:
        counted = len(formula.sampling_set)
        raise ValueError(f"expected a sampling set of all {n} variables, given {counted}")
    clauses = [sorted(set(clause), key=abs) for clause in formula.clauses.tolist()]
    clauses = [clause for clause in clauses if len({*map(abs, clause)}) == len(clause)]
    xors = list(zip(formula.xors.tolist(), formula.xor_rhs.tolist(), strict=True))
    groups: list = [logical_groups.clause_group(rows) for rows in _by_length(clauses, len)]
    for rows in _by_length(xors, lambda xor: len(xor[0])):
        groups.append(logical_groups.parity_group(*zip(*rows, strict=True)))
    violated = any(not clause for clause in clauses) or any(rhs and not xor for xor, rhs in xors)
    unary = [] if formula.log_weights is None else enumerate(formula.log_weights)
    return factor_graph.build(
        np.full(n, 2),
        [((v,), log_weights) for v, log_weights in unary],
        logical=groups,
        log_constant=-np.inf if violated else 0.0,
    )


def _by_length(rows: list[Row], length: Callable[[Row], int]) -> list[list[Row]]:
    """Rows of similar length together, without those of length 0."""
    kept: dict[int, list[Row]] = {}
    for row in rows:
        size = length(row)
        if size:
            kept.setdefault(size if size <= 8 else 1 << (size - 1).bit_length(), []).append(row)
    return [kept[size] for size in sorted(kept)]


def factor_graph_to_cnf(graph: factor_graph.FactorGraph) -> cnf.CNF:
    """A weighted formula whose count is Z, log_constant included; clauses and XORs as themselves.

    A variable of two states is one Boolean, any other has one indicator per state, exactly one of
    them true. Each table entry other than 0 and -inf has a variable equivalent to the conjunction
    of its states, which carries the entry as its weight; an entry of -inf forbids its states. This
    is ENC1 of Chavira and Darwiche, "On probabilistic inference by weighted model counting" (2008),
    with unary potentials as weights of the states themselves.
    """
    states, clauses, used = cnf.state_literals(graph.num_states.tolist())
    numbers = itertools.count(used + 1)
    log_weights: dict[int, float] = {}
    for literals, log_unary in zip(states, np.asarray(graph.log_unary).tolist()):
        log_weights.update(zip(literals, log_unary))
    xors: list[tuple[list[int], bool]] = []
    for group in graph.groups:
        if isinstance(group, logical_groups.ClauseGroup):
            clauses += _clauses(group, states)
        elif isinstance(group, logical_groups.ParityGroup):
            xors += _xors(group, states)
        else:
            for scope, table in zip(group.variables.tolist(), np.asarray(group.log_potentials)):
                clauses += _table_clauses([states[v] for v in scope], table, numbers, log_weights)
    if graph.log_constant != 0.0:
        constant = next(numbers)
        clauses.append([constant])
        log_weights[constant] = float(graph.log_constant)
    num_variables = next(numbers) - 1
    table = cnf.weight_table(log_weights, num_variables)
    return cnf.from_clauses(clauses, xors=xors, num_variables=num_variables, log_weights=table)


def _table_clauses(
    states: list[list[int]],
    table: np.ndarray,
    numbers: Iterator[int],
    log_weights: dict[int, float],
) -> Iterator[list[int]]:
    """Of each entry but 0; a finite one becomes the weight of a parameter of its own."""
    for entry in np.argwhere(table != 0.0).tolist():
        literals = [literals[s] for literals, s in zip(states, entry, strict=True)]
        log_weight = float(table[tuple(entry)])
        excluded = [-literal for literal in literals]
        if log_weight == -np.inf:
            yield excluded
            continue
        parameter = next(numbers)
        log_weights[parameter] = log_weight
        yield [*excluded, parameter]
        yield from ([literal, -parameter] for literal in literals)


def _clauses(group: logical_groups.ClauseGroup, states: list[list[int]]) -> Iterator[list[int]]:
    for scope, signs, mask in zip(*map(np.asarray, group)):
        if mask.any():
            yield [states[v][int(sign)] for v, sign in zip(scope[mask], signs[mask])]


def _xors(group: logical_groups.ParityGroup, states: list) -> Iterator[tuple[list[int], bool]]:
    for scope, rhs, mask in zip(*map(np.asarray, group)):
        if mask.any():
            yield [states[v][1] for v in scope[mask]], bool(rhs)
