"""Simulation: a study on many workers under a simulated clock, its trials played from recorded curves.

The study is the real one: its strategy is asked, its stopping rule judges every report, its budget ends it. Only time
is made up. A trial takes so many seconds a step, ten times as many on a straggler; one that continues another pays for
the steps that are new. Which trials straggle follows from the seed and the trial's number: a simulation repeats.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tuner.randomness import generator
from tuner.study import Study
from tuner.trial import Config, Outcome, Proposal

Recorded = Callable[[Config, int], Mapping[str, float]]
"""Configuration, step -> what a trial reports there."""

STREAM = 7003


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What trials run on.

    Attributes:
        workers: How many.
        step_s: Seconds a step.
        stragglers: Share of trials that run on slow workers.
        slowness: How many times as long these take.
        seed: Decides which.
    """

    workers: int
    step_s: float = 1.0
    stragglers: float = 0.1
    slowness: float = 10.0
    seed: int = 0

    def pace(self, trial: int) -> float:
        """Seconds a step of a trial."""
        slow = float(generator(self.seed, trial, STREAM).random()) < self.stragglers
        return self.step_s * (self.slowness if slow else 1.0)


@dataclass(slots=True)
class Played:
    """What came of a simulation.

    Attributes:
        seconds: Until the last trial ended.
        started_s: Until the last trial started: until then there was budget.
        busy_s: Worker-seconds in trials, up to `started_s`.
        idle_s: Worker-seconds without a trial, up to `started_s`.
        steps: Steps that were run.
        ends: Trial -> when it ended, the last step it reported, and its state.
        path: (Seconds, steps run so far) when each trial ended, in that order, with its number.
    """

    seconds: float = 0.0
    started_s: float = 0.0
    busy_s: float = 0.0
    idle_s: float = 0.0
    steps: int = 0
    ends: dict[int, tuple[float, int, str]] = field(default_factory=dict)
    path: list[tuple[float, int, int]] = field(default_factory=list)


@dataclass(slots=True)
class _Running:
    proposal: Proposal
    began: float
    pace: float
    step: int
    last: int


def simulate(study: Study, recorded: Recorded, cluster: Cluster, *, steps: int, limit: float = math.inf) -> Played:
    """Play a study to the end of its budget.

    Args:
        study: In memory, without trials.
        recorded: What trials report; what they report last is their result.
        cluster: What they run on.
        steps: Of a trial that gets all of the fidelity.
        limit: Steps after which no trial starts, beside the study's own budget.
    """
    played = Played()
    reached: dict[int, int] = {}
    events: list[tuple[float, int, _Running]] = []
    now, idle, since, counter = 0.0, cluster.workers, 0.0, 0

    def passes(to: float) -> None:
        nonlocal since
        played.idle_s += idle * (to - since)
        played.busy_s += (cluster.workers - idle) * (to - since)
        since = to

    def budget_left() -> bool:
        return played.steps < limit and study.stop_reason is None

    while True:
        asked = study.ask(idle) if idle and budget_left() else []
        if asked:
            passes(now)
            played.started_s = now
        for proposal in asked:
            idle -= 1
            last = steps if proposal.fidelity is None else min(round(proposal.fidelity), steps)
            done = 0 if proposal.origin is None else reached.get(proposal.origin, 0)
            running = _Running(proposal, now, cluster.pace(proposal.trial), done, last)
            counter += 1
            heapq.heappush(events, (now + running.pace, counter, running))
        if not events:
            break
        now, _, running = heapq.heappop(events)
        if budget_left():
            passes(now)
        if _steps_on(study, recorded, running, played):
            counter += 1
            heapq.heappush(events, (now + running.pace, counter, running))
            continue
        _end(study, recorded, running, played, now)
        reached[running.proposal.trial] = running.step
        idle += 1
    played.seconds = now
    return played


def _steps_on(study: Study, recorded: Recorded, running: _Running, played: Played) -> bool:
    """Run a step and report it; whether the trial goes on."""
    running.step = min(running.step + 1, running.last)
    played.steps += 1
    trial = running.proposal.trial
    stop = study.report(trial, running.step, recorded(running.proposal.config, running.step))
    if stop and running.step < running.last:
        played.ends[trial] = (0.0, running.step, "pruned")
        return False
    return running.step < running.last


def _end(study: Study, recorded: Recorded, running: _Running, played: Played, now: float) -> None:
    trial = running.proposal.trial
    state = "pruned" if trial in played.ends else "completed"
    metrics = dict(recorded(running.proposal.config, running.step))
    outcome = Outcome(state="pruned" if state == "pruned" else "completed", metrics=metrics)
    study.finish(trial, outcome, ran=(running.began, now))
    played.ends[trial] = (now, running.step, state)
    played.path.append((now, played.steps, trial))
