"""Preview of a sweep: what it means, its space, and what would run. Starts nothing, writes nothing."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import UsageError
from tuner.reporting.tables import cell
from tuner.study import Study
from tuner.sweep import check_feasible, dump_yaml, load_sweep

if TYPE_CHECKING:
    from tuner.problem import Problem
    from tuner.sweep import Sweep
    from tuner.trial import Proposal


def preview(
    sweep: Path, *, params: Sequence[str], sets: Sequence[str], suggestions: int, warm_start: Sequence[str] = ()
) -> str:
    """What a sweep file means, and its first suggestions with the exact command each would run.

    Args:
        sweep: The file.
        params: `-P` overrides.
        sets: `-S` overrides.
        suggestions: How many; with 0 the resolved sweep is left out too, as for `tuner validate`.
        warm_start: `--warm-start` studies.

    Raises:
        SweepError: The sweep is wrong.
    """
    loaded = load_sweep(sweep, params=params, sets=sets, warm_start=warm_start)
    check_feasible(loaded)
    with Study.create(loaded) as study:
        study.check_strategy()
        lines = [*_facts(study.problem, loaded), *(f"note: {note}" for note in loaded.notes)]
        if suggestions:
            lines = [dump_yaml(loaded.to_dict()).rstrip(), "---", *lines]
            for proposal in study.ask(suggestions):
                lines += _planned(proposal, loaded, study.problem)
        else:
            lines.append(f"{sweep} is valid")
    return "\n".join(lines)


def _facts(problem: Problem, sweep: Sweep) -> list[str]:
    space = problem.space
    size = space.size()
    fraction = space.feasible_fraction() if space.restrictions else 1.0
    goals = ", ".join(f"{metric.goal} {metric.name}" for metric in problem.objectives)
    facts = [
        f"study {sweep.name}: {goals}; search {problem.search.method if problem.search else 'auto'}",
        f"space: {len(space.names)} parameters, {space.encoding.dim} columns, "
        f"{'infinitely many' if math.isinf(size) else f'{size:,.0f}'} configurations, "
        + (f"about {fraction:.3g} of them feasible" if space.restrictions else "all feasible"),
    ]
    facts += [f"constraint: {constraint.text}" for constraint in problem.constraints]
    facts += [str(source) for source in problem.sources]
    runner = sweep.runner
    limit = f"{runner.timeout:g} s" if runner.timeout else "no limit"
    at_once = "one a slot" if sweep.parallel == "auto" else f"{problem.parallel} at a time"
    facts.append(f"runner: {at_once}, {runner.cpus} cpus and {runner.gpus} gpus each, timeout {limit}")
    return facts


def _planned(proposal: Proposal, sweep: Sweep, problem: Problem) -> list[str]:
    config = " ".join(f"{name}={cell(value)}" for name, value in proposal.config.items())
    origin = proposal.provenance.reason if proposal.provenance.engine == "warm" else proposal.provenance.engine
    lines = [f"trial {proposal.trial} ({origin}): {config}"]
    if sweep.command is not None:
        from tuner.runners.command import Command, trial_environment
        from tuner.runners.devices import Slot
        from tuner.runners.lane import slot_environment
        from tuner.runners.protocol import Job

        folder = Path(".tuner").absolute() / sweep.name / "trials" / str(proposal.trial)
        job = Job(trial=proposal.trial, config=proposal.config, seed=proposal.seed, fidelity=proposal.fidelity)
        slot = Slot(id="cpu0", threads=sweep.runner.cpus)
        argv = Command(argv=sweep.command, names=frozenset(problem.space.names)).expand(job, folder, slot)
        environment = {**slot_environment(slot), **sweep.runner.env, **trial_environment(job, folder)}
        lines.append(f"  {shlex.join(argv)}")
        lines += [f"    {name}={shlex.quote(value)}" for name, value in environment.items()]
    return lines


def sampled_metrics(sweep: Path, log: Path) -> str:
    """What the metrics' stdout patterns find in a sample of a trial's output.

    Raises:
        UsageError: The file cannot be read.
    """
    from tuner.runners.results import stdout_value

    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"{log} cannot be read: {error.strerror}") from error
    lines = []
    for name, metric in load_sweep(sweep).metrics.items():
        found = stdout_value(name, metric.stdout or "json", text)
        lines.append(f"{name}: {'not found' if found is None else found}")
    return "\n".join(lines)
