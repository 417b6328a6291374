"""Elimination where no table grows past a limit: buckets split into mini-buckets, and their sums.

    >>> tree = grow([2, 2, 2], [[0, 1], [0, 2], [1, 2]], most_entries=4)
    >>> tree.cliques, tree.parents
    ([[0, 1], [0, 2], [1, 2], [2]], [2, 3, 3, -1])
    >>> tables = [np.zeros((2, 2))] * 3
    >>> weights = np.array([0.5, 0.5, 1.0, 1.0])  # 1 in each bucket
    >>> round(math.exp(upward(tree, fill(tree, tables), weights).log_value), 9)
    8.0

Here each mini-bucket sums out its variable by a power sum, w log sum_x exp(t(x) / w): a bound of
log Z above where the weights of each bucket are positive and add up to one, and below where all but
one are negative and they add up to one (Hoelder's inequality and its reverse; Liu and Ihler,
"Bounding the partition function using Hoelder's inequality", ICML 2011). A bucket that is not split
has weight one, and then elimination is exact.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_EPSILON = 2.0**-52
_NOTHING = np.empty(0)


class Tree(NamedTuple):
    """Who sends to whom. Variables are named by position: 0 is eliminated first.

    Attributes:
      sizes: states by position.
      cliques: increasing positions of each mini-bucket [N]; [0] is eliminated, [1:] its message.
      parents: the mini-bucket that takes the message, -1 where the message is a number.
      factors: the factors in each mini-bucket.
      scopes: increasing positions of each factor.
      buckets: the mini-buckets of each position.
      into: the shape of each message, with an axis of length 1 for what the parent alone has.
      gone: the axes that the parent alone has.
    """

    sizes: list[int]
    cliques: list[list[int]]
    parents: list[int]
    factors: list[list[int]]
    scopes: list[list[int]]
    buckets: list[list[int]]
    into: list[tuple[int, ...]]
    gone: list[tuple[int, ...]]

    @property
    def num_entries(self) -> int:
        """Entries of all tables together."""
        return sum(math.prod(self.sizes[v] for v in clique) for clique in self.cliques)

    @property
    def is_exact(self) -> bool:
        """Whether no bucket is split."""
        return all(len(bucket) == 1 for bucket in self.buckets)

    def shape(self, scope: Sequence[int], clique: Sequence[int]) -> list[int]:
        """The shape of a table over the scope that broadcasts over the clique."""
        there = set(scope)
        return [self.sizes[v] if v in there else 1 for v in clique]

    def others(self, scope: Sequence[int], clique: Sequence[int]) -> tuple[int, ...]:
        """The axes of the clique outside the scope."""
        there = set(scope)
        return tuple(axis for axis, v in enumerate(clique) if v not in there)


def grow(sizes: Sequence[int], scopes: Sequence[list[int]], most_entries: float) -> Tree:
    """Splits each bucket into mini-buckets whose tables have at most so many entries.

    A factor larger than that stands alone or with what adds no variable to it. Large ones are
    placed first, each where it adds least to the table; one over no variable is left out.
    """
    tree = Tree(list(sizes), [], [], [], list(scopes), [], [], [])
    pending: list[list[tuple[list[int], int, int]]] = [[] for _ in sizes]  # scope, factor, child
    for at, scope in enumerate(scopes):
        if scope:
            pending[scope[0]].append((scope, at, -1))
    for position in range(len(sizes)):
        tree.buckets.append([])
        for clique, items in _split(tree.sizes, position, pending[position], most_entries):
            node = len(tree.cliques)
            tree.buckets[-1].append(node)
            tree.cliques.append(clique)
            tree.factors.append([factor for _, factor, _ in items if factor >= 0])
            tree.parents.append(-1)
            tree.into.append(())
            tree.gone.append(())
            for scope, _, child in items:
                if child >= 0:
                    tree.parents[child] = node
                    tree.into[child] = tuple(tree.shape(scope, clique))
                    tree.gone[child] = tree.others(scope, clique)
            if len(clique) > 1:
                pending[clique[1]].append((clique[1:], -1, node))
        pending[position] = []
    return tree


def _split(
    sizes: list[int], position: int, items: list[tuple[list[int], int, int]], most_entries: float
) -> list[tuple[list[int], list[tuple[list[int], int, int]]]]:
    def entries(scope: set[int]) -> int:
        return math.prod(sizes[v] for v in scope)

    parts: list[tuple[set[int], list]] = []
    for item in sorted(items, key=lambda item: -entries(set(item[0]))):
        scope = set(item[0])
        grown = [(entries(part | scope) - entries(part), at) for at, (part, _) in enumerate(parts)]
        fits = [
            (more, at)
            for more, at in grown
            if more == 0 or more + entries(parts[at][0]) <= most_entries
        ]
        if fits:
            at = min(fits)[1]
            parts[at][0].update(scope)
            parts[at][1].append(item)
        else:
            parts.append((scope, [item]))
    return [(sorted(scope), chosen) for scope, chosen in parts] or [([position], [])]


def fill(tree: Tree, tables: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The sum of the factors of each mini-bucket, broadcasting over its clique."""
    filled = []
    for clique, factors in zip(tree.cliques, tree.factors, strict=True):
        total = np.zeros([1] * len(clique))
        for factor in factors:
            total = total + tables[factor].reshape(tree.shape(tree.scopes[factor], clique))
        filled.append(total)
    return filled


