"""`tuner import`: a foreign sweep file becomes a native one, a CSV of trials observations, a report a study."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path
from typing import Any

from tuner.errors import SpaceError, UsageError
from tuner.importers.t4 import is_t4, read_results
from tuner.sessions import find_study, write_atomically
from tuner.study import Study
from tuner.sweep import dump_yaml
from tuner.sweeps.yaml_source import read_value
from tuner.verbs.settling import settle


def import_anything(place: str, *, study: str | None, optuna_study: str | None, output: Path | None) -> str:
    """Take in a file, or a study of an Optuna storage; returns what to print.

    Raises:
        UsageError: It cannot be read, or a CSV came without a study.
        SweepError: The foreign sweep cannot be translated.
    """
    if "://" in place:
        from tuner.optuna.reading import read_study

        return settle(read_study(place, optuna_study), output)
    if optuna_study is not None:
        raise UsageError(f"--optuna-study is for a storage, such as sqlite:///optuna.db, but got {place}")
    return import_file(Path(place), study=study, output=output)


def import_file(source: Path, *, study: str | None, output: Path | None) -> str:
    """Take in a file; returns what to print.

    Raises:
        UsageError: The file cannot be read, or a CSV came without a study.
        SweepError: The foreign sweep cannot be translated.
    """
    if not source.is_file():
        raise UsageError(f"{source} is not a file")
    if source.suffix.lower() in (".html", ".htm"):
        return _restore(source, output)
    if source.suffix.lower() == ".csv":
        if study is None:
            raise UsageError("a CSV of trials needs a study that takes them: add --study STUDY")
        return _import_trials(source, study)
    if source.suffix.lower() == ".json" and (results := _t4(source)) is not None:
        return settle(read_results(results, source.stem), output)
    from tuner.importers import translate_file

    native, notes, dialect = translate_file(source)
    text = "".join(f"# {note}\n" for note in (f"translated from {dialect}", *notes)) + dump_yaml(native)
    if output is None:
        return text.rstrip()
    write_atomically(output, text)
    return f"wrote {output} (from {dialect}; {len(notes)} notes are at its top)"


def _t4(source: Path) -> dict[str, Any] | None:
    """A file's results in the format T4; None when it is something else."""
    try:
        document = json.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if is_t4(document) else None


def _restore(source: Path, output: Path | None) -> str:
    """Make the study of a report's page a study folder again."""
    from tuner.archive import restore
    from tuner.pages.packing import STUDY, unpacked

    folder = restore(unpacked(source.read_text(encoding="utf-8", errors="replace"), STUDY), output)
    with Study.open(folder, read_only=True) as opened:
        trials = sum(opened.counts().values())
    return f"restored {folder} with {trials} trials; look: tuner pareto {shlex.quote(str(folder))}"


def _import_trials(source: Path, study: str) -> str:
    with source.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with Study.open(find_study(study)) as opened:
        names = set(opened.problem.space.names)
        metrics = {metric.name for metric in opened.problem.metrics}
        added = 0
        for line, row in enumerate(rows, start=2):
            if row.get("state", "completed") != "completed":
                continue
            values = {name: _value(text) for name, text in row.items() if text not in (None, "")}
            config = {name: value for name, value in values.items() if name in names}
            measured = {name: value for name, value in values.items() if name in metrics}
            try:
                opened.add(config, measured)
            except (SpaceError, UsageError) as error:
                raise UsageError(f"{source}, line {line}: {error}") from error
            added += 1
    return f"added {added} of {len(rows)} rows to {study}"


def _value(text: str) -> Any:
    return read_value(text)
