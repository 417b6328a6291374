"""Lower bounds on counts: plain hashing, averaged cells, adaptive rows.

Three counters with the same guarantee: parities with one variable in one row each (the baseline),
the mean of ten cells in place of one, and rows that deal the variables which vary out evenly.

    tally run adaptive_hashing_bounds
    tally run adaptive_hashing_bounds --folder FORMULAS --timeout 10 --easy-seconds 2

Expected: no bound above a known count, though each may be with probability delta. On the default
averaging raises the median bound by 2^3; dealing out raises the bound by up to 2^13 where half of
the variables are frozen and changes it by a few bits elsewhere. The paper reports medians of 2^11
and 2^3 on 1198 formulas with 5000 s each. The default takes a minute.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tqdm
from matplotlib.figure import Figure

from experiments.harness import claims, plots, promises, registry
from hashing.counting import adaptive
from hashing.parity import row_laws
from inference import estimate, randomness
from inference.exact import ganak
from inference.problems import cnf, dimacs, generators
from inference.reduction import support

METHODS = ("baseline", "averaged", "adaptive")
PAIRS = (("averaged", "baseline"), ("adaptive", "averaged"), ("adaptive", "baseline"))


@dataclasses.dataclass(frozen=True)
class Config:
    """Generated formulas or those of a folder; weights are ignored."""

    folder: str = ""
    """DIMACS files (.cnf, .cnf.gz); without it, formulas are generated."""
    variables: tuple[int, ...] = (40, 60, 100)
    """About so many variables in a generated formula."""
    timeout: float = 0.0
    """Seconds for each counter; 0 for no limit."""
    exact_timeout: float = 5.0
    """Seconds for the true count, by Ganak."""
    easy_seconds: float = 0.0
    """Formulas that Ganak counts within so many seconds are marked and left out."""
    cutoff: int = 4
    """Cells are counted up to so many models."""
    repetitions: int = 10
    """Cells that are averaged; the baseline has one."""
    degree: float = 1.0
    """Ones per column of the parities."""
    delta: float = 0.05
    """A bound is above the count with at most this probability."""


@registry.experiment(
    presets={
        "smoke": Config(variables=(16,), repetitions=3, delta=0.2),
        "default": Config(),
        "paper": Config(
            variables=(100, 200, 400, 800), timeout=5000.0, exact_timeout=5000.0, easy_seconds=2.0
        ),
    },
    paper="Kuck et al., Adaptive Hashing for Model Counting, UAI 2019",
)
def run(config: Config, key: Any) -> registry.Result:
    """One row per formula; bounds and counts are log2, of formulas left out NaN."""
    formulas = list(_read(config.folder) if config.folder else _generate(config, key))
    rows = [
        _bound_formula(config, key, name, formula)
        for name, formula in tqdm.tqdm(formulas, "formulas", leave=False, disable=None)
    ]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    known = ~np.isnan(columns["exact_log2"]) & ~columns["easy"]
    scalars: dict[str, Any] = {
        "delta": config.delta,
        "formulas": len(rows),
        "compared": int((~columns["easy"]).sum()),
        "known": int(known.sum()),
        "violations": sum(int(columns[f"violated_{method}"].sum()) for method in METHODS),
    }
    for better, worse in PAIRS:
        gains = _gains(columns, better, worse)
        median = float(np.median(gains)) if gains.size else math.nan
        scalars[f"median_gain_log2_{better}_over_{worse}"] = median
    units = {name: "bits" for name in scalars if name.startswith("median_gain")}
    return registry.Result(columns, scalars, units=units)


def check(result: registry.Result) -> None:
    """Bounds exceed known counts no more often than delta allows, and 2^variables never."""
    columns, scalars = result.columns, result.scalars
    for method in METHODS:
        bounds, seen = columns[f"lower_{method}"], int(columns[f"violated_{method}"].sum())
        what = f"{method} bounds above the count"
        promises.expect_rare(seen, scalars["known"], scalars["delta"], what)
        most = int(np.sum(bounds > columns["variables"] + 1e-9))
        promises.expect(most == 0, f"expected no {method} bound above 2^variables, given {most}")


def plot(result: registry.Result) -> Figure:
    """Bounds beside the count, how much each method gains, time."""
    columns = result.columns
    figure, [bounds, gains, times] = plots.new_figure(
        ["formula, by size of the bound", "part of the formulas", "formulas"],
        ["log2", "bound over the baseline's [log2]", "time per formula up to [s]"],
        panels=3,
        title="Lower bounds on model counts from parities with few ones",
    )
    compared = np.flatnonzero(~columns["easy"])
    order = compared[np.argsort(columns["lower_adaptive"][compared], kind="stable")]
    exact, places = columns["exact_log2"][order], 1 + np.arange(len(order))
    mark: dict[str, Any] = {"color": "black", "marker": "_", "markersize": 9, "linestyle": "none"}
    bounds.plot(places, exact, label="count", **mark)
    for number, method in enumerate(METHODS):
        style: dict[str, Any] = plots.style(number) | {"label": method, "markersize": 4}
        lower = columns[f"lower_{method}"][order]
        # Side by side, or equal bounds would hide each other.
        bounds.plot(places + 0.2 * (number - 1), lower, linestyle="none", **style)
        seconds = np.sort(columns[f"seconds_{method}"][order])
        times.plot(places, seconds, **style)
        if method != "baseline":
            gain = np.sort(_gains(columns, method, "baseline"))
            gains.plot((0.5 + np.arange(len(gain))) / max(len(gain), 1), gain, **style)
    gains.axhline(0, color="grey", linewidth=0.8, marker="")
    for axes, largest in ((bounds, np.nanmax([*exact, 0.0])), (gains, 100.0)):
        if largest >= 100.0:  # of log2: counts from the thousands to 2^1000
            axes.set_yscale("symlog", linthresh=1)
    plots.integer_ticks(bounds.xaxis, times.xaxis)
    times.set_yscale("log")
    return plots.finish(figure)


def _bound_formula(config: Config, key: Any, name: str, formula: cnf.CNF) -> dict[str, Any]:
    found, info = ganak.count(formula, timeout=config.exact_timeout)
    exact = found if info.status == "done" else None
    easy = exact is not None and info.seconds <= config.easy_seconds
    row = {
        "formula": name,
        "variables": len(formula.sampling_set),
        "exact_log2": exact.log_value / claims.LN2 if exact is not None else math.nan,
        "seconds_exact": info.seconds,
        "easy": easy,
    }
    for method in METHODS:
        row |= _bound_once(config, key, formula, method, exact, easy)
    return row


def _bound_once(
    config: Config,
    key: Any,
    formula: cnf.CNF,
    method: str,
    exact: estimate.Estimate | None,
    easy: bool,
) -> dict[str, Any]:
    lower, done, seconds = math.nan, False, math.nan
    if not easy:
        law = row_laws.adaptive if method == "adaptive" else row_laws.biregular
        result, info = adaptive.count(
            formula,
            seed=key,
            timeout=config.timeout or None,
            cutoff=config.cutoff,
            repetitions=1 if method == "baseline" else config.repetitions,
            draw_rows=functools.partial(law, degree=config.degree),
            delta=config.delta,
            reduce=support.unreduced,
        )
        lower, done, seconds = result.log_lower, info.status == "done", info.seconds
    return {
        f"lower_{method}": lower / claims.LN2,
        f"violated_{method}": exact is not None and lower > exact.log_upper,
        f"done_{method}": done,
        f"seconds_{method}": seconds,
    }


def _gains(columns: Any, better: str, worse: str) -> np.ndarray:
    """By how much one bound exceeds another, in log2, over the formulas that were compared."""
    compared = ~columns["easy"]
    high, low = (columns[f"lower_{method}"][compared] for method in (better, worse))
    same = high == low  # both -inf among them
    return np.where(same, 0.0, np.where(same, 0.0, high) - np.where(same, 0.0, low))


def _read(folder: str) -> Iterator[tuple[str, cnf.CNF]]:
    files = sorted(path for path in Path(folder).iterdir() if ".cnf" in path.suffixes)
    if not files:
        raise ValueError(f"expected files named *.cnf or *.cnf.gz in {folder}, given none")
    for path in files:
        yield path.name, dimacs.read(path, ignore_weights=True).unweighted()


def _generate(config: Config, key: Any) -> Iterator[tuple[str, cnf.CNF]]:
    words = randomness.seed_words(key)
    for n in config.variables:
        side = round(1 / 2 + math.sqrt(1 / 4 + n / 2))  # 2 side (side - 1) edges
        yield f"3-CNF {n}, 1 per variable", generators.random_ksat(words, n, n)
        yield f"3-CNF {n}, 3 per variable", generators.random_ksat(words, n, 3 * n)
        yield f"chain {n}", generators.chain(n)
        yield f"parity chain {n}", generators.parity_chain(words, n // 2, n - n // 2)
        yield f"reachability {side} x {side}", generators.grid_reachability(side, side)
        zeros = [[-i] for i in range(n // 2 + 1, n + 1)]
        yield f"half frozen {n}", cnf.from_clauses([[1, 2], *zeros], num_variables=n)
