"""Progress of a running sweep on stderr: a live display on a terminal, otherwise one line a finished trial.

The live display is in `tuner.reporting.live`.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from tuner.observer import Observer
from tuner.reporting.tables import cell, legible

if TYPE_CHECKING:
    from tuner.records import TrialRecord
    from tuner.study import Study

_HEARTBEAT_S = 60.0


def make_progress(*, plain: bool, quiet: bool, no_color: bool, environment: Mapping[str, str]) -> Observer:
    """The display that fits: live only when stderr is a terminal and `CI` is unset."""
    if quiet:
        return Observer()
    from tuner.reporting.live import LiveDisplay

    live = sys.stderr.isatty() and not environment.get("CI") and environment.get("TERM") != "dumb" and not plain
    return LiveDisplay(no_color=no_color) if live else PlainLines(sys.stderr)


def summary(record: TrialRecord, study: Study) -> str:
    """A finished trial in one line: its objectives, or why it has none."""
    head = f"trial {record.trial} {record.state}"
    if record.failure is not None:
        message = legible(next(iter(record.failure.message.splitlines()), ""))
        return f"{head}: {record.failure.kind}{': ' + message if message else ''}"
    if record.state == "waiting":
        return f"{head}: attempt {record.attempt} will follow"
    values = " ".join(
        f"{m.name}={cell(record.metrics[m.name])}" for m in study.problem.metrics if m.name in record.metrics
    )
    infeasible = " (infeasible)" if record.state == "completed" and not record.feasible else ""
    seconds = f" in {record.seconds:.2g} s" if record.seconds is not None else ""
    return f"{head}{infeasible}: {values}{seconds}"


def totals(study: Study) -> str:
    """How far the sweep is: "12/60 trials, 1 failed, 2 running"."""
    spent = study.ledger.spent
    budget = study.problem.budget
    goal = f"/{budget.trials}" if budget is not None and budget.trials is not None else ""
    parts = [f"{spent.instances}{goal} instances" if spent.instances else f"{spent.finished}{goal} trials"]
    if spent.failed:
        parts.append(f"{spent.failed} failed")
    if spent.running:
        parts.append(f"{len(spent.running)} running")
    return ", ".join(parts)


def seconds_left(study: Study) -> float | None:
    """Estimated seconds to the end by the budget of trials or of time; None when neither is set."""
    spent, budget = study.ledger.spent, study.problem.budget
    if budget is None:
        return None
    left = []
    if budget.trials is not None and spent.finished:
        left.append((budget.trials - spent.finished) * spent.seconds / spent.finished)
    if budget.time is not None:
        left.append(budget.time - spent.seconds)
    return max(min(left), 0.0) if left else None


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, s = divmod(int(seconds), 60)
    h, m = divmod(minutes, 60)
    return f"{h}:{m:02d}:{s:02d}"


class PlainLines(Observer):
    """One line a finished trial, and a sign of life every minute."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._study: Study | None = None
        self._last = time.monotonic()

    def _say(self, text: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # whoever read this is gone; the sweep goes on
            print("\n".join(map(legible, text.split("\n"))), file=self._out, flush=True)
        self._last = time.monotonic()

    def began(self, study: Study, *, slots: int | None) -> None:
        """Say what starts or continues; without slots, what is watched."""
        self._study = study
        method = study.problem.search.method if study.problem.search is not None else "auto"
        where = study.dir if study.dir is not None else "memory"
        continues = " continues" if study.ledger.spent.finished else ""
        room = "" if slots is None else f", {slots} slots"
        self._say(f"study {study.sweep.name} in {where}{continues}: {totals(study)}, search {method}{room}")

    def finished(self, record: TrialRecord) -> None:
        """One line."""
        assert self._study is not None
        spent, budget = self._study.ledger.spent, self._study.problem.budget
        goal = f"/{budget.trials}" if budget is not None and budget.trials is not None else ""
        self._say(f"[{spent.finished}{goal}] {summary(record, self._study)}")

    def note(self, text: str) -> None:
        """One line."""
        self._say(text)

    def tick(self) -> None:
        """A sign of life when a minute passed in silence."""
        if self._study is not None and time.monotonic() - self._last > _HEARTBEAT_S:
            left = seconds_left(self._study)
            self._say(f"{totals(self._study)}{f', about {clock(left)} left' if left is not None else ''}")

    def ended(self, reason: str) -> None:
        """Say why."""
        if self._study is not None:
            self._say(f"ended: {reason}; {totals(self._study)}")
