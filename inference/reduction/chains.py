"""Short clauses in place of long ones, by new variables that the others define: the same count.

    >>> formula = cnf.from_clauses([list(range(1, 21))])
    >>> max(len(clause) for clause in shorten(formula).formula.clauses)
    8

A clause of many literals, an exclusive-or of many variables, and many literals of which at most one
holds, stated pair by pair, make a clique of all their variables, and elimination is exponential in
it. As a chain, each link an or (or exclusive-or) of the link before and one more literal, they add
little to the width. The count stays, as the links are defined.

The chain of at most one: Sinz, "Towards an Optimal CNF Encoding of Boolean Cardinality Constraints"
(CP 2005).
"""

from collections.abc import Sequence
from typing import NamedTuple

from inference.problems import cnf

LONGEST = 8  # literals that a clause keeps
FEWEST = 5  # literals that a chain of at most one is worth


class Chains(NamedTuple):
    """A formula of short clauses.

    Attributes:
      formula: over the variables of the one given and the links, which are outside its sampling
        set.
      links: of each new variable, from the first after those given on, the variables that define
        it.
    """

    formula: cnf.CNF
    links: list[list[int]]


def shorten(
    formula: cnf.CNF, *, position: Sequence[int] | None = None, longest: int = LONGEST
) -> Chains:
    """The formula with chains.

    Args:
      formula: without weights.
      position: of each variable, index 0 unused: chains go by it; by default the numbers.
      longest: literals that clauses and exclusive-ors keep.
    """
    place = range(formula.num_variables + 1) if position is None else position
    clauses, groups = _take_cliques(formula.clauses.tolist())
    chain = _Chain(formula.num_variables)
    for clause in clauses:
        literals = sorted(set(clause), key=lambda x: place[abs(x)])
        if len(literals) <= longest:
            chain.clauses.append(literals)
        elif len({abs(x) for x in literals}) == len(literals):
            chain.clause(literals, longest)
    for literals in groups:
        chain.at_most_one(sorted(literals, key=lambda x: place[abs(x)]))
    xors = []
    for variables, side in zip(formula.xors.tolist(), formula.xor_rhs.tolist(), strict=True):
        variables = sorted(variables, key=lambda v: place[v])
        xors += chain.exclusive_or(variables, side, longest)
    number = formula.num_variables + len(chain.links)
    shorter = cnf.from_clauses(
        chain.clauses, num_variables=number, xors=xors, projection=formula.sampling_set
    )
    return Chains(shorter, chain.links)


class _Chain:
    """Clauses so far, and what defines each link."""

    def __init__(self, num_variables: int) -> None:
        self.clauses: list[list[int]] = []
        self.links: list[list[int]] = []
        self._first = num_variables + 1

    def clause(self, literals: list[int], longest: int) -> None:
        """Or by or, until few are left."""
        while len(literals) > longest:
            head, literals = literals[: longest - 1], literals[longest - 1 :]
            literals = [self._either(head), *literals]
        self.clauses.append(literals)

    def at_most_one(self, literals: list[int]) -> None:
        """Each literal excludes the or of those before it."""
        before = literals[0]
        for literal in literals[1:-1]:
            self.clauses.append([-before, -literal])
            before = self._either([before, literal])
        self.clauses.append([-before, -literals[-1]])

    def exclusive_or(
        self, variables: list[int], side: bool, longest: int
    ) -> list[tuple[list[int], bool]]:
        """Short ones that say the same."""
        short = []
        while len(variables) > longest:
            head, variables = variables[: longest - 1], variables[longest - 1 :]
            link = self._link(head)
            short.append(([*head, link], False))
            variables = [link, *variables]
        return [*short, (variables, side)]

    def _either(self, literals: list[int]) -> int:
        link = self._link(literals)
        self.clauses += [[-link, *literals], *([link, -literal] for literal in literals)]
        return link

    def _link(self, literals: list[int]) -> int:
        self.links.append([abs(literal) for literal in literals])
        return self._first + len(self.links) - 1


def _take_cliques(clauses: list[list[int]]) -> tuple[list[list[int]], list[list[int]]]:
    """The clauses without those that a group says, and groups of literals of which one holds at
    most: greedy cliques of the graph that binary clauses make."""
    excluded: dict[int, set[int]] = {}
    for clause in clauses:
        if len(clause) == 2 and abs(clause[0]) != abs(clause[1]):
            first, second = -clause[0], -clause[1]
            excluded.setdefault(first, set()).add(second)
            excluded.setdefault(second, set()).add(first)
    taken: set[tuple[int, int]] = set()
    groups = []
    for literal in sorted(excluded, key=lambda x: (-len(excluded[x]), x)):
        group = _clique(literal, excluded)
        if len(group) >= FEWEST:
            groups.append(group)
            for one in group:
                excluded[one].difference_update(group)
            taken.update((a, b) for a in group for b in group)
    kept = [c for c in clauses if len(c) != 2 or (-c[0], -c[1]) not in taken]
    return kept, groups


def _clique(start: int, excluded: dict[int, set[int]]) -> list[int]:
    """A clique with this literal that nothing can be added to; of large degree first."""
    clique, left = [start], set(excluded[start])
    while left:
        best = max(left, key=lambda x: (len(excluded[x] & left), -abs(x), x))
        clique.append(best)
        left &= excluded[best]
    return clique
