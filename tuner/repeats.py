"""Repeats: measuring a configuration more than once, against noise.

`repeats: {n: 3}` measures every trial three times and records the means. `repeats: {finalists: 5, finalist_n: 4}`
measures each of the five best trials four times more once the budget is spent, on seeds that the search never saw: the
best of many noisy trials looks better than it is, the mean of fresh measurements does not. They count against no
budget. A trial keeps its metrics; the fresh means join its measures as `final.<metric>`, their standard deviations as
`final.<metric>_sd`, and the number of measurements that failed as `final.failed`.

With `allocate: halving` finalists share the same number of measurements by sequential halving (Karnin, Koren and Somekh
2013, "Almost Optimal Exploration in Multi-Armed Bandits", algorithm 1): in each round every finalist that is left gets
equally many, and the better half stays. `final.repeats` says how many each had; the last one left is recommended.
"""

from __future__ import annotations

import dataclasses
import math
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


def repeat_seed(problem: Problem, trial: int, replicate: int) -> int:
    """The seed of one of a trial's repeats; in a race the same for every trial."""
    raced = problem.repeats is not None and problem.repeats.race is not None
    return trial_seed(problem.seed, 0 if raced else trial, replicate)


def halving_rounds(arms: int, each: int) -> list[tuple[int, int]]:
    """(Arms, measurements of each) round by round, of a budget of `arms` times `each` measurements."""
    rounds = max(math.ceil(math.log2(arms)), 1) if arms else 0
    found, left = [], arms
    for _ in range(rounds):
        found.append((left, max(arms * each // (left * rounds), 1)))
        left = math.ceil(left / 2)
    return found


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
    """The finalists that were measured again with success, best first by the first objective's fresh mean.

    Those that were measured more often come first: halving let them stay.
    """
    names = [metric.name for metric in study.problem.objectives]
    records = [study.read(number) for number in finalists(study.history)]
    done = [record for record in records if all(PREFIX + name in record.measures for name in names)]
    return sorted(done, key=lambda record: (-_count(record), -_fresh_values(study, record)[0]))


def measured_again(problem: Problem, measures: Mapping[str, float]) -> tuple[dict[str, float], int]:
    """Means of a finalist's fresh measurements by metric, and of how many; ({}, 0) of a trial without."""
    if not all(PREFIX + metric.name in measures for metric in problem.objectives):
        return {}, 0
    asked = problem.repeats.finalist_n if problem.repeats is not None else 1
    means = {k.removeprefix(PREFIX): value for k, value in measures.items() if k.startswith(PREFIX)}
    return means, max(int(means.get(REPEATS, asked)) - int(means.get("failed", 0)), 1)


def recommended(study: Study) -> TrialRecord | None:
    """The best confirmed trial by its fresh means, the knee with several objectives; None when there is none."""
    records = [record for record in confirmed(study) if _fresh_feasible(study, record)]
    if not records:
        return None
    records = [record for record in records if _count(record) == max(map(_count, records))]
    return records[pareto.knee(np.array([_fresh_values(study, record) for record in records]))]


def _fresh(record: TrialRecord) -> dict[str, float]:
    return {k.removeprefix(PREFIX): value for k, value in record.measures.items() if k.startswith(PREFIX)}


def _count(record: TrialRecord) -> float:
    """How often a finalist was measured; 0 where all were as often."""
    return record.measures.get(PREFIX + REPEATS, 0.0)


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
        self._left: list[TrialRecord] | None = None  # who gets the measurements of the next round
        self._rounds: list[tuple[int, int]] = []
        self._queue: list[Job] = []
        self._asked: dict[int, int] = {}
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
        if not self._queue and not self._running:
            self._queue = self._round()
        jobs, self._queue = self._queue[:n], self._queue[n:]
        self._running |= {(job.trial, job.attempt) for job in jobs}
        return jobs

    def _round(self) -> list[Job]:
        """The measurements of the next round; none after the last."""
        repeats = self._study.problem.repeats
        if self._left is None:
            chosen = [self._study.read(number) for number in finalists(self._study.history)]
            self._left = [record for record in chosen if not _fresh(record)]
            if repeats is not None and self._left:
                n, each = len(self._left), repeats.finalist_n
                self._rounds = halving_rounds(n, each) if repeats.allocate == "halving" else [(n, each)]
        if not self._rounds:
            return []
        (n, each), *self._rounds = self._rounds
        if n < len(self._left):
            self._left = self._best()[:n]
        return [job for record in self._left for job in self._jobs(record, each)]

    def _best(self) -> list[TrialRecord]:
        """Who is left, the best first by the means of what was measured so far; who always failed comes last."""
        assert self._left is not None
        worst = [-math.inf] * len(self._study.problem.objectives)
        Y = np.array([self._means(record) or worst for record in self._left])
        fine = np.array([self._feasible(record) for record in self._left])
        ranks = pareto.ranks(Y, fine)
        return [self._left[i] for i in np.argsort(ranks, kind="stable")]

    def _good(self, record: TrialRecord) -> list[Outcome]:
        return [outcome for outcome in self._outcomes.get(record.trial, ()) if outcome.state == "completed"]

    def _means(self, record: TrialRecord) -> list[float] | None:
        good = self._good(record)
        return self._study.problem.values(averaged(good).metrics) if good else None

    def _feasible(self, record: TrialRecord) -> bool:
        good, study = self._good(record), self._study
        return bool(good) and study.problem.feasible(record.config, averaged(good).metrics, study.ledger.baseline)

    def _jobs(self, record: TrialRecord, each: int) -> list[Job]:
        problem, directory = self._study.problem, self._study.dir
        n = problem.repeats.n if problem.repeats is not None else 1
        since = self._asked.get(record.trial, 0)
        self._asked[record.trial] = since + each
        return [
            Job(
                trial=record.trial,
                attempt=k + 1,
                config=record.config,
                seed=repeat_seed(problem, record.trial, _FIRST_REPLICATE + k),
                replicate=n + k,
                dir=None if directory is None else directory / "trials" / str(record.trial) / "final" / str(k),
                fidelity=record.fidelity,
                context=record.context,
                timeout_s=self._study.sweep.runner.timeout,
            )
            for k in range(since, since + each)
        ]

    def owns(self, event: Finished) -> bool:
        """Whether an event is the end of a measurement that was handed out here."""
        return (event.trial, event.attempt) in self._running

    def take(self, event: Finished) -> str | None:
        """Take in the end of a measurement; a line to print when it was the trial's last of a round."""
        study = self._study
        self._running.discard((event.trial, event.attempt))
        record = study.read(event.trial)
        outcomes = self._outcomes.setdefault(event.trial, [])
        outcomes.append(judge(study.problem, record.config, event.outcome, on_oom=study.sweep.runner.on_oom))
        if len(outcomes) < self._asked[event.trial] or any(_interrupted(outcome) for outcome in outcomes):
            return None
        self._annotate(event.trial, outcomes)
        good = self._good(record)
        return f"trial {event.trial} measured {len(outcomes)} times again, {len(good)} succeeded"

    def _annotate(self, trial: int, outcomes: Sequence[Outcome]) -> None:
        study = self._study
        assert study.problem.repeats is not None
        good = [outcome for outcome in outcomes if outcome.state == "completed"]
        found: dict[str, float] = {}
        if study.problem.repeats.allocate == "halving":
            found[REPEATS] = float(len(outcomes))
        if len(good) < len(outcomes):
            found["failed"] = float(len(outcomes) - len(good))
        if good:
            mean = averaged(good)
            for name in mean.metrics.keys() & {metric.name for metric in study.problem.metrics}:
                found[name] = mean.metrics[name]
                if len(good) > 1:
                    found[f"{name}_sd"] = mean.measures[f"{name}_sd"]
        study.annotate(trial, {PREFIX + name: value for name, value in found.items()})


def _interrupted(outcome: Outcome) -> bool:
    return outcome.failure is not None and outcome.failure.kind == "interrupted"
