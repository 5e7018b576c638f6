"""An Optuna study as plain data: its space, metrics and trials in our terms, from any storage that Optuna opens.

What Optuna defines while it runs becomes a space: the union of what was suggested. A parameter that some trials lack
gets a condition where the values of one choice tell when it is there; trials that fit no such rule stay behind.
Constraints become metrics with the bound `max: 0`, Optuna's own convention.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tuner.errors import StoreError, UsageError
from tuner.importers.foreign import ForeignStudy, ForeignTrial, conditions

if TYPE_CHECKING:
    import optuna

_STATES = {"COMPLETE": "completed", "PRUNED": "pruned", "FAIL": "failed"}
_OURS = "tuner:"


def read_study(url: str, name: str | None) -> ForeignStudy:
    """A study of a storage.

    Args:
        url: The storage.
        name: The study's; None when the storage holds one only.

    Raises:
        StoreError: The storage cannot be opened.
        UsageError: There is no such study, or several without a name; or its parameters make no space.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        names = optuna.get_all_study_names(url)
    except Exception as error:
        raise StoreError(f"storage {url!r} cannot be opened by Optuna: {error}") from error
    listed = ", ".join(sorted(names)) or "none"
    if name is None and len(names) != 1:
        raise UsageError(f"{url} holds {len(names)} studies ({listed}); say which with --optuna-study NAME")
    chosen = names[0] if name is None else name
    if chosen not in names:
        raise UsageError(f"{url} holds no study {chosen!r} (there are: {listed})")
    return _foreign(optuna.load_study(storage=url, study_name=chosen))


def _foreign(study: optuna.Study) -> ForeignStudy:
    finished = [trial for trial in study.trials if trial.state.name in _STATES]
    notes = []
    if waiting := len(study.trials) - len(finished):
        notes.append(f"{waiting} trials had not finished; they are left out")
    parameters, spoiled = _parameters(finished)
    notes += spoiled
    choices = {n: entry["values"] for n, entry in parameters.items() if "values" in entry}
    for parameter, when in conditions([trial.params for trial in finished], list(parameters), choices).items():
        parameters[parameter]["when"] = when
        notes.append(f"{parameter} is not in every trial: `when: {when}` is what its presence follows")
    objectives = _objectives(study)
    bounds = sorted({key for trial in finished for key in trial.constraints})
    bounds = [key for key in bounds if not key.isdecimal()] or bounds  # the same once more, as older versions keep them
    metrics: dict[str, Any] = {n: {"goal": "maximize" if d.name == "MAXIMIZE" else "minimize"}
                               for n, d in zip(objectives, study.directions, strict=True)}  # fmt: skip
    metrics |= {_bound(key): {"max": 0.0} for key in bounds}
    trials = [_trial(trial, objectives, bounds) for trial in finished]
    if others := sorted(
        {k for t in finished for k, v in t.user_attrs.items() if not _number(v) and not k.startswith(_OURS)}
    ):
        notes.append(f"user attributes that are no numbers are left out: {', '.join(others)}")
    if study.user_attrs:
        notes.append(f"the study's own user attributes are left out: {', '.join(sorted(study.user_attrs))}")
    sweep = {"name": study.study_name, "metrics": metrics, "parameters": parameters}
    return ForeignStudy(sweep=sweep, trials=trials, notes=notes)


def _objectives(study: optuna.Study) -> list[str]:
    if study.metric_names is not None:
        return list(study.metric_names)
    n = len(study.directions)
    return ["value"] if n == 1 else [f"value{k}" for k in range(n)]


def _bound(key: str) -> str:
    return key if not key.isdecimal() else f"constraint{key}"


def _parameters(trials: Sequence[optuna.trial.FrozenTrial]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Entries of a sweep, and what they do not say."""
    entries: dict[str, dict[str, Any]] = {}
    notes: list[str] = []
    for trial in trials:
        for name, distribution in trial.distributions.items():
            entry = _entry(distribution)
            wider = entry if name not in entries else _union(entries[name], entry)
            if name in entries and wider != entries[name]:
                notes.append(f"{name} had several ranges; the space has their union")
            entries[name] = wider
    if not entries:
        raise UsageError("the study has no finished trial with a parameter, so that there is no space")
    return entries, list(dict.fromkeys(notes))


def _entry(distribution: Any) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return {"values": list(distribution.choices)}
    entry: dict[str, Any] = {"min": distribution.low, "max": distribution.high}
    entry["type"] = "int" if isinstance(distribution, IntDistribution) else "float"
    if distribution.log:
        entry["log"] = True
    elif distribution.step not in (None, 1):
        entry["step"] = distribution.step
    return entry


def _union(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """What holds the values of both entries; Optuna sees to it that they are of one kind, with the same choices."""
    if "values" in a or a == b:
        return a
    entry: dict[str, Any] = {"min": min(a["min"], b["min"]), "max": max(a["max"], b["max"]), "type": a["type"]}
    if a.get("log") and b.get("log"):
        entry["log"] = True
    if a.get("step") == b.get("step") is not None and a["min"] == b["min"]:
        entry["step"] = a["step"]
    return entry


def _trial(trial: optuna.trial.FrozenTrial, objectives: Sequence[str], bounds: Sequence[str]) -> ForeignTrial:
    state: Any = _STATES[trial.state.name]
    metrics: dict[str, float] = {}
    if state == "completed":
        metrics = dict(zip(objectives, trial.values, strict=True))
        metrics |= {_bound(key): float(trial.constraints[key]) for key in bounds if key in trial.constraints}
    measures = {f"optuna.{k}": float(v) for k, v in trial.user_attrs.items() if _number(v) and not k.startswith(_OURS)}
    began, ended = trial.datetime_start, trial.datetime_complete
    return ForeignTrial(
        label=str(trial.number),
        params=dict(trial.params),
        state=state,
        metrics=metrics,
        measures=measures,
        reports={step: {objectives[0]: value} for step, value in trial.intermediate_values.items()},
        message=str(trial.user_attrs.get("tuner:failure", "failed in Optuna")),
        began=None if began is None else began.timestamp(),
        ended=None if ended is None else ended.timestamp(),
    )


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
