"""The figure of `tally density`: ln n(E), and ln Z and the mean energy against the temperature.

plots.save(draw(found, is_formula=True, title="formula.cnf"), Path("density.png"))
"""

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.harness import plots

POINTS = 120  # of a curve against the temperature


def draw(found: Any, is_formula: bool, *, title: str = "") -> Figure:
    """Three panels; ``found`` is a ``density.DensityOfStates``."""
    energy = "violated clauses" if is_formula else "energy [nats]"
    temperature = "temperature [clauses]" if is_formula else "temperature"
    figure, [counts, values, means] = plots.new_figure(
        [energy, temperature, temperature],
        ["ln of the number of states [nats]", "ln Z [nats]", f"mean {energy}"],
        title=title,
        panels=3,
    )
    draw_counts(counts, found)
    known = np.isfinite(found.energies)
    if known.sum() > 1:
        draw_temperatures(values, means, found, is_formula)
    return plots.finish(figure)


def draw_counts(axes: plots.Axes, found: Any) -> None:
    """Levels with error bars of two standard errors; those without one are hollow."""
    known = np.isfinite(found.energies)
    if found.merged:
        known[-1] = False
    sure = known & np.isfinite(found.standard_error)
    style: dict[str, Any] = {"linestyle": "none", "markersize": 3}
    axes.errorbar(
        found.energies[sure],
        found.log_count[sure],
        2.0 * found.standard_error[sure],
        label="estimate, two standard errors",
        **plots.style(0) | style,
    )
    axes.plot(
        found.energies[known & ~sure],
        found.log_count[known & ~sure],
        label="no standard error",
        **plots.style(1) | style | {"markerfacecolor": "none"},
    )


def draw_temperatures(values: plots.Axes, means: plots.Axes, found: Any, is_formula: bool) -> None:
    """ln Z with a band of two standard errors, and the mean energy, over four decades."""
    finite = found.energies[np.isfinite(found.energies)]
    scale = 1.0 if is_formula else max(float(np.diff(finite).min()), 1e-3)
    temperatures = np.geomspace(0.1 * scale, max(10.0 * scale, float(np.ptp(finite))), POINTS)
    log_z = np.array([found.log_partition(1.0 / t) for t in temperatures])
    error = np.array([found.log_partition_error(1.0 / t) for t in temperatures])
    style: dict[str, Any] = plots.style(0) | {"marker": ""}
    values.plot(temperatures, log_z, label="estimate", **style)
    if np.isfinite(error).all():
        band = log_z - 2.0 * error, log_z + 2.0 * error
        shade: dict[str, Any] = {"alpha": 0.25, "color": style["color"]}
        values.fill_between(temperatures, *band, label="two standard errors", **shade)
    energies = [found.mean_energy(1.0 / t) for t in temperatures]
    means.plot(temperatures, energies, label="estimate", **style)
    for axes in (values, means):
        axes.set_xscale("log")
        if not is_formula:
            axes.axvline(1.0, color="grey", linestyle="--", linewidth=0.8, label="the model")
        elif axes is values and math.isfinite(found.count().log_value):
            axes.axhline(found.count().log_value, color="grey", linestyle="--", label="ln count")
