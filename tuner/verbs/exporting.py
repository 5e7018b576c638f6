"""Export of a study's trials: CSV, Parquet, JSON, an Optuna storage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import EnvironmentUnfitError, UsageError
from tuner.reporting.tables import plain, render_trials, trial_columns, trial_row

if TYPE_CHECKING:
    from tuner.study import Study

TARGETS = ("csv", "parquet", "json", "optuna")


def export_study(study: Study, to: str, output: str | None) -> str:
    """Write the trials; returns the text itself when there is no `output`, otherwise what was written.

    Raises:
        UsageError: An unknown target, or one that needs an output.
        EnvironmentUnfitError: Parquet without pyarrow.
    """
    if to not in TARGETS:
        raise UsageError(f"--to must be one of {', '.join(TARGETS)}, but got {to!r}")
    if to in ("csv", "json"):
        text = render_trials(list(study.records()), study, "csv" if to == "csv" else "json", thing="trials")
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
