"""Hydra's sweepers: `hydra.sweeper.params` in the override grammar, and the Optuna sweeper's old `search_space`.

| Hydra | here |
|---|---|
| `choice(a, b)`, `a,b`, `shuffle`, `sort`, `glob(*)` over the files of a config group | `values` |
| `range(1, 5)`, `range(0, 1, step=0.1)` | integer or stepped range |
| `interval(0, 1)`, `interval(1, 8)`, `float(interval(1, 8))` | range, integer between whole bounds |
| `tag(log, interval(1e-5, 1e-1))` | `log: true` |
| `direction`, `n_trials`, `n_jobs` | `metrics`, `budget.trials`, `parallel` |
| `study_name`, `sampler` | `name`, `search` |

The end of a `range` is left out by Hydra's own sweeper and taken in by the Optuna sweeper; so it is here.

A sweeper may stand under `hydra.sweeper`, under `sweeper`, or be the top of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.importers.hydra_grammar import parse_override
from tuner.sweeps.findings import Findings, quote
from tuner.sweeps.findings import Path as KeyPath

_SAMPLERS = {
    "TPESampler": "tpe",
    "RandomSampler": "random",
    "CmaEsSampler": "cmaes",
    "NSGAIISampler": "nsga2",
    "NSGAIIISampler": "nsga3",
    "MOTPESampler": "tpe",
    "GridSampler": "grid",
    "QMCSampler": "sobol",
    "GPSampler": "gp",
}


def is_hydra(data: Mapping[str, Any]) -> bool:
    """Return whether the data holds a Hydra sweeper."""
    return _sweeper(data) is not None


def _sweeper(data: Mapping[str, Any]) -> tuple[Mapping[str, Any], KeyPath] | None:
    hydra = data.get("hydra")
    if isinstance(hydra, Mapping) and isinstance(hydra.get("sweeper"), Mapping):
        return hydra["sweeper"], ("hydra", "sweeper")
    if isinstance(data.get("sweeper"), Mapping):
        return data["sweeper"], ("sweeper",)
    target = data.get("_target_")
    if isinstance(target, str) and "sweeper" in target.lower():
        return data, ()
    return None


def translate(
    data: Mapping[str, Any], *, program: str = "app.py", folder: Path | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Return the native sweep and one line for each thing that differs.

    Args:
        data: A Hydra configuration with a sweeper in it.
        program: The application's file; the configuration does not say.
        folder: Where the configuration lies, with its config groups beside it.

    Raises:
        SweepError: All that has no native form, by Hydra's own paths.
    """
    findings, notes = Findings(), list[str]()
    sweeper, path = _sweeper(data) or ({}, ())
    native: dict[str, Any] = {"command": ["${interpreter}", program, "${args_no_hyphens}"]}
    notes.append(f"the application is taken to be {program}, called with overrides (name=value); correct `command`")
    _direction(sweeper, path, native, notes, findings)
    parameters: dict[str, Any] = {}
    grammar = _Grammar(_is_optuna(sweeper), folder)
    _params(sweeper.get("params"), (*path, "params"), grammar, parameters, findings)
    _search_space(sweeper.get("search_space"), (*path, "search_space"), parameters, findings)
    if not parameters and not findings:
        findings.add((*path, "params"), "must hold at least one swept parameter, but holds none; add it")
    native["parameters"] = parameters
    _settings(sweeper, native, notes)
    findings.raise_if_any()
    return native, notes


def _direction(
    sweeper: Mapping[str, Any], path: KeyPath, native: dict[str, Any], notes: list[str], findings: Findings
) -> None:
    given = sweeper.get("direction", "minimize")
    directions = given if isinstance(given, list) else [given]
    for direction in directions:
        if direction not in ("minimize", "maximize"):
            findings.add((*path, "direction"), f"must be minimize or maximize, but got {quote(direction)}; choose one")
    names = ["value"] if len(directions) == 1 else [f"value_{index}" for index in range(len(directions))]
    native["metrics"] = {name: {"goal": direction} for name, direction in zip(names, directions, strict=True)}
    notes.append(f"Hydra's metrics have no names: {', '.join(names)}; rename them as the script reports them")


