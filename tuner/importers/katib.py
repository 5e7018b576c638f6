"""Katib experiments (`kubeflow.org/v1beta1`).

| Katib | here |
|---|---|
| `objective.type`, `objectiveMetricName`, `additionalMetricNames`, `goal` | `metrics`, `budget.target` |
| `metricStrategies: min, max, latest` | `statistic: min, max, last` |
| the default metrics collector: lines `name=value` on stdout | `stdout:` with a pattern |
| `algorithm.algorithmName` | `search` |
| `earlyStopping: medianstop` | `early_stop: median` |
| `maxTrialCount`, `maxFailedTrialCount`, `parallelTrialCount` | `budget.trials`, `budget.failures`, `parallel` |
| `parameters`: `double int discrete categorical`, `feasibleSpace` (numbers as text) | ranges and values |
| the trial template's `command` with `${trialParameters.x}` | `command` with the parameter's own name |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tuner.errors import SweepError
from tuner.importers import distributions as dist
from tuner.sweeps.findings import Findings, Path, quote, unknown
from tuner.sweeps.yaml_source import read_value

_METHODS = {
    "random": "random",
    "grid": "grid",
    "bayesianoptimization": "gp",
    "tpe": "tpe",
    "multivariate-tpe": "tpe",
    "cmaes": "cmaes",
    "sobol": "sobol",
    "hyperband": "random",
    "pbt": "auto",
    "darts": "auto",
    "enas": "auto",
}
_EXACT = ("random", "grid", "tpe", "cmaes", "sobol")
_STATISTICS = {"min": "min", "max": "max", "latest": "last"}
_NUMBER = r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[Ee][+-]?\d+)?)"
_TRIAL_PARAMETER = re.compile(r"\$\{trialParameters\.([^}]*)\}")


def is_katib(data: Mapping[str, Any]) -> bool:
    """Return whether the data is a Katib experiment."""
    return data.get("kind") == "Experiment" and isinstance(data.get("spec"), Mapping)


def translate(data: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the native sweep and one line for each thing that differs.

    Raises:
        SweepError: All that has no native form, by Katib's own paths.
    """
    spec, findings, notes = data["spec"], Findings(), list[str]()
    metadata = data.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    native: dict[str, Any] = {"name": name} if isinstance(name, str) else {}
    native["command"] = _command(spec, notes)
    target = _objective(spec.get("objective"), native, findings)
    if "metricsCollectorSpec" not in spec:
        _read_stdout(native)
    _algorithm(spec, native, notes, findings)
    native["parameters"] = _parameters(spec.get("parameters"), notes, findings)
    budget = {
        "trials": spec.get("maxTrialCount"),
        "failures": spec.get("maxFailedTrialCount"),
        "target": target or None,
    }
    native["budget"] = {key: value for key, value in budget.items() if value not in (None, {})}
    native["parallel"] = spec.get("parallelTrialCount", 3)
    for key in ("resumePolicy", "metricsCollectorSpec", "nasConfig"):
        if key in spec:
            notes.append(f"{key} has no counterpart: {_WITHOUT[key]}")
    findings.raise_if_any()
    return native, notes


_WITHOUT = {
    "resumePolicy": "a study can always be continued",
    "metricsCollectorSpec": "say where metrics come from with stdout: or file: in metrics, or write TUNER_REPORT",
    "nasConfig": "describe the choices as parameters",
}


