"""What the page's script reads: a report by column, as plain JSON.

Names of users are values here, never keys: a parameter may be called `__proto__`. Values of parameters travel as JSON
texts, because a script must copy `1e-05` and `1.0` as the trial got them, and JavaScript would write `0.00001` and `1`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.views.outcomes import metric_label, outcomes

if TYPE_CHECKING:
    from tuner.records import TrialRecord
    from tuner.study import Study
    from tuner.views.progress import ProgressView
    from tuner.views.report import Report

_LATER = ("final.", "test.")


def page_data(report: Report, study: Study) -> dict[str, Any]:
    """The report by column; the order of every column is that of `report.records`."""
    records, problem = report.records, study.problem
    row = {record.trial: i for i, record in enumerate(records)}
    later = sorted({name for record in records for name in record.measures if name.startswith(_LATER)})
    metrics = [metric.name for metric in problem.metrics]
    objectives = [
        {"name": m.name, "label": metric_label(m), "metric": metrics.index(m.name), "sign": m.sign}
        for m in problem.objectives
    ]
    verdict = report.verdict
    return {
        "name": report.name,
        "metrics": [*metrics, *later],
        "bounds": [[m.min, m.max] for m in problem.metrics] + [[None, None]] * len(later),
        "objectives": objectives,
        "values": [
            *([_number(r.metrics.get(name)) for r in records] for name in metrics),
            *([_number(r.measures.get(name)) for r in records] for name in later),
        ],
        "parameters": list(problem.space.names),
        "config": [_texts(records, name) for name in problem.space.names],
        **_trials(report, study),
        "axes": [
            {"name": a.name, "ticks": [[p, text] for p, text in a.ticks], "at": _rounded(a.positions, 4)}
            for a in report.axes
        ],
        "front": [row[number] for number in verdict.front],
        "chosen": None if verdict.chosen is None else row[verdict.chosen],
        "role": verdict.role,
        "baseline": None if verdict.baseline is None else row[verdict.baseline],
        "progress": [_progress(name, views, metrics) for name, views in report.progress.items()],
        "importance": [] if report.importance is None else _importance(report),
        "curves": None if report.curves is None else _curves(report, row),
        "timeline": None if report.timeline is None else _timeline(report),
        "stopping": None if report.stopping is None else report.stopping.to_json(),
        "missing": dict(report.missing),
    }


def _trials(report: Report, study: Study) -> dict[str, Any]:
    """What is known of each trial beside its configuration and metrics."""
    records = report.records
    bars = {} if report.timeline is None else {bar.trial: bar for bar in report.timeline.bars}
    lanes = [] if report.timeline is None else list(report.timeline.lanes)
    compared = set() if "progress" in report.missing else {int(n) for n in outcomes(study).number}
    return {
        "trial": [r.trial for r in records],
        "state": _coded([r.state for r in records]),
        "engine": _coded([r.provenance.engine for r in records]),
        "failure": _coded([None if r.failure is None else r.failure.kind for r in records]),
        "fidelity": [_number(r.fidelity) for r in records],
        "feasible": [int(bool(r.feasible)) for r in records],
        "compared": [int(r.trial in compared) for r in records],
        "seconds": _rounded([math.nan if r.seconds is None else r.seconds for r in records], 3),
        "start": _rounded([bars[r.trial].start if r.trial in bars else math.nan for r in records], 3),
        "lane": [lanes.index(bars[r.trial].lane) if r.trial in bars else None for r in records],
        "lanes": lanes,
    }


def _texts(records: Sequence[TrialRecord], name: str) -> list[str | None]:
    return [json.dumps(r.config[name]) if name in r.config else None for r in records]


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _rounded(values: Iterable[float], digits: int) -> list[float | None]:
    return [round(float(value), digits) if math.isfinite(value) else None for value in values]


def _coded(values: Sequence[str | None]) -> dict[str, Any]:
    """A column of few different texts: the texts once, and which of them each trial has."""
    names = sorted({value for value in values if value is not None})
    place = {name: k for k, name in enumerate(names)}
    return {"names": names, "of": [None if value is None else place[value] for value in values]}


def _progress(name: str, views: tuple[ProgressView, ProgressView], metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "label": views[0].label,
        "metric": metrics.index(name) if name else None,
        "baseline": views[0].baseline,
        "over": [_steps(view) for view in views],
    }


def _steps(view: ProgressView) -> list[list[float | None]]:
    """Where the best so far changes, and the end."""
    best = view.best
    with np.errstate(invalid="ignore"):
        changes = np.flatnonzero(np.isfinite(best) & np.append(True, best[1:] != best[:-1]))
    chosen = np.unique(np.append(changes, len(best) - 1)) if len(best) else changes
    return [_rounded(view.at[chosen], 3), [_number(value) for value in best[chosen]]]


def _importance(report: Report) -> list[dict[str, Any]]:
    assert report.importance is not None
    return [
        {"metric": metric, "shares": [[name, round(share, 5)] for name, share in shares]}
        for metric, shares in report.importance.shares.items()
    ]


def _curves(report: Report, row: dict[int, int]) -> dict[str, Any]:
    assert report.curves is not None
    return {
        "label": report.curves.label,
        "best": None if report.curves.best is None else row[report.curves.best],
        "left_out": report.curves_left_out,
        "curves": [
            {"row": row[c.trial], "steps": list(c.steps), "values": list(map(_number, c.values))}
            for c in report.curves.curves
            if c.trial in row  # what reported for the first time while this was read is for the next report
        ],
    }


def _timeline(report: Report) -> dict[str, Any]:
    assert report.timeline is not None
    lanes = list(report.timeline.lanes)
    return {
        "busy": [round(report.timeline.busy[lane], 4) for lane in lanes],
        "seconds": report.timeline.seconds,
        "gaps": [[lanes.index(g.lane), round(g.start, 3), round(g.seconds, 3)] for g in report.gaps],
    }
