"""interval: a trial whose score is a mean over items ends once the interval of that mean lies below the front's.

Notation, for a trial and a member of the front after the same n of N items:

    y, e    its running means, maximised, and their standard errors (reported as `<metric>_se`; 0 for other metrics)
    r, q    the member's, after the same items
    z       the standard normal quantile of 1 - level / (k (k + 1) members) at the trial's k-th look

    r - y > z sqrt((e^2 + q^2) (1 - n / N))    in every objective: the trial ends

The level is shared among looks, whose shares sum to it, and members: a trial that would end as good as the front is
stopped with a chance of at most `level`, for scores of independent items. That items are common to both makes the
difference surer than that. Without a declared number of items N is infinite.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner import pareto
from tuner.fidelity import at_most
from tuner.items import SUFFIX
from tuner.stopping.curves import Curves, Told, known

if TYPE_CHECKING:
    from tuner.history import History
    from tuner.problem import Problem
    from tuner.stopping.protocol import StoppingRule

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Options:
    """Options of `early_stop: {rule: interval, ...}`.

    Attributes:
        level: Chance that a trial as good as the front is stopped.
        min_items: Items before the first look: before, means are hardly normal.
    """

    level: float = 0.05
    min_items: int = 30

    def __post_init__(self) -> None:
        if not 0.0 < self.level < 1.0 or self.min_items < 2:
            raise ValueError(f"0 < level < 1 and min_items >= 2 must hold, but got {self}")


class Interval:
    """See the module."""

    def __init__(self, problem: Problem, options: Options) -> None:
        self._options = options
        self._curves = Curves()
        self._names = [metric.name + SUFFIX for metric in problem.objectives]
        self._items = problem.fidelity.max if problem.fidelity is not None else math.inf

    def should_stop(self, history: History, trial: int, step: int) -> bool:
        """Whether some member of the front is better beyond doubt after the same items."""
        told = self._curves.update(history, trial)
        errors = self._errors(told, -1)
        if step < self._options.min_items or not known(told.Y[-1]) or not errors.any():
            return False
        looks = sum(1 for s in told.steps if s >= self._options.min_items)
        rows = at_most(history, history.feasible) & history.feasible
        front = history.number[rows][pareto.non_dominated(history.Y[rows])].tolist() if rows.any() else []
        members = [(rival, place) for n in front if (rival := self._told(n)) and (place := rival.at(step)) is not None]
        share = self._options.level / (looks * (looks + 1) * max(len(members), 1))
        z = NormalDist().inv_cdf(1.0 - share)
        left = max(1.0 - step / self._items, 0.0)
        own = np.array(told.Y[-1])
        for rival, place in members:
            doubt = z * np.sqrt((errors**2 + self._errors(rival, place) ** 2) * left)
            if (np.array(rival.Y[place]) - own > doubt).all():
                return True
        return False

    def _told(self, trial: int) -> Told | None:
        return self._curves.told.get(trial)

    def _errors(self, told: Told, place: int) -> Array:
        """Standard errors of the objectives at one report, shape (m,); 0 where none was reported."""
        return np.array([told.source[place].metrics.get(name, 0.0) for name in self._names])


def build(problem: Problem, options: Options) -> StoppingRule:
    """The rule for one session."""
    return Interval(problem, options)
