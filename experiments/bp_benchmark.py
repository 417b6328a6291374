"""Belief propagation against PGMax and libDAI, in messages a second.

Spin glasses on grids and on random regular graphs, batches of small grids, and UAI models of a
folder. Both sides make the same rounds of flooding with damping one half, from uniform messages and
in turn; compilation and building are apart, the median of the repeats counts. A message is one row
from a factor to a variable.

    tally run bp_benchmark --folder DIR

Expected: marginals within 1e-5 of PGMax's and of our own plain kernel's, except on UAI models with
strong couplings, where rounding grows from round to round; and on idle cores at least 20 times
PGMax's rate on grids of 50 a side and more, 8 times on other binary pairwise graphs and on batches,
3 times on UAI models. The default takes two minutes. Without PGMax its columns are NaN; libDAI's
are unless ``libdai`` names a program that reads a UAI file and a number of rounds and prints one
JSON object with ``seconds`` and ``marginals``.
"""

import dataclasses
import functools
import json
import math
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import tqdm
from matplotlib.figure import Figure

from experiments.harness import message_passing_peers, plots, promises, registry
from inference import randomness
from inference.message_passing import bp, bp_batch
from inference.problems import factor_graph, uai

TARGETS = {"grid": 20.0, "regular": 8.0, "batch": 8.0, "uai": 3.0}  # times PGMax's rate


@dataclasses.dataclass(frozen=True)
class Config:
    """Which graphs, how many rounds and repeats.

    Couplings and fields are small enough that nearly all runs converge.
    """

    sides: tuple[int, ...] = (10, 20, 50, 100, 200, 500)
    """Sides of the grids."""
    regular: tuple[int, ...] = (1000, 10000)
    """Nodes of the random graphs of degree three."""
    batch: int = 64
    """Grids of side 10 in one batch."""
    folder: str = ""
    """UAI models; without it, none."""
    pattern: str = "*.uai*"
    """Which files of the folder."""
    coupling: float = 0.5
    """Standard deviation of the couplings, which are normal."""
    field: float = 0.5
    """Standard deviation of the fields, which are normal."""
    rounds: int = 200
    """Rounds that are timed."""
    repeats: int = 5
    """Times of which the median counts."""
    residual: float = 1e-5
    """Messages have converged when none changes by more, in nats."""
    peer_messages: int = 200_000
    """Above so many messages others are left out, as building takes them minutes."""
    libdai: str = ""
    """A program that runs libDAI."""


@registry.experiment(
    presets={
        "smoke": Config((4,), (12,), batch=2, rounds=16, repeats=1, peer_messages=50),
        "default": Config(),
        "paper": Config(
            sides=(10, 20, 50, 100, 200, 500, 1000), regular=(1000, 10000, 100000), repeats=9
        ),
    },
    paper="Zhou et al., PGMax: Factor Graphs for Discrete Probabilistic Graphical Models, 2024",
)
def run(config: Config, key: Any) -> registry.Result:
    """One row per graph; rates in millions of messages a second."""
    rows = []
    for family, name, graphs in tqdm.tqdm(list(_graphs(config, key)), leave=False, disable=None):
        rows.append({"family": family, "graph": name, **_compare(config, graphs())})
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    scalars, units = {}, {}
    for family in dict.fromkeys(columns["family"].tolist()):
        here = columns["family"] == family
        name = f"seconds_rate_{family}_median"
        scalars[name] = np.median(columns["seconds_rate_tally"][here])
        units[name] = "million messages/s"
        ratios = columns["seconds_ratio"][here]
        if np.isfinite(ratios).any():
            scalars[f"seconds_ratio_{family}_median"] = np.nanmedian(ratios)
            scalars[f"seconds_ratio_{family}_worst"] = np.nanmin(ratios)
    return registry.Result(columns, scalars, units=units)


def check(result: registry.Result) -> None:
    """On drawn graphs the marginals are those of PGMax and of the plain kernel within 1e-5."""
    drawn = result.columns["family"] != "uai"
    for name, other in (("difference", "PGMax"), ("difference_plain", "the plain kernel")):
        far = np.nanmax([0.0, *result.columns[name][drawn]])
        what = f"expected marginals within 1e-5 of those of {other}, given {far:.2g}"
        promises.expect(far <= 1e-5, what)


def plot(result: registry.Result) -> Figure:
    """Rates by the number of messages, and ratios to PGMax with what was aimed for."""
    columns = result.columns
    compared = bool(np.isfinite(columns["seconds_ratio"]).any())  # else there is no second panel
    figure, [rates, *ratios] = plots.new_figure(
        "messages of one round",
        ["messages per second [million]", "rate over PGMax's"][: 1 + compared],
        panels=1 + compared,
        title="Belief propagation, damped flooding in float32",
    )
    families = dict.fromkeys(columns["family"].tolist())
    for number, tool in enumerate(("tally", "pgmax", "libdai")):
        for turn, family in enumerate(families):
            mine = columns["family"] == family
            style: dict[str, Any] = {"color": plots.COLOURS[number], "linestyle": "none"}
            style |= {"marker": plots.MARKERS[turn], "label": f"{tool}, {family}"}
            rates.plot(columns["messages"][mine], columns[f"seconds_rate_{tool}"][mine], **style)
    for axes in ratios:
        for number, family in enumerate(families):
            mine = columns["family"] == family
            style = plots.style(number) | {"linestyle": "none", "label": family}
            axes.plot(columns["messages"][mine], columns["seconds_ratio"][mine], **style)
            target: dict[str, Any] = {"color": plots.COLOURS[number], "linestyle": "--"}
            axes.axhline(TARGETS[family], linewidth=0.8, marker="", **target)
    for axes in figure.axes:
        axes.set_xscale("log")
        axes.set_yscale("log")
    return plots.finish(figure)


