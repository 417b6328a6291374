"""Belief propagation on any factor graph: one update of all messages, and what is read off them.

    >>> model = prepare(factor_graph.build([2, 2], [((0, 1), [[0.5, 0.0], [0.0, 0.5]])]))
    >>> messages = update(model, start(model))
    >>> float(bethe(model, messages)[0].round(6)), beliefs(model, messages)[0].tolist()
    (1.667226, [0.5, 0.5])

Messages go from factors to variables, one per edge: group by group, factor by factor, slot by slot.
Where all variables have two states they are log ratios [E], else normalised rows of logarithms
[E, S]. A variable's sums leave each message out in turn (``rules.exclusive``) rather than subtract
it, so that hard zeros, -inf, need no special case. All functions are pure: ``jit``, ``vmap`` over
potentials and ``grad`` work.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int32
from numpy.typing import DTypeLike

from inference.message_passing import rules
from inference.message_passing.rules import Array
from inference.problems import factor_graph

_static = {"static": True}
Group = factor_graph.FactorGroup | factor_graph.ClauseGroup | factor_graph.ParityGroup
Potentials = tuple[Array, tuple[Array, ...]]  # unaries, and the tables of each group


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class EdgeModel:
    """A factor graph with its edges listed by variable; make one with ``prepare``.

    Attributes:
      log_unary: float [V, S], -inf past a variable's domain.
      groups: tables, clauses and parities as in the graph, in the dtype of ``log_unary``.
      log_constants: float [G], of each graph of a batch.
      edge_variables: int32 [E]; ``edge_mask``: bool [E], False for slots that do not count.
      slots: for each degree an int32 [d, W]: the edges of W variables, E where there are fewer.
      owners: int32 [W] beside each of them, the variables.
      places: int32 [E], where an edge stands in ``slots`` laid end to end.
      graph_ids: int32 [V], the graph of each variable.
      num_graphs: G.
      is_binary: every variable has two states, so messages are log ratios.
      temperature: 1, or 0 for maxima in place of sums.
    """

    log_unary: Float[Array, "V S"]
    groups: tuple[Group, ...]
    log_constants: Float[Array, " G"]
    edge_variables: Int32[Array, " E"]
    edge_mask: Bool[Array, " E"]
    slots: tuple[Int32[Array, "_ _"], ...]
    owners: tuple[Int32[Array, " _"], ...]
    places: Int32[Array, " E"]
    graph_ids: Int32[Array, " V"]
    num_graphs: int = dataclasses.field(metadata=_static)
    is_binary: bool = dataclasses.field(metadata=_static)
    temperature: int = dataclasses.field(metadata=_static)


def prepare(
    graph: factor_graph.FactorGraph,
    *,
    graph_ids: np.ndarray | None = None,
    log_constants: np.ndarray | None = None,
    temperature: float = 1.0,
    dtype: DTypeLike = np.float64,
) -> EdgeModel:
    """The model of a graph, in numpy arrays; potentials are divided by a temperature above 0.

    Args:
      graph_ids: int [V], the part of a disconnected graph that each variable belongs to; all 0 by
        default.
      log_constants: [G], the constant of each part.

    Raises:
      ValueError: the temperature is negative.
    """
    if not temperature >= 0:
        raise ValueError(f"expected a temperature of at least 0, given {temperature}")
    scale = temperature or 1.0
    variables = [np.zeros(0, np.int32), *(np.ravel(g.variables) for g in graph.groups)]
    masks = [np.zeros(0, bool), *(np.ravel(_mask(g)) for g in graph.groups)]
    edge_variables, edge_mask = np.concatenate(variables), np.concatenate(masks)
    slots, owners, places = _slots(edge_variables, edge_mask, graph.num_variables)
    ids = np.zeros(graph.num_variables) if graph_ids is None else graph_ids
    constants = np.reshape(graph.log_constant if log_constants is None else log_constants, -1)
    return EdgeModel(
        np.asarray(graph.log_unary / scale, dtype),
        tuple(
            g._replace(log_potentials=np.asarray(g.log_potentials / scale, dtype))
            if isinstance(g, factor_graph.FactorGroup)
            else g
            for g in graph.groups
        ),
        np.asarray(constants / scale, dtype),
        edge_variables.astype(np.int32),
        edge_mask,
        slots,
        owners,
        places,
        ids.astype(np.int32),
        len(constants),
        bool(np.all(graph.num_states == 2)),
        int(temperature > 0),
    )


def octets(graph: factor_graph.FactorGraph) -> int:
    """What messages and tables of a graph take, about.

    64 for each state of an edge, 24 for each of a variable, and for each entry of a table 16, and
    8 more for each of its variables.
    """
    total = 24 * graph.log_unary.size
    for group in graph.groups:
        total += 64 * group.variables.size * graph.log_unary.shape[1]
        if isinstance(group, factor_graph.FactorGroup):
            total += 8 * (2 + group.variables.shape[1]) * group.log_potentials.size
    return total


def start(model: EdgeModel) -> Array:
    """Messages that say nothing: 0, or equal shares of the states of the variable."""
    if model.is_binary:  # in numpy, for small graphs a dispatch takes as long as ten rounds
        return np.zeros(len(model.edge_variables), model.log_unary.dtype)
    return _equal_shares(model.log_unary, model.edge_variables)


@jax.jit
def _equal_shares(log_unary: jax.Array, edge_variables: jax.Array) -> jax.Array:
    inside = jnp.where(log_unary > -jnp.inf, 0.0, -jnp.inf).astype(log_unary.dtype)
    return rules.normalize(inside)[edge_variables]


def update(model: EdgeModel, messages: jax.Array) -> jax.Array:
    """Every message anew from the others: one round of flooding."""
    return send(model, cavities(model, messages))


def send(model: EdgeModel, incoming: jax.Array) -> jax.Array:
    """The messages that cavities, as ``cavities`` returns them, make."""
    outgoing = [incoming[:0]]
    for group, part in _by_group(model, incoming):
        outgoing.append(_messages(group, part, model.temperature).reshape(-1, *incoming.shape[1:]))
    return jnp.concatenate(outgoing)


def cavities(model: EdgeModel, messages: jax.Array) -> jax.Array:
    """What each edge's variable tells its factor: its potential and all its other messages."""
    unary = jnp.asarray(model.log_unary)
    if model.is_binary:
        unary = rules.to_log_ratios(unary)
    ends = [(0, 0)] * (messages.ndim - 1)
    neutral = jnp.pad(messages, [(0, 1), *ends])
    parts = [jnp.zeros((0, *messages.shape[1:]), messages.dtype)]
    for edges, owners in zip(model.slots, model.owners):
        others = rules.exclusive(jnp.add, neutral[edges], 0.0, axis=0)
        parts.append((others + unary[owners][None]).reshape(-1, *messages.shape[1:]))
    found = jnp.pad(jnp.concatenate(parts), [(0, 1), *ends])[model.places]
    if model.is_binary:
        return jnp.where(jnp.isnan(found), 0.0, found)  # both states are impossible
    return rules.normalize(found)


