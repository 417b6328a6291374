"""Problems made to size: formulas with known counts, random formulas, Ising and Potts grids.

    >>> formula = domino_tilings(8, 8)
    >>> formula.num_variables, domino_tilings_count(8, 8)
    (112, 12988816)

What is random takes an integer seed or one JAX key first, and is the same on every machine.
"""

import collections
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from inference import randomness
from inference.problems import cnf, factor_graph

Factors = list[tuple[Sequence[int], np.ndarray]]  # as ``factor_graph.build`` takes them

# Numbers of solutions by size, from size 0: OEIS A000170 and A002860.
QUEENS = (1, 1, 0, 0, 2, 10, 4, 40, 92, 352, 724, 2680, 14200, 73712)
LATIN_SQUARES = (1, 1, 2, 12, 576, 161280, 812851200, 61479419904000)


def random_ksat(seed: Any, num_variables: int, num_clauses: int, k: int = 3) -> cnf.CNF:
    """Uniform random clauses over k distinct variables each; clauses may repeat.

    Raises:
      ValueError: k exceeds the number of variables, or a size is negative.
    """
    if not 0 <= k <= num_variables or num_clauses < 0:
        sizes = f"{k}, {num_variables} and {num_clauses}"
        raise ValueError(f"expected 0 <= k <= variables and clauses >= 0, given {sizes}")
    rng = randomness.generator(seed, "random_ksat")
    variables = 1 + _distinct(rng, num_clauses, num_variables, k)
    signs = rng.choice(np.array([-1, 1]), size=variables.shape)
    return cnf.from_clauses(signs * variables, num_variables=num_variables)


def n_queens(size: int) -> cnf.CNF:
    """Queens that do not attack each other, one per row of a board; ``QUEENS[size]`` models.

    Variable ``row * size + column + 1`` says that a queen stands there.
    """
    _at_least(size, 0)
    squares = list(itertools.product(range(size), repeat=2))
    clauses = [[row * size + column + 1 for column in range(size)] for row in range(size)]
    for (i, (r1, c1)), (j, (r2, c2)) in itertools.combinations(enumerate(squares, start=1), 2):
        if r1 == r2 or c1 == c2 or abs(r1 - r2) == abs(c1 - c2):
            clauses.append([-i, -j])
    return cnf.from_clauses(clauses, num_variables=size**2)


def latin_square(order: int) -> cnf.CNF:
    """Squares whose rows and columns each hold every symbol once; ``LATIN_SQUARES[order]`` models.

    Variable ``(row * order + column) * order + symbol + 1`` says that the cell holds the symbol.
    """
    _at_least(order, 0)
    cube = 1 + np.arange(order**3).reshape(order, order, order)
    clauses: list[list[int]] = []
    for axis in range(3):
        for line in np.moveaxis(cube, axis, -1).reshape(order**2, order).tolist():
            clauses += cnf.exactly_one(line)
    return cnf.from_clauses(clauses, num_variables=order**3)


def domino_tilings(rows: int, columns: int) -> cnf.CNF:
    """Tilings of a board by dominoes; ``domino_tilings_count(rows, columns)`` models.

    Variables are the pairs of neighbouring squares, side by side first, row by row, then one above
    the other: a true one is a domino. Each square lies under exactly one.
    """
    edges = grid_edges(rows, columns)
    clauses: list[list[int]] = []
    for square in range(rows * columns):
        clauses += cnf.exactly_one([i for i, edge in enumerate(edges, start=1) if square in edge])
    return cnf.from_clauses(clauses, num_variables=len(edges))


def domino_tilings_count(rows: int, columns: int) -> int:
    """The number of tilings of a board, square by square; time grows with rows * 2**columns."""
    ways = {0: 1}  # bit j of the border: the square j places ahead is already covered
    for square in range(rows * columns):
        following: dict[int, int] = collections.defaultdict(int)
        for border, number in ways.items():
            if border & 1:
                following[border >> 1] += number
                continue
            following[border >> 1 | 1 << (columns - 1)] += number  # upright
            if not border & 2 and (square + 1) % columns:
                following[(border | 2) >> 1] += number  # flat
        ways = following
    return ways.get(0, 0)


