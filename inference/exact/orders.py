"""Elimination orders: which variable to sum out next, chosen greedily.

    >>> path = [{1}, {0, 2}, {1}]
    >>> min_fill(path, [2, 2, 2])
    [0, 1, 2]

Every order function takes the neighbours of each variable and the numbers of states, and returns a
permutation. Finding the best order is NP-hard. ``min_fill``, ``min_degree`` and ``min_size`` are
rules of thumb (Kjaerulff, "Triangulation of graphs - algorithms giving small total state space",
1990); ``min_frontier`` sweeps through the graph, which on an n by n grid has width n where
``min_fill`` has 1.4 n; ``best`` tries all four.
"""

import heapq
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from inference import limits

Order = Callable[[Sequence[set[int]], Sequence[int]], list[int]]


class Wide(Exception):
    """A greedy order came to a variable of more neighbours than it may have."""


def min_fill(
    neighbours: Sequence[set[int]], num_states: Sequence[int], **options: Any
) -> list[int]:
    """Eliminates a variable whose neighbours lack the fewest edges among themselves.

    Options are those of ``greedy``, for ``min_degree`` too.
    """
    score = lambda fill, degree, log_size: (fill, log_size)  # noqa: E731
    return greedy(neighbours, num_states, score, **options)


def min_degree(
    neighbours: Sequence[set[int]], num_states: Sequence[int], **options: Any
) -> list[int]:
    """Eliminates a variable with the fewest neighbours."""
    score = lambda fill, degree, log_size: (degree, log_size)  # noqa: E731
    return greedy(neighbours, num_states, score, **options)


def min_size(neighbours: Sequence[set[int]], num_states: Sequence[int]) -> list[int]:
    """Eliminates a variable whose elimination makes the smallest table."""
    return greedy(neighbours, num_states, lambda fill, degree, log_size: (log_size, fill))


def min_frontier(neighbours: Sequence[set[int]], num_states: Sequence[int]) -> list[int]:
    """Sweeps: eliminates the variable on the frontier that adds the fewest others to it.

    The frontier are the variables left that have had a neighbour eliminated; the oldest wins ties.
    """
    arrival: dict[int, int] = {}  # when each variable came to the frontier
    unseen = [len(others) for others in neighbours]  # neighbours that have not arrived
    heap: list[tuple[int, int, int]] = []
    order, gone = [], set[int]()

    def arrive(v: int) -> None:
        arrival[v] = len(arrival)
        for u in neighbours[v]:
            unseen[u] -= 1
            if u in arrival and u not in gone:
                heapq.heappush(heap, (unseen[u], arrival[u], u))
        heapq.heappush(heap, (unseen[v], arrival[v], v))

    for start in sorted(range(len(neighbours)), key=lambda v: len(neighbours[v])):
        if start not in arrival:
            arrive(start)
        while heap:
            v = heapq.heappop(heap)[2]
            if v not in gone:  # else an older, larger count of a variable already eliminated
                gone.add(v)
                order.append(v)
                for u in sorted(neighbours[v] - arrival.keys()):
                    arrive(u)
    return order


def cheapest(*order_fns: Order, deadline: limits.Deadline = limits.NEVER) -> Order:
    """The order function that returns, of several orders, one with the fewest table entries.

    It raises OutOfTime where the deadline has passed after one of them.
    """

    def best_of(neighbours: Sequence[set[int]], num_states: Sequence[int]) -> list[int]:
        cheapest_order: list[int] = []
        least = math.inf
        for order_fn in order_fns:
            order = order_fn(neighbours, num_states)
            entries = _num_entries(neighbours, num_states, order, least)
            if entries < least:
                cheapest_order, least = order, entries
            deadline.check()
        return cheapest_order

    return best_of


#: Each wins on other families of models.
RULES: tuple[Order, ...] = (min_fill, min_degree, min_size, min_frontier)
#: The cheapest of the four.
best = cheapest(*RULES)


def cliques(neighbours: Sequence[set[int]], order: Sequence[int]) -> Iterator[list[int]]:
    """The variables of each table that an elimination makes, one by one.

    Each list begins with the variable that is eliminated; the others are those of the message.
    """
    position = {v: at for at, v in enumerate(order)}
    pending: list[set[int]] = [set() for _ in order]  # messages that arrive at each position
    for at, v in enumerate(order):
        later = pending[at] | {position[u] for u in neighbours[v] if position[u] > at}
        later.discard(at)
        pending[at] = set()
        if later:
            pending[min(later)] |= later
        yield [v, *(order[u] for u in sorted(later))]


