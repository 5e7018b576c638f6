"""Ledger: what a study knows in memory, kept in step with the store: the history, what is pending, what was spent.

It holds columns, not records: after a hundred thousand trials it takes some tens of megabytes, and asking costs what it
did at the start. It is rebuilt from the store when a study is opened.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from tuner.budget import Spent
from tuner.history import Curve, History, HistoryBuffer
from tuner.problem import Problem
from tuner.records import TrialRecord
from tuner.trial import Config, Proposal

Reader = Callable[[int], TrialRecord]


class Ledger:
    """In-memory state of one study.

    Attributes:
        problem: What is searched and measured.
        pending: Waiting and running proposals by trial number.
        spent: Totals against the budget.
        baseline: The baseline's metrics once it has completed.
        next_trial: The number of the next new trial.
        next_rank: The rank of the next trial to finish.
    """

    def __init__(self, problem: Problem, *, gpus: int = 0, read: Reader | None = None) -> None:
        self.problem = problem
        self.pending: dict[int, Proposal] = {}
        self.spent = Spent()
        self.baseline: Mapping[str, float] | None = None
        self.next_trial = 0
        self.next_rank = 0
        self.buffer = HistoryBuffer(problem)
        self._gpus = gpus
        self._read = read
        self._seen: set[bytes] = set()
        self._curves: dict[int, list[tuple[int, list[float]]]] = {}
        self._front = np.empty((0, len(problem.objectives)))

    def add(self, proposal: Proposal) -> None:
        """Take in a proposal that waits or runs."""
        self.pending[proposal.trial] = proposal
        self.next_trial = max(self.next_trial, proposal.trial + 1)
        self._seen.add(self.problem.space.key(proposal.config))

    def report(self, trial: int, step: int, metrics: Mapping[str, float]) -> None:
        """Take in an intermediate report."""
        self._curves.setdefault(trial, []).append((step, self.problem.values(metrics)))

    def finish(self, record: TrialRecord) -> None:
        """Take in a finished trial."""
        problem = self.problem
        self.pending.pop(record.trial, None)
        self.spent.running.discard(record.trial)
        self.next_trial = max(self.next_trial, record.trial + 1)
        self.next_rank += 1
        self._seen.add(problem.space.key(record.config))
        completed = record.state == "completed"
        if completed and record.provenance.engine == "baseline" and self.baseline is None:
            self._take_baseline(record)
        margins = problem.margins(record.config, record.metrics, self.baseline)
        values = problem.values(record.metrics) if completed else [math.nan] * len(problem.objectives)
        x, active = problem.space.encoding.encode(record.config)
        seconds = record.measures.get("wall_s", record.seconds or 0.0)
        self.buffer.append(
            number=record.trial,
            x=x,
            active=active,
            y=values,
            margins=margins,
            state=record.state,
            fidelity=record.fidelity,
            seconds=seconds,
        )
        self._spend(record, seconds)
        self._improve(values, feasible=completed and all(not margin < 0 for margin in margins))
        self._reach(record, feasible=completed and all(not margin < 0 for margin in margins))

    def _take_baseline(self, record: TrialRecord) -> None:
        """Constraints that compare with the baseline could not be judged before: judge them again."""
        self.baseline = dict(record.metrics)
        if self._read is not None and self.buffer.n and any(c.needs_baseline for c in self.problem.constraints):
            read = self._read

            def margins(trial: int) -> list[float]:
                earlier = read(trial)
                return self.problem.margins(earlier.config, earlier.metrics, self.baseline)

            self.buffer.replace_margins(margins)

    def _spend(self, record: TrialRecord, seconds: float) -> None:
        if record.provenance.engine == "added":  # measured elsewhere: on somebody else's budget
            return
        self.spent.finished += 1
        self.spent.failed += record.state == "failed"
        budget = self.problem.budget
        cost = record.metrics.get(budget.cost.metric, 0.0) if budget is not None and budget.cost is not None else 0.0
        self.spent.add(gpu_s=seconds * self._gpus, cost=cost)

    def _improve(self, values: list[float], *, feasible: bool) -> None:
        """An improvement is a feasible trial that enters the front without being equal to a member."""
        point = np.array(values)
        self.spent.since_improvement += 1
        if not feasible or np.isnan(point).any():
            return
        if len(self._front) and bool((self._front >= point).all(axis=1).any()):
            return
        self.spent.since_improvement = 0
        kept = ~(point >= self._front).all(axis=1)
        self._front = np.vstack([self._front[kept], point])

    def _reach(self, record: TrialRecord, *, feasible: bool) -> None:
        target = self.problem.budget.target if self.problem.budget is not None else None
        if not target or not feasible or not target.keys() <= record.metrics.keys():
            return
        signs = {metric.name: metric.sign for metric in self.problem.metrics}
        if all(signs.get(name, 1.0) * (record.metrics[name] - value) >= 0 for name, value in target.items()):
            self.spent.reached = True

    def seen(self, config: Config) -> bool:
        """Whether a configuration is finished or pending already."""
        return self.problem.space.key(config) in self._seen

    def curve(self, trial: int) -> Curve:
        """Steps (k,) and objectives (k, m), maximised, that a trial reported."""
        points = self._curves.get(trial, [])
        steps = np.array([step for step, _ in points], dtype=np.int64)
        return steps, np.array([values for _, values in points]).reshape(len(points), len(self.problem.objectives))

    def history(self) -> History:
        """The view that strategies see."""
        return self.buffer.cut(
            next_trial=self.next_trial,
            pending=[self.pending[trial] for trial in sorted(self.pending)],
            seen=self.seen,
            n_seen=len(self._seen),
            curve=self.curve,
        )
