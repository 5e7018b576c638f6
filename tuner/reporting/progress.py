"""Progress of a running sweep on stderr: a live display on a terminal, otherwise one line a finished trial.

The live display costs little whatever the number of trials: it is redrawn at most a few times a second and looks only
at totals, the running trials and the current front.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from tuner.observer import Observer
from tuner.reporting.tables import cell

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from tuner.records import TrialRecord
    from tuner.study import Study
    from tuner.trial import Proposal

_HEARTBEAT_S = 60.0
_REDRAW_S = 0.25
_FRONT_ROWS = 8


def make_progress(*, plain: bool, quiet: bool, no_color: bool, environment: Mapping[str, str]) -> Observer:
    """The display that fits: live only when stderr is a terminal and `CI` is unset."""
    if quiet:
        return Observer()
    live = sys.stderr.isatty() and not environment.get("CI") and environment.get("TERM") != "dumb" and not plain
    return LiveDisplay(no_color=no_color) if live else PlainLines(sys.stderr)


def summary(record: TrialRecord, study: Study) -> str:
    """A finished trial in one line: its objectives, or why it has none."""
    head = f"trial {record.trial} {record.state}"
    if record.failure is not None:
        message = record.failure.message.splitlines()[0] if record.failure.message else ""
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
    parts = [f"{spent.finished}{goal} trials"]
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
            print(text, file=self._out, flush=True)
        self._last = time.monotonic()

    def began(self, study: Study, *, slots: int) -> None:
        """Say what starts or continues."""
        self._study = study
        method = study.problem.search.method if study.problem.search is not None else "auto"
        where = study.dir if study.dir is not None else "memory"
        continues = " continues" if study.ledger.spent.finished else ""
        self._say(f"study {study.sweep.name} in {where}{continues}: {totals(study)}, search {method}, {slots} slots")

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


class LiveDisplay(Observer):
    """Progress, the running trials, the best or the front so far, and the last failure, redrawn in place."""

    def __init__(self, *, no_color: bool = False, console: Console | None = None) -> None:
        from rich.console import Console

        self._console = console or Console(stderr=True, no_color=no_color)
        self._live: Live | None = None
        self._study: Study | None = None
        self._running: dict[int, tuple[float, str]] = {}
        self._failure = ""
        self._drawn = 0.0
        self._rows: list[TrialRecord] = []
        self._stale = True

    def began(self, study: Study, *, slots: int) -> None:
        """Start drawing."""
        from rich.live import Live

        self._study = study
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()
        self._draw()

    def started(self, proposal: Proposal) -> None:
        """Add a row."""
        self._running[proposal.trial] = (time.monotonic(), "")

    def reported(self, trial: int, step: int, metrics: Mapping[str, float]) -> None:
        """Show the step beside the running trial."""
        if trial in self._running:
            values = " ".join(f"{name}={cell(value)}" for name, value in list(metrics.items())[:3])
            self._running[trial] = (self._running[trial][0], f"step {step} {values}")

    def finished(self, record: TrialRecord) -> None:
        """Drop the row; look at the front again."""
        assert self._study is not None
        self._running.pop(record.trial, None)
        self._stale = self._stale or record.state == "completed"
        if record.failure is not None:
            self._failure = summary(record, self._study)
        self.tick()

    def note(self, text: str) -> None:
        """Print above the display."""
        self._console.print(text, markup=False, highlight=False)

    def tick(self) -> None:
        """Redraw when it is time."""
        if time.monotonic() - self._drawn >= _REDRAW_S:
            self._draw()

    def ended(self, reason: str) -> None:
        """Stop drawing and say why."""
        if self._live is not None and self._study is not None:
            self._live.stop()
            self._console.print(f"ended: {reason}; {totals(self._study)}", markup=False, highlight=False)

    def _draw(self) -> None:
        if self._live is not None and self._study is not None:
            self._live.update(self._picture(self._study), refresh=True)
            self._drawn = time.monotonic()

    def _picture(self, study: Study) -> RenderableType:
        from rich.console import Group
        from rich.padding import Padding
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        left = seconds_left(study)
        head = Text(f"{study.sweep.name}  {totals(study)}  {clock(study.ledger.spent.seconds)} so far", style="bold")
        if left is not None:
            head.append(f"  about {clock(left)} left", style="not bold")
        parts: list[RenderableType] = [head]
        budget = study.problem.budget
        if budget is not None and budget.trials is not None:
            bar = ProgressBar(total=budget.trials, completed=study.ledger.spent.finished, width=60)
            parts.append(Padding(bar, 0))  # a bar alone ends no line: the next row would stand behind it
        now = time.monotonic()
        for trial, (since, step) in sorted(self._running.items())[:16]:
            parts.append(Text(f"  trial {trial}  {clock(now - since)}  {step}", style="cyan"))
        if self._stale:
            self._rows, self._stale = study.pareto()[:_FRONT_ROWS], False
        if self._rows:
            table = Table(box=None, pad_edge=False, title_justify="left")
            names = [metric.name for metric in study.problem.objectives]
            for name in ("trial", *names):
                table.add_column(name, justify="right")
            for record in self._rows:
                table.add_row(str(record.trial), *(cell(record.metrics[name]) for name in names))
            parts.append(table)
        if self._failure:
            parts.append(Text(f"last failure: {self._failure}", style="red", overflow="ellipsis", no_wrap=True))
        return Group(*parts)
