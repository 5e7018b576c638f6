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

import fnmatch
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.errors import SweepError
from tuner.importers import distributions as dist
from tuner.sweep_errors import Findings, quote
from tuner.sweep_errors import Path as KeyPath
from tuner.yaml_source import read_value

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


# ---- the override grammar


@dataclass(frozen=True, slots=True)
class _Call:
    name: str
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]


_TOKEN = re.compile(
    r"""\s*(?:
    (?P<call>[A-Za-z_]\w*)\s*\(
    | (?P<option>[A-Za-z_]\w*)\s*=(?!=)
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<mark>[(),\[\]])
    | (?P<word>[^\s(),\[\]"'=]+(?:\ +[^\s(),\[\]"'=]+)*)
    )""",
    re.VERBOSE,
)
_MAX_TEXT = 10_000
_MAX_NESTING = 20
_MAX_VALUES = 10_000


def parse_override(text: str, *, closed: bool = True, group: Path | None = None) -> dict[str, Any]:
    """Return the native entry of one swept override, such as `tag(log, interval(1e-5, 1e-1))`.

    Args:
        text: What stands behind `name=`.
        closed: Whether the end of a `range` is one of its values, as in the Optuna sweeper.
        group: Folder of the config group that `glob` looks through.

    Raises:
        ValueError: It is not in the grammar, or has no native form.
    """
    if len(text) > _MAX_TEXT:
        raise ValueError(f"an override must have at most {_MAX_TEXT:,} characters, but has {len(text):,}; shorten it")
    parts = _Parser(text).parse()
    if len(parts) == 1:
        return _Native(closed, group).entry(parts[0], frozenset())
    if any(isinstance(part, _Call) for part in parts):
        raise ValueError(f"a list of values must hold plain values, but got {quote(text)}; correct it")
    return {"values": list(parts)}


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str]] = []
        position = 0
        while position < len(text.rstrip()):
            match = _TOKEN.match(text, position)
            if match is None:
                raise ValueError(f"cannot read {quote(text)} at column {position + 1}; quote it or correct it")
            kind = str(match.lastgroup)
            self.tokens.append((kind, match.group(kind)))
            position = match.end()
        self.place = 0

    def parse(self) -> list[Any]:
        parts = [self.value(0)]
        while self.take(","):
            parts.append(self.value(0))
        if self.place < len(self.tokens):
            raise self.wrong()
        return parts

    def take(self, mark: str) -> bool:
        if self.place < len(self.tokens) and self.tokens[self.place] == ("mark", mark):
            self.place += 1
            return True
        return False

    def wrong(self) -> ValueError:
        after = self.tokens[self.place][1] if self.place < len(self.tokens) else "the end"
        return ValueError(f"cannot read {quote(self.text)} at {quote(after)}; quote it or correct it")

    def value(self, depth: int) -> Any:
        if self.place >= len(self.tokens) or depth > _MAX_NESTING:
            raise self.wrong()
        kind, token = self.tokens[self.place]
        self.place += 1
        if kind == "text":
            return token[1:-1].replace(f"\\{token[0]}", token[0])
        if kind == "word":
            return _word(token)
        if kind == "call":
            return self.call(token, depth)
        if token == "[":
            return self.items(depth)
        self.place -= 1
        raise self.wrong()

    def items(self, depth: int) -> list[Any]:
        found: list[Any] = []
        while not self.take("]"):
            found.append(self.value(depth + 1))
            if not self.take(",") and (self.place >= len(self.tokens) or self.tokens[self.place][1] != "]"):
                raise self.wrong()
        return found

    def call(self, name: str, depth: int) -> _Call:
        arguments: list[Any] = []
        options: dict[str, Any] = {}
        while not self.take(")"):
            if self.place < len(self.tokens) and self.tokens[self.place][0] == "option":
                key = self.tokens[self.place][1]
                self.place += 1
                options[key] = self.value(depth + 1)
            else:
                arguments.append(self.value(depth + 1))
            if not self.take(",") and (self.place >= len(self.tokens) or self.tokens[self.place] != ("mark", ")")):
                raise self.wrong()
        return _Call(name, tuple(arguments), options)


def _word(token: str) -> Any:
    try:
        return read_value(token)
    except SweepError as error:
        raise ValueError(f"{quote(token)} cannot be read: {error.problems[0].message}") from None


