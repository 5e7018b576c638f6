"""Sweep: what a sweep file says, checked, and its loading with `-P` and `-S` overrides.

    text ─ yaml_source ─► plain data ─ -S ─ importers.wandb ─ -P ─► sections (pydantic) ─ checks ─► Sweep

Everything wrong is told at once, each with its path and line, by `SweepError`; loading runs nothing and imports no
user code.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, Field, PrivateAttr, ValidationError

from tuner.errors import Problem, SweepError
from tuner.sweeps import checks, declarations
from tuner.sweeps.findings import Findings, nearest, quote, render, sentence, split
from tuner.sweeps.findings import Path as KeyPath
from tuner.sweeps.sections import (
    Budget,
    Command,
    Configs,
    Cost,
    EarlyStop,
    Fidelity,
    MetricSection,
    ObjectiveSection,
    Parallel,
    Repeats,
    RunnerSection,
    SearchSection,
    Section,
    Sinks,
    Studies,
    Text,
    Texts,
)
from tuner.sweeps.yaml_source import Document, dump_yaml, read_text, read_value

__all__ = [
    "Budget",
    "Cost",
    "EarlyStop",
    "Fidelity",
    "MetricSection",
    "ObjectiveSection",
    "Repeats",
    "RunnerSection",
    "SearchSection",
    "Sweep",
    "check_feasible",
    "dump_yaml",
    "json_schema",
    "load_sweep",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
_INTERNAL = ("notes", "source")
_FOREIGN = {"metrics": "metric", "command": "program", "early_stop": "early_terminate", "budget": "run_cap"}
"""Where a W&B file says what a native key says."""


@dataclass(frozen=True)
class _Places:
    """Where each path came from: a line of the file, or an override."""

    document: Document | None = None
    overrides: Mapping[KeyPath, str] = field(default_factory=dict)

    def problem(self, path: KeyPath, message: str) -> Problem:
        for where, text in self.overrides.items():
            inside, around = path[: len(where)] == where, where[: len(path)] == path and not self._in_file(path)
            if inside or around:
                return Problem(render(path), f"{message} (set by {text})")
        if self.document is None:
            return Problem(render(path), message)
        return Problem(render(path), message, self.document.line(self._foreign(path)))

    def _foreign(self, path: KeyPath) -> KeyPath:
        """Return where a W&B file says what a native file would say at `path`."""
        assert self.document is not None
        if path and path[0] in _FOREIGN and path[:1] not in self.document.lines:
            return (_FOREIGN[str(path[0])],)
        if path[:1] == ("parameters",) and len(path) > 1 and path[:2] not in self.document.lines:
            nested = [step for part in str(path[1]).split(".") for step in ("parameters", part)]
            return (*nested, *path[2:])
        return path

    def _in_file(self, path: KeyPath) -> bool:
        return not path or (self.document is not None and path in self.document.lines)


def _named(value: object) -> object:
    if isinstance(value, str) and not _NAME.match(value):
        raise ValueError(
            f"must be a folder name (letters, digits, . _ -, at most 100), but got {quote(value)}; "
            f'write "{slug(value)}"'
        )
    return value


def slug(text: str) -> str:
    """Return `text` as a study's name: what a folder cannot be called becomes "-"."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text[:100]).strip("-._") or "sweep"


