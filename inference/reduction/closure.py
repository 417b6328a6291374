"""Variables that determine others through gates, with no solver: forward chaining.

    >>> formula = cnf.from_clauses([[1, -3], [2, -3], [-1, -2, 3]])  # 3 is 1 and 2
    >>> inputs(Graph(gates.find(formula), 3), np.array([1, 2, 3]))
    [1, 2]

What the known variables make known is found as unit propagation finds it, one counter for each
gate: Dowling and Gallier, Linear-time Algorithms for Testing the Satisfiability of Propositional
Horn Formulae (1984). A set of variables from which all sampling variables become known in this way
defines them, whatever was assumed to find it.
"""

import heapq
from collections.abc import Iterable, Iterator

import numpy as np

from inference import limits
from inference.reduction import gates

LOOK_STEPS = 2_000  # between two looks at the clock


class Graph:
    """Gates as lists, which Python walks along faster than arrays.

    Attributes:
      members: the variables of each gate.
      outputs: those of them that are outputs.
      uses: for each variable, from 0 on, the gates that it is in.
    """

    def __init__(self, found: gates.Gates, num_variables: int):
        offsets = found.variables.offsets
        self.members: list[list[int]] = found.variables.tolist()
        owner = np.repeat(np.arange(len(self.members)), np.diff(offsets))
        values, is_output = found.variables.values, found.is_output
        self.outputs = _split(values[is_output], owner[is_output], len(self.members))
        order = np.argsort(values, kind="stable")
        self.uses = _split(owner[order], values[order], num_variables + 1)


def _split(values: np.ndarray, owner: np.ndarray, count: int) -> list[list[int]]:
    """The values of each owner 0..count-1, owners increasing."""
    ends = np.searchsorted(owner, np.arange(count + 1)).tolist()
    several = values.tolist()
    return [several[a:b] for a, b in zip(ends[:-1], ends[1:])]


class Known:
    """Variables that are known, and what follows.

    Attributes:
      is_known: by variable, from 0 on.
    """

    def __init__(self, graph: Graph):
        self.is_known = bytearray(len(graph.uses))
        self._graph = graph
        self._unknown = [len(members) for members in graph.members]
        self._sum = [sum(members) for members in graph.members]  # of the unknown ones
        for gate, members in enumerate(graph.members):
            if len(members) == 1:
                self.learn(members[0])

    def learn(self, variable: int) -> None:
        """Makes a variable known, and all that gates make known then."""
        is_known, graph, unknown, left = self.is_known, self._graph, self._unknown, self._sum
        stack = [variable]
        while stack:
            variable = stack.pop()
            if is_known[variable]:
                continue
            is_known[variable] = True
            for gate in graph.uses[variable]:
                unknown[gate] -= 1
                left[gate] -= variable
                if unknown[gate] == 1 and left[gate] in graph.outputs[gate]:
                    stack.append(left[gate])


def inputs(
    graph: Graph, sampling_set: np.ndarray, deadline: limits.Deadline = limits.NEVER
) -> list[int]:
    """Sampling variables that make all of them known, increasing: few where gates form no circles.

    Raises:
      OutOfTime: at the deadline.
    """
    reachable = Known(graph)
    for variable in _looking(sampling_set.tolist(), deadline):
        reachable.learn(variable)
    usable = [all(map(reachable.is_known.__getitem__, group)) for group in graph.members]
    return sorted(forward(graph, peel(graph, usable, sampling_set, deadline), deadline))


def forward(
    graph: Graph, order: Iterable[int], deadline: limits.Deadline = limits.NEVER
) -> list[int]:
    """The variables that those before them in the order leave unknown."""
    known, kept = Known(graph), []
    for variable in _looking(order, deadline):
        if not known.is_known[variable]:
            kept.append(variable)
            known.learn(variable)
    return kept


def peel(
    graph: Graph,
    alive: list[bool],
    sampling_set: np.ndarray,
    deadline: limits.Deadline = limits.NEVER,
) -> list[int]:
    """An order of the sampling variables for ``forward``, inputs first.

    A variable that is in one gate only, as an output, can be left to that gate; then the gate is no
    use to others. Without circles this ends with the inputs, however the variables are numbered.
    In a circle the variable goes that spoils the fewest other gates, of equals the last.

    Args:
      graph: the gates.
      alive: by gate, whether to use it; used up.
      sampling_set: what is ordered.
      deadline: when to raise OutOfTime.
    """
    # The gates that have another output than the variable, and whether some gate has no other.
    spoiled, has_own = [0] * len(graph.uses), bytearray(len(graph.uses))
    for gate, outputs in _looking(enumerate(graph.outputs), deadline):
        only = outputs[0] if len(outputs) == 1 else 0
        for variable in graph.members[gate] if alive[gate] else ():
            spoiled[variable] += variable != only
            has_own[variable] |= variable == only
    outputs = sorted({v for outputs in graph.outputs for v in outputs})
    heap = [(spoiled[v] - (not has_own[v]), -v) for v in outputs]
    heapq.heapify(heap)
    peeled: list[int] = []
    for cost, negated in _looking(_drain(heap), deadline):
        variable = -negated
        own = [gate for gate in graph.uses[variable] if alive[gate]]
        is_old = cost != spoiled[variable] - (not has_own[variable])
        if is_old or not any(variable in graph.outputs[gate] for gate in own):
            continue
        peeled.append(variable)
        for gate in own:
            alive[gate] = False
            only = graph.outputs[gate][0] if len(graph.outputs[gate]) == 1 else 0
            for other in graph.members[gate]:
                if other not in (variable, only):
                    spoiled[other] -= 1
                    heapq.heappush(heap, (spoiled[other] - (not has_own[other]), -other))
    inputs = np.setdiff1d(sampling_set, peeled).tolist()
    sampled = set(sampling_set.tolist())
    return inputs + [v for v in reversed(peeled) if v in sampled]


def _drain(heap: list) -> Iterator:
    while heap:
        yield heapq.heappop(heap)


def _looking(items: Iterable, deadline: limits.Deadline) -> Iterator:
    """The items, with a look at the clock now and then; raises OutOfTime."""
    for number, item in enumerate(items):
        if number % LOOK_STEPS == 0:
            deadline.check()
        yield item
