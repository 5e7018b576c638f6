"""What a run has done so far: its trials, what they cost, and how far they got.

The cost of a trial is 1; with a fidelity, its share of the most. A run is then judged by the configuration that was
best at the highest fidelity it had reached, by what that configuration is worth in full: what Hyperband, BOHB (Falkner,
Klein and Hutter 2018) and SMAC call the incumbent. Methods that ignore fidelity run everything in full, and are judged
as everywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tuner.bench.cache import Evaluations
from tuner.bench.problem import BenchProblem, Fidelity
from tuner.trial import Config

_SLACK = 1e-9


def enough(spent: float, budget: float) -> bool:
    """Whether a budget is spent, but for rounding."""
    return spent >= budget - _SLACK


class Meter:
    """What trials cost, as shares of a full one."""

    def __init__(self, fidelity: Fidelity) -> None:
        self._fidelity = fidelity
        self._reached: dict[bytes, float] = {}

    def level(self, asked: float | None) -> float:
        """A proposal's fidelity, in its bounds; all of it for None."""
        low, high = self._fidelity.min, self._fidelity.max
        return high if asked is None else min(max(float(asked), low), high)

    def charge(self, key: bytes, level: float) -> float:
        """What a trial costs; the difference where training goes on from what the same configuration had."""
        before = self._reached.get(key, 0.0)
        if self._fidelity.continues and before < level:
            self._reached[key] = level
            return (level - before) / self._fidelity.max
        return level / self._fidelity.max


@dataclass(frozen=True, slots=True)
class _Row:
    config: Config
    level: float
    seen: Mapping[str, float]
    true: Mapping[str, float] | None
    spent: float


class Record:
    """The trials of one run.

    Attributes:
        spent: What they cost.
    """

    def __init__(self, problem: BenchProblem, evaluations: Evaluations, seed: int) -> None:
        self.spent = 0.0
        self._problem = problem
        self._evaluations = evaluations
        self._seed = seed
        self._meter = Meter(problem.fidelity) if problem.fidelity is not None else None
        self._rows: list[_Row] = []

    def run(self, config: Config, fidelity: float | None = None) -> dict[str, float]:
        """Evaluate a configuration; what its trial reports."""
        problem = self._problem
        if self._meter is None:
            level, cost, true = 1.0, 1.0, dict(self._evaluations.values(config))
            values: Mapping[str, float] = true
        else:
            level = self._meter.level(fidelity)
            cost, values = self._meter.charge(problem.space.key(config), level), self._evaluations.values(config, level)
            true = None
        seen = problem.observe(values, self._seed, len(self._rows))
        self.spent += cost
        self._rows.append(_Row(config, level, seen, true, self.spent))
        return seen

    def merit(self, budget: float, chosen: int | None = None) -> float:
        """How far the trials within a budget got.

        Args:
            budget: In full trials; one that began within it and ended beyond does not count.
            chosen: The trial that the method recommends, which counts only where noise makes the best observed one
                doubtful; None for that one.
        """
        rows = [row for row in self._rows if enough(budget, row.spent)]
        if self._meter is None:
            true = [row.true for row in rows if row.true is not None]
            return self._problem.merit(true, [row.seen for row in rows], chosen if self._problem.noise else None)
        goal, top = self._problem.goals[0], max(row.level for row in rows)
        able = [row for row in rows if row.level == top and self._problem.feasible(row.seen)]
        best = max(able, key=lambda row: goal.sign * row.seen[goal.name], default=rows[0])
        return self._problem.merit([dict(self._evaluations.values(best.config))])