def chain(length: int) -> cnf.CNF:
    """No two neighbours on a path are both true; ``chain_count(length)`` models."""
    _at_least(length, 0)
    clauses = [[-i, -i - 1] for i in range(1, length)]
    return cnf.from_clauses(clauses, num_variables=length)


def chain_count(length: int) -> int:
    """The Fibonacci number F(length + 2): 1, 2, 3, 5, 8, ... from length 0."""
    count, following = 1, 2
    for _ in range(length):
        count, following = following, count + following
    return count


def parity_chain(seed: Any, length: int, num_xors: int) -> cnf.CNF:
    """A chain and ``num_xors`` further variables, each the parity of a random half of the chain.

    The XORs are native. They only define variables, so ``chain_count(length)`` models remain;
    variables are shuffled, so that nothing but the XORs tells.
    """
    _at_least(length, 0)
    _at_least(num_xors, 0)
    rng = randomness.generator(seed, "parity_chain")
    names = 1 + rng.permutation(length + num_xors)
    clauses = [[-names[i], -names[i + 1]] for i in range(length - 1)]
    members = rng.integers(2, size=(num_xors, length)).astype(bool)
    sides = rng.integers(2, size=num_xors).astype(bool)
    xors = [([*names[:length][row], names[length + i]], sides[i]) for i, row in enumerate(members)]
    return cnf.from_clauses(clauses, num_variables=length + num_xors, xors=xors)


def grid_reachability(rows: int, columns: int) -> cnf.CNF:
    """Sets of open edges of a grid that connect two opposite corners: a projected count.

    The sampling set 1..E holds the edges (those to the right first, row by row, then those
    downwards), as ``reachability`` has it.
    """
    return reachability(grid_edges(rows, columns), rows * columns)


def reachability(edges: Sequence[tuple[int, int]], num_vertices: int) -> cnf.CNF:
    """Sets of open edges of a graph that connect its first vertex to its last: a projected count.

    The sampling set 1..E holds the edges in their order. Variables E + 1..2 E choose open edges
    that meet an odd number of times in these two vertices and an even number elsewhere. Such a
    choice exists exactly where a path does: each component holds an even number of odd vertices. On
    a single vertex the count is 1.
    """
    clauses = [[-(len(edges) + i), i] for i in range(1, len(edges) + 1)]
    ends = {0, num_vertices - 1} if num_vertices > 1 else set()
    touching: list[list[int]] = [[] for _ in range(num_vertices)]
    for choice, edge in enumerate(edges, start=len(edges) + 1):
        for vertex in edge:
            touching[vertex].append(choice)
    xors = [(choices, vertex in ends) for vertex, choices in enumerate(touching)]
    return cnf.from_clauses(
        clauses, num_variables=2 * len(edges), xors=xors, projection=range(1, len(edges) + 1)
    )


def ising_grid(
    rows: int, columns: int, coupling: float, field: float = 0.0
) -> factor_graph.FactorGraph:
    """The ferromagnet: log p(s) = coupling * sum of s_i s_j over edges + field * sum of s_i.

    State 0 is spin -1, state 1 is spin +1; vertices are numbered row by row, borders are free.
    """
    edges = grid_edges(rows, columns)
    return spin_model(edges, np.full(len(edges), coupling), np.full(rows * columns, field))


