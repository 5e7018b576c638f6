"""Trials on this machine: one event loop over the lanes of all slots, single-threaded, driven by `poll`."""

from __future__ import annotations

import contextlib
import math
import os
import re
import selectors
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tuner.errors import EnvironmentUnfitError, ObjectiveError
from tuner.runners.batch_lane import BatchLane
from tuner.runners.batch_size import BatchSize
from tuner.runners.command import Command, CommandLane
from tuner.runners.devices import Lease, Slot, lease, occupant
from tuner.runners.failures import OomCounter
from tuner.runners.gpu_meter import GpuMeter
from tuner.runners.guard import Guard, run_token
from tuner.runners.lane import Lane, Surroundings
from tuner.runners.pool import PythonObjective, WorkerLane
from tuner.runners.processes import adopt_orphans
from tuner.runners.protocol import Event, Job
from tuner.slots import SlotState
from tuner.trial import Metric

_GUARD_CHECK_S = 1.0
_CLOSE_LIMIT_S = 15.0
_OCCUPIED_LIMIT_S = 120.0  # how long a GPU that somebody else uses is waited for when there is no other
_BACKOFF_S = (0.5, 15.0)  # first and longest pause between attempts at a lease


class LocalRunner:
    """Runs trials in worker processes (Python objectives) or as commands, one a slot.

    `poll` does all the work and must be called often: at least every second while trials run. Slots on GPUs, and
    exclusive slots, are leased host-wide; one that another run holds becomes idle later. `Finished` comes only after
    the last process of the trial is gone.

    Args:
        evaluation: What is run.
        slots: From `tuner.runners.devices.plan_slots`.
        metrics: What a trial must deliver (those with a goal or a bound) or may deliver.
        study_dir: Jobs without a folder of their own run in `trials/<n>` below it; None: in a temporary folder.
        timeout_s: Limit of an attempt; None for none. Loading the objective does not count.
        grace_s: Between TERM and KILL, and between a request to stop and TERM.
        env: More environment variables; they win over the slot's thread caps.
        study_token: Marks every process (TUNER_STUDY_TOKEN), so that a later run can end what this one left.
        wakeup_fd: `poll` returns early when it is readable; whoever owns it reads it.
        note: Told, in a sentence, when something must be waited for.
        held: Another runner of this process holds the slots' devices, and the two take turns: nothing is leased.

    Raises:
        ObjectiveError: It is made while an objective is being loaded: the module starts a sweep on import.
    """

    def __init__(
        self,
        evaluation: PythonObjective | Command,
        *,
        slots: Sequence[Slot],
        metrics: Sequence[Metric],
        study_dir: Path | None = None,
        timeout_s: float | None = None,
        grace_s: float = 10.0,
        env: Mapping[str, str] | None = None,
        study_token: str = "",
        wakeup_fd: int | None = None,
        note: Callable[[str], None] | None = None,
        held: bool = False,
    ) -> None:
        if "TUNER_LOADING" in os.environ:
            raise ObjectiveError(
                "a sweep was started while its own objective was being imported; "
                'put the call under `if __name__ == "__main__":`'
            )
        self._closed = False
        self._study_dir = Path(os.path.abspath(study_dir)) if study_dir is not None else None
        self._scratch: Path | None = None
        self._woken = False
        token = run_token()
        around = Surroundings(
            selector=selectors.DefaultSelector(),
            guard=Guard(token, grace_s),
            metrics=tuple(metrics),
            folder=self._folder,
            environment=_base_environment(token, study_token),
            overrides=dict(env or {}),
            timeout_s=timeout_s,
            grace_s=grace_s,
            oom=OomCounter(),
            meter=GpuMeter(),
        )
        self._around = around
        if wakeup_fd is not None:
            around.selector.register(wakeup_fd, selectors.EVENT_READ, self._wake)
        told = note or (lambda _: None)
        self._berths = [_Berth(_lane(slot, around, evaluation, told), told) for slot in slots]
        self._adopted_before = adopt_orphans()
        self._guard_due = time.monotonic() + _GUARD_CHECK_S
        for berth in self._berths:
            if held:
                berth.lease = Lease([])
            else:
                berth.acquire(time.monotonic())

    @property
    def capacity(self) -> int:
        """How many jobs can run at once."""
        return sum(berth.lane.capacity for berth in self._berths)

    def idle(self) -> int:
        """How many jobs could start now."""
        return sum(berth.room for berth in self._berths)

    def slots(self) -> list[SlotState]:
        """What is going on in each slot."""
        return [state for berth in self._berths for state in berth.lane.states()]

    def start(self, job: Job) -> None:
        """Start a job in the first slot that has room. Jobs that are evaluated in one pass start with the next `poll`.

        Raises:
            EnvironmentUnfitError: The command's program does not exist.
            UsageError: A placeholder of the command names nothing.
            ObjectiveError: The objective cannot be sent to another process.
        """
        max(self._berths, key=lambda berth: berth.room).lane.start(job)  # the first of those with most room

    def poll(self, timeout_s: float) -> list[Event]:
        """What happened, in order for each trial. Waits up to `timeout_s` for an event, a wake-up or a new idle slot.

        Raises:
            ObjectiveError: The objective cannot be loaded (no worker ever could).
            EnvironmentUnfitError: Every GPU has been in use by others for two minutes.
        """
        until = time.monotonic() + timeout_s
        idle = self.idle()
        self._woken = False
        while True:
            now = time.monotonic()
            due = now if any(berth.lane.events for berth in self._berths) else min(self._due(), until)
            for key, _ in self._around.selector.select(max(0.0, due - now)):
                key.data()
            now = time.monotonic()
            self._advance(now)
            events = [event for berth in self._berths for event in berth.lane.events]
            for berth in self._berths:
                berth.lane.events.clear()
            if events or self._woken or now >= until or self.idle() > idle:
                return events

    def prune(self, trial: int) -> None:
        """Ask a running trial to stop: it learns so when it reports; TERM follows after the grace, then KILL."""
        for berth in self._berths:
            berth.lane.prune(trial)

    def proceed(self, trial: int, step: int) -> None:
        """Tell a trial that it goes on past a step that it reported; only those of a pass wait for it."""
        for berth in self._berths:
            berth.lane.proceed(trial, step)

    def interrupt(self, *, kill: bool = False) -> None:
        """End every running trial: TERM, grace, KILL; or KILL now. Each ends as failed, kind interrupted."""
        for berth in self._berths:
            berth.lane.interrupt(kill=kill)

    def close(self) -> None:
        """End everything that runs (its events are lost) and leave no process; may be called again."""
        if self._closed:
            return
        self._closed = True
        until = time.monotonic() + _CLOSE_LIMIT_S
        self.interrupt(kill=True)
        while not all(berth.lane.free for berth in self._berths) and time.monotonic() < until:
            with contextlib.suppress(ObjectiveError):
                self._pump()
        for berth in self._berths:
            berth.lane.retire()
        while not all(berth.lane.free for berth in self._berths) and time.monotonic() < until:
            self._pump()
        self._around.guard.close()
        self._around.meter.close()
        self._around.selector.close()
        for berth in self._berths:
            berth.release()
        if not self._adopted_before:
            adopt_orphans(False)
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def __enter__(self) -> LocalRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wake(self) -> None:
        self._woken = True

    def _due(self) -> float:
        return min([self._guard_due, *(berth.due() for berth in self._berths)])

    def _advance(self, now: float) -> None:
        for berth in self._berths:
            berth.lane.advance(now)
            if berth.lease is None and berth.next_try <= now and not self._closed:
                berth.acquire(now)
        if now >= self._guard_due:
            self._guard_due = now + _GUARD_CHECK_S
            self._around.guard.check()
            _give_up([berth for berth in self._berths if berth.lease is None], len(self._berths), now)

    def _pump(self) -> None:
        due = min([*(berth.lane.due() for berth in self._berths), time.monotonic() + 0.1])
        for key, _ in self._around.selector.select(max(0.0, due - time.monotonic())):
            key.data()
        for berth in self._berths:
            berth.lane.advance(time.monotonic())

    def _folder(self, job: Job) -> Path:
        if job.dir is not None:
            return Path(os.path.abspath(job.dir))
        if self._study_dir is not None:
            return self._study_dir / "trials" / str(job.trial)
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="tuner-run-"))
        return self._scratch / "trials" / str(job.trial)


