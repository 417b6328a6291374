"""What all figures share: ticks, legends, colours, heat maps."""

import figures
import numpy as np
import pytest
from matplotlib import ticker

from experiments.harness import plots
from inference.exact import elimination
from inference.problems import generators


def drawn(figure):
    figure.canvas.draw()
    return figure


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels(which="both") if label.get_text()]


@pytest.mark.parametrize("scale", ["log", "symlog"])
@pytest.mark.parametrize(
    ("low", "high"), [(36, 720), (1.05, 2.4), (0.77, 1), (1e-4, 9), (3, 3.1), (30, 60)]
)
def test_logarithmic_labels_do_not_overlap_and_there_are_some(scale, low, high):
    figure, [axes] = plots.new_figure("x", "y")
    axes.plot([low, high], [low, high])
    axes.set_xscale(scale)
    axes.set_yscale(scale)
    drawn(plots.finish(figure))
    for axis in (axes.xaxis, axes.yaxis):
        assert len(figures.label_spans(axis)) >= (2 if scale == "log" else 1)
        assert figures.labels_apart(axis)


@pytest.mark.parametrize("values", [[1], [1, 2], [0, 3], [1, 50]])
def test_integer_axes_have_integer_ticks(values):
    figure, [axes] = plots.new_figure("number", "y")
    axes.plot(values, values)
    plots.integer_ticks(axes.xaxis)
    drawn(plots.finish(figure))
    assert all(
        float(text.replace("\N{MINUS SIGN}", "-")).is_integer() for text in labels(axes.xaxis)
    )
    assert len(labels(axes.xaxis)) >= 1


def test_legends_stand_off_the_panels_and_name_what_is_drawn():
    figure, [left, right] = plots.new_figure("x", "y", panels=2)
    left.plot([1, 2], [1, 2], label="line")
    left.plot([1, 2], [np.nan, np.inf], label="absent")
    right.plot([1, 2], [3, 4], label="other")
    right.bar([1], [np.nan], label="no bar")
    right.bar([1], [2], label="bar")
    drawn(plots.finish(figure))
    texts = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes]
    assert texts == [["line"], ["other", "bar"]]
    assert figures.legends_off_panels(figure)


def test_equal_legends_become_one_below_all_panels():
    figure, panels = plots.new_figure("x", "y", panels=2, title="Thirteen")
    for axes in panels:
        for number in range(13):
            axes.plot([1, 2], [number, 1], label=f"method {number}", **plots.style(number))
    drawn(plots.finish(figure))
    assert [axes.get_legend() for axes in figure.axes] == [None, None]
    [legend] = figure.legends
    assert len(legend.get_texts()) == 13
    assert figures.legends_off_panels(figure)
    below = legend.get_window_extent().y1
    assert all(below <= axes.get_tightbbox().y0 + 1 for axes in figure.axes)


def test_seven_colours_then_other_markers():
    styles = [tuple(plots.style(number).values()) for number in range(49)]
    assert len(set(styles)) == 49 and len({colour for colour, _ in styles}) == 7
    assert len({colour for colour, _ in styles[:7]}) == 7


def test_a_heat_map_of_an_ising_grid():
    grid = generators.ising_grid(3, 5, 0.4, field=0.2)
    marginals, _ = elimination.marginals(grid)
    figure = drawn(plots.heat_map(marginals, 3, 5, title="Ising"))
    image = figure.axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), marginals[:, 1].reshape(3, 5))
    assert image.get_clim() == (0.0, 1.0)
    assert figure.axes[0].get_title() == "Pr(state 1)" and len(figure.axes) == 2
    assert isinstance(figure.axes[0].xaxis.get_major_locator(), ticker.MaxNLocator)
    assert set(labels(figure.axes[0].yaxis)) >= {"0", "1", "2"}


def test_a_heat_map_with_a_panel_per_state():
    shares = np.random.default_rng(0).dirichlet(np.ones(3), size=6)
    figure = plots.heat_map(shares, 2, 3, names=["red", "green", "blue"])
    shown = [np.asarray(axes.images[0].get_array()).ravel() for axes in figure.axes[:3]]
    np.testing.assert_array_equal(np.transpose(shown), shares)
    assert [axes.get_title() for axes in figure.axes[:3]] == ["Pr(red)", "Pr(green)", "Pr(blue)"]
    with pytest.raises(ValueError, match=r"expected marginals \[8, S\] for 2 x 4, given \[6, 3\]"):
        plots.heat_map(shares, 2, 4)
