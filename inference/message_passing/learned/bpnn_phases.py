"""log Z from the two ordered fixed points of belief propagation, corrected around short cycles.

    >>> graph = generators.ising_grid(10, 10, 1.0)
    >>> with jax.enable_x64(True):  # log Z = 180.9063; one phase alone: 180.2105
    ...     found = solve(graph, iterations=1000, tolerance=1e-8)
    >>> round(found.log_value, 2), found.info.phases
    (180.91, 2)

Where states 0 and 1 compete, belief propagation (BP) has a fixed point for each order, reached from
messages that are all-down and all-up. Each phase contributes its Bethe value and a correction for
every cycle of four pair factors; the phases are added up if they differ. With r_e the correlation
coefficient of the pair belief, the first term of the loop series (Chertkov and Chernyak, "Loop
series for discrete statistical models on graphs", 2006) corrects a cycle by log(1 + prod r_e). The
``CycleNetwork`` multiplies it by exp(c), where a small network finds c from the beliefs around the
cycle, by messages between cycles that share an edge. Zero weights give c = 0. All inputs are the
same after states of a variable are exchanged and after variables and factors are numbered anew.
Without a cycle there is no correction, so the value stays exact on trees. It is no bound: claim
NONE.

Variables have two states; factors other than pairs take part in BP only. The shipped weights were
trained on attractive Ising grids (``experiments.bpnn_ising``) and promise nothing elsewhere.
"""

import functools
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from inference import answer, limits, training
from inference.message_passing import rules
from inference.message_passing.learned import bpnn_layers, bpnn_operators
from inference.problems import factor_graph

WEIGHTS = Path(__file__).parent / "weights" / "bpnn_phases.npz"
MAX_CYCLES = 1_000_000
_SAME = 1e-3  # magnetisations closer than this belong to one phase
_UNDAMPED = 150  # sweeps before damping, which only frustrated models need


class Phase(NamedTuple):
    """What the network sees of a fixed point.

    Attributes:
      log_bethe: Bethe value of log Z.
      correlations: [E], of the pair beliefs, in the order of ``cycles``.
      magnetisations: [V], Pr(1) - Pr(0).
    """

    log_bethe: jax.Array
    correlations: jax.Array
    magnetisations: jax.Array


class Info(NamedTuple):
    """How a run ended.

    Attributes:
      status: "done", "timeout" or "interrupted".
      seconds: wall time.
      iterations: sweeps of both phases together.
      converged: whether both met the tolerance.
      residual: the larger last change of a log ratio.
      phases: 1 or 2, distinct fixed points among those used.
      cycles: number of cycles corrected for.
    """

    status: str
    seconds: float
    iterations: int
    converged: bool
    residual: float
    phases: int
    cycles: int


class Solution(NamedTuple):
    """What the two phases say together.

    Attributes:
      log_value: log Z.
      values: [2], log Z of each phase.
      phases: those used; one that did not converge is replaced by the other.
      info: how it went.
    """

    log_value: float
    values: np.ndarray
    phases: tuple[Phase, Phase]
    info: Info


class CycleNetwork(nnx.Module):
    """The network behind the correction; ``hidden`` numbers for each cycle, ``rounds`` of messages.

    ``key`` draws the weights; the last layer is zero, so that c = 0 at the start.
    """

    def __init__(self, hidden: int = 12, rounds: int = 2, key: jax.Array | None = None):
        rngs = nnx.Rngs(jax.random.key(0) if key is None else key)
        layer = functools.partial(nnx.Linear, param_dtype=jnp.float32, rngs=rngs)
        self.edge = layer(4, hidden)
        self.cycle = layer(hidden + 2, hidden)
        self.rounds = nnx.List([layer(3 * hidden + 1, hidden) for _ in range(rounds)])
        self.last = layer(hidden, 1, kernel_init=nnx.initializers.zeros)

    def __call__(self, edges: jax.Array, products: jax.Array, cycles: np.ndarray) -> jax.Array:
        """c [C] from inputs of the edges [E, 4], products of correlations [C] and edges [C, 4]."""
        product = products[:, None]
        embedded = jax.nn.silu(self.edge(edges))[cycles].mean(axis=1)
        inputs = jnp.concatenate([embedded, product, jnp.abs(product) ** 0.25], axis=1)
        state = jax.nn.silu(self.cycle(inputs))
        for layer in self.rounds:
            around = [_neighbours(given, cycles, len(edges)) for given in (state, state * product)]
            inputs = jnp.concatenate([state, *around, product], axis=1)
            state = state + jax.nn.silu(layer(inputs))
        return jnp.clip(self.last(state)[:, 0], -4.0, 4.0)


