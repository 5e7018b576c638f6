"""Driving a runner in tests: jobs in, finished trials out."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tuner.runners.command import Command
from tuner.runners.devices import Slot
from tuner.runners.local import LocalRunner
from tuner.runners.pool import PythonObjective
from tuner.runners.protocol import Event, Finished, Job, Reported
from tuner.trial import Metric, Outcome

LOSS = Metric(name="loss", goal="minimize")


def runner(
    evaluation: Callable[..., Any] | PythonObjective | Command,
    folder: Path | None,
    *,
    slots: int = 1,
    metrics: Iterable[Metric] = (LOSS,),
    grace_s: float = 0.4,
    **options: Any,
) -> LocalRunner:
    if not isinstance(evaluation, Command | PythonObjective):
        evaluation = PythonObjective(reference=evaluation)
    places = [Slot(id=f"cpu{i}", threads=3) for i in range(slots)]
    return LocalRunner(evaluation, slots=places, metrics=list(metrics), study_dir=folder, grace_s=grace_s, **options)


def script(text: str, *arguments: str) -> Command:
    """A command that runs a Python script."""
    return Command(argv=("${interpreter}", "-c", textwrap.dedent(text), *arguments), names=frozenset({"x"}))


def shell(text: str) -> Command:
    return Command(argv=("/bin/sh", "-c", text), names=frozenset({"x"}))


def events_until_finished(run: LocalRunner, n: int = 1, limit_s: float = 20.0) -> list[Event]:
    found: list[Event] = []
    until = time.monotonic() + limit_s
    while sum(isinstance(event, Finished) for event in found) < n:
        assert time.monotonic() < until, f"no end after {limit_s} s: {found}"
        found += run.poll(0.5)
    return found


def finish(run: LocalRunner, *configs: dict[str, Any], first: int = 0) -> list[Finished]:
    """Run the configurations and return what became of them, by trial number."""
    waiting = [Job(trial=first + i, config=config, seed=7) for i, config in enumerate(configs)]
    done: list[Finished] = []
    while len(done) < len(configs):
        while waiting and run.idle():
            run.start(waiting.pop(0))
        done += [event for event in events_until_finished(run) if isinstance(event, Finished)]
    return sorted(done, key=lambda event: event.trial)


def outcome(run: LocalRunner, config: dict[str, Any] | None = None) -> Outcome:
    return finish(run, config or {"x": 1.0})[0].outcome


def reports(events: Iterable[Event]) -> list[Reported]:
    return [event for event in events if isinstance(event, Reported)]


def until(condition: Callable[[], Any], limit_s: float = 10.0) -> Any:
    """The condition's value as soon as it is true."""
    end = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < end, "the condition never held"
        time.sleep(0.01)
    return found


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def pid_in(file: Path) -> int:
    """The process number that a trial wrote into a file."""
    until(lambda: file.exists() and file.read_text().strip())
    return int(file.read_text())


PYTHON = sys.executable
