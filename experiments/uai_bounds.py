"""Certain intervals of log Z where elimination is not allowed, by method.

For each model: the trivial interval (the best assignment found, and every factor at its largest),
mini-buckets with several i-bounds, tree-reweighted forests above and mean field below, each with a
time limit and with tables far smaller than an exact answer would need.

    tally run uai_bounds --folder DIR

DIR holds UAI models and ``answers.csv`` (columns file, evidence, exact_log10_partition); models
without a value are left out. Without it spin glasses and random factors are drawn, small enough to
know log Z.

Expected: no bound on the wrong side, and intervals that narrow with the i-bound. Of 115 models of
the UAI competitions, at i-bound 10 and 6 s a method, 50 are solved; for the others the median width
is 6 nats, 2 % of the trivial interval's. The default takes a minute or two, such a folder and one
i-bound half an hour.
"""

import csv
import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tqdm
from matplotlib.figure import Figure

from experiments.harness import plots, promises, registry
from inference import estimate, randomness
from inference.bounds import mean_field, mini_bucket, trw
from inference.exact import elimination
from inference.problems import factor_graph, generators, trivial, uai


@dataclasses.dataclass(frozen=True)
class Config:
    """Which models, and how much each method may take."""

    folder: str = ""
    """UAI models with answers.csv; without it, models are drawn."""
    i_bounds: tuple[int, ...] = (2, 4, 6, 8, 10)
    """Tables of mini-buckets have at most 2^(i + 1) entries; with the last, those of mean field."""
    seconds: float = 10.0
    """Time limit of each method and i-bound."""
    iterations: int = 200
    """Iterations of each fit."""
    sides: tuple[int, ...] = (10, 14)
    """Sides of the drawn spin glasses; random factors have four variables for each."""
    most: int = 0
    """At most so many models of the folder, 0 for all."""


@registry.experiment(
    presets={
        "smoke": Config(i_bounds=(1, 2), seconds=1e6, iterations=5, sides=(4,)),
        "default": Config(i_bounds=(2, 5, 8)),
        "paper": Config(sides=(10, 14, 18), seconds=30.0),
    },
)
def run(config: Config, key: Any) -> registry.Result:
    """One row per model; bounds in nats, infinite where a method gives none."""
    rows = []
    for name, graph, exact, error in tqdm.tqdm(
        list(_models(config, key)), "models", leave=False, disable=None
    ):
        rows.append(
            {"model": name, "exact": exact, "exact_error": error} | _bounds(graph, config, key)
        )
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    lower = [c for c in columns if c.startswith("lower")]
    upper = [c for c in columns if c.startswith("upper")]
    exact, error = columns["exact"], columns["exact_error"]
    width = columns["upper"] - columns["lower"]
    trivial_width = columns["upper_trivial"] - columns["lower_trivial"]
    finite = np.isfinite(width)
    scalars: dict[str, Any] = {"models": len(rows)}
    scalars["violations"] = sum(int((columns[c] > exact + error).sum()) for c in lower)
    scalars["violations"] += sum(int((columns[c] < exact - error).sum()) for c in upper)
    scalars["finite_fraction"] = float(finite.mean())
    scalars["median_width"] = float(np.median(width))
    scalars["median_trivial_width"] = float(np.median(trivial_width))
    scalars["median_ratio"] = float(np.median(width / np.maximum(trivial_width, 1e-9)))
    units = {name: "nats" for name in scalars if name.endswith("_width")}
    return registry.Result(columns, scalars, units=units)


def check(result: registry.Result) -> None:
    """Every side is certain: none lies beyond the exact log Z, nor a lower side above an upper."""
    columns, wrong = result.columns, result.scalars["violations"]
    promises.expect(not wrong, f"expected no bound on the wrong side of log Z, given {wrong}")
    crossed = int(np.sum(columns["lower"] > columns["upper"]))
    promises.expect(not crossed, f"expected no lower side above an upper one, given {crossed}")


