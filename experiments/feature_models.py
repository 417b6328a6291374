"""How many products feature models have, and how constrained each option is.

A feature model says which options of a configurable system can be on together; the models of its
formula are the products. One elimination counts all products and those with each option on
(`tally count --each`). Some options, drawn at random, are counted again under the assumption that
they are on, and that they are off, by Ganak, which shares no code with it.

    tally run feature_models

takes the menu of a small kernel that comes with Tally and random trees of features with constraints
across them; with ``--folder`` it takes the DIMACS files of a folder, and no others.

Expected: on and off add up to all products, and agree with the fresh counts. Constraints cost bits:
the count lies below one bit an option, often by half. The shares are steps: many options are
independent of the rest, and half of all products have them.
"""

import dataclasses
import importlib.resources
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tqdm
from matplotlib.figure import Figure

from experiments import solve
from experiments.harness import commonality, plots, promises, registry
from inference import randomness
from inference.exact import elimination, true_counts
from inference.problems import cnf, dimacs, formula_families

SHIPPED = "small_kernel.cnf"
PLACES = np.linspace(0.0, 1.0, 101)  # of the sorted shares that are kept
BINS = 10  # of the histogram of shares
LN2 = math.log(2.0)


@dataclasses.dataclass(frozen=True)
class Config:
    """Which models."""

    folder: str = ""
    """A folder of DIMACS files, also packed, in place of the shipped model and random trees."""
    features: tuple[int, ...] = (50, 100, 200, 400)
    """Features of the random trees."""
    constraints: float = 0.2
    """Constraints across a random tree, for each of its features."""
    sampled: int = 3
    """Options of each model that are counted again, on and off."""
    timeout: float = 60.0
    """Seconds for each count."""


@registry.experiment(
    presets={
        "smoke": Config(features=(20,), sampled=1),
        "default": Config(),
        "paper": Config(features=(50, 100, 200, 400, 800, 1600), sampled=20, timeout=300.0),
    },
)
def run(config: Config, key: Any) -> registry.Result:
    """One row a model; shares are NaN where options could not be counted in time."""
    models = list(_models(config, key))
    rows = [
        _row(name, read, config, key)
        for name, read in tqdm.tqdm(models, "models", leave=False, disable=None)
    ]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    scalars = {"models": len(rows), "counted_each": int((columns["dead"] >= 0).sum())}
    scalars |= {name: int(columns[name].sum()) for name in ("checked", "mismatches")}
    return registry.Result(columns, scalars)


def check(result: registry.Result) -> None:
    """Shares are shares, a share for each option, and fresh counts agree with them."""
    columns, wrong = result.columns, int(result.columns["mismatches"].sum())
    promises.expect(not wrong, f"expected fresh counts of options to agree, given {wrong} others")
    shares = columns["shares"][columns["dead"] >= 0]
    outside = int(((shares < 0) | (shares > 1) | np.isnan(shares)).sum())
    promises.expect(not outside, f"expected shares in [0, 1], given {outside} others")
    above = int((columns["log2_products"] > columns["options"] + 1e-9).sum())
    promises.expect(not above, f"expected at most a bit an option, given {above} models above")


def plot(result: registry.Result) -> Figure:
    """Bits of each model against its options; its options' shares in order."""
    columns = result.columns
    figure, [sizes, curves] = plots.new_figure(
        ["options", "options in order [% of all]"],
        ["products [bits]", "share of the products with it [%]"],
        title="Feature models: products (dashed: every option free), and how common each option is",
        panels=2,
    )
    for number, name in enumerate(columns["model"]):
        style = plots.style(number) | {"label": name}
        bits, options = columns["log2_products"][number], columns["options"][number]
        sizes.plot([options], [bits], linestyle="none", **style)
        shares = 100 * columns["shares"][number]
        curves.plot(100 * PLACES, shares, markevery=10, markersize=4, linewidth=1.2, **style)
    ends = np.array([columns["options"].min() / 1.5, columns["options"].max() * 1.5])
    sizes.plot(ends, ends, marker="", linestyle="--", color="grey", zorder=0)
    sizes.set_xscale("log")
    sizes.set_yscale("log")
    return plots.finish(figure)


def _models(config: Config, key: Any) -> Iterator[tuple[str, Any]]:
    """Names and functions that give the formulas."""
    if config.folder:
        paths = sorted(path for path in Path(config.folder).iterdir() if ".cnf" in path.suffixes)
        if not paths:
            raise ValueError(f"expected DIMACS files in {config.folder}, given none")
        for path in paths:
            yield path.name.split(".cnf")[0], lambda path=path: dimacs.read(path)
        return
    shipped = importlib.resources.files("experiments") / "data" / SHIPPED
    yield Path(SHIPPED).stem, lambda: dimacs.read(str(shipped))
    for size in config.features:
        across = round(config.constraints * size)
        yield f"tree of {size}", lambda n=size, m=across: formula_families.feature_tree(key, n, m)


def _row(name: str, read: Any, config: Config, key: Any) -> dict[str, Any]:
    formula = read().unweighted()
    start = time.perf_counter()
    options, log2_products, claim = _count(formula, config.timeout)
    row = {
        "model": name,
        "options": len(formula.sampling_set),
        "clauses": formula.num_clauses,
        "log2_products": log2_products,
        "claim": claim,
        "seconds_each": time.perf_counter() - start,
        "dead": -1 if options is None else len(options.dead),
        "core": -1 if options is None else len(options.core),
        "shares": np.full(len(PLACES), math.nan),
        "histogram": np.zeros(BINS, dtype=int),
        "checked": 0,
        "mismatches": 0,
    }
    if options is not None and options.total and options.variables:
        shares = options.shares
        row["shares"] = np.quantile(shares, PLACES, method="nearest")
        row["histogram"] = np.histogram(shares, BINS, (0.0, 1.0))[0]
        rng = randomness.generator(key, "feature_models", name)
        row |= _check_again(formula, options, rng, config)
    return row


def _count(formula: cnf.CNF, timeout: float) -> tuple[commonality.Commonality | None, float, str]:
    """The options, where they fit, the bits of all products and what is claimed of them."""
    try:
        each, info = true_counts.count_each(formula, timeout=timeout)
        if info.status == "done":
            bits = math.log2(each.total) if each.total else -math.inf
            return commonality.of(formula, each), bits, "certain"
    except elimination.TooWide:
        pass
    found, info = solve.count(formula, timeout=timeout)
    return None, found.log_value / LN2 if info.status == "done" else math.nan, found.claim.value


def _check_again(
    formula: cnf.CNF, options: commonality.Commonality, rng: np.random.Generator, config: Config
) -> dict[str, int]:
    """How many options were counted again, on and off, and for how many that says otherwise."""
    size = min(config.sampled, len(options.variables))
    checked = mismatches = 0
    for place in rng.choice(len(options.variables), size, replace=False).tolist():
        variable, true = options.variables[place], options.true[place]
        fresh = [
            solve.count(formula, method="exact", assumptions=[one], timeout=config.timeout)[0].count
            for one in (variable, -variable)
        ]
        if None not in fresh:
            checked += 1
            mismatches += fresh != [true, options.total - true]
    return {"checked": checked, "mismatches": mismatches}
