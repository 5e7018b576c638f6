"""Who `tuner gate` compares: a trial of a study or a configuration, and the sweep it is measured through."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import SpaceError, StoreError, SweepError, UsageError
from tuner.verbs.baselines import Front, front_of

if TYPE_CHECKING:
    from tuner.problem import Problem
    from tuner.sweep import Sweep
    from tuner.trial import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The candidate and what it is measured through."""

    name: str
    config: Config
    sweep: Sweep
    problem: Problem
    resolved: Mapping[str, Any]
    front: Front | None = None


def subject(words: str | None, trial: int | None, sweep: Path | None) -> Subject:
    """The candidate.

    Args:
        words: A study, a file with a configuration, or `name=value name=value`; None: the latest study.
        trial: Which of the study's trials; None: the best, by its fresh measurements where it has some.
        sweep: The sweep file to measure through; None: the study's own.

    Raises:
        StoreError: There is no such study.
        UsageError: It has no feasible trial, or the configuration does not fit the sweep.
    """
    from tuner.sessions import find_study
    from tuner.study import Study

    if words is not None and ("=" in words or Path(words).is_file()):
        return _of_config(words, trial, sweep)
    try:
        folder = find_study(words)
    except StoreError as error:
        if words is None:
            raise
        raise StoreError(f"{error}; a configuration is a JSON or YAML file, or 'name=value name=value'") from error
    with Study.open(folder, read_only=True) as study:
        from tuner import blocks, repeats

        blocks.need_trials(study.sweep)
        if trial is not None:
            record = study.read(trial)
        else:
            chosen = repeats.recommended(study) or study.best()
            if chosen is None:
                raise UsageError(f"study {study.sweep.name} has no feasible trial to compare; see `tuner trials`")
            record = chosen
        name = f"{study.sweep.name} trial {record.trial}"
        return _with_sweep(name, record.config, sweep, study.sweep, front_of(study))


def _of_config(words: str, trial: int | None, sweep: Path | None) -> Subject:
    from tuner.sessions import find_study
    from tuner.sweep import load_sweep
    from tuner.verbs.requests import pairs

    if trial is not None:
        raise UsageError("--trial goes with a study, but --candidate is a configuration; leave one out")
    config = _read_config(Path(words)) if Path(words).is_file() else pairs(shlex.split(words))
    stored = None if sweep is not None else load_sweep(find_study(None) / "sweep.yaml")
    return _with_sweep(words, config, sweep, stored, None)


def _read_config(file: Path) -> Mapping[str, Any]:
    """A configuration from a file: itself, or within `tuner best --json`, or a baseline."""
    from tuner.sweeps.yaml_source import read_text

    try:
        data = read_text(file.read_text(encoding="utf-8"), str(file)).data
    except (OSError, UnicodeDecodeError, SweepError) as error:
        raise UsageError(f"{file} cannot be read as a configuration: {error}") from error
    if isinstance(data, Mapping) and str(data.get("schema", "")).startswith("tuner."):
        trial = data.get("trial")
        data = data.get("configuration") or (trial.get("params") if isinstance(trial, Mapping) else None)
    if not isinstance(data, Mapping):
        raise UsageError(f"{file} holds no configuration; it must map parameter names to values")
    return data


def _with_sweep(
    name: str, config: Mapping[str, Any], file: Path | None, stored: Sweep | None, front: Front | None
) -> Subject:
    from tuner import identity
    from tuner.objective import objective_of
    from tuner.problem import make_problem
    from tuner.sweep import load_sweep

    sweep = load_sweep(file) if file is not None else stored
    assert sweep is not None
    problem = make_problem(sweep, objective_of(sweep))
    resolved = identity.resolved_sweep(sweep, problem)
    whole = fitting(problem, config, f"the candidate {name}")
    return Subject(name=name, config=whole, sweep=sweep, problem=problem, resolved=resolved, front=front)


def fitting(problem: Problem, config: Mapping[str, Any], what: str) -> Config:
    """A configuration as the sweep has it, what it leaves out filled in.

    Raises:
        UsageError: It does not fit.
    """
    try:
        return problem.space.normalise(config, partial=True)
    except SpaceError as error:
        raise UsageError(f"{what} does not fit the sweep {problem.name}: {error}") from error
