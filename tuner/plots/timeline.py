"""The timeline: a row a slot, a bar a trial, colour and hatch by how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.plots.canvas import BLUE, MANY, ORANGE, SKY, VERMILION, legend_above, text, time_unit
from tuner.views.timeline import TimelineView

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STATES = {
    "completed": (BLUE, ""),
    "pruned": (SKY, "//"),
    "failed": (VERMILION, "xx"),
    "infeasible": (ORANGE, ".."),
    "running": ("white", ""),
    "waiting": ("white", ""),
}


def height(view: TimelineView) -> float:
    """Inches that suit it."""
    return min(1.0 + 0.32 * len(view.lanes), 12.0)


def draw(figure: Figure, view: TimelineView) -> None:
    """Draw it on an empty figure."""
    axes = figure.subplots()
    length, unit = time_unit(view.seconds)
    place = {lane: i for i, lane in enumerate(view.lanes)}
    thin = 0.4 if len(view.bars) <= MANY // 10 else 0.0
    for state, (color, hatch) in _STATES.items():
        for lane in view.lanes:
            spans = [(b.start / length, b.seconds / length) for b in view.bars if b.state == state and b.lane == lane]
            if spans:
                axes.broken_barh(spans, (place[lane] - 0.38, 0.76), facecolor=color, hatch=hatch,
                                 edgecolor="black", linewidth=thin, rasterized=len(spans) > MANY)  # fmt: skip
        if any(bar.state == state for bar in view.bars):
            axes.fill([], [], facecolor=color, hatch=hatch, edgecolor="black", linewidth=0.4, label=state)
    labels = [f"{text(lane, 24)}\n{view.busy[lane]:.0%} busy" for lane in view.lanes]
    axes.set_yticks(range(len(view.lanes)), labels, fontsize=8)
    axes.set_ylim(len(view.lanes) - 0.5, -0.5)
    axes.set_xlim(0, max(view.seconds / length, 1e-9))
    axes.set_xlabel(unit)
    legend_above(figure, axes)
