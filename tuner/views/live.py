"""The live view: how far a study is, its best against the baseline, what runs where, the last failure.

`Tally` follows a study: each call of `update` looks only at the trials that finished since the last one, so that ten
thousand of them cost no more than ten. The hypervolume is counted from the corner as it is inferred now; when the front
and with it the corner move, only the points that once entered the front are gone through again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuner import pareto
from tuner.budget import stop_reason
from tuner.history import COMPLETED, FAILED
from tuner.views.outcomes import Bools, Floats, metric_label

if TYPE_CHECKING:
    from tuner.problem import Problem
    from tuner.slots import SlotState
    from tuner.study import Study
    from tuner.usage import Usage

_BLOCK = 256
_FRONT = 50
"""Members of the front that a view holds."""

Report = tuple[int, Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRow:
    """One slot: what runs in it, how far, what it takes.

    Attributes:
        slot: Its id; "" where it is not known.
        trial: None while nothing runs.
        report: The step and the values reported last.
        usage: None where it cannot be read.
        elapsed_s: Since the trial began.
        limit_s: None without a limit.
    """

    slot: str
    trial: int | None
    report: Report | None = None
    usage: Usage | None = None
    elapsed_s: float = 0.0
    limit_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An objective's best feasible value so far, in its own units, against the baseline's."""

    label: str
    best: float
    baseline: float | None
    better: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveView:
    """What a person who watches a study sees.

    Attributes:
        name: The study's.
        state: "running", or why it ended.
        finished: Trials, of `goal` when the budget counts them.
        running: In a slot; where none is known, those that are leased.
        elapsed_s: Wall-clock time of all sessions.
        left_s: About how much more; None when nothing tells.
        curve_label: What `curve` is of: the best objective, or the hypervolume.
        curve: Positions among the finished trials and the value from there on, ascending; `n` trials in all.
        standings: One an objective; empty before the first feasible trial.
        front: Numbers of feasible trials that no other dominates, best first by the first objective.
        slots: One row a slot.
        failure: The last failed trial; None without one.
    """

    name: str
    state: str
    finished: int
    goal: int | None
    failed: int
    running: int
    elapsed_s: float
    left_s: float | None
    curve_label: str
    curve: Sequence[tuple[int, float]]
    n: int
    standings: tuple[Standing, ...]
    front: tuple[tuple[int, tuple[float, ...]], ...]
    front_size: int
    objectives: tuple[str, ...]
    slots: tuple[SlotRow, ...]
    failure: int | None


class Tally:
    """What is kept of a study between two looks at it."""

    def __init__(self) -> None:
        self._ledger: object = None
        self._forget()

    def _forget(self) -> None:
        self.n = 0
        self.failure: int | None = None
        self.curve: list[tuple[int, float]] = []
        self.front: list[int] = []  # trials; of equal ones the first
        self.Y: Floats = np.empty((0, 0))  # their objectives (k, m), maximised
        self._entered: list[tuple[int, Floats]] = []  # position among the finished trials, objectives (m,)
        self._low: Floats = np.full(0, np.inf)  # the least of each objective among the feasible, (m,)
        self._level = -np.inf

    def update(self, study: Study) -> None:
        """Take in the trials that finished since; all of them when some were retried meanwhile."""
        ledger, problem = study.ledger, study.problem
        if ledger is not self._ledger or ledger.buffer.n < self.n:
            self._ledger = ledger
            self._forget()
        columns = ledger.buffer.since(self.n)
        state, number, Y = columns["state"], columns["number"], np.asarray(columns["Y"], dtype=np.float64)
        failed = np.flatnonzero(state == FAILED)
        if len(failed):
            self.failure = int(number[failed[-1]])
        margins = np.asarray(columns["C"], dtype=np.float64)
        able = (state == COMPLETED) & ~(margins < 0).any(axis=1) & np.isfinite(Y).all(axis=1)
        level, before = _levels(problem, np.asarray(columns["fidelity"], dtype=np.float64)), len(self._entered)
        self._low = np.minimum(self._low if len(self._low) else np.inf, Y[able].min(axis=0, initial=np.inf))
        for start in range(0, len(Y), _BLOCK):
            block = slice(start, start + _BLOCK)
            rows = np.flatnonzero(able[block] & ~(self._covered(Y[block]) & (level[block] <= self._level))) + start
            for row in rows.tolist():
                self._enter(self.n + row, int(number[row]), Y[row], float(level[row]))
        self.n += len(Y)
        if len(self._entered) != before:
            self._trace(problem)

    def _covered(self, Y: Floats) -> Bools:
        """Which points (n, m) the front equals or dominates already."""
        if not self.front:
            return np.zeros(len(Y), dtype=np.bool_)
        return np.asarray((self.Y[:, None, :] >= Y).all(axis=2).any(axis=0), dtype=np.bool_)

    def _enter(self, position: int, trial: int, y: Floats, level: float) -> None:
        if level > self._level:  # what had less of the fidelity does not compare
            self._level, self.front, self.Y, self._entered = level, [], np.empty((0, len(y))), []
        if level < self._level or self._covered(y[None])[0]:
            return
        kept = np.asarray(~(y >= self.Y).all(axis=1), dtype=np.bool_)
        self.front = [*(t for t, keep in zip(self.front, kept.tolist(), strict=True) if keep), trial]
        self.Y = np.vstack([self.Y[kept], y])
        self._entered.append((position, self.Y[-1]))

    def _trace(self, problem: Problem) -> None:
        """The curve through the points that entered the front."""
        objectives = problem.objectives
        if len(objectives) == 1:
            self.curve = [(position, float(objectives[0].sign * y[0])) for position, y in self._entered]
            return
        declared = np.array([np.nan if m.reference is None else m.sign * m.reference for m in objectives])
        inferred = pareto.infer_reference(np.vstack([self.Y, self._low]))  # as of all feasible trials
        corner = np.where(np.isnan(declared), inferred, declared)
        front, self.curve = np.empty((0, len(objectives))), []
        for position, y in self._entered:
            front = np.vstack([front[~(y >= front).all(axis=1)], y])
            self.curve.append((position, pareto.hypervolume(front, corner)))


