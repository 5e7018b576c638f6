"""Verbs that measure: the gate for CI, the bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tuner.commands.terminal import JsonOption, errors, say, terminal_width


def bench(
    problems: Annotated[
        str, typer.Option("--problems", help="dev, held-out, outside, all, classes or names, comma-separated.")
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


def gate(
    baseline: Annotated[Path | None, typer.Option("--baseline", help="A file that --save-baseline wrote.")] = None,
    candidate: Annotated[
        str | None,
        typer.Option("--candidate", help="A study, a file with a configuration, or 'lr=1e-4 rank=8'."),
    ] = None,
    trial: Annotated[int | None, typer.Option("--trial", help="A trial of the study, not its best.")] = None,
    max_regress: Annotated[
        list[str] | None, typer.Option("--max-regress", help="3%, or latency_ms=3% for one metric; repeat it.")
    ] = None,
    confidence: Annotated[float, typer.Option("--confidence", help="How often a verdict must be right.")] = 0.95,
    save_baseline: Annotated[
        Path | None, typer.Option("--save-baseline", help="Write the candidate here; beside --baseline, if it passes.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", "-m", help="Check only this metric, or hypervolume; repeat it.")
    ] = None,
    deterministic: Annotated[
        list[str] | None, typer.Option("--deterministic", help="A metric of which one measurement says all; repeat it.")
    ] = None,
    sweep: Annotated[Path | None, typer.Option("--sweep", help="Measure through this sweep file.")] = None,
    baseline_sweep: Annotated[
        Path | None, typer.Option("--baseline-sweep", help="The baseline through this one: another checkout's.")
    ] = None,
    max_measurements: Annotated[int, typer.Option("--max-measurements", help="A side; then it stays open.")] = 39,
    runs: Annotated[
        int, typer.Option("--runs", help="Evaluations a measurement is the median of; 0: 5 if under 1 s, else 1.")
    ] = 0,
    every_check: Annotated[
        bool, typer.Option("--every-check", help="After a regression, settle the rest too.")
    ] = False,
    warmup: Annotated[int, typer.Option("--warmup", help="Evaluations a side that are thrown away first.")] = 1,
    max_time: Annotated[str | None, typer.Option("--max-time", help="Stop measuring after this long: 10m.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the order within pairs.")] = 0,
    allow_inconclusive: Annotated[
        bool, typer.Option("--allow-inconclusive", help="Exit 0 when it stays open.")
    ] = False,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML here.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write Markdown for a comment here.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    format: Annotated[str, typer.Option("--format", "-f", help="table, md or json.")] = "table",
    json: JsonOption = False,
) -> None:
    """Is a candidate worse than a baseline? Example: tuner gate --baseline main.json --candidate digits"""
    with errors():
        from tuner.verbs.gate_output import Output, run_gate
        from tuner.verbs.gating import Request

        request = Request(baseline=baseline, candidate=candidate, trial=trial, sweep=sweep, save=save_baseline,
                          baseline_sweep=baseline_sweep, max_regress=max_regress or (), metrics=metric or (),
                          deterministic=deterministic or (), confidence=confidence, runs=runs, warmup=warmup,
                          max_measurements=max_measurements, max_time=max_time, every_check=every_check, seed=seed,
                          quiet=quiet)  # fmt: skip
        output = Output(format="json" if json else format, junit=junit, markdown=markdown, width=terminal_width(),
                        allow_inconclusive=allow_inconclusive)  # fmt: skip
        code = run_gate(request, output, say)
    raise typer.Exit(code)


VERBS = (gate, bench)
