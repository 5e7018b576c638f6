"""Contour: one metric over two parameters, smoothed between the trials and blank far from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuner.errors import UsageError
from tuner.views.axes import ParameterAxis, parameter_axes
from tuner.views.importance import importance_view
from tuner.views.outcomes import Bools, Floats, metric_label, objective_index, outcomes

if TYPE_CHECKING:
    from tuner.study import Study

_GRID = 60
_REACH = 2.5
"""In bandwidths: cells farther from every trial stay blank."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ContourView:
    """A metric over two parameters.

    Attributes:
        label: The metric's name, unit and direction.
        x: The horizontal parameter, of the trials that had both.
        y: The vertical one.
        values: The metric of those trials, shape (n,).
        feasible: Shape (n,).
        grid: Positions of the grid on either axis, shape (g,).
        z: The smoothed metric, z[i, j] at (x=grid[j], y=grid[i]), NaN far from every trial, shape (g, g).
    """

    label: str
    x: ParameterAxis
    y: ParameterAxis
    values: Floats
    feasible: Bools
    grid: Floats
    z: Floats


def contour_view(study: Study, metric: str | None = None, parameters: Sequence[str] = ()) -> ContourView:
    """A metric, or the first, over the two parameters named, or its two most important ones.

    Raises:
        UsageError: Not two parameters, no trial that had both, or there is no such metric or parameter.
    """
    index = objective_index(study.problem, metric)
    chosen = study.problem.objectives[index]
    found = outcomes(study)
    names = list(parameters) or [name for name, _ in importance_view(study, chosen.name).shares[chosen.name]][:2]
    if len(names) != 2:
        raise UsageError(f"a contour is drawn over two parameters, but got {len(names)}; give --parameter twice")
    axes = [parameter_axes(study, found.row, [name])[0] for name in names]
    both = np.isfinite(axes[0].positions) & np.isfinite(axes[1].positions)
    if not both.any():
        raise UsageError(f"no completed trial had both {names[0]!r} and {names[1]!r}")
    x, y = (ParameterAxis(axis.name, axis.positions[both], axis.ticks) for axis in axes)
    values = found.values[both, index]
    grid = np.linspace(0.0, 1.0, _GRID)
    z = smoothed(np.column_stack([x.positions, y.positions]), values, grid)
    return ContourView(
        label=metric_label(chosen), x=x, y=y, values=values, feasible=found.feasible[both], grid=grid, z=z
    )


def smoothed(points: Floats, values: Floats, grid: Floats) -> Floats:
    """The mean of `values` weighted by a Gaussian kernel, at every pair of the grid, shape (g, g).

    Nadaraya and Watson's estimate (1964). Its bandwidth is 0.3 n^(-1/6): Scott's rule in two dimensions for points
    that fill the unit square.

    Args:
        points: Positions in the unit square, shape (n, 2).
        values: Shape (n,).
        grid: Positions on either axis, shape (g,).
    """
    width = 0.3 * len(points) ** (-1.0 / 6.0)
    across = ((grid[:, None] - points[None, :, 0]) / width) ** 2
    along = ((grid[:, None] - points[None, :, 1]) / width) ** 2
    weight_x, weight_y = np.exp(-across / 2), np.exp(-along / 2)
    total = weight_y @ weight_x.T
    z: Floats = (weight_y * values) @ weight_x.T / np.maximum(total, 1e-300)
    near = np.zeros((len(grid), len(grid)), dtype=bool)
    for i in range(len(grid)):
        near[i] = ((across + along[i]) < _REACH**2).any(axis=1)
    return np.where(near, z, np.nan)