def _settings(sweeper: Mapping[str, Any], native: dict[str, Any], notes: list[str]) -> None:
    if sweeper.get("n_trials") is not None:
        native["budget"] = {"trials": sweeper["n_trials"]}
    if sweeper.get("n_jobs") is not None:
        native["parallel"] = sweeper["n_jobs"]
    if isinstance(sweeper.get("study_name"), str):
        from tuner.sweep import slug

        native["name"] = slug(sweeper["study_name"])
    if sweeper.get("max_failure_rate"):
        native.setdefault("budget", {})["failures"] = float(sweeper["max_failure_rate"])
    sampler = sweeper.get("sampler")
    if isinstance(sampler, Mapping):
        name = str(sampler.get("_target_", "")).rpartition(".")[2]
        method = _SAMPLERS.get(name, "auto")
        native["search"] = {"method": method}
        if name not in _SAMPLERS:
            notes.append(f"sampler {quote(name)} becomes search auto")
        if isinstance(sampler.get("seed"), int):
            native["seed"] = sampler["seed"]
        if set(sampler) - {"_target_", "seed"}:
            notes.append("the sampler's other options are left out; options of search stand beside method")
    elif _is_optuna(sweeper):
        native["search"] = {"method": "tpe"}
    for key, why in (("storage", "studies are kept in .tuner"), ("custom_search_space", "write conditions with when:")):
        if sweeper.get(key) is not None:
            notes.append(f"{key} is left out: {why}")


@dataclass(frozen=True, slots=True)
class _Grammar:
    """How this sweeper reads overrides: whether a range has its end, and where config groups lie."""

    closed: bool
    folder: Path | None


def _is_optuna(sweeper: Mapping[str, Any]) -> bool:
    target = str(sweeper.get("_target_", ""))
    if target:
        return "optuna" in target.lower()
    return any(key in sweeper for key in ("direction", "n_trials", "sampler", "study_name", "search_space"))


def _params(params: Any, path: KeyPath, grammar: _Grammar, parameters: dict[str, Any], findings: Findings) -> None:
    if params is None:
        return
    entries = params
    if isinstance(params, list):  # command-line form: ["lr=interval(0,1)"]
        entries = dict(str(item).partition("=")[::2] for item in params)
    if not isinstance(entries, Mapping):
        findings.add(path, f"must be a mapping of overrides, but got {quote(params)}; correct it")
        return
    for key, text in entries.items():
        name = key.lstrip("+~").strip()
        try:
            group = grammar.folder / name if grammar.folder and name.replace("/", "").isidentifier() else None
            read = parse_override(text, closed=grammar.closed, group=group) if isinstance(text, str) else _plain(text)
            parameters[name] = read
        except (ValueError, OverflowError) as error:
            findings.add((*path, key), str(error))


def _plain(value: Any) -> dict[str, Any]:
    return {"values": value} if isinstance(value, list) and len(value) > 1 else {"value": value}


def _search_space(space: Any, path: KeyPath, parameters: dict[str, Any], findings: Findings) -> None:
    """Translate the Optuna sweeper's old form: `{type: float, low: 0, high: 1, log: true}`."""
    for name, entry in (space if isinstance(space, Mapping) else {}).items():
        place = (*path, name)
        if not isinstance(entry, Mapping):
            findings.add(place, f"must be a mapping with a type, but got {quote(entry)}; correct it")
            continue
        try:
            parameters[name] = _old_entry(entry)
        except (ValueError, OverflowError) as error:
            findings.add(place, str(error))


def _old_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    kind = entry.get("type")
    if kind == "categorical":
        choices = entry.get("choices")
        if not isinstance(choices, list) or not choices:
            raise ValueError(f"categorical needs choices, but got {quote(choices)}; add them")
        return _plain(choices)
    if kind not in ("int", "float"):
        raise ValueError(f"type must be int, float or categorical, but got {quote(kind)}; correct it")
    low, high, step = entry.get("low"), entry.get("high"), entry.get("step")
    for key, value in (("low", low), ("high", high), ("step", step if step is not None else 1)):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{key} must be a number, but got {quote(value)}; correct it")
    native: dict[str, Any] = {"min": low, "max": high}
    if entry.get("log"):
        native["log"] = True
    if step is not None and not (kind == "int" and step == 1):
        native["step"] = step
    return {**native, "type": kind}
