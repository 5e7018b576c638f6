"""Progress: the best or the hypervolume so far as a line, trials as dots, the baseline as a dashed line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.plots.canvas import BLACK, BLUE, GREY, MANY, legend_above, text, time_unit
from tuner.views.progress import ProgressView

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(figure: Figure, view: ProgressView) -> None:
    """Draw it on an empty figure."""
    axes = figure.subplots()
    length, unit = (1.0, "trials") if view.over == "trials" else time_unit(float(view.at[-1]))
    at = view.at / length
    if view.dots is not None:
        many = len(at) > MANY
        axes.scatter(at, view.dots, s=12, c=GREY, alpha=0.7, linewidths=0, label="feasible trial", rasterized=many)
    axes.step(at, view.best, where="post", color=BLUE, linewidth=1.6, label="so far" if view.dots is None else "best")
    if view.baseline is not None:
        axes.axhline(view.baseline, color=BLACK, linewidth=1.0, linestyle=(0, (5, 3)), label="baseline")
    axes.set_xlabel(unit)
    axes.set_ylabel(text(view.label))
    legend_above(figure, axes)
