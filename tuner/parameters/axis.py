"""One number to and from the unit interval: linear, logarithmic, continuous or on a grid.

Symbols: v a value, u its position in [0, 1], k a level of a grid from 0, t = v or log v.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from tuner.errors import SpaceError
from tuner.parameters.columns import MAX_GRID, even_grid

MAX_LEVELS = 2**48
MAX_LOG_LEVELS = 10**12
Number = int | float


@dataclass(frozen=True, slots=True)
class Line:
    """A segment through the values of a parameter, along which its base measure is uniform.

    Attributes:
        at: Where the present value is, in [low, high].
        value: The value at a position t of the segment.
    """

    at: float
    low: float
    high: float
    value: Callable[[float], Any]


@dataclass(frozen=True, slots=True)
class Continuous:
    """All numbers from low to high, rounded so that the round trip is exact.

    Linear: a decimal resolution of about range * 1e-12. Logarithmic: 12 significant digits (11 below 1e-86 or above
    1e86, where the logarithm itself has fewer digits left). The ends are kept as they are.
    """

    low: float
    high: float
    log: bool
    start: float = field(init=False)
    span: float = field(init=False)
    digits: int = field(init=False)
    levels: None = field(init=False, default=None)

    def __post_init__(self) -> None:
        t_low, t_high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        object.__setattr__(self, "start", t_low)
        object.__setattr__(self, "span", t_high - t_low)
        if self.log:
            digits = 12 if max(abs(t_low), abs(t_high)) < 200 else 11
        else:
            magnitude = max(abs(self.low), abs(self.high))
            digits = min(12 - math.floor(math.log10(t_high - t_low)), 15 - math.ceil(math.log10(magnitude)))
        object.__setattr__(self, "digits", digits)

    def encode(self, value: Number) -> float:
        """The position of a value."""
        u = ((math.log(value) if self.log else value) - self.start) / self.span
        return 0.0 if u < 0.0 else 1.0 if u > 1.0 else u

    def decode(self, u: float) -> float:
        """The value at a position."""
        u = 0.0 if u < 0.0 else 1.0 if u > 1.0 else u
        if self.log:
            value = float(f"{math.exp(self.start + u * self.span):.{self.digits}g}")
        else:
            value = round(self.start + u * self.span, self.digits) + 0.0
        return self.low if value < self.low else self.high if value > self.high else value

    def contains(self, value: Number) -> bool:
        """Whether a number lies on the axis."""
        return self.low <= value <= self.high

    def line(self, value: Number) -> Line:
        """The whole axis, as a segment through `value`."""
        return Line(self.encode(value), 0.0, 1.0, self.decode)


@dataclass(frozen=True, slots=True)
class Stepped:
    """The numbers low, low + step, ... up to high; decimal steps are exact, so three steps of 0.1 are 0.3.

    Linear: level k sits at (k + 0.5) / levels. Logarithmic: at its own logarithm, between the edges
    log(v - step/2) and log(v + step/2) of its cell, so that a uniform position gives about log-uniform values.
    """

    low: Number
    high: Number
    step: Number
    log: bool
    levels: int = field(init=False)
    top: Number = field(init=False)
    start: float = field(init=False)
    span: float = field(init=False)
    whole: bool = field(init=False)
    _decimals: tuple[Decimal, Decimal] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        low, step = Decimal(repr(self.low)), Decimal(repr(self.step))
        try:
            levels = int((Decimal(repr(self.high)) - low) // step) + 1
        except InvalidOperation:
            levels = MAX_LEVELS + 1
        set_ = object.__setattr__
        set_(self, "_decimals", (low, step))
        set_(self, "whole", isinstance(self.low, int) and isinstance(self.step, int))
        set_(self, "levels", levels)
        if levels > MAX_LEVELS or (self.log and self.high / self.step > MAX_LOG_LEVELS):
            most = MAX_LOG_LEVELS if self.log else MAX_LEVELS
            raise SpaceError(f"a grid has at most {most:.0e} values, but got {levels:.3g}; take a larger step")
        set_(self, "top", self.at(levels - 1))
        set_(self, "start", self._edge(0) if self.log else 0.0)
        set_(self, "span", self._edge(levels) - self._edge(0) if self.log else 1.0)

    def _edge(self, k: int) -> float:
        """log of the lower edge of cell k; of the upper edge of the last cell for k = levels."""
        below = self.low + (k - 0.5) * self.step
        return math.log(below) if below > 0 else 2 * math.log(self.low) - math.log(self.low + 0.5 * self.step)

    def at(self, k: int) -> Number:
        """The value of level k."""
        if self.whole:
            return self.low + k * self.step
        return float(self._decimals[0] + k * self._decimals[1])

    def level(self, value: Number) -> int:
        """The level nearest to a value."""
        k = (value - self.low) // self.step if self.whole else round((value - self.low) / self.step)
        return 0 if k < 0 else self.levels - 1 if k >= self.levels else int(k)

    def contains(self, value: Number) -> bool:
        """Whether a number is one of the grid's."""
        if not self.low <= value <= self.high:
            return False
        return abs(self.at(self.level(value)) - value) <= (0 if self.whole else 1e-9 * self.step)

    def encode(self, value: Number) -> float:
        """The position of a value of the grid."""
        return self.position(self.level(value))

    def position(self, k: int) -> float:
        """The position of level k."""
        if self.log:
            return (math.log(self.at(k)) - self.start) / self.span
        return (k + 0.5) / self.levels

    def decode(self, u: float) -> Number:
        """The value of the cell that a position is in."""
        return self.at(self._cell_of(u))

    def _cell_of(self, u: float) -> int:
        u = 0.0 if u < 0.0 else 1.0 if u > 1.0 else u
        if self.log:
            k = math.floor((math.exp(self.start + u * self.span) - self.low) / self.step + 0.5)
        else:
            k = int(u * self.levels)
        return 0 if k < 0 else self.levels - 1 if k >= self.levels else k

    def cell(self, k: int) -> tuple[float, float]:
        """The edges of the cell of level k, as positions."""
        if self.log:
            return (self._edge(k) - self.start) / self.span, (self._edge(k + 1) - self.start) / self.span
        return k / self.levels, (k + 1) / self.levels

    def grid(self) -> tuple[float, ...] | None:
        """The positions of all levels, or None when there are more than `MAX_GRID`."""
        if not self.log:
            return even_grid(self.levels)
        return tuple(self.position(k) for k in range(self.levels)) if self.levels <= MAX_GRID else None

    def line(self, value: Number, jitter: float) -> Line:
        """The whole axis, as a segment through a point of the cell of `value`; jitter in [0, 1) places it."""
        low, high = self.cell(self.level(value))
        return Line(low + jitter * (high - low), 0.0, 1.0, self.decode)
