"""log Z of attractive Ising grids by learned and by plain message passing.

The nine columns of the BPNN paper: limits 0.1, 0.2 and 1 of the fields, 5, 10 and 50 of the
couplings. Learned: BPNN-D and BPNN-B as published, a graph network without belief propagation, and
``bpnn_phases``, which corrects the two ordered fixed points. All were trained on other grids of
10 x 10 (``experiments.training.bpnn_training``). Plain: BP from uniform messages as published (10
and 1000 sweeps) and damped, the better ordered start, the sum of the two ordered phases, and
that with the first loop correction, from which ``bpnn_phases`` starts to learn. On the first few
grids of a column also mean field, tree-reweighted and generalised BP, which take longer.

    tally run bpnn_ising

Expected: no value of mean field above log Z and none of tree-reweighted BP below. On grids of the
side that was trained on, ``bpnn_phases`` has the smallest error of all in batch in most of the nine
columns, at the cost of the two phases; on much smaller ones the loop correction alone is better.
The default takes five minutes, most of them for generalised BP.
"""

import dataclasses
import functools
import itertools
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from matplotlib.figure import Figure

from experiments.harness import plots, promises, registry
from experiments.training import bpnn_b, bpnn_training, graph_network, ising_grids
from inference import randomness
from inference.bounds import mean_field, trw
from inference.message_passing import gbp
from inference.message_passing.learned import bpnn_layers, bpnn_operators, bpnn_phases
from inference.problems import factor_graph

LEARNED = ("BPNN-D", "BPNN-B", "GNN", "BPNN phases")
SLOW = ("mean field", "TRW", "GBP")
SLACK = 1e-6  # nats; the exact values are in the hundreds or thousands

Method = Callable[[factor_graph.FactorGraph], Any]  # stacked graph -> log Z [B] or fewer


@dataclasses.dataclass(frozen=True)
class Config:
    """Which grids: a column for every side, limit of the fields and limit of the couplings."""

    sides: tuple[int, ...] = (10,)
    """Sides of the grids."""
    field_maxima: tuple[float, ...] = (0.1, 0.2, 1.0)
    """Limits of the fields."""
    coupling_maxima: tuple[float, ...] = (5.0, 10.0, 50.0)
    """Limits of the couplings."""
    graphs: int = 50
    """Grids in a column."""
    slow_graphs: int = 1
    """Methods without a batch see so many of them, and are left out at 0."""
    sweeps: int = 1000
    """At most so many sweeps."""
    tolerance: float = 1e-6
    """Converged when no log ratio changes by more, in nats."""


@registry.experiment(
    presets={
        "smoke": Config((4,), (0.1,), (5.0,), graphs=3, slow_graphs=1, sweeps=100),
        "default": Config(),
        "paper": Config(sides=(10, 14), slow_graphs=3),
    },
    paper="Kuck et al., Belief propagation neural networks, NeurIPS 2020",
)
def run(config: Config, key: Any) -> registry.Result:
    """One row per side, column and method: RMSE of log Z with its standard error, in nats."""
    rows: list[dict[str, Any]] = []
    kinds = list(itertools.product(config.sides, config.field_maxima, config.coupling_maxima))
    methods: dict[int, dict[str, Method]] = {}
    for side, f, c in tqdm.tqdm(kinds, "columns", leave=False, disable=None):
        own = randomness.generator(key, "bpnn_ising", side, str(f), str(c)).bytes(16)
        grids = ising_grids.draw(own, side, config.graphs, f, c)
        graph, exact = ising_grids.stacked(grids), ising_grids.log_partitions(grids)
        if side not in methods:
            methods[side] = _batched(graph, config)
            for estimate in methods[side].values():
                _timed(estimate, graph)  # compiled before the clock starts
            methods[side] |= _single(config) if config.slow_graphs else {}
        for name, estimate in methods[side].items():
            values, seconds = _timed(estimate, graph)
            row = {"side": side, "field_max": f, "coupling_max": c, "method": name}
            rows.append(row | _errors(values - exact[: len(values)]) | {"seconds_graph": seconds})
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return registry.Result(columns, _wins(rows))


