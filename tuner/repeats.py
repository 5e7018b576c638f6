"""Repeats: measuring a configuration more than once, against noise.

`repeats: {n: 3}` measures every trial three times and records the means. `repeats: {finalists: 5, finalist_n: 4}`
measures each of the five best trials four times more once the budget is spent, on seeds that the search never saw: the
best of many noisy trials looks better than it is, the mean of fresh measurements does not. They count against no
budget. A trial keeps its metrics; the fresh means join its measures as `final.<metric>`, their standard deviations as
`final.<metric>_sd`, and the number of measurements that failed as `final.failed`.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tuner import pareto, ranking
from tuner.judging import judge
from tuner.randomness import trial_seed
from tuner.runners.protocol import Finished, Job
from tuner.trial import Outcome

if TYPE_CHECKING:
    from tuner.history import History
    from tuner.problem import Problem
    from tuner.records import TrialRecord
    from tuner.study import Study

PREFIX = "final."
REPEATS = "repeats"
"""The measure that says how many measurements a trial's metrics are the means of."""

_FIRST_REPLICATE = 1_000_000  # beyond the replicates of any trial, so that no seed is used twice


def averaged(outcomes: Sequence[Outcome]) -> Outcome:
    """Mean of the repeats' metrics; their number joins the measures, and standard deviations as `<metric>_sd`."""
    names = set.intersection(*(set(outcome.metrics) for outcome in outcomes))
    values = {name: [outcome.metrics[name] for outcome in outcomes] for name in sorted(names)}
    spread = {f"{name}_sd": statistics.stdev(v) for name, v in values.items()} if len(outcomes) > 1 else {}
    total: dict[str, float] = {**outcomes[-1].measures, REPEATS: float(len(outcomes))}
    for name in ("wall_s", "cpu_s", "gpu_energy_j"):
        if name in total:
            total[name] = sum(outcome.measures.get(name, 0.0) for outcome in outcomes)
    means = {name: statistics.fmean(v) for name, v in values.items()}
    return dataclasses.replace(outcomes[-1], metrics=means, measures={**total, **spread})


def finalists(history: History) -> list[int]:
    """Numbers of the trials to confirm: the best by value, or the front's members with the most room around them."""
    repeats = history.problem.repeats
    if repeats is None or not repeats.finalists:
        return []
    front = ranking.front(history)
    if len(history.problem.objectives) == 1:
        ordered = ranking.ordered(history)
    else:
        at = {int(number): row for row, number in enumerate(history.number)}
        room = pareto.crowding(history.Y[[at[number] for number in front]]) if front else np.empty(0)
        ordered = [front[i] for i in np.argsort(-room, kind="stable")]
    return ordered[: repeats.finalists]


def confirmed(study: Study) -> list[TrialRecord]:
    """The finalists that were measured again with success, best first by the first objective's fresh mean."""
    names = [metric.name for metric in study.problem.objectives]
    records = [study.read(number) for number in finalists(study.history)]
    done = [record for record in records if all(PREFIX + name in record.measures for name in names)]
    return sorted(done, key=lambda record: -_fresh_values(study, record)[0])


def measured_again(problem: Problem, measures: Mapping[str, float]) -> tuple[dict[str, float], int]:
    """Means of a finalist's fresh measurements by metric, and of how many; ({}, 0) of a trial without."""
    if not all(PREFIX + metric.name in measures for metric in problem.objectives):
        return {}, 0
    asked = problem.repeats.finalist_n if problem.repeats is not None else 1
    means = {k.removeprefix(PREFIX): value for k, value in measures.items() if k.startswith(PREFIX)}
    return means, max(asked - int(means.get("failed", 0)), 1)


def recommended(study: Study) -> TrialRecord | None:
    """The best confirmed trial by its fresh means, the knee with several objectives; None when there is none."""
    records = [record for record in confirmed(study) if _fresh_feasible(study, record)]
    if not records:
        return None
    return records[pareto.knee(np.array([_fresh_values(study, record) for record in records]))]


def _fresh(record: TrialRecord) -> dict[str, float]:
    return {k.removeprefix(PREFIX): value for k, value in record.measures.items() if k.startswith(PREFIX)}


def _fresh_values(study: Study, record: TrialRecord) -> list[float]:
    return study.problem.values(_fresh(record))


def _fresh_feasible(study: Study, record: TrialRecord) -> bool:
    return study.problem.feasible(record.config, _fresh(record), study.ledger.baseline)


class Finalists:
    """Hands out the fresh measurements of a study's finalists, and writes down what comes of them.

    Those that were confirmed in an earlier session are left alone; one that was cut short starts afresh.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._queue: list[Job] | None = None
        self._running: set[tuple[int, int]] = set()
        self._outcomes: dict[int, list[Outcome]] = {}

    @property
    def began(self) -> bool:
        """Whether anything was handed out."""
        return bool(self._running or self._outcomes)

    @property
    def n_running(self) -> int:
        """Measurements that were handed out and did not end."""
        return len(self._running)

    def next(self, n: int) -> list[Job]:
        """Up to `n` measurements to start now."""
        if self._queue is None:
            chosen = [self._study.read(number) for number in finalists(self._study.history)]
            self._queue = [job for record in chosen if not _fresh(record) for job in self._jobs(record)]
        jobs, self._queue = self._queue[:n], self._queue[n:]
        self._running |= {(job.trial, job.attempt) for job in jobs}
        return jobs

    def _jobs(self, record: TrialRecord) -> list[Job]:
        problem, directory = self._study.problem, self._study.dir
        assert problem.repeats is not None
        return [
            Job(
                trial=record.trial,
                attempt=k + 1,
                config=record.config,
                seed=trial_seed(problem.seed, record.trial, _FIRST_REPLICATE + k),
                dir=None if directory is None else directory / "trials" / str(record.trial) / "final" / str(k),
                fidelity=record.fidelity,
                context=record.context,
                timeout_s=self._study.sweep.runner.timeout,
            )
            for k in range(problem.repeats.finalist_n)
        ]

    def owns(self, event: Finished) -> bool:
        """Whether an event is the end of a measurement that was handed out here."""
        return (event.trial, event.attempt) in self._running

    def take(self, event: Finished) -> str | None:
        """Take in the end of a measurement; a line to print when it was the trial's last."""
        study = self._study
        self._running.discard((event.trial, event.attempt))
        record = study.read(event.trial)
        outcomes = self._outcomes.setdefault(event.trial, [])
        outcomes.append(judge(study.problem, record.config, event.outcome, on_oom=study.sweep.runner.on_oom))
        assert study.problem.repeats is not None
        if len(outcomes) < study.problem.repeats.finalist_n or any(_interrupted(outcome) for outcome in outcomes):
            return None
        good = [outcome for outcome in outcomes if outcome.state == "completed"]
        found: dict[str, float] = {}
        if len(good) < len(outcomes):
            found["failed"] = float(len(outcomes) - len(good))
        if good:
            mean = averaged(good)
            for name in mean.metrics.keys() & {metric.name for metric in study.problem.metrics}:
                found[name] = mean.metrics[name]
                if len(good) > 1:
                    found[f"{name}_sd"] = mean.measures[f"{name}_sd"]
        study.annotate(event.trial, {PREFIX + name: value for name, value in found.items()})
        return f"trial {event.trial} measured {len(outcomes)} times again, {len(good)} succeeded"


def _interrupted(outcome: Outcome) -> bool:
    return outcome.failure is not None and outcome.failure.kind == "interrupted"
