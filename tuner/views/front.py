"""The Pareto front of two objectives with everything it dominates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuner import pareto
from tuner.errors import UsageError
from tuner.views.outcomes import baseline_values, metric_label, objective_index, outcomes

if TYPE_CHECKING:
    from tuner.study import Study


@dataclass(frozen=True, slots=True)
class Dot:
    """A trial in the plane of two objectives, in their own units."""

    trial: int
    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontView:
    """The plane of two objectives.

    Attributes:
        x_label: Name, unit and direction of the horizontal one.
        y_label: Likewise of the vertical one.
        x_larger_is_better: Its goal.
        front: The feasible trials that no other dominates in any objective of the study, left to right.
        dominated: The other feasible ones.
        infeasible: Completed, but against a constraint.
        knee: The front member with the best trade-off; None without a front.
        baseline: None without one.
        connected: Whether the front is a line in this plane: the study has no third objective.
    """

    x_label: str
    y_label: str
    x_larger_is_better: bool
    front: tuple[Dot, ...]
    dominated: tuple[Dot, ...]
    infeasible: tuple[Dot, ...]
    knee: Dot | None
    baseline: Dot | None
    connected: bool


def front_view(study: Study, metrics: Sequence[str] = ()) -> FrontView:
    """The front of a study over the two objectives named, or its first two.

    Raises:
        UsageError: It has no two objectives or no completed trial, or a name is none of them.
    """
    objectives = study.problem.objectives
    if len(objectives) < 2:
        raise UsageError(
            f"a front needs two metrics with a goal, but {study.sweep.name!r} has one; try `tuner plot progress`"
        )
    i, j = _pair([objective_index(study.problem, name) for name in metrics])
    found = outcomes(study)
    dots = [Dot(int(n), float(v[i]), float(v[j])) for n, v in zip(found.number, found.values, strict=True)]
    members = pareto.front(found.Y, found.feasible)
    on_front = np.zeros(len(dots), dtype=bool)
    on_front[members] = True
    own = baseline_values(study)
    return FrontView(
        x_label=metric_label(objectives[i]),
        y_label=metric_label(objectives[j]),
        x_larger_is_better=objectives[i].goal == "maximize",
        front=tuple(sorted((dots[k] for k in members), key=lambda dot: (dot.x, dot.y, dot.trial))),
        dominated=tuple(dots[k] for k in np.flatnonzero(found.feasible & ~on_front)),
        infeasible=tuple(dots[k] for k in np.flatnonzero(~found.feasible)),
        knee=dots[members[pareto.knee(found.Y[members])]] if len(members) else None,
        baseline=None if own is None else Dot(0, float(own[i]), float(own[j])),
        connected=len(objectives) == 2,
    )


def _pair(chosen: Sequence[int]) -> tuple[int, int]:
    if len(set(chosen)) != len(chosen) or len(chosen) > 2:
        raise UsageError("a front is drawn over two different metrics; give --metric at most twice")
    if len(chosen) == 2:
        return chosen[0], chosen[1]
    first = chosen[0] if chosen else 0
    return first, next(k for k in range(2) if k != first)
