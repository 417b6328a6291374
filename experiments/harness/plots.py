"""Shared figure helpers: one look for all figures, without pyplot's global state.

figure, [axes] = plots.new_figure("side of the grid", "time [s]", title="Elimination")
axes.plot(sides, seconds, label="Tally")
plots.finish(figure)
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from cycler import cycler
from matplotlib import container, lines, ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with every common kind of colour vision. Markers repeat the
# distinction for print without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
PANEL = (5.0, 3.8)  # inches, without the legend


def style(number: int) -> dict[str, Any]:
    """Colour and marker of a series: seven colours, then the same with other markers."""
    turn, colour = divmod(number, len(COLOURS))
    return {"color": COLOURS[colour], "marker": MARKERS[(colour + turn) % len(MARKERS)]}


def new_figure(
    x_label: str | Sequence[str], y_label: str | Sequence[str], *, title: str = "", panels: int = 1
) -> tuple[Figure, list[Axes]]:
    """A figure with ``panels`` axes side by side; labels carry units, one per panel or shared."""
    figure = Figure(figsize=(PANEL[0] * panels, PANEL[1]), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    styles = [style(number) for number in range(len(COLOURS) * len(MARKERS))]
    cycles = cycler(**{name: [one[name] for one in styles] for name in styles[0]})
    labels = zip(axes, _per_panel(x_label, panels), _per_panel(y_label, panels), strict=True)
    for one, x, y in labels:
        one.set_prop_cycle(cycles)
        one.set_xlabel(x)
        one.set_ylabel(y)
        one.spines[["top", "right"]].set_visible(False)
        one.grid(True, alpha=0.25, linewidth=0.6)
    if title:
        figure.suptitle(title, fontsize="medium")
    return figure, axes


def heat_map(
    marginals: np.ndarray, rows: int, columns: int, *, title: str = "", names: Sequence[str] = ()
) -> Figure:
    """Marginals [V, S] of a grid numbered row by row: a panel per state, of two the last alone.

    ``names`` are those of the states, by default "state 0" and so on.

    Raises:
      ValueError: V is not rows times columns.
    """
    shares = np.asarray(marginals, dtype=float)
    if shares.ndim != 2 or len(shares) != rows * columns:
        size = f"[{rows * columns}, S] for {rows} x {columns}"
        raise ValueError(f"expected marginals {size}, given {list(shares.shape)}")
    states = list(range(shares.shape[1]))[-1 if shares.shape[1] == 2 else 0 :]
    figure, panels = new_figure("column", "row", title=title, panels=len(states))
    for axes, state in zip(panels, states, strict=True):
        image = axes.imshow(shares[:, state].reshape(rows, columns), vmin=0.0, vmax=1.0)
        axes.set_title(f"Pr({names[state] if names else f'state {state}'})", fontsize="medium")
        axes.grid(False)
        integer_ticks(axes.xaxis, axes.yaxis)
    figure.colorbar(image, ax=panels, label="marginal probability")
    return figure


def integer_ticks(*axes: Axis) -> None:
    """Ticks at integers alone, for sizes and numbers of things."""
    for axis in axes:
        axis.set_major_locator(ticker.MaxNLocator(integer=True, min_n_ticks=1))


def finish(figure: Figure) -> Figure:
    """Labels logarithmic axes sparsely and adds legends outside the panels; returns the figure.

    Entries of which nothing is drawn are left out. A panel goes without a legend where the next
    one shows all of its entries; if only one legend is left, it stands below the whole figure.
    """
    legends: list[tuple[Axes, dict[str, Any]]] = []
    following: dict[str, Any] = {}
    for axes in reversed(figure.axes):
        for axis in (axes.xaxis, axes.yaxis):
            _space_ticks(axis)
        shown = {label: handle for label, handle in _entries(axes) if _has_points(handle)}
        if not shown.keys() <= following.keys():
            legends.append((axes, shown))
        following = shown
    if len(legends) == 1 and len(figure.axes) > 1:
        heights = [_add_legend(figure, figure, legends[0][1], loc="outside lower center")]
    else:
        above: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0)}
        heights = [_add_legend(figure, axes, shown, **above) for axes, shown in legends]
    figure.set_figheight(figure.get_figheight() + max(heights, default=0.0))
    return figure


class Described(NamedTuple):
    """A figure that notebooks show with a text for those who do not see it."""

    figure: Figure
    text: str

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        written = io.BytesIO()
        self.figure.savefig(written, format="png", dpi=110)
        return written.getvalue(), {"alt": self.text}


def save(figure: Figure, path: Path) -> None:
    """Writes a figure in the format the file name says."""
    figure.savefig(path, dpi=150, metadata={"Software": None} if path.suffix == ".png" else None)


def _per_panel(label: str | Sequence[str], panels: int) -> list[str]:
    return [label] * panels if isinstance(label, str) else list(label)


def _entries(axes: Axes) -> list[tuple[str, Any]]:
    """Labels and what they name; of equal labels the first."""
    handles, labels = axes.get_legend_handles_labels()
    first = {label: handle for label, handle in reversed(list(zip(labels, handles)))}
    return [(label, first[label]) for label in labels]


def _add_legend(figure: Figure, where: Any, shown: dict[str, Any], **place: Any) -> float:
    """A legend of axes or of the figure, in as many columns as fit; its height in inches."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    width = figure.get_figwidth() if where is figure else PANEL[0]
    for columns in range(len(shown), 0, -1):
        options: dict[str, Any] = {"frameon": False, "fontsize": "small", "borderaxespad": 0.0}
        options |= {"ncols": columns, **place}
        legend = where.legend(shown.values(), shown.keys(), **options)
        box = legend.get_window_extent(renderer)
        if box.width / figure.dpi <= 0.85 * width or columns == 1:
            break
        legend.remove()
    return box.height / figure.dpi


def _has_points(handle: Any) -> bool:
    """Whether a line has a finite point, or a bar a finite length."""
    if isinstance(handle, container.BarContainer):
        return any(np.isfinite([one.get_width(), one.get_height()]).all() for one in handle)
    if not isinstance(handle, lines.Line2D):
        return True
    points = np.array(np.broadcast_arrays(handle.get_xdata(), handle.get_ydata()), dtype=float)
    return bool(np.isfinite(points).all(axis=0).any())


def _space_ticks(axis: Axis) -> None:
    """Where a logarithmic axis covers few powers of ten: plain labels, as many as fit."""
    scale, [low, high] = axis.get_scale(), sorted(axis.get_view_interval())
    if scale not in ("log", "symlog"):
        return
    axis.set_minor_formatter(ticker.NullFormatter())
    least, most = sorted((abs(low), abs(high)))
    if scale == "symlog":
        linear = axis.get_transform().linthresh  # type: ignore[attr-defined]
        least = least if low * high > 0 and least > linear else linear
    decades = np.log10(most / least)
    if scale == "symlog" or decades < 2.0:
        axis.set_major_formatter("{x:g}")
    if decades < 0.7:
        axis.set_major_locator(ticker.MaxNLocator(5))
        axis.set_minor_locator(ticker.NullLocator())
    elif decades < 2.0:
        locator: Any = axis.get_major_locator()
        locator.set_params(subs=(1.0, 2.0, 5.0))
