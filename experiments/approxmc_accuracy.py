"""Error and coverage of the hashing counter over random 3-CNF.

For each formula the counter runs with many seeds. Its claim is a factor 1 + epsilon either way,
except with probability delta; the constants behind it are worst cases.

    tally run approxmc_accuracy

Expected: no interval misses, single rounds miss far less often than the theory allows, and the
mean of |cell(m)| 2^m times 2 for each free variable, over the exact count, is 1 within 3 standard
errors. The default takes half a minute, the paper preset half an hour.
"""

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import tqdm
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.harness import claims, plots, promises, registry
from hashing.counting import approxmc, guarantee, witness
from inference import randomness
from inference.exact import ganak
from inference.problems import cnf, generators


@dataclasses.dataclass(frozen=True)
class Config:
    """Random formulas, each counted with several seeds at every tolerance."""

    variables: tuple[int, ...] = (20, 30, 40)
    """Variables of a formula."""
    ratios: tuple[float, ...] = (1.0, 2.0)
    """Clauses per variable."""
    epsilons: tuple[float, ...] = (0.8, 0.3)
    """Tolerances: a count is right within a factor 1 + epsilon either way ..."""
    delta: float = 0.2
    """... except with this probability."""
    repeats: int = 20
    """Seeds for every formula and tolerance."""


@registry.experiment(
    presets={
        "smoke": Config(variables=(16, 20), ratios=(1.0,), repeats=5),
        "default": Config(),
        "paper": Config(variables=(20, 30, 40, 50, 60), ratios=(1.0, 2.0, 3.0), repeats=100),
    },
    paper="Yang and Meel, Rounding Meets Approximate Model Counting, CAV 2023",
)
def run(config: Config, key: Any) -> registry.Result:
    """One row per count; errors are log2 of the value over the exact count."""
    formulas = list(itertools.product(config.variables, config.ratios))
    rows = [
        row
        for n, ratio in tqdm.tqdm(formulas, "formulas", leave=False, disable=None)
        for row in _count_formula(config, key, n, ratio)
    ]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    scalars: dict[str, Any] = {"counts": len(rows), "inside": int(columns["inside"].sum())}
    scalars |= {name: int(columns[name].sum()) for name in ("rounds", "under", "over")}
    scalars["delta"] = config.delta
    ratios = columns["mean_ratio"][~np.isnan(columns["mean_ratio"])]
    scalars["mean_ratio"] = float(ratios.mean()) if ratios.size else math.nan
    error = ratios.std(ddof=1) / math.sqrt(ratios.size) if ratios.size > 1 else math.nan
    scalars["mean_ratio_error"] = float(error)
    return registry.Result(columns, scalars)


def check(result: registry.Result) -> None:
    """Intervals and rounds miss no more often than the theory allows; the mean ratio is 1."""
    columns, scalars = result.columns, result.scalars
    outside = scalars["counts"] - scalars["inside"]
    promises.expect_rare(outside, scalars["counts"], scalars["delta"], "intervals that miss")
    for epsilon in np.unique(columns["epsilon"]):
        rounds = int(columns["rounds"][columns["epsilon"] == epsilon].sum())
        for name, allowed in _allowed(epsilon).items():
            missed = int(columns[name][columns["epsilon"] == epsilon].sum())
            what = f"rounds too far {name} at epsilon {epsilon:g}"
            promises.expect_rare(missed, rounds, allowed, what)
    mean, error = scalars["mean_ratio"], scalars["mean_ratio_error"]
    promises.expect_mean(mean, error, 1.0, "a mean ratio to the exact count")