def beliefs(model: EdgeModel, messages: jax.Array) -> jax.Array:
    """Marginals [V, S] of the variables, or max-marginals; 0 where messages rule a state out.

    What underflows is the smallest number instead: a 0 is no rounding.
    """
    logs, least = _log_beliefs(model, messages), jnp.finfo(model.log_unary.dtype)
    shares = jnp.exp(logs - jnp.maximum(_log_sums(model, logs), least.min)[:, None])
    return jnp.where(logs > -jnp.inf, jnp.maximum(shares, least.tiny), 0.0)


def bethe(model: EdgeModel, messages: jax.Array) -> jax.Array:
    """Bethe log Z [G] from local partition functions, stationary in the messages.

    sum_a ln Z_a + sum_i ln Z_i - sum_(i,a) ln Z_ia (Yedidia, Freeman and Weiss, "Constructing
    free-energy approximations and generalized belief propagation algorithms", 2005, section V).
    -inf where one of them is 0. Messages are constants of it: at a fixed point its gradient by the
    potentials is that of the fixed point's value, by the envelope theorem.
    """
    messages = jax.lax.stop_gradient(messages)
    incoming = jax.lax.stop_gradient(cavities(model, messages))
    both = _rows(model, incoming) + _rows(model, messages)
    edges = jnp.where(model.edge_mask, rules.log_sum(both, -1, model.temperature), 0.0)
    variables = _log_sums(model, _log_beliefs(model, messages))
    factors = [_factor_log_partition(model, *part) for part in _by_group(model, incoming)]
    return _add_up(model, factors, variables, edges)


def table_groups(groups: Sequence[Group]) -> list[factor_graph.FactorGroup]:
    """Those of tables, in order."""
    return [group for group in groups if isinstance(group, factor_graph.FactorGroup)]


def potentials(model: EdgeModel) -> Potentials:
    """What can be differentiated by: ``log_unary`` and the tables of the table groups."""
    return model.log_unary, tuple(g.log_potentials for g in table_groups(model.groups))


def with_potentials(model: EdgeModel, values: Potentials) -> EdgeModel:
    """The model with other potentials of the same shapes."""
    log_unary, tables = values
    left = iter(tables)
    groups = tuple(
        g._replace(log_potentials=next(left)) if isinstance(g, factor_graph.FactorGroup) else g
        for g in model.groups
    )
    return dataclasses.replace(model, log_unary=log_unary, groups=groups)


def change(old: jax.Array, new: jax.Array) -> jax.Array:
    """How far each message would move, [E]: the largest change of a logarithm."""
    # The same infinity twice is no change.
    far = jnp.where(old == new, 0.0, jnp.abs(jnp.where(old == new, 0.0, new - old)))
    return far if far.ndim == 1 else jnp.max(far, axis=-1)


def largest_by_graph(values: jax.Array, graph_ids: Array, num_graphs: int) -> jax.Array:
    """The maximum of values [N] in each graph [G], at least 0."""
    if num_graphs == 1:
        return jnp.max(values, initial=0.0)[None]
    return jnp.zeros(num_graphs, values.dtype).at[graph_ids].max(values)


