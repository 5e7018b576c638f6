"""The parent side of workers: one persistent process a slot that evaluates a Python objective."""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import math
import os
import pickle
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tuner
from tuner.errors import ObjectiveError
from tuner.runners.devices import Slot
from tuner.runners.failures import exit_failure, last_lines, tail
from tuner.runners.lane import Flight, Lane, Surroundings
from tuner.runners.logs import open_logs
from tuner.runners.processes import Family, exit_handle, wait_status
from tuner.runners.protocol import Finished, Job
from tuner.runners.results import Evidence, read_outcome
from tuner.trial import Failure, Outcome

_ROOT = str(Path(tuner.__file__).resolve().parent.parent)
_BOOT = "import sys; sys.path.insert(0, {root!r}); from tuner.runners.worker import main; main({fd}, {parent})"


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonObjective:
    """What workers evaluate.

    Attributes:
        reference: A callable, or whatever `load` understands.
        load: Turns the reference into an objective, in the worker; `tuner.objective.load_objective` when None. A
            reference that is a callable is taken as it is.
        recycle: A worker is replaced after this many trials.
        batch: How many trials are evaluated in one pass, by the objective's `evaluate_batch`; None: what is measured to
            pay and to fit; 1: each by itself.
    """

    reference: Any
    load: Callable[[Any], Any] | None = None
    recycle: int = 1000
    batch: int | None = 1

    def payload(self) -> str:
        """The reference as text for a worker. What lives in `__main__`, or has no name, travels by value.

        Raises:
            ObjectiveError: It cannot be sent to another process.
        """
        load = _itself if callable(self.reference) else self.load
        try:
            data = pickle.dumps((self.reference, load))
        except Exception:
            data = b"__main__"
        if b"__main__" in data:
            data = self._by_value(load)
        return base64.b64encode(data).decode()

    def _by_value(self, load: Callable[[Any], Any] | None) -> bytes:
        try:
            cloudpickle = _cloudpickle()
            found: bytes = cloudpickle.dumps((self.reference, load))
        except Exception as error:
            raise ObjectiveError(
                f"the objective must be importable or picklable, but {error}; "
                'put it in a module and name it "package.module:function"'
            ) from error
        return found


def _itself(reference: Any) -> Any:
    return reference


def _cloudpickle() -> Any:
    """joblib depends on it or, in older releases, carries it."""
    try:
        return importlib.import_module("cloudpickle")
    except ImportError:
        return importlib.import_module("joblib.externals.cloudpickle")


@dataclass(slots=True)
class Worker:
    """A process that evaluates trials.

    Attributes:
        up: The objective is loaded.
        trials: How many it has had.
        listening: Its socket is watched.
        buffer: What it has begun to say.
    """

    process: subprocess.Popen[bytes]
    socket: socket.socket
    exit: int | None
    family: Family
    up: bool = False
    trials: int = 0
    listening: bool = True
    buffer: bytes = b""


