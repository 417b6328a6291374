"""Learned model counting: belief propagation on small tables, with networks that correct it.

    >>> formula = cnf.from_clauses([[1, 2], [2, 3], [-1, -3], [3, 4]])
    >>> estimate, info = count(formula)  # four models; a cycle of three clauses
    >>> 3.5 < np.exp(estimate.log_value) < 4.5, estimate.claim
    (True, <Claim.NONE: 'none'>)

After Kuck, Chakraborty, Tang, Luo, Song, Sabharwal and Ermon, "Belief propagation neural networks"
(NeurIPS 2020), section 5.2, whose layers run on single clauses. Here ``clause_clusters`` first
rewrites a formula into tables of up to five variables, exactly and without learning; most of the
accuracy comes from there, and clauses of any length take time and memory in proportion to it. Two
small networks then correct the Bethe value, as in the paper's BPNN-B: by no more than the entropy
of each variable and what the variables of each table say about each other. They see only what stays
the same when the states of a variable or the variables of a table are exchanged, and at first they
change nothing: ``Network()`` is damped belief propagation. A learned operator on the messages, as
in the paper's BPNN-D, gained on a few circuits and put single formulas of other families off by
nats, so there is none here. Claims are NONE, trained or not.

Weights are refused, and so are sampling sets: the count is over all variables.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from inference import estimate, randomness, training
from inference.message_passing.learned import clause_clusters
from inference.problems import cnf

WEIGHTS = Path(__file__).parent / "weights" / "bpnn_sat.npz"
SWEEPS = 20
DAMPING = 0.3
BLOCK = 300_000  # literals in one call of the kernel
_ARITIES = (3, clause_clusters.WIDTH)  # smaller tables are widened to the next of these
_LARGEST = 15.0  # of a log ratio: products of five probabilities then fit into float32
_TINY = 1e-18  # its square is a float32 still, for gradients
_SCALE = 0.1  # nats, where the loss turns from the square to a logarithm


class Tables(NamedTuple):
    """Tables over k slots; a slot out of use says nothing and hears nothing.

    Attributes:
      variables: int32 [k, F].
      used: float32 [k, F], 1 or 0.
      values: float32 [2^k, F], the first slot in the highest bit.
      owner: int32 [F], the formula.
    """

    variables: Any
    used: Any
    values: Any
    owner: Any


class Batch(NamedTuple):
    """Formulas side by side, padded to a few sizes; the last formula owns the padding.

    Attributes:
      tables: for each of the kernel's arities.
      owner: int32 [V], the formula of each variable.
      formulas: float32 [G], zeros.
    """

    tables: tuple[Tables, ...]
    owner: Any
    formulas: Any


class Info(NamedTuple):
    """How a count went.

    Attributes:
      status: "done".
      iterations: sweeps over all messages, the same for every formula.
      tables: how many tables were left; with none the value is exact up to rounding.
    """

    status: str
    iterations: int
    tables: int


class Perceptron(nnx.Module):
    """Two linear maps with a ReLU between them; 0 at first, whatever the input."""

    def __init__(self, inputs: int, hidden: int, outputs: int, rngs: nnx.Rngs):
        zeros = nnx.initializers.zeros
        options: dict[str, Any] = {"rngs": rngs, "param_dtype": jnp.float32}
        self.first = nnx.Linear(inputs, hidden, **options)
        self.second = nnx.Linear(hidden, outputs, kernel_init=zeros, **options)

    def __call__(self, features: Sequence[jax.Array]) -> jax.Array:
        """From features, each [...], to outputs [..., outputs]."""
        return self.second(jax.nn.relu(self.first(jnp.stack(features, axis=-1))))


class Network(nnx.Module):
    """What is learned, 130 numbers; untrained it leaves the Bethe value as it is."""

    def __init__(self, seed: int = 0, hidden: int = 8):
        rngs = nnx.Rngs(seed)
        self.variable = Perceptron(4, hidden, 1, rngs)
        self.table = Perceptron(6, hidden, 1, rngs)


def count(
    formula: cnf.CNF, *, parameters: Network | None = None, sweeps: int = SWEEPS
) -> tuple[estimate.Estimate, Info]:
    """Estimates the number of models; claim NONE.

    Args:
      parameters: the shipped ones by default; ``Network()`` for belief propagation alone.
      sweeps: of messages; the more of them cost time alone.

    Raises:
      ValueError: the formula has weights, or a sampling set that leaves variables out.
    """
    values, tables = _counted([formula], parameters, sweeps)
    return estimate.Estimate(float(values[0])), Info("done", sweeps, int(tables[0]))


def count_many(
    formulas: Sequence[cnf.CNF],
    *,
    parameters: Network | None = None,
    sweeps: int = SWEEPS,
    block: int = BLOCK,
) -> list[tuple[estimate.Estimate, Info]]:
    """As ``count`` for each formula, some ``block`` literals at once; values differ by rounding."""
    number = np.cumsum([len(formula.clauses.values) for formula in formulas]) // block
    numbered = itertools.groupby(range(len(formulas)), key=number.__getitem__)
    answers: list[tuple[estimate.Estimate, Info]] = []
    for _, numbers in numbered:
        values, tables = _counted([formulas[i] for i in numbers], parameters, sweeps)
        for value, left in zip(values.tolist(), tables.tolist()):
            answers.append((estimate.Estimate(value), Info("done", sweeps, left)))
    return answers


def pack(clusters: clause_clusters.Clusters, sizes: Sequence[int] | None = None) -> Batch:
    """Clusters as arrays of the kernel, padded to a few sizes or to ``sizes``.

    Args:
      sizes: numbers of variables, of formulas and of tables by arity; see ``needed``.
    """
    needs = needed(clusters)
    variables, formulas, *counts = [_padded(n) for n in needs] if sizes is None else sizes
    if any(size < need for size, need in zip((variables, formulas, *counts), needs)):
        raise ValueError(f"expected sizes of at least {needs}, given {sizes}")
    number = np.cumsum(_in_use(clusters)) - 1  # without variables that are in no table
    owner = np.full(variables, formulas - 1, dtype=np.int32)
    owner[: needs[0] - 1] = clusters.formula[_in_use(clusters)]
    tables, lower = [], 0
    for arity, size in zip(_ARITIES, counts):
        some = clusters.tables[lower:arity]
        tables.append(_widened(some, arity, size, number, owner))
        lower = arity
    return Batch(tuple(tables), owner, np.zeros(formulas, dtype=np.float32))


def needed(clusters: clause_clusters.Clusters) -> list[int]:
    """The least sizes for ``pack``: one variable and one formula more, for the padding."""
    counts = [table.variables.shape[1] for table in clusters.tables]
    low = _ARITIES[0]
    sizes = [int(_in_use(clusters).sum()) + 1, len(clusters.log_constant) + 1]
    return [*sizes, sum(counts[:low]), sum(counts[low:])]


def log_counts(parameters: Network, batch: Batch, sweeps: Any = SWEEPS) -> jax.Array:
    """log of the sum over assignments of the product of a formula's tables: estimates [G].

    Runs in float32, whatever the setting; differentiable in the parameters.
    """
    times = _at_variables(batch, [t.used for t in batch.tables])

    def sweep(_: Any, messages: tuple[Any, ...]) -> tuple[Any, ...]:
        incoming = _to_tables(batch, messages)
        fresh = [_fresh(t, _joint(t, a), a) for t, a in zip(batch.tables, incoming)]
        return tuple(DAMPING * u + (1 - DAMPING) * new for u, new in zip(messages, fresh))

    start = tuple(jnp.zeros_like(t.used) for t in batch.tables)
    messages = jax.lax.stop_gradient(jax.lax.fori_loop(0, sweeps, sweep, start))
    return _readout(parameters, batch, messages, times)


def train(
    formulas: Sequence[cnf.CNF],
    log_values: Sequence[float],
    *,
    seed: int = 0,
    steps: int = 4000,
    rate: float = 3e-3,
    sweeps: int = SWEEPS,
    held_out: float = 0.2,
    together: int = 16,
    checkpoint: str | Path | None = None,
    timeout: float | None = None,
) -> tuple[Network, training.History]:
    """Fits a network to known counts by Adam; what is best on held-out formulas comes back.

    The loss is log(1 + (error / 0.1)^2): it flattens for large errors. With one that grows as the
    error, circuits that are off by nats spoil the corrections of everything else.

    Args:
      log_values: exact log counts in nats.
      rate: of learning, at its highest; it follows a cosine to zero.
      sweeps: of messages, as in ``count``.
      held_out: fraction of the formulas that choose the step and are not trained on.
      together: formulas in one step.
      checkpoint: as for ``training.fit``, like ``timeout``.

    Raises:
      ValueError: a count is not finite, or there are fewer than two formulas.
    """
    targets = np.asarray(log_values, dtype=np.float64)
    if len(formulas) < 2 or not np.isfinite(targets).all() or len(targets) != len(formulas):
        raise ValueError(f"expected two or more finite log counts, given {len(formulas)}")
    rng = randomness.generator(seed, "bpnn_sat")
    held, kept = np.split(rng.permutation(len(formulas)), [max(1, round(held_out * len(formulas)))])
    groups = [
        part[i : i + together] for part in (held, kept) for i in range(0, len(part), together)
    ]
    batches = _training_batches(formulas, targets, groups)
    first = -(-len(held) // together)
    validation, trained = batches[:first], batches[first:]
    turns = np.concatenate(
        [rng.permutation(len(trained)) for _ in range(steps // len(trained) + 1)]
    )
    loss = functools.partial(_loss, sweeps=sweeps)
    schedule = optax.warmup_cosine_decay_schedule(0.0, rate, min(100, steps // 10), steps)
    return training.fit(
        loss,
        Network(seed),
        lambda step: trained[turns[step]],
        steps,
        optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule)),
        validate=lambda network: sum(loss(network, one) for one in validation) / len(validation),
        validate_every=len(trained),
        checkpoint=checkpoint,
        timeout=timeout,
    )


_log_counts = jax.jit(log_counts)


@functools.cache
def shipped() -> Network:
    """The trained network that comes with the package."""
    return training.load(WEIGHTS, Network())


def _counted(
    formulas: Sequence[cnf.CNF], parameters: Network | None, sweeps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Log counts, float64 [G], and numbers of tables left [G].

    The value is moved between one model, as no contradiction was found, and all assignments.
    """
    clusters = clause_clusters.build(formulas)
    number = len(formulas)
    tables = sum(
        np.bincount(clusters.formula[table.variables[0]], minlength=number)
        for table in clusters.tables
    )
    values = clusters.log_constant
    if np.any(tables):
        network = shipped() if parameters is None else parameters
        values = values + np.asarray(_log_counts(network, pack(clusters), sweeps))[:number]
    most = math.log(2) * np.array([formula.num_variables for formula in formulas])
    possible = clusters.log_constant > -np.inf
    return np.where(possible, np.clip(values, 0.0, most), -np.inf), np.asarray(tables)


