"""How many configurations a space has, and each of them in turn."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tuner.expressions import Expression
    from tuner.parameters import Parameter
    from tuner.space import SearchSpace

MAX_COMBINATIONS = 200_000
"""The most combinations of values of the parameters that conditions name for which a count is exact."""

N_ESTIMATE = 20_000

Plan = list[tuple[str, "Parameter", "Expression | None"]]


def size(space: SearchSpace) -> float:
    """The number of configurations, conditions respected and restrictions ignored."""
    total = 1
    for group in _groups(space):
        count = _count(group)
        if count == math.inf:
            return math.inf
        total *= int(count)
    try:
        return float(total)
    except OverflowError:
        return sys.float_info.max


def _groups(space: SearchSpace) -> list[Plan]:
    """The parameters, in groups that no condition connects."""
    root = {p.name: p.name for p in space.parameters}

    def find(name: str) -> str:
        while root[name] != name:
            name = root[name]
        return name

    for name, condition in space.conditions.items():
        for other in condition.names:
            root[find(other)] = find(name)
    groups: dict[str, Plan] = {}
    for parameter in space.parameters:
        entry = (parameter.name, parameter, space.conditions.get(parameter.name))
        groups.setdefault(find(parameter.name), []).append(entry)
    return list(groups.values())


def _count(group: Plan) -> float:
    """The number of joint values of one group."""
    named = {name for _, _, condition in group if condition is not None for name in condition.names}
    controllers = [entry for entry in group if entry[0] in named]
    if any(condition is None and parameter.size() == math.inf for _, parameter, condition in group):
        return math.inf
    combinations = math.prod(parameter.size() if parameter.size() < math.inf else 1 for _, parameter, _ in controllers)
    if combinations > MAX_COMBINATIONS:
        return _estimated(group)
    total = 0
    for config in _assignments(controllers, 0, {}):
        count = _leaves(group, named, config)
        if count == math.inf:
            return math.inf
        total += int(count)
    return total


def _assignments(controllers: Plan, start: int, config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every assignment of the active controllers; a continuous one stands at its centre."""
    if start == len(controllers):
        yield config
        return
    name, parameter, condition = controllers[start]
    if condition is not None and not condition.holds(config):
        yield from _assignments(controllers, start + 1, config)
        return
    values = [parameter.centre()] if parameter.size() == math.inf else parameter.members()
    for value in values:
        yield from _assignments(controllers, start + 1, {**config, name: value})


def _leaves(group: Plan, named: set[str], config: Mapping[str, Any]) -> float:
    """The number of joint values of the group, given the controllers' values."""
    count = 1
    for name, parameter, condition in group:
        active = name in config if name in named else condition is None or condition.holds(config)
        if not active:
            continue
        if parameter.size() == math.inf:
            return math.inf
        if name not in named:
            count *= int(parameter.size())
    return count


def _estimated(group: Plan) -> float:
    """The count from random draws: the mean of 1 / P(draw) over draws is the number of configurations."""
    rng = np.random.default_rng(0)
    logs = []
    for _ in range(N_ESTIMATE):
        config: dict[str, Any] = {}
        log_inverse = 0.0
        for name, parameter, condition in group:
            if condition is not None and not condition.holds(config):
                continue
            if parameter.size() == math.inf:
                return math.inf
            config[name] = parameter.sample(rng)
            log_inverse += math.log(parameter.size())
        logs.append(log_inverse)
    largest = max(logs)
    log_mean = largest + math.log(math.fsum(math.exp(value - largest) for value in logs) / len(logs))
    return math.exp(log_mean) if log_mean < math.log(sys.float_info.max) else sys.float_info.max


def members(space: SearchSpace) -> Iterator[dict[str, Any]]:
    """Every feasible configuration of a finite space, each restriction tested as soon as its names have values."""
    order = {name: i for i, name in enumerate(space.names)}
    foreign = [r for r in space.restrictions if any(name not in order for name in r.names)]
    local = [r for r in space.restrictions if r not in foreign]
    due: dict[str, list[Expression]] = {name: [] for name in space.names}
    for restriction in local:
        last = max((order[name] for name in restriction.names), default=0)
        due[space.names[last]].append(restriction)
    return (c for c in _extended(space, due, 0, {}) if not foreign or space.feasible(c))


def _extended(
    space: SearchSpace, due: Mapping[str, list[Expression]], start: int, config: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    if start == len(space.parameters):
        yield dict(config)
        return
    parameter = space.parameters[start]
    name, condition = parameter.name, space.conditions.get(parameter.name)
    if condition is not None and not condition.holds(config):
        yield from _extended(space, due, start + 1, config)
        return
    for value in parameter.members():
        extended = {**config, name: value}
        if all(r.holds(extended) for r in due[name] if r.names <= extended.keys()):
            yield from _extended(space, due, start + 1, extended)