class WorkerLane(Lane):
    """A slot whose trials run in one process after another, each for many trials."""

    def __init__(self, slot: Slot, around: Surroundings, objective: PythonObjective) -> None:
        super().__init__(slot, around)
        self._objective = objective
        self._payload: str | None = None
        self._worker: Worker | None = None
        self._spawned = 0
        self._proven = False

    def family(self) -> Family | None:
        """The process that runs, or waits for a trial."""
        return self._worker.family if self._worker is not None else None

    def start(self, job: Job) -> None:
        """Start a job; the lane must be free."""
        folder = self.around.folder(job)
        self.begin(job, folder, {"run": job_message(job, folder, self.slot)})

    def begin(self, job: Job, folder: Path, message: Mapping[str, Any]) -> None:
        """Send a message that starts something, to a new worker when there is none."""
        line = json.dumps(message).encode() + b"\n"
        self._payload = self._payload or self._objective.payload()
        now = time.monotonic()
        self.flight = Flight(job=job, dir=folder, started=now, started_at=time.time())
        self.around.meter.start(self.slot.id, self.slot.gpu_uuids)
        if self._worker is not None:
            try:
                self._worker.socket.sendall(line)
            except OSError:  # it died while it was idle
                self.sweep(self._drop(), hard=True)
            else:
                self._set_limit(now)
                return
        try:
            self._worker = self._spawn(folder)
        except BaseException:
            self.flight = None
            raise
        with contextlib.suppress(OSError):  # its exit will tell
            self._worker.socket.sendall(line)

    def ask_to_stop(self) -> None:
        """Tell the trial that it should end by itself."""
        if self._worker is not None and self.flight is not None:
            with contextlib.suppress(OSError):  # its exit will tell
                self._worker.socket.sendall(b'{"stop": %d}\n' % self.flight.job.trial)

    def due(self) -> float:
        """When `advance` has something to do."""
        worker = self._worker
        polled = time.monotonic() + 0.02 if worker is not None and worker.exit is None else math.inf
        return min(super().due(), polled)

    def advance(self, now: float) -> None:
        """Do what is due."""
        if self._worker is not None and self._worker.exit is None:
            self.check_exit()
        super().advance(now)

    def retire(self) -> None:
        """Let the worker go, when there is one."""
        if self._worker is not None and self.flight is None:
            self.sweep(self._drop(), patience_s=2.0)

    def _set_limit(self, now: float) -> None:
        flight = self.flight
        if flight is not None and flight.stage == "run":
            limit = self._limit(flight.job)
            flight.due = now + limit if limit is not None else float("inf")

    def _spawn(self, folder: Path) -> Worker:
        self._spawned += 1
        ours, theirs = socket.socketpair()
        tag = f"{self.around.environment['TUNER_RUN']}.{self.slot.id}.{self._spawned}"
        out, err = open_logs(folder)
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOT.format(root=_ROOT, fd=theirs.fileno(), parent=os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self.environment(tag),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        finally:
            theirs.close()
            os.close(out)
            os.close(err)
        self.around.guard.watch(process.pid)
        worker = Worker(process, ours, exit_handle(process.pid), Family(process.pid, tag))
        settings = {
            "path": [path or os.getcwd() for path in sys.path],
            "cpus": self.slot.cpus,
            "objective": self._payload,
        }
        self.around.selector.register(ours, selectors.EVENT_READ, self._readable)
        if worker.exit is not None:
            self.around.selector.register(worker.exit, selectors.EVENT_READ, self.check_exit)
        with contextlib.suppress(OSError):  # its exit will tell
            ours.sendall(json.dumps({"boot": settings}).encode() + b"\n")
        return worker

    def _readable(self) -> bool:
        """Take what the worker said; False when there was nothing."""
        worker = self._worker
        if worker is None:
            return False
        try:
            chunk = worker.socket.recv(1 << 20, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionError:
            chunk = b""
        if not chunk:
            self._unregister(worker)
            if self.flight is not None:  # it ends, or it has lost its socket and must end
                self.flight.stage, self.flight.due = "term", min(self.flight.due, time.monotonic() + 1.0)
            return False
        *lines, worker.buffer = (worker.buffer + chunk).split(b"\n")
        for line in lines:
            self.obey(json.loads(line), worker)
        return True

    def obey(self, message: Mapping[str, Any], worker: Worker) -> None:
        """Take one message of the worker."""
        flight = self.flight
        if "report" in message:
            trial, step, values = message["report"]
            if flight is not None and flight.job.trial == trial:
                report = flight.reports.add(step, values)
                self.hear([report] if report is not None else [])
        elif "done" in message and flight is not None:
            self._done(message["done"], flight, worker)
        elif "up" in message:
            worker.up = self._proven = True
            if flight is not None:
                flight.started, flight.started_at = time.monotonic(), time.time()
                self.around.meter.start(self.slot.id, self.slot.gpu_uuids)  # anew: loading does not count
                self._set_limit(flight.started)
        elif "unfit" in message:
            self._unfit(message["unfit"])

    def _done(self, done: Mapping[str, Any], flight: Flight, worker: Worker) -> None:
        ended = flight.started + done["measures"]["wall_s"]
        measures = self.measured({**done["measures"], "exit_code": 0.0}, ended=ended)
        if done["state"] == "completed":
            outcome = self.completed(done["returned"], flight, measures)
        elif done["state"] == "pruned":
            outcome = Outcome(state="pruned", metrics=flight.reports.latest(), measures=measures)
        else:
            failure = Failure(kind=done["kind"], message=done["message"])
            outcome = Outcome(state="failed", measures=measures, failure=failure)
        signalled = flight.stage in ("term", "kill")
        if flight.ending == "interrupted" and outcome.state == "completed":
            flight.ending = None  # it was faster than the signal
        self.part([self.land(outcome, ended=ended)], worker, sick=signalled or bool(done.get("sick")))

    def part(self, events: Sequence[Finished], worker: Worker, *, sick: bool) -> None:
        """Pass on how trials ended; a worker that is sick, or has had its share, goes first."""
        worker.trials += len(events)
        if sick or worker.trials >= self._objective.recycle:
            self.sweep(self._drop(), events, hard=sick, patience_s=0.0 if sick else 2.0)
        else:
            self.events += events

    def completed(self, returned: Any, flight: Flight, measures: Mapping[str, float]) -> Outcome:
        """The outcome of a trial that returned something."""
        if returned is None:
            returned = {}
        elif not isinstance(returned, dict):
            goals = [metric.name for metric in self.around.metrics if metric.goal is not None and not metric.formula]
            if len(goals) != 1:
                message = f"the objective returned one number, but {len(goals)} metrics have goals: return a mapping"
                return Outcome(state="failed", measures=measures, failure=Failure(kind="no_metric", message=message))
            returned = {goals[0]: returned}
        evidence = Evidence(reports=flight.reports, returned=returned, dir=flight.dir, measures=measures)
        return read_outcome(self.around.metrics, evidence)

    def _unfit(self, message: str) -> None:
        """The objective cannot be loaded: an error of the sweep, unless it could be loaded before."""
        flight = self.flight
        family = self._drop()
        if self._proven and flight is not None:
            failure = Failure(kind="crash", message=f"the objective could not be loaded again: {message}")
            self.sweep(family, self.fell(failure, {}, ended=time.monotonic()), hard=True)
            return
        self.flight = None
        self.sweep(family, hard=True)
        log = "\n".join(last_lines(tail(flight.dir / "stderr.log"), 10)) if flight is not None else ""
        raise ObjectiveError(f"the objective cannot be loaded: {message}\n{log}")

    def check_exit(self) -> None:
        """Look whether the process ended, and end the trial with it."""
        worker = self._worker
        if worker is None or (ended := wait_status(worker.process.pid)) is None:
            return
        while self._worker is worker and self._readable():
            pass  # its last words
        if self._worker is not worker:  # they were a result after which it had to go
            return
        code = ended[0]
        family, flight = self._drop(), self.flight
        events: Sequence[Finished] = ()
        if flight is not None:
            oom = self.around.oom.moved() if code == -9 else None
            failure = exit_failure(code, tail(flight.dir / "stderr.log"), killed_for_memory=oom)
            failure = Failure(kind=failure.kind, message=f"the worker {failure.message}")
            ended_at = self.around.guard.ended_at(family.pid) or time.monotonic()
            measures = {"wall_s": ended_at - flight.started, "exit_code": float(code)}
            measures = self.measured(measures, ended=ended_at)
            events = self.fell(failure, measures, ended=ended_at)
        self.sweep(family, events, hard=True)

    def fell(self, failure: Failure, measures: Mapping[str, float], *, ended: float) -> Sequence[Finished]:
        """What comes of the trial whose process ended before it did."""
        return [self.land(Outcome(state="failed", measures=measures, failure=failure), ended=ended)]

    def _unregister(self, worker: Worker) -> None:
        if worker.listening:
            worker.listening = False
            self.around.selector.unregister(worker.socket)

    def _drop(self) -> Family:
        """Forget the worker; closing its socket tells it to end."""
        worker = self._worker
        assert worker is not None
        self._worker = None
        self._unregister(worker)
        if worker.exit is not None:
            self.around.selector.unregister(worker.exit)
            os.close(worker.exit)
        worker.socket.close()
        worker.process.returncode = 0  # `Family` reaps it
        return worker.family


def job_message(job: Job, folder: Path, slot: Slot) -> dict[str, object]:
    """What a worker is told of a job."""
    return {
        "trial": job.trial,
        "attempt": job.attempt,
        "config": job.config,
        "seed": job.seed,
        "replicate": job.replicate,
        "dir": str(folder),
        "device": "cuda" if slot.gpu_uuids else "cpu",
        "fidelity": job.fidelity,
        "context": job.context,
        "checkpoint": str(job.checkpoint) if job.checkpoint is not None else None,
        "judged": job.judged,
    }
