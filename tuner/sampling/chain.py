"""A Markov chain among the admissible configurations of a space, whose stationary law is the space's own, restricted.

The space's law draws every active parameter from its base measure (uniform, or log-uniform). A move that redraws from
it, that is symmetric with regard to it, or that slices along a line on which it is uniform (Neal 2003, "Slice
sampling", shrinkage procedure) leaves the restricted law unchanged when inadmissible proposals are refused. Newly
active parameters are drawn from their base measure, which keeps the ratio at one across changes of activity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.errors import SpaceError
from tuner.expressions import Expression
from tuner.parameters import Constant, Float, Int, Parameter
from tuner.parameters.axis import Continuous, Number, Stepped

if TYPE_CHECKING:
    from tuner.space import SearchSpace
    from tuner.trial import Config

MAX_BLOCK = 1024
"""The most values of a parameter that a block move goes through."""

CHEAP_BLOCK = 12
"""Parameters of more values take part in block moves as much more rarely."""

MAX_SHRINKS = 80

FACTORS = (2, 2, 2, 2, 3, 3, 4, 5, 7)
"""By what two whole numbers are rescaled against each other, each entry equally likely."""


class Chain:
    """The moves of one space among the configurations that `admits` accepts; holds no state."""

    def __init__(self, space: SearchSpace, admits: Callable[[Config], bool]) -> None:
        self._space = space
        self._admits = admits
        self._free = tuple(p for p in space.parameters if not isinstance(p, Constant))
        self._controllers = frozenset(name for c in space.conditions.values() for name in c.names)
        self._listed = tuple(p for p in self._free if p.size() <= MAX_BLOCK)
        numbers = [p for p in self._free if isinstance(p, (Float, Int))]
        self._reals = tuple(p for p in numbers if isinstance(p.axis, Continuous))
        self._grids = tuple(p for p in numbers if isinstance(p.axis, Stepped) and not p.log)
        self._wholes = tuple(p for p in numbers if isinstance(p, Int))
        moves: list[Callable[[Config, np.random.Generator], Config]] = []
        if self._free:
            moves += [self._redraw, self._jump, self._line]
        if len(self._reals) > 1:
            moves.append(self._slide_reals)
        if len(self._grids) > 1:
            moves.append(self._slide_grids)
        if len(self._wholes) > 1:
            moves.append(self._rescale)
        self._equations = tuple(_solvable(space))
        if self._equations:
            moves.append(self._solve)
        if self._listed and len(self._free) > 1:
            moves.append(self._block)
        self._moves = tuple(moves)

    def advance(self, config: Config, rng: np.random.Generator, steps: int) -> Config:
        """The configuration after `steps` moves from a feasible one; `config` itself is not changed."""
        if not self._moves:  # a space of constants
            return config
        for move in rng.integers(len(self._moves), size=steps).tolist():
            config = self._moves[move](config, rng)
        return config

    def replaced(self, config: Config, values: Mapping[str, Any], rng: np.random.Generator) -> Config | None:
        """The configuration with other values; None when that changes which parameters are active."""
        if self._controllers.isdisjoint(values):
            return {**config, **values}
        other = self._space.changed(config, values, rng)
        return other if other.keys() == config.keys() else None

    def _redraw(self, config: Config, rng: np.random.Generator) -> Config:
        """One parameter drawn anew, and with it those it activates."""
        parameter = self._free[int(rng.integers(len(self._free)))]
        if parameter.name not in config:
            return config
        other = self._space.changed(config, {parameter.name: parameter.sample(rng)}, rng)
        return other if self._admits(other) else config

    def _jump(self, config: Config, rng: np.random.Generator) -> Config:
        """A symmetric change of one parameter."""
        parameter = self._free[int(rng.integers(len(self._free)))]
        if parameter.name not in config:
            return config
        other = self._space.changed(config, {parameter.name: parameter.jump(config[parameter.name], rng)}, rng)
        return other if self._admits(other) else config

    def _line(self, config: Config, rng: np.random.Generator) -> Config:
        """A slice along a line through one parameter."""
        parameter = self._free[int(rng.integers(len(self._free)))]
        line = parameter.line(config[parameter.name], rng) if parameter.name in config else None
        if line is None:
            return config
        name = parameter.name

        def at(t: float) -> Config | None:
            return self.replaced(config, {name: line.value(t)}, rng)

        return self._slice(config, line.at, line.low, line.high, at, rng)

    def _slice(
        self,
        config: Config,
        here: float,
        low: float,
        high: float,
        at: Callable[[float], Config | None],
        rng: np.random.Generator,
    ) -> Config:
        """A feasible point between low and high; the interval shrinks towards `here` until one is found."""
        for _ in range(MAX_SHRINKS):
            t = low + float(rng.random()) * (high - low)
            other = at(t)
            if other is not None and self._admits(other):
                return other
            low, high = (t, high) if t < here else (low, t)
        return config

    def _two(self, pool: tuple[Parameter, ...], config: Config, rng: np.random.Generator) -> list[Any] | None:
        i, j = int(rng.integers(len(pool))), int(rng.integers(len(pool) - 1))
        chosen = [pool[i], pool[j + (j >= i)]]
        return chosen if all(p.name in config for p in chosen) else None

    def _slide_reals(self, config: Config, rng: np.random.Generator) -> Config:
        """Two real numbers moved at once, in opposite or equal amounts (of their logarithms when logarithmic)."""
        chosen = self._two(self._reals, config, rng)
        if chosen is None:
            return config
        ratio = _ratio(rng)
        starts = [math.log(config[p.name]) if p.log else config[p.name] for p in chosen]
        low, high = -math.inf, math.inf
        for p, start, rate in zip(chosen, starts, ratio, strict=True):
            ends = sorted(((p.axis.start - start) / rate, (p.axis.start + p.axis.span - start) / rate))
            low, high = max(low, ends[0]), min(high, ends[1])

        def at(t: float) -> Config | None:
            values = {
                p.name: p.axis.decode((start + rate * t - p.axis.start) / p.axis.span)
                for p, start, rate in zip(chosen, starts, ratio, strict=True)
            }
            return self.replaced(config, values, rng)

        return self._slice(config, 0.0, min(low, 0.0), max(high, 0.0), at, rng)

    def _slide_grids(self, config: Config, rng: np.random.Generator) -> Config:
        """Two numbers on grids moved at once by whole levels; 0 levels is always feasible."""
        chosen = self._two(self._grids, config, rng)
        if chosen is None:
            return config
        rates = _level_rates(chosen[0].axis, chosen[1].axis, rng)
        levels = [p.axis.level(config[p.name]) for p in chosen]
        low, high = -(10**18), 10**18
        for p, level, rate in zip(chosen, levels, rates, strict=True):
            down, up = level // abs(rate), (p.axis.levels - 1 - level) // abs(rate)
            low, high = max(low, -(down if rate > 0 else up)), min(high, up if rate > 0 else down)
        while low < high:
            m = int(rng.integers(low, high + 1))
            if m == 0:
                break
            moved = {p.name: p.axis.at(level + rate * m) for p, level, rate in zip(chosen, levels, rates, strict=True)}
            other = self.replaced(config, moved, rng)
            if other is not None and self._admits(other):
                return other
            low, high = (m + 1, high) if m < 0 else (low, m - 1)
        return config

    def _rescale(self, config: Config, rng: np.random.Generator) -> Config:
        """One whole number multiplied, another divided by the same small factor (Metropolis)."""
        chosen = self._two(self._wholes, config, rng)
        if chosen is None:
            return config
        first, second = chosen
        factor = FACTORS[int(rng.integers(len(FACTORS)))]
        quotient, remainder = divmod(config[second.name], factor)
        values = {first.name: config[first.name] * factor, second.name: quotient}
        if remainder or not all(p.contains(values[p.name]) for p in chosen):
            return config
        gain = sum(p.log_mass(values[p.name]) - p.log_mass(config[p.name]) for p in chosen)
        if math.log(1.0 - float(rng.random())) > gain:
            return config
        other = self.replaced(config, values, rng)
        return other if other is not None and self._admits(other) else config

    def _solve(self, config: Config, rng: np.random.Generator) -> Config:
        """One parameter changed, and another set to what an equation says it must be then (Metropolis)."""
        solved, expression, names = self._equations[int(rng.integers(len(self._equations)))]
        moving = self._space[names[int(rng.integers(len(names)))]]
        if moving.name not in config or solved.name not in config:
            return config
        changed = {**config, moving.name: moving.jump(config[moving.name], rng)}
        try:
            # From where the equation does not hold there is no way back, so nothing moves.
            if solved.normalise(expression.evaluate(config)) != config[solved.name]:
                return config
            value = solved.normalise(expression.evaluate(changed))
        except SpaceError:
            return config
        gain = solved.log_mass(value) - solved.log_mass(config[solved.name])
        if math.log(1.0 - float(rng.random())) > gain:
            return config
        other = self.replaced(config, {moving.name: changed[moving.name], solved.name: value}, rng)
        return other if other is not None and self._admits(other) else config

    def _block(self, config: Config, rng: np.random.Generator) -> Config:
        """One parameter changed, another redrawn from all its values that are feasible then (Metropolis-Hastings)."""
        listed = self._listed[int(rng.integers(len(self._listed)))]
        moving = self._free[int(rng.integers(len(self._free)))]
        if listed.size() * float(rng.random()) > CHEAP_BLOCK:
            return config
        if moving is listed or moving.name not in config or listed.name not in config:
            return config
        present = config[moving.name]
        value = moving.jump(present, rng) if rng.random() < 0.5 else moving.sample(rng)
        if value == present:
            return config
        forward = self._options(config, {moving.name: value}, listed, rng)
        if not forward:
            return config
        backward = self._options(config, {}, listed, rng)
        weights = [weight for _, weight in forward]
        total = sum(weights)
        if float(rng.random()) * sum(weight for _, weight in backward) > total:
            return config
        return forward[int(np.searchsorted(np.cumsum(weights), float(rng.random()) * total))][0]

    def _options(
        self, config: Config, values: Mapping[str, Any], listed: Parameter, rng: np.random.Generator
    ) -> list[tuple[Config, float]]:
        """The feasible configurations with these values and any value of `listed`, and the base measure of each."""
        found = []
        plain = listed.name not in self._controllers and self._controllers.isdisjoint(values)
        scratch = {**config, **values}
        for value in listed.members():
            scratch[listed.name] = value
            other = scratch if plain else self.replaced(config, {**values, listed.name: value}, rng)
            if other is not None and self._admits(other):
                found.append((dict(other), math.exp(listed.log_mass(value))))
        return found


def _solvable(space: SearchSpace) -> Iterator[tuple[Parameter, Expression, tuple[str, ...]]]:
    """The restrictions `name == ...` over parameters, where `name` is a number on a grid that the other side gives."""
    for restriction in space.restrictions:
        equation = restriction.equation()
        if equation is None or not restriction.names <= set(space.names):
            continue
        solved, expression = space[equation[0]], equation[1]
        names = tuple(sorted(n for n in expression.names if not isinstance(space[n], Constant)))
        if names and isinstance(solved, (Float, Int)) and isinstance(solved.axis, Stepped):
            yield solved, expression, names


def _ratio(rng: np.random.Generator) -> tuple[float, float]:
    """By how much two numbers move together: mostly equal amounts, sometimes 1 to 3 against 1 to 3."""
    sign = -1.0 if rng.random() < 0.7 else 1.0
    if rng.random() < 0.6:
        return 1.0, sign
    return float(rng.integers(1, 4)), sign * float(rng.integers(1, 4))


def _level_rates(first: Stepped, second: Stepped, rng: np.random.Generator) -> tuple[int, int]:
    """By how many levels two grids move together: equal amounts of value where the steps allow, or 1 to 3."""
    sign = -1 if rng.random() < 0.7 else 1
    if rng.random() < 0.4:
        return int(rng.integers(1, 4)), sign * int(rng.integers(1, 4))
    steps: tuple[Number, Number] = (first.step, second.step)
    if all(isinstance(step, int) for step in steps):
        shared = math.gcd(int(steps[0]), int(steps[1]))
        return int(steps[1]) // shared, sign * (int(steps[0]) // shared)
    return 1, sign
