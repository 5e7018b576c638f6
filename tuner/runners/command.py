"""Commands as trials: one process group each, configured by arguments, files and environment."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import re
import resource
import selectors
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import EnvironmentUnfitError
from tuner.runners.devices import Slot
from tuner.runners.failures import exit_failure, tail
from tuner.runners.lane import Flight, Lane, Surroundings
from tuner.runners.logs import open_logs
from tuner.runners.macros import expand_command, placeholders, value_text
from tuner.runners.processes import Family, exit_handle, peak_memory, wait_status
from tuner.runners.protocol import Job
from tuner.runners.reports import ReportTail
from tuner.runners.results import Evidence, read_outcome
from tuner.trial import Config, Failure, Outcome

_TICK_S = 0.2  # between looks at the report file and at memory; sooner at first, for short trials
_FIRST_TICK_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is run.

    Attributes:
        argv: With placeholders (see `tuner.runners.macros`).
        names: Every declared parameter, so that an inactive one is told from a misspelt one; None: checked before.
        cwd: Where it runs; the current folder when None.
        program: What `${program}` stands for.
    """

    argv: tuple[str, ...]
    names: frozenset[str] | None = None
    cwd: Path | None = None
    program: str | None = None

    def expand(self, job: Job, folder: Path, slot: Slot) -> list[str]:
        """The argument list of a job in a slot.

        Raises:
            UsageError: A placeholder names nothing.
        """
        return expand_command(
            self.argv,
            job.config,
            names=self.names,
            dir=folder,
            trial=job.trial,
            seed=job.seed,
            fidelity=job.fidelity,
            gpu_ids=slot.gpu_uuids,
            program=self.program,
        )


def trial_environment(job: Job, folder: Path) -> dict[str, str]:
    """What a trial adds to the environment of a command; every file it names lies in the trial's folder."""
    found = {
        "TUNER_PARAMS": f"{folder}/params.json",
        "TUNER_REPORT": f"{folder}/report.jsonl",
        "TUNER_STOP": f"{folder}/stop",
        "TUNER_TRIAL": str(job.trial),
        "TUNER_SEED": str(job.seed),
        "TUNER_REPLICATE": str(job.replicate),
        "TUNER_TRIAL_DIR": str(folder),
        "WANDB_DIR": str(folder),
        "WANDB_SWEEP_PARAM_PATH": f"{folder}/wandb-params.json",
    }
    if job.fidelity is not None:
        found["TUNER_FIDELITY"] = repr(job.fidelity)
    if job.checkpoint is not None:
        found["TUNER_CHECKPOINT"] = str(job.checkpoint)
    for name, value in job.config.items():
        found[_variable(name)] = value_text(value)
    return found


@functools.lru_cache(maxsize=4096)
def _variable(name: str) -> str:
    return "TUNER_PARAM_" + re.sub(r"\W", "_", name, flags=re.ASCII).upper()


def _write_params(config: Config, folder: Path) -> None:
    """The configuration, once plain and once as `wandb.init` reads it in a sweep (JSON is YAML)."""
    (folder / "params.json").write_text(json.dumps(config), encoding="utf-8")
    wandb = {"wandb_version": 1, **{name: {"value": value} for name, value in config.items()}}
    (folder / "wandb-params.json").write_text(json.dumps(wandb), encoding="utf-8")


