"""Verbs that steer a study: stop, retry, enqueue, and the ask and tell of other programs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tuner.commands.completion import study_names, trial_numbers
from tuner.commands.terminal import JsonOption, StudyArgument, errors, say


def stop(
    study: StudyArgument = None,
    now: Annotated[bool, typer.Option("--now", help="Terminate the running trials; they will be retried.")] = False,
) -> None:
    """Ask a running sweep to end; running trials may finish. Example: tuner stop digits"""
    with errors():
        from tuner.verbs.requests import request_stop

        say(request_stop(study, now=now))


def retry(
    study: Annotated[str, typer.Argument(help="Folder or name of a study.", autocompletion=study_names)],
    trials: Annotated[
        list[int] | None,
        typer.Argument(
            help="Numbers of failed or pruned trials.", autocompletion=trial_numbers("failed", "pruned", "infeasible")
        ),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Every failed trial.")] = False,
) -> None:
    """Have failed trials tried again. Example: tuner retry digits --failed"""
    with errors():
        from tuner.verbs.requests import request_retry

        say(request_retry(study, trials or [], failed=failed))


def enqueue(
    study: Annotated[str, typer.Argument(help="Folder or name of a study.", autocompletion=study_names)],
    params: Annotated[list[str], typer.Argument(help="name=value, the rest takes its centre.")],
) -> None:
    """Have a configuration tried next. Example: tuner enqueue digits lr=1e-4 rank=8"""
    with errors():
        from tuner.verbs.requests import request_enqueue

        say(request_enqueue(study, params))


def ask(
    study: Annotated[
        str, typer.Argument(help="Folder or name of a study, or a sweep file to start one.", autocompletion=study_names)
    ],
    n: Annotated[int, typer.Option("--n", help="How many proposals.")] = 1,
    lease: Annotated[str, typer.Option("--lease", help="Without a result after this long, it waits again.")] = "24h",
    json: JsonOption = False,
) -> None:
    """The next configurations, to evaluate elsewhere. Example: tuner ask digits --json"""
    with errors():
        from tuner.verbs.requests import ask_proposals

        say(ask_proposals(study, n, lease, json=json))


def tell(
    study: Annotated[str, typer.Argument(help="Folder or name of a study.", autocompletion=study_names)],
    trial: Annotated[int, typer.Argument(help="The trial's number.", autocompletion=trial_numbers("running"))],
    metrics: Annotated[list[str] | None, typer.Argument(help="name=value of every metric.")] = None,
    failed: Annotated[str | None, typer.Option("--failed", help="It failed: the failure kind.")] = None,
    message: Annotated[str, typer.Option("--message", help="Why it failed.")] = "",
    attempt: Annotated[int | None, typer.Option("--attempt", help="Which attempt this is the result of.")] = None,
) -> None:
    """The result of an asked configuration. Example: tuner tell digits 3 accuracy=0.9 params_m=1.2"""
    with errors():
        from tuner.verbs.requests import tell_result

        say(tell_result(study, trial, metrics or [], failed=failed, message=message, attempt=attempt))


def prefer(
    study: StudyArgument = None,
    answer: Annotated[
        list[str] | None, typer.Option("--answer", help="Say it at once: '12>5' (12 is better) or '12=5'; repeat it.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Questions and answers as JSON lines.")] = False,
) -> None:
    """Say which of two front members is better; `search: preference` goes there. Example: tuner prefer digits"""
    with errors():
        from tuner.verbs.preferring import prefer as ask_pairs

        ask_pairs(study, answer or (), sys.stdin, say, lambda text: print(text, end="", flush=True), json=json)


VERBS = (stop, retry, enqueue, ask, tell, prefer)
