"""Learning curves: what trials reported while they ran, and where they were stopped."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.errors import UsageError
from tuner.views.outcomes import known_name, metric_label

if TYPE_CHECKING:
    from tuner.study import Study
    from tuner.trial import State


@dataclass(frozen=True, slots=True)
class Curve:
    """What one trial reported: its steps and the metric there."""

    trial: int
    state: State
    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class CurvesView:
    """The curves of one metric.

    Attributes:
        label: Its name, with unit and direction when it has a goal.
        curves: By trial number.
        best: The best trial's number, when it has a curve.
    """

    label: str
    curves: tuple[Curve, ...]
    best: int | None


def curves_view(study: Study, metric: str | None = None) -> CurvesView:
    """The curves of the metric named, else of the first objective that was reported, else of the first name.

    Raises:
        UsageError: No trial reported anything, or nothing of that name.
    """
    reports = _reports(study)
    names = sorted({name for _, steps in reports.values() for _, values in steps for name in values})
    if not names:
        raise UsageError(
            f"study {study.sweep.name!r} has no intermediate reports; a trial makes them with `trial.report(step, ...)`"
        )
    goals = {m.name: m for m in study.problem.objectives}
    chosen = (
        known_name("reported metric", metric, names) if metric else next((n for n in goals if n in names), names[0])
    )
    curves = []
    for trial, (state, steps) in reports.items():
        points = sorted((step, values[chosen]) for step, values in steps if chosen in values)
        if points:
            curves.append(Curve(trial, state, tuple(s for s, _ in points), tuple(v for _, v in points)))
    best = study.best()
    known = best is not None and any(curve.trial == best.trial for curve in curves)
    label = metric_label(goals[chosen]) if chosen in goals else chosen
    return CurvesView(label, tuple(curves), best.trial if best is not None and known else None)


def _reports(study: Study) -> dict[int, tuple[State, list[tuple[int, dict[str, float]]]]]:
    """State, and steps with values, of every trial that reported something."""
    rows = study.rows()
    state = {row["trial"]: row["state"] for row in rows["trials"]}
    found: dict[int, tuple[State, list[tuple[int, dict[str, float]]]]] = {}
    for row in rows["reports"]:
        own = found.setdefault(row["trial"], (state[row["trial"]], []))
        own[1].append((row["step"], json.loads(row["metrics"])))
    return dict(sorted(found.items()))
