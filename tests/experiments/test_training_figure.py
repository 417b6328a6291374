"""The picture of a training."""

import figures
import numpy as np
import pytest

from experiments.harness import training_figure
from inference.mcmc import nice_fit, regions

CENTRES = regions.Voronoi(np.zeros((3, 2)), np.ones(2))


def report(rounds, steps=10):
    """A report of such a training, its checks left out."""
    rng = np.random.default_rng(0)
    masses = rng.dirichlet(np.full(3, 50.0), rounds + 1)
    acceptance = np.linspace(0.1, 0.9, rounds)
    losses = 1000.0 + 1.0 / np.arange(1, rounds * steps + 1)
    told = ("done", 12.3, ("a warning",), np.zeros((4, 2)), losses, acceptance, masses)
    return nice_fit.FitReport(*told, CENTRES, None, 4321)


@pytest.mark.parametrize("rounds", [1, 7, 90])
def test_it_can_be_read(rounds):
    figure = training_figure.figure(report(rounds))
    figure.canvas.draw()
    assert figures.legends(figure) and figures.legends_off_panels(figure)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            assert figures.labels_apart(axis) and figures.integers_at_integers(axis)
    assert "4,321 densities, warnings: 1" in figure.get_suptitle()


def test_it_draws_what_was_reported():
    assert training_figure.figure(report(0)).axes  # stopped before the first round
    told = report(90)
    loss, acceptance, masses = training_figure.figure(told).axes
    [line] = loss.lines
    assert line.get_xdata()[-1] == 900
    np.testing.assert_allclose(line.get_ydata()[0], told.losses[:2].mean())
    np.testing.assert_array_equal(acceptance.lines[0].get_ydata(), told.acceptance)
    drawn = np.stack([one.get_ydata() for one in masses.lines[:3]], axis=1)
    np.testing.assert_allclose(drawn, told.masses - told.masses[0])
