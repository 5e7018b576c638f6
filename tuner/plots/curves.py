"""Learning curves: completed trials grey, the best blue, stopped ones ending in a cross."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.plots.canvas import BLUE, GREY, MANY, ORANGE, VERMILION, legend_above, text
from tuner.views.curves import CurvesView

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(figure: Figure, view: CurvesView) -> None:
    """Draw it on an empty figure."""
    from matplotlib.collections import LineCollection

    axes = figure.subplots()
    stopped = [curve for curve in view.curves if curve.state == "pruned"]
    others = [curve for curve in view.curves if curve.state != "pruned" and curve.trial != view.best]
    best = [curve for curve in view.curves if curve.trial == view.best]
    for curves, color, style, label in (
        (others, GREY, "solid", "not stopped"),
        (stopped, ORANGE, (0, (4, 2)), "stopped early"),
    ):
        if curves:
            segments = [list(zip(curve.steps, curve.values, strict=True)) for curve in curves]
            lines = LineCollection(segments, colors=color, linestyles=[style], linewidths=0.9, alpha=0.8, label=label)
            lines.set_rasterized(len(curves) > MANY // 4)
            axes.add_collection(lines)
    x, y = [curve.steps[-1] for curve in stopped], [curve.values[-1] for curve in stopped]
    axes.scatter(x, y, marker="x", s=18, c=VERMILION, linewidths=1.0, zorder=3)
    for curve in best:
        axes.plot(curve.steps, curve.values, color=BLUE, linewidth=2.0, label=f"best (trial {curve.trial})", zorder=4)
    short = [curve for curve in others if len(curve.steps) == 1]  # no line to see
    axes.scatter([c.steps[0] for c in short], [c.values[0] for c in short], s=8, c=GREY, zorder=2)
    axes.autoscale_view()
    axes.set_xlabel("step")
    axes.set_ylabel(text(view.label))
    legend_above(figure, axes)
