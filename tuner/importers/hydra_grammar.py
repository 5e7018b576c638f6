"""Hydra's override grammar, as far as sweeps need it: text to calls and values, and those to native entries."""

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
from tuner.sweeps.findings import quote
from tuner.sweeps.yaml_source import read_value


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
    | (?P<word>[^\s(),\[\]{}"'=]+(?:\ +[^\s(),\[\]{}"'=]+)*)
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
    except SweepError:  # such as *, which means something in YAML only
        return token


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
            "must be choice, range, interval, glob, tag, int, float, sort or shuffle, "
            f"but got {quote(value.name)}(...); write the values out"
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
            raise ValueError(f"glob needs a config group, but {self.group or 'it'} has no files; write choice(...)")
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
