"""Fidelity: which trials had all of it, how much a configuration had, and the levels that are worth trying."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuner.parameters import Float, Int, Parameter
from tuner.trial import Config

if TYPE_CHECKING:
    from tuner.history import History
    from tuner.problem import Problem

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_FACTOR = 3.0
"""Each level is about so many times the one below it."""

_MOST_LEVELS = 5
_LINEAR = 4.0
"""Where the most is less than so many times the least, levels are evenly spaced."""


def spent(history: History) -> Array:
    """The fidelity of each finished trial, infinity for all of it, shape (n,)."""
    fidelity = history.fidelity
    full = history.problem.fidelity.max if history.problem.fidelity is not None else math.inf
    return np.where(np.isnan(fidelity) | (fidelity >= full), math.inf, fidelity)


def at_most(history: History, rows: Mask | None = None) -> Mask:
    """Which of some trials, all when None, had the most fidelity that any of these had, shape (n,)."""
    levels = spent(history)
    rows = np.ones(len(levels), dtype=np.bool_) if rows is None else rows
    most = levels[rows].max(initial=-math.inf)
    return np.asarray(rows & (levels == most), dtype=np.bool_)


def reached(history: History, config: Config) -> float:
    """The most fidelity at which a configuration was tried or is pending; minus infinity when it never was."""
    x, active = history.space.encoding.encode(config)
    key = history.space.key(config)
    same = (x == history.X).all(axis=1) & (active == history.active).all(axis=1)
    pending = [p.fidelity for p in history.pending if history.space.key(p.config) == key]
    levels = [*spent(history)[same], *(math.inf if level is None else level for level in pending)]
    full = history.problem.fidelity.max if history.problem.fidelity is not None else math.inf
    return max((math.inf if level >= full else float(level) for level in levels), default=-math.inf)


def may_rise(history: History) -> bool:
    """Whether some configuration could still be tried at more fidelity than it had."""
    fidelity = history.problem.fidelity
    if fidelity is None:
        return False
    running = [p.fidelity for p in history.pending if p.fidelity is not None]
    return bool(np.isfinite(spent(history)).any()) or any(level < fidelity.max for level in running)


@dataclass(frozen=True, slots=True)
class Levels:
    """The fidelities that a strategy chooses from.

    Attributes:
        parameter: Its name.
        values: Ascending; the last is all of it.
        log: Whether they are scaled by their logarithms.
        column: Whether the space searches the parameter: then a configuration says how much it gets, too.
    """

    parameter: str
    values: tuple[float, ...]
    log: bool
    column: bool

    @property
    def low(self) -> float:
        """The least."""
        return self.values[0]

    @property
    def full(self) -> float:
        """All of it."""
        return self.values[-1]

    def unit(self, fidelity: Sequence[float] | Array) -> Array:
        """Fidelities as s in [0, 1], 1 for NaN."""
        f = np.asarray(fidelity, dtype=np.float64)
        f = np.clip(np.where(np.isnan(f), self.full, f), self.low, self.full)
        if self.log:
            s: Array = np.log(f / self.low) / math.log(self.full / self.low)
            return s
        return (f - self.low) / (self.full - self.low)

    def apply(self, config: Config, value: float) -> Config:
        """A configuration that gets so much of it."""
        if not self.column or self.parameter not in config:
            return config
        given: Any = config[self.parameter]
        return {**config, self.parameter: int(value) if isinstance(given, int) else value}


def levels(problem: Problem) -> Levels:
    """The levels of a problem that has a fidelity: at most five, about a factor 3 apart, on its parameter's grid.

    Whole numbers where the parameter is one; evenly spaced where the most is less than four times the least.
    """
    low, high = _range(problem)
    log = high / low >= _LINEAR
    steps = min(max(round(math.log(high / low, _FACTOR)), 1), _MOST_LEVELS - 1) if log else 2
    shares = np.arange(steps + 1) / steps
    values: list[float] = (low * (high / low) ** shares if log else low + (high - low) * shares).tolist()
    return _placed(problem, values, low, high, log=log)


def ladder(problem: Problem, eta: int) -> Levels:
    """The levels of a problem that has a fidelity, each `eta` times the one below it, down from all of it.

    As many as there are above the least: 1 + floor(log_eta(max / min)); on the parameter's grid, so that two may fall
    together.
    """
    low, high = _range(problem)
    rungs = 1 + math.floor(math.log(high / low) / math.log(eta) + 1e-9)
    return _placed(problem, [high / eta**k for k in range(rungs)], low, high, log=True)


def _range(problem: Problem) -> tuple[float, float]:
    """The least and the most of the fidelity that the parameter allows."""
    fidelity, space = problem.fidelity, problem.space
    assert fidelity is not None
    parameter = space[fidelity.parameter] if fidelity.parameter in space.names else None
    low = float(fidelity.min)
    return max(low, float(parameter.low)) if isinstance(parameter, Float | Int) else low, float(fidelity.max)


def _placed(problem: Problem, values: Sequence[float], low: float, high: float, *, log: bool) -> Levels:
    """Levels on the parameter's grid, or whole numbers where both ends are."""
    assert problem.fidelity is not None
    space, name = problem.space, problem.fidelity.parameter
    parameter = space[name] if name in space.names else None
    if parameter is not None and parameter.columns():
        values = [_nearest(parameter, v) for v in values]
    elif low.is_integer() and high.is_integer():
        values = [round(v) for v in values]
    kept = {high, *(float(v) for v in values if low <= v <= high)}
    column = parameter is not None and bool(parameter.columns())
    return Levels(name, tuple(sorted(kept)), log, column)


def _nearest(parameter: Parameter, value: float) -> float:
    """The value of a parameter that is a number next to `value`, which lies in its range."""
    match parameter:
        case Int():
            return float(parameter.decode(parameter.encode(round(value))))
        case Float():
            return float(parameter.decode(parameter.encode(value)))
    return float(min(parameter.members(), key=lambda member: abs(float(member) - value)))
