"""Learned model counting: belief propagation on small tables, with networks that correct it.

    >>> formula = cnf.from_clauses([[1, 2], [2, 3], [-1, -3], [3, 4]])
    >>> [(estimate, info)] = count_many([formula])  # four models; a cycle of three clauses
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
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from inference import estimate, limits, training
from inference.message_passing.learned import clause_clusters, formula_batch
from inference.problems import cnf

WEIGHTS = Path(__file__).parent / "weights" / "bpnn_sat.npz"
ITERATIONS = 20  # sweeps over all messages
DAMPING = 0.3
BLOCK = 300_000  # literals in one call of the kernel
_LARGEST = 15.0  # of a log ratio: products of five probabilities then fit into float32
_TINY = 1e-18  # its square is a float32 still, for gradients
_OCTETS = 500  # of tables and messages for each variable and literal, measured; XORs: four times
_CHUNK = 5_000_000  # entries of tables, times sweeps, between two looks at the clock

# Messages: log ratios float32 [k, F] that tables send, for each arity.
LogRatios = tuple[formula_batch.Array, ...]


class Info(NamedTuple):
    """How a count went.

    Attributes:
      status: "done", "timeout" or "interrupted".
      seconds: wall time, of all formulas that were counted together.
      iterations: sweeps over all messages, the same for every formula.
      tables: how many tables were left; with none the value is exact up to rounding. Clauses and
        XORs, where there was no time to rewrite them.
      message: what else there is to know.
    """

    status: str
    seconds: float
    iterations: int
    tables: int
    message: str = ""


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


def count_many(
    formulas: Sequence[cnf.CNF],
    *,
    network: Network | None = None,
    iterations: int = ITERATIONS,
    block: int = BLOCK,
) -> list[tuple[estimate.Estimate, Info]]:
    """As ``bpnn.count`` for each formula, some ``block`` literals at once; equal up to rounding."""
    number = np.cumsum([len(formula.clauses.values) for formula in formulas]) // block
    answers: list[tuple[estimate.Estimate, Info]] = []
    for _, together in itertools.groupby(range(len(formulas)), key=number.__getitem__):
        answers += solve([formulas[i] for i in together], network, iterations=iterations)
    return answers


def solve(
    formulas: Sequence[cnf.CNF],
    network: Network | None = None,
    *,
    iterations: int,
    deadline: limits.Deadline = limits.NEVER,
) -> list[tuple[estimate.Estimate, Info]]:
    """Estimates of all formulas at once, by the messages reached within the time limit.

    Values are moved between one model, as no contradiction was found, and all assignments.

    Raises:
      ValueError: a formula has weights, or a sampling set that leaves variables out.
      OutOfTime: before the formulas were rewritten into tables.
    """
    began, number = time.monotonic(), len(formulas)
    clusters = clause_clusters.build(formulas, deadline=deadline)
    tables = np.zeros(number, dtype=np.int64)
    for table in clusters.tables:
        tables += np.bincount(clusters.formula[table.variables[0]], minlength=number)
    values, done, status = clusters.log_constant, iterations, "done"
    if tables.any():
        batch = formula_batch.pack(clusters)
        messages, done, status = iterate(batch, iterations, deadline)
        chosen = shipped() if network is None else network
        values = values + np.asarray(log_counts(chosen, batch, messages))[:number]
    most = math.log(2) * np.array([formula.num_variables for formula in formulas])
    possible = clusters.log_constant > -np.inf
    values = np.where(possible, np.clip(values, 0.0, most), -np.inf)
    seconds = time.monotonic() - began
    return [
        (estimate.Estimate(value), Info(status, seconds, done, left))
        for value, left in zip(values.tolist(), tables.tolist())
    ]


def octets(formula: cnf.CNF) -> float:
    """What the tables and messages of a formula take, known before they are made; about."""
    literals = len(formula.clauses.values) + 4 * len(formula.xors.values)
    return float(_OCTETS * (formula.num_variables + literals))


def start(batch: formula_batch.FormulaBatch) -> LogRatios:
    """Messages that say nothing; in numpy, as a dispatch takes as long as many sweeps."""
    return tuple(np.zeros(tables.used.shape, np.float32) for tables in batch.tables)


@jax.jit
def propagate(
    batch: formula_batch.FormulaBatch, messages: LogRatios, iterations: int | jax.Array = ITERATIONS
) -> LogRatios:
    """So many sweeps of damped belief propagation."""

    def sweep(_: Any, messages: LogRatios) -> LogRatios:
        incoming = _to_tables(batch, messages)
        fresh = [_fresh(t, _joint(t, a), a) for t, a in zip(batch.tables, incoming)]
        return tuple(DAMPING * u + (1 - DAMPING) * new for u, new in zip(messages, fresh))

    return jax.lax.fori_loop(0, iterations, sweep, messages)


def iterate(
    batch: formula_batch.FormulaBatch, iterations: int, deadline: limits.Deadline = limits.NEVER
) -> tuple[LogRatios, int, str]:
    """``propagate`` from the host, within a time limit; the number of sweeps and how it ended."""

    entries = sum(tables.values.size for tables in batch.tables)

    def advance(state: tuple[LogRatios, int]) -> tuple[LogRatios, int]:
        messages, done = state
        more = min(1 + _CHUNK // (1 + entries), iterations - done)
        return jax.block_until_ready(propagate(batch, messages, more)), done + more

    begun: tuple[LogRatios, int] = (start(batch), 0)
    state, status = limits.run_until(advance, begun, lambda s: s[1] >= iterations, deadline)
    return *state, status


@jax.jit
def log_counts(
    network: Network, batch: formula_batch.FormulaBatch, messages: LogRatios
) -> jax.Array:
    """log of the sum over assignments of the product of a formula's tables: estimates [G].

    The Bethe value sum ln Z_a + sum ln Z_i - sum ln Z_ai, and what is learned on top. Runs in
    float32, whatever the setting; differentiable in the network, not in the messages.
    """
    messages = jax.lax.stop_gradient(messages)
    times = _at_variables(batch, [tables.used for tables in batch.tables])
    total = _variable_terms(network, batch, messages, times)
    for tables, u, incoming in zip(batch.tables, messages, _to_tables(batch, messages)):
        terms = _table_terms(network, tables, u, incoming, times)
        total = total + jax.ops.segment_sum(terms, tables.owner, len(batch.formulas))
    return total


@functools.cache
def shipped() -> Network:
    """The trained network that comes with the package."""
    return training.load(WEIGHTS, Network())


def _at_variables(
    batch: formula_batch.FormulaBatch, slots: Sequence[formula_batch.Array]
) -> jax.Array:
    """Sums [V] of numbers at the slots of each kind of table, [k, F]."""
    numbers = jnp.concatenate([numbers.ravel() for numbers in slots])
    variables = jnp.concatenate([tables.variables.ravel() for tables in batch.tables])
    return jax.ops.segment_sum(numbers, variables, len(batch.owner))


def _to_tables(batch: formula_batch.FormulaBatch, messages: LogRatios) -> list[jax.Array]:
    """Log ratios [k, F] that the variables send back: all they heard but the table's own."""
    heard = _at_variables(batch, messages)
    return [
        jnp.clip(heard[t.variables] - u, -_LARGEST, _LARGEST) * t.used
        for t, u in zip(batch.tables, messages)
    ]


