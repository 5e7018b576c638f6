"""NNI search spaces and experiment configurations.

| NNI | here |
|---|---|
| `choice` | `values`; nested choices with `_name` become a choice and parameters with `when` |
| `randint` [a, b), `uniform`, `loguniform` | ranges |
| `quniform`, `qloguniform` | ranges with `step` |
| `normal`, `lognormal`, `qnormal`, `qlognormal` | ranges with a `prior` |
| `trial_command`, `trial_concurrency`, `max_trial_number`, `max_experiment_duration`, `trial_gpu_number` | `command`, |
|  | `parallel`, `budget`, `runner` |
| `tuner`, `assessor` | `search`, `early_stop` |
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.errors import SweepError
from tuner.importers import distributions as dist
from tuner.sweeps.findings import Findings, quote, unknown
from tuner.sweeps.findings import Path as KeyPath

_METHODS = {
    "tpe": "tpe",
    "random": "random",
    "gridsearch": "grid",
    "grid": "grid",
    "evolution": "nsga2",
    "anneal": "auto",
    "smac": "auto",
    "gp": "gp",
    "metis": "gp",
    "bohb": "tpe",
    "hyperband": "random",
    "batch": "grid",
    "pbt": "auto",
    "dngo": "auto",
}
_EXACT = ("tpe", "random", "gridsearch", "grid")
_STOPPING = ("bohb", "hyperband")
_ASSESSORS = {"medianstop": "median", "curvefitting": "extrapolate"}


def is_nni(data: Mapping[str, Any]) -> bool:
    """Return whether the data is an NNI search space, or an experiment configuration."""
    if {"search_space", "searchSpace", "search_space_file", "searchSpaceFile", "searchSpacePath"} & set(data):
        return True
    return any(isinstance(entry, Mapping) and "_type" in entry for entry in data.values())


def translate(data: Mapping[str, Any], *, folder: Path | None = None) -> tuple[dict[str, Any], list[str]]:
    """Return the native sweep and one line for each thing that differs.

    Args:
        data: A search space, or an experiment configuration that holds one.
        folder: Where a `search_space_file` lies; it is not read without.

    Raises:
        SweepError: All that has no native form, by NNI's own paths.
    """
    findings, notes = Findings(), list[str]()
    config = {_snake(key): value for key, value in data.items()}
    written = {_snake(key): key for key in data}
    native: dict[str, Any] = {"parameters": {}}
    path: KeyPath = ()
    space: Any = data
    if "search_space" in config:
        space, path = config["search_space"], (written["search_space"],)
    elif any(key in config for key in ("search_space_file", "search_space_path")):
        space, path = _space_file(config, folder, findings), ("search_space_file",)
    if space is not data:
        _experiment(config, native, notes, findings)
    else:
        native |= {"command": ["python", "trial.py", "${args}"], "metrics": {"default": {"goal": "maximize"}}}
        notes.append("a search space says neither the command nor the metric; correct `command` and `metrics`")
    if isinstance(space, Mapping):
        _Space(native["parameters"], notes, findings).read(space, path)
    elif space is not None:
        findings.add(path, f"must be a mapping of parameters, but got {quote(space)}; correct it")
    findings.raise_if_any()
    notes.append("trials report with tuner.report or TUNER_REPORT instead of nni.report_final_result")
    return native, notes


def _snake(key: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in key).lstrip("_")


def _space_file(config: Mapping[str, Any], folder: Path | None, findings: Findings) -> Any:
    from tuner.sweeps.yaml_source import read_text

    name = config.get("search_space_file", config.get("search_space_path"))
    path: KeyPath = ("search_space_file",)
    if folder is None or not isinstance(name, str):
        findings.add(path, f"must name a file beside this one, but got {quote(name)}; import the file with it")
        return None
    try:
        return read_text((folder / name).read_text(encoding="utf-8-sig"), name).data
    except (OSError, UnicodeDecodeError, ValueError, SweepError) as error:
        findings.add(path, f"{quote(name)} cannot be read ({error}); correct it")
        return None


def _experiment(config: Mapping[str, Any], native: dict[str, Any], notes: list[str], findings: Findings) -> None:
    trial = config.get("trial")
    trial = {_snake(key): value for key, value in trial.items()} if isinstance(trial, Mapping) else {}
    command = config.get("trial_command", trial.get("command"))
    name = config.get("experiment_name")
    if isinstance(name, str) and name:
        from tuner.sweep import slug

        native["name"] = slug(name)
    native["command"] = _command(command, findings)
    notes.append("parameters reach the script by ${args} and TUNER_PARAMS instead of nni.get_next_parameter")
    if config.get("trial_code_directory") not in (None, ".", "./"):
        native["runner"] = {"cwd": str(config["trial_code_directory"])}
    gpus = config.get("trial_gpu_number", trial.get("gpu_num"))
    if gpus:
        native.setdefault("runner", {})["gpus"] = gpus
    if config.get("max_trial_duration") is not None:
        native.setdefault("runner", {})["timeout"] = config["max_trial_duration"]
    native["parallel"] = config.get("trial_concurrency", 1)
    budget = {
        "trials": config.get("max_trial_number", config.get("max_trial_num")),
        "time": config.get("max_experiment_duration", config.get("max_exec_duration")),
    }
    native["budget"] = {key: value for key, value in budget.items() if value is not None}
    _algorithms(config, native, notes, findings)


def _command(command: Any, findings: Findings) -> list[str]:
    if not isinstance(command, str) or not command.strip():
        findings.add(("trial_command",), f"must be a command, but got {quote(command)}; add trial_command")
        return []
    try:
        words = shlex.split(command)
    except ValueError as error:
        findings.add(("trial_command",), f"must be words, but got {quote(command)} ({error}); correct it")
        return []
    if {"|", "||", "&&", ";", ">", "<"} & set(words):
        return ["sh", "-c", f'{command.replace("${", "$${")} "$@"', "sh", "${args}"]
    return [*words, "${args}"]


def _algorithms(config: Mapping[str, Any], native: dict[str, Any], notes: list[str], findings: Findings) -> None:
    goal = "maximize"
    tuner = config.get("tuner") or config.get("advisor")
    if isinstance(tuner, Mapping):
        options = {_snake(key): value for key, value in tuner.items()}
        name = str(options.get("name", options.get("builtin_tuner_name", "")))
        arguments = options.get("class_args") or {}
        goal = arguments.get("optimize_mode", goal) if isinstance(arguments, Mapping) else goal
        short = name.lower().replace("tuner", "").replace("_", "")
        method = _METHODS.get(short)
        if method is None:
            findings.add(("tuner", "name"), unknown("tuner", name, _METHODS))
        else:
            native["search"] = {"method": method}
            if short in _STOPPING:
                native["early_stop"] = {"rule": "asha"}
            if short not in _EXACT:
                with_rule = " with early_stop asha" if short in _STOPPING else ""
                notes.append(f"tuner {name} becomes search {method}{with_rule}")
        if isinstance(arguments, Mapping) and set(arguments) - {"optimize_mode"}:
            notes.append("the tuner's other class_args are left out; options of search stand beside method")
    native["metrics"] = {"default": {"goal": goal if goal in ("maximize", "minimize") else "maximize"}}
    notes.append("NNI's one unnamed metric is called default; rename it as your script reports it")
    assessor = config.get("assessor")
    if isinstance(assessor, Mapping):
        name = str(assessor.get("name", assessor.get("builtinAssessorName", "")))
        if name.lower() not in _ASSESSORS:
            findings.add(("assessor", "name"), unknown("assessor", name, _ASSESSORS))
        else:
            rule = _ASSESSORS[name.lower()]
            native["early_stop"] = {"rule": rule}
            notes.append(f"assessor {name} becomes early_stop {rule}, without its class_args")


# ---- the search space


@dataclass(frozen=True, slots=True)
class _Space:
    """Collects the parameters of a search space."""

    parameters: dict[str, Any]
    notes: list[str]
    findings: Findings

    def read(self, space: Mapping[str, Any], path: KeyPath, prefix: str = "", when: str | None = None) -> None:
        """Take in every parameter, called `prefix` + its name and active under `when`."""
        for key, entry in space.items():
            if key == "_name":
                continue
            name, place = prefix + key, (*path, key)
            plain = not isinstance(entry, Mapping) or "_type" not in entry
            kind, value = ("choice", [entry]) if plain else (entry["_type"], entry.get("_value"))
            if kind == "choice" and isinstance(value, list) and any(isinstance(v, Mapping) for v in value):
                self.nested(value, place, name, when)
                continue
            try:
                native = _entry(name, kind, value, self.notes)
            except (ValueError, OverflowError) as error:
                self.findings.add((*place, "_value"), str(error))
                continue
            self.parameters[name] = native if when is None else {**native, "when": when}

    def nested(self, branches: list[Any], path: KeyPath, name: str, when: str | None) -> None:
        """Turn `[{_name: a, x: ...}, {_name: b}]` into a choice of names, and parameters `name.a.x` with conditions."""
        labels = [str(b.get("_name", i)) if isinstance(b, Mapping) else b for i, b in enumerate(branches)]
        self.parameters[name] = {"values": labels, **({} if when is None else {"when": when})}
        for index, (label, branch) in enumerate(zip(labels, branches, strict=True)):
            if isinstance(branch, Mapping):
                condition = f"{_reference(name)} == {_literal(label)}"
                self.read(branch, (*path, "_value", index), f"{name}.{label}.", condition)
        self.notes.append(f"{name}: nested choices become parameters {name}.<choice>.<name>, active with their choice")


def _reference(name: str) -> str:
    return name if all(part.isidentifier() for part in name.split(".")) else f"`{name}`"


def _literal(label: str) -> str:
    escaped = label.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


_ARITY = {"randint": 2, "uniform": 2, "loguniform": 2, "normal": 2, "lognormal": 2}
_ARITY |= {"quniform": 3, "qloguniform": 3, "qnormal": 3, "qlognormal": 3}


def _entry(name: str, kind: Any, value: Any, notes: list[str]) -> dict[str, Any]:
    if kind == "choice":
        if not isinstance(value, list) or not value:
            raise ValueError(f"choice needs a list of values, but got {quote(value)}; correct it")
        return {"values": value} if len(value) > 1 else {"value": value[0]}
    if not isinstance(kind, str) or kind not in _ARITY:
        raise ValueError(unknown("_type", str(kind), ["choice", *_ARITY]))
    numbers = value if isinstance(value, list) else []
    right = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in numbers)
    if len(numbers) != _ARITY[kind] or not right:
        raise ValueError(f"{kind} needs {_ARITY[kind]} numbers, but got {quote(value)}; correct them")
    low, high, *rest = numbers
    step = rest[0] if rest else None
    if "normal" in kind:
        notes.append(f"{name}: {kind} becomes a range of three standard deviations with a prior")
        return (dist.log_normal if "log" in kind else dist.normal)(low, high, step=step)
    if kind == "randint":
        if high - low <= 1:
            return {"value": int(low)}
        return {"min": int(low), "max": int(high) - 1}
    return dist.uniform(low, high, log="log" in kind, step=step)
