"""The JSON Schema of a native sweep file: pydantic's, with the shorthands and parameter kinds that it cannot see."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic import BaseModel

from tuner.sweeps.yaml_source import read_value

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_NUMBER = {"type": "number"}
_LIST = {"type": "array", "minItems": 1}
_COUNT = {"type": "integer", "minimum": 0}
_FLAG = {"type": "boolean"}
_SCALAR = {"type": ["number", "string", "boolean", "null"]}
_SHARED = {
    "when": {"type": "string", "description": "Active only where this holds, such as optim == 'adamw'."},
    "prior": {
        "type": "object",
        "description": "Where a good value is believed to lie.",
        "properties": {"at": {}, "confidence": {"enum": ["low", "medium", "high"]}},
        "required": ["at"],
        "additionalProperties": False,
    },
}


def _kind(description: str, required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "properties": {**properties, **_SHARED},
        "required": required,
        "additionalProperties": False,
    }


_PARAMETER: dict[str, Any] = {
    "description": "A range, a list of values, a structured parameter, or a scalar for a constant.",
    "anyOf": [
        _SCALAR,
        _kind(
            "A number; whole when both bounds are.",
            ["min", "max"],
            min=_NUMBER,
            max=_NUMBER,
            log=_FLAG,
            step=_NUMBER,
            type={"enum": ["int", "float"]},
        ),
        _kind("One of the values.", ["values"], values=_LIST, ordered=_FLAG),
        _kind("True or false.", ["type"], type={"const": "bool"}),
        _kind("A constant.", ["value"], value={}),
        _kind(
            "Some of the items.", ["subset"], subset=_LIST, min_size={"type": "integer"}, max_size={"type": "integer"}
        ),
        _kind(
            "One number for each of so many places.",
            ["vector", "min", "max"],
            vector={"type": "integer", "minimum": 1},
            min=_NUMBER,
            max=_NUMBER,
            log=_FLAG,
            integer=_FLAG,
            monotone={"enum": ["increasing", "decreasing"]},
        ),
        _kind("Shares that add up.", ["simplex"], simplex=_LIST, total={"type": "integer", "minimum": 1}),
        _kind("An order of the items.", ["permutation"], permutation=_LIST),
    ],
}

_DURATION = {"type": ["number", "string"], "description": "Seconds, or text such as 20s, 30m, 4h, 1h30m."}


def schema(model: type[BaseModel], exclude: Collection[str]) -> dict[str, Any]:
    """Return the schema of `model` without the fields in `exclude`."""
    result = model.model_json_schema(mode="validation")
    sections = result["$defs"]
    for name, key in (("ObjectiveSection", "name"), ("SearchSection", "method"), ("EarlyStop", "rule")):
        section = sections[name]
        for inner in ("options", "function"):
            section["properties"].pop(inner, None)
        section["additionalProperties"] = {"description": "An option."}
        sections[name] = {"anyOf": [section["properties"][key], section], "description": section.pop("description", "")}
    metric = sections["MetricSection"]
    sections["MetricSection"] = {"anyOf": [{"enum": ["maximize", "minimize"]}, metric]}
    sections["Parameter"] = _PARAMETER
    _patch(sections["Budget"]["properties"], time=_DURATION, failures={"type": ["number", "string"]})
    _patch(sections["RunnerSection"]["properties"], timeout=_DURATION, grace=_DURATION)
    _patch(sections["RunnerSection"]["properties"], env={"additionalProperties": _SCALAR})
    properties = {name: entry for name, entry in result["properties"].items() if name not in exclude}
    words = {"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1}
    _patch(properties, parameters={"additionalProperties": {"$ref": "#/$defs/Parameter"}})
    _patch(properties, command={"anyOf": [words, {"type": "string"}]})
    texts = {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}
    _patch(
        properties, constraints=texts, restrictions=texts, parallel={"anyOf": [{"type": "integer"}, {"const": "auto"}]}
    )
    properties["$schema"] = {"type": "string"}
    _read_examples([properties, sections])
    return {
        "$schema": DIALECT,
        "title": "A tuner sweep",
        "description": "What is tuned, how it is measured and what it may cost.",
        "type": "object",
        "properties": properties,
        "not": {"required": ["objective", "command"]},
        "additionalProperties": False,
        "$defs": sections,
    }


def _read_examples(node: Any) -> None:
    """Replace examples that are written as in a sweep file by the values that they stand for."""
    for entry in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _read_examples(entry)
    if isinstance(node, dict) and isinstance(node.get("examples"), list):
        node["examples"] = [read_value(e) if isinstance(e, str) else e for e in node["examples"]]


def _patch(properties: dict[str, Any], **changes: dict[str, Any]) -> None:
    """Replace what these properties may hold; their titles, descriptions and examples stay."""
    for name, change in changes.items():
        kept = {key: properties[name][key] for key in ("title", "description", "examples") if key in properties[name]}
        properties[name] = {**kept, **change}