def _objective(objective: Any, native: dict[str, Any], findings: Findings) -> dict[str, float]:
    """Set the metrics and return the target."""
    path: Path = ("spec", "objective")
    if not isinstance(objective, Mapping) or not isinstance(objective.get("objectiveMetricName"), str):
        findings.add(path, "must have type and objectiveMetricName, but has not; add them")
        return {}
    name, goal = objective["objectiveMetricName"], objective.get("type")
    if goal not in ("minimize", "maximize"):
        findings.add((*path, "type"), f"must be minimize or maximize, but got {quote(goal)}; choose one")
    metrics: dict[str, dict[str, Any]] = {name: {"goal": goal}}
    for other in _entries(objective.get("additionalMetricNames")):
        metrics.setdefault(str(other), {})
    for index, entry in enumerate(_entries(objective.get("metricStrategies"))):
        place = (*path, "metricStrategies", index)
        if not isinstance(entry, Mapping) or str(entry.get("value")) not in _STATISTICS:
            findings.add(place, f"must be {{name: ..., value: min, max or latest}}, but got {quote(entry)}; correct it")
        elif str(entry.get("name")) in metrics and entry["value"] != "latest":
            metrics[str(entry["name"])]["statistic"] = _STATISTICS[entry["value"]]
    native["metrics"] = metrics
    target = objective.get("goal")
    return {} if target is None else {name: target}


def _read_stdout(native: dict[str, Any]) -> None:
    """Find the metrics where Katib's default collector, StdOut, finds them: in lines `name=value`."""
    for name, metric in native.get("metrics", {}).items():
        metric["stdout"] = rf"(?<![\w|-]){re.escape(name)}\s*=\s*{_NUMBER}"


def _algorithm(spec: Mapping[str, Any], native: dict[str, Any], notes: list[str], findings: Findings) -> None:
    algorithm = spec.get("algorithm") or {}
    name = algorithm.get("algorithmName") if isinstance(algorithm, Mapping) else None
    if name is not None:
        if not isinstance(name, str) or name not in _METHODS:
            findings.add(("spec", "algorithm", "algorithmName"), unknown("algorithm", str(name), _METHODS))
            return
        native["search"] = {"method": _METHODS[name]}
        if name == "hyperband":
            native["early_stop"] = {"rule": "asha"}
        if name not in _EXACT:
            with_rule = " with early_stop asha" if "early_stop" in native else ""
            notes.append(f"algorithm {name} becomes search {_METHODS[name]}{with_rule}")
        for setting in _entries(algorithm.get("algorithmSettings")):
            named = str(setting.get("name")) if isinstance(setting, Mapping) else ""
            if named in ("random_state", "random_seed", "seed") and str(setting.get("value")).isdecimal():
                native["seed"] = int(str(setting.get("value"))[:18])
            else:
                notes.append(f"algorithm setting {quote(setting)} is left out; options of search stand beside method")
    stopping = spec.get("earlyStopping")
    if isinstance(stopping, Mapping):
        native["early_stop"] = {"rule": "median"}
        notes.append(
            f"earlyStopping {quote(stopping.get('algorithmName'))} becomes early_stop median, its settings left out"
        )


