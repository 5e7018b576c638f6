"""From a configuration that breaks restrictions to one that does not: local search on the sum of their violations."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.parameters import Constant, Float, Int, Parameter
from tuner.parameters.axis import Stepped

if TYPE_CHECKING:
    from tuner.space import SearchSpace
    from tuner.trial import Config

MAX_SCAN = 64
"""The most values of a parameter that are all tried in turn."""

BROKEN = 1e-9
"""Added for every restriction that does not hold, so that a strict one at its boundary is not satisfied."""


class Violation:
    """How far configurations are from feasible: the sum over restrictions, each in units of its own.

    Restrictions have different units, so each violation is divided by its median among random configurations.
    """

    def __init__(self, space: SearchSpace, draws: Sequence[Config]) -> None:
        self._space = space
        self._scales: list[float] = []
        for each in zip(*(space.violations_of(config) for config in draws), strict=True):
            finite = [v for v in each if 0 < v < np.inf]
            self._scales.append(float(np.median(finite)) if finite else 1.0)

    def of(self, config: Mapping[str, Any]) -> float:
        """The scaled sum of violations; 0.0 exactly when the configuration is feasible."""
        total = 0.0
        for amount, scale in zip(self._space.violations_of(config), self._scales, strict=True):
            if amount > 0:
                total += min(amount / scale, 1e6) + BROKEN
        return total


class Repair:
    """Local search in one space."""

    def __init__(self, space: SearchSpace, violation: Violation) -> None:
        self._space = space
        self._violation = violation
        self._free = tuple(p for p in space.parameters if not isinstance(p, Constant))

    def search(
        self, start: Config, rng: np.random.Generator, *, evaluations: int, fixed: Collection[str] = ()
    ) -> Config | None:
        """A feasible configuration reached from `start`, or None.

        Args:
            start: Where to begin.
            rng: Where the randomness comes from.
            evaluations: How many configurations may be looked at.
            fixed: Parameters that keep their values.
        """
        free = [p for p in self._free if p.name not in fixed]
        config, violation = start, self._violation.of(start)
        left = evaluations
        while left > 0 and violation > 0 and free:
            parameter = free[int(rng.integers(len(free)))]
            if parameter.name not in config:
                left -= 1
                continue
            tried = self._candidates(config, parameter, free, rng)
            left -= len(tried)
            scored = [(self._violation.of(other), i) for i, other in enumerate(tried)]
            best, i = min(scored)
            if best <= violation:
                config, violation = tried[i], best
        return config if violation == 0 else None

    def _candidates(
        self, config: Config, parameter: Parameter, free: Sequence[Parameter], rng: np.random.Generator
    ) -> list[Config]:
        name = parameter.name
        kind = rng.random()
        if kind < 0.25 and parameter.size() <= MAX_SCAN:
            values = list(parameter.members())
            rng.shuffle(values)
            return [self._space.changed(config, {name: value}, rng) for value in values]
        if kind < 0.5:
            return [self._space.changed(config, {name: parameter.sample(rng)}, rng)]
        changes = {name: _step(parameter, config[name], rng)}
        if kind < 0.75:
            other = free[int(rng.integers(len(free)))]
            if other.name in config and other is not parameter:
                changes[other.name] = _step(other, config[other.name], rng)
        return [self._space.changed(config, changes, rng)]


def _step(parameter: Parameter, value: Any, rng: np.random.Generator) -> Any:
    """A change whose width is log-uniform over nine decades, or of one to four levels; a jump for other kinds."""
    if isinstance(parameter, (Float, Int)) and isinstance(parameter.axis, Stepped) and rng.random() < 0.5:
        level = parameter.axis.level(value) + int(rng.integers(1, 5)) * (1 if rng.random() < 0.5 else -1)
        return parameter.axis.at(min(max(level, 0), parameter.axis.levels - 1))
    line = parameter.line(value, rng)
    if line is None:
        return parameter.jump(value, rng)
    width = (line.high - line.low) * 10 ** -(9 * float(rng.random()))
    return line.value(min(max(line.at + width * float(rng.standard_normal()), line.low), line.high))