class _Berth:
    """A lane and the lease on its slot, which may have to be waited for."""

    def __init__(self, lane: Lane, note: Callable[[str], None]) -> None:
        self.lane = lane
        self.lease: Lease | None = None
        self.next_try = 0.0
        self.occupied_since: float | None = None
        self._note = note
        self._pause = _BACKOFF_S[0]

    @property
    def room(self) -> int:
        return self.lane.room if self.lease is not None else 0

    def due(self) -> float:
        return min(self.lane.due(), math.inf if self.lease is not None else self.next_try)

    def acquire(self, now: float) -> None:
        """Try to lease the slot; when it is taken, say so once and try again later."""
        slot = self.lane.slot
        held = lease(slot)
        reason = "another run holds it" if held is None else (occupant(slot) if slot.gpu_uuids else None)
        if held is not None and reason is None:
            self.lease = held
            return
        if held is not None:
            held.release()
            self.occupied_since = now if self.occupied_since is None else self.occupied_since
        else:
            self.occupied_since = None
        if self.next_try == 0.0:
            what = ", ".join(slot.gpu_uuids) or "the right to measure on this machine"
            self._note(f"slot {slot.id} waits for {what}: {reason}")
        self.next_try = now + self._pause
        self._pause = min(2 * self._pause, _BACKOFF_S[1])

    def release(self) -> None:
        if self.lease is not None:
            self.lease.release()
            self.lease = None


