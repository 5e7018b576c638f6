"""Verbs that move data in and out, and look at the surroundings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuner.commands.terminal import JsonOption, StudyArgument, errors, reading, say


def export(
    study: StudyArgument = None,
    to: Annotated[
        str, typer.Option("--to", help="csv, parquet, json, optuna, t4, tensorboard, mlflow or wandb.")
    ] = "csv",
    output: Annotated[str | None, typer.Option("--output", "-o", help="A file, or for optuna a storage URL.")] = None,
) -> None:
    """Write a study's trials for other tools. Example: tuner export digits --to optuna -o sqlite:///optuna.db"""
    with reading(study) as opened:
        from tuner.verbs.exporting import export_study

        say(export_study(opened, to, output))


def import_(
    source: Annotated[
        str,
        typer.Argument(help="A Katib, Hydra, NNI or W&B file; a CSV; a report.html; T4 JSON; an Optuna storage's URL."),
    ],
    study: Annotated[str | None, typer.Option("--study", help="The study that takes a CSV's trials.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the sweep goes (default: stdout), or the study.")
    ] = None,
    optuna_study: Annotated[
        str | None, typer.Option("--optuna-study", help="Which study of an Optuna storage.")
    ] = None,
) -> None:
    """Translate a foreign sweep, take in trials, restore a report. Example: tuner import katib.yaml -o sweep.yaml"""
    with errors():
        from tuner.verbs.importing import import_anything

        say(import_anything(source, study=study, optuna_study=optuna_study, output=output))


def schema(json: JsonOption = True) -> None:
    """The JSON Schema of a sweep file, for editors. Example: tuner schema > sweep.schema.json"""
    with errors():
        from json import dumps

        from tuner.sweep import json_schema

        say(dumps(json_schema(), indent=2))


def doctor(json: JsonOption = False) -> None:
    """What this machine has, and what would go wrong. Example: tuner doctor"""
    with errors():
        from tuner.verbs.doctor import examine, report_text

        findings = examine()
        say(report_text(findings, json=json))
        if not all(finding.ok for finding in findings):
            raise typer.Exit(8)


VERBS = (export, import_, schema, doctor)
