"""What one factor tells its variables: tables, clauses and parities, in log space.

    >>> signs, mask = np.ones((1, 3), bool), np.ones((1, 3), bool)
    >>> np.exp(clause_messages(signs, mask, jnp.zeros((1, 3)))).round(2).tolist()  # 1 to 1 - 1/4
    [[1.33, 1.33, 1.33]]

Pure functions on all factors of a group at once, in the dtype of the messages. A message is either
a row of logarithms, normalised so that logsumexp over the states of the variable is 0, or, for two
states, the log ratio ln m(1) - ln m(0). Hard zeros are -inf in rows and infinite log ratios; no
path leads from them to NaN, in gradients either. Temperature t replaces every sum over states by
t log sum exp(. / t): 1 is sum-product, 0 is max-product (Weiss, Yanover and Meltzer, "MAP
estimation, linear programming and belief propagation with convex free energies", UAI 2007). It is
a positive scalar, or the Python number 0.

Clauses and parities take O(k) for k variables (Kschischang, Frey and Loeliger, "Factor graphs and
the sum-product algorithm", 2001, section VI). A finite log ratio enters exponentials there as at
most 80 in float32 and 700 in float64, so that none underflows into a hard zero; where all that
count are far out, their sum is taken in logarithms instead. A million nats are the most that a
clause or parity says, short of infinity: around loops messages may grow for ever.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray  # on the device or the host
Temperature = Any  # a number, or a traced scalar
_FARTHEST = 1e6


def log_sum(
    values: Array, axis: int | tuple[int, ...], temperature: Temperature = 1.0
) -> jax.Array:
    """Soft maximum t log sum exp(values / t) over axes; -inf where all are, with gradient 0."""
    largest = jnp.max(values, axis=axis, keepdims=True, initial=-jnp.inf)
    if _is_zero(temperature):
        return jnp.squeeze(largest, axis)
    shift = jnp.where(jnp.isfinite(largest), jax.lax.stop_gradient(largest), 0.0)
    total = jnp.sum(jnp.exp((values - shift) / temperature), axis=axis)
    # The inner where keeps the derivative of log away from 0, where it makes inf * 0 = NaN.
    log_total = jnp.log(jnp.where(total > 0, total, 1.0))
    return jnp.where(total > 0, temperature * log_total + jnp.squeeze(shift, axis), -jnp.inf)


def normalize(messages: Array, temperature: Temperature = 1.0) -> jax.Array:
    """Rows [..., S] whose soft maximum is 0; a row of -inf stays."""
    total = log_sum(messages, -1, temperature)[..., None]
    return jnp.subtract(messages, jnp.where(total > -jnp.inf, total, 0.0))


def to_rows(log_ratios: jax.Array) -> jax.Array:
    """Normalised rows [..., 2] of log ratios [...]."""
    return jnp.stack([jax.nn.log_sigmoid(-log_ratios), jax.nn.log_sigmoid(log_ratios)], axis=-1)


def to_log_ratios(messages: jax.Array) -> jax.Array:
    """Log ratios [...] of rows [..., 2]; 0 for a row of -inf."""
    zero, one = messages[..., 0], messages[..., 1]
    known = jnp.maximum(zero, one) > -jnp.inf
    return jnp.where(known, jnp.where(known, one, 0.0) - jnp.where(known, zero, 0.0), 0.0)


def table_messages(
    log_potentials: jax.Array, incoming: jax.Array, temperature: Temperature = 1.0
) -> jax.Array:
    """Messages of tables [F, s1, ..., sk] from incoming rows [F, k, S], in the same shape.

    The row for slot j is the soft maximum over all other slots of the table plus their rows,
    normalised; past the domain of the variable it is -inf.
    """
    outgoing = []
    for slot in range(incoming.shape[1]):
        others = tuple(1 + other for other in range(incoming.shape[1]) if other != slot)
        total = joint(log_potentials, incoming, without=slot)
        row = normalize(log_sum(total, others, temperature), temperature)
        padding = ((0, 0), (0, incoming.shape[2] - row.shape[1]))
        outgoing.append(jnp.pad(row, padding, constant_values=-jnp.inf))
    return jnp.stack(outgoing, axis=1)


def table_log_partition(
    log_potentials: jax.Array, incoming: jax.Array, temperature: Temperature = 1.0
) -> jax.Array:
    """ln Z_a [F]: the soft maximum of each table plus its incoming rows [F, k, S]."""
    total = joint(log_potentials, incoming)
    return log_sum(total, tuple(range(1, total.ndim)), temperature)


def joint(log_potentials: jax.Array, incoming: jax.Array, without: int = -1) -> jax.Array:
    """Tables plus the incoming rows of all slots but one, each along its own axis."""
    total = log_potentials
    for slot, size in enumerate(log_potentials.shape[1:]):
        if slot != without:
            shape = [-1, *(size if axis == slot else 1 for axis in range(incoming.shape[1]))]
            total = total + incoming[:, slot, :size].reshape(shape)
    return total


def clause_messages(
    signs: Array, mask: Array, log_ratios: jax.Array, temperature: Temperature = 1.0
) -> jax.Array:
    """Log ratios that clauses send to their variables [F, k]; 0 in slots outside ``mask``.

    Args:
      signs: bool [F, k], True for the variable itself.
      mask: bool [F, k], slots that count.
      log_ratios: of the incoming messages, [F, k].
    """
    true = jnp.where(signs, log_ratios, -log_ratios)  # log ratios of the literals
    if _is_zero(temperature):
        others = exclusive(jnp.maximum, jnp.where(mask, true, -jnp.inf), -jnp.inf)
        message = jnp.maximum(-others, 0.0)
    else:
        true = true / temperature
        others = exclusive(jnp.add, _log_false(true, mask), 0.0)
        chance = _far_chance(jnp.where(mask, true, 0.0), jnp.where(mask, true, -jnp.inf))
        message = -temperature * jnp.where(_is_far(chance), chance, log1mexp(others))
    return jnp.where(mask, jnp.where(signs, message, -message), 0.0)


def clause_log_partition(signs: Array, mask: Array, log_ratios: jax.Array) -> jax.Array:
    """ln Z_a [F]: the logarithm of 1 - Pr(all literals false); 0 for a row without any slot."""
    true = jnp.where(signs, log_ratios, -log_ratios)
    chance = log_sum(jnp.where(mask, true, -jnp.inf), -1)
    holds = log1mexp(jnp.sum(_log_false(true, mask), axis=-1))
    holds = jnp.where(_is_far(chance), chance, holds)
    return jnp.where(jnp.any(mask, axis=-1), holds, 0.0)


def parity_messages(
    rhs: Array, mask: Array, log_ratios: jax.Array, temperature: Temperature = 1.0
) -> jax.Array:
    """Log ratios that parities send to their variables [F, k]; 0 in slots outside ``mask``.

    Args:
      rhs: bool [F], what the variables sum to modulo 2.
      mask: bool [F, k], slots that count.
      log_ratios: of the incoming messages, [F, k].
    """
    even = jnp.where(mask, -log_ratios, jnp.inf)  # ln Pr(0) - ln Pr(1)
    flip = jnp.where(rhs, 1.0, -1.0).astype(even.dtype)[:, None]
    if _is_zero(temperature):
        message = exclusive(jnp.multiply, jnp.sign(even), 1.0)
        message *= exclusive(jnp.minimum, jnp.abs(even), jnp.inf)
    else:
        even = even / temperature
        difference, rest = _differences(even)
        difference, rest = exclusive(jnp.multiply, difference, 1.0), exclusive(_or, rest, 0.0)
        chance = _far_chance(jnp.where(mask, even, 0.0), -jnp.abs(even))
        far = jnp.where(_is_far(chance), -chance, 0.0) * jnp.sign(difference)
        near = _difference_to_log_ratio(difference, rest)
        message = temperature * jnp.where(_is_far(chance), far, near)
    return jnp.where(mask, flip * message, 0.0)


def parity_log_partition(rhs: Array, mask: Array, log_ratios: jax.Array) -> jax.Array:
    """ln Z_a [F]: the logarithm of Pr(the parity holds); 0 for a row without any slot."""
    # What a factor tells one more variable is the parity of the given ones.
    wide = jnp.pad(jnp.where(mask, log_ratios, -jnp.inf), ((0, 0), (0, 1)))
    wide_mask = jnp.pad(jnp.asarray(mask), ((0, 0), (0, 1)), constant_values=True)
    even = -parity_messages(jnp.zeros_like(rhs), wide_mask, wide)[:, -1]
    holds = jax.nn.log_sigmoid(jnp.where(rhs, -even, even))
    return jnp.where(jnp.any(mask, axis=-1), holds, 0.0)


def exclusive(combine: Callable, values: jax.Array, identity: float, axis: int = -1) -> jax.Array:
    """For each entry along an axis the combination of all others, without any inverse."""
    values = jnp.moveaxis(values, axis, 0)
    edge = jnp.full_like(values[:1], identity)
    if len(values) <= 8:
        below, above = [edge], [edge]
        for i in range(len(values) - 1):
            below.append(combine(below[-1], values[i : i + 1]))
            above.append(combine(above[-1], values[len(values) - 1 - i : len(values) - i]))
        others = jnp.concatenate([combine(a, b) for a, b in zip(below, reversed(above))])
    else:  # logarithmic in the length, where the above would compile for long
        up = jax.lax.associative_scan(combine, values[:-1])
        down = jax.lax.associative_scan(combine, values[1:], reverse=True)
        others = combine(jnp.concatenate([edge, up]), jnp.concatenate([down, edge]))
    return jnp.moveaxis(others, 0, axis)


def expected(log_probabilities: jax.Array, values: Array) -> jax.Array:
    """Probability times value, entry by entry; 0 where nothing is possible, whatever the value."""
    possible = log_probabilities > -jnp.inf
    return jnp.where(possible, jnp.exp(log_probabilities) * jnp.where(possible, values, 0.0), 0.0)


def log1mexp(values: jax.Array) -> jax.Array:
    """ln(1 - exp(values)) for values <= 0 (Maechler, "Accurately computing log(1 - exp(-|a|))")."""
    near, zero = values > -math.log(2.0), values >= 0
    small = jnp.where(near & ~zero, values, -1.0)
    large = jnp.where(near, -1.0, values)
    result = jnp.where(near, jnp.log(-jnp.expm1(small)), jnp.log1p(-jnp.exp(large)))
    return jnp.where(zero, -jnp.inf, result)


def _most(values: jax.Array) -> float:
    return 80.0 if values.dtype.itemsize <= 4 else 700.0


def _bounded(log_ratios: jax.Array) -> jax.Array:
    """Finite values cut at what exponentials carry; infinite ones stay."""
    inside = jnp.clip(log_ratios, -_most(log_ratios), _most(log_ratios))
    return jnp.where(jnp.isinf(log_ratios), log_ratios, inside)


def _far_chance(log_ratios: jax.Array, values: jax.Array) -> jax.Array:
    """The logarithm of the sum of all others where it is far out; 0 where no log ratio is."""
    beyond = jnp.isfinite(log_ratios) & (jnp.abs(log_ratios) > _most(log_ratios) / 2)
    nothing = jnp.zeros_like(values)
    sums: jax.Array = jax.lax.cond(
        jnp.any(beyond), lambda: _log_sum_of_others(values), lambda: nothing
    )
    return jnp.where(sums > -jnp.inf, jnp.maximum(sums, -_FARTHEST), sums)


def _log_sum_of_others(values: jax.Array) -> jax.Array:
    """log sum exp of all other entries along the last axis, each counted as 0 at most.

    Only the largest entry has a largest other one that differs: two shifts serve all.
    """
    values = jnp.minimum(values, 0.0)
    largest = exclusive(jnp.maximum, values, -jnp.inf)
    first, second = jnp.max(values, -1, keepdims=True), jnp.min(largest, -1, keepdims=True)
    is_first = largest < first
    shifts = [jax.lax.stop_gradient(jnp.where(s > -jnp.inf, s, 0.0)) for s in (first, second)]
    powers, others = (jnp.exp(jnp.minimum(values - shift, 0.0)) for shift in shifts)
    alone = jnp.sum(others, -1, keepdims=True) - 1.0
    total = jnp.where(is_first, alone, jnp.sum(powers, -1, keepdims=True) - powers)
    logs = jnp.log(jnp.where(total > 0, total, 1.0)) + jnp.where(is_first, shifts[1], shifts[0])
    return jnp.where(total > 0, logs, -jnp.inf)


def _is_far(log_chance: jax.Array) -> jax.Array:
    """Where chances are so small that that of any of several is their sum."""
    return log_chance < -_most(log_chance) / 2


def _log_false(true: jax.Array, mask: Array) -> jax.Array:
    """ln Pr(literal false) from its log ratio; 0, which changes no sum, outside the mask."""
    return jnp.where(mask, jax.nn.log_sigmoid(-_bounded(jnp.where(mask, true, 0.0))), 0.0)


def _differences(even: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Pr(0) - Pr(1), and 1 - |Pr(0) - Pr(1)| to full relative accuracy."""
    even = _bounded(even)
    return jnp.tanh(even / 2), 2 * jax.nn.sigmoid(-jnp.abs(even))


def _or(a: jax.Array, b: jax.Array) -> jax.Array:
    """1 - (1 - a)(1 - b): how 1 - |difference| combines when differences are multiplied."""
    return a + b - a * b


def _difference_to_log_ratio(difference: jax.Array, rest: jax.Array) -> jax.Array:
    """ln (1 + d) / (1 - d), by 1 - |d| where d is near 1 or -1."""
    near = jnp.abs(difference) > 0.5
    inside = jnp.where(near, 0.0, difference)
    outside = jnp.where(near & (rest > 0), rest, 1.0)
    large = jnp.where(rest > 0, jnp.log(2.0 - outside) - jnp.log(outside), jnp.inf)
    return jnp.where(near, jnp.sign(difference) * large, jnp.log1p(inside) - jnp.log1p(-inside))


def _is_zero(temperature: Temperature) -> bool:
    return isinstance(temperature, (int, float, np.number)) and temperature == 0