def plot(result: registry.Result) -> Figure:
    """Widths by method, sorted; mini-buckets' width against the i-bound."""
    columns = result.columns
    figure, [sorted_axes, bound_axes] = plots.new_figure(
        ["models, sorted", "i-bound"],
        ["width of the interval [nats]", "distance from log Z [nats]"],
        panels=2,
        title="Certain intervals of log Z",
    )
    i_bounds = sorted(
        int(c.removeprefix("upper_mini_bucket_")) for c in columns if "upper_mini" in c
    )
    best, widest = columns["lower"], f"upper_mini_bucket_{i_bounds[-1]}"
    widths = {
        "trivial": columns["upper_trivial"] - columns["lower_trivial"],
        "trees above": columns["upper_trw"] - best,
        f"mini-buckets above, i = {i_bounds[-1]}": columns[widest] - best,
        "best of all": columns["upper"] - best,
    }
    for number, (label, width) in enumerate(widths.items()):
        drawn = np.sort(np.maximum(width, 1e-9))
        style: dict[str, Any] = plots.style(number) | {"label": label, "markersize": 4}
        if label == "best of all":  # often one of the others: they show through
            style |= {"linestyle": ":", "markerfacecolor": "none", "markersize": 8}
        sorted_axes.plot(np.arange(1, len(drawn) + 1), drawn, **style)
    for side in ("lower", "upper"):
        sign = 1 if side == "upper" else -1
        gaps = [sign * (columns[f"{side}_mini_bucket_{i}"] - columns["exact"]) for i in i_bounds]
        middle = [np.median(np.maximum(gap, 1e-9)) for gap in gaps]
        bound_axes.plot(i_bounds, middle, label=f"mini-buckets {side}, median")
    for axes in figure.axes:
        axes.set_yscale("log")
        plots.integer_ticks(axes.xaxis)
    return plots.finish(figure)


Row = tuple[str, factor_graph.FactorGraph, float, float]


def _models(config: Config, key: Any) -> Iterator[Row]:
    """Name, graph, log Z and how far that may be off."""
    if config.folder:
        yield from _read(Path(config.folder), config.most)
        return
    rng = randomness.generator(key, "uai_bounds")
    for side in config.sides:
        for scale in (1.0, 3.0):
            graph = generators.spin_glass_grid(key, side, side, scale, 0.3)
            yield _known(f"spin glass {side} x {side}, {scale:g}", graph)
        for zeros in (0.0, 0.2):
            yield _known(
                f"random factors {side}, zeros {zeros:g}", _random_factors(rng, side, zeros)
            )


def _known(name: str, graph: factor_graph.FactorGraph) -> Row:
    exact = elimination.log_partition(graph)[0]
    return name, graph, exact.log_value, exact.log_width


def _random_factors(rng: np.random.Generator, side: int, zeros: float) -> factor_graph.FactorGraph:
    """Factors of three variables of two or three states in a band; all states 0 is possible."""
    sizes = rng.integers(2, 4, size=4 * side)
    factors = []
    for _ in range(6 * side):
        scope = (rng.integers(4 * side) + rng.choice(side, size=3, replace=False)) % (4 * side)
        table = rng.normal(size=sizes[scope])
        table[rng.random(table.shape) < zeros] = -np.inf
        table[0, 0, 0] = 0.0
        factors.append((scope.tolist(), table))
    return factor_graph.build(sizes, factors)


def _read(folder: Path, most: int) -> Iterator[Row]:
    with (folder / "answers.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["exact_log10_partition"]]
    for row in rows[: most or None]:
        evidence = folder / row["evidence"] if row["evidence"] else None
        exact = float(row["exact_log10_partition"]) * math.log(10)
        yield row["file"], uai.read(folder / row["file"], evidence), exact, 1e-9 * (1 + abs(exact))


def _bounds(graph: factor_graph.FactorGraph, config: Config, key: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"variables": graph.num_variables}
    start = time.perf_counter()
    estimates: list[estimate.Estimate] = []

    def note(name: str, found: estimate.Estimate) -> None:
        nonlocal start
        estimates.append(found)
        row[f"lower_{name}"], row[f"upper_{name}"] = found.log_lower, found.log_upper
        row[f"seconds_{name}"] = time.perf_counter() - start
        start = time.perf_counter()

    options: dict[str, Any] = {"seed": key, "timeout": config.seconds}
    options["iterations"] = config.iterations
    field, info = mean_field.log_partition(graph, i_bound=config.i_bounds[-1], **options)
    note("mean_field", field)
    sight = trivial.log_partition(graph, info.assignment)
    row["lower_trivial"], row["upper_trivial"] = sight.log_lower, sight.log_upper
    note("trw", trw.log_partition(graph, **options)[0])
    for i_bound in config.i_bounds:
        found, how = mini_bucket.log_partition(graph, i_bound=i_bound, **options)
        note(f"mini_bucket_{i_bound}", found)
        row["exactly_eliminated"] = how.is_exact
    both = estimate.intersect(estimates)
    return row | {"lower": both.log_lower, "upper": both.log_upper, "cut": info.num_cut}
