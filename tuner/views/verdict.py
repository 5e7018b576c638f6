"""Verdict: how a study stands in a few figures: its best against the baseline, what is feasible, what it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tuner.budget import stop_reason
from tuner.lock import is_locked

if TYPE_CHECKING:
    from tuner.records import TrialRecord
    from tuner.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One objective of the chosen trial against the baseline, in the metric's own units.

    Attributes:
        change: Relative to the baseline's absolute value; None without one, or where that is zero.
        better: None without a baseline, or where nothing changed.
    """

    metric: str
    unit: str
    goal: str
    value: float
    baseline: float | None
    change: float | None
    better: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a study stands.

    Attributes:
        state: "running" while a process writes to it, "done" when its budget is spent, else "paused".
        reason: Why no further trial may start; empty when the study may go on.
        chosen: The best trial, with several objectives the preferred one or the knee of the front.
        role: Which of the three.
        standings: The chosen trial's objectives.
        counts: Number of trials by state.
        feasible: Completed trials that meet every constraint.
        budget_trials: How many trials it may take; None without such a limit.
        spent_s: Wall-clock time of the sweep.
        busy_s: Sum over its trials.
        gpu_s: GPU-seconds of its trials.
        front: Size of the front.
        hypervolume: With several objectives.
        reference: The hypervolume's corner by metric.
    """

    state: Literal["running", "done", "paused"]
    reason: str
    chosen: int | None
    role: Literal["best", "knee", "preferred"]
    standings: tuple[Standing, ...]
    counts: dict[str, int]
    feasible: int
    budget_trials: int | None
    spent_s: float
    busy_s: float
    gpu_s: float
    front: tuple[int, ...]
    baseline: int | None
    hypervolume: float | None
    reference: dict[str, float]


def verdict(study: Study) -> Verdict:
    """How a study stands now; also before its first trial has ended."""
    import numpy as np

    from tuner import ranking

    problem, spent = study.problem, study.ledger.spent
    best, several = study.best(), len(problem.objectives) > 1
    reason = stop_reason(problem.budget, spent) or ""
    active = study.dir is not None and is_locked(study.dir)
    volume, corner = study.hypervolume() if several else (None, [])
    history = study.history
    return Verdict(
        state="running" if active else "done" if reason else "paused",
        reason=reason,
        chosen=None if best is None else best.trial,
        role="best" if not several else "preferred" if history.answers else "knee",
        standings=() if best is None else _standings(study, best),
        counts=study.counts(),
        feasible=int(history.feasible.sum()),
        budget_trials=None if problem.budget is None else problem.budget.trials,
        spent_s=spent.seconds,
        busy_s=float(np.nansum(history.seconds)),
        gpu_s=spent.gpu_s,
        front=tuple(ranking.front(history)),
        baseline=0 if problem.baseline is not None and study.ledger.baseline is not None else None,
        hypervolume=volume,
        reference={metric.name: value for metric, value in zip(problem.objectives, corner, strict=False)},
    )


def _standings(study: Study, best: TrialRecord) -> tuple[Standing, ...]:
    known = study.ledger.baseline or {}
    found = []
    for metric in study.problem.objectives:
        value, base = best.metrics[metric.name], known.get(metric.name)
        gain = None if base is None else metric.sign * (value - base)
        found.append(
            Standing(
                metric=metric.name,
                unit=metric.unit,
                goal=str(metric.goal),
                value=value,
                baseline=base,
                change=(value - base) / abs(base) if base else None,
                better=None if not gain else gain > 0,
            )
        )
    return tuple(found)