def _num_entries(
    neighbours: Sequence[set[int]], num_states: Sequence[int], order: Sequence[int], limit: float
) -> int:
    """Table entries of an elimination, counted until they reach the limit."""
    total = 0
    for clique in cliques(neighbours, order):
        total += math.prod(num_states[u] for u in clique)
        if total >= limit:
            break
    return total


def greedy(
    neighbours: Sequence[set[int]],
    num_states: Sequence[int],
    score: Callable[[int, int, float], tuple[float, float]],
    *,
    first: Collection[int] = (),
    ties: Sequence[int] | None = None,
    widest: float = math.inf,
    deadline: limits.Deadline = limits.NEVER,
) -> list[int]:
    """Eliminates, again and again, a variable of least score.

    Args:
      neighbours: the variables that share a factor with each variable.
      num_states: the number of states of each variable.
      score: function of the edges an elimination adds, the number of neighbours left, and the
        logarithm of the size of the table over the variable and them.
      first: variables that are eliminated before all others.
      ties: of variables of equal score the one that has the least number here; by default the
        first.
      widest: neighbours that a variable may have when it is eliminated.
      deadline: looked at now and then.

    Raises:
      Wide: a variable has more neighbours than ``widest``.
      OutOfTime: the deadline passed.
    """
    adjacent = [set(others) for others in neighbours]
    late = [v not in first for v in range(len(adjacent))]
    ties = range(len(adjacent)) if ties is None else ties
    logs = [math.log(size) for size in num_states]
    log_size = [logs[v] + sum(logs[u] for u in adjacent[v]) for v in range(len(logs))]
    fill = [_missing_edges(v, adjacent) for v in range(len(adjacent))]

    def entry(v: int) -> tuple[bool, tuple[float, float], int, int]:
        return late[v], score(fill[v], len(adjacent[v]), round(log_size[v], 9)), ties[v], v

    current = [entry(v) for v in range(len(adjacent))]
    heap, order = list(current), list[int]()
    heapq.heapify(heap)
    while heap:
        best = heapq.heappop(heap)
        v = best[-1]
        if best is not current[v]:
            continue  # an older score of the same variable, or one that is gone
        if len(adjacent[v]) > widest:
            raise Wide(len(adjacent[v]))
        if len(order) % 64 == 0:
            deadline.check()
        order.append(v)
        for u in _eliminate(v, adjacent, fill, log_size, logs):
            current[u] = entry(u)
            heapq.heappush(heap, current[u])
    return order


def quick_entries(
    neighbours: Sequence[set[int]],
    *,
    first: Collection[int] = (),
    widest: float = math.inf,
    deadline: limits.Deadline = limits.NEVER,
) -> float:
    """Table entries of an elimination by least degree, with variables of two states.

    Far cheaper than ``greedy``, which looks at missing edges and finds better orders; infinite
    where a variable has more neighbours than ``widest``. Arguments and errors as for ``greedy``.
    """
    adjacent = [set(others) for others in neighbours]
    heap = [(v not in first, len(others), v) for v, others in enumerate(adjacent)]
    heapq.heapify(heap)
    gone, entries = set[int](), 0.0
    while heap:
        late, degree, v = heapq.heappop(heap)
        if v in gone or degree != len(adjacent[v]):
            continue  # an older degree
        if degree > widest:
            return math.inf
        if len(gone) % 64 == 0:
            deadline.check()
        gone.add(v)
        entries += 2.0 ** (degree + 1)
        for u in adjacent[v]:
            adjacent[u] |= adjacent[v]
            adjacent[u] -= {u, v}
            heapq.heappush(heap, (u not in first, len(adjacent[u]), u))
    return entries


def _missing_edges(v: int, adjacent: list[set[int]]) -> int:
    around = adjacent[v]
    present = sum(len(adjacent[u] & around) for u in around)
    return (len(around) * (len(around) - 1) - present) // 2


def _eliminate(
    v: int, adjacent: list[set[int]], fill: list[int], log_size: list[float], logs: list[float]
) -> set[int]:
    """Joins the neighbours of v, removes v, and returns the variables whose figures changed."""
    around, changed = adjacent[v], set(adjacent[v])
    for u in around:
        adjacent[u].discard(v)
        log_size[u] -= logs[v]
        fill[u] -= len(adjacent[u] - around)  # pairs (v, w) that were not joined
    for u in around:
        for w in around - adjacent[u]:
            if w <= u:
                continue
            common = adjacent[u] & adjacent[w]
            fill[u] += len(adjacent[u]) - len(common)
            fill[w] += len(adjacent[w]) - len(common)
            for x in common:
                fill[x] -= 1
            changed |= common
            adjacent[u].add(w)
            adjacent[w].add(u)
            log_size[u] += logs[w]
            log_size[w] += logs[u]
    return changed
