"""A search space as peers take it: plain axes of numbers, integers and choices, and configurations out of their values.

Parameters keep their own ranges and scales; an ordered choice is an integer axis over its places. A structured
parameter becomes one axis a column of its encoding (a switch an item, a key an item to sort by), as its user would do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tuner.parameters import Bool, Choice, Constant, Float, Int, Parameter
from tuner.space import SearchSpace
from tuner.trial import Config


@dataclass(frozen=True, slots=True)
class Axis:
    """One plain parameter.

    Attributes:
        name: Unique.
        parameter: The one it belongs to.
        kind: What its values are.
        low: Least value of a number.
        high: Largest one.
        log: Whether a number is on a logarithmic scale.
        values: A choice's values.
        column: Which column of a structured parameter; None of a plain one.
    """

    name: str
    parameter: str
    kind: Literal["real", "integer", "choice"]
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    values: tuple[Any, ...] = ()
    column: int | None = None


def axes(parameter: Parameter) -> tuple[Axis, ...]:
    """The axes of one parameter; none for a constant."""
    name = parameter.name
    match parameter:
        case Constant():
            return ()
        case Float():
            return (Axis(name, name, "real", parameter.low, parameter.high, parameter.log),)
        case Int():
            return (Axis(name, name, "integer", parameter.low, parameter.high, parameter.log),)
        case Choice(ordered=True):
            return (Axis(name, name, "integer", 0, len(parameter.values) - 1),)
        case Choice():
            return (Axis(name, name, "choice", values=parameter.values),)
        case Bool():
            return (Axis(name, name, "choice", values=(False, True)),)
    return tuple(
        Axis(f"{name}.{i}", name, "real", column=i)
        if column.levels is None
        else Axis(f"{name}.{i}", name, "integer", 0, column.levels - 1, column=i)
        for i, column in enumerate(parameter.columns())
    )


def all_axes(space: SearchSpace) -> tuple[Axis, ...]:
    """The axes of every parameter, inactive or not."""
    return tuple(axis for parameter in space.parameters for axis in axes(parameter))


def assemble(space: SearchSpace, pick: Callable[[Axis], Any]) -> Config:
    """The configuration whose active axes take the values that `pick` gives them, in dependency order."""
    config: Config = {}
    for parameter in space.parameters:
        condition = space.conditions.get(parameter.name)
        if condition is None or condition.holds(config):
            config[parameter.name] = _value(parameter, [pick(axis) for axis in axes(parameter)])
    return config


def _value(parameter: Parameter, picked: list[Any]) -> Any:
    match parameter:
        case Constant():
            return parameter.centre()
        case Choice(ordered=True):
            return parameter.values[int(picked[0])]
        case Int():
            return int(picked[0])
        case Float():
            return parameter.normalise(min(max(float(picked[0]), parameter.low), parameter.high))
        case Choice() | Bool():
            return picked[0]
    columns = parameter.columns()
    return parameter.decode([p if c.levels is None else (p + 0.5) / c.levels for p, c in zip(picked, columns)])


def spread(space: SearchSpace, config: Mapping[str, Any]) -> dict[str, Any]:
    """Axis name -> value of a configuration; the inverse of `assemble` on active axes."""
    values: dict[str, Any] = {}
    for parameter in space.parameters:
        if parameter.name not in config:
            continue
        own, value = axes(parameter), config[parameter.name]
        if own and own[0].column is not None:
            for axis, u in zip(own, parameter.encode(value)):
                values[axis.name] = u if axis.kind == "real" else int(u * (axis.high + 1))
        elif own:
            ordered = isinstance(parameter, Choice) and parameter.ordered
            values[own[0].name] = list(parameter.values).index(value) if ordered else value  # type: ignore[attr-defined]
    return values


def filled(space: SearchSpace, config: Mapping[str, Any]) -> dict[str, Any]:
    """Axis name -> value of a configuration for every axis; what is inactive stands at its first value or lower end."""
    values = spread(space, config)
    return {a.name: values.get(a.name, a.values[0] if a.values else a.low) for a in all_axes(space)}
