"""Runs side by side, each in a process of its own with one thread; what is in the results already is not run again."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tuner.bench.interpreters import launch
from tuner.bench.results import Results
from tuner.bench.worker import Run

_GRACE_S = 30.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which runs are made.

    Attributes:
        jobs: Processes at a time.
        limit_s: Wall-clock limit of one run; it is killed half a minute later.
        trial_s: What a trial is said to have taken.
        threads: Threads of each process.
        pythons: Peer -> the interpreter that runs it, where it is not this one.
    """

    jobs: int = 1
    limit_s: float = 1800.0
    trial_s: float = 60.0
    threads: int = 1
    pythons: Mapping[str, str] = field(default_factory=dict)


def planned(problems: Sequence[str], methods: Sequence[str], seeds: int, trials: int) -> list[Run]:
    """Every run, seed by seed, so that an interrupted bench has all methods on all problems for its first seeds."""
    return [Run(p, m, seed, trials) for seed in range(seeds) for p in problems for m in methods]


class _Process:
    """A worker that runs."""

    def __init__(self, run: Run, conditions: Conditions, cache: Path, folder: Path) -> None:
        self.run = run
        handle, name = tempfile.mkstemp(prefix="answer-", suffix=".json", dir=folder)
        os.close(handle)
        self._answer = Path(name)
        self._log = self._answer.with_suffix(".log").open("w+", encoding="utf-8")
        self._deadline = time.monotonic() + conditions.limit_s + _GRACE_S
        spec = {
            "run": asdict(run),
            "cache": str(cache),
            "trial_s": conditions.trial_s,
            "limit_s": conditions.limit_s,
            "answer": name,
        }
        command, environment = launch(run.method, "tuner.bench.worker", conditions.pythons, folder, conditions.threads)
        self._process = subprocess.Popen(
            [*command, json.dumps(spec)], stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, env=environment
        )

    def line(self) -> dict[str, Any] | None:
        """The run's line, with status failed or killed when there is no answer; None while it runs."""
        code = self._process.poll()
        if code is None and time.monotonic() < self._deadline:
            return None
        status = "failed" if code is not None else "killed"
        self.stop()
        text = self._answer.read_text(encoding="utf-8")
        self._log.seek(0)
        said = self._log.read().strip().splitlines()
        self.close()
        if text and code == 0:
            line: dict[str, Any] = json.loads(text)
            return line
        why = said[-1] if said else f"exit code {code}"
        return {**asdict(self.run), "status": status, "at": {}, "suggest_s": [], "seconds": 0.0, "error": why[:500]}

    def close(self) -> None:
        """Remove its files."""
        self._log.close()
        for file in (self._answer, self._answer.with_suffix(".log")):
            file.unlink(missing_ok=True)

    def stop(self) -> None:
        """Kill it if it still runs."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()


def execute(runs: Sequence[Run], results: Results, conditions: Conditions) -> Iterator[dict[str, Any]]:
    """Make the runs that are not in the results yet, keep each as it finishes, and yield its line."""
    waiting = [run for run in runs if run not in results]
    running: list[_Process] = []
    cache = results.folder / "evaluations"
    with tempfile.TemporaryDirectory(prefix="tuner-bench-") as folder:
        try:
            while waiting or running:
                while waiting and len(running) < conditions.jobs:
                    running.append(_Process(waiting.pop(0), conditions, cache, Path(folder)))
                for process in list(running):
                    line = process.line()
                    if line is not None:
                        running.remove(process)
                        results.append(line)
                        yield line
                time.sleep(_POLL_S)
        finally:
            for process in running:
                process.stop()
                process.close()


def progress(line: dict[str, Any], done: int, total: int) -> str:
    """One line about a finished run."""
    merit = line["at"].get(str(line["trials"]))
    reached = f"{merit:.5g}" if merit is not None else line.get("error", line["status"])
    return (
        f"[{done}/{total}] {line['problem']} {line['method']} seed {line['seed']}: {reached} in {line['seconds']:.1f} s"
    )
