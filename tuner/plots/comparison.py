"""Studies over one another: their fronts as staircases, or with one objective the best so far over trials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.plots.canvas import BLUE, GREEN, GREY, ORANGE, SKY, VERMILION, legend_above, text
from tuner.views.comparison import Comparison, Side

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, SKY, GREY)
_MARKERS = "os^Dv<>p*"


def draw(figure: Figure, found: Comparison) -> None:
    """Draw it on an empty figure; of more than two objectives the first two."""
    axes = figure.subplots()
    names = list(found.metrics)
    for i, side in enumerate(found.sides):
        colour, marker = _COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)]
        if found.corner is None:
            values = [np.nan if value is None else value for value in side.so_far]
            axes.step(
                found.counts, values, where="post", color=colour, marker=marker, markersize=4, label=text(side.study)
            )
        elif side.points:
            _front(axes, side, found, colour, marker)
    if found.corner is None:
        axes.set_xlabel("trials")
        axes.set_ylabel(text(f"{found.score} so far"))
    else:
        arrows = {"maximize": "↑", "minimize": "↓"}
        axes.set_xlabel(text(f"{names[0]} {arrows[found.metrics[names[0]]]}"))
        axes.set_ylabel(text(f"{names[1]} {arrows[found.metrics[names[1]]]}"))
        if any(len(side.surviving) < len(side.front) for side in found.sides):
            figure.supxlabel("hollow: another study has better", fontsize=8)
    legend_above(figure, axes)


def _front(axes: Axes, side: Side, found: Comparison, colour: str, marker: str) -> None:
    """A front: full marks for members that no other study dominates, hollow ones for the others."""
    order = sorted(range(len(side.points)), key=lambda k: side.points[k][:2])
    x, y = (np.array([side.points[k][j] for k in order]) for j in (0, 1))
    alive = np.array([side.front[k] in side.surviving for k in order])
    if len(found.metrics) == 2 and len(x) > 1:
        # between two members the worse side of both is what is attained
        steps = "steps-pre" if next(iter(found.metrics.values())) == "maximize" else "steps-post"
        axes.plot(x, y, drawstyle=steps, color=colour, linewidth=1.1)
    hollow: dict[str, Any] = {"facecolors": "white", "edgecolors": colour}
    for rows, style in ((alive, {"c": colour}), (~alive, hollow)):
        first = rows is alive or not alive.any()  # one entry of the legend a study
        if rows.any():
            label = text(side.study) if first else None
            axes.scatter(x[rows], y[rows], s=30, marker=marker, label=label, zorder=3, **style)
