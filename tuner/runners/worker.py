"""The child side of a worker: a process that evaluates a Python objective, trial after trial.

It is started by `tuner.runners.pool` with a socket, on which both sides write JSON lines:

    parent   {"boot": {...}}  {"run": {...}}  {"stop": trial}
    child    {"unfit": message}  {"up": true}  {"report": [trial, step, values]}  {"done": {...}}

and for an objective that evaluates several trials in one pass

    parent   {"batch": [{...}, ...]}  {"go": [trial, step]}
    child    {"done": {...}} of each member  {"failed": {...}} as a whole, or  {"ended": {"memory": share}}

Each trial's output goes to its own files: file descriptors 1 and 2 are redirected, so that native code and child
processes are caught too. The global generators of random, numpy and torch (those that are loaded) start every trial
from its seed, so that a trial's result does not depend on which worker ran it, and after what.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import inspect
import json
import math
import os
import pickle
import resource
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tuner import trial_client
from tuner.errors import Stopped
from tuner.runners.failures import exception_failure, poisons_worker
from tuner.runners.logs import drop_empty, open_logs
from tuner.runners.processes import die_with_parent
from tuner.trial import Failure, Trial

Message = dict[str, Any]
Evaluate = Callable[[dict[str, Any], Trial], object]


def main(descriptor: int, parent: int) -> None:
    """Serve until the parent closes the socket or ends."""
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    link = Link(descriptor)
    boot = link.receive()
    if boot is None:
        return
    settings = boot["boot"]
    sys.path[:] = settings["path"]
    if settings["cpus"]:
        os.sched_setaffinity(0, settings["cpus"])
    try:
        objective = _load(settings["objective"])
    except BaseException as error:
        traceback.print_exception(error)
        sys.stderr.flush()
        link.send({"unfit": f"{type(error).__name__}: {error}"})
        return
    link.send({"up": True})
    measure, first = Meter(), True
    evaluate = as_evaluate(objective)
    while (message := link.receive()) is not None:
        if "run" in message:
            link.send({"done": _run(message["run"], evaluate, link, measure, first=first)})
            first = False
        elif "batch" in message:
            from tuner.runners.worker_batch import run_batch

            run_batch(message["batch"], objective.evaluate_batch, link, measure, first=first)
            first = False


class Link:
    """The socket to the parent: JSON lines both ways."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)
        self._buffer = b""
        self._lines: list[bytes] = []

    def send(self, message: Message) -> None:
        """Send; waits while the parent is busy and the socket full."""
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> Message | None:
        """The next message; None when the parent is gone."""
        while not self._lines:
            if not self._read(0):
                return None
        found: Message = json.loads(self._lines.pop(0))
        return found

    def stopped(self, trial: int, step: int | None = None, wait_s: float = 0.0) -> bool:
        """Whether the parent has asked this trial to stop; waits a while for what it says to the report of a step."""
        until = time.monotonic() + wait_s
        while True:
            alive = True
            with contextlib.suppress(BlockingIOError):
                while alive := self._read(socket.MSG_DONTWAIT):
                    pass
            said = [json.loads(line) for line in self._lines]
            if {"stop": trial} in said:
                return True
            goes = {"go": [trial, step]} in said
            self._lines = [
                line for line, one in zip(self._lines, said, strict=True) if one.get("go", [None])[0] != trial
            ]
            left = until - time.monotonic()
            if goes or not alive or left <= 0:
                return False
            select.select([self._socket], [], [], left)

    def _read(self, flags: int) -> bool:
        try:
            chunk = self._socket.recv(1 << 20, flags)
        except ConnectionError:
            return False
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        self._lines += lines
        return bool(chunk)


class Meter:
    """Time, processor time and peak memory of one stretch of this process."""

    def __init__(self) -> None:
        self._reset: int | None = None
        with contextlib.suppress(OSError):
            self._status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
            reset = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
            os.pwrite(reset, b"5", 0)  # 5: forget the high water mark of resident memory
            self._reset = reset

    def start(self) -> None:
        """Begin a stretch."""
        if self._reset is not None:
            os.pwrite(self._reset, b"5", 0)
        self._cpu = _cpu_seconds()
        self._began = time.perf_counter()

    def stop(self) -> dict[str, float]:
        """wall_s, cpu_s (with ended child processes) and max_rss_bytes (of this process) of the stretch."""
        wall = time.perf_counter() - self._began
        return {"wall_s": wall, "cpu_s": _cpu_seconds() - self._cpu, "max_rss_bytes": self._peak()}

    def _peak(self) -> float:
        if self._reset is not None:
            _, found, rest = os.pread(self._status, 8192, 0).partition(b"VmHWM:")
            if found:
                return float(rest.split(None, 1)[0]) * 1024
        unit = 1 if sys.platform == "darwin" else 1024
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _load(payload: str) -> Any:
    """The objective behind a reference, prepared."""
    os.environ["TUNER_LOADING"] = "1"  # a module that starts a sweep when it is imported must not start another one
    try:
        reference, load = pickle.loads(base64.b64decode(payload))
        if load is None:
            from tuner.objective import load_objective as load
        objective = load(reference)
        if hasattr(objective, "prepare"):
            objective.prepare()
    finally:
        del os.environ["TUNER_LOADING"]
    return objective


