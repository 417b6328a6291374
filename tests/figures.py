"""Whether a figure can be read: labels apart, legends off the panels, integers at integers."""

import numpy as np


def label_spans(axis):
    """From where to where the labels of an axis stand along it, those on screen."""
    along = 0 if axis.axis_name == "x" else 1
    low, high = (axis.axes.bbox.intervalx, axis.axes.bbox.intervaly)[along]
    spans = []
    for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
        box = tick.label1.get_window_extent()
        span = (box.intervalx, box.intervaly)[along]
        if tick.label1.get_text() and low - 1 <= span.mean() <= high + 1:
            spans.append(tuple(span))
    return sorted(spans)


def labels_apart(axis):
    """Whether no two labels of an axis overlap; turned ones share their corners."""
    if any(label.get_rotation() % 90 for label in axis.get_ticklabels()):
        return True
    spans = label_spans(axis)
    return all(one[1] < two[0] + 1 for one, two in zip(spans, spans[1:], strict=False))


def integers_at_integers(axis):
    """Whether a linear axis of which all points are integers has labels at integers alone."""
    axes, along = axis.axes, 0 if axis.axis_name == "x" else 1
    values = [np.asarray(line.get_xydata()[:, along], float) for line in axes.lines]
    values = np.concatenate([[0.0], *values])
    values = values[np.isfinite(values)]
    if axis.get_scale() != "linear" or len(values) < 3 or (values % 1).any():
        return True
    return not (np.asarray(axis.get_majorticklocs()) % 1).any()


def legends(figure):
    """All legends of a figure and of its panels."""
    own = [axes.get_legend() for axes in figure.axes]
    return [legend for legend in [*own, *figure.legends] if legend is not None]


def legends_off_panels(figure):
    """Whether every legend is on the figure and on no panel."""
    boxes = [legend.get_window_extent() for legend in legends(figure)]
    panels = [axes.bbox for axes in figure.axes]
    inside = all(-1 <= b.x0 and -1 <= b.y0 for b in boxes)
    inside &= all(b.x1 <= figure.bbox.x1 + 1 and b.y1 <= figure.bbox.y1 + 1 for b in boxes)
    return inside and not any(
        min(b.x1, p.x1) - max(b.x0, p.x0) > 1 and min(b.y1, p.y1) - max(b.y0, p.y0) > 1
        for b in boxes
        for p in panels
    )


def lines_without_points(figure):
    """Legend entries of lines of which nothing is drawn."""
    empty = []
    for axes in figure.axes:
        shown = {text.get_text() for legend in legends(figure) for text in legend.get_texts()}
        for line in axes.lines:
            points = np.broadcast_arrays(line.get_xdata(), line.get_ydata())
            drawn = np.isfinite(np.array(points, float)).all(axis=0).any()
            if line.get_label() in shown and not drawn:
                empty.append(line.get_label())
    return empty
