"""patience: a trial ends when nothing has improved for so many steps.

An improvement is a new best of any objective, by more than `min_delta`, or less violation of the constraints than
before. A trial that stands on the front goes on (`protect`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.stopping.curves import Told

if TYPE_CHECKING:
    from tuner.history import History
    from tuner.problem import Problem
    from tuner.stopping.protocol import StoppingRule


@dataclass(frozen=True, slots=True)
class Options:
    """Options of `early_stop: {rule: patience, ...}`.

    Attributes:
        steps: Without an improvement, after which a trial ends.
        min_delta: What an objective must gain at least, in its own units, to be better.
        min_steps: No trial ends before this step.
    """

    steps: int = 10
    min_delta: float = 0.0
    min_steps: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.min_delta >= 0.0 or self.min_steps < 0:
            raise ValueError(f"steps >= 1, min_delta >= 0 and min_steps >= 0 must hold, but got {self}")


class Patience:
    """Looks at one trial alone."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def should_stop(self, history: History, trial: int, step: int) -> bool:
        """Whether the last improvement lies too far back."""
        told = Told(history.reported(trial))
        told.take()
        if not told.steps or told.steps[-1] < self._options.min_steps:
            return False
        return told.steps[-1] - last_improvement(told, self._options.min_delta) >= self._options.steps


def last_improvement(told: Told, min_delta: float = 0.0) -> int:
    """The step at which something was last better than ever before; the first one, if nothing was."""
    best = [-math.inf] * len(told.Y[0])
    least, at = math.inf, told.steps[0]
    for step, y, violation in zip(told.steps, told.Y, told.violations):
        better = [value > was + min_delta for value, was in zip(y, best)]
        if any(better) or violation < least:
            at, least = step, min(violation, least)
            best = [value if up else was for value, was, up in zip(y, best, better)]
    return at


def build(problem: Problem, options: Options) -> StoppingRule:
    """The rule for one session."""
    return Patience(options)