def _entries(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _parameters(entries: Any, notes: list[str], findings: Findings) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    if not isinstance(entries, list) or not entries:
        findings.add(("spec", "parameters"), f"must be a list of parameters, but got {quote(entries)}; add them")
        return parameters
    for index, entry in enumerate(entries):
        path: Path = ("spec", "parameters", index)
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
            findings.add(path, f"must be a parameter with a name, but got {quote(entry)}; add it")
            continue
        space = entry.get("feasibleSpace")
        if not isinstance(space, Mapping):
            findings.add((*path, "feasibleSpace"), f"must be a mapping, but got {quote(space)}; add it")
            continue
        try:
            parameters[entry["name"]] = _parameter(entry["name"], str(entry.get("parameterType")), space, notes)
        except (ValueError, OverflowError) as error:
            findings.add((*path, "feasibleSpace"), str(error))
    return parameters


def _parameter(name: str, kind: str, space: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    if kind in ("discrete", "categorical"):
        values = space.get("list")
        if not isinstance(values, list) or not values:
            raise ValueError(f"{kind} needs a list, but got {quote(values)}; add list: [...]")
        if kind == "categorical":
            return {"values": [str(value) for value in values]}
        numbers = [_number(value) for value in values]
        return {"values": numbers, "ordered": True} if numbers == sorted(numbers) else {"values": numbers}
    if kind not in ("int", "double"):
        raise ValueError(f"parameterType must be double, int, discrete or categorical, but got {quote(kind)}")
    missing = [key for key in ("min", "max") if key not in space]
    if missing:
        raise ValueError(f'{kind} needs "{missing[0]}", but it is missing; add it')
    low, high = _number(space["min"]), _number(space["max"])
    step = _number(space["step"]) if "step" in space else None
    distribution = str(space.get("distribution", "uniform"))
    if "ormal" in distribution:
        notes.append(f"{name}: {distribution} becomes a prior in the middle of its range")
    return _range(kind, low, high, step, distribution)


def _range(kind: str, low: float, high: float, step: float | None, distribution: str) -> dict[str, Any]:
    logs = {"uniform": False, "logUniform": True, "normal": False, "logNormal": True}
    if distribution not in logs:
        raise ValueError(unknown("distribution", distribution, logs))
    if kind == "int":
        if not (float(low).is_integer() and float(high).is_integer()):
            raise ValueError(f"int needs whole bounds, but got min={low}, max={high}; write parameterType: double")
        low, high = int(low), int(high)
    if not low <= high or (logs[distribution] and low <= 0):
        raise ValueError(f"0 < min <= max (min <= max unless logarithmic) must hold, but got min={low}, max={high}")
    if low == high:
        return {"value": low}
    entry: dict[str, Any] = {"min": low, "max": high}
    if logs[distribution]:
        entry["log"] = True
    if step is not None and not (kind == "int" and step == 1):
        entry["step"] = step
    if kind == "double" and isinstance(low, int) and isinstance(high, int) and (step is None or isinstance(step, int)):
        entry["type"] = "float"
    if distribution in ("normal", "logNormal"):
        middle = (low * high) ** 0.5 if logs[distribution] else (low + high) / 2
        entry = dist.with_prior(entry, middle)
    return entry


def _number(value: Any) -> float:
    """Return the number that Katib writes as text; whole numbers stay int."""
    try:
        number = read_value(value) if isinstance(value, str) else value
    except SweepError:
        number = None
    if isinstance(number, bool) or not isinstance(number, (int, float)) or abs(number) > 1e300 or number != number:
        raise ValueError(f"must be a finite number, but got {quote(value)}; correct it")
    return number


# ---- the command


def _command(spec: Mapping[str, Any], notes: list[str]) -> list[str]:
    template = spec.get("trialTemplate")
    template = template if isinstance(template, Mapping) else {}
    listed = template.get("trialParameters")
    references = {
        str(entry.get("name")): str(entry.get("reference")) for entry in _entries(listed) if isinstance(entry, Mapping)
    }
    container = _container(template.get("trialSpec"), template.get("primaryContainerName"))
    if container is None:
        notes.append('trialTemplate has no command; write it: command: [python, train.py, "${args}"]')
        return ["python", "train.py", "${args}"]
    words = [str(word) for key in ("command", "args") for word in _entries(container.get(key))]
    if "image" in container:
        notes.append(f"the container image {quote(container['image'])} is not used: the command runs on this machine")
    return [_TRIAL_PARAMETER.sub(lambda match: f"${{{references.get(match[1], match[1])}}}", word) for word in words]


def _container(node: Any, name: Any) -> Mapping[str, Any] | None:
    """Return the first container with a command inside the trial's specification, the primary one if it is named."""
    found: list[Mapping[str, Any]] = []
    queue = [node]
    while queue:
        here = queue.pop(0)
        if isinstance(here, Mapping):
            if isinstance(here.get("command"), list) or isinstance(here.get("args"), list):
                found.append(here)
            queue.extend(here.values())
        elif isinstance(here, list):
            queue.extend(here)
    return next((container for container in found if container.get("name") == name), found[0] if found else None)
