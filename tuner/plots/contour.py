"""A contour: one metric over two parameters, with the trials it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tuner.plots.canvas import MANY, SCALE, parameter_ticks, text
from tuner.views.contour import ContourView

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(figure: Figure, view: ContourView) -> None:
    """Draw it on an empty figure."""
    axes = figure.subplots()
    low, high = float(np.nanmin(view.z)), float(np.nanmax(view.z))
    levels = np.linspace(low, high, 13) if high > low else np.array([low - 0.5, low + 0.5])
    filled = axes.contourf(view.grid, view.grid, view.z, levels=levels, cmap=SCALE)
    axes.contour(view.grid, view.grid, view.z, levels=levels[2:-1:3], colors="white", linewidths=0.5)
    figure.colorbar(filled, ax=axes, label=f"{text(view.label)}, smoothed", pad=0.02)
    many, edge = len(view.values) > MANY, 0.7 if len(view.values) < 300 else 0.3
    area = min(24.0, max(3.0, 6000.0 / len(view.values)))
    for rows, marker in ((view.feasible, "o"), (~view.feasible, "X")):
        axes.scatter(view.x.positions[rows], view.y.positions[rows], c=view.values[rows], cmap=SCALE,
                     vmin=levels[0], vmax=levels[-1], s=area, marker=marker, edgecolors="white", linewidths=edge,
                     rasterized=many, clip_on=False, label="feasible" if marker == "o" else "infeasible")  # fmt: skip
    parameter_ticks(axes, view.x)
    parameter_ticks(axes, view.y, vertical=True)
