"""The command line of tuner: one thin function a verb. Parse, one library call, print.

Results go to stdout, everything else to stderr. Nothing heavy is imported before a verb runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.errors import TunerError, UsageError

if TYPE_CHECKING:
    from tuner.study import Study

app = typer.Typer(
    name="tuner",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Tune a command, a Python function or a model: a sweep file in, a Pareto front out.",
)

StudyArgument = Annotated[str | None, typer.Argument(help="Folder or name of a study; the latest without one.")]
FormatOption = Annotated[str, typer.Option("--format", "-f", help="table, json, jsonl, csv, md or value.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Short for -f json.")]
NameOption = Annotated[list[str] | None, typer.Option("--name", "-n", help="Only this parameter or metric; repeat it.")]
KeyOption = Annotated[list[str] | None, typer.Option("--name", "-n", help="Only this key of the document; repeat it.")]
ParamOption = Annotated[list[str] | None, typer.Option("--param", "-P", help="Fix a parameter: -P lr=1e-4.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", "-S", help="Set a key: -S budget.trials=5.")]
WarmOption = Annotated[
    list[str] | None, typer.Option("--warm-start", help="An earlier study to learn from; repeat it.")
]
SweepArgument = Annotated[Path, typer.Argument(help="A sweep file.")]


@contextmanager
def _errors() -> Iterator[None]:
    """Errors as one or two lines on stderr and the exit code of design section 7, never a traceback."""
    try:
        yield
    except TunerError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        if os.environ.get("TUNER_DEBUG"):
            raise
        hint = "set TUNER_DEBUG=1 for the traceback and report it"
        print(f"internal error: {type(error).__name__}: {error}; {hint}", file=sys.stderr)
        raise typer.Exit(1) from error


def _say(text: object) -> None:
    """Print a result; a reader that has seen enough, such as `head`, is no error."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _reading(study: str | None) -> Iterator[Study]:
    from tuner.sessions import find_study
    from tuner.study import Study

    with _errors(), Study.open(find_study(study), read_only=True) as opened:
        yield opened


def _format(format: str, json: bool) -> Any:
    from tuner.reporting.tables import FORMATS

    chosen = "json" if json else format
    if chosen not in FORMATS:
        raise UsageError(f"-f must be one of {', '.join(FORMATS)}, but got {chosen!r}")
    return chosen


def _states(words: list[str]) -> list[str]:
    from typing import get_args

    from tuner.trial import State

    for word in words:
        if word not in get_args(State):
            raise UsageError(f"--state must be one of {', '.join(get_args(State))}, but got {word!r}")
    return words


def _width() -> int | None:
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


# --- daily ---


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="Where to write sweep.yaml and train.py.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite them.")] = False,
) -> None:
    """Write a first sweep and the script it runs. Example: tuner init my-sweep"""
    with _errors():
        from tuner.verbs.scaffold import write_first_sweep

        for file in write_first_sweep(directory, force=force):
            _say(file)


@app.command()
def validate(
    sweep: SweepArgument,
    param: ParamOption = None,
    set_: SetOption = None,
    sample_output: Annotated[Path | None, typer.Option(help="A log to try the metrics' stdout patterns on.")] = None,
) -> None:
    """Check a sweep file; print what it means. Example: tuner validate sweep.yaml"""
    with _errors():
        from tuner.verbs.preview import preview, sampled_metrics

        _say(preview(sweep, params=param or (), sets=set_ or (), suggestions=0))
        if sample_output is not None:
            _say(sampled_metrics(sweep, sample_output))


@app.command()
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
    with _errors():
        from tuner.verbs.preview import preview
        from tuner.verbs.running import Request, run_sweep

        if dry_run:
            _say(preview(sweep, params=param or (), sets=sets, suggestions=3, warm_start=warm_start or ()))
            return
        request = Request(sweep=sweep, directory=directory, params=param or (), sets=sets, warm_start=warm_start or (),
                          new=new, adopt=adopt, plain=plain, quiet=quiet, verbose=verbose, json=json)  # fmt: skip
        code = run_sweep(request, _say, width=_width())
    raise typer.Exit(code)