class CommandLane(Lane):
    """A slot whose trials are commands."""

    def __init__(self, slot: Slot, around: Surroundings, command: Command) -> None:
        super().__init__(slot, around)
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._exit: int | None = None
        self._family: Family | None = None
        self._reports: ReportTail | None = None
        self._count = 0
        self._tick = math.inf
        self._peak = 0
        self._own_peak = 0

    def family(self) -> Family | None:
        """The process that runs, or waits for a trial."""
        return self._family

    def start(self, job: Job) -> None:
        """Start a job; the lane must be free."""
        folder = self.around.folder(job)
        argv = self._command.expand(job, folder, self.slot)
        self._count += 1
        tag = f"{self.around.environment['TUNER_RUN']}.{self.slot.id}.{self._count}"
        out, err = open_logs(folder)
        flight = Flight(job=job, dir=folder, started=time.monotonic(), started_at=time.time())
        try:
            _write_params(job.config, folder)
            environment = {**self.environment(tag), **trial_environment(job, folder)}
            flight.started = time.monotonic()
            process = self._spawn(argv, environment, out, err)
        finally:
            os.close(out)
            os.close(err)
        if isinstance(process, Failure):
            self.flight = flight
            self.events.append(self.land(Outcome(state="failed", failure=process), ended=time.monotonic()))
            return
        self._launched(process, flight, tag)

    def _spawn(self, argv: list[str], env: Mapping[str, str], out: int, err: int) -> subprocess.Popen[bytes] | Failure:
        command = self._command
        try:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=env,
                cwd=command.cwd,
                start_new_session=True,
            )
        except (FileNotFoundError, PermissionError) as error:
            if not placeholders(command.argv[:1]):
                raise EnvironmentUnfitError(
                    f"the command must start with a program that exists, but {argv[0]!r} cannot be run in "
                    f"{command.cwd or Path.cwd()}: {error.strerror}; install it, or name it with its path"
                ) from error
            return Failure(kind="crash", message=f"{argv[0]!r} cannot be run: {error.strerror}")
        except (OSError, ValueError) as error:
            return Failure(kind="crash", message=f"the command cannot be started: {error}")

    def _launched(self, process: subprocess.Popen[bytes], flight: Flight, tag: str) -> None:
        self.flight = flight
        self._process = process
        self._family = Family(process.pid, tag)
        self.around.guard.watch(process.pid)
        if self.slot.cpus:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(process.pid, self.slot.cpus)
        self.around.meter.start(self.slot.id, self.slot.gpu_uuids)
        self._exit = exit_handle(process.pid)
        if self._exit is not None:
            self.around.selector.register(self._exit, selectors.EVENT_READ, self.check_exit)
        self._reports = ReportTail(flight.dir / "report.jsonl", flight.reports)
        limit = self._limit(flight.job)
        flight.due = flight.started + limit if limit is not None else math.inf
        self._tick = flight.started + _FIRST_TICK_S
        self._peak, self._own_peak = 0, _own_peak()

    def ask_to_stop(self) -> None:
        """Tell the trial that it should end by itself."""
        if self.flight is not None:
            (self.flight.dir / "stop").touch()

    def due(self) -> float:
        """When `advance` has something to do."""
        return min(super().due(), self._tick if self.flight is not None else math.inf)

    def advance(self, now: float) -> None:
        """Do what is due."""
        super().advance(now)
        flight = self.flight
        if flight is None or self._reports is None or self._process is None or now < self._tick:
            return
        self._tick = now + min(max(0.5 * (now - flight.started), _FIRST_TICK_S), _TICK_S)
        self.hear(self._reports.read())
        self._peak = max(self._peak, peak_memory(self._process.pid))
        if self._exit is None:
            self.check_exit()

    def check_exit(self) -> None:
        """Look whether the process ended, and end the trial with it."""
        process, family, flight = self._process, self._family, self.flight
        if process is None or family is None or flight is None or (ended := wait_status(process.pid)) is None:
            return
        code, usage = ended
        process.returncode = code
        if self._exit is not None:
            self.around.selector.unregister(self._exit)
            os.close(self._exit)
        self._process = self._family = self._exit = None
        now = time.monotonic()
        ended_at = min(self.around.guard.ended_at(process.pid) or now, now)
        if self._reports is not None:
            self.hear(self._reports.read(ended=True))
        measures = {"wall_s": ended_at - flight.started, "exit_code": float(code), **self._usage(usage)}
        measures = self.measured(measures, ended=ended_at)
        early = flight.ending is not None
        self.sweep(family, [self.land(self._outcome(code, flight, measures), ended=ended_at)], hard=early)

    def _usage(self, usage: object) -> dict[str, float]:
        if not isinstance(usage, resource.struct_rusage):
            return {}
        found = {"cpu_s": usage.ru_utime + usage.ru_stime}
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        if peak <= self._own_peak:  # the kernel counts our own size at the fork; what was sampled is the trial's
            peak = self._peak
        if peak:
            found["max_rss_bytes"] = float(peak)
        return found

    def _outcome(self, code: int, flight: Flight, measures: Mapping[str, float]) -> Outcome:
        if flight.ending is not None:
            return Outcome(state="failed", measures=measures)  # `land` knows better
        if code == 0:
            evidence = Evidence(reports=flight.reports, dir=flight.dir, measures=measures)
            return read_outcome(self.around.metrics, evidence)
        log = tail(flight.dir / "stderr.log")
        log = log if log.strip() else tail(flight.dir / "stdout.log")
        oom = self.around.oom.moved() if code in (-9, 137) else None
        return Outcome(state="failed", measures=measures, failure=exit_failure(code, log, killed_for_memory=oom))


def _own_peak() -> int:
    """Our own largest resident size, bytes: below it, a child's `ru_maxrss` says nothing about the child."""
    if sys.platform == "darwin":
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
