"""log Z of Ising grids by elimination, against the transfer matrix.

Square grids, ferromagnets and spin glasses, weak and strong couplings. The transfer matrix adds the
grid site by site in extended precision and shares no code with elimination; the difference should
stay below the rounding error that elimination states.

    tally run elimination_ising

Expected: every difference below what is stated, by a factor of ten or more; width near the side of
the grid, its treewidth, and equal to it from side 12 on. The default takes ten seconds, the paper
preset three minutes.
"""

import dataclasses
import itertools
import time
from typing import Any

import numpy as np
import tqdm
from matplotlib.figure import Figure

from experiments.harness import plots, promises, registry
from inference import randomness
from inference.exact import elimination
from inference.problems import factor_graph, generators

MODELS = ("ferromagnet", "spin glass")


@dataclasses.dataclass(frozen=True)
class Config:
    """Which grids."""

    sides: tuple[int, ...] = (2, 4, 6, 8, 10, 12, 14, 16)
    """Sides of the grids."""
    strengths: tuple[float, ...] = (0.1, 0.44, 3.0)
    """All couplings of a ferromagnet; standard deviation of a spin glass's, which are normal.

    In units of the temperature; 0.44 is near the ferromagnet's phase transition."""
    field: float = 0.1
    """The field on every spin."""


@registry.experiment(
    presets={
        "smoke": Config(sides=(2, 4, 6), strengths=(0.44,)),
        "default": Config(),
        "paper": Config(sides=(2, 4, 6, 8, 10, 12, 14, 16, 18, 20)),
    },
)
def run(config: Config, key: Any) -> registry.Result:
    """One row per side, model and strength; errors and bounds in nats."""
    grids = list(itertools.product(config.sides, MODELS, config.strengths))
    rows = [
        _compare(side, model, strength, config.field, key)
        for side, model, strength in tqdm.tqdm(grids, "grids", leave=False, disable=None)
    ]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    inside = int((columns["error"] <= columns["stated_error"]).sum())
    scalars = {"inside_stated_error": inside, "grids": len(rows)}
    scalars["worst_error"] = columns["error"].max()
    return registry.Result(columns, scalars, units={"worst_error": "nats"})


def check(result: registry.Result) -> None:
    """Every difference is within the error that elimination states; no width is below the side."""
    columns, grids = result.columns, result.scalars["grids"]
    inside = int(np.sum(columns["error"] <= columns["stated_error"]))
    promises.expect(inside == grids, f"expected {grids} errors as stated, given {inside}")
    narrow = int(np.sum(columns["width"] < columns["side"]))
    promises.expect(not narrow, f"expected widths of at least the side, given {narrow} below")


def plot(result: registry.Result) -> Figure:
    """Errors (0 is drawn at 1e-17) with what was stated; time; width with the treewidth."""
    columns = result.columns
    side = columns["side"]
    figure, [errors, times, widths] = plots.new_figure(
        "side of the grid",
        ["error of log Z [nats]", "time [s]", "width [variables]"],
        panels=3,
        title="Elimination on Ising grids against the transfer matrix",
    )
    for number, model in enumerate(MODELS):
        mine = columns["model"] == model
        at = side[mine] + 0.3 * number
        style: dict[str, Any] = plots.style(number) | {"linestyle": "none"}
        difference = np.maximum(columns["error"][mine], 1e-17)
        errors.plot(at, difference, label=f"{model}: difference", **style)
        stated = columns["stated_error"][mine]
        errors.plot(at, stated, label=f"{model}: stated", **style | {"marker": "_"})
    sides = np.unique(side)
    for name, label in (("elimination", "elimination"), ("transfer", "transfer matrix")):
        seconds = [np.median(columns[f"seconds_{name}"][side == one]) for one in sides]
        times.plot(sides, seconds, label=f"{label}, median")
    widths.plot(sides, [columns["width"][side == one].max() for one in sides], label="largest")
    widths.plot(sides, sides, marker="", linestyle="--", color="grey", label="treewidth")
    for axes in figure.axes:
        axes.set_xticks(sides)
    widths.set_yticks(sides)
    errors.set_yscale("log")
    times.set_yscale("log")
    return plots.finish(figure)


def _compare(side: int, model: str, strength: float, field: float, key: Any) -> dict[str, Any]:
    rng = randomness.generator(key, "elimination_ising", side, model, str(strength))
    couplings = np.full((2, side, side), strength)
    if model == "spin glass":
        couplings = strength * rng.normal(size=couplings.shape)
    fields = np.full((side, side), field)
    estimate, info = elimination.log_partition(_graph(couplings, fields))
    start = time.perf_counter()
    expected = _transfer_matrix(couplings, fields)
    return {
        "side": side,
        "model": model,
        "strength": strength,
        "log_partition": estimate.log_value,
        "error": float(abs(estimate.log_value - expected)),
        "stated_error": max(
            estimate.log_upper - estimate.log_value, estimate.log_value - estimate.log_lower
        ),
        "width": info.width,
        "bytes": info.bytes_needed,
        "seconds_elimination": info.seconds,
        "seconds_transfer": time.perf_counter() - start,
    }


def _graph(couplings: np.ndarray, fields: np.ndarray) -> factor_graph.FactorGraph:
    """The grid with couplings [2, n, n] to the right and down (the last ones unused)."""
    site = np.arange(fields.size).reshape(fields.shape)
    right = np.stack([site[:, :-1].ravel(), site[:, 1:].ravel()], axis=1)
    down = np.stack([site[:-1].ravel(), site[1:].ravel()], axis=1)
    strengths = np.concatenate([couplings[0, :, :-1].ravel(), couplings[1, :-1].ravel()])
    return generators.spin_model(np.concatenate([right, down]), strengths, fields.ravel())


def _transfer_matrix(couplings: np.ndarray, fields: np.ndarray) -> Any:
    """log Z in extended precision where the machine has it, one site after the other.

    ``weights`` has one entry per state of the last ``n`` sites; adding a site sums over the one
    above it. All terms are positive, so that the relative error grows by a few units per site.
    """
    n = len(fields)
    spins = np.array([-1.0, 1.0], dtype=np.longdouble)
    weights, log_scale = np.ones(1, dtype=np.longdouble), np.longdouble(0)
    for i in range(n):
        for j in range(n):
            if i == 0:
                weights = np.repeat(weights, 2)  # a new last axis
            old = weights.reshape(2**j, 2, -1)
            weights = np.empty_like(old)
            down = np.exp(couplings[1, i - 1, j] * np.outer(spins, spins)) if i else np.eye(2)
            for new in (0, 1):
                weights[:, new] = down[0, new] * old[:, 0] + down[1, new] * old[:, 1]
                weights[:, new] *= np.exp(fields[i, j] * spins[new])
            if j:
                left = weights.reshape(2 ** (j - 1), 2, 2, -1)
                left *= np.exp(couplings[0, i, j - 1] * np.outer(spins, spins))[:, :, None]
            largest = weights.max()
            weights /= largest
            log_scale += np.log(largest)
    return log_scale + np.log(weights.sum())
