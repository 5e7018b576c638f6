"""Verbs that measure: the bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tuner.commands.terminal import JsonOption, errors


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
    with errors():
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


VERBS = (bench,)
