"""Random formulas like those that people count: circuits, machines, feature trees, roads.

    >>> random_circuit(0, 20, 3000, num_forced=5)
    <CNF: 3020 variables, 10478 clauses>

Our benchmarks hold counters to them. All take an integer seed or one JAX key first, are the same on
every machine and have a model.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from inference import randomness
from inference.problems import cnf, generators

Clauses = list[list[int]]
KINDS = ("mandatory", "optional", "or", "alternative")
MOST_CHILDREN = 5  # of an or-group or an alternative


def random_circuit(
    seed: Any,
    num_inputs: int,
    num_gates: int,
    *,
    share_xor: float = 0.5,
    num_forced: int = 0,
    window: int | None = None,
    shuffled: bool = False,
) -> cnf.CNF:
    """Runs of a random circuit: 2^num_inputs models, fewer where outputs are forced.

    A gate is an XOR with probability ``share_xor``, else an AND or an OR, of two distinct signals
    before it, each negated or not. Every signal, input or gate, is a variable; every gate has its
    Tseitin clauses.

    Args:
      num_forced: outputs, which are gates that no gate reads, with a fixed value: that under a
        random input.
      window: gates read so many of the last signals, and inputs stand evenly between gates, so the
        circuit is narrow. None for all signals, inputs first.
      shuffled: variables are numbered at random, else in the order of signals.

    Raises:
      ValueError: fewer than two inputs or signals in the window, a share that is none, or more
        forced outputs than there are.
    """
    fewest = min(num_inputs, num_inputs if window is None else window)
    if fewest < 2 or num_gates < 0 or not 0 <= share_xor <= 1:
        given = f"{num_inputs}, {num_gates}, {window} and {share_xor}"
        raise ValueError(f"expected 2 inputs, gates, a window of 2, a share of XORs, given {given}")
    rng = randomness.generator(seed, "random_circuit")
    gates, reads = _wires(rng, num_inputs, num_gates, window)
    names = 1 + (rng.permutation if shuffled else np.arange)(num_inputs + num_gates)
    signs = rng.choice(np.array([-1, 1]), size=(num_gates, 3))
    literals = (signs * names[np.column_stack([gates, reads])]).tolist()
    are_xors = (rng.random(num_gates) < share_xor).tolist()
    clauses: Clauses = []
    for row, is_xor in zip(literals, are_xors):
        clauses += _xor(*row) if is_xor else _and(*row)
    outputs = names[np.setdiff1d(gates, reads)]
    if not 0 <= num_forced <= len(outputs):
        raise ValueError(f"expected 0 to {len(outputs)} forced outputs, given {num_forced}")
    values = rng.integers(2, size=num_inputs + num_gates + 1).astype(bool).tolist()
    _run(values, literals, are_xors)
    forced = rng.permutation(outputs)[:num_forced].tolist()
    clauses += [[output if values[output] else -output] for output in forced]
    return cnf.from_clauses(clauses, num_variables=num_inputs + num_gates)


def bounded_model_checking(
    seed: Any, bits: int, steps: int, *, equals: bool = False, projected: bool = True
) -> cnf.CNF:
    """Inputs that bring a counter to a last value of at most a bound; bound and start are drawn.

    In each step two command bits have it hold its value (0 0), add an odd number that is drawn once
    and lose what overflows (0 1), load the data bits of the step (1 0) or return to 0 (1 1).
    Variables: the bits of the start, the lowest first; then, step by step, commands, data, the bits
    of the next value, carries.

    Args:
      equals: the last value must be the drawn one.
      projected: the sampling set holds the commands and data; else all variables. They define the
        rest, so the count is the same.

    Raises:
      ValueError: less than one bit or step.
    """
    if min(bits, steps) < 1:
        raise ValueError(f"expected at least 1 bit and 1 step, given {bits} and {steps}")
    rng = randomness.generator(seed, "bounded_model_checking")
    start, added, bound = rng.integers(2, size=(3, bits)).astype(bool).tolist()
    added[0] = True
    numbers = itertools.count(1)
    value = _take(numbers, bits)
    clauses, inputs = _equal(value, start), list[int]()
    for _ in range(steps):
        command, data, following = (_take(numbers, n) for n in (2, bits, bits))
        clauses += _step(command, data, value, following, added, numbers)
        value, inputs = following, [*inputs, *command, *data]
    clauses += _equal(value, bound) if equals else _at_most(value, bound)
    return cnf.from_clauses(
        clauses, num_variables=next(numbers) - 1, projection=inputs if projected else None
    )


def feature_tree(seed: Any, num_features: int, num_constraints: int = 0) -> cnf.CNF:
    """Products of a random tree of features, the root 1, with constraints across the tree.

    A feature is in no product without its parent. With its parent a mandatory one is, an optional
    one may be, of an or-group at least one is, of an alternative exactly one. A constraint says of
    two features that the first requires or excludes the second; it holds in a product drawn first.

    Raises:
      ValueError: no feature, or constraints on less than two.
    """
    if num_features < 1 or num_constraints < 0 or (num_features < 2 and num_constraints):
        given = f"{num_features} and {num_constraints}"
        raise ValueError(f"expected a feature, two where constraints are, given {given}")
    rng = randomness.generator(seed, "feature_tree")
    groups = _grow(rng, num_features)
    product = _product(rng, groups)
    clauses = [[1], *(clause for group in groups for clause in _of_group(group))]
    wanted = len(clauses) + num_constraints
    while len(clauses) < wanted:
        first, second = (1 + rng.choice(num_features, 2, replace=False)).tolist()
        requires = bool(rng.integers(2))
        if first not in product or (second in product) == requires:
            clauses.append([-first, second if requires else -second])
    return cnf.from_clauses(clauses, num_variables=num_features)


def road_reliability(
    seed: Any, rows: int, columns: int, *, removed: float = 0.2, diagonals: float = 0.1
) -> cnf.CNF:
    """Sets of open roads that connect two opposite corners of a town: a projected count.

    A grid without a share ``removed`` of its roads, as far as it stays connected, and with a
    diagonal in a share ``diagonals`` of its squares. Variables are those of
    ``generators.reachability``, the roads of the grid before the diagonals.

    Raises:
      ValueError: a size below one or a share that is none.
    """
    if not (0 <= removed <= 1 and 0 <= diagonals <= 1):
        raise ValueError(f"expected shares of 0 to 1, given {removed} and {diagonals}")
    rng = randomness.generator(seed, "road_reliability")
    edges = generators.grid_edges(rows, columns)
    order = rng.permutation(len(edges)).tolist()
    spare = set(_not_in_a_tree(edges, order, rows * columns)[: round(removed * len(edges))])
    roads = [edge for i, edge in enumerate(edges) if i not in spare]
    for corner in np.arange(rows * columns).reshape(rows, columns)[:-1, :-1].ravel().tolist():
        is_there, side = rng.random() < diagonals, int(rng.integers(2))
        if is_there:
            roads.append((corner + side, corner + columns + 1 - side))
    return generators.reachability(roads, rows * columns)


def _wires(
    rng: np.random.Generator, num_inputs: int, num_gates: int, window: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """The places [G] of gates among all signals, and of the two [G, 2] that each reads."""
    inputs, signals = np.arange(num_inputs), num_inputs + num_gates
    if window is not None and num_inputs > 2:  # the first two signals are inputs
        inputs[2:] = 2 + (inputs[2:] - 2) * (signals - 2) // (num_inputs - 2)
    gates = np.setdiff1d(np.arange(signals), inputs)
    first = np.maximum(0, gates - window) if window is not None else np.zeros_like(gates)
    one, other = rng.integers(first, gates), rng.integers(first, gates - 1)
    return gates, np.column_stack([one, other + (other >= one)])


def _run(values: list[bool], literals: list[list[int]], are_xors: list[bool]) -> None:
    """Sets the values of gates, by variable, from those of inputs."""
    for (gate, one, other), is_xor in zip(literals, are_xors):
        left, right = values[abs(one)] == (one > 0), values[abs(other)] == (other > 0)
        values[abs(gate)] = (left != right if is_xor else left and right) == (gate > 0)


def _and(gate: int, one: int, other: int) -> Clauses:
    return [[gate, -one, -other], [-gate, one], [-gate, other]]


def _xor(gate: int, one: int, other: int) -> Clauses:
    signs = ((-1, 1, 1), (-1, -1, -1), (1, -1, 1), (1, 1, -1))
    return [[a * gate, b * one, c * other] for a, b, c in signs]


def _take(numbers: Iterator[int], how_many: int) -> list[int]:
    return list(itertools.islice(numbers, how_many))


def _equal(value: Sequence[int], constant: Sequence[bool]) -> Clauses:
    return [[bit if one else -bit] for bit, one in zip(value, constant)]


def _at_most(value: Sequence[int], constant: Sequence[bool]) -> Clauses:
    """Where the constant has a 0 and the value a 1, a higher 1 of the constant is missing."""
    clauses = []
    for place in range(len(value)):
        if not constant[place]:
            higher = [-value[i] for i in range(place + 1, len(value)) if constant[i]]
            clauses.append([-value[place], *higher])
    return clauses


def _step(
    command: Sequence[int],
    data: Sequence[int],
    value: Sequence[int],
    following: Sequence[int],
    added: Sequence[bool],
    numbers: Iterator[int],
) -> Clauses:
    """The value of the next step; carries are fresh variables."""
    a, b = command
    clauses: Clauses = []
    carry = value[0]  # out of the lowest bit, as the number is odd
    for place, (old, new, given) in enumerate(zip(value, following, data)):
        clauses += [[a, b, -new, old], [a, b, new, -old]]
        clauses += [[-a, b, -new, given], [-a, b, new, -given], [-a, -b, -new]]
        if place == 0:
            clauses += [[a, -b, new, old], [a, -b, -new, -old]]
            continue
        flipped = -new if added[place] else new
        clauses += [[a, -b, *clause] for clause in _xor(flipped, old, carry)]
        if place + 1 < len(value):
            [fresh] = _take(numbers, 1)
            sign = -1 if added[place] else 1  # an OR is an AND of negations
            clauses += _and(sign * fresh, sign * old, sign * carry)
            carry = fresh
    return clauses


class Group(NamedTuple):
    """Children of a feature; ``kind`` is one of ``KINDS``, the first two have one child."""

    parent: int
    kind: str
    children: list[int]


def _grow(rng: np.random.Generator, num_features: int) -> list[Group]:
    """Groups that make a tree of the features, parents before their children."""
    groups, known = [], 1
    while known < num_features:
        parent, kind = int(rng.integers(1, known + 1)), KINDS[rng.integers(len(KINDS))]
        size = int(rng.integers(2, MOST_CHILDREN + 1)) if kind in KINDS[2:] else 1
        children = list(range(known + 1, min(known + size, num_features) + 1))
        groups.append(Group(parent, kind, children))
        known += len(children)
    return groups


def _product(rng: np.random.Generator, groups: list[Group]) -> set[int]:
    product = {1}
    for parent, kind, children in groups:
        one = children[rng.integers(len(children))]
        others = [child for child in children if rng.integers(2)]
        if parent in product:
            product |= set(others) if kind in ("optional", "or") else set()
            product |= {one} if kind != "optional" else set()
    return product


def _of_group(group: Group) -> Clauses:
    parent, kind, children = group
    clauses = [[-child, parent] for child in children]
    if kind != "optional":
        clauses.append([-parent, *children])
    if kind == "alternative":
        clauses += [[-one, -other] for one, other in itertools.combinations(children, 2)]
    return clauses


def _not_in_a_tree(
    edges: Sequence[tuple[int, int]], order: Sequence[int], num_vertices: int
) -> list[int]:
    """Edges, by number, that close a circle with those before them in the order."""
    tree = list(range(num_vertices))  # of each vertex one that it is connected to

    def root(vertex: int) -> int:
        while tree[vertex] != vertex:
            tree[vertex] = vertex = tree[tree[vertex]]
        return vertex

    closing = []
    for number in order:
        one, other = map(root, edges[number])
        tree[one] = other
        if one == other:
            closing.append(number)
    return closing
