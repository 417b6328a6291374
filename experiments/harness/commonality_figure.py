"""The figure of ``tally count --each``: sorted shares, and the options that are least free.

plots.save(draw(options, title="busybox.cnf"), Path("options.png"))
"""

import numpy as np
from matplotlib.figure import Figure

from experiments.harness import commonality, plots

NAMED = 12  # options that are named
LETTERS = 32  # of a name that are shown


def draw(options: commonality.Commonality, *, title: str = "") -> Figure:
    """The shares of all options from the smallest, and the names of those that are least free.

    An option is the less free, the rarer the rarer one of on and off; dead and core ones, which are
    not free at all, are only counted.
    """
    figure, [curve, least] = plots.new_figure(
        ["options, sorted", "share of the models with the rarer choice [%]"],
        ["share of the models with it [%]", ""],
        title=title,
        panels=2,
    )
    draw_sorted(curve, options)
    draw_least_free(least, options)
    return plots.finish(figure)


def draw_sorted(axes: plots.Axes, options: commonality.Commonality) -> None:
    """All shares, the free ones in between those of dead and core options."""
    shares = 100 * np.sort(options.shares)
    rank = np.arange(1, len(shares) + 1)
    dead, core = len(options.dead), len(options.core)
    free = slice(dead, len(shares) - core)
    for number, (label, part) in enumerate(
        (
            (f"{len(shares) - dead - core} free", free),
            (f"{dead} dead", slice(0, dead)),
            (f"{core} core", slice(len(shares) - core, None)),
        )
    ):
        style = plots.style(number) | {"markersize": 3, "linestyle": "none"}
        axes.plot(rank[part], shares[part], label=label, **style)
    axes.set_ylim(-3, 103)
    plots.integer_ticks(axes.xaxis)


def draw_least_free(axes: plots.Axes, options: commonality.Commonality) -> None:
    """The options with the rarest choice, and which choice that is."""
    chosen = least_free(options)
    for number, (label, is_on) in enumerate((("rarely on", True), ("rarely off", False)), start=3):
        shown = [(i, rarer) for i, (_, rarer, rare_on) in enumerate(chosen) if rare_on == is_on]
        x, y = [100 * rarer for _, rarer in shown], [i for i, _ in shown]
        axes.plot(x, y, label=label, linestyle="none", **plots.style(number))
    names = [name if len(name) <= LETTERS else f"{name[: LETTERS - 3]}..." for name, *_ in chosen]
    axes.set_yticks(range(len(names)), names, fontsize="small")
    axes.invert_yaxis()
    if chosen:
        axes.set_xscale("log")


def least_free(options: commonality.Commonality) -> list[tuple[str, float, bool]]:
    """Name, share of the rarer choice and whether that is on, the rarest first."""
    free = []
    for name, true in zip(options.names, options.true):
        rarer = min(true, options.total - true)
        if rarer:
            free.append((rarer, name, true == rarer))
    return [(name, rarer / options.total, on) for rarer, name, on in sorted(free)[:NAMED]]
