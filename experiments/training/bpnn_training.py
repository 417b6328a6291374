"""Training the BPNN models that ship with the package, on random attractive Ising grids.

    >>> parameters, history = train("bpnn_phases", seed=0, timeout=600.0)
    >>> training.save(bpnn_phases.WEIGHTS, parameters)

All grids are 10 x 10. BPNN-D learns on the published distribution alone (50 grids, field limit 0.1,
coupling limit 5), the others on a mixture of all columns of the experiment ``bpnn_ising``; other
grids of the same kinds choose the best step. Nothing here sees a test grid: those have other seeds.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.training import bpnn_b, graph_network, ising_grids
from inference import randomness, training
from inference.message_passing.learned import bpnn_layers, bpnn_operators, bpnn_phases
from inference.problems import factor_graph

SIDE = 10
_SWEEPS = (5, 30)  # BPNN-D learns on the Bethe values after 5, ..., 29 layers
#: Of the phases of all grids, by one network; pairs and cycles are those of each grid.
combine = jax.vmap(bpnn_phases.combine, in_axes=(None, None, None, 0, 0))

Data = tuple[ising_grids.Grids, np.ndarray]  # grids and their exact log Z
Graphs = tuple[factor_graph.FactorGraph, jax.Array]  # grids as one stacked graph, and log Z
Phases = tuple[bpnn_phases.Phase, bpnn_phases.Phase]


class Objective(NamedTuple):
    """What one model learns: ``loss(parameters, batch)``, from where, by which optimiser.

    ``data(grids, log Z, weigh)`` makes a function from rows to a batch; only training is weighed.
    """

    loss: Callable[[Any, Any], Any]
    start: Any
    optimizer: optax.GradientTransformation
    data: Callable[..., Callable[[np.ndarray], Any]]
    judge: Callable[[Any, Any], Any] | None = None  # chooses the best step; the loss if None


def train(
    name: str,
    *,
    seed: int = 0,
    steps: int | None = None,
    number: int | None = None,
    checkpoint: str | Path | None = None,
    timeout: float | None = None,
) -> tuple[Any, training.History]:
    """Trains one of ``RECIPES``; the parameters go to ``training.save``.

    Args:
      steps: of the optimiser; as many as the shipped weights took by default.
      number: of training grids, likewise.
      checkpoint, timeout: as in ``training.fit``.

    Raises:
      ValueError: the name is unknown.
    """
    if name not in RECIPES:
        raise ValueError(f"expected one of {', '.join(RECIPES)}, given {name!r}")
    recipe = RECIPES[name]
    steps, number = steps or recipe.steps, number or recipe.number
    task = recipe.objective(seed, steps)
    batch_of = task.data(*grids(seed, "training", number, recipe.mixture), True)
    others = task.data(*grids(seed, "validation", recipe.validation, recipe.mixture), False)
    rows = _minibatches(seed, number, min(recipe.batch, number))
    held_out, judge = others(np.arange(recipe.validation)), task.judge or task.loss
    return training.fit(
        task.loss,
        task.start,
        lambda step: batch_of(rows(step)),
        steps,
        optimizer=task.optimizer,
        validate=lambda parameters: judge(parameters, held_out),
        validate_every=max(1, steps // 40),
        checkpoint=checkpoint,
        timeout=timeout,
        progress=name,
    )


def grids(seed: int, part: str, number: int, mixture: bool = True) -> Data:
    """Grids of one part of the data, "training" or "validation", and their exact log Z."""
    key = randomness.generator(seed, "bpnn_training", part).bytes(16)
    if mixture:
        drawn = ising_grids.draw_mixture(key, SIDE, number)
    else:
        drawn = ising_grids.draw(key, SIDE, number, 0.1, 5.0)
    return drawn, ising_grids.log_partitions(drawn)


def phase_inputs(drawn: ising_grids.Grids, values: np.ndarray) -> Phases:
    """The two ``Phase``s of each grid by BP in float64, as float32, Bethe values less log Z."""
    one = functools.partial(phases, iterations=500, tolerance=1e-8)
    reached = jax.jit(jax.vmap(one, in_axes=(ising_grids.AXES,)))
    with jax.enable_x64(True):
        found = jax.tree.map(np.asarray, reached(ising_grids.stacked(drawn)))
    shifted = [phase._replace(log_bethe=phase.log_bethe - values) for phase in found]
    up, down = jax.tree.map(lambda a: a.astype(np.float32), shifted)
    return up, down


def phases(graph: factor_graph.FactorGraph, *, iterations: int, tolerance: float) -> Phases:
    """Both ordered fixed points of plain BP for an attractive graph."""
    operators = bpnn_operators.damping(0.0)

    def reached(log_ratio: float) -> bpnn_phases.Phase:
        start = bpnn_layers.start(graph, log_ratio)
        messages, *_ = bpnn_layers.solve(
            operators, graph, start, iterations=iterations, tolerance=tolerance
        )
        return bpnn_phases.describe(graph, messages)

    return reached(bpnn_layers.CERTAIN), reached(-bpnn_layers.CERTAIN)


def _learn_d(seed: int, steps: int) -> Objective:
    """Bethe values and residuals of the layers 5 to 29, all grids in every step.

    Errors count as squares up to 10 nats and linearly beyond. The logarithm of the largest change
    of a message rewards fast convergence. H starts as one-sided: what favours state 0 is damped, so
    that messages agree on one ordered phase. The step with the fewest sweeps to convergence, plus
    the mean square of the error, is the best: low losses may hide a few grids that never settle.
    """

    def loss(operators: bpnn_operators.Operators, batch: Graphs) -> jax.Array:
        graph, values = batch
        read = jax.vmap(_layers, in_axes=(None, ising_grids.AXES))
        bethe, residuals = read(operators, graph)
        errors = optax.huber_loss(bethe, values[:, None], delta=10.0)
        return jnp.mean(errors) + jnp.mean(residuals)

    def judge(operators: bpnn_operators.Operators, batch: Graphs) -> jax.Array:
        graph, values = batch

        def one(graph: factor_graph.FactorGraph) -> tuple[jax.Array, jax.Array]:
            start = bpnn_layers.start(graph)
            found, sweeps, _ = bpnn_layers.solve(
                operators, graph, start, iterations=300, tolerance=1e-4
            )
            return sweeps, bpnn_layers.log_bethe(graph, found)

        sweeps, bethe = jax.vmap(one, in_axes=(ising_grids.AXES,))(graph)
        return jnp.mean(sweeps + (bethe - values) ** 2)

    keys = jax.random.split(jax.random.key(seed))
    start = tuple(bpnn_operators.one_sided(bpnn_operators.Operator(0.9, key, 0.03)) for key in keys)
    return Objective(loss, start, _adam(0.01, steps), _graphs, judge)


def _layers(
    operators: bpnn_operators.Operators, graph: factor_graph.FactorGraph
) -> tuple[jax.Array, jax.Array]:
    """Bethe values and log largest changes of messages after each of the layers that count."""

    def layer(messages: bpnn_layers.Messages, _: None) -> tuple[bpnn_layers.Messages, Any]:
        after = bpnn_layers.step(operators, graph, messages)
        change = after.to_variables[0] - messages.to_variables[0]
        largest = jnp.max(jnp.abs(change[..., 1] - change[..., 0]))
        return after, (bpnn_layers.log_bethe(graph, after), jnp.log(largest + 1e-5))

    start = bpnn_layers.start(graph)
    _, read = jax.lax.scan(jax.checkpoint(layer), start, None, length=_SWEEPS[1] - 1)
    return jax.tree.map(lambda a: a[_SWEEPS[0] - 1 :], read)


def _learn_b(seed: int, steps: int) -> Objective:
    """Operators start as those of BPNN-D.

    The readout has a rate of its own: it multiplies energies of up to 10^4 nats.
    """
    rates = [optax.cosine_decay_schedule(rate, steps) for rate in (1e-3, 1e-5)]
    optimizer = optax.multi_transform(
        {"operators": optax.adam(rates[0]), "readout": optax.adam(rates[1])},
        ("operators", "readout"),
    )
    loss = _huber(lambda parameters, graph: bpnn_b.read(parameters[0], parameters[1], graph))
    return Objective(loss, bpnn_b.begin(), optimizer, _graphs)


def _learn_gnn(seed: int, steps: int) -> Objective:
    start = graph_network.GraphNetwork(jax.random.key(seed))
    loss = _huber(lambda network, graph: network(graph))
    return Objective(loss, start, _adam(0.01, steps), _graphs)


def _learn_phases(seed: int, steps: int) -> Objective:
    """The fixed points do not depend on the weights: they are found once, then only read."""
    structure = ising_grids.stacked(ising_grids.draw(0, SIDE, 1, 1.0, 1.0))
    pairs, cycles = bpnn_phases.pairs(structure), bpnn_phases.cycles(structure)

    def errors(network: bpnn_phases.CycleNetwork, phases: Phases) -> jax.Array:
        return combine(network, pairs, cycles, *phases)[0]

    def loss(network: bpnn_phases.CycleNetwork, batch: tuple[Phases, np.ndarray]) -> jax.Array:
        phases, weights = batch
        return jnp.mean(weights * errors(network, phases) ** 2)

    def data(drawn: ising_grids.Grids, values: np.ndarray, weigh: bool) -> Callable:
        phases, weights = phase_inputs(drawn, values), np.ones(len(values), np.float32)
        if weigh:  # easy grids count too, by their error relative to that of the loop series
            before = np.asarray(jax.jit(errors)(bpnn_phases.CycleNetwork(), phases))
            weights += (3e-4 / (before**2 + 1e-5)).astype(np.float32)
        return lambda rows: jax.tree.map(lambda a: a[rows], (phases, weights))

    optimizer = optax.adam(optax.cosine_decay_schedule(5e-3, steps))
    return Objective(loss, bpnn_phases.CycleNetwork(key=jax.random.key(seed)), optimizer, data)


class Recipe(NamedTuple):
    """Sizes of the data and of the fit, as the shipped weights were made."""

    objective: Callable[[int, int], Objective]
    steps: int
    number: int
    batch: int
    validation: int
    mixture: bool = True


RECIPES = {
    "bpnn_d": Recipe(_learn_d, 150, 50, 50, 100, mixture=False),
    "bpnn_b": Recipe(_learn_b, 400, 1000, 50, 100),
    "bpnn_phases": Recipe(_learn_phases, 4000, 2000, 100, 400),
    "gnn": Recipe(_learn_gnn, 4000, 1000, 50, 100),
}


def _huber(
    predict: Callable[[Any, factor_graph.FactorGraph], jax.Array],
) -> Callable[[Any, Graphs], jax.Array]:
    """Squared errors of log Z up to 10 nats, linear beyond."""

    def loss(parameters: Any, batch: Graphs) -> jax.Array:
        graph, values = batch
        read = jax.vmap(predict, in_axes=(None, ising_grids.AXES))
        return jnp.mean(optax.huber_loss(read(parameters, graph), values, delta=10.0))

    return loss


def _adam(rate: float, steps: int) -> optax.GradientTransformation:
    schedule = optax.cosine_decay_schedule(rate, steps)
    return optax.chain(optax.clip_by_global_norm(50.0), optax.adam(schedule))


def _graphs(drawn: ising_grids.Grids, values: np.ndarray, weigh: bool) -> Callable:
    """Batches of stacked graphs with their log Z, in float32; not weighed."""

    def batch(rows: np.ndarray) -> Graphs:
        graph = ising_grids.stacked(ising_grids.Grids(*(a[rows] for a in drawn)))
        return jax.tree.map(_to_float32, (graph, values[rows]))

    return batch


def _to_float32(array: Any) -> Any:
    return array.astype(np.float32) if np.asarray(array).dtype == np.float64 else array


def _minibatches(seed: int, number: int, size: int) -> Callable[[int], np.ndarray]:
    """Rows of the data for a step; a function of its number, so that a fit can resume."""

    def rows(step: int) -> np.ndarray:
        rng = randomness.generator(seed, "bpnn_training", "rows", step)
        return rng.choice(number, size, replace=False)

    return rows