@dataclass(frozen=True, slots=True)
class _Native:
    """From what was parsed to native entries."""

    closed: bool
    group: Path | None

    def entry(self, value: Any, tags: frozenset[str]) -> dict[str, Any]:
        if not isinstance(value, _Call):
            return {"value": value}
        if value.name == "tag" and value.arguments:
            *names, inner = value.arguments
            return self.entry(inner, tags | {str(name) for name in names})
        if value.name in ("int", "float") and len(value.arguments) == 1:
            return _cast(self.entry(value.arguments[0], tags), value.name)
        if value.name in ("shuffle", "sort"):
            return self._reordered(value, tags)
        if value.name == "choice":
            return _choice(value.arguments, tags)
        if value.name == "range":
            return _range(value, tags, self.closed)
        if value.name == "interval":
            return _interval(value, tags)
        if value.name == "glob":
            return self._glob(value)
        raise ValueError(
            f"must be choice, range, interval, glob, tag, int, float, sort or shuffle, but got {quote(value.name)}(...); "
            "write the values out"
        )

    def _reordered(self, call: _Call, tags: frozenset[str]) -> dict[str, Any]:
        """The order of values means nothing here."""
        if len(call.arguments) == 1 and isinstance(call.arguments[0], _Call):
            return self.entry(call.arguments[0], tags)
        listed = len(call.arguments) == 1 and isinstance(call.arguments[0], list)
        return _choice(call.arguments[0] if listed else call.arguments, tags)

    def _glob(self, call: _Call) -> dict[str, Any]:
        files = sorted(file.stem for file in self.group.glob("*.yaml")) if self.group and self.group.is_dir() else []
        patterns, excluded = (_patterns(value) for value in (call.arguments, call.options.get("exclude", [])))
        names = [name for name in files if _matches(name, patterns) and not _matches(name, excluded)]
        if not names:
            raise ValueError(
                f"glob needs a config group with files, but {self.group or 'it'} has none; write choice(...)"
            )
        return _choice(names, frozenset())


def _patterns(value: Any) -> list[str]:
    items = value if isinstance(value, (list, tuple)) else [value]
    return [str(pattern) for item in items for pattern in (item if isinstance(item, list) else [item])]


def _matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _cast(entry: dict[str, Any], kind: str) -> dict[str, Any]:
    if "min" in entry:
        if kind == "int":
            return {**entry, "min": int(entry["min"]), "max": int(entry["max"]), "type": "int"}
        return {**entry, "type": "float"}
    values = entry["values"] if "values" in entry else [entry["value"]]
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{kind}(...) needs numbers, but got {quote(value)}; correct it")
    convert = int if kind == "int" else float
    cast = [convert(value) for value in values]
    return {"values": cast} if "values" in entry else {"value": cast[0]}


def _choice(values: Sequence[Any], tags: frozenset[str]) -> dict[str, Any]:
    if not values or any(isinstance(value, _Call) for value in values):
        raise ValueError("choice needs plain values, but got none or a call; write them out")
    if len(values) == 1:
        return {"value": values[0]}
    return {"values": list(values), **({"ordered": True} if "ordered" in tags else {})}


def _numbers(call: _Call, names: tuple[str, ...]) -> list[Any]:
    """Return the call's numbers by position or name; None where one is not given."""
    if len(call.arguments) > len(names):
        raise ValueError(f"{call.name} takes at most {len(names)} numbers, but got {len(call.arguments)}; correct it")
    found: list[Any] = [*call.arguments, *[None] * (len(names) - len(call.arguments))]
    for key, value in call.options.items():
        if key not in names:
            raise ValueError(f"{call.name} takes {', '.join(names)}, but got {quote(key)}; correct it")
        found[names.index(key)] = value
    for value in found:
        if value is not None and not (_is_number(value) and abs(value) <= 1e300):
            raise ValueError(f"{call.name} takes finite numbers, but got {quote(value)}; correct it")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _range(call: _Call, tags: frozenset[str], closed: bool) -> dict[str, Any]:
    """Translate `range(start, stop, step)`; `range(n)` starts at 0."""
    start, stop, step = _numbers(call, ("start", "stop", "step"))
    if stop is None:
        start, stop = 0, start
    step = 1 if step is None else step
    if start is None or stop is None or not step > 0 or not start < stop or (stop - start) / step > 1e15:
        raise ValueError(f"range needs start < stop and step > 0, but got {start}, {stop}, {step}; correct it")
    whole = all(isinstance(value, int) for value in (start, stop, step))
    steps = math.floor(dist.tidy((stop - start) / step))
    if not closed and dist.tidy(start + steps * step) >= stop:
        steps -= 1
    last = start + steps * step if whole else dist.tidy(start + steps * step)
    if steps < 1:
        return {"value": start}
    entry: dict[str, Any] = {"min": start, "max": last}
    if "log" in tags:
        entry["log"] = True
    return entry if whole and step == 1 else {**entry, "step": step}


def _interval(call: _Call, tags: frozenset[str]) -> dict[str, Any]:
    start, end = _numbers(call, ("start", "end"))
    if start is None or end is None:
        raise ValueError("interval needs start and end, but one is missing; add it")
    entry = dist.uniform(start, end, log="log" in tags)
    entry.pop("type", None)  # between whole bounds the sweepers draw whole numbers
    return entry
