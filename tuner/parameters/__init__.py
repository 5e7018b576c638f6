"""The kinds of parameters, and the door through which a sweep file declares them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from tuner.parameters.choices import Bool, Choice, Constant
from tuner.parameters.numeric import Float, Int
from tuner.parameters.parameter import Parameter, ParameterError, Value, real
from tuner.parameters.priors import Prior
from tuner.parameters.simplex import Simplex
from tuner.parameters.structured import Permutation, Subset
from tuner.parameters.vector import Vector

__all__ = [
    "Bool",
    "Choice",
    "Constant",
    "Float",
    "Int",
    "Parameter",
    "ParameterError",
    "Permutation",
    "Prior",
    "Simplex",
    "Subset",
    "Vector",
    "from_dict",
]

_ALWAYS = ("when", "prior")

KEYS: Mapping[str, tuple[str, ...]] = {
    "value": ("value", *_ALWAYS),
    "values": ("values", "ordered", *_ALWAYS),
    "subset": ("subset", "min_size", "max_size", *_ALWAYS),
    "simplex": ("simplex", "total", *_ALWAYS),
    "permutation": ("permutation", *_ALWAYS),
    "vector": ("vector", "min", "max", "log", "type", "integer", "monotone", *_ALWAYS),
    "bool": ("type", *_ALWAYS),
    "number": ("min", "max", "log", "step", "type", *_ALWAYS),
}
"""What each kind's declaration may hold; the first six kinds are recognised by the key of their name."""


def from_dict(name: str, spec: Value) -> Parameter:
    """The parameter that a sweep file declares under `name`; `Parameter.to_dict` is the inverse.

    A bare scalar is a constant. `{min: 1, max: 8}` with two whole numbers is an int, unless `type: float`.

    Raises:
        ParameterError: The declaration cannot be; `.key` is the key that is wrong.
    """
    if not isinstance(spec, Mapping):
        if isinstance(spec, (list, tuple)):
            message = f'"{name}" must be a scalar or a mapping, but got a list; write {{values: {list(spec)!r}}}'
            raise ParameterError(message, parameter=name)
        return Constant(name, spec)
    kind = _kind(name, spec)
    _check_keys(name, spec, kind)
    common: dict[str, Value] = {"when": _when(name, spec), "prior": _prior(name, spec)}
    match kind:
        case "value":
            return Constant(name, spec["value"], **common)
        case "values":
            return Choice(name, spec["values"], ordered=spec.get("ordered", False), **common)
        case "subset":
            sizes = {"min_size": spec.get("min_size", 0), "max_size": spec.get("max_size")}
            return Subset(name, spec["subset"], **sizes, **common)
        case "simplex":
            return Simplex(name, spec["simplex"], total=spec.get("total"), **common)
        case "permutation":
            return Permutation(name, spec["permutation"], **common)
        case "bool":
            return Bool(name, **common)
    return _numbers(name, spec, kind, common)


def _numbers(name: str, spec: Mapping[str, Value], kind: str, common: dict[str, Value]) -> Parameter:
    for key in ("min", "max"):
        if key not in spec:
            raise ParameterError(f'"{name}" needs both min and max, but {key} is missing', parameter=name, key=key)
    low, high, log, step = spec["min"], spec["max"], spec.get("log", False), spec.get("step")
    whole = all(isinstance(real(v), int) for v in (low, high) if v is not None) and (
        step is None or isinstance(step, int)
    )
    if "type" in spec:
        whole = str(spec["type"]).lower() in ("int", "integer")
    if kind == "vector":
        integer = spec.get("integer", whole)
        return Vector(
            name, spec["vector"], low, high, log=log, integer=integer, monotone=spec.get("monotone"), **common
        )
    if whole:
        return Int(name, low, high, log=log, step=1 if step is None else step, **common)
    return Float(name, low, high, log=log, step=step, **common)


def _kind(name: str, spec: Mapping[str, Value]) -> str:
    named = [kind for kind in ("value", "values", "subset", "simplex", "permutation", "vector") if kind in spec]
    if len(named) > 1:
        message = f'"{name}" must have one kind, but got both {named[0]} and {named[1]}; remove one'
        raise ParameterError(message, parameter=name, key=named[1])
    kind = named[0] if named else "number"
    if "type" in spec:
        given = str(spec["type"]).lower()
        known = {"int": "number", "integer": "number", "float": "number", "double": "number"}
        known |= {"bool": "bool", "boolean": "bool"}
        if given not in known:
            raise ParameterError(
                f'type of "{name}" is int, float or bool, but got {spec["type"]!r}', parameter=name, key="type"
            )
        kind = known[given] if kind == "number" else kind
    if kind == "number" and not ("min" in spec or "max" in spec):
        unknown = [key for key in spec if key not in _ALWAYS]
        near = difflib.get_close_matches(str(unknown[0]), [*KEYS, "min", "max"], 1) if unknown else []
        hint = f'; did you mean "{near[0]}"?' if near else ""
        message = (
            f'"{name}" needs min and max, values, value, subset, vector, simplex, permutation or type: bool, '
            f"but got {', '.join(map(str, spec)) or 'nothing'}{hint}"
        )
        raise ParameterError(message, parameter=name, key=str(unknown[0]) if unknown else None)
    return kind


def _check_keys(name: str, spec: Mapping[str, Value], kind: str) -> None:
    for key in spec:
        if key in KEYS[kind]:
            continue
        near = difflib.get_close_matches(str(key), KEYS[kind], 1)
        hint = f'did you mean "{near[0]}"?' if near else f"it takes {', '.join(KEYS[kind])}"
        message = f'"{name}" (a {kind} parameter) has an unknown key "{key}"; {hint}'
        raise ParameterError(message, parameter=name, key=str(key))


def _when(name: str, spec: Mapping[str, Value]) -> str | None:
    when = spec.get("when")
    if when is None or isinstance(when, str):
        return when
    if isinstance(when, bool):
        return str(when)
    raise ParameterError(f'when of "{name}" must be an expression, but got {when!r}', parameter=name, key="when")


def _prior(name: str, spec: Mapping[str, Value]) -> Prior | None:
    prior = spec.get("prior")
    if prior is None:
        return None
    if not isinstance(prior, Mapping):
        return Prior(prior)
    if "at" not in prior:
        # A simplex's value is itself a mapping: {prior: {web: 0.5, code: 0.5}}.
        if "simplex" in spec and "confidence" not in prior:
            return Prior(dict(prior))
        raise ParameterError(f'prior of "{name}" needs at, as in {{at: 3e-4}}', parameter=name, key="prior")
    unknown = [key for key in prior if key not in ("at", "confidence")]
    if unknown:
        message = f'prior of "{name}" takes at and confidence, but got "{unknown[0]}"'
        raise ParameterError(message, parameter=name, key="prior")
    confidence = prior.get("confidence", "medium")
    if confidence not in ("low", "medium", "high"):
        message = f'confidence of the prior of "{name}" is low, medium or high, but got {confidence!r}'
        raise ParameterError(message, parameter=name, key="prior")
    return Prior(prior["at"], confidence)
