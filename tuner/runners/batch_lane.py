"""A slot whose trials are evaluated several at a time, in one pass of the objective's `evaluate_batch`.

Jobs that were started since the last look make a pass. A member that is stopped or fails leaves the others alone. What
ends a pass as a whole (memory, a time limit, an exception, a process that died) may be one member's doing: the pass is
repeated in halves, until what fails is a trial by itself; that trial has failed. Reports are passed on once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tuner.runners.batch_size import BatchSize
from tuner.runners.devices import Slot
from tuner.runners.lane import Flight, Surroundings
from tuner.runners.pool import PythonObjective, Worker, WorkerLane, job_message
from tuner.runners.protocol import Finished, Job, Reported
from tuner.slots import SlotState
from tuner.trial import Failure, Outcome


class BatchLane(WorkerLane):
    """See the module.

    Args:
        slot: Where the passes run.
        around: What the lanes of a runner share.
        objective: What has `evaluate_batch`.
        size: How many trials make a pass.
    """

    def __init__(self, slot: Slot, around: Surroundings, objective: PythonObjective, size: BatchSize) -> None:
        super().__init__(slot, around, objective)
        self._size = size
        self._gathered: list[Flight] = []
        self._queue: list[list[Flight]] = []
        self._members: dict[int, Flight] = {}
        self._told: list[Finished] = []  # told when the pass has ended, and others can start
        self._repeated: dict[int, int] = {}  # steps that were passed on before the pass was repeated
        self._began_with = 0
        self._steps: dict[int, int] = {}  # reports of each member of the pass: what it has done

    @property
    def free(self) -> bool:
        """Whether nothing runs or waits here."""
        return super().free and not self._gathered and not self._queue

    @property
    def room(self) -> int:
        """How many jobs can still join the next pass."""
        return max(0, self._size.now - len(self._gathered)) if super().free and not self._queue else 0

    @property
    def capacity(self) -> int:
        """How many jobs a pass takes."""
        return self._size.now

    def start(self, job: Job) -> None:
        """Let a job join the next pass."""
        folder = self.around.folder(job)
        self._gathered.append(Flight(job=job, dir=folder, started=time.monotonic(), started_at=time.time()))

    def due(self) -> float:
        """When `advance` has something to do."""
        waits = super().free and (self._gathered or self._queue)
        return time.monotonic() if waits else super().due()

    def advance(self, now: float) -> None:
        """Do what is due; start the next pass."""
        super().advance(now)
        if not super().free:
            return
        if self._gathered:
            self._queue += _apart(self._gathered)
            self._gathered = []
        if self._queue:
            self._launch(self._queue.pop(0))

    def _launch(self, members: Sequence[Flight]) -> None:
        now, moment = time.monotonic(), time.time()
        for member in members:
            member.started, member.started_at = now, moment
        self._members = {member.job.trial: member for member in members}
        self._repeated = {member.job.trial: member.heard for member in members}
        self._began_with = len(members)
        self._steps = {member.job.trial: 0 for member in members}
        first = members[0]
        message = {"batch": [job_message(member.job, member.dir, self.slot) for member in members]}
        self.begin(first.job, first.dir, message)

    def obey(self, message: Mapping[str, Any], worker: Worker) -> None:
        """Take one message of the worker."""
        if "report" in message:
            self._hear(*message["report"])
        elif "done" in message:
            self._member_done(message["done"])
        elif "failed" in message and self.flight is not None:
            failed = message["failed"]
            failure = Failure(kind=failed["kind"], message=failed["message"])
            events = self.fell(failure, failed["measures"], ended=time.monotonic())
            self.part(events, worker, sick=failed["sick"])
        elif "ended" in message and self.flight is not None:
            seconds = time.monotonic() - self.flight.started
            work = float(sum(max(1, steps) for steps in self._steps.values()))
            self._size.ran(self._began_with, seconds, message["ended"]["memory"], work)
            self.flight = None
            worker.trials += self._began_with - len(self._told)  # `part` counts these
            self.part(self._all_told(), worker, sick=False)
        else:
            super().obey(message, worker)
            if "up" in message and self.flight is not None:
                for member in self._members.values():
                    member.started, member.started_at = self.flight.started, self.flight.started_at

    def _hear(self, trial: int, step: int | None, values: Mapping[str, Any]) -> None:
        member = self._members.get(trial)
        if member is None:
            return
        self._steps[trial] += 1
        repeated = step is not None and step <= self._repeated[trial]
        report = None if repeated else member.reports.add(step, values)
        if report is not None:
            member.heard = max(member.heard, report[0])
            self.events.append(Reported(trial, member.job.attempt, *report))
        elif step is not None and member.job.judged:
            self.proceed(trial, step)  # nobody else will answer

    def _member_done(self, done: Mapping[str, Any]) -> None:
        member = self._members.pop(done["trial"], None)
        if member is None:
            return
        measures = {**done["measures"], "exit_code": 0.0}
        if done["state"] == "completed":
            outcome = self.completed(done["returned"], member, measures)
        elif done["state"] == "pruned":
            outcome = Outcome(state="pruned", metrics=member.reports.latest(), measures=measures)
        else:
            failure = Failure(kind=done["kind"], message=done["message"])
            outcome = Outcome(state="failed", measures=measures, failure=failure)
        done_now = self.events if done["state"] == "pruned" else self._told
        done_now.append(self._finished(member, outcome, time.monotonic()))

    def _all_told(self) -> list[Finished]:
        done, self._told = self._told, []
        return done

    def _finished(self, member: Flight, outcome: Outcome, ended: float) -> Finished:
        finished_at = member.started_at + (ended - member.started)
        job = member.job
        return Finished(job.trial, job.attempt, outcome, self.slot.id, member.started_at, finished_at)

    def fell(self, failure: Failure, measures: Mapping[str, float], *, ended: float) -> Sequence[Finished]:
        """What comes of a pass that ended as a whole: several members go on in halves, one has failed."""
        members, flight = list(self._members.values()), self.flight
        self._members, self.flight = {}, None
        ending = flight.ending if flight is not None else None
        if failure.kind in ("oom_gpu", "oom_host"):
            self._size.ran_out(self._began_with)
        if ending == "timeout":
            limit_s = self._limit(members[0].job) if members else None
            failure = Failure(kind="timeout", message=f"it ran longer than {limit_s or math.nan:g} s")
        elif ending == "interrupted":
            failure = Failure(kind="interrupted", message="the run was interrupted")
        if len(members) > 1 and ending != "interrupted":
            middle = (len(members) + 1) // 2
            self._queue[:0] = [members[:middle], members[middle:]]
            return self._all_told()
        outcome = Outcome(state="failed", measures=measures, failure=failure)
        return [*self._all_told(), *(self._finished(member, outcome, ended) for member in members)]

    def prune(self, trial: int) -> None:
        """Ask a member to stop; it ends when it reports next, and the others run on."""
        self._tell({"stop": trial}, trial)
        for waiting in self._queue:
            for member in [one for one in waiting if one.job.trial == trial]:
                waiting.remove(member)
                outcome = Outcome(state="pruned", metrics=member.reports.latest())
                self.events.append(self._finished(member, outcome, time.monotonic()))
        self._queue = [waiting for waiting in self._queue if waiting]

    def proceed(self, trial: int, step: int) -> None:
        """Tell a member, which may be waiting for it, that it goes on past a step that it reported."""
        self._tell({"go": [trial, step]}, trial)

    def _tell(self, message: Mapping[str, Any], trial: int) -> None:
        if trial in self._members and self._worker is not None:
            with contextlib.suppress(OSError):  # its exit will tell
                self._worker.socket.sendall(json.dumps(message).encode() + b"\n")

    def interrupt(self, *, kill: bool) -> None:
        """End the pass, and whatever waits for the next."""
        waiting = [member for members in [*self._queue, self._gathered] for member in members]
        self._queue, self._gathered = [], []
        failure = Failure(kind="interrupted", message="the run was interrupted")
        outcome = Outcome(state="failed", failure=failure)
        self.events += [self._finished(member, outcome, time.monotonic()) for member in waiting]
        super().interrupt(kill=kill)

    def states(self) -> list[SlotState]:
        """What is going on here, a trial each."""
        state = self.state()
        members = list(self._members.values())
        return [
            dataclasses.replace(state, slot=f"{state.slot}.{place}", trial=member.job.trial)
            for place, member in enumerate(members)
        ] or [dataclasses.replace(state, trial=None)]


def _apart(members: Sequence[Flight]) -> list[list[Flight]]:
    """Passes in which every trial is once: a worker tells members by their trials."""
    passes: list[list[Flight]] = []
    for member in members:
        alone = (one for one in passes if all(other.job.trial != member.job.trial for other in one))
        into = next(alone, None)
        if into is None:
            passes.append([member])
        else:
            into.append(member)
    return passes