def cycles(graph: factor_graph.FactorGraph) -> np.ndarray:
    """All cycles of four pair factors, int32 [C, 4]; pairs are numbered group after group.

    Of several pair factors on the same two variables the last one counts. Host only.

    Raises:
      ValueError: there are more than ``MAX_CYCLES``.
    """
    number = {frozenset(pair): e for e, pair in enumerate(pairs(graph).tolist())}
    around: dict[int, set[int]] = {}
    for a, b in map(tuple, number):
        around.setdefault(a, set()).add(b)
        around.setdefault(b, set()).add(a)
    middles: dict[tuple[int, int], list[int]] = {}  # paths a - v - b by their ends
    for v, ends in around.items():
        for a in ends:
            for b in ends:
                if a < b:
                    middles.setdefault((a, b), []).append(v)
    found = []
    for (a, b), between in middles.items():
        for i, u in enumerate(between):
            for w in between[:i]:
                if a < min(u, w):  # of the two pairs of ends the one with the smallest variable
                    found.append([number[frozenset(p)] for p in ((a, u), (u, b), (b, w), (w, a))])
        if len(found) > MAX_CYCLES:
            raise ValueError(f"expected at most {MAX_CYCLES} cycles of length 4, given more")
    return np.array(found, dtype=np.int32).reshape(-1, 4)


@jax.jit
def describe(graph: factor_graph.FactorGraph, messages: bpnn_layers.Messages) -> Phase:
    """The phase that messages stand for."""
    believed = bpnn_layers.beliefs(graph, messages)
    probability = jnp.exp(believed.variables)
    correlations = [jnp.zeros(0, probability.dtype)]
    for group, table in zip(graph.groups, believed.factors, strict=True):
        if table.ndim == 3:
            correlations.append(_correlation(table))
    return Phase(
        bpnn_layers.log_bethe(graph, messages),
        jnp.concatenate(correlations),
        probability[:, 1] - probability[:, 0],
    )


def corrected(
    network: CycleNetwork, pairs: np.ndarray, cycles: np.ndarray, phase: Phase, other: Phase
) -> jax.Array:
    """log Z of one phase.

    Args:
      pairs: variables of the pair factors, [E, 2].
      cycles: edges of the cycles, [C, 4].
      other: the other phase, or the same one again.
    """
    products = jnp.clip(jnp.prod(phase.correlations[cycles], axis=1), -0.99, 1.0)
    edges = _edge_inputs(pairs, phase, other)
    return phase.log_bethe + jnp.vdot(
        jnp.log1p(products), jnp.exp(network(edges, products, cycles))
    )


@jax.jit
def combine(
    network: CycleNetwork, pairs: np.ndarray, cycles: np.ndarray, up: Phase, down: Phase
) -> tuple[jax.Array, jax.Array]:
    """log Z of both phases together, and of each, [2]; ``CycleNetwork()`` is the loop series alone.

    Without cycles it is the sum over the phases of their Bethe values.
    """
    values = jnp.stack(
        [corrected(network, pairs, cycles, *order) for order in ((up, down), (down, up))]
    )
    return jnp.where(_same(up, down), values.mean(), jax.nn.logsumexp(values)), values


def pairs(graph: factor_graph.FactorGraph) -> np.ndarray:
    """Variables of the pair factors, int32 [E, 2]."""
    empty = np.zeros((0, 2), np.int32)
    wanted = [g.variables for g in graph.groups if g.variables.shape[1] == 2]
    return np.concatenate([empty, *wanted])


