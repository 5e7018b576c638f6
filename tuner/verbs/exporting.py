"""Export of a study's trials: CSV, Parquet, JSON, an Optuna storage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import EnvironmentUnfitError, UsageError
from tuner.importers import t4
from tuner.records import utc
from tuner.reporting.tables import plain, render_trials, trial_columns, trial_row
from tuner.sinks.following import SINKS, check_installed, log_new

if TYPE_CHECKING:
    from tuner.records import TrialRecord
    from tuner.study import Study

TARGETS = ("csv", "parquet", "json", "optuna", "t4", *SINKS)


def export_study(study: Study, to: str, output: str | None) -> str:
    """Write the trials; returns the text itself when there is no `output`, otherwise what was written.

    Raises:
        UsageError: An unknown target, or one that needs an output.
        EnvironmentUnfitError: Parquet without pyarrow.
    """
    if to not in TARGETS:
        raise UsageError(f"--to must be one of {', '.join(TARGETS)}, but got {to!r}")
    if to in SINKS:
        return _log(study, to, output)
    if to in ("csv", "json", "t4"):
        records = list(study.records())
        text = _t4(study, records) if to == "t4" else render_trials(records, study, to, thing="trials")  # type: ignore[arg-type]
        if output is None:
            return text
        Path(output).write_text(text + "\n", encoding="utf-8")
    elif output is None:
        example = "trials.parquet" if to == "parquet" else "sqlite:///optuna.db"
        raise UsageError(f"--to {to} needs to know where to: add --output {example}")
    elif to == "parquet":
        _write_parquet(study, Path(output))
    else:
        from tuner.optuna.storage import export_to_optuna

        export_to_optuna(study, output)
    return f"wrote {sum(study.counts().values())} trials to {output}"


def _log(study: Study, to: str, output: str | None) -> str:
    """Log the trials that a sink has not been told of."""
    if output is not None:
        raise UsageError(f"--to {to} writes below the study's folder; leave --output out")
    if study.dir is None:
        raise UsageError("a study in memory has no folder to write to")
    check_installed(to)
    return f"logged {log_new(study, to)} more trials in {study.dir / to}"


def _t4(study: Study, records: Sequence[TrialRecord]) -> str:
    """The finished trials in the format of Kernel Tuner; pruned ones have no place in it."""
    units = {metric.name: metric.unit for metric in study.problem.metrics}
    goals = [metric.name for metric in study.problem.objectives]
    results = [
        t4.result(
            config=record.config,
            state=record.state if record.feasible or record.state != "completed" else "infeasible",
            failure=None if record.failure is None else record.failure.kind,
            measurements=[(name, value, units.get(name, "")) for name, value in record.metrics.items()],
            objectives=goals,
            timestamp=utc(record.finished_at) or "",
            run_s=record.measures.get("wall_s", record.seconds or 0.0),
            suggest_s=record.provenance.seconds,
        )
        for record in records
        if record.state in ("completed", "failed", "infeasible")
    ]
    return json.dumps({"results": results, "schema_version": t4.VERSION}, indent=2)


def _write_parquet(study: Study, file: Path) -> None:
    """Columns as in CSV; a parameter whose values are structures, or of several types, is written as JSON text."""
    import pandas as pd

    records = list(study.records())
    columns = trial_columns(study.problem, records)
    frame = pd.DataFrame([trial_row(record, study.problem) for record in records], columns=columns)
    for name in columns:
        if frame[name].map(type).nunique() > 1 or frame[name].map(lambda value: isinstance(value, (list, dict))).any():
            numbers = frame[name].map(lambda value: isinstance(value, (int, float)) or value is None).all()
            frame[name] = pd.to_numeric(frame[name]) if numbers else frame[name].map(plain)
    try:
        frame.to_parquet(file, index=False)
    except ImportError as error:
        raise EnvironmentUnfitError("Parquet needs pyarrow; install it with `pip install tuner[parquet]`") from error
