"""asha: asynchronous successive halving, the promotion form; a slot never waits for a rung to fill.

Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht and Talwalkar 2020, "A System for Massively Parallel
Hyperparameter Tuning", algorithm 2: whenever a slot is free, the best 1/eta of a rung that were not promoted yet go up,
the highest rung first; when there is none, a new configuration starts at the lowest. With several objectives the order
is non-dominated sorting, feasible ones first. Its stopping form is `early_stop: asha`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuner.strategies.bandit.rungs import best_first, board, checked_ladder, promotion
from tuner.strategies.bandit.sampling import newcomers

if TYPE_CHECKING:
    from tuner.history import History
    from tuner.problem import Problem
    from tuner.trial import Proposal


@dataclass(frozen=True, slots=True)
class Options:
    """What `asha` can be told.

    Attributes:
        eta: Of the trials on a rung 1/eta go on, to `eta` times the fidelity.
    """

    eta: int = 3

    def __post_init__(self) -> None:
        if self.eta < 2:
            raise ValueError(f"eta must be at least 2, but got {self.eta}")


class AshaSearch:
    """See the module."""

    def __init__(self, problem: Problem, options: Options) -> None:
        self._eta = options.eta
        self._levels = checked_ladder(problem, "asha", options.eta)

    def suggest(self, history: History, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Return `n` proposals, promotions first; fewer when the space is exhausted."""
        found = self._promotions(history, n)
        starts = [self._levels.low] * (n - len(found))
        return found + newcomers(history, self._levels, starts, rng, engine="asha")

    def _promotions(self, history: History, n: int) -> list[Proposal]:
        trials = board(history, self._levels)
        found: list[Proposal] = []
        promoted = set(trials.origin.tolist())
        for level in range(len(self._levels.values) - 2, -1, -1):
            there = trials.finished & (trials.level == level)
            ended = int(there.sum())
            if ended < self._eta:
                continue
            top = best_first(history, trials.row[there & trials.completed])[: ended // self._eta]
            for place, row in enumerate(top.tolist(), start=1):
                if len(found) == n:
                    return found
                if int(history.number[row]) not in promoted:
                    reason = f"{place} of {ended} at {self._levels.values[level]:g}"
                    proposal = promotion(history, self._levels, row, level + 1, engine="asha", reason=reason)
                    found += [] if proposal is None else [proposal]
        return found


def build(problem: Problem, options: Options) -> AshaSearch:
    """Return the strategy.

    Raises:
        UsageError: See `rungs.checked_ladder`.
    """
    return AshaSearch(problem, options)
