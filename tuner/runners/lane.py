"""A lane: one slot, at most one trial in it, and how a trial is brought to an end.

Endings escalate: a trial that is pruned is asked first, then gets TERM, then KILL; a timeout or an interruption begins
at TERM. After its process ended, the family is swept until nobody is left; only then the lane reports `Finished`.
"""

from __future__ import annotations

import math
import selectors
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tuner.runners.devices import Slot
from tuner.runners.failures import OomCounter
from tuner.runners.gpu_meter import GpuMeter
from tuner.runners.guard import Guard
from tuner.runners.processes import Family
from tuner.runners.protocol import Event, Finished, Job, Reported
from tuner.runners.reports import Report, ReportLog
from tuner.slots import SlotState
from tuner.trial import Failure, Metric, Outcome

Ending = Literal["timeout", "pruned", "interrupted"]

_SWEEP_S = 0.02  # between looks at survivors
_SOFT_SWEEP_S = 1.0  # what survivors of a trial that ended by itself get between TERM and KILL
_GIVE_UP_S = 10.0  # a process that survives KILL for this long sits in the kernel


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """What the lanes of one runner share.

    Attributes:
        selector: Every descriptor that can wake the runner; its data is the lane's callback.
        guard: Ends process groups should the tuner die.
        metrics: What trials must deliver.
        folder: Gives a job's folder.
        environment: Of every process, before slot and trial add theirs.
        overrides: The user's own variables, which win over those of slot and trial.
        timeout_s: Limit of an attempt; None for none.
        grace_s: Between TERM and KILL, and between a request to stop and TERM.
        oom: Tells kills for memory apart.
        meter: Measures GPUs.
    """

    selector: selectors.BaseSelector
    guard: Guard
    metrics: Sequence[Metric]
    folder: Callable[[Job], Path]
    environment: Mapping[str, str]
    overrides: Mapping[str, str]
    timeout_s: float | None
    grace_s: float
    oom: OomCounter
    meter: GpuMeter


@dataclass(slots=True, kw_only=True)
class Flight:
    """A trial that runs.

    Attributes:
        job: What runs.
        dir: Its folder.
        started: By `time.monotonic`.
        started_at: Seconds since the epoch.
        reports: What it reported so far.
        ending: Why it is being ended; None while it may run.
        stage: How far that went.
        due: When the next step is taken (`time.monotonic`).
        heard: The last step that was passed on, of a trial that may run again from its start.
    """

    job: Job
    dir: Path
    started: float
    started_at: float
    reports: ReportLog = field(default_factory=ReportLog)
    ending: Ending | None = None
    stage: Literal["run", "asked", "term", "kill"] = "run"
    due: float = math.inf
    heard: int = -1


@dataclass(slots=True)
class _Sweep:
    """The wait until nobody of a family is left."""

    family: Family
    events: Sequence[Finished]
    due: float
    term_at: float
    kill_at: float
    until: float
    signalled: bool = False

    def look(self, now: float) -> bool:
        """Whether nobody is left (or the wait is over); survivors are told to end, in time by force."""
        if not self.family.survivors() or now >= self.until:
            return True
        if now >= self.kill_at:
            self.family.signal(signal.SIGKILL)
        elif now >= self.term_at and not self.signalled:
            self.family.signal(signal.SIGTERM)
            self.signalled = True
        self.due = now + _SWEEP_S
        return False