def plot(result: registry.Result) -> Figure:
    """Errors with the interval claimed; how often rounds miss and may miss; time."""
    columns = result.columns
    figure, [errors, misses, times] = plots.new_figure(
        ["exact count [log2], tolerances side by side", "tolerance epsilon", "exact count [log2]"],
        ["error [log2 of value / exact]", "part of single rounds that miss", "time [s]"],
        panels=3,
        title="The hashing counter on random 3-CNF",
    )
    tolerances = np.unique(columns["epsilon"])
    for number, epsilon in enumerate(tolerances):
        mine = columns["epsilon"] == epsilon
        style: dict[str, Any] = plots.style(number) | {"linestyle": "none", "markersize": 3}
        x = columns["exact_log2"][mine] + 0.15 * number
        errors.plot(x, columns["error_log2"][mine], label=f"epsilon {epsilon:g}", **style)
        times.plot(x, columns["seconds_count"][mine], label=f"epsilon {epsilon:g}", **style)
        for side, label in ((1, f"claimed at {epsilon:g}"), (-1, None)):
            claimed = side * math.log2(1 + epsilon)
            line: dict[str, Any] = {"color": style["color"], "linestyle": "--", "marker": ""}
            errors.axhline(claimed, label=label, **line)
        _draw_misses(misses, number, mine, columns)
    misses.set_xticks(range(len(tolerances)), [f"{epsilon:g}" for epsilon in tolerances])
    misses.margins(x=0.3)
    times.set_yscale("log")
    return plots.finish(figure)


def _draw_misses(axes: Axes, at: int, mine: np.ndarray, columns: Any) -> None:
    """Bars for what was seen below and above, a line over each for what the theory allows."""
    allowed = _allowed(columns["epsilon"][mine][0])
    rounds = max(int(columns["rounds"][mine].sum()), 1)
    for number, (name, shift) in enumerate((("under", -0.2), ("over", 0.2))):
        seen = columns[name][mine].sum() / rounds
        label = f"too far {name}" if at == 0 else None
        axes.bar(at + shift, seen, 0.35, color=plots.COLOURS[2 + number], label=label)
        label = "allowed by theory" if (at, number) == (0, 0) else None
        ends = [at + shift - 0.18, at + shift + 0.18]
        axes.plot(ends, [allowed[name]] * 2, color="black", marker="", label=label)


def _allowed(epsilon: float) -> dict[str, float]:
    """With what probability a single round may be too far under and over."""
    scheme = guarantee.plan(float(epsilon), 0.5)  # delta sets the number of rounds alone
    return {"under": scheme.failure_under, "over": scheme.failure_over}


def _count_formula(config: Config, key: Any, n: int, ratio: float) -> list[dict[str, Any]]:
    words = randomness.seed_words(key)
    formula = generators.random_ksat(words + f"{n} {ratio}".encode(), n, round(ratio * n))
    exact = ganak.count(formula)[0].log_value
    # A key for each count: with one for two tolerances both would draw the same parities.
    return [
        {"variables": n, "ratio": ratio, "epsilon": epsilon, "exact_log2": exact / claims.LN2}
        | _count_once(config, words + f"{epsilon} {i}".encode(), formula, epsilon, exact)
        for epsilon in config.epsilons
        for i in range(config.repeats)
    ]


def _count_once(
    config: Config, key: bytes, formula: cnf.CNF, epsilon: float, exact: float
) -> dict[str, Any]:
    result, info = approxmc.count(formula, seed=key, epsilon=epsilon, delta=config.delta)
    width = math.log1p(epsilon)
    # Rounds count the residual formula; a round without parities listed it and cannot miss.
    residual = exact - len(info.reduction.free) * claims.LN2
    hashed = [r for r in info.rounds if r.num_hashes]
    off = np.array([info.scheme.log_value(r) - residual for r in hashed])
    return {
        "error_log2": (result.log_value - exact) / claims.LN2 if result.log_value != exact else 0.0,
        "inside": result.log_lower <= exact <= result.log_upper,
        "rounds": len(hashed),
        "under": int((off < -width).sum()),
        "over": int((off > width).sum()),
        "mean_ratio": _mean_ratio(hashed, info.scheme, residual),
        "oracle_calls": info.oracle_calls,
        "seconds_count": info.seconds,
    }


def _mean_ratio(hashed: list[witness.Round], scheme: guarantee.Scheme, residual: float) -> float:
    """Of |cell(m)| 2^m, before rounding; NaN without parities and where m is the first empty cell.

    In between m is a stopping time of the martingale |cell(m)| 2^m, so the mean is 1.
    """
    if not hashed or not scheme.threshold:
        return math.nan
    shifts = [r.num_hashes * claims.LN2 - residual for r in hashed]
    return float(np.mean([len(r.models) * math.exp(x) for r, x in zip(hashed, shifts)]))
