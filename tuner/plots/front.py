"""The front: dominated trials grey, its members connected, infeasible ones crossed, the baseline a diamond."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuner.plots.canvas import BLACK, BLUE, GREY, MANY, ORANGE, VERMILION, legend_above, text
from tuner.views.front import Dot, FrontView

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(figure: Figure, view: FrontView) -> None:
    """Draw it on an empty figure."""
    axes = figure.subplots()

    def scatter(dots: Sequence[Dot], label: str, **style: object) -> None:
        if dots:
            x, y = [dot.x for dot in dots], [dot.y for dot in dots]
            axes.scatter(x, y, label=label, rasterized=len(dots) > MANY, **style)  # type: ignore[arg-type]

    scatter(view.dominated, "dominated", s=14, c=GREY, alpha=0.7, linewidths=0)
    scatter(view.infeasible, "infeasible", s=18, c=VERMILION, marker="x", linewidths=0.9, alpha=0.8)
    if view.connected and len(view.front) > 1:
        # Between two members the worse side of both is what is attained: a staircase.
        steps = "steps-pre" if view.x_larger_is_better else "steps-post"
        x, y = [dot.x for dot in view.front], [dot.y for dot in view.front]
        axes.plot(x, y, drawstyle=steps, color=BLUE, linewidth=1.1)
    scatter(view.front, "front", s=30, c=BLUE, edgecolors="white", linewidths=0.6, zorder=3)
    if view.knee is not None and len(view.front) > 2:
        label = f"knee (trial {view.knee.trial})"
        scatter([view.knee], label, s=110, facecolors="none", edgecolors=BLACK, linewidths=1.0, zorder=4)
    if view.baseline is not None:
        scatter([view.baseline], "baseline", s=46, c=ORANGE, marker="D", edgecolors=BLACK, linewidths=0.8, zorder=5)
    axes.set_xlabel(text(view.x_label))
    axes.set_ylabel(text(view.y_label))
    legend_above(figure, axes)
