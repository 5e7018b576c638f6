"""Verbs that look closer: one trial, logs, plots, comparisons, what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuner.commands.completion import study_names, trial_numbers, words
from tuner.commands.terminal import (
    FormatOption,
    JsonOption,
    KeyOption,
    StudyArgument,
    chosen_format,
    drawn_fronts,
    errors,
    reading,
    say,
    terminal_width,
)


def show(
    trial: Annotated[int, typer.Argument(help="The trial's number.", autocompletion=trial_numbers())],
    study: StudyArgument = None,
    format: FormatOption = "table",
    json: JsonOption = False,
    name: KeyOption = None,
) -> None:
    """One trial: configuration, metrics, why it was proposed, how it went. Example: tuner show 12"""
    with reading(study) as opened:
        from tuner.reporting.texts import trial_text

        say(trial_text(opened, trial, chosen_format(format, json), names=name or ()))


def explain(
    trial: Annotated[int, typer.Argument(help="The trial's number.", autocompletion=trial_numbers())],
    study: StudyArgument = None,
    format: Annotated[str, typer.Option("--format", "-f", help="table, json or md.")] = "table",
    json: JsonOption = False,
) -> None:
    """Why a trial was proposed, prediction against outcome, neighbours, tight bounds. Example: tuner explain 12"""
    with reading(study) as opened:
        from tuner.verbs.explaining import explain_trial

        say(explain_trial(opened, trial, "json" if json else format, width=terminal_width()))


def logs(
    trial: Annotated[int, typer.Argument(help="The trial's number.", autocompletion=trial_numbers())],
    study: StudyArgument = None,
    stderr: Annotated[bool, typer.Option("--stderr", help="Only its standard error.")] = False,
    tail: Annotated[int, typer.Option("--tail", help="Only the last lines; 0 for all.")] = 0,
) -> None:
    """What a trial printed. Example: tuner logs 12 --tail 20"""
    with reading(study) as opened:
        from tuner.reporting.texts import log_text

        say(log_text(opened, trial, names=("stderr.log",) if stderr else ("stdout.log", "stderr.log"), tail=tail))


def plot(
    kind: Annotated[
        str,
        typer.Argument(
            help="front, progress, parallel, importance, slice, contour, curves or timeline.",
            autocompletion=words(
                "front", "progress", "parallel", "importance", "slice", "contour", "curves", "timeline"
            ),
        ),
    ],
    study: StudyArgument = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .png or .svg file (default: KIND.png).")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", "-m", help="The metric to draw; twice for the axes of a front.")
    ] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", help="Only this parameter; repeat it.")
    ] = None,
    over: Annotated[str, typer.Option("--over", help="Progress over trials or time.")] = "trials",
    width: Annotated[float, typer.Option("--width", help="Inches; 6.5 is a page's text, 3.3 a column's.")] = 6.5,
    height: Annotated[float | None, typer.Option("--height", help="Inches (default: what suits the plot).")] = None,
    dpi: Annotated[int, typer.Option("--dpi", help="Dots an inch, for PNG.")] = 160,
) -> None:
    """Draw a study for a paper or a pull request. Example: tuner plot front digits -o front.svg"""
    with reading(study) as opened:
        from tuner.plots.canvas import Size
        from tuner.verbs.plotting import Request, plot_study

        size = Size(width=width, height=height, dpi=dpi)
        request = Request(metrics=metric or (), parameters=parameter or (), over=over, size=size)
        say(plot_study(opened, kind, output, request))


def compare(
    studies: Annotated[
        list[str],
        typer.Argument(help="Folders or names of studies; the first is compared with.", autocompletion=study_names),
    ],
    format: Annotated[str, typer.Option("--format", "-f", help="table, json or md.")] = "table",
    json: JsonOption = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .png or .svg file of the fronts over one another.")
    ] = None,
) -> None:
    """Set studies over one another: fronts, regions, cost. Example: tuner compare before after -o fronts.png"""
    with errors():
        from tuner.verbs.comparing import compare_studies

        chosen = "json" if json else format
        say(compare_studies(studies, chosen, output=output, width=terminal_width(), draw=drawn_fronts))


def list_(
    what: Annotated[
        str,
        typer.Argument(
            help="studies, strategies, objectives, search_spaces, kernels or stopping.",
            autocompletion=words("studies", "strategies", "objectives", "search_spaces", "kernels", "stopping"),
        ),
    ] = ("studies"),
    format: FormatOption = "table",
    json: JsonOption = False,
    name: KeyOption = None,
) -> None:
    """The studies under .tuner/, or what there is of a kind. Example: tuner list strategies"""
    with errors():
        from tuner.reporting.texts import catalog_text, list_text

        chosen = chosen_format(format, json)
        say(list_text(chosen, names=name or ()) if what == "studies" else catalog_text(what, chosen, names=name or ()))


VERBS = (show, explain, logs, plot, compare, list_)
