"""A study as an Optuna storage, so that optuna-dashboard and Optuna's own analysis open it.

Structured parameters become the scalars that Optuna knows: `keep[0]`, `targets.q`, `mix.web`, `order[0]`. Outcome
constraints keep Optuna's convention, feasible when <= 0.
"""

from __future__ import annotations

import math
import warnings
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tuner.errors import StoreError
from tuner.parameters import Bool, Choice, Float, Int, Parameter, Permutation, Simplex, Subset, Vector

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

    from tuner.records import TrialRecord
    from tuner.study import Study

_STATES = {"completed": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL", "infeasible": "FAIL", "running": "RUNNING"}


def export_to_optuna(study: Study, url: str) -> None:
    """Write every trial that was started into a new Optuna study of the same name.

    Raises:
        StoreError: The storage cannot be opened, or holds a study of that name.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    directions = [metric.goal or "minimize" for metric in study.problem.objectives]
    try:
        target = optuna.create_study(storage=url, study_name=study.sweep.name, directions=directions)
    except optuna.exceptions.DuplicatedStudyError as error:
        raise StoreError(f"{url} holds a study {study.sweep.name!r} already; choose another storage") from error
    except Exception as error:
        raise StoreError(f"storage {url!r} cannot be opened by Optuna: {error}") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        target.set_metric_names([metric.name for metric in study.problem.objectives])
    parameters = {parameter.name: parameter for parameter in study.problem.space.parameters}
    for record in study.records():
        if record.state in _STATES:
            target.add_trial(_frozen(record, study, parameters))


def _frozen(record: TrialRecord, study: Study, parameters: dict[str, Parameter]) -> optuna.trial.FrozenTrial:
    import optuna

    values: dict[str, Any] = {}
    distributions: dict[str, Any] = {}
    for name, value in record.config.items():
        for key, (scalar, distribution) in scalars(parameters[name], value).items():
            values[key], distributions[key] = scalar, distribution
    state = getattr(optuna.trial.TrialState, _STATES[record.state])
    complete = record.state == "completed"
    constraints = None
    if complete and study.problem.constraints:
        margins = study.problem.margins(record.config, record.metrics, study.ledger.baseline)
        pairs = zip(study.problem.constraints, margins, strict=True)
        constraints = {c.text: -margin for c, margin in pairs if not math.isnan(margin)}
    frozen = optuna.trial.create_trial(
        state=state,
        values=[record.metrics[metric.name] for metric in study.problem.objectives] if complete else None,
        params=values,
        distributions=distributions,
        user_attrs=_attributes(record),
        intermediate_values=_curve(study, record.trial),
        constraints=constraints,
        system_attrs=None if constraints is None else {"constraints": list(constraints.values())},  # for the dashboard
    )
    if record.started_at is not None:
        frozen.datetime_start = datetime.fromtimestamp(record.started_at)
    if record.finished_at is not None and state.is_finished():
        frozen.datetime_complete = datetime.fromtimestamp(record.finished_at)
    return frozen


def _attributes(record: TrialRecord) -> dict[str, Any]:
    """What Optuna has no place of its own for."""
    kept: dict[str, Any] = {"tuner:trial": record.trial, "tuner:engine": record.provenance.engine}
    if record.failure is not None:
        kept["tuner:failure"] = f"{record.failure.kind}: {record.failure.message}"
    if record.fidelity is not None:
        kept["tuner:fidelity"] = record.fidelity
    kept |= {f"metric:{name}": value for name, value in record.metrics.items()}
    return kept | {f"measured:{name}": value for name, value in record.measures.items()}


def _curve(study: Study, trial: int) -> dict[int, float]:
    """What a trial reported of the first objective, or of what it reported first; Optuna keeps one number a step."""
    reports = study.reports(trial)
    name = study.problem.objectives[0].name
    if not any(name in metrics for _, metrics in reports):
        name = next((name for _, metrics in reports for name in metrics), name)
    return {step: metrics[name] for step, metrics in reports if name in metrics and step >= 0}


def scalars(parameter: Parameter, value: Any) -> dict[str, tuple[Any, BaseDistribution]]:
    """A parameter's value as Optuna's scalars: key -> (value, distribution)."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    name = parameter.name
    both = CategoricalDistribution((False, True))
    match parameter:
        case Float():
            return {name: (value, FloatDistribution(parameter.low, parameter.high, log=parameter.log))}
        case Int():
            return {name: (value, IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log))}
        case Bool():
            return {name: (value, both)}
        case Choice():
            return {name: (value, CategoricalDistribution(tuple(parameter.values)))}
        case Subset():
            return {f"{name}.{item}": (item in value, both) for item in parameter.items}
        case Vector():
            low, high, log = parameter.low, parameter.high, parameter.log
            within: BaseDistribution = FloatDistribution(low, high, log=log)
            if parameter.integer:
                within = IntDistribution(int(low), int(high), log=log)
            return {f"{name}[{i}]": (number, within) for i, number in enumerate(value)}
        case Simplex():
            total = parameter.total
            share = FloatDistribution(0.0, 1.0) if total is None else IntDistribution(0, total)
            return {f"{name}.{item}": (number, share) for item, number in value.items()}
        case Permutation():
            items = CategoricalDistribution(tuple(parameter.items))
            return {f"{name}[{i}]": (item, items) for i, item in enumerate(value)}
    return {name: (value, CategoricalDistribution((value,)))}