def solve(
    graph: factor_graph.FactorGraph,
    network: CycleNetwork | None = None,
    *,
    iterations: int,
    tolerance: float,
    deadline: limits.Deadline = limits.NEVER,
) -> Solution:
    """Both phases and their corrected values, in the precision the caller has set.

    Args:
      network: the shipped one by default.
      iterations: sweeps of each phase at most.

    Raises:
      ValueError: a variable has more than two states, or there are too many short cycles.
    """
    began = time.monotonic()
    prepared = bpnn_layers.prepare(graph)
    loops = cycles(prepared)
    phases, infos = [], []
    for log_ratio in (bpnn_layers.CERTAIN, -bpnn_layers.CERTAIN):
        messages, info = _fixed_point(prepared, log_ratio, iterations, tolerance, deadline)
        phases.append(describe(prepared, messages))
        infos.append(info)
    used = [p for p, info in zip(phases, infos, strict=True) if info.converged] or phases
    up, down = used[0], used[-1]
    chosen = shipped() if network is None else network
    value, values = combine(chosen, pairs(prepared), loops, up, down)
    found = Info(
        next((info.status for info in infos if info.status != "done"), "done"),
        time.monotonic() - began,
        sum(info.iterations for info in infos),
        all(info.converged for info in infos),
        max(info.residual for info in infos),
        1 if _same(up, down) else 2,
        len(loops),
    )
    return Solution(float(value), np.asarray(values), (up, down), found)


@functools.cache
def shipped() -> CycleNetwork:
    """The trained network that comes with the package."""
    return training.load(WEIGHTS, CycleNetwork())


def _fixed_point(
    graph: factor_graph.FactorGraph,
    log_ratio: float,
    iterations: int,
    tolerance: float,
    deadline: limits.Deadline,
) -> tuple[bpnn_layers.Messages, answer.Settled]:
    """Plain BP, which ordered starts of ferromagnets need; damped if it has not converged."""
    messages, done = bpnn_layers.start(graph, log_ratio), 0
    for alpha, most in ((0.0, min(_UNDAMPED, iterations)), (0.5, iterations)):
        operators = bpnn_operators.damping(alpha)
        options: Any = {"iterations": most - done, "tolerance": tolerance, "deadline": deadline}
        messages, info = bpnn_layers.iterate(operators, graph, messages, **options)
        done += info.iterations
        info = info._replace(iterations=done)
        if info.converged or info.status != "done" or done >= iterations:
            break
    return messages, info


def _correlation(table: jax.Array) -> jax.Array:
    """Correlation coefficients [E] of log pair beliefs [E, 2, 2]; 0 where a variable is certain."""
    first, second = rules.log_sum(table, 2), rules.log_sum(table, 1)
    scale = (first.sum(axis=1) + second.sum(axis=1)) / 2
    possible = scale > -jnp.inf
    scale = jnp.where(possible, scale, 0.0)
    equal, unequal = table[:, 0, 0] + table[:, 1, 1], table[:, 0, 1] + table[:, 1, 0]
    return jnp.where(possible, jnp.exp(equal - scale) - jnp.exp(unequal - scale), 0.0)


def _edge_inputs(pairs: np.ndarray, phase: Phase, other: Phase) -> jax.Array:
    """Four numbers of each pair [E, 4] that exchanging states of a variable does not change."""
    correlation, magnetisation = phase.correlations, phase.magnetisations
    ends = magnetisation[pairs]
    apart = (magnetisation - other.magnetisations)[pairs]
    return jnp.stack(
        [
            jnp.abs(correlation),
            jnp.sign(correlation) * ends[:, 0] * ends[:, 1],
            (ends**2).mean(axis=1),
            (apart**2).mean(axis=1) / 4,
        ],
        axis=1,
    )


def _neighbours(values: jax.Array, cycles: np.ndarray, num_edges: int) -> jax.Array:
    """Mean over the four edges of the sums [C, H] over all cycles through them."""
    sums = jnp.zeros((num_edges, values.shape[1]), values.dtype)
    sums = sums.at[jnp.ravel(cycles)].add(jnp.repeat(values, 4, axis=0))
    return sums[cycles].mean(axis=1)


def _same(one: Phase, other: Phase) -> jax.Array:
    return jnp.max(jnp.abs(one.magnetisations - other.magnetisations), initial=0.0) < _SAME
