"""Curves: what trials reported, side by side, and who is ahead at a step.

Notation, at a step s that k trials have reached:

    Y (k, m)    each trial's objectives, maximised, at its first report of step s or later by which all were reported
    V (k,)      the sum of its violated constraint margins there, >= 0; unknown margins count as met

A value that a report leaves out is the one reported before; metrics that follow from the configuration are known from
the start. A trial of which an objective is never reported on the way is never compared: it may be best in just that.
`Curves` is a cache of the history: one that starts later holds the same.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner import pareto
from tuner.fidelity import at_most

if TYPE_CHECKING:
    from tuner.history import History, Report

Array = NDArray[np.float64]


@dataclass(slots=True)
class Told:
    """One trial's reports, gaps filled.

    Attributes:
        source: The history's own list; another one when the trial was started again.
        steps: The greatest step so far, report by report: what came out of order counts where the trial is.
        Y: Objectives of each report.
        violations: Sum of its violated margins.
        margins: Its constraint margins.
    """

    source: Sequence[Report]
    steps: list[int] = field(default_factory=list)
    Y: list[list[float]] = field(default_factory=list)
    violations: list[float] = field(default_factory=list)
    margins: list[list[float]] = field(default_factory=list)

    def take(self) -> None:
        """Take in what was reported since."""
        for report in self.source[len(self.steps) :]:
            y, margins = list(report.y), list(report.margins)
            if self.steps:
                y = [was if math.isnan(is_) else is_ for was, is_ in zip(self.Y[-1], y)]
                margins = [was if math.isnan(is_) else is_ for was, is_ in zip(self.margins[-1], margins)]
            self.steps.append(max(report.step, self.steps[-1]) if self.steps else report.step)
            self.Y.append(y)
            self.margins.append(margins)
            self.violations.append(-sum(margin for margin in margins if margin < 0))

    def at(self, step: int) -> int | None:
        """Index of the first report of `step` or later by which all objectives are known; None before that."""
        place = bisect.bisect_left(self.steps, step)
        while place < len(self.steps) and not known(self.Y[place]):
            place += 1
        return place if place < len(self.steps) else None


class Curves:
    """The curves of a study, trial by trial.

    Attributes:
        told: Trial -> what it reported.
    """

    def __init__(self) -> None:
        self.told: dict[int, Told] = {}
        self._marks: dict[int, dict[int, int]] = {}  # step -> trial -> index of its report there
        self._started = False

    def update(self, history: History, trial: int) -> Told:
        """Take in what a trial reported since the last call; of every other one, too, in the first call."""
        if not self._started:
            self._started = True
            for number in (*history.number.tolist(), *history.pending_number.tolist()):
                self._take(history, number)
        return self._take(history, trial)

    def _take(self, history: History, trial: int) -> Told:
        source = history.reported(trial)
        found = self.told.get(trial)
        if found is None or found.source is not source:  # its first report, or another attempt
            found = self.told[trial] = Told(source)
            for mark in self._marks.values():
                mark.pop(trial, None)
        found.take()
        for step, mark in self._marks.items():
            if trial not in mark and (place := found.at(step)) is not None:
                mark[trial] = place
        return found

    def reached(self, step: int) -> dict[int, int]:
        """Trial -> index of its report at `step`, of those that came so far."""
        if step not in self._marks:
            places = {trial: told.at(step) for trial, told in self.told.items()}
            self._marks[step] = {trial: place for trial, place in places.items() if place is not None}
        return self._marks[step]

    def peers(self, step: int) -> tuple[list[int], Array, Array]:
        """The trials that reached `step`, with Y (k, m) and V (k,) there."""
        at = self.reached(step)
        trials = list(at)
        Y = np.array([self.told[trial].Y[place] for trial, place in at.items()])
        V = np.array([self.told[trial].violations[place] for trial, place in at.items()])
        return trials, Y, V

    def arrived(self, trial: int, step: int) -> bool:
        """Whether a trial's latest report is the one that counts at `step`."""
        return self.reached(step).get(trial, -1) == len(self.told[trial].steps) - 1

    def rank(self, trial: int, step: int, *, feasible_first: bool = True) -> tuple[int, int] | None:
        """How many trials at `step` are ahead of one, and how many are there, itself included; None: it is not.

        Ahead is in an earlier front of non-dominated sorting, feasible before infeasible (Deb et al. 2002); or, without
        `feasible_first`, with the violation as one more objective, as it may yet go away.
        """
        trials, Y, V = self.peers(step)
        if trial not in trials:
            return None
        order = pareto.ranks(Y, V == 0.0, V) if feasible_first else pareto.ranks(np.column_stack([Y, -V]))
        return int((order < order[trials.index(trial)]).sum()), len(trials)


def known(values: Sequence[float]) -> bool:
    """Whether none of some values is NaN."""
    return not any(math.isnan(value) for value in values)


def on_front(history: History, told: Told) -> bool:
    """Whether a running trial, were it to end as it stands now, would enter the front of those that completed.

    Never while no feasible trial has completed with all of the fidelity; an infeasible one never does.
    """
    if not told.steps or told.violations[-1] > 0.0 or not known(told.Y[-1]):
        return False
    front = history.Y[at_most(history, history.feasible) & history.feasible]
    own = np.array(told.Y[-1])
    beaten = (front >= own).all(axis=1) & (front > own).any(axis=1)
    return bool(len(front)) and not bool(beaten.any())