def _mask(group: Group) -> np.ndarray:
    if isinstance(group, factor_graph.FactorGroup):
        return np.ones(group.variables.shape, bool)
    return np.asarray(group.mask)


def _by_group(model: EdgeModel, messages: jax.Array) -> Iterator[tuple[Group, jax.Array]]:
    """Each group with its messages, [F, k] or [F, k, S]."""
    at = 0
    for group in model.groups:
        size = int(np.prod(group.variables.shape))
        yield group, messages[at : at + size].reshape(*group.variables.shape, *messages.shape[1:])
        at += size


def _messages(group: Group, incoming: jax.Array, temperature: int) -> jax.Array:
    """Messages of a group from incoming log ratios [F, k] or rows [F, k, S], in the same form."""
    if isinstance(group, factor_graph.FactorGroup):
        if incoming.ndim == 3:
            return rules.table_messages(group.log_potentials, incoming, temperature)
        rows = -jax.nn.relu(jnp.stack([incoming, -incoming], axis=-1))
        return rules.to_log_ratios(rules.table_messages(group.log_potentials, rows, temperature))
    ratios = incoming if incoming.ndim == 2 else rules.to_log_ratios(incoming)
    if isinstance(group, factor_graph.ClauseGroup):
        ratios = rules.clause_messages(group.signs, group.mask, ratios, temperature)
    else:
        ratios = rules.parity_messages(group.rhs, group.mask, ratios, temperature)
    if incoming.ndim == 2:
        return ratios
    padding = ((0, 0), (0, 0), (0, incoming.shape[2] - 2))
    return jnp.pad(rules.to_rows(ratios), padding, constant_values=-jnp.inf)


def _factor_log_partition(model: EdgeModel, group: Group, incoming: jax.Array) -> jax.Array:
    """ln Z_a [F] of a group from its normalised incoming messages."""
    if isinstance(group, factor_graph.FactorGroup):
        rows = _rows(model, incoming)
        return rules.table_log_partition(group.log_potentials, rows, model.temperature)
    ratios = incoming if model.is_binary else rules.to_log_ratios(incoming)
    if isinstance(group, factor_graph.ClauseGroup):
        return rules.clause_log_partition(group.signs, group.mask, ratios)
    return rules.parity_log_partition(group.rhs, group.mask, ratios)


def _rows(model: EdgeModel, messages: jax.Array) -> jax.Array:
    """Messages as normalised rows of logarithms."""
    if not model.is_binary:
        return messages
    if model.temperature == 0:
        return -jax.nn.relu(jnp.stack([messages, -messages], axis=-1))
    return rules.to_rows(messages)


def _log_beliefs(model: EdgeModel, messages: jax.Array) -> jax.Array:
    rows = jnp.where(jnp.asarray(model.edge_mask)[:, None], _rows(model, messages), 0.0)
    return jnp.asarray(model.log_unary).at[model.edge_variables].add(rows)


def _log_sums(model: EdgeModel, logs: jax.Array) -> jax.Array:
    return rules.log_sum(logs, -1, model.temperature)


def _add_up(
    model: EdgeModel, factors: list[jax.Array], variables: jax.Array, edges: jax.Array
) -> jax.Array:
    """log_constants + factors + variables - edges by graph; -inf where one of them is."""
    owners = [g.variables[:, 0] for g in model.groups]
    terms = jnp.concatenate([*factors, variables, -edges])
    ids = jnp.asarray(model.graph_ids)
    places = jnp.concatenate([*(ids[o] for o in owners), ids, ids[model.edge_variables]])
    finite = jnp.isfinite(terms)
    total = jnp.asarray(model.log_constants).at[places].add(jnp.where(finite, terms, 0.0))
    possible = jnp.ones(model.num_graphs, bool).at[places].min(finite)
    return jnp.where(possible, total, -jnp.inf)


def _slots(
    variables: np.ndarray, mask: np.ndarray, num_variables: int
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...], np.ndarray]:
    """``slots``, ``owners`` and ``places``: variables of like degrees share an array.

    Degrees up to 4 have an array each, higher ones share that of the next power of two.
    """
    num_edges, used = len(variables), np.flatnonzero(mask)
    order = used[np.argsort(variables[used], kind="stable")]
    degrees = np.bincount(variables[used], minlength=num_variables)
    first = np.cumsum(degrees) - degrees
    depths = np.where(degrees > 4, 2 ** np.ceil(np.log2(np.maximum(degrees, 1))), degrees)
    slots, owners, at = [], [], 0
    places = np.empty(num_edges, np.int32)
    for depth in np.unique(depths[degrees > 0]).astype(int):
        own = np.flatnonzero(depths == depth)
        rank = np.arange(depth)[:, None]
        inside = rank < degrees[own]
        edges = np.where(inside, np.append(order, -1)[np.where(inside, first[own] + rank, -1)], -1)
        places[edges[inside]] = at + np.flatnonzero(inside.ravel())
        slots.append(np.where(inside, edges, num_edges).astype(np.int32))
        owners.append(own.astype(np.int32))
        at += edges.size
    places[~mask] = at  # one more entry, which says nothing
    return tuple(slots), tuple(owners), places