def check(result: registry.Result) -> None:
    """Mean field never exceeds log Z, TRW never falls short; BPNN phases wins where trained."""
    columns = result.columns
    for method, name, sign in (("mean field", "most_error", 1), ("TRW", "least_error", -1)):
        wrong = (sign * columns[name])[columns["method"] == method].max(initial=-math.inf)
        what = f"expected every value of {method} on its side of log Z"
        promises.expect(wrong <= SLACK, f"{what}, given one {wrong:.3g} nats beyond")
    side, phases = bpnn_training.SIDE, columns["method"] == "BPNN phases"
    trained = phases & (columns["side"] == side) & (columns["graphs"] >= 50)
    if trained.sum() >= len(ising_grids.COLUMNS):
        won = result.scalars[f"columns_won_{side}"]
        what = f"expected BPNN phases to win most of {trained.sum()} columns, given {won}"
        promises.expect(won > trained.sum() / 2, what)


def plot(result: registry.Result) -> Figure:
    """RMSE by column for each side; median RMSE against seconds; less than 1e-6 is drawn there."""
    columns = result.columns
    sides = np.unique(columns["side"]).tolist()
    kinds = list(dict.fromkeys(zip(columns["field_max"], columns["coupling_max"], strict=True)))
    figure, axes = plots.new_figure(
        ["limits of field and coupling"] * len(sides) + ["time for a grid [s]"],
        [f"RMSE of log Z, side {side} [nats]" for side in sides] + ["median RMSE [nats]"],
        panels=len(sides) + 1,
        title="Learned and plain message passing on attractive Ising grids",
    )
    for number, name in enumerate(dict.fromkeys(columns["method"].tolist())):
        style: dict[str, Any] = plots.style(number)
        style |= {"linestyle": "-" if name in LEARNED else ":", "alpha": 0.8}
        for panel, side in zip(axes, sides, strict=False):
            mine = (columns["method"] == name) & (columns["side"] == side)
            panel.plot(np.maximum(columns["rmse"][mine], 1e-6), label=name, **style)
        mine = columns["method"] == name
        point = [np.median(columns[column][mine]) for column in ("seconds_graph", "rmse")]
        axes[-1].plot([point[0]], [max(point[1], 1e-6)], label=name, **style)
    for panel in axes[:-1]:
        panel.set_xticks(range(len(kinds)), [f"{f:g}, {c:g}" for f, c in kinds], rotation=45)
    axes[-1].set_xscale("log")
    for panel in axes:
        panel.set_yscale("log")
    return plots.finish(figure)


def _batched(graph: factor_graph.FactorGraph, config: Config) -> dict[str, Method]:
    """The methods that take all grids of a column at once; one trace serves several of them."""
    options: Any = {"iterations": config.sweeps, "tolerance": config.tolerance}
    phases = _batch(functools.partial(bpnn_training.phases, **options))
    bethe, combine = _bethe(config), jax.jit(bpnn_training.combine)
    pairs, cycles = bpnn_phases.pairs(graph), bpnn_phases.cycles(graph)
    loops = bpnn_phases.CycleNetwork()  # not trained: the loop series
    bp, damped = bpnn_operators.damping(0.0), bpnn_operators.damping(0.5)
    operators, readout = bpnn_b.shipped()

    def both(network: bpnn_phases.CycleNetwork, cycles: np.ndarray) -> Method:
        return lambda graph: combine(network, pairs, cycles, *phases(graph))[0]

    return {
        "BPNN-D": lambda graph: bethe(graph, bpnn_operators.shipped(), config.sweeps),
        "BPNN-B": _batch(lambda one: bpnn_b.read(operators, readout, one)),
        "GNN": _batch(lambda one: graph_network.shipped()(one)),
        "BPNN phases": both(bpnn_phases.shipped(), cycles),
        "BP, 10 sweeps": lambda graph: bethe(graph, bp, 10),
        "BP, 1000 sweeps": lambda graph: bethe(graph, bp, config.sweeps),
        "BP, damping 0.5": lambda graph: bethe(graph, damped, config.sweeps),
        "ordered start": lambda graph: jnp.maximum(*(p.log_bethe for p in phases(graph))),
        "two phases": both(loops, cycles[:0]),
        "two phases, loops": both(loops, cycles),
    }


