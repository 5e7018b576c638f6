"""The report as one JSON document, `tuner.report/1`: what the page shows, trial by trial, for other programs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tuner.records import utc

if TYPE_CHECKING:
    from tuner.views.progress import ProgressView
    from tuner.views.report import Report


def to_json(report: Report) -> str:
    """The document; times in UTC, units in the names, what is not finite as null."""
    timeline = report.timeline
    document = {
        "schema": "tuner.report/1",
        "study": report.name,
        "written_at": utc(report.written_at),
        "verdict": asdict(report.verdict),
        "recommended": None if report.recommended is None else report.recommended.to_json(),
        "progress": {name or "hypervolume": _progress(views) for name, views in report.progress.items()},
        "importance": None if report.importance is None else _importance(report),
        "curves": None if report.curves is None else asdict(report.curves) | {"left_out": report.curves_left_out},
        "timeline": None if timeline is None else _timeline(report),
        "stream": None
        if report.stream is None
        else report.stream[0].to_json() | {"chosen": [one.to_json() for one in report.stream[1]]},
        "failures": [asdict(one) for one in report.failures],
        "reproduction": {
            "seed": report.seed,
            "sweep": dict(report.sweep),
            "sessions": [{**session, "at": utc(session["at"])} for session in report.sessions],
        },
        "missing": dict(report.missing),
        "trials": [record.to_json() for record in report.records],
    }
    return json.dumps(_finite(document), indent=2, allow_nan=False, default=str)


def _progress(views: tuple[ProgressView, ProgressView]) -> dict[str, Any]:
    trials, seconds = views
    return {
        "label": trials.label,
        "baseline": trials.baseline,
        "over_trials": {"trial": trials.at.tolist(), "best": trials.best.tolist()},
        "over_time": {"seconds": seconds.at.tolist(), "best": seconds.best.tolist()},
    }


def _importance(report: Report) -> dict[str, Any]:
    assert report.importance is not None
    return {"n": report.importance.n, "shares": {name: dict(own) for name, own in report.importance.shares.items()}}


def _timeline(report: Report) -> dict[str, Any]:
    assert report.timeline is not None
    lanes = [{"lane": lane, "busy": report.timeline.busy[lane]} for lane in report.timeline.lanes]
    bars = [asdict(bar) for bar in report.timeline.bars]
    return {"seconds": report.timeline.seconds, "lanes": lanes, "bars": bars, "gaps": [asdict(g) for g in report.gaps]}


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
