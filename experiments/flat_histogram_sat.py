"""Densities of states by flat histograms, against exact counts and log Z.

Pigeonhole formulas with the whole histogram known, random k-SAT and formulas of a folder with their
exact number of models, and an Ising lattice with log Z at many temperatures by elimination. Three
ways to move: plain flips (FlatSAT), none rejected, and half of them aimed at violated clauses, as
FocusedFlatSAT does.

    tally run flat_histogram_sat
    tally run flat_histogram_sat --folder FORMULAS --variables 0

Expected: pigeonhole histograms within 0.15 nats at every level, and all others within five standard
errors, except where walkers came down too seldom, which the runs say themselves. Aimed flips come
down more often per step and take longer for one, so which rule wins depends on the formula; without
rejections a step takes ten times as long. The default takes ten minutes on two cores.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tqdm
from matplotlib.figure import Figure

from experiments.harness import plots, promises, registry
from inference import randomness
from inference.exact import bucket_count, elimination, ganak
from inference.mcmc import flat_histogram, flat_histogram_count, flat_histogram_moves
from inference.problems import cnf, dimacs, generators

RULES = {
    "plain": flat_histogram_moves.plain,
    "mixture": flat_histogram_moves.mixture(0.5),
    "rejection-free": flat_histogram_moves.rejection_free,
}
HISTOGRAMS = {  # pigeons and holes: assignments by the number of violated clauses
    (3, 3): (6, 99, 183, 100, 75, 27, 12, 9, 0, 1),
    (4, 3): (0, 60, 486, 736, 775, 618, 375, 480, 144, 180, 148, 0, 63, 18, 0, 12, 0, 0, 1),
}
TOLERANCE = 0.15  # nats, of pigeonhole histograms
ERRORS = 5.0  # standard errors, of the rest; dozens of numbers are compared


@dataclasses.dataclass(frozen=True)
class Config:
    """Which problems, and how long."""

    pigeons: tuple[int, ...] = (3, 4)
    """Pigeons of the pigeonhole formulas, 3 or 4, for 3 holes."""
    variables: tuple[int, ...] = (30, 60, 100)
    """Variables of random 3-SAT formulas; 0 for none."""
    ratio: float = 3.5
    """Their clauses for each variable."""
    side: int = 8
    """Side of the Ising lattice; 0 for none."""
    couplings: int = 20
    """Temperatures, the couplings evenly up to 1."""
    folder: str = ""
    """DIMACS files (.cnf, .cnf.gz), which are counted as a whole, after reduction."""
    exact_timeout: float = 60.0
    """Seconds for the exact count of each formula; those that take longer are left out."""
    rules: tuple[str, ...] = ("plain", "mixture", "rejection-free")
    """How walkers move on formulas; on the lattice they move plainly."""
    final_increment: float = 3e-6
    """ln F that ends the learning; steps are about levels over it, and as many count."""


@registry.experiment(
    presets={
        "smoke": Config((3,), (8,), 2.5, side=3, rules=("plain",), final_increment=4e-5),
        "default": Config(),
        "paper": Config(variables=(50, 100, 150), side=16, final_increment=3e-7),
    },
    paper="Ermon, Gomes, Sabharwal and Selman, Accelerated adaptive Markov chain for partition "
    "function computation (NIPS 2011)",
)
def run(config: Config, key: Any) -> registry.Result:
    """One row per problem and rule; on the lattice one per temperature. Values are nats."""
    formulas = [*_generated(config, key), *_read(config)]
    pairs = list(itertools.product(formulas, config.rules))
    rows = [
        _compare(config, key, rule, *problem)
        for problem, rule in tqdm.tqdm(pairs, "formulas", leave=False, disable=None)
    ]
    rows += _lattice(config, key) if config.side else []
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    trusted = ~columns["doubted"]
    errors = np.abs(columns["error"][trusted])
    scalars = {
        "rows": len(rows),
        "doubted": int(columns["doubted"].sum()),
        "worst_error": float(errors.max(initial=0.0)),
    }
    return registry.Result(columns, scalars, units={"worst_error": "nats"})


def check(result: registry.Result) -> None:
    """What is not in doubt is as close as stated, and pigeonholes never are in doubt."""
    columns = result.columns
    whole, doubted = columns["kind"] == "pigeonhole", columns["doubted"]
    error = np.abs(columns["error"])
    far = int((doubted | (error > TOLERANCE))[whole].sum())
    expected = f"expected pigeonhole histograms within {TOLERANCE} nats"
    promises.expect(not far, f"{expected}, given {far} beyond or in doubt")
    beyond = error > ERRORS * columns["standard_error"] + 1e-9
    far = int(beyond[~whole & ~doubted].sum())
    promises.expect(not far, f"expected values within {ERRORS:g} standard errors, given {far} not")


def plot(result: registry.Result) -> Figure:
    """Errors with what was stated, what a round trip takes, and the lattice's log Z."""
    columns = result.columns
    figure, [errors, trips, lattice] = plots.new_figure(
        ["standard error [nats]", "variables", "coupling"],
        ["error [nats]", "time per round trip [s]", "error of ln Z [nats]"],
        panels=3,
        title="Densities of states by flat histograms",
    )
    formulas = columns["kind"] != "lattice"
    for number, rule in enumerate(RULES):
        mine = formulas & (columns["rule"] == rule)
        for doubted, marker in ((False, {}), (True, {"markerfacecolor": "none"})):
            here = mine & (columns["doubted"] == doubted) & np.isfinite(columns["standard_error"])
            style: dict[str, Any] = plots.style(number) | {"linestyle": "none"} | marker
            label = f"{rule}, in doubt" if doubted else rule
            x, y = columns["standard_error"][here], np.abs(columns["error"][here])
            errors.plot(x, np.maximum(y, 1e-4), label=label, **style)
            seconds = columns["seconds_walk"][here] / np.maximum(columns["round_trips"][here], 1)
            trips.plot(columns["variables"][here], seconds, label=label, **style)
    stated = np.array([1e-3, 1.0])
    errors.plot(stated, stated, label="as stated", color="grey", linestyle="--", marker="")
    for axes in (errors, trips):
        axes.set_yscale("log")
    errors.set_xscale("log")
    plots.integer_ticks(trips.xaxis)
    _plot_lattice(lattice, columns)
    return plots.finish(figure)


