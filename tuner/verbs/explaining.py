"""`tuner explain`: one trial of a study, explained and rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.errors import UsageError
from tuner.reporting.explaining import to_json, to_text
from tuner.views.explanation import explanation

if TYPE_CHECKING:
    from tuner.study import Study


def explain_trial(study: Study, trial: int, format: str, *, width: int | None = None) -> str:
    """Why a trial was proposed, what came of it, and where it stands.

    Raises:
        UsageError: Another format than table, json or md, or no such trial.
    """
    if format not in ("table", "json", "md"):
        raise UsageError(f"-f must be one of table, json, md, but got {format!r}")
    found = explanation(study, trial)
    if format == "json":
        return to_json(found, study.sweep.name)
    objectives = [metric.name for metric in study.problem.objectives]
    return to_text(found, "md" if format == "md" else "table", objectives=objectives, width=width)