def ising_torus(
    rows: int, columns: int, coupling: float, field: float = 0.0
) -> factor_graph.FactorGraph:
    """The ferromagnet of ``ising_grid`` without borders: the last row and column meet the first.

    Edges go to the right first, row by row, then downwards; rows or columns that are two are joined
    twice.

    Raises:
      ValueError: a size is below two.
    """
    _at_least(rows, 2)
    _at_least(columns, 2)
    vertex = np.arange(rows * columns).reshape(rows, columns)
    edges = [np.stack([vertex, np.roll(vertex, -1, axis)], axis=-1) for axis in (1, 0)]
    fields = np.full(rows * columns, field)
    return spin_model(np.reshape(edges, (-1, 2)), np.full(2 * rows * columns, coupling), fields)


def potts_grid(
    rows: int, columns: int, states: int, coupling: float, field: float = 0.0
) -> factor_graph.FactorGraph:
    """The Potts model: log p(x) = coupling * edges with x_i = x_j + field * vertices with x_i = 0.

    Vertices are numbered row by row, borders are free. Neighbours attract where the coupling is
    above 0; with two states it is the ferromagnet of half the coupling and a constant.

    Raises:
      ValueError: a size or the number of states is below one.
    """
    edges = grid_edges(rows, columns)
    _at_least(states, 1)
    factors: Factors = [(edge, coupling * np.eye(states)) for edge in edges]
    factors += [((i,), field * np.eye(states)[0]) for i in range(rows * columns)]
    return factor_graph.build(np.full(rows * columns, states), factors)


def spin_glass_grid(
    seed: Any, rows: int, columns: int, scale: float, field: float = 1.0
) -> factor_graph.FactorGraph:
    """A grid with couplings uniform in [-scale, scale] and fields uniform in [-field, field].

    The mixed models of Ermon, Gomes, Sabharwal and Selman, "Taming the curse of dimensionality:
    discrete integration by hashing and optimization" (ICML 2013).
    """
    edges = grid_edges(rows, columns)
    rng = randomness.generator(seed, "spin_glass_grid")
    couplings = scale * rng.uniform(-1.0, 1.0, size=len(edges))
    return spin_model(edges, couplings, field * rng.uniform(-1.0, 1.0, size=rows * columns))


def spin_model(
    edges: Sequence[Sequence[int]] | np.ndarray, couplings: np.ndarray, fields: np.ndarray
) -> factor_graph.FactorGraph:
    """log p(s) = sum of couplings[e] s_i s_j over edges [E, 2] + sum of fields[i] s_i.

    State 0 is spin -1, state 1 is spin +1.
    """
    spins = np.array([-1.0, 1.0])
    factors: Factors = [((i,), h * spins) for i, h in enumerate(fields)]
    factors += [(e, j * np.outer(spins, spins)) for e, j in zip(edges, couplings, strict=True)]
    return factor_graph.build(np.full(len(fields), 2), factors)


def grid_edges(rows: int, columns: int) -> list[tuple[int, int]]:
    """Pairs of neighbours, to the right first, row by row, then downwards; vertices from 0."""
    _at_least(rows, 1)
    _at_least(columns, 1)
    vertex = np.arange(rows * columns).reshape(rows, columns)
    right = zip(vertex[:, :-1].ravel().tolist(), vertex[:, 1:].ravel().tolist(), strict=True)
    down = zip(vertex[:-1].ravel().tolist(), vertex[1:].ravel().tolist(), strict=True)
    return [*right, *down]


def _distinct(rng: np.random.Generator, rows: int, n: int, k: int) -> np.ndarray:
    """Uniform k-subsets of 0..n-1, [rows, k], by Floyd's algorithm run on all rows at once."""
    chosen = np.zeros((rows, k), dtype=np.int64)
    for i, top in enumerate(range(n - k, n)):
        drawn = rng.integers(top + 1, size=rows)
        taken = (chosen[:, :i] == drawn[:, None]).any(axis=1)
        chosen[:, i] = np.where(taken, top, drawn)
    return chosen


def _at_least(size: int, least: int) -> None:
    if size < least:
        raise ValueError(f"expected a size of at least {least}, given {size}")
