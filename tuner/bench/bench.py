"""What `tuner bench` does: choose, run, report."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from tuner.bench.blocks import write_block
from tuner.bench.methods import own_names, parse_method, peer_names
from tuner.bench.results import Results
from tuner.bench.runner import Conditions, execute, planned, progress
from tuner.bench.scores import Baselines
from tuner.bench.suite import select
from tuner.bench.tables import Format, document, listing, render, timing_table
from tuner.bench.worker import checkpoints
from tuner.errors import UsageError

DEFAULT_METHODS = "auto,tpe,random,optuna-tpe,optuna-gp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked for.

    Attributes:
        problems: Splits, classes or names, separated by commas.
        methods: Strategies (`gp:restarts=8` with options) or peers, separated by commas.
        trials: Of a run.
        seeds: Runs of a method on a problem.
        out: The results folder.
        conditions: Under which runs are made.
        format: Of the report.
        detail: Also report every problem.
        write: A document whose block takes the report in Markdown.
        quiet: No progress.
    """

    problems: str = "dev"
    methods: str = DEFAULT_METHODS
    trials: int = 60
    seeds: int = 5
    out: Path = Path("bench-results")
    conditions: Conditions = field(default_factory=Conditions)
    format: Format = "table"
    detail: bool = False
    write: Path | None = None
    quiet: bool = False


def _check_format(format: str) -> None:
    if format not in get_args(Format):
        raise UsageError(f"-f of a bench must be one of {', '.join(get_args(Format))}, but got {format!r}")


def words(text: str) -> list[str]:
    """What is between the commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def compare(request: Request) -> str:
    """Make the runs that are missing, and return the report over these methods and problems."""
    _check_format(request.format)
    problems, methods = select(words(request.problems)), words(request.methods)
    if not problems or not methods or request.trials < 1 or request.seeds < 1:
        raise UsageError("a bench needs at least one problem, method, trial and seed; see tuner bench --list")
    for method in methods:
        parse_method(method, elsewhere=request.conditions.pythons)
    results = Results(request.out)
    runs = planned([p.name for p in problems], methods, request.seeds, request.trials)
    done = sum(run in results for run in runs)
    if done and not request.quiet:
        print(f"{done} of {len(runs)} runs are in {request.out} already", file=sys.stderr)
    for number, line in enumerate(execute(runs, results, request.conditions), start=done + 1):
        if not request.quiet:
            print(progress(line, number, len(runs)), file=sys.stderr, flush=True)
    keys = {(run.problem, run.method, run.seed) for run in runs}
    lines = [
        line
        for line in results.lines
        if line["trials"] == request.trials and (line["problem"], line["method"], line["seed"]) in keys
    ]
    by_name = {problem.name: problem for problem in problems}
    content = document(lines, by_name, Baselines(request.out), checkpoints(request.trials), methods)
    if request.write is not None:
        asked = f"--problems {request.problems} --methods {request.methods}"
        command = f"`tuner bench {asked} --trials {request.trials} --seeds {request.seeds}`"
        report = render(content, "md", detail=request.detail)
        write_block(request.write, "tuner bench", f"{command}\n\n{report}")
    return render(content, request.format, detail=request.detail)


def listed(problems: str, format: Format) -> str:
    """The problems and methods there are."""
    _check_format(format)
    return listing(select(words(problems)), [*own_names(), *peer_names()], format)


def timed(
    methods: str, sizes: str, format: Format, *, conditions: Conditions | None = None, write: Path | None = None
) -> str:
    """Seconds a suggestion of each method after so many trials, on one thread; `write` as in `Request`."""
    from tuner.bench.timing import table

    _check_format(format)
    names = words(methods)
    under = conditions or Conditions()
    for name in names:
        parse_method(name, elsewhere=under.pythons)
    if not all(word.isdecimal() and int(word) > 0 for word in words(sizes)):
        raise UsageError(f"sizes must be whole numbers above 0, separated by commas, but got {sizes!r}")
    numbers = [int(word) for word in words(sizes)]
    seconds: dict[str, dict[int, float | str]] = {name: {} for name in names}
    for method, n, value in table(names, numbers, under):
        print(f"{method}, {n} past trials: {value if isinstance(value, str) else f'{value:.3g} s'}", file=sys.stderr)
        seconds[method][n] = value
    if write is not None:
        command = f"`tuner bench --timing --methods {methods} --sizes {sizes}`"
        write_block(write, "tuner bench --timing", f"{command}\n\n{timing_table(seconds, numbers, 'md')}")
    return timing_table(seconds, numbers, format)
