"""Shared figure helpers: one look for all figures, without pyplot's global state.

figure, [axes] = plots.new_figure("side of the grid", "time [s]", title="Elimination")
axes.plot(sides, seconds, label="Tally")
plots.finish(figure)
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with every common kind of colour vision. Markers repeat the
# distinction for print without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def new_figure(
    x_label: str | Sequence[str], y_label: str | Sequence[str], *, title: str = "", panels: int = 1
) -> tuple[Figure, list[Axes]]:
    """A figure with ``panels`` axes side by side; labels carry units, one per panel or shared."""
    figure = Figure(figsize=(5.0 * panels, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    labels = zip(axes, _per_panel(x_label, panels), _per_panel(y_label, panels), strict=True)
    for one, x, y in labels:
        one.set_prop_cycle(cycler(color=COLOURS) + cycler(marker=MARKERS))
        one.set_xlabel(x)
        one.set_ylabel(y)
        one.spines[["top", "right"]].set_visible(False)
        one.grid(True, alpha=0.25, linewidth=0.6)
    if title:
        figure.suptitle(title, fontsize="medium")
    return figure, axes


def add_intervals(
    axes: Axes,
    x: Sequence[float] | np.ndarray,
    value: Sequence[float] | np.ndarray,
    lower: Sequence[float] | np.ndarray,
    upper: Sequence[float] | np.ndarray,
    *,
    label: str,
) -> None:
    """Draws values with bars from ``lower`` to ``upper``; an infinite side draws no bar."""
    middle = np.asarray(value, dtype=float)
    sides = [middle - np.asarray(lower, float), np.asarray(upper, float) - middle]
    bars = [np.where(np.isfinite(side), np.maximum(side, 0.0), 0.0) for side in sides]
    axes.errorbar(x, middle, yerr=np.stack(bars), label=label, linestyle="none", capsize=2.5)


def finish(figure: Figure) -> Figure:
    """Adds a legend to every panel that has labels; returns the figure."""
    for axes in figure.axes:
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize="small")
    return figure


def save(figure: Figure, path: Path) -> None:
    """Writes a figure in the format the file name says."""
    figure.savefig(path, dpi=150, metadata={"Software": None} if path.suffix == ".png" else None)


def _per_panel(label: str | Sequence[str], panels: int) -> list[str]:
    return [label] * panels if isinstance(label, str) else list(label)
