"""Report: everything that a study's report shows, in whatever form. Nothing is drawn here.

What cannot be shown yet is None or empty, and `missing` says why, section by section.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tuner import recommendation, surroundings
from tuner.archive import shareable_sweep
from tuner.errors import UsageError
from tuner.views.axes import ParameterAxis, parameter_axes
from tuner.views.curves import Curve, CurvesView, curves_view
from tuner.views.failures import Failures, failures
from tuner.views.importance import ImportanceView, importance_view
from tuner.views.progress import ProgressView, progress_view
from tuner.views.stopping import StoppingView, stopping_view
from tuner.views.stream import Chosen, StreamView, chosen_now, stream_view
from tuner.views.timeline import Gap, TimelineView, idle_gaps, timeline_view
from tuner.views.verdict import Verdict, verdict

if TYPE_CHECKING:
    from tuner.recommendation import Recommendation
    from tuner.records import TrialRecord
    from tuner.study import Study

Found = TypeVar("Found")

_CURVES = 200
_POINTS = 120
_LEAST_GAP = 0.002
"""Of the whole: shorter gaps between trials are no idleness that anybody could use."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """What a report shows.

    Attributes:
        name: The study's.
        written_at: Seconds since the epoch.
        verdict: How it stands.
        records: Every trial, by number.
        axes: The parameters' scales, a position for each of `records`, NaN where there is none.
        progress: By objective, and by "" for the hypervolume; over trials and over time.
        importance: None where too few trials have completed.
        curves: Of at most some hundred trials, thinned to as many points; None without reports.
        curves_left_out: How many trials with reports are not among them.
        timeline: None before the first trial started.
        gaps: Idle times of the slots, the longest first.
        failures: By kind.
        stopping: What early stopping saved, and what it cost; None for a study without it.
        stream: What a stream in blocks came to, and what it chooses now; None for a study of trials.
        recommended: What to use when measurements are noisy.
        sweep: As resolved, without secrets.
        seed: The study's.
        sessions: Where it ran: versions, hardware, git state.
        missing: Section -> why there is nothing to show.
    """

    name: str
    written_at: float
    verdict: Verdict
    records: tuple[TrialRecord, ...]
    axes: tuple[ParameterAxis, ...]
    progress: Mapping[str, tuple[ProgressView, ProgressView]]
    importance: ImportanceView | None
    curves: CurvesView | None
    curves_left_out: int
    timeline: TimelineView | None
    gaps: tuple[Gap, ...]
    failures: tuple[Failures, ...]
    stopping: StoppingView | None
    stream: tuple[StreamView, tuple[Chosen, ...]] | None
    recommended: Recommendation | None
    sweep: Mapping[str, Any]
    seed: int
    sessions: tuple[Mapping[str, Any], ...]
    missing: Mapping[str, str]


def report_view(study: Study) -> Report:
    """Everything about a study as it is now; also of one without any trial."""
    missing: dict[str, str] = {}

    def able(section: str, view: Callable[[], Found]) -> Found | None:
        try:
            return view()
        except UsageError as error:
            missing[section] = str(error)
            return None

    records = tuple(study.records())
    timeline = able("timeline", lambda: timeline_view(study))
    curves, left_out = _thinned(able("curves", lambda: curves_view(study)), study)
    return Report(
        name=study.sweep.name,
        written_at=time.time(),
        verdict=verdict(study),
        records=records,
        axes=tuple(able("parallel", lambda: _axes(study, records)) or ()),
        progress=able("progress", lambda: _progress(study)) or {},
        importance=able("importance", lambda: importance_view(study)),
        curves=curves,
        curves_left_out=left_out,
        timeline=timeline,
        gaps=() if timeline is None else idle_gaps(timeline, least=_LEAST_GAP * timeline.seconds),
        failures=failures(study),
        stopping=stopping_view(study),
        stream=None if (stream := stream_view(study)) is None else (stream, chosen_now(study)),
        recommended=recommendation.known(study),
        sweep=shareable_sweep(study),
        seed=study.problem.seed,
        sessions=tuple(surroundings.known(study)),
        missing=missing,
    )


def _axes(study: Study, records: Sequence[TrialRecord]) -> list[ParameterAxis]:
    """Scales with a position for each record; NaN for what has not ended."""
    history = study.history
    row_of = {int(number): row for row, number in enumerate(history.number)}
    rows = np.array([row_of.get(record.trial, -1) for record in records], dtype=np.int64)
    ended = rows >= 0
    axes = []
    for axis in parameter_axes(study, rows[ended]):
        positions = np.full(len(records), np.nan)
        positions[ended] = axis.positions
        axes.append(ParameterAxis(axis.name, positions, axis.ticks))
    return axes


def _progress(study: Study) -> dict[str, tuple[ProgressView, ProgressView]]:
    names = [metric.name for metric in study.problem.objectives]
    wanted = {name: name for name in names} if len(names) == 1 else {"": None, **{name: name for name in names}}
    return {
        name: (progress_view(study, metric, "trials"), progress_view(study, metric, "time"))
        for name, metric in wanted.items()
    }


def _thinned(view: CurvesView | None, study: Study) -> tuple[CurvesView | None, int]:
    """At most so many curves, the front and the best among them, of at most so many points."""
    if view is None:
        return None, 0
    wanted = {record.trial for record in study.pareto()[:_CURVES]} | {view.best}
    others = [curve.trial for curve in view.curves if curve.trial not in wanted]
    room = max(_CURVES - len(wanted), 0)
    wanted |= {others[i] for i in np.linspace(0, len(others) - 1, min(room, len(others))).astype(int)}
    kept = tuple(_shortened(curve) for curve in view.curves if curve.trial in wanted)
    return CurvesView(view.label, kept, view.best), len(view.curves) - len(kept)


def _shortened(curve: Curve) -> Curve:
    if len(curve.steps) <= _POINTS:
        return curve
    chosen = np.linspace(0, len(curve.steps) - 1, _POINTS).astype(int)
    return Curve(
        curve.trial, curve.state, tuple(curve.steps[i] for i in chosen), tuple(curve.values[i] for i in chosen)
    )
