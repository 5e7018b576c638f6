"""Parallel coordinates: a line a trial, coloured by the objective; the best on top, infeasible ones dotted."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tuner.plots.canvas import LETTER, MANY, SCALE, VERMILION, note_left_out, text
from tuner.views.axes import ParameterAxis
from tuner.views.outcomes import Ints
from tuner.views.parallel import ParallelView

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LINES = 1000
"""More hide each other: the rest is left out evenly over the values."""

MOST_AXES = 20

_INACTIVE = -0.09


def draw(figure: Figure, view: ParallelView) -> None:
    """Draw it on an empty figure."""
    from matplotlib.collections import LineCollection

    axes = figure.subplots()
    scales = [*view.axes[:MOST_AXES], *view.objectives]
    note_left_out(figure, MOST_AXES, len(view.axes))
    places = np.column_stack([np.nan_to_num(scale.positions, nan=_INACTIVE) for scale in scales])
    order = drawn_rows(view)
    met = view.feasible[order]
    for rows, style, width in ((order[~met], "dotted", 0.7), (order[met], "solid", 1.0)):
        if len(rows):
            segments = [np.column_stack([np.arange(len(scales)), places[row]]) for row in rows]
            lines = LineCollection(segments, cmap=SCALE, linestyles=style, linewidths=width, alpha=0.75)
            lines.set_array(view.values[rows])
            lines.set_clim(float(view.values.min()), float(view.values.max()))
            lines.set_rasterized(len(rows) > MANY // 4)
            axes.add_collection(lines)
    figure.colorbar(lines, ax=axes, label=text(view.label), pad=0.02)
    if view.best is not None:
        label = f"best: trial {view.number[view.best]}"
        axes.plot(places[view.best], color="black", linewidth=3.6)  # tells it from the others in grey
        axes.plot(places[view.best], color=VERMILION, linewidth=2.0, label=label)
        figure.legend(loc="outside upper left")
    apart = 0.78 * figure.get_figwidth() / max(len(scales) - 1, 1)
    _scales(axes, scales, apart=apart, inactive=bool((places == _INACTIVE).any()))


def drawn_rows(view: ParallelView) -> Ints:
    """The rows to draw, the best last, at most `MOST_LINES`."""
    order = np.argsort(view.values * (1.0 if view.larger_is_better else -1.0), kind="stable")
    if len(order) > MOST_LINES:
        order = order[np.unique(np.linspace(0, len(order) - 1, MOST_LINES).round().astype(int))]
    return np.asarray(order, dtype=np.int64)


def _scales(axes: Axes, scales: Sequence[ParameterAxis], *, apart: float, inactive: bool) -> None:
    for i, scale in enumerate(scales):
        axes.axvline(i, color="black", linewidth=0.7, zorder=3)
        for place, label in scale.ticks:
            around = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
            axes.text(i, place, text(label, 10), fontsize=7, ha="center", va="center", bbox=around, zorder=4)
    names = [text(scale.name, 18) for scale in scales]
    turned = any((len(a) + len(b)) / 2 * LETTER > apart for a, b in pairwise(names))
    axes.set_xticks(range(len(scales)), names, rotation=30 if turned else 0, ha="right" if turned else "center")
    axes.set_yticks([_INACTIVE] if inactive else [], ["inactive"] if inactive else [])
    axes.set_xlim(-0.15, len(scales) - 0.85)
    axes.set_ylim(_INACTIVE - 0.05 if inactive else -0.05, 1.05)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
