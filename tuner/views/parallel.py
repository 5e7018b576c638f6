"""Parallel coordinates: a line a trial through its parameters and objectives, and slices: a parameter at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuner.views.axes import ParameterAxis, parameter_axes
from tuner.views.outcomes import Bools, Floats, Ints, metric_label, objective_index, outcomes

if TYPE_CHECKING:
    from tuner.study import Study


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ParallelView:
    """Completed trials by parameter.

    Attributes:
        label: The metric's name, unit and direction.
        larger_is_better: Its goal.
        number: Trial numbers, shape (n,).
        values: The metric, shape (n,).
        feasible: Shape (n,).
        axes: The parameters' scales.
        objectives: A scale for each objective, from its least value to its largest.
    """

    label: str
    larger_is_better: bool
    number: Ints
    values: Floats
    feasible: Bools
    axes: tuple[ParameterAxis, ...]
    objectives: tuple[ParameterAxis, ...]

    @property
    def best(self) -> int | None:
        """The row of the best feasible trial by this metric; None when there is none."""
        rows = np.flatnonzero(self.feasible)
        if not len(rows):
            return None
        return int(rows[np.argmax(self.values[rows] * (1.0 if self.larger_is_better else -1.0))])


def parallel_view(study: Study, metric: str | None = None, parameters: Sequence[str] = ()) -> ParallelView:
    """Completed trials by the parameters named, or all, and one metric, or the first.

    Raises:
        UsageError: No trial has completed, or there is no such metric or parameter.
    """
    index = objective_index(study.problem, metric)
    found = outcomes(study)
    chosen = study.problem.objectives[index]
    return ParallelView(
        label=metric_label(chosen),
        larger_is_better=chosen.goal == "maximize",
        number=found.number,
        values=found.values[:, index],
        feasible=found.feasible,
        axes=tuple(parameter_axes(study, found.row, parameters)),
        objectives=tuple(_scale(metric_label(m), found.values[:, k]) for k, m in enumerate(study.problem.objectives)),
    )


def _scale(name: str, values: Floats) -> ParameterAxis:
    low, high = float(values.min()), float(values.max())
    if low == high:
        return ParameterAxis(name, np.full(len(values), 0.5), ((0.5, f"{low:.3g}"),))
    return ParameterAxis(name, (values - low) / (high - low), ((0.0, f"{low:.3g}"), (1.0, f"{high:.3g}")))
