"""Progress: the best so far, or the hypervolume so far, over trials or time. Only feasible trials count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tuner import pareto, ranking
from tuner.views.outcomes import Bools, Floats, baseline_values, metric_label, objective_index, outcomes

if TYPE_CHECKING:
    from tuner.study import Study

Over = Literal["trials", "time"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProgressView:
    """One curve that only improves.

    Attributes:
        label: What it is of.
        over: "trials": by number; "time": by when they ended.
        at: The trial's number counted from one, or seconds since the first one started; at the end once more that of
            the last trial, however it ended, shape (n,).
        best: The best so far, NaN before the first feasible trial, shape (n,).
        dots: The value of each feasible trial, NaN for the others; None for a hypervolume, shape (n,).
        baseline: The baseline's value; None without one.
    """

    label: str
    over: Over
    at: Floats
    best: Floats
    dots: Floats | None
    baseline: float | None


def progress_view(study: Study, metric: str | None = None, over: Over = "trials") -> ProgressView:
    """The progress of a study: of the metric named, else of its only one, else of the hypervolume.

    Raises:
        UsageError: No trial has completed, or there is no such metric.
    """
    problem = study.problem
    index = objective_index(problem, metric)
    found = outcomes(study)
    ended = _ended(study, over)
    at = np.array([ended[int(number)] for number in found.number])
    order = np.argsort(at, kind="stable")
    at = np.append(at[order], max(ended.values()))  # the curve goes on to the last trial, however it ended
    Y = np.vstack([found.Y[order], np.full((1, len(problem.objectives)), np.nan)])
    feasible, own = np.append(found.feasible[order], False), baseline_values(study)
    if metric is None and len(problem.objectives) > 1:
        corner = ranking.reference(study.history)
        signed = None if own is None else own * np.array([m.sign for m in problem.objectives])
        return ProgressView(
            label="hypervolume ↑",
            over=over,
            at=at,
            best=running_hypervolume(Y, feasible, corner),
            dots=None,
            baseline=None if signed is None else pareto.hypervolume(signed[None], corner),
        )
    sign = problem.objectives[index].sign
    return ProgressView(
        label=metric_label(problem.objectives[index]),
        over=over,
        at=at,
        best=sign * running_best(Y[:, index], feasible),
        dots=np.where(feasible, sign * Y[:, index], np.nan),
        baseline=None if own is None else float(own[index]),
    )


def running_best(y: Floats, feasible: Bools) -> Floats:
    """The largest feasible value so far, NaN before the first, shape (n,)."""
    best = np.maximum.accumulate(np.where(feasible, y, -np.inf))
    return np.where(np.isfinite(best), best, np.nan)


def running_hypervolume(Y: Floats, feasible: Bools, corner: Floats) -> Floats:
    """The hypervolume of the feasible rows so far, shape (n,); computed only where the front changes."""
    members = np.empty((0, Y.shape[1]))
    volumes = np.zeros(len(Y))
    last = 0.0
    for i, y in enumerate(Y):
        if feasible[i] and not (members >= y).all(axis=1).any():
            stacked = np.vstack([members, y])
            members = stacked[pareto.non_dominated(stacked)]
            last = pareto.hypervolume(members, corner)
        volumes[i] = last
    return volumes


def _ended(study: Study, over: Over) -> dict[int, float]:
    """Where each finished trial stands: its number counted from one, or seconds from the first start to its end."""
    rows = list(study.stored("trial", "started_at", "finished_at"))
    if over == "trials":
        return {row[0]: row[0] + 1.0 for row in rows}
    began = min((row[1] for row in rows if row[1] is not None), default=0.0)
    return {row[0]: (row[2] - began if row[2] is not None else 0.0) for row in rows}