class Lane(ABC):
    """One slot and its trial."""

    def __init__(self, slot: Slot, around: Surroundings) -> None:
        self.slot = slot
        self.around = around
        self.flight: Flight | None = None
        self.events: list[Event] = []
        self._sweeps: list[_Sweep] = []

    @property
    def free(self) -> bool:
        """Whether a job can start."""
        return self.flight is None and not self._sweeps

    @property
    def room(self) -> int:
        """How many jobs can start now."""
        return int(self.free)

    @property
    def capacity(self) -> int:
        """How many jobs can run at once."""
        return 1

    @abstractmethod
    def start(self, job: Job) -> None:
        """Start a job; the lane must have room."""

    @abstractmethod
    def family(self) -> Family | None:
        """The process of this lane; None when there is none."""

    @abstractmethod
    def ask_to_stop(self) -> None:
        """Tell the running trial that it should end by itself."""

    @abstractmethod
    def check_exit(self) -> None:
        """Look whether the process ended, and end the trial with it."""

    def due(self) -> float:
        """When `advance` has something to do (`time.monotonic`)."""
        sweeps = min((sweep.due for sweep in self._sweeps), default=math.inf)
        return min(sweeps, self.flight.due if self.flight is not None else math.inf)

    def prune(self, trial: int) -> None:
        """Ask a trial to stop, if it runs here; TERM follows after the grace."""
        if self.flight is not None and self.flight.job.trial == trial and self.flight.ending is None:
            self.flight.ending = "pruned"
            self.flight.stage = "asked"
            self.flight.due = time.monotonic() + self.around.grace_s
            self.ask_to_stop()

    def proceed(self, trial: int, step: int) -> None:  # noqa: B027 - a trial by itself does not wait for the verdict
        """Tell a trial that it goes on past a step that it reported."""

    def interrupt(self, *, kill: bool) -> None:
        """End the trial: TERM now and KILL after the grace, or KILL now."""
        if self.flight is not None and self.flight.stage != "kill":
            self.flight.ending = self.flight.ending or "interrupted"
            if kill or self.flight.stage != "term":
                self._escalate("kill" if kill else "term", time.monotonic())

    def advance(self, now: float) -> None:
        """Do what is due."""
        self._look([sweep for sweep in self._sweeps if sweep.due <= now], now)
        flight = self.flight
        if flight is None or flight.due > now:
            return
        if flight.stage == "run":
            flight.ending = "timeout"
        self._escalate("term" if flight.stage in ("run", "asked") else "kill", now)

    def _escalate(self, stage: Literal["term", "kill"], now: float) -> None:
        flight, family = self.flight, self.family()
        if flight is None or family is None:
            return
        flight.stage = stage
        flight.due = now + (max(self.around.grace_s, _SWEEP_S) if stage == "term" else 1.0)
        family.signal(signal.SIGTERM if stage == "term" else signal.SIGKILL)

    def states(self) -> list[SlotState]:
        """What is going on here, a trial each."""
        return [self.state()]

    def state(self) -> SlotState:
        """What is going on here."""
        flight, family = self.flight, self.family()
        if flight is None:
            return SlotState(self.slot.id, gpus=self.slot.gpu_uuids)
        return SlotState(
            self.slot.id,
            gpus=self.slot.gpu_uuids,
            trial=flight.job.trial,
            pid=None if family is None else family.pid,
            since=flight.started_at,
            limit_s=self._limit(flight.job),
        )

    def hear(self, reports: Sequence[Report]) -> None:
        """Pass reports on to the loop."""
        if self.flight is not None:
            job = self.flight.job
            self.events += [Reported(job.trial, job.attempt, step, values) for step, values in reports]

    def measured(self, measures: Mapping[str, float], *, ended: float) -> dict[str, float]:
        """`measures`, with those of the slot's GPUs."""
        if self.flight is None or not self.slot.gpu_uuids:
            return dict(measures)
        return {**measures, **self.around.meter.stop(self.slot.id, ended - self.flight.started)}

    def land(self, outcome: Outcome, *, ended: float) -> Finished:
        """The event for the trial's end; how it was being ended decides over what it left behind."""
        flight = self.flight
        assert flight is not None
        self.flight = None
        if flight.ending is not None:
            outcome = _cut_short(flight, outcome, self._limit(flight.job))
        finished_at = flight.started_at + (ended - flight.started)
        return Finished(flight.job.trial, flight.job.attempt, outcome, self.slot.id, flight.started_at, finished_at)

    def _limit(self, job: Job) -> float | None:
        return job.timeout_s if job.timeout_s is not None else self.around.timeout_s

    def sweep(
        self, family: Family, events: Sequence[Finished] = (), *, hard: bool = False, patience_s: float = 0.0
    ) -> None:
        """Report `events` as soon as nobody of the family is left.

        Survivors get TERM after `patience_s` and KILL a second later; KILL at once when `hard`.
        """
        now = time.monotonic()
        term_at = now + patience_s
        sweep = _Sweep(family, events, now, term_at, now if hard else term_at + _SOFT_SWEEP_S, term_at + _GIVE_UP_S)
        self._sweeps.append(sweep)
        self._look([sweep], now)

    def _look(self, sweeps: Sequence[_Sweep], now: float) -> None:
        for sweep in sweeps:
            if sweep.look(now):
                self._sweeps.remove(sweep)
                self.around.guard.release(sweep.family.pid)
                self.events += sweep.events

    def retire(self) -> None:  # noqa: B027 - a lane that keeps no process between trials has nothing to do
        """Let go of a process that waits for the next trial."""

    def environment(self, tag: str) -> dict[str, str]:
        """The environment of a process in this slot; `tag` marks it and its descendants."""
        return {
            **self.around.environment,
            **slot_environment(self.slot),
            **self.around.overrides,
            "TUNER_LEASE": tag,
        }


def _cut_short(flight: Flight, outcome: Outcome, limit_s: float | None) -> Outcome:
    """What a trial becomes that did not end by its own will."""
    measures = outcome.measures
    if flight.ending == "pruned":
        return Outcome(state="pruned", metrics=flight.reports.latest(), measures=measures)
    if flight.ending == "timeout":
        message = f"it ran longer than {limit_s:g} s" if limit_s is not None else "it ran too long"
        return Outcome(state="failed", measures=measures, failure=Failure(kind="timeout", message=message))
    failure = Failure(kind="interrupted", message="the run was interrupted")
    return Outcome(state="failed", measures=measures, failure=failure)


def slot_environment(slot: Slot) -> dict[str, str]:
    """What a slot adds to the environment: its GPUs, and caps for the threads of numerical libraries."""
    names = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "RAYON")
    found = {f"{name}_NUM_THREADS": str(slot.threads) for name in names}
    found["VECLIB_MAXIMUM_THREADS"] = str(slot.threads)
    if slot.gpu_uuids:
        found["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        found["CUDA_VISIBLE_DEVICES"] = found["TUNER_GPU_IDS"] = ",".join(slot.gpu_uuids)
    return found
