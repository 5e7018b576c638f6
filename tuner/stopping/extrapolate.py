"""extrapolate: a trial ends when the chance that it reaches the front is small, by where its learning curve leads.

Each objective, and each constraint margin that was reported, is carried on to the last step with its uncertainty, as in
`extrapolation`, by what the trials that completed did; the chance is that of ending feasible and dominated by none of
them (Domhan, Springenberg and Hutter 2015, "Speeding Up Automatic Hyperparameter Optimization of Deep Neural Networks
by Extrapolation of Learning Curves", for one objective; the model is another).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner import pareto
from tuner.fidelity import at_most
from tuner.history import COMPLETED
from tuner.randomness import generator
from tuner.stopping.curves import Curves, Told, known
from tuner.stopping.extrapolation import Family, forecast, learn

if TYPE_CHECKING:
    from tuner.history import History
    from tuner.problem import Problem
    from tuner.stopping.protocol import StoppingRule

Array = NDArray[np.float64]

_STREAM = 7002
_DRAWS = 1000
_MOST = 64
"""Completed trials that curves are learned from: the latest."""

_AGAIN = 1.25
"""They are learned anew when there are so many times as many."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of `early_stop: {rule: extrapolate, ...}`.

    Attributes:
        chance: A trial ends when its chance to reach the front is less.
        min_trials: Completed trials, that reported on the way, before the first forecast.
        min_reports: Reports of a trial before its first forecast.
    """

    chance: float = 0.05
    min_trials: int = 5
    min_reports: int = 3

    def __post_init__(self) -> None:
        if not 0.0 < self.chance < 1.0 or self.min_trials < 2 or self.min_reports < 1:
            raise ValueError(f"0 < chance < 1, min_trials >= 2 and min_reports >= 1 must hold, but got {self}")


class Extrapolate:
    """See the module."""

    def __init__(self, problem: Problem, options: Options) -> None:
        self._problem = problem
        self._options = options
        self._curves = Curves()
        self._families: list[Family] = []
        self._end = 0.0
        self._learned = 0

    def should_stop(self, history: History, trial: int, step: int) -> bool:
        """Forecast the trial's end, and compare it with the front."""
        told = self._curves.update(history, trial)
        if len(told.steps) < self._options.min_reports or not known(told.Y[-1]) or not self._learn(history):
            return False
        if told.steps[-1] >= self._end:
            return False  # it is there
        return self._chance(history, trial, told) < self._options.chance

    def _learn(self, history: History) -> bool:
        """Learn from the trials that completed; whether there are enough."""
        ended = [n for n in history.number[history.state == COMPLETED].tolist() if self._usable(n)]
        if len(ended) < self._options.min_trials:
            return False
        if len(ended) < _AGAIN * self._learned:
            return True
        self._learned, ended = len(ended), ended[-_MOST:]
        self._end = float(np.median([self._curves.told[n].steps[-1] for n in ended]))
        outputs = [self._outputs(self._curves.told[n], self._end) for n in ended]
        self._families = [learn([(t, Y[:, j]) for t, Y in outputs]) for j in range(outputs[0][1].shape[1])]
        return True

    def _usable(self, trial: int) -> bool:
        told = self._curves.told.get(trial)
        return told is not None and len(told.steps) > 1 and known(told.Y[-1]) and known(told.margins[-1])

    def _outputs(self, told: Told, end: float) -> tuple[Array, Array]:
        """Steps (k,) in units of the end, and objectives and margins (k, m + c), from where all are known."""
        Y = np.hstack([np.array(told.Y), np.array(told.margins).reshape(len(told.steps), -1)])
        t = np.minimum(np.array(told.steps) / end, 1.0)
        kept = ~np.isnan(Y).any(axis=1)
        return t[kept], Y[kept]

    def _chance(self, history: History, trial: int, told: Told) -> float:
        t, Y = self._outputs(told, self._end)
        if not len(t):
            return 1.0
        ends = [forecast(family, t, Y[:, j]) for j, family in enumerate(self._families)]
        rng = generator(self._problem.seed, trial, _STREAM)
        drawn = np.array([mean for mean, _ in ends]) + np.array([sd for _, sd in ends]) * rng.standard_normal(
            (_DRAWS, len(ends))
        )
        m = len(told.Y[-1])
        front = history.Y[at_most(history, history.feasible) & history.feasible]
        beaten = np.zeros(_DRAWS, dtype=np.bool_)
        for member in front[pareto.non_dominated(front)] if len(front) else ():
            beaten |= (member >= drawn[:, :m]).all(axis=1)
        return float((~beaten & (drawn[:, m:] >= 0.0).all(axis=1)).mean())


def build(problem: Problem, options: Options) -> StoppingRule:
    """The rule for one session."""
    return Extrapolate(problem, options)