def _levels(problem: Problem, fidelity: Floats) -> Floats:
    """How much of the fidelity each trial had, infinity for all of it."""
    if problem.fidelity is None:
        return np.full(len(fidelity), np.inf)
    return np.where(np.isnan(fidelity) | (fidelity >= problem.fidelity.max), np.inf, fidelity)


def sampled(curve: Sequence[tuple[int, float]], n: int, width: int) -> list[float | None]:
    """A curve of steps at `width` places evenly spread over `n` trials, the last at its end; None before its begin."""
    starts = [position for position, _ in curve]
    found: list[float | None] = []
    for place in range(width):
        last = bisect_right(starts, max((place + 1) * n // width - 1, 0)) - 1
        found.append(curve[last][1] if last >= 0 else None)
    return found


def live_view(
    study: Study,
    tally: Tally,
    *,
    slots: Sequence[SlotState],
    usage: Mapping[str, Usage],
    reports: Mapping[int, Report],
    now: float,
    state: str = "running",
    elapsed_s: float | None = None,
) -> LiveView:
    """The live view of a study, of what `tally` has taken in.

    Args:
        study: Open for reading or writing; only what it keeps in memory is looked at.
        tally: Brought up to date by the caller.
        slots: What is going on in each slot.
        usage: What they take, by slot.
        reports: The last report of running trials.
        now: Seconds since the epoch.
        state: "running", or why it ended.
        elapsed_s: When more is known than the study has counted.
    """
    ledger, problem = study.ledger, study.problem
    spent, budget = ledger.spent, problem.budget
    objectives = problem.objectives
    elapsed = spent.seconds if elapsed_s is None else elapsed_s
    members = sorted(zip(tally.front, tally.Y, strict=True), key=lambda member: (-member[1][0], member[0]))
    signs = np.array([metric.sign for metric in objectives])
    several = len(objectives) > 1
    return LiveView(
        name=study.sweep.name,
        state=state,
        finished=spent.finished,
        goal=None if budget is None else budget.trials,
        failed=spent.failed,
        running=sum(slot.trial is not None for slot in slots) if slots else len(spent.running),
        elapsed_s=elapsed,
        left_s=_left(study, elapsed) if state == "running" else None,
        curve_label="hypervolume ↑" if several else metric_label(objectives[0]) if objectives else "",
        curve=tally.curve,
        n=tally.n,
        standings=_standings(study, tally),
        front=tuple((trial, tuple((y * signs).tolist())) for trial, y in members[:_FRONT]),
        front_size=len(members),
        objectives=tuple(metric.name for metric in objectives),
        slots=_rows(slots, usage, reports, now),
        failure=tally.failure,
    )


def _standings(study: Study, tally: Tally) -> tuple[Standing, ...]:
    if not tally.front:
        return ()
    best = tally.Y.max(axis=0)
    known = study.ledger.baseline or {}
    found = []
    for metric, value in zip(study.problem.objectives, best.tolist(), strict=True):
        base = known.get(metric.name)
        better = base is not None and value > metric.sign * base
        found.append(Standing(label=metric.name, best=metric.sign * value, baseline=base, better=better))
    return tuple(found)


def _left(study: Study, elapsed_s: float) -> float | None:
    """Estimated seconds to the end by the budget of trials or of time; None when neither is set."""
    spent, budget = study.ledger.spent, study.problem.budget
    if budget is None or (stop_reason(budget, spent) is not None and not spent.running):
        return None
    left = []
    if budget.trials is not None and spent.finished:
        left.append((budget.trials - spent.finished) * elapsed_s / spent.finished)
    if budget.time is not None:
        left.append(budget.time - elapsed_s)
    return max(min(left), 0.0) if left else None


def _rows(
    slots: Sequence[SlotState], usage: Mapping[str, Usage], reports: Mapping[int, Report], now: float
) -> tuple[SlotRow, ...]:
    return tuple(
        SlotRow(
            slot=slot.slot,
            trial=slot.trial,
            report=None if slot.trial is None else reports.get(slot.trial),
            usage=usage.get(slot.slot),
            elapsed_s=max(now - slot.since, 0.0) if slot.since is not None else 0.0,
            limit_s=slot.limit_s,
        )
        for slot in slots
    )
