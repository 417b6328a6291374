"""Learned model counting: errors and seconds against exact and hashing counters.

Every formula is counted by the shipped network, by the same message passing without learning, by
Ganak (exact) and, up to a number of variables, by ApproxMC; all in this process, from a formula in
memory, one after the other. Reading files is in nobody's time, compilation neither. The time in
batch is that of a whole family, copies of it included up to ``batch`` formulas.

    tally run bpnn_counting --folder DIR

A folder holds DIMACS files and ``counts.csv`` with the columns file, family, ln_count and split
(train or test); without one, small formulas are made and Ganak counts them. With ``leave_out`` a
new network is trained on the training formulas of the other families. Expected: rewriting into
tables makes belief propagation nearly exact on networks of OR gates and close on grids; what is
learned on top changes little, and circuits with parities stay off by nats.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tqdm
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.harness import peers, plots, promises, registry
from experiments.training import bpnn_sat_training, counted_formulas
from inference.message_passing.learned import bpnn, bpnn_sat

EPSILON, DELTA = 0.8, 0.2  # of ApproxMC


Problem = counted_formulas.Problem


@dataclasses.dataclass(frozen=True)
class Config:
    """Which formulas, and how many."""

    folder: str = ""
    """DIMACS files with counts.csv; without it, formulas are made."""
    per_family: int = 20
    """Test formulas of each family that are counted, 0 for all; without a folder, made."""
    batch: int = 512
    """A family is copied up to so many formulas for the time in batch."""
    approxmc_variables: int = 0
    """ApproxMC, which has no time limit here, counts up to so many variables; 0 leaves it out."""
    leave_out: str = ""
    """A family; a new network is trained on the others."""
    steps: int = 4000
    """Of that training."""


@registry.experiment(
    presets={
        "smoke": Config(per_family=3, batch=8),
        "default": Config(approxmc_variables=250),
        "paper": Config(per_family=0, approxmc_variables=250),
    },
    paper="Kuck et al., Belief propagation neural networks, NeurIPS 2020",
)
def run(config: Config, key: Any) -> registry.Result:
    """One row per formula; values in nats, seconds per formula."""
    if config.folder:
        problems = counted_formulas.read(Path(config.folder))
    else:
        problems = counted_formulas.make(key, config.per_family)
    network = bpnn_sat.shipped()
    if config.leave_out:
        others = [problem for problem in problems if problem.family != config.leave_out]
        network, _ = bpnn_sat_training.train(others, steps=config.steps)
    chosen = _chosen(problems, config.per_family)
    rows = [
        _row(problem, network, config)
        for problem in tqdm.tqdm(chosen, "formulas", leave=False, disable=None)
    ]
    columns: dict[str, Any] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    columns["seconds_batch"] = _batch_seconds(chosen, network, config.batch)
    summary = _by_family(columns)
    scalars = {f"rmse_{name}_{family}": x for family, s in summary.items() for name, x in s.items()}
    return registry.Result(columns, scalars, units=dict.fromkeys(scalars, "nats"))


def check(result: registry.Result) -> None:
    """Ganak finds the counts given, ApproxMC too but for its delta; diagnoses are nearly exact."""
    columns = result.columns
    exact = columns["log_exact"]
    wrong = int(np.sum(np.abs(columns["log_ganak"] - exact) > 1e-6 * (1 + np.abs(exact))))
    promises.expect(not wrong, f"expected the counts given from Ganak, given {wrong} others")
    found = ~np.isnan(columns["log_approxmc"])
    missed = np.abs(columns["log_approxmc"] - exact)[found] > math.log1p(EPSILON) + 1e-9
    promises.expect_rare(int(missed.sum()), len(missed), DELTA, "counts by ApproxMC that miss")
    made = np.char.startswith(columns["problem"], "diagnosis-")
    off = np.abs(columns["log_propagation"] - exact)[made].max(initial=0.0)
    promises.expect(off < 0.5, f"expected diagnoses within half a nat, given {off:.3g}")


def plot(result: registry.Result) -> Figure:
    """Errors against the count; RMSE by family, 1e-4 where less; median seconds of counters."""
    columns = result.columns
    families = list(dict.fromkeys(columns["family"].tolist()))
    figure, [errors, gains, times] = plots.new_figure(
        ["log of the count [nats]", "", ""],
        ["estimate - exact [nats]", "RMSE [nats]", "seconds a formula, median"],
        panels=3,
        title="Learned model counting",
    )
    _plot_errors(errors, columns, families)
    at, summary = np.arange(len(families)), _by_family(columns)
    for shift, name in ((-0.2, "propagation"), (0.2, "network")):
        heights = [max(summary[family][name], 1e-4) for family in families]
        gains.bar(at + shift, heights, 0.4, label=name)
    for name in [name for name in columns if name.startswith("seconds_")]:
        medians = [np.median(columns[name][columns["family"] == family]) for family in families]
        times.plot(at, medians, linestyle="none", label=name.removeprefix("seconds_"))
    for axes in (gains, times):
        axes.set_yscale("log")
        axes.set_xlim(-0.6, len(families) - 0.4)
        axes.set_xticks(at, families, fontsize="small")
        if len(families) > 4:
            axes.tick_params(axis="x", rotation=90)
    return plots.finish(figure)


def _plot_errors(axes: Axes, columns: Mapping[str, Any], families: list[str]) -> None:
    for number, family in enumerate(families):
        mine = columns["family"] == family
        error = (columns["log_estimate"] - columns["log_exact"])[mine]
        style: dict[str, Any] = plots.style(number) | {"linestyle": "none", "alpha": 0.7}
        axes.plot(columns["log_exact"][mine], error, label=family, **style)
    axes.set_yscale("symlog", linthresh=0.1)
    axes.axhspan(-0.5, 0.5, color="grey", alpha=0.15, label="half a nat")


def _chosen(problems: Sequence[Problem], per_family: int) -> list[Problem]:
    """The first test formulas of every family."""
    chosen: list[Problem] = []
    for family in dict.fromkeys(problem.family for problem in problems):
        mine = [p for p in problems if p.family == family and p.split == "test"]
        chosen += mine[:per_family] if per_family else mine
    return chosen


def _row(problem: Problem, network: bpnn_sat.Network, config: Config) -> dict[str, Any]:
    formula, plain = problem.formula, bpnn_sat.Network()
    bpnn.count(formula, network=network)  # compiles where a size is new
    seconds, [learned, info] = _timed(lambda: bpnn.count(formula, network=network))
    ganak_seconds, ganak = _timed(lambda: math.log(2) * peers.ganak(formula, seed=1))
    approxmc_seconds, approxmc = math.nan, math.nan
    if formula.num_variables <= config.approxmc_variables:
        approxmc_seconds, approxmc = _timed(
            lambda: math.log(2) * peers.approxmc(formula, EPSILON, DELTA, seed=1)
        )
    return {
        "problem": problem.name,
        "family": problem.family,
        "variables": formula.num_variables,
        "clauses": formula.num_clauses,
        "tables_left": info.tables,
        "log_exact": problem.log_count,
        "log_estimate": learned.log_value,
        "log_propagation": bpnn.count(formula, network=plain)[0].log_value,
        "log_ganak": ganak,
        "log_approxmc": approxmc,
        "seconds_single": seconds,
        "seconds_ganak": ganak_seconds,
        "seconds_approxmc": approxmc_seconds,
    }


def _batch_seconds(
    problems: Sequence[Problem], network: bpnn_sat.Network, batch: int
) -> np.ndarray:
    """Seconds a formula, the same for all of one family; the better of two runs."""
    seconds = {}
    for family in dict.fromkeys(problem.family for problem in problems):
        mine = [problem.formula for problem in problems if problem.family == family]
        many = mine * max(1, batch // len(mine))
        runs = [_timed(lambda: bpnn_sat.count_many(many, network=network))[0] for _ in range(3)]
        seconds[family] = min(runs[1:]) / len(many)
    return np.array([seconds[problem.family] for problem in problems])


def _timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def _by_family(columns: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """RMSE of the network and of plain propagation, by family."""
    summary = {}
    for family in dict.fromkeys(columns["family"].tolist()):
        mine = columns["family"] == family
        exact = columns["log_exact"][mine]
        summary[family] = {
            name: float(np.sqrt(np.mean((columns[column][mine] - exact) ** 2)))
            for name, column in (("network", "log_estimate"), ("propagation", "log_propagation"))
        }
    return summary