def _batch(function: Callable, *others: None) -> Callable:
    """A function of one grid, and of what all share, for stacked grids."""
    return jax.jit(jax.vmap(function, in_axes=(ising_grids.AXES, *others)))


def _bethe(config: Config) -> Callable:
    """From stacked grids, operators and a number of sweeps to Bethe values from equal messages."""

    def bethe(
        graph: factor_graph.FactorGraph, operators: bpnn_operators.Operators, iterations: int
    ) -> jax.Array:
        options: Any = {"iterations": iterations, "tolerance": config.tolerance}
        found, *_ = bpnn_layers.solve(operators, graph, bpnn_layers.start(graph), **options)
        return bpnn_layers.log_bethe(graph, found)

    return _batch(bethe, None, None)


def _single(config: Config) -> dict[str, Method]:
    """The methods that take one grid after another, on the first few."""
    functions = {
        "mean field": lambda graph: mean_field.log_partition(graph, i_bound=0)[0].log_lower,
        "TRW": lambda graph: trw.log_partition(graph)[0].log_upper,
        "GBP": lambda graph: gbp.log_partition(graph)[0].log_value,
    }

    def first(function: Callable, graph: factor_graph.FactorGraph) -> np.ndarray:
        some = range(min(config.slow_graphs, len(graph.log_unary)))
        return np.array([function(ising_grids.one_of(graph, i)) for i in some])

    return {name: functools.partial(first, function) for name, function in functions.items()}


def _timed(estimate: Method, graph: factor_graph.FactorGraph) -> tuple[np.ndarray, float]:
    """log Z in float64, and seconds for one grid."""
    start = time.perf_counter()
    with jax.enable_x64(True):
        values = np.asarray(estimate(graph))
    return values, (time.perf_counter() - start) / len(values)


def _errors(errors: np.ndarray) -> dict[str, Any]:
    """RMSE with its standard error (of the mean square, carried over), and the sign of errors."""
    squares = errors**2
    rmse = math.sqrt(squares.mean())
    deviation = squares.std(ddof=1) if len(errors) > 1 else math.nan
    return {
        "rmse": rmse,
        "rmse_error": deviation / (2 * rmse * math.sqrt(len(errors))) if rmse > 0 else 0.0,
        "mean_error": float(errors.mean()),
        "least_error": float(errors.min()),
        "most_error": float(errors.max()),
        "graphs": len(errors),
    }


def _wins(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """In how many columns ``bpnn_phases`` beats all plain methods in batch, and by how much.

    The ratios are geometric means over columns of its RMSE to that of the two phases, without and
    with loops: what learning adds.
    """
    scalars: dict[str, Any] = {}
    table = {(r["side"], r["field_max"], r["coupling_max"], r["method"]): r["rmse"] for r in rows}
    plain = [r["method"] for r in rows if r["method"] not in (*LEARNED, *SLOW)]
    for side in dict.fromkeys(r["side"] for r in rows):
        kinds = list(dict.fromkeys(at[:3] for at in table if at[0] == side))
        mine = [table[*kind, "BPNN phases"] for kind in kinds]
        best = [min(table[*kind, name] for name in dict.fromkeys(plain)) for kind in kinds]
        scalars[f"columns_won_{side}"] = int(np.sum(np.array(mine) < np.array(best)))
        for name in ("two phases", "two phases, loops"):
            other = [table[*kind, name] for kind in kinds]
            ratio = np.exp(np.mean(np.log(np.array(mine) / np.array(other))))
            scalars[f"ratio_to_{name}_{side}"] = float(ratio)
    return scalars
