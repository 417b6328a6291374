"""Effective draws a second of discrete samplers, where the mean energy is known.

Ising and Potts lattices below, at and above their critical point, a ferromagnet and a spin glass
on a random graph, 3-SAT with soft clauses and a restricted Boltzmann machine, each sampled by every
kernel that takes it; and the autocorrelation time at the critical point by the side of a torus.

    tally run discrete_samplers

Effective draws are the bulk effective sample size of all chains together; seconds are those of the
run, compilation and warm-up apart. A pass looks at all factors once: a sweep of Gibbs is one, a log
density with its gradient two. Expected: every mean energy is the exact one, up to chance; the time
of Gibbs grows with the side to the power 2.2, that of Swendsen-Wang to 0.2 or 0.3.
"""

import dataclasses
from typing import Any

import jax
import numpy as np
import tqdm
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from experiments.harness import discrete_kernels, discrete_models, plots, promises, registry
from experiments.harness.discrete_kernels import KERNELS, KernelJob

# On tori, with the steps of a draw by the side; Gibbs starts where Swendsen-Wang ended.
ON_TORI = {"Swendsen-Wang": lambda side: 1, "Gibbs": lambda side: max(1, side**2 // 16)}
AGREE = 1.1  # R-hat up to which chains are taken to tell the same


@dataclasses.dataclass(frozen=True)
class Config:
    """Which models, how large, and how long the chains."""

    models: tuple[str, ...] = ()
    """Names of the models; without any, all ten."""
    kernels: tuple[str, ...] = tuple(KERNELS)
    """Names of the kernels on these models."""
    side: int = 10
    """Side of the Ising lattices."""
    potts_side: int = 7
    """Side of the Potts lattices, of three states."""
    nodes: int = 50
    """Nodes of the random graph, of degree three."""
    variables: int = 24
    """Variables of the 3-SAT formula, of 4.2 clauses a variable."""
    units: tuple[int, int] = (20, 12)
    """Visible and hidden units of the Boltzmann machine."""
    chains: int = 64
    """Chains that run side by side, from uniform starts."""
    draws: int = 300
    """Draws of a chain that are kept, after as many that are not."""
    tori: tuple[int, ...] = (8, 12, 16, 24, 32)
    """Sides of the critical tori."""
    torus_draws: int = 200
    """Draws of a chain on a torus."""


@registry.experiment(
    presets={
        "smoke": Config(
            ("Ising, critical",), ("Gibbs", "Langevin"), 4, 2, 4, 4, (2, 2), 32, 100, (4, 8), 100
        ),
        "default": Config(),
        "paper": Config(draws=2000, tori=(16, 24, 32, 48, 64, 96, 128)),
    },
    paper="Zhang, Liu and Liu, A Langevin-like Sampler for Discrete Distributions (2022)",
)
def run(config: Config, key: Any) -> registry.Result:
    """One row per model and kernel; energies in nats, autocorrelation times in steps."""
    rows, last = [], jax.numpy.zeros(0)
    for index, job in enumerate(tqdm.tqdm(_jobs(config, key), "runs", leave=False, disable=None)):
        starts = last if job.side and job.kernel == "Gibbs" else None
        row, last = discrete_kernels.measure(jax.random.fold_in(key, index), job, starts)
        rows.append(row)
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    scalars: dict[str, Any] = {"least_chance": _least_chance(columns)}
    for name in ON_TORI:
        scalars[f"exponent_{name.lower().replace('-', '_')}"] = _exponent(columns, name)
    units = dict.fromkeys(scalars, "powers of the side") | {"least_chance": "probability"}
    return registry.Result(columns, scalars, units=units)


def check(result: registry.Result) -> None:
    """Every mean energy is the exact one up to chance; on tori Gibbs slows down the more."""
    chance = _least_chance(result.columns)
    what = f"expected mean energies as they are exactly, given the worst of chance {chance:.2g}"
    promises.expect(chance >= promises.RARE, what)
    gibbs, clusters = (_exponent(result.columns, name) for name in ("Gibbs", "Swendsen-Wang"))
    what = f"expected an exponent of Gibbs above that of Swendsen-Wang, {clusters:.3g}"
    promises.expect(not gibbs <= clusters, f"{what}, given {gibbs:.3g}")


def plot(result: registry.Result) -> Figure:
    """Autocorrelation times on tori, where there are some; effective draws a second by model."""
    columns = result.columns
    has_tori = bool((columns["side"] > 0).any())
    figure, panels = plots.new_figure(
        ["side of the torus", *["effective draws per second"] * 2][not has_tori :],
        ["autocorrelation time [steps]", "", ""][not has_tori :],
        panels=2 + has_tori,
        title="Discrete samplers (hollow: the chains disagree, so that their draws are a guess)",
    )
    if has_tori:
        _tori(panels[0], columns)
    for axes, quantity in zip(panels[-2:], ("magnetisation", "energy"), strict=True):
        _rates(axes, columns, quantity)
    figure.set_figheight(figure.get_figheight() + 0.8)
    plots.finish(figure)
    if has_tori:
        sides = np.unique(columns["side"][columns["side"] > 0])
        panels[0].set_xticks(sides, sides.astype(str))
    return figure


def _tori(axes: Axes, columns: Any) -> None:
    """Times by the side with the powers that fit them."""
    for name in ON_TORI:
        sides, times = _growth(columns, name)
        style = plots.style(list(KERNELS).index(name))
        axes.plot(sides, times, label=name, **style)
        text = f"side$^{{{_exponent(columns, name):.2f}}}$"
        middle = len(sides) // 2
        place: dict[str, Any] = {"textcoords": "offset points", "xytext": (-6, 6), "ha": "right"}
        axes.annotate(text, (sides[middle], times[middle]), color=style["color"], **place)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title("of the squared magnetisation, critical Ising", fontsize="medium")


def _rates(axes: Axes, columns: Any, quantity: str) -> None:
    """A row of dots for each model, a colour for each kernel."""
    rates, rhat = columns[f"seconds_rate_{quantity}"], columns[f"rhat_{quantity}"]
    shown = (columns["side"] == 0) & np.isfinite(rates)
    names = list(dict.fromkeys(columns["model"][shown].tolist()))
    for number, kernel in enumerate(KERNELS):
        style: dict[str, Any] = plots.style(number) | {"linestyle": "none", "label": kernel}
        for fill, has_agreed in (("full", True), ("none", False)):
            mine = shown & (columns["kernel"] == kernel) & ((rhat <= AGREE) == has_agreed)
            heights = [names.index(name) for name in columns["model"][mine].tolist()]
            if heights:
                axes.plot(rates[mine], heights, fillstyle=fill, **style)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.set_title(f"of the {quantity}", fontsize="medium")


def _jobs(config: Config, key: Any) -> list[KernelJob]:
    found = []
    fields = ("side", "potts_side", "nodes", "variables", "units")
    sizes = {name: getattr(config, name) for name in fields}
    for model in discrete_models.models(key, **sizes):
        if config.models and model.name not in config.models:
            continue
        exact, variables = discrete_models.exact_energy(model.graph), model.graph.num_variables
        for name in config.kernels:
            if discrete_kernels.takes(KERNELS[name], model.graph):
                thin = KERNELS[name].thin(variables)
                found.append(KernelJob(model, name, thin, config.draws, config.chains, exact))
    for side in config.tori:
        for name, thin_of in ON_TORI.items():
            if name in KERNELS:
                job = KernelJob(
                    discrete_models.torus(side),
                    name,
                    thin_of(side),
                    config.torus_draws,
                    config.chains,
                )
                found.append(job._replace(side=side))
    return found


def _growth(columns: Any, kernel: str) -> tuple[np.ndarray, np.ndarray]:
    """Sides of tori and the autocorrelation times of a kernel there."""
    mine = (columns["kernel"] == kernel) & (columns["side"] > 0)
    return columns["side"][mine], columns["autocorrelation"][mine]


def _exponent(columns: Any, kernel: str) -> float:
    """The power of the side by which autocorrelation times grow; NaN for fewer than two sides."""
    sides, times = _growth(columns, kernel)
    return float(np.polyfit(np.log(sides), np.log(times), 1)[0]) if len(sides) > 1 else np.nan


def _least_chance(columns: Any) -> float:
    """The chance of an error as large as the largest, if all mean energies were exact.

    The means of chains follow Student's distribution; the largest of many is allowed for.
    """
    away = np.abs(columns["mean_energy"] - columns["exact_energy"]) / columns["energy_error"]
    chances = 2 * stats.t.sf(away, columns["chains"] - 1)
    known = np.isfinite(columns["exact_energy"])
    return float(min(1.0, max(1, known.sum()) * chances[known].min(initial=1.0)))