def _in_use(clusters: clause_clusters.Clusters) -> np.ndarray:
    used = np.zeros(len(clusters.formula), dtype=bool)
    for table in clusters.tables:
        used[table.variables] = True
    return used


def _padded(size: int) -> int:
    """0 or a power of two from 64 on, with eighths between large ones: few kernels to compile."""
    power = 1 << max(size - 1, 63).bit_length() if size else 0
    step = power if power <= 4096 else power // 8
    return -(-size // step) * step if size else 0


def _widened(
    tables: Sequence[clause_clusters.Table],
    arity: int,
    size: int,
    number: np.ndarray,
    owner: np.ndarray,
) -> Tables:
    """Tables of up to ``arity`` variables in one array; further axes repeat what is there."""
    variables = np.full((arity, size), len(owner) - 1, dtype=np.int32)
    used = np.zeros((arity, size), dtype=np.float32)
    values = np.ones((*[2] * arity, size), dtype=np.float32)
    start = 0
    for table in tables:
        k, width = table.variables.shape
        place = slice(start, start + width)
        variables[:k, place] = number[table.variables]
        used[:k, place] = 1.0
        shape = (*[2] * k, *[1] * (arity - k), width)
        values[..., place] = table.values.reshape(shape)
        start += width
    return Tables(variables, used, values.reshape(2**arity, size), owner[variables[0]])


def _at_variables(batch: Batch, slots: Sequence[jax.Array]) -> jax.Array:
    """Sums [V] of numbers at the slots of each kind of table, [k, F]."""
    numbers = jnp.concatenate([numbers.ravel() for numbers in slots])
    variables = jnp.concatenate([tables.variables.ravel() for tables in batch.tables])
    return jax.ops.segment_sum(numbers, variables, len(batch.owner))


def _to_tables(batch: Batch, messages: Sequence[jax.Array]) -> list[jax.Array]:
    """Log ratios [k, F] that the variables send back: all they heard but the table's own."""
    heard = _at_variables(batch, messages)
    return [
        jnp.clip(heard[t.variables] - u, -_LARGEST, _LARGEST) * t.used
        for t, u in zip(batch.tables, messages)
    ]


def _joint(tables: Tables, incoming: jax.Array) -> jax.Array:
    """Values times the probabilities of what came in, [2^k, F]."""
    joint = tables.values[None]
    for log_ratio in incoming:  # [bits before, bits from here on, F]
        pair = jnp.stack([jax.nn.sigmoid(-log_ratio), jax.nn.sigmoid(log_ratio)])
        before, after, size = joint.shape
        by_state = joint.reshape(before, 2, after // 2, size)
        joint = (by_state * pair[None, :, None]).reshape(2 * before, after // 2, size)
    return joint[:, 0]


def _marginals(joint: jax.Array) -> jax.Array:
    """Unnormalised marginals of each axis, [k, 2, F], no less than ``_TINY``."""
    k = len(joint).bit_length() - 1
    bits = np.arange(len(joint)) >> np.arange(k)[::-1, None] & 1
    chosen = np.stack([1 - bits, bits], axis=1).astype(np.float32)
    sums = jnp.einsum("ksj,jf->ksf", chosen, joint, precision="highest")
    return jnp.maximum(sums, _TINY)


def _fresh(tables: Tables, joint: jax.Array, incoming: jax.Array) -> jax.Array:
    """Log ratios [k, F] that tables send, by the rule of belief propagation."""
    marginals = jnp.log(_marginals(joint))
    message = marginals[:, 1] - marginals[:, 0] - incoming
    return jnp.clip(message, -_LARGEST, _LARGEST) * tables.used


def _readout(
    parameters: Network, batch: Batch, messages: Sequence[jax.Array], times: jax.Array
) -> jax.Array:
    """The Bethe value sum ln Z_a + sum ln Z_i - sum ln Z_ai, and what is learned on top."""
    zero = _at_variables(batch, [_log_half(-u, t) for t, u in zip(batch.tables, messages)])
    one = _at_variables(batch, [_log_half(u, t) for t, u in zip(batch.tables, messages)])
    entropy = _entropy(one - zero)
    scaled = entropy * (times > 1) / math.log(2)
    features = [scaled, _squashed(jnp.abs(one - zero)), 1 / jnp.maximum(times, 1), times / 8]
    by_variable = jnp.logaddexp(zero, one) + scaled * jnp.tanh(
        parameters.variable(features)[..., 0]
    )
    total = jax.ops.segment_sum(by_variable, batch.owner, len(batch.formulas))
    for tables, u, incoming in zip(batch.tables, messages, _to_tables(batch, messages)):
        terms = _table_terms(parameters, tables, u, incoming, times)
        total = total + jax.ops.segment_sum(terms, tables.owner, len(batch.formulas))
    return total


def _table_terms(
    parameters: Network, tables: Tables, messages: Any, incoming: Any, times: Any
) -> jax.Array:
    """ln Z_a - sum_i ln Z_ai and the learned correction, [F].

    The correction is in proportion to what the table's variables say about each other under its
    belief, so it vanishes where a table says nothing.
    """
    joint = _joint(tables, incoming)
    partition = jnp.maximum(joint.sum(axis=0), _TINY)
    both = jax.nn.sigmoid(incoming) * jax.nn.sigmoid(messages)
    both += jax.nn.sigmoid(-incoming) * jax.nn.sigmoid(-messages)
    bethe = jnp.log(partition) - (jnp.log(both) * tables.used).sum(axis=0)
    belief = joint / partition[None]
    marginals = jnp.log(_marginals(belief))
    apart = (_entropy(marginals[:, 1] - marginals[:, 0]) * tables.used).sum(axis=0)
    together = -(belief * jnp.log(jnp.maximum(belief, _TINY))).sum(axis=0)
    slots = tables.used.sum(axis=0)
    together -= (len(tables.used) - slots) * math.log(2)  # slots out of use
    shared = jnp.maximum(apart - together, 0.0)
    change = jnp.abs(_fresh(tables, joint, incoming) - messages).sum(axis=0)
    degree = (tables.used / jnp.maximum(times[tables.variables], 1)).sum(axis=0)
    features = [shared, together, jnp.log(partition), slots / 3, _squashed(change), degree]
    return bethe + shared * jnp.tanh(parameters.table(features)[..., 0])


def _log_half(log_ratio: jax.Array, tables: Tables) -> jax.Array:
    return jax.nn.log_sigmoid(log_ratio) * tables.used


def _entropy(log_ratio: jax.Array) -> jax.Array:
    """Of a variable of two states with this log ratio, in nats."""
    one = jax.nn.sigmoid(log_ratio)
    return one * jax.nn.softplus(-log_ratio) + (1 - one) * jax.nn.softplus(log_ratio)


def _squashed(x: jax.Array) -> jax.Array:
    return x / (3.0 + jnp.abs(x))


def _training_batches(
    formulas: Sequence[cnf.CNF], targets: np.ndarray, groups: Sequence[np.ndarray]
) -> list[tuple[Batch, np.ndarray, np.ndarray]]:
    """Batches of one size, with what is left to explain of each count and which are there."""
    clusters = [clause_clusters.build([formulas[i] for i in group]) for group in groups]
    sizes = np.max([needed(one) for one in clusters], axis=0).tolist()
    batches = []
    for one, group in zip(clusters, groups):
        left, there = np.zeros(sizes[1], np.float32), np.zeros(sizes[1], np.float32)
        left[: len(group)] = targets[group] - one.log_constant
        there[: len(group)] = 1.0
        batches.append((pack(one, sizes), left, there))
    return batches


def _loss(parameters: Network, batch: tuple[Batch, Any, Any], sweeps: int) -> jax.Array:
    formulas, left, there = batch
    error = (log_counts(parameters, formulas, sweeps) - left) * there
    return jnp.log1p((error / _SCALE) ** 2).sum() / there.sum()