Graphs = list[factor_graph.FactorGraph]


def _graphs(config: Config, key: Any) -> Iterator[tuple[str, str, Callable[[], Graphs]]]:
    """Family, name and a function that makes the graphs, several where they are one batch."""
    for side in config.sides:
        yield "grid", f"{side}x{side}", functools.partial(_grids, config, key, side, 1)
    for size in config.regular:
        yield "regular", f"{size} nodes", functools.partial(_regular, config, key, size)
    many = functools.partial(_grids, config, key, 10, config.batch)
    yield "batch", f"{config.batch} of 10x10", many
    if config.folder:
        for file in sorted(Path(config.folder).glob(config.pattern)):
            if ".uai" in file.suffixes and file.suffixes[-1] != ".evid":
                yield "uai", file.name, functools.partial(_read, file)


def _read(file: Path) -> Graphs:
    return [uai.read(file)]


def _grids(config: Config, key: Any, side: int, number: int) -> Graphs:
    site = np.arange(side * side).reshape(side, side)
    right = np.stack([site[:, :-1].ravel(), site[:, 1:].ravel()], axis=1)
    down = np.stack([site[:-1].ravel(), site[1:].ravel()], axis=1)
    edges = np.concatenate([right, down])
    return [_glass(config, key, edges, side * side, i) for i in range(number)]


def _regular(config: Config, key: Any, size: int) -> Graphs:
    seed = int(randomness.generator(key, "bp_benchmark", "regular", size).integers(2**31))
    edges = np.array(nx.random_regular_graph(3, size, seed=seed).edges)
    return [_glass(config, key, edges, size, 0)]


def _glass(
    config: Config, key: Any, edges: np.ndarray, size: int, number: int
) -> factor_graph.FactorGraph:
    """As ``generators.spin_model``, without a Python object per factor."""
    rng = randomness.generator(key, "bp_benchmark", len(edges), number)
    spins = np.array([-1.0, 1.0])
    couplings = config.coupling * rng.normal(size=len(edges))
    tables = couplings[:, None, None] * np.outer(spins, spins)
    group = factor_graph.FactorGroup(edges.astype(np.int32), tables)
    fields = config.field * rng.normal(size=size)
    return factor_graph.FactorGraph(
        np.full(size, 2, np.int32), fields[:, None] * spins, (group,), np.float64(0.0)
    )


def _compare(config: Config, graphs: Graphs) -> dict[str, Any]:
    """Rates of all tools on one graph or batch, in turn, and how far they agree."""
    graph, ids, constants = bp_batch.join(graphs)
    messages = sum(group.variables.size for group in graph.groups)
    prepared = bp.prepare(graph, graph_ids=ids, log_constants=constants, dtype=np.float32)
    peer = message_passing_peers.pgmax(graph) if messages <= config.peer_messages else None
    plain = None
    if messages <= config.peer_messages:
        kernel = bp.prepare(
            graph, graph_ids=ids, log_constants=constants, dtype=np.float32, fast=False
        )
        plain = _tally(kernel, config.rounds)[0]
    state, _ = bp.run(prepared, bp.init(prepared), tolerance=config.residual)
    rounds = int(state.iterations.max()) if state.converged.all() else 0
    shares = _tally(prepared, config.rounds)[0]
    times: dict[str, list[float]] = {"tally": [], "pgmax": [], "tally_to": [], "pgmax_to": []}
    apart = math.nan
    for _ in range(config.repeats):
        times["tally"].append(_tally(prepared, config.rounds)[1])
        times["tally_to"].append(_tally(prepared, rounds)[1] if rounds else math.nan)
        if peer is not None:
            theirs, spent = peer(config.rounds)
            times["pgmax"].append(spent)
            times["pgmax_to"].append(peer(rounds)[1] if rounds else math.nan)
            apart = float(np.abs(theirs - shares).max())
    seconds = {name: float(np.median(own)) if own else math.nan for name, own in times.items()}
    seconds["libdai"] = _libdai(config, graph) if messages <= config.peer_messages else math.nan
    work = config.rounds * messages / 1e6
    return {
        "messages": messages,
        "layout": prepared.layout_name,
        "rounds_to_residual": rounds,
        "seconds_rate_tally": work / seconds["tally"],
        "seconds_rate_pgmax": work / seconds["pgmax"],
        "seconds_rate_libdai": work / seconds["libdai"],
        "seconds_ratio": seconds["pgmax"] / seconds["tally"],
        "seconds_to_residual_tally": seconds["tally_to"],
        "seconds_to_residual_pgmax": seconds["pgmax_to"],
        "difference": apart,
        "difference_plain": math.nan if plain is None else float(np.abs(plain - shares).max()),
    }


def _tally(prepared: bp.Prepared, rounds: int) -> tuple[np.ndarray, float]:
    """Marginals after so many rounds, and the seconds of the rounds."""
    begun = time.perf_counter()
    state, _ = bp.run(prepared, bp.init(prepared), tolerance=0.0, iterations=rounds)
    seconds = time.perf_counter() - begun
    return bp.beliefs(prepared, state), seconds


def _libdai(config: Config, graph: factor_graph.FactorGraph) -> float:
    if not config.libdai:
        return math.nan
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.uai")
        uai.write(graph, file)
        words = [config.libdai, str(file), str(config.rounds)]
        done = subprocess.run(words, capture_output=True, check=True, text=True)
    return float(json.loads(done.stdout)["seconds"])
