"""median: a trial ends when its best so far is worse than the median of the running averages of those that completed.

Golovin et al. 2017, "Google Vizier", section 3.2.2. With several objectives it must be worse in each of them, and not
on the front of the trials at that step. A trial that has always violated a constraint, by more than the median of the
completed trials' running averages, ends whatever its objectives are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuner.history import COMPLETED
from tuner.stopping.curves import Curves

if TYPE_CHECKING:
    from tuner.history import History
    from tuner.problem import Problem
    from tuner.stopping.curves import Told
    from tuner.stopping.protocol import StoppingRule


@dataclass(frozen=True, slots=True)
class Options:
    """Options of `early_stop: {rule: median, ...}`.

    Attributes:
        min_steps: No trial ends before this step.
        min_trials: Completed trials, that reported the step, before the first comparison.
    """

    min_steps: int = 1
    min_trials: int = 5

    def __post_init__(self) -> None:
        if self.min_steps < 0 or self.min_trials < 1:
            raise ValueError(f"min_steps >= 0 and min_trials >= 1 must hold, but got {self}")


class Median:
    """See the module."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._curves = Curves()

    def should_stop(self, history: History, trial: int, step: int) -> bool:
        """Compare at the step that the trial has come to."""
        told = self._curves.update(history, trial)
        at = told.steps[-1] if told.steps else 0
        if at < max(self._options.min_steps, 1):
            return False
        ended = set(history.number[history.state == COMPLETED].tolist())
        peers = {other: place for other, place in self._curves.reached(at).items() if other in ended}
        if len(peers) < self._options.min_trials or told.at(at) is None:
            return False
        Y, V = zip(*(_averages(self._curves.told[other], place) for other, place in peers.items()))
        violation = min(told.violations)
        if violation > np.median(V):
            return True
        behind = bool((np.nanmax(np.array(told.Y), axis=0) < np.median(np.array(Y), axis=0)).all())
        found = self._curves.rank(trial, at)
        return behind and found is not None and found[0] > 0


def _averages(told: Told, place: int) -> tuple[list[float], float]:
    """Running averages of the objectives, and of the violation, up to a report."""
    Y = np.array(told.Y[: place + 1])
    return np.nanmean(Y, axis=0).tolist(), float(np.mean(told.violations[: place + 1]))


def build(problem: Problem, options: Options) -> StoppingRule:
    """The rule for one session."""
    return Median(options)
