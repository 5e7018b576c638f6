"""ASHA, the stopping form: a trial goes on past a rung only while it is among the best 1/eta that reached it.

Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", algorithm 2, with the stopping variant of Syne
Tune (Salinas et al. 2022): every trial starts, none is paused. With several objectives the order at a rung is
non-dominated sorting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuner import pareto

if TYPE_CHECKING:
    from tuner.history import History
    from tuner.problem import Problem
    from tuner.stopping.protocol import StoppingRule


@dataclass(frozen=True, slots=True)
class Options:
    """Options of `early_stop: {rule: asha, ...}`.

    Attributes:
        eta: Of the trials at a rung, 1/eta go on. At least 2.
        min_steps: The first rung, in reported steps.
        max_rungs: Rungs lie at min_steps * eta**k for k < max_rungs.
    """

    eta: int = 3
    min_steps: int = 1
    max_rungs: int = 10

    def __post_init__(self) -> None:
        if self.eta < 2 or self.min_steps < 1 or self.max_rungs < 1:
            raise ValueError(f"eta >= 2, min_steps >= 1 and max_rungs >= 1 must hold, but got {self}")


class Asha:
    """Compares a trial at each rung with every trial that has been there."""

    def __init__(self, options: Options) -> None:
        self._eta = options.eta
        self._rungs = [options.min_steps * options.eta**k for k in range(options.max_rungs)]
        self._passed: dict[int, int] = {}  # trial -> rungs it was judged at
        self._at: list[dict[int, list[float]]] = [{} for _ in self._rungs]

    def should_stop(self, history: History, trial: int, step: int) -> bool:
        """Judge the trial at every rung that it has reached since it was last judged."""
        steps, values = history.curve(trial)
        while (k := self._passed.get(trial, 0)) < len(self._rungs) and step >= self._rungs[k]:
            self._passed[trial] = k + 1
            reached = np.flatnonzero((steps <= step) & ~np.isnan(values).any(axis=1))
            if not len(reached):
                continue
            self._at[k][trial] = list(values[reached[-1]])
            if not self._among_best(trial, k):
                return True
        return False

    def _among_best(self, trial: int, k: int) -> bool:
        Y = np.array(list(self._at[k].values()))
        order = pareto.ranks(Y)
        better = int((order < order[list(self._at[k]).index(trial)]).sum())
        return better < max(len(Y) // self._eta, 1)


def build(problem: Problem, options: Options) -> StoppingRule:
    """The rule for one session."""
    return Asha(options)