@app.command()
def status(
    study: StudyArgument = None, format: FormatOption = "table", json: JsonOption = False, name: KeyOption = None
) -> None:
    """How far a study is. Example: tuner status digits -f value -n spent_s"""
    with _reading(study) as opened:
        from tuner.reporting.texts import status_text

        _say(status_text(opened, _format(format, json), names=name or ()))


@app.command()
def best(
    study: StudyArgument = None, format: FormatOption = "table", json: JsonOption = False, name: NameOption = None
) -> None:
    """The best feasible trial; the knee of the front with several goals. Example: tuner best -f value -n lr"""
    with _reading(study) as opened:
        from tuner.reporting.texts import best_text

        _say(best_text(opened, _format(format, json), names=name or (), width=_width()))
        if opened.best() is None:
            print(f"study {opened.sweep.name} has no feasible trial yet", file=sys.stderr)
            raise typer.Exit(3)


@app.command()
def pareto(
    study: StudyArgument = None, format: FormatOption = "table", json: JsonOption = False, name: NameOption = None
) -> None:
    """The feasible trials that no other dominates. Example: tuner pareto digits --json"""
    with _reading(study) as opened:
        from tuner.reporting.tables import render_trials

        records = opened.pareto()
        _say(render_trials(records, opened, _format(format, json), thing="pareto", names=name or (), width=_width()))
        if not records:
            print(f"study {opened.sweep.name} has no feasible trial yet", file=sys.stderr)
            raise typer.Exit(3)


@app.command()
def trials(
    study: StudyArgument = None,
    format: FormatOption = "table",
    json: JsonOption = False,
    name: NameOption = None,
    state: Annotated[list[str] | None, typer.Option("--state", help="Only trials in this state; repeat it.")] = None,
) -> None:
    """Every trial. Example: tuner trials digits --state failed"""
    with _reading(study) as opened:
        from tuner.reporting.tables import render_trials

        records = list(opened.records(states=_states(state or [])))
        _say(render_trials(records, opened, _format(format, json), thing="trials", names=name or (), width=_width()))


# --- look closer ---


@app.command()
def show(
    trial: Annotated[int, typer.Argument(help="The trial's number.")],
    study: StudyArgument = None,
    format: FormatOption = "table",
    json: JsonOption = False,
    name: KeyOption = None,
) -> None:
    """One trial: configuration, metrics, why it was proposed, how it went. Example: tuner show 12"""
    with _reading(study) as opened:
        from tuner.reporting.texts import trial_text

        _say(trial_text(opened, trial, _format(format, json), names=name or ()))


@app.command()
def logs(
    trial: Annotated[int, typer.Argument(help="The trial's number.")],
    study: StudyArgument = None,
    stderr: Annotated[bool, typer.Option("--stderr", help="Only its standard error.")] = False,
    tail: Annotated[int, typer.Option("--tail", help="Only the last lines; 0 for all.")] = 0,
) -> None:
    """What a trial printed. Example: tuner logs 12 --tail 20"""
    with _reading(study) as opened:
        from tuner.reporting.texts import log_text

        _say(log_text(opened, trial, names=("stderr.log",) if stderr else ("stdout.log", "stderr.log"), tail=tail))


