"""Trust: the state of a trust region, replayed from the trials in the order of their numbers.

A trial that adds to the best so far is a success, any other one a failure, whoever proposed it. After some successes in
a row the region doubles, after some failures in a row it halves; when it gets too small, it starts over (Eriksson et
al. 2019, TuRBO). With constraints, less violation is a success until something is feasible (Eriksson and Poloczek 2021,
SCBO). With several objectives, a success adds to the hypervolume: the trials so far do not dominate it.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.history import COMPLETED, History

Array = NDArray[np.float64]

_WORTH = 1e-3
"""What counts as better: by this share of the distance from the median trial to the best one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a region changes.

    Attributes:
        initial: Trials of a start that come before its region.
        first: Length at the start.
        least: Below this length it starts over.
        most: Largest length.
        successes: In a row, after which it doubles.
        failures: In a row, after which it halves.
        forgets: Whether a new start leaves earlier trials behind, and has initial trials of its own.
    """

    initial: int
    first: float
    least: float
    most: float
    successes: int
    failures: int
    forgets: bool = True


@dataclass(frozen=True, slots=True)
class Trust:
    """A region's state.

    Attributes:
        length: L.
        start: The first row of the history that counts.
        restarts: How often it started over.
        successes: In a row, the latest.
        failures: In a row, the latest.
    """

    length: float
    start: int = 0
    restarts: int = 0
    successes: int = 0
    failures: int = 0


def replay(history: History, rules: Rules) -> Trust:
    """Return the state after all trials; O(n) but for the front's size."""
    Y = np.where((history.state == COMPLETED)[:, None], history.Y, np.nan)
    violation = -np.minimum(np.nan_to_num(history.C), 0.0).sum(axis=1)
    best = _Best(Y.shape[1])
    length, start, restarts, successes, failures = rules.first, 0, 0, 0, 0
    for i, (y, feasible, broken) in enumerate(zip(Y, history.feasible, violation, strict=True)):
        better = best.add(y, bool(feasible), float(broken))
        if i - start < rules.initial and (rules.forgets or not restarts):
            continue
        successes, failures = (successes + 1, 0) if better else (0, failures + 1)
        if successes >= rules.successes:
            length, successes = min(2.0 * length, rules.most), 0
        elif failures >= rules.failures:
            length, failures = 0.5 * length, 0
        if length < rules.least:
            length, restarts, successes, failures = rules.first, restarts + 1, 0, 0
            if rules.forgets:
                start, best = i + 1, _Best(Y.shape[1])
    return Trust(length, start, restarts, successes, failures)


class _Best:
    """The best so far: the front of the feasible trials, otherwise the least violation."""

    def __init__(self, m: int) -> None:
        self._front: Array = np.empty((0, m))
        self._values: list[list[float]] = [[] for _ in range(m)]
        self._violation = np.inf

    def add(self, y: Array, feasible: bool, violation: float) -> bool:
        """Whether a trial is better; it counts from then on."""
        if np.isnan(y).any():
            return False
        if not feasible:
            better = not len(self._front) and violation < (1.0 - _WORTH) * self._violation
            self._violation = min(self._violation, violation)
            return better
        worth = np.array([_WORTH * (v[-1] - v[len(v) // 2]) if v else 0.0 for v in self._values])
        for value, ordered in zip(y.tolist(), self._values, strict=True):
            insort(ordered, value)
        better = bool((y > self._front + worth).any(axis=1).all())
        if (y > self._front).any(axis=1).all():
            kept = (self._front > y).any(axis=1)
            self._front = np.concatenate([self._front[kept], y[None]])
        return better
