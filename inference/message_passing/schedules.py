"""How belief propagation starts, and which messages move when.

    >>> schedule = damped(0.5)
    >>> schedule(None, 0, jnp.zeros(2), jnp.ones(2), None).tolist()
    [0.5, 0.5]

A schedule is a hashable function of a key, the number of the iteration, the messages, the messages
one round of flooding makes of them, and the colours of the edges; it returns the next messages.
Messages are log ratios [E] or rows [E, S]. A start is a function of a key and a model. All of them
have the same fixed points.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from inference import randomness
from inference.message_passing import edge_graph, rules
from inference.message_passing.rules import Array

Drawn = Any  # None for schedules that ask for nothing
Schedule = Callable[[Drawn, int | jax.Array, jax.Array, jax.Array, Drawn], jax.Array]
Start = Callable[[Any, edge_graph.EdgeModel], Array]


@dataclasses.dataclass(frozen=True)
class damped:
    """Every message moves, and keeps this share of its logarithm; 0 is flooding.

    The one schedule with fast layouts: there 0 and 0.5 cost least.
    """

    weight: float = 0.5

    def __post_init__(self):
        if not 0 <= self.weight < 1:
            raise ValueError(f"expected a weight in [0, 1), given {self.weight}")

    def __call__(
        self, key: Drawn, iteration: int | jax.Array, old: jax.Array, new: jax.Array, colours: Drawn
    ) -> jax.Array:
        if self.weight == 0:
            return new
        finite = jnp.isfinite(old) & jnp.isfinite(new)
        before, after = jnp.where(finite, old, 0.0), jnp.where(finite, new, 0.0)
        return jnp.where(finite, self.weight * before + (1 - self.weight) * after, new)


flooding = damped(0.0)


@dataclasses.dataclass(frozen=True)
class two_colour:
    """Messages into variables of either colour take turns.

    On bipartite graphs, grids among them, this equals going through the variables one by one.
    """

    inner: Schedule = flooding

    def __call__(
        self, key: Drawn, iteration: int | jax.Array, old: jax.Array, new: jax.Array, colours: Drawn
    ) -> jax.Array:
        moved = self.inner(key, iteration, old, new, colours)
        return jnp.where(_wide(colours == (iteration % 2 == 1), old), moved, old)


@dataclasses.dataclass(frozen=True)
class random_subset:
    """Each message moves with this probability, which breaks cycles of two."""

    probability: float = 0.6
    inner: Schedule = flooding

    def __call__(
        self, key: Drawn, iteration: int | jax.Array, old: jax.Array, new: jax.Array, colours: Drawn
    ) -> jax.Array:
        # Bits, not floats: their number does not depend on the precision setting.
        bits = jax.random.bits(jax.random.fold_in(key, iteration), old.shape[:1], jnp.uint32)
        moves = bits < np.uint32(min(self.probability * 2.0**32, 2.0**32 - 1))
        return jnp.where(_wide(moves, old), self.inner(key, iteration, old, new, colours), old)


@dataclasses.dataclass(frozen=True)
class largest_residuals:
    """The share of messages that would change most moves (Elidan, McGraw and Koller, UAI 2006)."""

    share: float = 0.2
    inner: Schedule = flooding

    def __call__(
        self, key: Drawn, iteration: int | jax.Array, old: jax.Array, new: jax.Array, colours: Drawn
    ) -> jax.Array:
        changes = edge_graph.change(old, new)
        if not len(changes):
            return new
        number = min(len(changes), max(1, round(self.share * len(changes))))
        least = jax.lax.top_k(changes, number)[0][-1]
        moved = self.inner(key, iteration, old, new, colours)
        return jnp.where(_wide(changes >= least, old), moved, old)


def uniform(seed: Any, model: edge_graph.EdgeModel) -> Array:
    """Messages that say nothing."""
    return edge_graph.start(model)


@dataclasses.dataclass(frozen=True)
class noise:
    """Normal deviates on top of messages that say nothing."""

    scale: float = 0.1

    def __call__(self, seed: Any, model: edge_graph.EdgeModel) -> Array:
        quiet = edge_graph.start(model)
        drawn = self.scale * jax.random.normal(randomness.jax_key(seed), quiet.shape, jnp.float32)
        loud = quiet + drawn.astype(quiet.dtype)
        return loud if model.is_binary else rules.normalize(loud)


@dataclasses.dataclass(frozen=True)
class towards:
    """All messages favour one state by this many nats, counted from the end where negative."""

    state: int
    nats: float = 5.0

    def __call__(self, seed: Any, model: edge_graph.EdgeModel) -> Array:
        quiet = edge_graph.start(model)
        if model.is_binary:
            return quiet + (self.nats if self.state % 2 else -self.nats)
        sizes = jnp.sum(jnp.isfinite(quiet), axis=-1)
        chosen = jnp.where(self.state < 0, sizes + self.state, jnp.minimum(self.state, sizes - 1))
        favours = jnp.arange(quiet.shape[-1])[None] == jnp.maximum(chosen, 0)[:, None]
        return rules.normalize(quiet + self.nats * favours.astype(quiet.dtype))


ordered = (towards(-1), towards(0))  # all up and all down


def drawn(schedule: Schedule, model: edge_graph.EdgeModel, seed: Any) -> tuple[Drawn, Drawn]:
    """The key and the colours that a schedule may ask for."""
    if isinstance(schedule, damped):
        return None, None
    return randomness.jax_key(seed), jnp.asarray(colours(model))


def colours(model: edge_graph.EdgeModel) -> np.ndarray:
    """Bool [E]: the parity of the depth of each edge's variable in a breadth-first search."""
    from scipy import sparse
    from scipy.sparse import csgraph

    size, pairs = len(model.log_unary), [np.zeros((0, 2), np.int32)]
    for group in model.groups:
        scope = np.asarray(group.variables)
        pairs += [scope[:, [0, j]] for j in range(1, scope.shape[1])]
    edges = np.concatenate(pairs)
    joined = sparse.csr_matrix((np.ones(len(edges)), edges.T), (size + 1, size + 1))
    _, parts = csgraph.connected_components(joined, directed=False)
    roots = np.unique(parts[:size], return_index=True)[1]  # joined to one more node, at depth 0
    joined += sparse.csr_matrix(
        (np.ones(len(roots)), (np.full(len(roots), size), roots)), joined.shape
    )
    order, before = csgraph.breadth_first_order(joined, size, directed=False)
    depth = np.zeros(size + 1, bool)
    for node in order[1:]:
        depth[node] = ~depth[before[node]]
    return depth[model.edge_variables]


def _wide(flags: jax.Array, messages: jax.Array) -> jax.Array:
    return flags.reshape(flags.shape + (1,) * (messages.ndim - 1))
