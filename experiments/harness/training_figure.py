"""A picture of how a sampler was trained, from the report of ``nice_fit.fit``.

>>> sampler, report = nice_fit.fit(jax.random.key(0), log_density, 2)
>>> figure(report).savefig("training.png")
"""

import numpy as np
from matplotlib.figure import Figure

from experiments.harness import plots
from inference.mcmc import nice_fit

_MOST = 400  # points of the loss that are drawn, each the mean of as many steps


def figure(report: nice_fit.FitReport) -> Figure:
    """Loss by step, acceptance by round, and the masses of regions beside those of tempering."""
    count = len(report.acceptance)
    drawn, panels = plots.new_figure(
        ["step of training", "round of training", "round of training"],
        ["loss", "acceptance of learned moves", "mass of a region, less that by tempering"],
        panels=3,
        title=f"Training: {report.status} in {report.seconds:.0f} s, "
        f"{report.density_evaluations:,} densities, warnings: {len(report.warnings)}",
    )
    steps, losses = _means(report.losses)
    panels[0].plot(steps, losses, marker="", label="training")
    rounds = np.arange(count + 1)
    panels[1].plot(rounds[1:], report.acceptance, marker="", label="training")
    panels[1].set_ylim(0.0, 1.0)
    differences = report.masses - report.masses[0]
    for number, region in enumerate(differences.T):
        label = "_more" if number else "training"
        panels[2].plot(
            rounds, region, marker="", color=plots.COLOURS[0], linewidth=0.8, alpha=0.6, label=label
        )
    panels[2].axhline(0.0, color=plots.COLOURS[1], linestyle="--", label="tempering")
    most = max(0.05, 1.1 * float(np.abs(differences).max()))
    panels[2].set_ylim(-most, most)
    for axes in panels:
        plots.integer_ticks(axes.xaxis)
    return plots.finish(drawn)


def _means(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Last steps of runs of equal length, and the mean loss of each; what is left over is not."""
    length = max(1, len(losses) // _MOST)
    number = len(losses) // length
    steps = length * np.arange(1, number + 1)
    return steps, losses[: number * length].reshape(number, length).mean(axis=1)