class PowerSums(NamedTuple):
    """What one pass over the tree found.

    Attributes:
      log_value: nats; the constant of the model is not in it.
      tables: of the mini-buckets, with the messages they took.
      shares: Pr(eliminated state | message variables) of each mini-bucket.
      entropies: of these, over the message variables; None at weight one.
    """

    log_value: float
    tables: list[np.ndarray]
    shares: list[np.ndarray]
    entropies: list[np.ndarray | None]


def upward(
    tree: Tree, tables: Sequence[np.ndarray], weights: np.ndarray, *, keep: bool = False
) -> PowerSums:
    """Eliminates all variables by power sums; a weight of 0 takes the maximum.

    Args:
      tree: of ``grow``.
      tables: of each mini-bucket, broadcasting over its clique.
      weights: float [N], any sign.
      keep: also the tables, and what ``downward`` needs.
    """
    waiting = list(tables)
    constants, shares, entropies = [], [], []
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for node, parent in enumerate(tree.parents):
            weight, table = float(weights[node]), waiting[node]
            if table.shape[0] == 1:  # no factor or message depends on the variable itself
                table = np.repeat(table, tree.sizes[tree.cliques[node][0]], axis=0)
            message, share, entropy = _power_sum(table, weight, keep)
            waiting[node] = table if keep else tables[node]
            shares.append(share)
            entropies.append(entropy)
            if parent >= 0:
                full = tuple(tree.sizes[v] for v in tree.cliques[node][1:])
                if message.shape != full:
                    message = np.broadcast_to(message, full)
                waiting[parent] = waiting[parent] + message.reshape(tree.into[node])
            else:
                constants.append(float(message))
    return PowerSums(math.fsum(constants), waiting, shares, entropies)


def _power_sum(
    table: np.ndarray, weight: float, keep: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """weight log sum exp(table / weight) over the first axis, with its derivatives."""
    if weight == 0.0:
        return table.max(axis=0), _NOTHING, None
    scaled = table if weight == 1.0 else table / weight
    top = scaled.max(axis=0)
    shift = np.where(np.isfinite(top), top, 0.0)
    terms = np.exp(scaled - shift)
    total = terms.sum(axis=0)
    log_total = np.log(total)
    message = weight * (log_total + shift)
    if not keep:
        return message, _NOTHING, None
    is_finite = (total > 0) & (total < np.inf)
    share = np.where(is_finite, terms / total, 0.0)
    entropy = None
    if weight != 1.0:
        distance = np.where(share > 0, scaled - shift, 0.0)
        entropy = np.where(is_finite, log_total, 0.0) - (share * distance).sum(axis=0)
    return message, share, entropy


def downward(tree: Tree, sums: PowerSums) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Derivatives of the value: pseudo-marginals of the cliques and of the message variables."""
    joints: list[np.ndarray] = [np.empty(0)] * len(tree.cliques)
    outer = list(joints)
    for node in reversed(range(len(tree.cliques))):
        parent = tree.parents[node]
        outer[node] = np.ones(()) if parent < 0 else joints[parent].sum(axis=tree.gone[node])
        joints[node] = sums.shares[node] * outer[node]
    return joints, outer


def decode(tree: Tree, sums: PowerSums) -> np.ndarray:
    """A good assignment by position [V]: the last variable first, given those chosen."""
    chosen = np.zeros(len(tree.sizes), dtype=np.int64)
    for position in reversed(range(len(tree.sizes))):
        rows = np.zeros(tree.sizes[position])
        for node in tree.buckets[position]:
            table = sums.tables[node]
            there = zip(tree.cliques[node][1:], table.shape[1:], strict=True)
            rows = rows + table[(slice(None), *(chosen[v] if size > 1 else 0 for v, size in there))]
        chosen[position] = np.argmax(rows)
    return chosen


def rounding_error(tree: Tree, sizes: Sequence[Sequence[float]], weights: np.ndarray) -> float:
    """Bound on the error of ``upward`` in nats, of first order with a factor 2 to spare.

    As in ``exact.elimination``: adding t tables of a bucket, bounded by B in sum, errs by at most
    t u B with u = 2^-53; dividing by the weight, subtracting the maximum and multiplying again by
    3 u B; the sum of S exponentials by (2 S + 7) u, its logarithm, at most log S, by 8 u log S,
    both times the weight. The m weights of a bucket add up to one within m u of them all, and by a
    weight a power sum changes at a rate of at most log S, an entropy. A power sum of any weight
    does not enlarge errors of its input, and each message is used once: so the errors of all
    mini-buckets add up.

    Args:
      tree: of ``grow``.
      sizes: the largest finite absolute value of each table that was added to a mini-bucket.
      weights: float [N].
    """
    error, bound = 0.0, [math.fsum(own) for own in sizes]
    count = [len(own) for own in sizes]
    for node, parent in enumerate(tree.parents):
        states, weight = tree.sizes[tree.cliques[node][0]], abs(float(weights[node]))
        grown = bound[node] + weight * math.log(states)
        error += (count[node] + 3) * bound[node] + grown
        parts = len(tree.buckets[tree.cliques[node][0]])
        error += weight * (2 * states + 7 + (9 + parts) * math.log(states))
        if parent >= 0:
            bound[parent] += grown
            count[parent] += 1
        else:
            error += grown  # adding up the constants
    return _EPSILON * error


def sizes_of(tree: Tree, magnitudes: Sequence[float]) -> list[list[float]]:
    """For ``rounding_error``: the factors' largest absolute values by mini-bucket."""
    return [[magnitudes[factor] for factor in factors] for factors in tree.factors]
