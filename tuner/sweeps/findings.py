"""From a wrong place in a sweep file to the sentence that says so.

A place is a tuple of keys and indices inside the program and a JSONPath (`$.parameters.lr.min`) in messages. A sentence
is "rule, but got value; what to do".
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tuner.errors import Problem, SweepError

Path = tuple[str | int, ...]
"""Keys and list indices from the top of the sweep down."""

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\[(\d+)\]|\[(\"(?:[^\"\\]|\\.)*\")\]")
_SHORT_LIST = 24


def render(path: Iterable[str | int]) -> str:
    """Return `path` as a JSONPath: `$.parameters["optimizer.lr"].values[0]`."""
    text = "$"
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        elif _PLAIN_KEY.match(key):
            text += f".{key}"
        else:
            text += f"[{json.dumps(shorten(key), ensure_ascii=False)}]"
    return text


def split(text: str) -> Path:
    """Return the path that `render` wrote; what follows an unreadable part is dropped."""
    path: list[str | int] = []
    position = 1
    while (step := _STEP.match(text, position)) is not None:
        name, index, quoted = step.groups()
        path.append(name if name is not None else int(index) if index is not None else json.loads(quoted))
        position = step.end()
    return tuple(path)


def shorten(value: object, limit: int = 60) -> str:
    """Return `value` as one line of at most `limit` characters."""
    text = value if isinstance(value, str) else _literal(value, limit)
    text = " ".join(text[: 4 * limit].split()) if not text.isprintable() else text
    text = "".join(c if c.isprintable() else "?" for c in text[: 4 * limit])
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _literal(value: object, limit: int) -> str:
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) >= 10**40:
        return f"a whole number of {value.bit_length() * 1233 // 4096 + 1} digits"
    if isinstance(value, Mapping):
        inner = ", ".join(str(key)[:limit] for key in list(value)[:4])
        return f"a mapping with {inner}" + (", ..." if len(value) > 4 else "") if value else "an empty mapping"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}" if value else "an empty list"
    return repr(value)[: 4 * limit]


def quote(value: object) -> str:
    """Return `value` as a message shows it: text in quotation marks, everything else as it is written."""
    return f'"{shorten(value)}"' if isinstance(value, str) else shorten(value)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "did you mean ...?" and, when they are few, the known names; empty when neither helps."""
    names = sorted({str(k) for k in known})
    close = difflib.get_close_matches(name[:100], names, n=1, cutoff=0.6)
    parts = [f'did you mean "{close[0]}"?'] if close else []
    if names and len(names) <= (_SHORT_LIST // 2 if close else _SHORT_LIST):
        parts.append("known: " + ", ".join(shorten(n, 40) for n in names))
    return " ".join(parts)


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Return the sentence for a name that is none of `known`."""
    hint = nearest(name, known) or ("remove it" if what == "key" else "declare it")
    return f"unknown {what} {quote(name)}; {hint}"


class Findings:
    """Collects what is wrong, so that all of it is told at once.

    Attributes:
        found: (path, message) in the order found.
    """

    def __init__(self) -> None:
        self.found: list[tuple[Path, str]] = []

    def add(self, path: Sequence[str | int], message: str) -> None:
        """Note one thing."""
        self.found.append((tuple(path), message))

    def extend(self, path: Sequence[str | int], messages: Iterable[str]) -> None:
        """Note several things about one place."""
        for message in messages:
            self.add(path, message)

    def __bool__(self) -> bool:
        return bool(self.found)

    def under(self, path: Sequence[str | int]) -> bool:
        """Return whether something was found at or below `path`."""
        return any(found[: len(path)] == tuple(path) for found, _ in self.found)

    def raise_if_any(self, source: str = "sweep") -> None:
        """Raise `SweepError` with everything found, without lines."""
        if self.found:
            raise SweepError([Problem(render(path), message) for path, message in self.found], source)


_RULES = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping of keys to values",
    "mapping_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "finite_number": "must be a finite number",
    "path_type": "must be a folder",
    "string_too_short": "must not be empty",
}
_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
    "too_long": ("no longer than", "max_length"),
    "too_short": ("no shorter than", "min_length"),
    "string_too_long": ("no longer than", "max_length"),
}


def sentence(error: Mapping[str, Any], known: Sequence[str], example: object | None) -> str:
    """Return one of pydantic's errors in our words.

    Args:
        error: From `ValidationError.errors()`.
        known: The keys that the place accepts, for an unknown key.
        example: A value that would be right, when the schema names one.
    """
    kind, value, context = str(error["type"]), error.get("input"), error.get("ctx", {})
    key = error["loc"][-1] if error["loc"] else ""
    if kind == "extra_forbidden":
        return unknown("key", str(key), known)
    remedy = f"; write for example {_yaml(example)}" if example is not None else "; correct it"
    if kind == "missing":
        return f'"{key}" is required, but is missing' + (remedy if example is not None else "; add it")
    if kind == "value_error":
        return str(context.get("error", error["msg"]))
    if kind == "literal_error":
        expected = str(context.get("expected", "")).replace(" or ", ", ").replace("'", "")
        hint = difflib.get_close_matches(str(value), expected.split(", "), n=1)
        advice = f'; did you mean "{hint[0]}"?' if hint else remedy
        return f"must be one of {expected}, but got {quote(value)}{advice}"
    if kind in _BOUNDS:
        words, name = _BOUNDS[kind]
        return f"must be {words} {context.get(name)}, but got {quote(value)}{remedy}"
    rule = _RULES.get(kind, str(error["msg"]).rstrip("."))
    if kind in ("int_type", "float_type") and isinstance(value, str) and re.fullmatch(r"[-+0-9._eE]+", value.strip()):
        remedy = "; write it as a plain number, without quotes, underscores or commas"
    return f"{rule}, but got {quote(value)}{remedy}"


def _yaml(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
