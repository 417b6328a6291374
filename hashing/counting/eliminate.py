"""Variables resolved away, as far as that makes a formula no larger: the same models over the rest.

    >>> eliminate([[-3, 1, 2], [3, -1], [3, -2], [4]], held={1, 2}, start={1})
    [[4]]

A variable that defines nothing else goes with its definition, so gates go from the outputs to the
inputs. Short enough to be read, and all that it needs to be right is that resolution is.
"""

import heapq
import itertools
from collections.abc import Iterable, Sequence

# A variable with more pairs of clauses stays, and so do all once so many pairs were resolved.
MAX_PAIRS, MAX_ALL_PAIRS = 100, 1_000_000


def eliminate(
    clauses: Iterable[Sequence[int]], held: set[int], start: Iterable[int]
) -> list[list[int]]:
    """Clauses that have the same models over the variables that are held.

    Args:
      clauses: signed literals.
      held: variables that stay.
      start: only what these are connected with, other than through held variables, is touched.
    """
    kept = _Clauses(clauses)
    heap = [(kept.pairs(v), v) for v in kept.connected(start, held)]
    heapq.heapify(heap)
    left = MAX_ALL_PAIRS
    while heap and left > 0:
        pairs, variable = heapq.heappop(heap)
        if pairs > MAX_PAIRS or pairs != kept.pairs(variable):
            continue  # too many, or an entry that is out of date
        left -= pairs
        removed = kept.mentioning([variable])
        resolvents = kept.resolve(variable)
        if len(resolvents) > len(removed):
            continue
        for clause in removed:
            kept.drop(clause)
        for clause in resolvents:
            kept.add(clause)
        for other in {abs(x) for clause in removed for x in clause} - held - {variable}:
            heapq.heappush(heap, (kept.pairs(other), other))
    return [sorted(clause, key=abs) for clause in kept.all]


class _Clauses:
    """Sets of literals, none twice and no tautologies, found by their literals."""

    def __init__(self, clauses: Iterable[Sequence[int]]) -> None:
        self.all: dict[frozenset[int], None] = {}
        self._with: dict[int, dict[frozenset[int], None]] = {}
        for clause in clauses:
            self.add(frozenset(clause))

    def add(self, clause: frozenset[int]) -> None:
        if not _is_tautology(clause):
            self.all[clause] = None
            for x in clause:
                self._with.setdefault(x, {})[clause] = None

    def drop(self, clause: frozenset[int]) -> None:
        del self.all[clause]
        for x in clause:
            del self._with[x][clause]

    def mentioning(self, variables: Iterable[int]) -> list[frozenset[int]]:
        literals = itertools.chain.from_iterable((v, -v) for v in variables)
        return list(dict.fromkeys(c for x in literals for c in self._with.get(x, ())))

    def pairs(self, variable: int) -> int:
        """How many pairs of clauses resolve on a variable."""
        return len(self._with.get(variable, ())) * len(self._with.get(-variable, ()))

    def resolve(self, variable: int) -> set[frozenset[int]]:
        """All resolvents on a variable but tautologies."""
        pairs = itertools.product(self._with.get(variable, ()), self._with.get(-variable, ()))
        every = ((one - {variable}) | (other - {-variable}) for one, other in pairs)
        return {clause for clause in every if not _is_tautology(clause)}

    def connected(self, start: Iterable[int], held: set[int]) -> set[int]:
        """Those not held that share a clause with the start, or with one that does, and so on."""
        reached: set[int] = set()
        new = set(start)
        while new:
            new = {abs(x) for clause in self.mentioning(new) for x in clause} - held - reached
            reached |= new
        return reached


def _is_tautology(clause: frozenset[int]) -> bool:
    return any(-x in clause for x in clause)
