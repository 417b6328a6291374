"""Tally's counters against ApproxMC and Ganak, formula by formula.

On every formula of a folder each counter runs in a process of its own, one after the other in an
order that changes from formula to formula; weights are ignored, so that all answer one question,
unless they are asked for: then only exact counters can take part.
Times are those of the whole process less the same command's on one clause, which runs before each
of them: the median of those on five neighbouring formulas, since a machine's load changes.

    tally run count_benchmark --folder DIR --timeout 40

Without a folder it takes a few formulas of our own making, or random families, of which one half of
the draws is for tuning counters and the other for reporting how they do:

    tally run count_benchmark --families held_out

Expected: no count that contradicts Ganak's, though those by hashing may, each with probability
delta. Fifty formulas take about half an hour, the default two minutes.
"""

import dataclasses
import itertools
import math
import operator
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tqdm
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.harness import commands, counting_families, plots, promises, registry
from inference import randomness
from inference.problems import dimacs, generators

# `tally count --method`
OURS = {"hashing": "approxmc", "auto": "auto", "elimination": "elimination"}
PEERS = ("approxmc", "ganak")
WEIGHING = ("auto", "elimination", "ganak")
# Whose times are divided; the best peer is the faster one, formula by formula.
RATIOS = (("hashing", "approxmc"), ("auto", "best_peer"), ("elimination", "ganak"))
GRACE = 5.0  # seconds past the limit before a process is killed; ours end by themselves
SHORTEST = 0.01  # seconds by which starts differ: no time is taken to be shorter
RATIO_FROM = 0.2  # seconds: where both counters take less, their ratio is noise
OWN = {
    "chains__chain_60": lambda: generators.chain(60),
    "chains__parity_chain_40_20": lambda: generators.parity_chain(1, 40, 20),
    "random__3cnf_50_100": lambda: generators.random_ksat(1, 50, 100),
    "random__3cnf_70_210": lambda: generators.random_ksat(2, 70, 210),
    "boards__queens_8": lambda: generators.n_queens(8),
    "boards__latin_square_5": lambda: generators.latin_square(5),
    "boards__domino_tilings_8x8": lambda: generators.domino_tilings(8, 8),
    "paths__grid_reachability_4x4": lambda: generators.grid_reachability(4, 4),
    "paths__grid_reachability_5x6": lambda: generators.grid_reachability(5, 6),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Which formulas, by which counters, how exactly and for how long."""

    folder: str = ""
    """DIMACS files, each with its family's name up to ``__``; without it, our own formulas."""
    families: str = ""
    """In place of a folder random families, their tuning or held_out draws."""
    pattern: str = "*"
    """Which files of them."""
    weights: bool = False
    """Weights as in the files."""
    tools: tuple[str, ...] = ("hashing", "auto", "approxmc", "ganak")
    """Among hashing, auto, elimination, approxmc, ganak; with weights auto, elimination, ganak."""
    timeout: float = 40.0
    """Seconds, start excluded."""
    epsilon: float = 0.8
    """A count is right within a factor 1 + epsilon either way ..."""
    delta: float = 0.2
    """... except with this probability."""
    repeats: int = 1
    """Of so many runs, which share a seed, the one of median time is reported."""
    jobs: int = 1
    """Processes of our own counters."""


@registry.experiment(
    presets={
        "smoke": Config(pattern="chain*"),
        "default": Config(),
        "paper": Config(repeats=3, timeout=100.0),
    },
    paper="Soos and Meel, Engineering an Efficient Probabilistic Exact Model Counter, CAV 2025",
    needs=("pyapproxmc",),
)
def run(config: Config, key: Any) -> registry.Result:
    """One row per formula and counter; ``seconds_par2`` is twice the limit where it was passed."""
    _check_config(config)
    with tempfile.TemporaryDirectory() as scratch:
        files = _formulas(config, Path(scratch))
        bar = enumerate(tqdm.tqdm(files, "formulas", leave=False, disable=None))
        runs = [one for turn, file in bar for one in _run_all(config, key, turn, file)]
    rows = [row for turn in range(len(files)) for row in _rows(config, files, turn, runs)]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    scalars = {"formulas": len(files), "timeout": config.timeout, "delta": config.delta}
    scalars |= _summary(columns) | _by_family(columns)
    timed = ("par2_", "seconds_", "timeout")
    units = {name: "s" for name in scalars if name.startswith(timed)}
    return registry.Result(columns, scalars, units=units)


def _check_config(config: Config) -> None:
    known = WEIGHING if config.weights else (*OURS, *PEERS)
    unknown = [tool for tool in config.tools if tool not in known]
    if unknown or not config.tools:
        raise ValueError(f"expected tools among {', '.join(known)}, given {unknown}")
    if min(config.repeats, config.jobs) < 1:
        raise ValueError(f"expected repeats and jobs of at least 1, given {config}")
    if config.folder and config.families:
        both = f"{config.folder!r} and {config.families!r}"
        raise ValueError(f"expected a folder or families, given {both}")


def check(result: registry.Result) -> None:
    """Only elimination may be refused; counts contradict Ganak's no more often than delta."""
    columns = result.columns
    refused = np.char.find(columns["message"].astype(str), "MiB of tables") >= 0
    failed = (columns["status"] == "failed") & ~(refused & (columns["tool"] == "elimination"))
    reasons = dict.fromkeys(zip(columns["tool"][failed], columns["message"][failed]))
    told = ", ".join(f"{tool}: {text}" for tool, text in reasons)
    promises.expect(not failed.any(), f"expected no counter to fail, given {told}")
    for tool, wrong in _by_tool(columns, "contradicts").items():
        what = f"counts by {tool} that contradict Ganak's"
        promises.expect_rare(int(wrong.sum()), len(wrong), result.scalars["delta"], what)


def plot(result: registry.Result) -> Figure:
    """Solved against time; hashing against ApproxMC; mean ratios by family."""
    columns, limit = result.columns, result.scalars["timeout"]
    figure, [cactus, scatter, bars] = plots.new_figure(
        ["formulas solved", "ApproxMC [s]", "ratio of times, geometric mean"],
        ["time [s]", "Tally, hashing [s]", ""],
        panels=3,
        title=f"Counters on {result.scalars['formulas']} formulas, {limit:g} s each",
    )
    for tool, solved in _by_tool(columns, "solved").items():
        seconds = np.sort(_by_tool(columns, "seconds_net")[tool][solved])
        cactus.plot(range(1, len(seconds) + 1), seconds, markersize=3, label=tool)
    cactus.set_yscale("log")
    plots.integer_ticks(cactus.xaxis)
    _draw_pairs(scatter, columns, limit)
    _draw_ratios(bars, columns)
    return plots.finish(figure)


def _draw_pairs(axes: Axes, columns: Mapping[str, Any], limit: float) -> None:
    """One point per formula, in its family's colour; timeouts lie past the limit, at twice it."""
    scores = _by_tool(columns, "seconds_par2")
    if not {"hashing", "approxmc"} <= set(scores):
        return
    for mine, colour in zip(_families(columns).values(), itertools.cycle(plots.COLOURS)):
        x, y = scores["approxmc"][mine], scores["hashing"][mine]
        axes.plot(x, y, "o", color=colour, markersize=4, alpha=0.8)
    axes.plot([SHORTEST, 2 * limit], [SHORTEST, 2 * limit], color="grey", linewidth=0.8, marker="")
    axes.axhline(limit, color="grey", linestyle=":", marker="", label="limit; beyond it: timeouts")
    axes.axvline(limit, color="grey", linestyle=":", marker="")
    axes.set_xscale("log")
    axes.set_yscale("log")


def _draw_ratios(axes: Axes, columns: Mapping[str, Any]) -> None:
    """Bars per family from 1 to each ratio; the solid one is hashing against ApproxMC."""
    families, colours = _families(columns), itertools.cycle(plots.COLOURS)
    for number, (mine, colour) in enumerate(zip(families.values(), colours)):
        for side, (pair, ratio) in enumerate(_ratios(columns, mine).items()):
            y, alpha = number - 0.3 + 0.3 * side, 1 - 0.35 * side
            if math.isfinite(ratio):
                axes.barh(y, ratio - 1, 0.28, left=1, color=colour, alpha=alpha, label=pair)
    axes.axvline(1, color="black", linewidth=0.8, marker="")
    axes.set_xscale("log")
    axes.set_yticks(range(len(families)), list(families), fontsize="small")
    axes.set_ylim(len(families) - 0.5, -0.5)


def _formulas(config: Config, scratch: Path) -> list[Path]:
    """The files of the folder, or of formulas written to ``scratch``: families or our own."""
    made = {} if config.folder else OWN
    if config.families:
        made = counting_families.families(config.families)
    for file, formula in ((scratch / f"{name}.cnf", made[name]) for name in made):
        if file.match(config.pattern):
            dimacs.write(formula(), file)
    found = Path(config.folder or scratch).glob(config.pattern)
    files = sorted(file for file in found if ".cnf" in file.suffixes)
    if not files:
        raise ValueError(f"expected .cnf files like {config.pattern} in {config.folder!r}")
    return files


class CounterRun(NamedTuple):
    """A counter's run on a formula, and the one on one clause before it."""

    file: Path
    tool: str
    seconds_start: float
    seconds: float
    answer: dict[str, Any]


def _run_all(config: Config, key: Any, turn: int, file: Path) -> list[CounterRun]:
    """All counters on one formula, in an order that ``turn`` rotates."""
    seed = int(randomness.generator(key, "count_benchmark", file.name).integers(2**31))
    firsts = [(turn + repeat) % len(config.tools) for repeat in range(config.repeats)]
    order = [tool for i in firsts for tool in config.tools[i:] + config.tools[:i]]
    with tempfile.NamedTemporaryFile("w", suffix=".cnf") as clause:
        print("p cnf 1 1\n1 0", file=clause, flush=True)
        return [_run_one(config, tool, file, clause.name, seed) for tool in order]


def _run_one(config: Config, tool: str, file: Path, clause: str, seed: int) -> CounterRun:
    start, answer = commands.call(_words(config, tool, clause, seed), limit=60.0)
    if answer["status"] != "done":
        raise RuntimeError(f"{tool} fails on one clause: {answer.get('message', 'timeout')}")
    limit = config.timeout + start + GRACE
    return CounterRun(file, tool, start, *commands.call(_words(config, tool, file, seed), limit))


def _rows(
    config: Config, files: list[Path], turn: int, runs: list[CounterRun]
) -> list[dict[str, Any]]:
    """One row per counter from all runs on formula ``turn``."""
    rows, near = [], files[max(turn - 2, 0) : turn + 3]
    for tool in config.tools:
        mine = [one for one in runs if one.tool == tool]
        start = float(np.median([one.seconds_start for one in mine if one.file in near]))
        repeats = [_row(config, one, start) for one in mine if one.file == files[turn]]
        repeats.sort(key=operator.itemgetter("seconds_par2"))
        rows.append(repeats[len(repeats) // 2])
    exact = [row["log2_value"] for row in rows if row["tool"] == "ganak" and row["solved"]]
    for row in rows:
        row["contradicts"] = bool(exact) and not _holds(row, exact[0])
    return rows


def _row(config: Config, one: CounterRun, start: float) -> dict[str, Any]:
    net, answer = max(one.seconds - start, SHORTEST), one.answer
    solved = answer["status"] in ("done", "unsatisfiable") and net <= config.timeout
    bounds = {"log2_value": math.nan, "log2_lower": -math.inf, "log2_upper": math.inf}
    return {
        "problem": one.file.name,
        "family": "".join(one.file.name.split("__", 1)[:-1]),
        "tool": one.tool,
        "seconds_net": net,
        "seconds_wall": one.seconds,
        "seconds_start": start,
        "seconds_par2": net if solved else 2 * config.timeout,
        "status": answer["status"],
        "solved": solved,
        "method": answer.get("method", ""),
        **{name: float(answer.get(name, missing)) for name, missing in bounds.items()},
        "message": answer.get("message", ""),
    }


def _holds(row: Mapping[str, Any], exact: float) -> bool:
    """Whether the interval holds the exact count, both in bits and up to rounding."""
    near = [math.isclose(exact, row[f"log2_{side}"], abs_tol=1e-9) for side in ("lower", "upper")]
    return any(near) or row["log2_lower"] <= exact <= row["log2_upper"]


def _words(config: Config, tool: str, file: Path | str, seed: int) -> list[Any]:
    accuracy = {"--epsilon": config.epsilon, "--delta": config.delta, "--seed": seed}
    if tool in PEERS and not config.weights:
        return ["experiments.harness.peers", tool, file, *accuracy.values()]
    # Weighted, Ganak needs the scaling of `tally count`, as it returns doubles.
    method = OURS.get(tool, tool)
    options = {"--method": method, "--timeout": config.timeout, "--jobs": config.jobs}
    options |= accuracy
    words = [word for option in options.items() for word in option]
    words += [] if config.weights else ["--ignore-weights"]
    return ["experiments", "count", file, "--json", "--quiet", *words]


def _by_tool(columns: Mapping[str, Any], name: str) -> dict[str, np.ndarray]:
    """A column's values of each counter, in the order of the formulas."""
    tools = dict.fromkeys(columns["tool"].tolist())
    return {tool: columns[name][columns["tool"] == tool] for tool in tools}


def _families(columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Which formulas are in each family: bool [formulas]."""
    [first, *_] = _by_tool(columns, "family").values()
    return {family: first == family for family in dict.fromkeys(first.tolist())}


def _scores(columns: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Seconds, twice the limit where it was passed, and what was solved; with the best peer's."""
    scores, solved = _by_tool(columns, "seconds_par2"), _by_tool(columns, "solved")
    peers = [tool for tool in PEERS if tool in scores]
    if peers:
        scores["best_peer"] = np.min([scores[tool] for tool in peers], axis=0)
        solved["best_peer"] = np.any([solved[tool] for tool in peers], axis=0)
    return scores, solved


def _ratios(columns: Mapping[str, Any], mine: Any = True) -> dict[str, float]:
    """Geometric means of ratios of times over formulas ``mine`` (bool [formulas], or all).

    Formulas that take both less than ``RATIO_FROM`` say nothing, nor do those that neither solves;
    where one does, the other's timeout stands at twice the limit.
    """
    scores, solved = _scores(columns)
    ratios = {}
    for over, under in RATIOS:
        if over in scores and under in scores:
            kept = mine & (solved[over] | solved[under])
            kept &= np.maximum(scores[over], scores[under]) >= RATIO_FROM
            logs = np.log(scores[over][kept] / scores[under][kept])
            ratios[f"{over} / {under}"] = float(np.exp(logs.mean())) if kept.any() else math.nan
    return ratios


def _summary(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Over all formulas: solved, mean PAR-2 seconds, ratios, contradictions, seconds of starts."""
    scores, solved = _scores(columns)
    scalars: dict[str, Any] = {f"solved_{tool}": int(solved[tool].sum()) for tool in scores}
    scalars |= {f"par2_{tool}": float(scores[tool].mean()) for tool in scores}
    for pair, ratio in _ratios(columns).items():
        scalars[f"ratio_{pair.replace(' / ', '_')}"] = ratio
    if {"auto", "best_peer"} <= set(scores):
        scalars["ratio_par2_auto_best_peer"] = scalars["par2_auto"] / scalars["par2_best_peer"]
    for tool, wrong in _by_tool(columns, "contradicts").items():
        scalars[f"contradictions_{tool}"] = int(wrong.sum())
    for tool, seconds in _by_tool(columns, "seconds_start").items():
        scalars[f"seconds_start_{tool}"] = float(np.median(seconds))
    return scalars


def _by_family(columns: Mapping[str, Any]) -> dict[str, str]:
    """Per family, a line: formulas; solved and mean PAR-2 seconds of each counter; ratios."""
    scores, solved = _scores(columns)
    lines = {}
    for family, mine in _families(columns).items():
        parts = [f"{mine.sum()} formulas"]
        for tool in scores:
            parts.append(f"{tool} {solved[tool][mine].sum()} in {scores[tool][mine].mean():.2f} s")
        ratios = _ratios(columns, mine).items()
        parts += [f"{pair} {ratio:.2f}" for pair, ratio in ratios if math.isfinite(ratio)]
        lines[f"family {family or '(none)'}:"] = ", ".join(parts)
    return lines
