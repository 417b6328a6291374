"""How fast BPNN-D converges and how good its bounds are, against BP.

Attractive Ising grids of the published kind. Each run starts from uniform messages (or all-up,
where it says so) and ends when no log ratio changes by more than the tolerance. A converged Bethe
value is a lower bound on log Z for these models, whichever fixed point it belongs to; one that is
not converged is no bound and is marked so.

    tally run bpnn_convergence

Expected: no converged value above log Z. On the default BPNN-D finds an ordered phase from uniform
messages, where BP without damping often does not converge and damped BP stops at domain walls: an
RMSE near 1 nat instead of 5 or more, in three quarters of the median sweeps of plain BP. That comes
from the one-sided form of H more than from training, and BP from all-up messages finds the same
phase in fewer sweeps still. On grids much smaller than 10 x 10 damped BP does as well. Half a
minute.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from experiments.harness import plots, promises, registry
from experiments.training import ising_grids
from inference.message_passing.learned import bpnn_layers, bpnn_operators
from inference.problems import factor_graph

SLACK = 1e-4  # nats that a value may be off where messages still change by the tolerance


@dataclasses.dataclass(frozen=True)
class Config:
    """Which grids, and when a run ends."""

    side: int = 10
    """Side of the grids."""
    graphs: int = 50
    """How many grids."""
    field_max: float = 0.1
    """Limit of the fields."""
    coupling_max: float = 5.0
    """Limit of the couplings."""
    sweeps: int = 1000
    """At most so many layers, or sweeps."""
    tolerance: float = 1e-6
    """Converged when no log ratio changes by more, in nats."""


@registry.experiment(
    presets={
        "smoke": Config(side=4, graphs=4, sweeps=100),
        "default": Config(),
        "paper": Config(graphs=500),
    },
    paper="Kuck et al., Belief propagation neural networks, NeurIPS 2020",
)
def run(config: Config, key: Any) -> registry.Result:
    """One row per method and grid; errors in nats."""
    grids = ising_grids.draw(key, config.side, config.graphs, config.field_max, config.coupling_max)
    exact, solve = ising_grids.log_partitions(grids), _solver(ising_grids.stacked(grids), config)
    one_sided = bpnn_operators.one_sided(bpnn_operators.Operator(0.9))
    methods = {
        "BPNN-D": (bpnn_operators.shipped(), 0.0),
        "BPNN-D, untrained": ((one_sided, one_sided), 0.0),
        "BP": (bpnn_operators.damping(0.0), 0.0),
        "BP, damping 0.05": (bpnn_operators.damping(0.05), 0.0),
        "BP, damping 0.5": (bpnn_operators.damping(0.5), 0.0),
        "BP, all-up": (bpnn_operators.damping(0.0), bpnn_layers.CERTAIN),
    }
    parts: list[dict[str, Any]] = []
    scalars: dict[str, Any] = {}
    for name, (operators, log_ratio) in methods.items():
        value, sweeps, residual = solve(operators, log_ratio)
        converged, error = residual < config.tolerance, value - exact
        mine = {"method": np.full(config.graphs, name), "graph": np.arange(config.graphs)}
        parts.append(mine | {"sweeps": sweeps, "converged": converged, "error": error})
        scalars |= _summary(name, sweeps, converged, error)
    scalars["speed_against_bp"] = scalars["mean_sweeps: BP"] / scalars["mean_sweeps: BPNN-D"]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    units = {name: "nats" for name in scalars if name.startswith("rmse")}
    units |= {name: "sweeps" for name in scalars if "_sweeps: " in name}
    return registry.Result(columns, scalars, units=units)


def check(result: registry.Result) -> None:
    """No converged Bethe value lies above log Z, which attractive models exclude."""
    columns = result.columns
    above = columns["error"][columns["converged"]].max(initial=0.0)
    what = f"expected converged values at most {SLACK:g} nats above log Z, given {above:.3g}"
    promises.expect(above <= SLACK, what)


def plot(result: registry.Result) -> Figure:
    """Sweeps and errors, each sorted; hollow points did not converge."""
    columns = result.columns
    figure, [sweeps, errors] = plots.new_figure(
        "grids, sorted; hollow where not converged",
        ["sweeps", "Bethe value - log Z [nats]"],
        panels=2,
        title="BPNN-D and BP on attractive Ising grids",
    )
    for number, name in enumerate(dict.fromkeys(columns["method"].tolist())):
        mine = columns["method"] == name
        for axes, column in ((sweeps, "sweeps"), (errors, "error")):
            order = np.argsort(columns[column][mine], kind="stable")
            values, converged = (columns[c][mine][order] for c in (column, "converged"))
            style: dict[str, Any] = plots.style(number) | {"markersize": 3}
            places = 1 + np.arange(len(values))
            axes.plot(places, values, linewidth=1, label=name, **style)
            hollow: dict[str, Any] = {"markerfacecolor": "white", "linestyle": "none"}
            axes.plot(places[~converged], values[~converged], **style, **hollow)
    sweeps.set_yscale("log")
    errors.set_yscale("symlog", linthresh=1e-2)
    plots.integer_ticks(sweeps.xaxis, errors.xaxis)
    return plots.finish(figure)


def _solver(graph: factor_graph.FactorGraph, config: Config) -> Callable:
    """From operators and a start to Bethe values, sweeps and residuals of all grids, in float64."""

    def one(
        graph: factor_graph.FactorGraph, operators: bpnn_operators.Operators, log_ratio: float
    ) -> Any:
        limits: Any = {"iterations": config.sweeps, "tolerance": config.tolerance}
        messages, *rest = bpnn_layers.solve(
            operators, graph, bpnn_layers.start(graph, log_ratio), **limits
        )
        return bpnn_layers.log_bethe(graph, messages), *rest

    solve = jax.jit(jax.vmap(one, in_axes=(ising_grids.AXES, None, None)))

    def solved(operators: bpnn_operators.Operators, log_ratio: float) -> list[np.ndarray]:
        with jax.enable_x64(True):
            return [np.asarray(array) for array in solve(graph, operators, log_ratio)]

    return solved


def _summary(name: str, sweeps: Any, converged: Any, error: Any) -> dict[str, Any]:
    return {
        f"mean_sweeps: {name}": float(sweeps.mean()),
        f"median_sweeps: {name}": float(np.median(sweeps)),
        f"converged: {name}": int(converged.sum()),
        f"rmse: {name}": float(np.sqrt(np.mean(error**2))),
        f"above_log_Z: {name}": int((error[converged] > SLACK).sum()),
    }