class Sweep(Section):
    """A checked sweep (design section 4). Equal when `to_dict()` is.

    Attributes:
        objective: What is evaluated; None when `command` is.
        command: The program and its words, macros unexpanded; None when `objective` is evaluated.
        parameters: Name to the entry of the sweep file: a mapping, or a scalar for a constant.
        notes: One line for each thing that a foreign dialect says differently, or that deserves a warning.
        base_dir: Folder that commands, relative paths and imports start from.
        source: The file, for messages.
    """

    name: Annotated[str, BeforeValidator(_named)] = Field(default="sweep", description="Also the study folder's name.")
    objective: ObjectiveSection | None = Field(default=None, examples=["sparsity"])
    command: Command | None = Field(default=None, examples=['[python, train.py, "${args}"]'])
    metrics: dict[str, MetricSection] = Field(default_factory=dict, examples=["{loss: minimize}"])
    constraints: Texts = Field(default=(), examples=['["accuracy >= baseline - 0.01"]'])
    parameters: dict[str, Any] = Field(default_factory=dict, examples=["{lr: {min: 1e-5, max: 1e-2, log: true}}"])
    restrictions: Texts = Field(default=(), examples=['["rank <= hidden"]'])
    baseline: dict[str, Any] | None = Field(default=None, examples=["{lr: 2e-4}"], description="Trial 0.")
    initial: Configs = Field(default=(), examples=["[{lr: 1e-4}]"], description="Tried next.")
    warm_start: Studies = Field(default=(), examples=["[digits]"], description="Earlier studies to learn from.")
    search: SearchSection = Field(default_factory=SearchSection, examples=["gp"])
    budget: Budget = Field(default_factory=Budget, examples=["{trials: 60}"])
    fidelity: Fidelity | None = Field(default=None, examples=["{parameter: epochs, min: 1, max: 27}"])
    early_stop: EarlyStop | None = Field(default=None, examples=["asha"])
    repeats: Repeats = Field(default_factory=Repeats, examples=["{n: 3}"])
    runner: RunnerSection = Field(default_factory=RunnerSection, examples=["{cpus: 4, timeout: 30m}"])
    parallel: Parallel = Field(default=1, description="Trials at a time; auto: the number of device slots.")
    seed: int = Field(default=0, ge=0, le=2**63 - 1, examples=[0])
    storage: Text | None = Field(default=None, description="A database URL; null: SQLite in the study folder.")
    log_to: Sinks = Field(default=(), examples=["[tensorboard]"], description="Other tools' loggers, in local files.")
    base_dir: Path = Field(default_factory=Path.cwd, strict=False, description="Default: the sweep file's folder.")
    notes: tuple[str, ...] = ()
    source: str = "sweep"
    _places: _Places = PrivateAttr(default_factory=_Places)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sweep) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(self.digest())

    def to_dict(self) -> dict[str, Any]:
        """Return the sweep in its native form, defaults left out: `load_sweep` of it equals this sweep."""
        data = self.model_dump(mode="python", exclude=set(_INTERNAL), exclude_defaults=True)
        data = {key: value for key, value in data.items() if value not in ((), {}, None) or key == "baseline"}
        sections = ("objective", "search", "early_stop")
        data |= {key: getattr(self, key).model_dump() for key in sections if key in data}
        return dict(_listed({"name": self.name, **data, "base_dir": str(self.base_dir)}))

    def digest(self) -> str:
        """Return what identifies the study: a hash over its space, metrics, constraints and what is evaluated."""
        metrics = {
            name: metric.model_dump(exclude={"unit", "reference"}, exclude_defaults=True)
            for name, metric in self.metrics.items()
        }
        objective = None if self.objective is None else [self.objective.name, self.objective.options]
        parameters = {name: declarations.canonical(name, spec) for name, spec in self.parameters.items()}
        defining = [parameters, self.restrictions, metrics, self.constraints, objective, self.command]
        text = json.dumps(defining, sort_keys=True, default=repr, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def problem(self, path: str, message: str) -> Problem:
        """Return a `Problem` at `path` (such as `$.baseline.lr`) with its line in this sweep's file."""
        return self._places.problem(split(path), message)

    def check_names(
        self,
        *,
        parameters: Iterable[str],
        metrics: Iterable[str] = (),
        known: Iterable[str] = (),
        baseline: bool = False,
        fidelities: Mapping[str, float] | None = None,
    ) -> None:
        """Check every name in the sweep once its objective is loaded and its own names are known.

        Args:
            parameters: All parameters of the objective's space.
            metrics: The objective's own metrics.
            known: Metrics that follow from the configuration alone.
            baseline: Whether the objective has a baseline of its own.
            fidelities: What a trial can be given less of though it is no parameter, and all of it.

        Raises:
            SweepError: A condition, restriction, constraint, formula, configuration or section names something else.
        """
        findings = Findings()
        scope = checks.Scope.of(self, parameters, metrics, known, closed=True, baseline=baseline)
        checks.check_names(self, scope, findings, fidelities or {})
        _raise(findings, self._places, self.source)


def load_sweep(
    source: Path | str | Mapping[str, Any] | Sweep,
    *,
    params: Sequence[str] = (),
    sets: Sequence[str] = (),
    warm_start: Sequence[str] = (),
) -> Sweep:
    """Return the checked sweep.

    Args:
        source: A file (native YAML or JSON, or a W&B sweep), its text when it has several lines, a dict or a Sweep.
        params: `name=value` fixes a parameter (`-P`); the value is YAML.
        sets: `a.b.c=value` sets any key (`-S`); the value is YAML.
        warm_start: Earlier studies, after those that the sweep names (`--warm-start`).

    Raises:
        SweepError: All that is wrong with it.
    """
    if isinstance(source, Sweep) and not params and not sets and not warm_start:
        return source
    data, read = _read(source)
    findings = Findings()
    overrides: dict[KeyPath, str] = {}
    for text in sets:
        _set(data, text, overrides, findings)
    places = _Places(read.document, overrides)
    _raise(findings, places, read.name)
    data.pop("$schema", None)
    data, notes = _native(data, places, read.name)
    for text in params:
        _fix(data, text, overrides, findings, notes)
    if warm_start:
        data["warm_start"] = _also(data.get("warm_start"), warm_start)
    data.setdefault("name", read.study)
    _base_dir(data, read.folder)
    sweep, broken = _validated(data, read, notes, findings)
    checks.check(sweep, data, broken, findings)
    _raise(findings, places, read.name)
    sweep = sweep.model_copy(update={"notes": (*notes, *checks.notes(sweep))})
    sweep._places = places
    return sweep


@dataclass(frozen=True, slots=True)
class _Source:
    name: str
    study: str
    folder: Path
    document: Document | None = None
    function: object = None


def _read(source: Path | str | Mapping[str, Any] | Sweep) -> tuple[dict[str, Any], _Source]:
    if isinstance(source, Sweep):
        data = source.to_dict()
        if source.objective is not None and source.objective.function is not None:
            data["objective"] = {"name": source.objective.function, **source.objective.options}
        return data, _Source(source.source, source.name, source.base_dir)
    if isinstance(source, Mapping):
        return checks.plain(source, "sweep"), _Source("sweep", "sweep", Path.cwd())
    text, read = _file(source)
    document = read_text(text, read.name)
    if not isinstance(document.data, dict):
        message = (
            f"a sweep must be a mapping of keys to values, but got {quote(document.data)}; write `key: value` lines"
        )
        raise SweepError([Problem("$", message, document.line(()))], read.name)
    places = _Places(document)
    try:
        data = checks.plain(document.data, read.name)
    except SweepError as error:
        raise SweepError([places.problem(split(p.path), p.message) for p in error.problems], read.name) from None
    return data, _Source(read.name, read.study, read.folder, document)


def _file(source: Path | str) -> tuple[str, _Source]:
    if isinstance(source, str) and "\n" in source:
        return source, _Source("sweep", "sweep", Path.cwd())
    path = Path(source)
    read = _Source(str(path), slug(path.stem), path.parent)
    try:
        if path.stat().st_size > 1 << 24:
            raise SweepError([Problem("$", "must be at most 1 MiB, but is far larger; is it a sweep file?")], read.name)
        return path.read_text(encoding="utf-8-sig"), _Source(read.name, read.study, path.resolve().parent)
    except UnicodeDecodeError as error:
        message = f"must be UTF-8 text, but byte {error.start} is not; save it as UTF-8"
        raise SweepError([Problem("$", message)], read.name) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SweepError([Problem("$", f"cannot be read ({reason}); check the path")], read.name) from None


def _native(data: dict[str, Any], places: _Places, source: str) -> tuple[dict[str, Any], list[str]]:
    from tuner.importers import wandb

    if not wandb.is_wandb(data):
        return data, []
    try:
        native, notes = wandb.translate(data)
    except SweepError as error:
        raise SweepError([places.problem(split(p.path), p.message) for p in error.problems], source) from None
    return native, list(notes)


def _base_dir(data: dict[str, Any], folder: Path) -> None:
    given = data.get("base_dir", ".")
    if isinstance(given, str) and given and "\0" not in given:
        data["base_dir"] = (folder / Path(given).expanduser() if given.startswith("~/") else folder / given).resolve()


_SHORTHAND = {"search": "method", "early_stop": "rule", "objective": "name"}


def _set(data: dict[str, Any], text: str, overrides: dict[KeyPath, str], findings: Findings) -> None:
    """Apply one `-S a.b.c=value`."""
    key, equals, value = text.partition("=")
    keys = [part.strip() for part in key.split(".")]
    option = f"-S {text}"
    if not equals or not all(keys):
        findings.add((), f"-S must be key=value, but got {quote(text)}; write for example -S budget.trials=5")
        return
    try:
        parsed = checks.plain({"value": read_value(value)}, option)["value"]
    except SweepError as error:
        findings.add(keys, f"{option}: {error.problems[0].message}")
        return
    place: Any = data
    path: list[str | int] = []
    while keys:
        step, keys = _step(place, keys)
        if step is None:
            findings.add((*path, *keys), f"{option}: {render(path)} is {quote(place)}, so it has no {quote(keys[0])}")
            return
        path.append(step)
        if not keys:
            place[step] = parsed
        elif isinstance(place, dict) and not isinstance(place.get(str(step)), (dict, list)):
            place[step] = _opened(tuple(path), place.get(str(step)))
        place = place[step]
    overrides[tuple(path)] = option


def _step(place: Any, keys: list[str]) -> tuple[str | int | None, list[str]]:
    """Return the key of `place` that `keys` go through next, and the rest; a key may itself hold dots."""
    if isinstance(place, dict):
        longest = next((n for n in range(len(keys), 0, -1) if ".".join(keys[:n]) in place), 1)
        return ".".join(keys[:longest]), keys[longest:]
    if isinstance(place, list) and keys[0].isdecimal() and len(keys[0]) < 7 and int(keys[0]) < len(place):
        return int(keys[0]), keys[1:]
    return None, keys


def _opened(path: KeyPath, value: Any) -> Any:
    """Return the mapping that a shorthand stands for, so that a key inside it can be set."""
    if value is None:
        return {}
    if len(path) == 1 and path[0] in _SHORTHAND:
        return {_SHORTHAND[path[0]]: value}
    return {"goal": value} if len(path) == 2 and path[0] == "metrics" else value


def _also(named: Any, more: Sequence[str]) -> Any:
    """The studies that a sweep names and those of `--warm-start`, each once; what is no list is left to the checks."""
    listed = [named] if isinstance(named, str) else [] if named is None else named
    return (
        [*listed, *(study for study in dict.fromkeys(more) if study not in listed)]
        if listed.__class__ is list
        else named
    )


def _fix(data: dict[str, Any], text: str, overrides: dict[KeyPath, str], findings: Findings, notes: list[str]) -> None:
    """Apply one `-P name=value`: the parameter becomes a constant, its condition stays."""
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or not name:
        findings.add((), f"-P must be name=value, but got {quote(text)}; write for example -P lr=1e-4")
        return
    path, option = ("parameters", name), f"-P {text}"
    try:
        parsed = checks.plain({"value": read_value(value)}, option)["value"]
    except SweepError as error:
        findings.add(path, f"-P {text}: {error.problems[0].message}")
        return
    parameters = data.setdefault("parameters", {})
    if not isinstance(parameters, dict):
        return
    if name not in parameters and checks.closed(data):
        findings.add(path, f'-P {text}: unknown parameter "{name}"; {nearest(name, parameters) or "declare it"}')
        return
    overrides[path] = f"-P {text}"
    before = parameters.get(name)
    if isinstance(before, dict) and not declarations.admits(name, before, parsed):
        notes.append(f"-P {text}: the value lies outside what the sweep declares for {name}")
    when = before.get("when") if isinstance(before, dict) else None
    bare = when is None and parsed is not None and not isinstance(parsed, (dict, list))
    parameters[name] = parsed if bare else {"value": parsed, **({} if when is None else {"when": when})}
    initial = data.get("initial")
    for config in (data.get("baseline"), *(initial if isinstance(initial, list) else ())):
        if isinstance(config, dict) and name in config:
            config[name] = parsed


def _validated(
    data: dict[str, Any], read: _Source, notes: list[str], findings: Findings
) -> tuple[Sweep, frozenset[str]]:
    """Return the sweep, with defaults where it is wrong, and the top-level keys that are wrong."""
    for key in [key for key in data if key in _INTERNAL or key not in Sweep.model_fields]:
        known = [name for name in Sweep.model_fields if name not in _INTERNAL]
        findings.add((key,), sentence({"type": "extra_forbidden", "loc": (key,)}, known, None))
    names = Sweep.model_fields.keys() - {*_INTERNAL}
    given = {key: value for key, value in data.items() if key in names and value is not None}
    broken: set[str] = set()
    while True:
        kept = {key: value for key, value in given.items() if key not in broken}
        try:
            return Sweep.model_validate({**kept, "notes": tuple(notes), "source": read.name}), frozenset(broken)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                location = tuple(part for part in detail["loc"] if part != "[key]")
                known, example = _schema_at(location)
                findings.add(location, sentence({**detail}, known, example))
                broken.add(str(location[0]))


def _schema_at(location: KeyPath) -> tuple[list[str], object | None]:
    """Return the keys that the innermost section at `location` knows, and an example for its value."""
    model: type[BaseModel] = Sweep
    example: object | None = None
    for part in location:
        info = model.model_fields.get(str(part))
        if info is None:
            continue
        example = info.examples[0] if info.examples else None
        inner = _model_in(info.annotation)
        model = inner or model
    return [name for name in model.model_fields if name not in (*_INTERNAL, "function")], example


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _raise(findings: Findings, places: _Places, source: str) -> None:
    if findings:
        problems = [places.problem(path, message) for path, message in findings.found]
        problems.sort(key=lambda problem: problem.line or 0)
        raise SweepError(list(dict.fromkeys(problems)), source)


def _listed(value: Any) -> Any:
    """Return `value` with lists for tuples, as YAML and JSON hold it."""
    if isinstance(value, Mapping):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, (list, tuple)) else value


def check_feasible(sweep: Sweep) -> None:
    """Check by sampling that some configuration meets the restrictions, where the sweep declares its whole space.

    Raises:
        SweepError: No configuration was found; the restriction that alone admits none is named when there is one.
    """
    declarations.check_feasible(sweep, sweep.problem)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a native sweep file, for editors."""
    from tuner.sweeps.schema import schema

    return schema(Sweep, exclude=_INTERNAL)
