"""Slices: one metric over one parameter at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tuner.plots.canvas import BLUE, MANY, ORANGE, VERMILION, legend_above, note_left_out, parameter_ticks, text
from tuner.views.parallel import ParallelView

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ACROSS = 3
MOST_PANELS = 24


def height(view: ParallelView) -> float:
    """Inches that suit it."""
    return 0.5 + 2.0 * -(-min(len(view.axes), MOST_PANELS) // _ACROSS)


def draw(figure: Figure, view: ParallelView) -> None:
    """Draw it on an empty figure."""
    shown = view.axes[:MOST_PANELS]
    note_left_out(figure, MOST_PANELS, len(view.axes))
    across = min(_ACROSS, len(shown))
    panels = figure.subplots(-(-len(shown) // across), across, squeeze=False, sharey=True).ravel()
    for axes, scale in zip(panels, shown):
        there = np.isfinite(scale.positions)
        good, bad = there & view.feasible, there & ~view.feasible
        many, area = len(there) > MANY, min(12.0, max(2.0, 6000.0 / len(there)))
        axes.scatter(scale.positions[good], view.values[good], s=area, c=BLUE, alpha=0.6, linewidths=0,
                     label="feasible", rasterized=many)  # fmt: skip
        if not view.feasible.all():
            axes.scatter(scale.positions[bad], view.values[bad], s=16, c=VERMILION, marker="x", linewidths=0.8,
                         label="infeasible", rasterized=many)  # fmt: skip
        if view.best is not None and there[view.best]:
            axes.scatter(scale.positions[view.best], view.values[view.best], s=60, marker="D", c=ORANGE,
                         edgecolors="black", linewidths=0.8, zorder=3, label="best")  # fmt: skip
        parameter_ticks(axes, scale, room=0.75 * figure.get_figwidth() / across)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    for axes in panels[::across]:
        axes.set_ylabel(text(view.label))
    legend_above(figure, panels[0])
