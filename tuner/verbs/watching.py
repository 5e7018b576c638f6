"""`tuner watch`: the live view of a study that another process runs, or that has ended.

It reads beside the writer, without waiting for it or making it wait, and only what is new.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import UsageError
from tuner.lock import is_locked
from tuner.reporting.progress import PlainLines, summary
from tuner.sessions import find_study
from tuner.slots import SlotState, posted
from tuner.study import Study
from tuner.usage import Usage, UsageMeter
from tuner.views.live import LiveView, Report, Tally, live_view

if TYPE_CHECKING:
    from rich.text import Text

_LOOK_S = 0.1
_MOST_LINES = 100
_MOST_SLOTS = 64


def watch_study(name: str | None, *, once: bool, every_s: float, plain: bool) -> None:
    """Show a study on stdout until it ends; lines of what happens where that is no terminal.

    Raises:
        UsageError: `every_s` is not positive.
    """
    if not every_s > 0:
        raise UsageError(f"--every must be a positive number of seconds, but got {every_s:g}")
    directory = find_study(name)
    live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI") and not plain
    with Study.open(directory, read_only=True) as study:
        watched = Watched(study, directory)
        if live or once:
            _draw(watched, once=once, every_s=every_s)
        else:
            _print(watched, every_s=every_s)


class Watched:
    """A study that another process may be writing to.

    Attributes:
        study: Open for reading.
        active: Whether somebody works on it.
        fresh: Numbers of the trials that finished between the last two looks.
    """

    def __init__(self, study: Study, directory: Path) -> None:
        self.study = study
        self.active = True
        self.fresh: list[int] = []
        self._directory = directory
        self._tally = Tally()
        self._meter = UsageMeter()
        self._slots: list[SlotState] = []
        self._failed: int | None = None
        self.failure = ""

    def look(self) -> None:
        """Take in what is new."""
        locked = is_locked(self._directory)  # first: what is written before it is let go is seen below
        self.study.refresh()
        n = self._tally.n
        self._tally.update(self.study)
        self.fresh = [int(number) for number in self.study.ledger.buffer.since(min(n, self._tally.n))["number"]]
        slots = posted(self._directory) if locked else []
        self._slots = [*slots, *self._asked({slot.trial for slot in slots})]
        self.active = locked or bool(self._slots)
        if self._tally.failure != self._failed:
            self._failed = self._tally.failure
            self.failure = summary(self.study.read(self._failed), self.study) if self._failed is not None else ""

    def _asked(self, known: set[int | None]) -> list[SlotState]:
        """Running trials that other programs asked for, while their lease lasts."""
        if not self.study.ledger.spent.running - known:
            return []
        now = time.time()
        return [
            SlotState("", trial=record.trial, since=record.started_at, limit_s=record.deadline - record.started_at)
            for record in self.study.records(states=("running",))
            if record.trial not in known
            and (record.worker or "").startswith("ask:")
            and record.started_at is not None
            and record.deadline is not None
            and record.deadline > now
        ]

    def view(self) -> LiveView:
        """What there is to see."""
        usage: Mapping[str, Usage] = self._meter.read(self._slots)
        reports: dict[int, Report] = {}
        for slot in self._slots[:_MOST_SLOTS]:
            if slot.trial is not None and (report := self.study.last_report(slot.trial)) is not None:
                reports[slot.trial] = report
        state = "running" if self.active else f"ended: {self.why}"
        return live_view(
            self.study, self._tally, slots=self._slots, usage=usage, reports=reports, now=time.time(), state=state
        )

    @property
    def why(self) -> str:
        """Why it is not going on."""
        return self.study.stop_reason or "no process works on it; continue it with `tuner run`"


def _draw(watched: Watched, *, once: bool, every_s: float) -> None:
    from rich.console import Console

    from tuner.reporting.live import Screen, lines_of

    screen = Screen(Console(no_color=bool(os.environ.get("NO_COLOR"))))

    def lines(width: int, height: int) -> list[Text]:
        watched.look()
        return lines_of(watched.view(), watched.failure, width=width, height=height)

    while True:
        screen.draw(lines)
        if once or not watched.active:
            return
        until = time.monotonic() + every_s
        while time.monotonic() < until or not screen.due:
            time.sleep(_LOOK_S)
            if screen.resized:
                break


def _print(watched: Watched, *, every_s: float) -> None:
    lines = PlainLines(sys.stdout)
    watched.look()
    lines.began(watched.study, slots=None)
    while watched.active:
        time.sleep(every_s)
        watched.look()
        for number in watched.fresh[:_MOST_LINES]:
            lines.finished(watched.study.read(number))
        if len(watched.fresh) > _MOST_LINES:
            lines.note(f"and {len(watched.fresh) - _MOST_LINES} more trials")
        lines.tick()
    lines.ended(watched.why)