@app.command()
def plot(
    kind: Annotated[
        str, typer.Argument(help="front, progress, parallel, importance, slice, contour, curves or timeline.")
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
    with _reading(study) as opened:
        from tuner.plots.canvas import Size
        from tuner.verbs.plotting import Request, plot_study

        size = Size(width=width, height=height, dpi=dpi)
        request = Request(metrics=metric or (), parameters=parameter or (), over=over, size=size)
        _say(plot_study(opened, kind, output, request))


@app.command()
def compare(
    studies: Annotated[list[str], typer.Argument(help="Folders or names of studies; the first is compared with.")],
    format: Annotated[str, typer.Option("--format", "-f", help="table, json or md.")] = "table",
    json: JsonOption = False,
) -> None:
    """Set studies over one another: fronts, bests, cost. Example: tuner compare before after"""
    with _errors():
        from tuner.verbs.comparing import compare_studies

        _say(compare_studies(studies, "json" if json else format, width=_width()))


@app.command("list")
def list_(
    what: Annotated[
        str, typer.Argument(help="studies, strategies, objectives, search_spaces, kernels or stopping.")
    ] = ("studies"),
    format: FormatOption = "table",
    json: JsonOption = False,
    name: KeyOption = None,
) -> None:
    """The studies under .tuner/, or what there is of a kind. Example: tuner list strategies"""
    with _errors():
        from tuner.reporting.texts import catalog_text, list_text

        chosen = _format(format, json)
        _say(list_text(chosen, names=name or ()) if what == "studies" else catalog_text(what, chosen, names=name or ()))


# --- control ---


@app.command()
def stop(
    study: StudyArgument = None,
    now: Annotated[bool, typer.Option("--now", help="Terminate the running trials; they will be retried.")] = False,
) -> None:
    """Ask a running sweep to end; running trials may finish. Example: tuner stop digits"""
    with _errors():
        from tuner.verbs.requests import request_stop

        _say(request_stop(study, now=now))


@app.command()
def retry(
    study: Annotated[str, typer.Argument(help="Folder or name of a study.")],
    trials: Annotated[list[int] | None, typer.Argument(help="Numbers of failed or pruned trials.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Every failed trial.")] = False,
) -> None:
    """Have failed trials tried again. Example: tuner retry digits --failed"""
    with _errors():
        from tuner.verbs.requests import request_retry

        _say(request_retry(study, trials or [], failed=failed))


@app.command()
def enqueue(
    study: Annotated[str, typer.Argument(help="Folder or name of a study.")],
    params: Annotated[list[str], typer.Argument(help="name=value, the rest takes its centre.")],
) -> None:
    """Have a configuration tried next. Example: tuner enqueue digits lr=1e-4 rank=8"""
    with _errors():
        from tuner.verbs.requests import request_enqueue

        _say(request_enqueue(study, params))


@app.command()
def ask(
    study: Annotated[str, typer.Argument(help="Folder or name of a study, or a sweep file to start one.")],
    n: Annotated[int, typer.Option("--n", help="How many proposals.")] = 1,
    lease: Annotated[str, typer.Option("--lease", help="Without a result after this long, it waits again.")] = "24h",
    json: JsonOption = False,
) -> None:
    """The next configurations, to evaluate elsewhere. Example: tuner ask digits --json"""
    with _errors():
        from tuner.verbs.requests import ask_proposals

        _say(ask_proposals(study, n, lease, json=json))


@app.command()
def tell(
    study: Annotated[str, typer.Argument(help="Folder or name of a study.")],
    trial: Annotated[int, typer.Argument(help="The trial's number.")],
    metrics: Annotated[list[str] | None, typer.Argument(help="name=value of every metric.")] = None,
    failed: Annotated[str | None, typer.Option("--failed", help="It failed: the failure kind.")] = None,
    message: Annotated[str, typer.Option("--message", help="Why it failed.")] = "",
    attempt: Annotated[int | None, typer.Option("--attempt", help="Which attempt this is the result of.")] = None,
) -> None:
    """The result of an asked configuration. Example: tuner tell digits 3 accuracy=0.9 params_m=1.2"""
    with _errors():
        from tuner.verbs.requests import tell_result

        _say(tell_result(study, trial, metrics or [], failed=failed, message=message, attempt=attempt))


# --- measure ---


@app.command()
def bench(
    problems: Annotated[
        str, typer.Option("--problems", help="dev, held-out, all, classes or names, comma-separated.")
    ] = "dev",
    methods: Annotated[
        str, typer.Option("--methods", help="Strategies (gp:restarts=8) and peers, comma-separated.")
    ] = "auto,tpe,random,optuna-tpe,optuna-gp",
    trials: Annotated[int, typer.Option("--trials", help="Trials of a run; also judged after 20, 60 and 200.")] = 60,
    seeds: Annotated[int, typer.Option("--seeds", help="Runs of a method on a problem.")] = 5,
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="Runs at a time, one process and thread each.")] = 1,
    out: Annotated[Path, typer.Option("--out", "-o", help="The results folder; runs in it are not made again.")] = Path(
        "bench-results"
    ),
    limit: Annotated[float, typer.Option("--limit", help="Seconds that one run may take.")] = 1800.0,
    timing: Annotated[bool, typer.Option("--timing", help="Seconds a suggestion by past trials instead.")] = False,
    sizes: Annotated[str, typer.Option("--sizes", help="The numbers of past trials of --timing.")] = "50,200,500,1000",
    list_: Annotated[bool, typer.Option("--list", help="The problems and the methods there are.")] = False,
    detail: Annotated[bool, typer.Option("--detail", help="Every problem in the report.")] = False,
    python: Annotated[
        list[str] | None, typer.Option("--python", help="PEER=INTERPRETER that runs it; may be repeated.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option("--write", help="Put the report between the marks in this Markdown file too.")
    ] = None,
    format: Annotated[str, typer.Option("--format", "-f", help="table, md or json.")] = "table",
    json: JsonOption = False,
) -> None:
    """Compare strategies and peers on known problems. Example: tuner bench --problems dev,mixed --methods auto,tpe"""
    with _errors():
        from tuner.bench.bench import Request, compare, listed, timed
        from tuner.bench.interpreters import parse_pythons
        from tuner.bench.runner import Conditions

        chosen: Any = "json" if json else format
        if list_:
            print(listed(problems, chosen))
            return
        conditions = Conditions(jobs=jobs, limit_s=limit, pythons=parse_pythons(python or []))
        if timing:
            print(timed(methods, sizes, chosen, conditions=conditions, write=write))
        else:
            print(compare(Request(problems=problems, methods=methods, trials=trials, seeds=seeds, out=out,
                                  conditions=conditions, format=chosen, detail=detail, write=write)))  # fmt: skip


# --- move data, environment ---


@app.command()
def export(
    study: StudyArgument = None,
    to: Annotated[str, typer.Option("--to", help="csv, parquet, json or optuna.")] = "csv",
    output: Annotated[str | None, typer.Option("--output", "-o", help="A file, or for optuna a storage URL.")] = None,
) -> None:
    """Write a study's trials for other tools. Example: tuner export digits --to optuna -o sqlite:///optuna.db"""
    with _reading(study) as opened:
        from tuner.verbs.exporting import export_study

        _say(export_study(opened, to, output))


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="A Katib, Hydra, NNI or W&B file; or a CSV of trials.")],
    study: Annotated[str | None, typer.Option("--study", help="The study that takes a CSV's trials.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the sweep goes (default: stdout).")
    ] = None,
) -> None:
    """Translate a foreign sweep, or take in measured trials. Example: tuner import katib.yaml -o sweep.yaml"""
    with _errors():
        from tuner.verbs.importing import import_file

        _say(import_file(source, study=study, output=output))


@app.command()
def schema(json: JsonOption = True) -> None:
    """The JSON Schema of a sweep file, for editors. Example: tuner schema > sweep.schema.json"""
    with _errors():
        from json import dumps

        from tuner.sweep import json_schema

        _say(dumps(json_schema(), indent=2))


@app.command()
def doctor(json: JsonOption = False) -> None:
    """What this machine has, and what would go wrong. Example: tuner doctor"""
    with _errors():
        from tuner.verbs.doctor import examine, report_text

        findings = examine()
        _say(report_text(findings, json=json))
        if not all(finding.ok for finding in findings):
            raise typer.Exit(8)


if __name__ == "__main__":
    app(prog_name="tuner")
