"""Entry: one finished trial as every sink is told of it, in plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tuner.records import TrialRecord
    from tuner.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A trial.

    Attributes:
        study: The study's name.
        run: A name of this trial that no other study's has, made of letters, digits and hyphens.
        params: As configured; structures stay structures.
        metrics: The final ones, then what the runner measured.
        reports: Steps with what was reported there, the last value of each step.
        began: Seconds since the epoch.
        ended: Likewise.
        notes: What else is worth keeping, as text.
    """

    study: str
    run: str
    trial: int
    state: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    reports: Mapping[int, Mapping[str, float]]
    began: float
    ended: float
    notes: Mapping[str, str]

    @property
    def flat(self) -> dict[str, str | float | int | bool]:
        """The parameters with structures as JSON."""
        return {
            name: v if isinstance(v, str | float | int | bool) else json.dumps(v) for name, v in self.params.items()
        }


class Sink(Protocol):
    """A tool's logger. It writes a trial whole, in place of what an interrupted session left of it."""

    def write(self, entry: Entry) -> None:
        """Log one trial."""
        ...

    def close(self) -> None:
        """Write what is buffered."""
        ...


class MakesSink(Protocol):
    """What a sink's module has: the sink that writes below a folder."""

    def open_sink(self, folder: Path, study: str) -> Sink:
        """The sink. Raises ImportError when its package is not installed."""
        ...


def entry_of(study: Study, record: TrialRecord) -> Entry:
    """A finished trial of a study."""
    reports: dict[int, dict[str, float]] = {}
    for step, metrics in study.reports(record.trial):
        reports.setdefault(step, {}).update(metrics)
    notes = {"engine": record.provenance.engine, "reason": record.provenance.reason, "seed": str(record.seed)}
    if record.failure is not None:
        notes["failure"] = f"{record.failure.kind}: {record.failure.message}"
    if record.fidelity is not None:
        notes["fidelity"] = f"{record.fidelity:g}"
    ended = record.finished_at or 0.0
    return Entry(
        study=study.sweep.name,
        run=f"{study.token[:8]}-{record.trial}",
        trial=record.trial,
        state=record.state if record.feasible or record.state != "completed" else "infeasible",
        params=record.config,
        metrics={**record.metrics, **record.measures},
        reports=dict(sorted(reports.items())),
        began=record.started_at or ended,
        ended=ended,
        notes={name: text for name, text in notes.items() if text},
    )