def _plot_lattice(axes: plots.Axes, columns: Any) -> None:
    mine = columns["kind"] == "lattice"
    coupling, error = columns["coupling"][mine], columns["error"][mine]
    width = 2.0 * columns["standard_error"][mine]
    style: dict[str, Any] = plots.style(0) | {"linestyle": "none", "markersize": 4}
    axes.errorbar(coupling, error, width, label="error, two standard errors", **style)
    axes.axhline(0.0, color="grey", linewidth=0.8)


def pigeonhole(pigeons: int, holes: int) -> cnf.CNF:
    """Every pigeon in a hole, no two in one: variable ``pigeon * holes + hole + 1``."""
    place = 1 + np.arange(pigeons * holes).reshape(pigeons, holes)
    clauses = place.tolist()
    for hole in place.T.tolist():
        clauses += [[-a, -b] for a, b in itertools.combinations(hole, 2)]
    return cnf.from_clauses(clauses)


def _generated(config: Config, key: Any) -> Iterator[tuple[str, str, cnf.CNF, Any]]:
    """Kind, name, formula and what is known: a histogram, or ln of the number of models."""
    for pigeons in config.pigeons:
        if (pigeons, 3) not in HISTOGRAMS:
            raise ValueError(f"expected 3 or 4 pigeons, given {pigeons}")
        name = f"pigeonhole {pigeons}, 3"
        yield "pigeonhole", name, pigeonhole(pigeons, 3), HISTOGRAMS[pigeons, 3]
    for n in filter(None, config.variables):
        formula = generators.random_ksat(key, n, round(config.ratio * n))
        found, info = ganak.count(formula, timeout=config.exact_timeout)
        if info.status == "done":
            yield "random", f"random {n}", formula, found.log_value


def _read(config: Config) -> Iterator[tuple[str, str, cnf.CNF, float]]:
    paths = sorted(Path(config.folder).glob("*.cnf*")) if config.folder else []
    for path in paths:
        formula = dimacs.read(path, ignore_weights=True)
        formula = dataclasses.replace(formula, projection=None)
        try:
            found, info = bucket_count.count(formula, timeout=config.exact_timeout)
        except elimination.TooWide:
            continue
        if info.status == "done":
            yield "file", path.name, formula, found.log_value


def _compare(
    config: Config, key: Any, rule: str, kind: str, name: str, formula: cnf.CNF, known: Any
) -> dict[str, Any]:
    """How far ln n(0) is off; of a pigeonhole formula the level that is furthest off."""
    seed = int(randomness.generator(key, "flat_histogram_sat", name, rule).integers(2**31))
    options: dict[str, Any] = {"rule": RULES[rule], "final_increment": config.final_increment}
    if kind == "file":
        found, info = flat_histogram_count.count(formula, seed=seed, **options)
        error, stated = found.log_value - known, info.standard_error
    else:
        density, info = flat_histogram.density_of_states(formula, seed=seed, **options)
        if kind == "pigeonhole":
            error, stated = _furthest(density, known)
        else:
            error, stated = density.count().log_value - known, info.standard_error
    return _row(kind, name, formula.num_variables, rule, error, stated, info)


def _furthest(density: Any, histogram: tuple[int, ...]) -> tuple[float, float]:
    """The largest error of a level and its standard error; infinite where a level is missing."""
    levels = np.flatnonzero(histogram)
    if not np.array_equal(levels, np.rint(density.energies)):
        return math.inf, math.inf
    errors = density.log_count - np.log(np.array(histogram)[levels])
    worst = int(np.argmax(np.abs(errors)))
    return float(errors[worst]), float(density.standard_error[worst])


def _lattice(config: Config, key: Any) -> list[dict[str, Any]]:
    """One run at coupling 1 has log Z at all others."""
    seed = int(randomness.generator(key, "flat_histogram_sat", "lattice").integers(2**31))
    graph = generators.ising_grid(config.side, config.side, 1.0)
    density, info = flat_histogram.density_of_scores(
        graph, seed=seed, final_increment=config.final_increment
    )
    rows = []
    for coupling in np.linspace(0.0, 1.0, config.couplings + 1)[1:].tolist():
        model = generators.ising_grid(config.side, config.side, coupling)
        known = elimination.log_partition(model)[0].log_value
        error = density.log_partition(coupling) - known
        stated = density.log_partition_error(coupling)
        size = config.side**2
        rows.append(_row("lattice", "lattice", size, "plain", error, stated, info, coupling))
    return rows


def _row(
    kind: str,
    name: str,
    variables: int,
    rule: str,
    error: float,
    stated: float,
    info: Any,
    coupling: float = math.nan,
) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": name,
        "variables": variables,
        "rule": rule,
        "coupling": coupling,
        "error": error,
        "standard_error": stated,
        "doubted": bool(info.message),
        "round_trips": info.round_trips,
        "steps": info.adaptive_steps + info.fixed_steps,
        "seconds_walk": info.seconds,
    }
