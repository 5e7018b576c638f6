"""ASHA, the stopping form: a trial goes on past a rung only while it is among the best 1/eta that reached it.

Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", algorithm 2, with the stopping variant of Syne
Tune (Salinas et al. 2022): every trial starts, none is paused. With several objectives the order at a rung is
non-dominated sorting, and what violates a constraint comes after what meets all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.stopping.curves import Curves

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
        feasible_first: Whether what violates a constraint comes after what meets all; otherwise the violation counts as
            one more objective, for constraints that only a trained model meets.
    """

    eta: int = 3
    min_steps: int = 1
    max_rungs: int = 10
    feasible_first: bool = True

    def __post_init__(self) -> None:
        if self.eta < 2 or self.min_steps < 1 or self.max_rungs < 1:
            raise ValueError(f"eta >= 2, min_steps >= 1 and max_rungs >= 1 must hold, but got {self}")


class Asha:
    """Compares a trial at each rung with every trial that has been there."""

    def __init__(self, options: Options) -> None:
        self._eta = options.eta
        self._feasible_first = options.feasible_first
        self._rungs = [options.min_steps * options.eta**k for k in range(options.max_rungs)]
        self._curves = Curves()

    def should_stop(self, history: History, trial: int, step: int) -> bool:
        """Judge the trial at every rung that its latest report reaches."""
        self._curves.update(history, trial)
        return any(self._curves.arrived(trial, rung) and not self._goes_on(trial, rung) for rung in self._rungs)

    def _goes_on(self, trial: int, rung: int) -> bool:
        found = self._curves.rank(trial, rung, feasible_first=self._feasible_first)
        return found is None or found[0] < max(found[1] // self._eta, 1)


def build(problem: Problem, options: Options) -> StoppingRule:
    """The rule for one session."""
    return Asha(options)