def _joint(tables: formula_batch.TableBatch, incoming: jax.Array) -> jax.Array:
    """Values times the probabilities of what came in, [2^k, F]."""
    joint = jnp.asarray(tables.values)[None]
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


def _fresh(tables: formula_batch.TableBatch, joint: jax.Array, incoming: jax.Array) -> jax.Array:
    """Log ratios [k, F] that tables send, by the rule of belief propagation."""
    marginals = jnp.log(_marginals(joint))
    message = marginals[:, 1] - marginals[:, 0] - incoming
    return jnp.clip(message, -_LARGEST, _LARGEST) * tables.used


def _variable_terms(
    network: Network, batch: formula_batch.FormulaBatch, messages: LogRatios, times: jax.Array
) -> jax.Array:
    """sum ln Z_i of the variables of each formula, and the learned correction, [G]."""
    zero = _at_variables(batch, [_log_half(-u, t) for t, u in zip(batch.tables, messages)])
    one = _at_variables(batch, [_log_half(u, t) for t, u in zip(batch.tables, messages)])
    entropy = _entropy(one - zero)
    scaled = entropy * (times > 1) / math.log(2)
    features = [scaled, _squashed(jnp.abs(one - zero)), 1 / jnp.maximum(times, 1), times / 8]
    correction = scaled * jnp.tanh(network.variable(features)[..., 0])
    by_variable = jnp.logaddexp(zero, one) + correction
    return jax.ops.segment_sum(by_variable, batch.owner, len(batch.formulas))


def _table_terms(
    network: Network,
    tables: formula_batch.TableBatch,
    messages: formula_batch.Array,
    incoming: jax.Array,
    times: jax.Array,
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
    return bethe + shared * jnp.tanh(network.table(features)[..., 0])


def _log_half(log_ratio: formula_batch.Array, tables: formula_batch.TableBatch) -> jax.Array:
    return jax.nn.log_sigmoid(log_ratio) * tables.used


def _entropy(log_ratio: jax.Array) -> jax.Array:
    """Of a variable of two states with this log ratio, in nats."""
    one = jax.nn.sigmoid(log_ratio)
    return one * jax.nn.softplus(-log_ratio) + (1 - one) * jax.nn.softplus(log_ratio)


def _squashed(x: jax.Array) -> jax.Array:
    return x / (3.0 + jnp.abs(x))
