"""Error and coverage of the hashing counter over random 3-CNF.

For each formula the counter runs with many seeds. Its claim is a factor 1 + epsilon either way,
except with probability delta; the constants behind it are worst cases.

    tally run approxmc_accuracy

Expected: no interval misses, single rounds miss far less often than the theory allows, and the
mean of |cell(m)| 2^m over the exact count is 1 within 3 standard errors. The default takes half a
minute, the paper preset half an hour.
"""

import dataclasses
import itertools
import math
import time
from typing import Any

import numpy as np
import tqdm
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.harness import plots, registry
from hashing.counting import approxmc, guarantee
from inference import randomness
from inference.oracles import ganak
from inference.problems import cnf, generators


@dataclasses.dataclass(frozen=True)
class Config:
    """Random formulas of ``variables`` variables and ``ratios`` clauses per variable.

    Every combination is counted with ``repeats`` seeds at every tolerance of ``epsilons``.
    """

    variables: tuple[int, ...] = (20, 30, 40)
    ratios: tuple[float, ...] = (1.0, 2.0)
    epsilons: tuple[float, ...] = (0.8, 0.3)
    delta: float = 0.2
    repeats: int = 20


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
    ratios = columns["mean_ratio"][columns["rounds"] > 0]
    scalars["mean_ratio"] = float(ratios.mean()) if ratios.size else math.nan
    error = ratios.std(ddof=1) / math.sqrt(ratios.size) if ratios.size > 1 else math.nan
    scalars["mean_ratio_error"] = float(error)
    return registry.Result(columns, scalars)


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
        style: dict[str, Any] = {"color": plots.COLOURS[number], "label": f"epsilon {epsilon:g}"}
        style |= {"linestyle": "none", "markersize": 3}
        x = columns["exact_log2"][mine] + 0.15 * number
        errors.plot(x, columns["error_log2"][mine], **style)
        times.plot(x, columns["seconds_count"][mine], **style)
        for side in (-1, 1):
            errors.axhline(
                side * math.log2(1 + epsilon), color=style["color"], linestyle="--", marker=""
            )
        _draw_misses(misses, number, mine, columns)
    errors.margins(y=0.3)
    errors.plot([], [], color="grey", linestyle="--", marker="", label="claimed interval")
    misses.set_xticks(range(len(tolerances)), [f"{epsilon:g}" for epsilon in tolerances])
    misses.margins(x=0.3)
    times.set_yscale("log")
    return plots.finish(figure)


def _draw_misses(axes: Axes, at: int, mine: np.ndarray, columns: Any) -> None:
    """Bars for what was seen below and above, a line over each for what the theory allows."""
    plan = guarantee.plan(float(columns["epsilon"][mine][0]), 0.5)
    rounds = max(int(columns["rounds"][mine].sum()), 1)
    sides = (("under", plan.failure_under, -0.2), ("over", plan.failure_over, 0.2))
    for number, (name, allowed, shift) in enumerate(sides):
        seen = columns[name][mine].sum() / rounds
        label = f"too far {name}" if at == 0 else None
        axes.bar(at + shift, seen, 0.35, color=plots.COLOURS[2 + number], label=label)
        label = "allowed by theory" if (at, number) == (0, 0) else None
        axes.plot([at + shift - 0.18, at + shift + 0.18], [allowed] * 2, "k-", label=label)


def _count_formula(config: Config, key: Any, n: int, ratio: float) -> list[dict[str, Any]]:
    words = randomness.seed_words(key)
    formula = generators.random_ksat(words + f"{n} {ratio}".encode(), n, round(ratio * n))
    solved = ganak.count(formula).value
    return [
        {"variables": n, "ratio": ratio, "epsilon": epsilon, "exact_log2": _log2(solved.log_value)}
        | _count_once(config, words + str(repeat).encode(), formula, epsilon, solved.log_value)
        for epsilon in config.epsilons
        for repeat in range(config.repeats)
    ]


def _count_once(
    config: Config, key: bytes, formula: cnf.CNF, epsilon: float, exact: float
) -> dict[str, Any]:
    start = time.perf_counter()
    result, info = approxmc.count(key, formula, epsilon=epsilon, delta=config.delta)
    seconds, width = time.perf_counter() - start, math.log1p(epsilon)
    shifts = np.array([r.num_hashes * math.log(2) - exact for r in info.rounds])
    cells = np.array([len(r.models) for r in info.rounds], dtype=float)
    off = np.array([info.plan.log_value(r) for r in info.rounds]) - exact
    return {
        "error_log2": _log2(result.log_value - exact),
        "inside": result.log_lower <= exact <= result.log_upper,
        "rounds": len(info.rounds),
        "under": int((off < -width).sum()),
        "over": int((off > width).sum()),
        # Of |cell(m)| 2^m, before rounding; 0 where the count was exact without hashes.
        "mean_ratio": float((cells * np.exp(shifts)).mean()) if info.rounds else 0.0,
        "oracle_calls": info.oracle_calls,
        "seconds_count": seconds,
    }


def _log2(log_value: float) -> float:
    return log_value / math.log(2)