def as_evaluate(objective: Any) -> Evaluate:
    """An Objective's `evaluate`, or a function of the configuration and, when it takes one, of the trial."""
    evaluate: Callable[..., object] = objective.evaluate if hasattr(objective, "evaluate") else objective
    if _takes_trial(evaluate):
        return evaluate
    return lambda config, trial: evaluate(config)


def _takes_trial(evaluate: Callable[..., object]) -> bool:
    """Whether the second positional parameter is a trial: it has no default, or that name."""
    try:
        parameters = list(inspect.signature(evaluate).parameters.values())
    except (TypeError, ValueError):
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(positional) > 1 and (positional[1].default is inspect.Parameter.empty or positional[1].name == "trial")


def _run(job: Message, evaluate: Evaluate, link: Link, meter: Meter, *, first: bool) -> Message:
    """Evaluate one trial; what to tell the parent."""
    folder, number = Path(job["dir"]), job["trial"]
    if not first:  # the parent has redirected the first one, so that loading is logged too
        redirect(folder)
    os.environ.update(TUNER_TRIAL=str(number), TUNER_SEED=str(job["seed"]), TUNER_TRIAL_DIR=job["dir"])

    def send(step: int | None, values: Mapping[str, Any]) -> bool:
        link.send(report(number, step, values))
        return link.stopped(number)

    trial = trial_of(job, send)
    trial_client.connect(send)
    seed(job["seed"])
    meter.start()
    done = _evaluate(evaluate, job["config"], trial)
    done |= {"trial": number, "measures": meter.stop()}
    trial_client.connect(None)
    flush()
    drop_empty(folder, (os.fstat(1).st_size, os.fstat(2).st_size))
    return done


def report(number: int, step: int | None, values: Mapping[str, Any]) -> Message:
    """The message of a report."""
    return {"report": [number, None if step is None else int(step), {k: jsonable(v) for k, v in values.items()}]}


def trial_of(job: Message, send: Callable[[int | None, Mapping[str, Any]], bool]) -> Trial:
    """What an objective is handed of a job."""
    return Trial(
        number=job["trial"],
        seed=job["seed"],
        replicate=job["replicate"],
        dir=Path(job["dir"]),
        device=job["device"],
        fidelity=job["fidelity"],
        context=None if job["context"] is None else tuple(job["context"]),
        checkpoint=None if job["checkpoint"] is None else Path(job["checkpoint"]),
        send=send,
    )


def _evaluate(evaluate: Evaluate, config: dict[str, Any], trial: Trial) -> Message:
    try:
        returned = evaluate(config, trial)
    except Stopped:
        return {"state": "pruned"}
    except BaseException as error:
        return failed(error)
    return completed(returned)


def failed(error: BaseException) -> Message:
    """What to tell of an objective that raised; its traceback goes to the log."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(str(Path(__file__).with_suffix(""))):
        trace = trace.tb_next  # begins in the objective
    error.__traceback__ = trace
    traceback.print_exception(error)
    failure = exception_failure(error)
    return {"state": "failed", "kind": failure.kind, "message": failure.message, "sick": poisons_worker(failure)}


def completed(returned: object) -> Message:
    """What to tell of what an objective returned."""
    try:
        return {"state": "completed", "returned": _returned(returned)}
    except Exception as error:
        message = f"the objective must return a number or a mapping of numbers, but {error}"
        failure = Failure(kind="bad_metric", message=message)
        return {"state": "failed", "kind": failure.kind, "message": failure.message, "sick": False}


def _returned(value: object) -> Any:
    """A number as it is, a mapping with its numbers, None as None."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {str(name): jsonable(entry) for name, entry in value.items()}
    return jsonable(value, strict=True)


def jsonable(value: Any, *, strict: bool = False) -> Any:
    """Numbers of any library as floats, arrays as lists, anything else as text (or an error when `strict`)."""
    if isinstance(value, int) and abs(value) >= 1 << 1024:
        return math.inf  # too large for a float, and perhaps for JSON
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    try:
        if getattr(value, "ndim", 0):
            return value.tolist()
        return float(value)
    except (TypeError, ValueError):
        if strict:
            raise
        return repr(value)[:200]


def redirect(folder: Path) -> None:
    """Send what this process prints to a trial's files."""
    for target, source in enumerate(open_logs(folder), start=1):
        os.dup2(source, target)
        os.close(source)


def flush() -> None:
    """Write out what is buffered."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    with contextlib.suppress(Exception):
        _LIBC.fflush(None)  # what native code has buffered belongs to this trial


_LIBC = ctypes.CDLL(None)


def seed(seed: int) -> None:
    """Start the global generators of the loaded libraries from the trial's seed."""
    import random

    random.seed(seed)
    numpy, torch = sys.modules.get("numpy.random"), sys.modules.get("torch")
    if numpy is not None and hasattr(numpy, "seed"):
        numpy.seed(seed % 2**32)
    if torch is not None and hasattr(torch, "manual_seed"):
        torch.manual_seed(seed % 2**63)
