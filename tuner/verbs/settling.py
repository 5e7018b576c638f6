"""Settling: a study of another tool becomes a study folder here, trial by trial."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from tuner.errors import SpaceError, UsageError
from tuner.importers.foreign import ForeignStudy, ForeignTrial
from tuner.sessions import HOME, has_study
from tuner.study import Study
from tuner.sweep import slug
from tuner.trial import Failure, Outcome


def settle(found: ForeignStudy, output: Path | None) -> str:
    """Make a study folder; returns what to print.

    Raises:
        UsageError: There is a study already.
        SweepError: Its space or metrics have no native form.
    """
    name = slug(str(found.sweep["name"]))
    folder = output if output is not None else HOME / name
    if has_study(folder):
        raise UsageError(f"{folder} holds a study already; choose another folder with --output")
    skipped: list[str] = []
    with Study.create({**found.sweep, "name": name}, folder) as study:
        for trial in found.trials:
            try:
                _add(study, trial)
            except (SpaceError, UsageError) as error:
                skipped.append(f"trial {trial.label} is left out: {error}")
        counts = study.counts()
    told = ", ".join(f"{n} {state}" for state, n in sorted(counts.items())) or "no trials"
    lines = [f"made {folder} with {told}; look: tuner pareto {shlex.quote(str(folder))}"]
    lines += [f"note: {note}" for note in found.notes]
    lines += [f"note: {note}" for note in skipped[:10]]
    if len(skipped) > 10:
        lines.append(f"note: {len(skipped) - 10} more trials are left out for such reasons")
    lines.append(
        f"note: it has nothing to run; add `command:` or `objective:` to {folder / 'sweep.yaml'} to go on with it"
    )
    return "\n".join(lines)


def _add(study: Study, trial: ForeignTrial) -> None:
    space = study.problem.space
    config = space.normalise(dict(trial.params))
    number = study.enqueue(config)
    study.ask()
    for step, metrics in sorted(trial.reports.items()):
        study.report(number, step, metrics)
    failure = Failure(kind=trial.failure, message=trial.message) if trial.state == "failed" else None
    outcome = Outcome(state=trial.state, metrics=trial.metrics, measures=trial.measures, failure=failure)
    now = time.time()
    study.finish(number, outcome, ran=(trial.began or trial.ended or now, trial.ended or trial.began or now))
