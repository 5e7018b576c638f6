"""Verbs of every day: start a sweep, run it, look at what came out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tuner.commands.terminal import (
    FormatOption,
    JsonOption,
    KeyOption,
    NameOption,
    ParamOption,
    SetOption,
    StudyArgument,
    SweepArgument,
    WarmOption,
    chosen_format,
    chosen_states,
    draw_front,
    errors,
    prompted,
    reading,
    say,
    terminal_width,
)


def init(
    directory: Annotated[Path, typer.Argument(help="Where to write sweep.yaml.")] = Path(),
    command: Annotated[str | None, typer.Option("--command", help="What runs a trial: 'python train.py'.")] = None,
    objective: Annotated[str | None, typer.Option("--objective", help="Or a function: package.module:name.")] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", "-m", help="accuracy:maximize, ms:minimize or gb<=40; repeat it.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", help="lr=1e-5..1e-1:log, optim=adamw,sgd; repeat it.")
    ] = None,
    trials: Annotated[int | None, typer.Option("--trials", help="The budget: so many trials.")] = None,
    time: Annotated[str | None, typer.Option("--time", help="The budget: so long, as in 4h.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Of the study (default: the folder's).")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
) -> None:
    """Write a first sweep: an example, or yours. Example: tuner init -m accuracy:maximize -p lr=1e-5..1e-1:log"""
    with errors():
        from tuner.verbs.interview import Answers, interview, write_sweep
        from tuner.verbs.scaffold import write_first_sweep

        given: Answers | None = Answers(command=command, objective=objective, metrics=metric or (), params=param or (),
                                        name=name, trials=trials, time=time)  # fmt: skip
        if given == Answers():
            given = None if yes or not (sys.stdin.isatty() and sys.stdout.isatty()) else interview(prompted, typer.echo)
        files = [write_sweep(directory, given, force=force)] if given else write_first_sweep(directory, force=force)
        for file in files:
            say(file)


def validate(
    sweep: SweepArgument,
    param: ParamOption = None,
    set_: SetOption = None,
    sample_output: Annotated[Path | None, typer.Option(help="A log to try the metrics' stdout patterns on.")] = None,
) -> None:
    """Check a sweep file; print what it means. Example: tuner validate sweep.yaml"""
    with errors():
        from tuner.verbs.preview import preview, sampled_metrics

        say(preview(sweep, params=param or (), sets=set_ or (), suggestions=0))
        if sample_output is not None:
            say(sampled_metrics(sweep, sample_output))


def run(
    sweep: SweepArgument,
    directory: Annotated[Path | None, typer.Option("--dir", help="The study's folder (default: .tuner/NAME).")] = None,
    param: ParamOption = None,
    set_: SetOption = None,
    warm_start: WarmOption = None,
    parallel: Annotated[str | None, typer.Option("--parallel", "-j", help="Trials at a time, or auto.")] = None,
    new: Annotated[bool, typer.Option("--new", help="Move an existing study aside and start over.")] = False,
    adopt: Annotated[bool, typer.Option("--adopt", help="Keep its trials under a changed sweep.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run; start nothing.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of the live display.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what differs and what is noticed.")] = False,
    json: JsonOption = False,
) -> None:
    """Run a sweep, or continue it, and print its Pareto front. Example: tuner run sweep.yaml -S budget.trials=20"""
    sets = [*(set_ or []), *([f"parallel={parallel}"] if parallel else [])]
    with errors():
        from tuner.verbs.preview import preview
        from tuner.verbs.running import Request, run_sweep

        if dry_run:
            say(preview(sweep, params=param or (), sets=sets, suggestions=3, warm_start=warm_start or ()))
            return
        request = Request(sweep=sweep, directory=directory, params=param or (), sets=sets, warm_start=warm_start or (),
                          new=new, adopt=adopt, plain=plain, quiet=quiet, verbose=verbose, json=json)  # fmt: skip
        code = run_sweep(request, say, width=terminal_width())
    raise typer.Exit(code)


def status(
    study: StudyArgument = None, format: FormatOption = "table", json: JsonOption = False, name: KeyOption = None
) -> None:
    """How far a study is. Example: tuner status digits -f value -n spent_s"""
    with reading(study, streams=True) as opened:
        from tuner.reporting.texts import status_text

        say(status_text(opened, chosen_format(format, json), names=name or ()))


def watch(
    study: StudyArgument = None,
    once: Annotated[bool, typer.Option("--once", help="Look once.")] = False,
    every: Annotated[float, typer.Option("--every", help="Seconds between two looks.")] = 1.0,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of the live display.")] = False,
) -> None:
    """Watch a study that another process runs, until it ends. Example: tuner watch digits"""
    with errors():
        from tuner.verbs.watching import watch_study

        watch_study(study, once=once, every_s=every, plain=plain)


def best(
    study: StudyArgument = None, format: FormatOption = "table", json: JsonOption = False, name: NameOption = None
) -> None:
    """The best feasible trial; with several goals the preferred one, or the knee. Example: tuner best -f value -n lr"""
    with reading(study, streams=True) as opened:
        from tuner.reporting.texts import best_text

        say(best_text(opened, chosen_format(format, json), names=name or (), width=terminal_width()))
        if opened.best() is None and not opened.ledger.spent.instances:
            print(f"study {opened.sweep.name} has no feasible trial yet", file=sys.stderr)
            raise typer.Exit(3)


def pareto(
    study: StudyArgument = None,
    format: FormatOption = "table",
    json: JsonOption = False,
    name: NameOption = None,
    no_plot: Annotated[bool, typer.Option("--no-plot", help="On a terminal, the table alone.")] = False,
) -> None:
    """The feasible trials that no other dominates. Example: tuner pareto digits --json"""
    with reading(study) as opened:
        from tuner.reporting.tables import render_trials

        records = opened.pareto()
        chosen = chosen_format(format, json)
        if records and chosen == "table" and not no_plot and not name and sys.stdout.isatty():
            draw_front(opened)
        say(render_trials(records, opened, chosen, thing="pareto", names=name or (), width=terminal_width()))
        if not records:
            print(f"study {opened.sweep.name} has no feasible trial yet", file=sys.stderr)
            raise typer.Exit(3)


def pick(
    study: StudyArgument = None,
    weights: Annotated[
        list[str] | None, typer.Option("--weights", help="How much each goal counts: accuracy=2,params_m=1.")
    ] = None,
    max_: Annotated[list[str] | None, typer.Option("--max", help="At most this much: params_m=1.5.")] = None,
    min_: Annotated[list[str] | None, typer.Option("--min", help="At least this much: accuracy=0.9.")] = None,
    knee: Annotated[bool, typer.Option("--knee", help="The best trade-off.")] = False,
    format: FormatOption = "table",
    json: JsonOption = False,
    name: NameOption = None,
) -> None:
    """One member of the front, and why that one. Example: tuner pick --max params_m=1.5 -f value -n lr"""
    with reading(study) as opened:
        from tuner.verbs.picking import choice_text, rule
        from tuner.views.choice import choose

        found = choose(opened, rule(weights or (), min_ or (), max_ or (), knee=knee))
        chosen = chosen_format(format, json)
        if found.trial is None:
            print("; ".join(found.why), file=sys.stderr)
            raise typer.Exit(3)
        say(choice_text(opened, found, chosen, names=name or (), width=terminal_width()))


def report(
    study: StudyArgument = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file (default: report.html in the study's folder).")
    ] = None,
    format: Annotated[str, typer.Option("--format", "-f", help="html, md or json.")] = "html",
    json: JsonOption = False,
) -> None:
    """Write a study as one page that needs no network. Example: tuner report digits -o digits.html"""
    with reading(study, streams=True) as opened:
        from tuner.verbs.report import write_report

        say(write_report(opened, output, "json" if json else format))


def trials(
    study: StudyArgument = None,
    format: FormatOption = "table",
    json: JsonOption = False,
    name: NameOption = None,
    state: Annotated[list[str] | None, typer.Option("--state", help="Only trials in this state; repeat it.")] = None,
) -> None:
    """Every trial. Example: tuner trials digits --state failed"""
    with reading(study) as opened:
        from tuner.reporting.tables import render_trials

        records = list(opened.records(states=chosen_states(state or [])))
        chosen = chosen_format(format, json)
        say(render_trials(records, opened, chosen, thing="trials", names=name or (), width=terminal_width()))


VERBS = (init, validate, run, status, watch, best, pareto, pick, report, trials)
