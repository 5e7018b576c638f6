"""What the verbs share: options, errors as exit codes, results on stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.commands.completion import study_names, words
from tuner.errors import TunerError, UsageError

if TYPE_CHECKING:
    from tuner.study import Study
    from tuner.views.comparison import Comparison

StudyArgument = Annotated[
    str | None, typer.Argument(help="Folder or name of a study; the latest without one.", autocompletion=study_names)
]
FormatOption = Annotated[
    str,
    typer.Option(
        "--format",
        "-f",
        help="table, json, jsonl, csv, md or value.",
        autocompletion=words("table", "json", "jsonl", "csv", "md", "value"),
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Short for -f json.")]
NameOption = Annotated[list[str] | None, typer.Option("--name", "-n", help="Only this parameter or metric; repeat it.")]
KeyOption = Annotated[list[str] | None, typer.Option("--name", "-n", help="Only this key of the document; repeat it.")]
ParamOption = Annotated[list[str] | None, typer.Option("--param", "-P", help="Fix a parameter: -P lr=1e-4.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", "-S", help="Set a key: -S budget.trials=5.")]
WarmOption = Annotated[
    list[str] | None,
    typer.Option("--warm-start", help="An earlier study to learn from; repeat it.", autocompletion=study_names),
]
SweepArgument = Annotated[Path, typer.Argument(help="A sweep file.")]


@contextmanager
def errors() -> Iterator[None]:
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


def say(text: object) -> None:
    """Print a result; a reader that has seen enough, such as `head`, is no error."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def reading(study: str | None, *, streams: bool = False) -> Iterator[Study]:
    """A study opened to be read, with errors as `errors` tells them; a stream in blocks only if `streams`."""
    from tuner.blocks import need_trials
    from tuner.sessions import find_study
    from tuner.study import Study

    with errors(), Study.open(find_study(study), read_only=True) as opened:
        if not streams:
            need_trials(opened.sweep)
        yield opened


def chosen_format(format: str, json: bool) -> Any:
    """The format that `-f` and `--json` ask for.

    Raises:
        UsageError: There is no such format.
    """
    from tuner.reporting.tables import FORMATS

    chosen = "json" if json else format
    if chosen not in FORMATS:
        raise UsageError(f"-f must be one of {', '.join(FORMATS)}, but got {chosen!r}")
    return chosen


def chosen_states(words: list[str]) -> list[str]:
    """The states that `--state` names.

    Raises:
        UsageError: There is no such state.
    """
    from typing import get_args

    from tuner.trial import State

    for word in words:
        if word not in get_args(State):
            raise UsageError(f"--state must be one of {', '.join(get_args(State))}, but got {word!r}")
    return words


def terminal_width() -> int | None:
    """Columns of the terminal, None where the output goes elsewhere."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def draw_front(study: Study) -> None:
    """Draw the front of a study with several goals above its table; without plotext, say how to get it."""
    from tuner.reporting import front_plot

    if len(study.problem.objectives) < 2:
        return
    if not front_plot.available():
        print(front_plot.HINT, file=sys.stderr)
        return
    from tuner.views.front import front_view

    if text := front_plot.front_plot(front_view(study), **_room()):
        say(text)


def drawn_fronts(found: Comparison) -> str:
    """The fronts of studies over one another, where a terminal reads them; "" elsewhere."""
    from tuner.reporting import front_plot

    if not sys.stdout.isatty() or found.corner is None:
        return ""
    if not front_plot.available():
        print(front_plot.HINT, file=sys.stderr)
        return ""
    return front_plot.fronts_plot(found, **_room())


def _room() -> dict[str, Any]:
    """How much of the terminal a plot may take, and whether in colours."""
    import shutil

    columns, rows = shutil.get_terminal_size()
    color = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return {"width": min(columns - 1, 100), "height": min(rows // 2, 22), "color": color}


def prompted(question: str, default: str) -> str:
    """What a person answers to a question; an end of input gives up."""
    answer: str = typer.prompt(question, default=default, show_default=bool(default))
    return answer
