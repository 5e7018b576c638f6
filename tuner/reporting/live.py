"""The live view drawn for a terminal: lines of text that fit, and a screen that replaces them in place.

Drawing paces itself: after each drawing the next one waits a hundred times as long as that took, so that watching costs
less than a hundredth of a core on any machine.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from tuner.observer import Observer
from tuner.reporting.progress import clock, summary, totals
from tuner.reporting.tables import cell, legible
from tuner.usage import UsageMeter
from tuner.views.live import LiveView, Report, SlotRow, Standing, Tally, live_view, sampled

if TYPE_CHECKING:
    from tuner.records import TrialRecord
    from tuner.slots import SlotState
    from tuner.study import Study
    from tuner.usage import Usage

_SPARKS = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 40
_SLOT_ROWS = 16
_FRONT_ROWS = 8
_SHORTEST_S = 0.5
_SHARE = 0.008
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def size(n_bytes: float) -> str:
    """Bytes as people read them: three digits and a binary unit."""
    for unit in _UNITS:
        if n_bytes < 1000 or unit == _UNITS[-1]:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1024
    raise AssertionError


def sparkline(values: Sequence[float | None]) -> str:
    """Values as bars of eight heights, from the least to the most; what is None is blank."""
    known = [value for value in values if value is not None]
    low, span = (min(known), max(known) - min(known)) if known else (0.0, 0.0)

    def bar(value: float | None) -> str:
        if value is None:
            return " "
        return _SPARKS[min(int((value - low) / span * len(_SPARKS)), len(_SPARKS) - 1)] if span > 0 else _SPARKS[3]

    return "".join(map(bar, values))


def lines_of(view: LiveView, failure: str, *, width: int, height: int) -> list[Text]:
    """A live view as lines that fit; where height is short, the front goes first, then slots.

    Args:
        view: What there is to see.
        failure: The last failure in one line; "" without one.
        width: Columns.
        height: Rows.
    """
    head = [*_head(view, width), *_progress(view, width)]
    tail = [Text(f"last failure: {legible(failure)}", style="red")] if failure else []
    tail += [Text(legible(view.state), style="bold")] if view.state != "running" else []
    slots = _slots(view.slots)
    room = height - len(head) - len(tail)
    if len(slots) > max(room, 0):
        hidden = len(slots) - max(room - 1, 0)
        slots = [*slots[: max(room - 1, 0)], Text(f" and {hidden} more slots", style="dim")] if room > 0 else []
    front = _front(view, min(height - len(head) - len(tail) - len(slots) - 1, _FRONT_ROWS + 1))
    lines = [*head, *slots, *([Text("")] if front else []), *front, *tail][:height]
    for line in lines:
        line.truncate(max(width - 1, 1), overflow="ellipsis")
    return lines


def _head(view: LiveView, width: int) -> list[Text]:
    goal = f"/{view.goal}" if view.goal is not None else ""
    counts = [f"{view.finished}{goal} trials"]
    counts += [f"{n} {what}" for n, what in ((view.failed, "failed"), (view.running, "running")) if n]
    words = f"{legible(view.name)}  {', '.join(counts)}  {clock(view.elapsed_s)} so far"
    line = Text(words, style="bold")
    if view.left_s is not None:
        line.append(f"  about {clock(view.left_s)} left", style="not bold")
    if not view.goal:
        return [line]
    long = max(min(60, width - 8), 4)
    full = min(view.finished / view.goal, 1.0)
    done = int(full * long)
    bar = Text("━" * done, style="green").append("━" * (long - done), style="bright_black")
    return [line, bar.append(f" {full:4.0%}", style="default")]


def _progress(view: LiveView, width: int) -> list[Text]:
    if not view.curve:
        return []
    several = len(view.standings) > 1
    texts = [_standing(one, named=several) for one in view.standings]
    if not several:
        bar = sparkline(sampled(view.curve, view.n, max(min(_SPARK_WIDTH, width // 3), 4)))
        line = Text(f"best {legible(view.curve_label)}  ").append(bar, style="cyan").append("  ").append(texts[0])
        return [line.append(f"  trial {view.front[0][0]}")]
    bar = sparkline(sampled(view.curve, view.n, max(min(_SPARK_WIDTH, width // 2), 4)))
    value = f" {cell(view.curve[-1][1])}, front of {view.front_size}"
    first = Text(f"{view.curve_label}  ").append(bar, style="cyan").append(value)
    line = Text("best ")
    for i, text in enumerate(texts):
        line.append("  " if i else "").append(text)
    return [first, line]


def _standing(one: Standing, *, named: bool) -> Text:
    text = Text(f"{legible(one.label)} " if named else "").append(cell(one.best), style="bold")
    if one.baseline is None:
        return text
    if one.best == one.baseline:
        return text.append(" (the baseline's)", style="yellow")
    against = cell(one.baseline)
    if one.baseline:
        against += f", {(one.best - one.baseline) / abs(one.baseline):+.1%}"
    return text.append(f" (baseline {against})", style="green" if one.better else "yellow")


def _slots(rows: Sequence[SlotRow]) -> list[Text]:
    if not rows:
        return []
    gpus = any(row.usage is not None and row.usage.gpu_memory_bytes is not None for row in rows)
    title = ("slot", "trial", "memory", "cpu", *(["gpu"] if gpus else []), "elapsed / limit", "step")
    table = [title, *(_cells(row, gpus=gpus) for row in rows[:_SLOT_ROWS])]
    last = len(title) - 1
    widths = [max(len(line[i]) for line in table) for i in range(last)]
    lines = []
    for n, line in enumerate(table):
        padded = [text.rjust(w) if i else text.ljust(w) for i, (text, w) in enumerate(zip(line, widths))]
        style = "dim" if n == 0 or line[1] == "idle" else "cyan"
        lines.append(Text(f" {'  '.join([*padded, line[last]])}".rstrip(), style=style))
    if len(rows) > _SLOT_ROWS:
        lines.append(Text(f" and {len(rows) - _SLOT_ROWS} more slots", style="dim"))
    return lines


def _cells(row: SlotRow, *, gpus: bool) -> tuple[str, ...]:
    usage, slot = row.usage, legible(row.slot) or "-"
    extra = [_gpu(usage)] if gpus else []
    if row.trial is None:
        return (slot, "idle", "", "", *extra, "", "waits for the next suggestion")
    memory = size(usage.memory_bytes) if usage is not None else ""
    cpu = f"{usage.cpu_share:.0%}" if usage is not None and usage.cpu_share is not None else ""
    elapsed = clock(row.elapsed_s) + (f" / {clock(row.limit_s)}" if row.limit_s is not None else "")
    step = ""
    if row.report is not None:
        values = " ".join(f"{legible(name)}={cell(value)}" for name, value in list(row.report[1].items())[:3])
        step = f"{row.report[0]} {values}"
    return (slot, str(row.trial), memory, cpu, *extra, elapsed, step)


def _gpu(usage: Usage | None) -> str:
    if usage is None or usage.gpu_memory_bytes is None:
        return ""
    busy = f" {usage.gpu_share:.0%}" if usage.gpu_share is not None else ""
    return f"{size(usage.gpu_memory_bytes)}{busy}"


def _front(view: LiveView, room: int) -> list[Text]:
    """The front, one line a member, with its title; nothing where not even one member has room."""
    if len(view.objectives) < 2 or not view.front or room < 2:
        return []
    shown = view.front[: room - 1] if view.front_size <= room - 1 else view.front[: room - 2]
    rows = [("front", *map(legible, view.objectives))]
    rows += [(str(trial), *map(cell, values)) for trial, values in shown]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [Text(" " + "  ".join(text.rjust(w) for text, w in zip(row, widths, strict=True))) for row in rows]
    lines[0].stylize("dim")
    if len(shown) < view.front_size:
        lines.append(Text(f" and {view.front_size - len(shown)} more", style="dim"))
    return lines if len(lines) > 1 else []


class Screen:
    """Lines at the end of what a terminal shows, replaced in place, whatever its size becomes meanwhile."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._widths: list[int] = []
        self._size = console.size
        self._due = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time to draw again; at once after a change of size."""
        return time.monotonic() >= self._due or self.resized

    @property
    def resized(self) -> bool:
        """Whether the terminal has another size than when it was drawn on."""
        return self.console.size != self._size

    def draw(self, make: Callable[[int, int], list[Text]]) -> None:
        """Replace the lines by those that `make` returns for a width and a height."""
        began = time.thread_time()
        self._size = self.console.size
        width, height = self._size
        lines = make(width, max(height - 1, 1))
        with self.console.capture() as captured:
            for line in lines:
                self.console.print(line, no_wrap=True, overflow="crop", highlight=False, soft_wrap=False)
        text = captured.get()
        self._write(self._erasing(width) + text)
        self._widths = [line.cell_len for line in lines]
        self.paced(began)

    def paced(self, began: float) -> None:
        """Wait with the next drawing, by the processor time of this thread since `began`."""
        self._due = time.monotonic() + max(_SHORTEST_S, (time.thread_time() - began) / _SHARE)

    def _erasing(self, width: int) -> str:
        """Up to where the lines began, which a narrower terminal may have wrapped, and all below deleted."""
        rows = sum(max(-(-cells // width), 1) for cells in self._widths)
        return f"\x1b[{rows}A\r\x1b[J" if rows else ""

    def print(self, text: str) -> None:
        """Lines that stay, above those that are replaced."""
        self.clear()
        self.console.print(Text("\n".join(map(legible, text.split("\n")))), highlight=False)

    def clear(self) -> None:
        """Take the lines away."""
        if self._widths:
            self._write(self._erasing(self.console.size.width))
            self._widths = []

    def _write(self, text: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # whoever watched is gone; the sweep goes on
            self.console.file.write(text)
            self.console.file.flush()


class LiveDisplay(Observer):
    """The live view of the sweep that this process runs, on its stderr."""

    def __init__(self, *, no_color: bool = False, console: Console | None = None) -> None:
        self._screen = Screen(console or Console(stderr=True, no_color=no_color))
        self._study: Study | None = None
        self._tally = Tally()
        self._meter = UsageMeter()
        self._slots: Sequence[SlotState] = ()
        self._reports: dict[int, Report] = {}
        self._failure = ""

    def began(self, study: Study, *, slots: int) -> None:
        """Start drawing."""
        self._study = study
        self._draw()

    def occupied(self, slots: Sequence[SlotState]) -> None:
        """Show them; also while a strategy thinks for long."""
        self._slots = slots
        self.tick()

    def reported(self, trial: int, step: int, metrics: Mapping[str, float]) -> None:
        """Show the step beside the running trial."""
        self._reports[trial] = (step, metrics)

    def finished(self, record: TrialRecord) -> None:
        """Keep why it failed."""
        assert self._study is not None
        self._reports.pop(record.trial, None)
        if record.failure is not None:
            self._failure = summary(record, self._study)

    def note(self, text: str) -> None:
        """Print above the display."""
        self._screen.print(text)

    def tick(self) -> None:
        """Redraw when it is time."""
        if self._screen.due:
            self._draw()

    def ended(self, reason: str) -> None:
        """Stop drawing and say why."""
        if self._study is not None:
            self._screen.print(f"ended: {reason}; {totals(self._study)}")
            self._study = None

    def _draw(self) -> None:
        if self._study is not None:
            self._screen.draw(self._lines)

    def _lines(self, width: int, height: int) -> list[Text]:
        assert self._study is not None
        self._tally.update(self._study)
        usage = self._meter.read(self._slots)
        view = live_view(
            self._study, self._tally, slots=self._slots, usage=usage, reports=self._reports, now=time.time()
        )
        return lines_of(view, self._failure, width=width, height=height)
