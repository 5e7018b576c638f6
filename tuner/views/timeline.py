"""Timeline: which trial ran where and when, and how it ended."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.errors import UsageError

if TYPE_CHECKING:
    from tuner.study import Study
    from tuner.trial import State


@dataclass(frozen=True, slots=True)
class Bar:
    """One trial's last attempt.

    Attributes:
        lane: The slot, or a lane of its own kind for trials that ran on none.
        start: Seconds since the first one started.
        seconds: How long it ran, or has run.
    """

    trial: int
    state: State
    lane: str
    start: float
    seconds: float


@dataclass(frozen=True, slots=True)
class TimelineView:
    """Bars by lane; `busy` is the share of each lane's time that a trial ran on it."""

    lanes: tuple[str, ...]
    bars: tuple[Bar, ...]
    busy: dict[str, float]
    seconds: float


@dataclass(frozen=True, slots=True)
class Gap:
    """Time in which no trial ran on a lane, between two that did; seconds since the first one started."""

    lane: str
    start: float
    seconds: float


def idle_gaps(view: TimelineView, *, least: float = 0.0) -> tuple[Gap, ...]:
    """The gaps of more than `least` seconds, before, between and after the bars of each slot, the longest first.

    Lanes of trials that ran on no slot have none: nothing waited there.
    """
    found = []
    for lane in (lane for lane in view.lanes if lane.startswith("slot ")):
        until = 0.0
        for bar in sorted((bar for bar in view.bars if bar.lane == lane), key=lambda bar: bar.start):
            found.append(Gap(lane, until, bar.start - until))
            until = max(until, bar.start + bar.seconds)
        found.append(Gap(lane, until, view.seconds - until))
    return tuple(sorted((gap for gap in found if gap.seconds > least), key=lambda gap: -gap.seconds))


def timeline_view(study: Study) -> TimelineView:
    """When the trials of a study ran.

    Raises:
        UsageError: None has started.
    """
    started = [(r, r.started_at) for r in study.records() if r.started_at is not None]
    if not started:
        raise UsageError(f"study {study.sweep.name!r} has no trial that started yet; start some with `tuner run`")
    began = min(at for _, at in started)
    end = max(r.finished_at if r.finished_at is not None else at for r, at in started)
    bars: list[Bar] = []
    free: list[float] = []
    for record, at in sorted(started, key=lambda item: (item[1], item[0].trial)):
        until = end if record.finished_at is None else record.finished_at
        lane = f"slot {record.slot}" if record.slot is not None else f"asked {_lane(free, at, until)}"
        bars.append(Bar(record.trial, record.state, lane, at - began, max(until - at, 0.0)))
    lanes = sorted({bar.lane for bar in bars}, key=_natural)
    total = end - began
    spent = {lane: sum(bar.seconds for bar in bars if bar.lane == lane) for lane in lanes}
    busy = {lane: min(seconds / total, 1.0) if total > 0 else 1.0 for lane, seconds in spent.items()}
    return TimelineView(tuple(lanes), tuple(bars), busy, total)


def _lane(free: list[float], start: float, end: float) -> int:
    """The first lane that is free at `start`, taken until `end`; a new one when none is."""
    for lane, until in enumerate(free):
        if until <= start:
            free[lane] = end
            return lane + 1
    free.append(end)
    return len(free)


def _natural(lane: str) -> list[tuple[bool, int, str]]:
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", lane)]