def _give_up(waiting: Sequence[_Berth], n: int, now: float) -> None:
    """When every GPU is used by others for too long, nothing will ever start."""
    since = [berth.occupied_since for berth in waiting if berth.occupied_since is not None]
    if len(since) == n and now - max(since) > _OCCUPIED_LIMIT_S:
        reasons = "; ".join(filter(None, (occupant(berth.lane.slot) for berth in waiting)))
        raise EnvironmentUnfitError(f"no GPU has been free for {_OCCUPIED_LIMIT_S:g} s: {reasons}")


def _lane(slot: Slot, around: Surroundings, evaluation: PythonObjective | Command, note: Callable[[str], None]) -> Lane:
    if isinstance(evaluation, Command):
        return CommandLane(slot, around, evaluation)
    if evaluation.batch != 1:
        return BatchLane(slot, around, evaluation, BatchSize(evaluation.batch, note))
    return WorkerLane(slot, around, evaluation)


_OF_A_TRIAL = re.compile(
    r"TUNER_(PARAM_.*|PARAMS|REPORT|STOP|TRIAL|TRIAL_DIR|SEED|FIDELITY|CHECKPOINT|GPU_IDS|RUN|LEASE|STUDY_TOKEN)"
)


def _base_environment(token: str, study_token: str) -> dict[str, str]:
    """Our own environment, less what an outer trial put there, and the marks of this run.

    In a virtual environment its programs come first on PATH: `python` in a command is the Python that runs tuner.
    """
    found = {name: value for name, value in os.environ.items() if not _OF_A_TRIAL.fullmatch(name)}
    found |= {"PYTHONUNBUFFERED": "1", "WANDB_MODE": "offline", "TUNER_RUN": token}
    if sys.prefix != sys.base_prefix:  # a virtual environment, activated or not
        found["PATH"] = os.pathsep.join(filter(None, (str(Path(sys.executable).parent), found.get("PATH"))))
    if study_token:
        found["TUNER_STUDY_TOKEN"] = study_token
    return found
