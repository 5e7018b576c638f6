"""The kinds that hold one number: Float and Int."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from tuner.errors import SpaceError
from tuner.parameters.axis import Continuous, Line, Number, Stepped
from tuner.parameters.columns import Column
from tuner.parameters.parameter import Parameter, Value, check_range, distinct, real


@dataclass(frozen=True)
class _Numeric(Parameter):
    """What Float and Int share: an axis and one column."""

    low: Number
    high: Number
    log: bool = field(default=False, kw_only=True)

    axis: Continuous | Stepped = field(init=False, repr=False, compare=False)

    def _set_axis(self, axis: Continuous | Stepped) -> None:
        object.__setattr__(self, "axis", axis)

    def _stepped(self, step: Value, *, whole: bool) -> Stepped:
        number = real(step)
        if number is None or number <= 0 or (whole and number != int(number)):
            kind = "a whole number >= 1" if whole else "a number > 0"
            raise self.fail(f"step of {self._shown} must be {kind}, but got {step!r}", "step")
        try:
            return Stepped(self.low, self.high, int(number) if whole else float(number), self.log)
        except SpaceError as error:
            raise self.fail(f"{self._shown}: {error}", "step") from None

    def _number(self, value: Value) -> Number:
        number = real(value)
        if number is None:
            raise self.fail(f"{self._shown} must be a finite number, but got {value!r}")
        if not self.low <= number <= self.high:
            raise self.fail(f"{self._shown} must lie in [{self.low!r}, {self.high!r}], but got {value!r}")
        return number

    def _on_grid(self, axis: Stepped, number: Number, value: Value) -> Number:
        nearest = axis.at(axis.level(number))
        if axis.contains(number) or abs(nearest - number) <= 1e-9 * axis.step:
            return nearest
        low, step = f"{self.low!r}", f"{axis.step!r}"
        raise self.fail(
            f"{self._shown} must be {low} + a multiple of {step}, but got {value!r}; nearest is {nearest!r}"
        )

    def size(self) -> float:
        """How many values there are; math.inf without a step."""
        return self.axis.levels or math.inf

    def encode(self, value: Value) -> list[float]:
        """The position of a value."""
        return [self.axis.encode(value)]

    def decode(self, u: Sequence[float]) -> Value:
        """The value at a position."""
        return self.axis.decode(u[0])

    def sample(self, rng: np.random.Generator) -> Value:
        """A uniform draw; log-uniform on a logarithmic scale."""
        return self.axis.decode(float(rng.random()))

    def columns(self) -> tuple[Column, ...]:
        """One column: continuous, or integer when there is a step."""
        if isinstance(self.axis, Stepped):
            return (Column("integer", self.axis.levels, self.name, 0, self.axis.grid()),)
        return (Column("continuous", None, self.name, 0),)

    def neighbours(self, value: Value, rng: np.random.Generator) -> list[Value]:
        """Gaussian steps of several widths; on a grid, the adjacent levels too."""
        u = self.axis.encode(value)
        near = [self.axis.decode(u + width * float(rng.standard_normal())) for width in (0.2, 0.1, 0.05, 0.02)]
        if isinstance(self.axis, Stepped):
            k, top = self.axis.level(value), self.axis.levels - 1
            near = [self.axis.at(j) for j in (k - 1, k + 1) if 0 <= j <= top] + near
        return distinct(near, value)

    def grid(self, levels: int) -> list[Value]:
        """`levels` values evenly spread from end to end; the centre for one; every value of a short grid."""
        if isinstance(self.axis, Stepped) and self.axis.levels <= levels:
            return list(self.members())
        if levels < 2:
            return [self.axis.decode(0.5)]
        return distinct([self.axis.decode(i / (levels - 1)) for i in range(levels)], None)

    def members(self) -> Iterator[Value]:
        """Every value, ascending."""
        if not isinstance(self.axis, Stepped):
            raise self._continuous()
        axis = self.axis
        return (axis.at(k) for k in range(axis.levels))

    def log_mass(self, value: Value) -> float:
        """Log probability of a value of a grid under `sample`."""
        if not isinstance(self.axis, Stepped):
            raise self._continuous()
        low, high = self.axis.cell(self.axis.level(value))
        return math.log(high - low)

    def line(self, value: Value, rng: np.random.Generator) -> Line | None:
        """The whole range."""
        if isinstance(self.axis, Stepped):
            return self.axis.line(value, float(rng.random()))
        return self.axis.line(value)


@dataclass(frozen=True)
class Float(_Numeric):
    """A real number from `low` to `high`; with `step`, one of low, low + step, ..."""

    step: float | None = field(default=None, kw_only=True)

    def _check(self) -> None:
        check_range(self, self.low, self.high, log=self.log, whole=False)
        object.__setattr__(self, "low", float(self.low))
        object.__setattr__(self, "high", float(self.high))
        if self.step is not None:
            self._set_axis(self._stepped(self.step, whole=False))
            object.__setattr__(self, "step", float(self.step))
        else:
            self._set_axis(Continuous(self.low, self.high, self.log))

    def contains(self, value: Value) -> bool:
        """Whether it is a float or int of the range, and of the grid when there is one."""
        return value.__class__ in (float, int) and self.axis.contains(value)

    def normalise(self, value: Value) -> float:
        """The number as a float at the encoding's resolution."""
        number = float(self._number(value))
        if isinstance(self.axis, Stepped):
            return float(self._on_grid(self.axis, number, value))
        return self.axis.decode(self.axis.encode(number))

    def canonical(self, value: Value) -> Value:
        """The float, without a signed zero."""
        return float(value) + 0.0

    def to_dict(self) -> Value:
        """min, max, and log and step when set."""
        out: dict[str, Value] = {"type": "float", "min": self.low, "max": self.high}
        if self.log:
            out["log"] = True
        if self.step is not None:
            out["step"] = self.step
        return out | self._common()


@dataclass(frozen=True)
class Int(_Numeric):
    """A whole number from `low` to `high`, every `step`-th of them."""

    step: int = field(default=1, kw_only=True)

    def _check(self) -> None:
        check_range(self, self.low, self.high, log=self.log, whole=True)
        object.__setattr__(self, "low", int(self.low))
        object.__setattr__(self, "high", int(self.high))
        self._set_axis(self._stepped(self.step, whole=True))
        object.__setattr__(self, "step", int(self.step))

    def contains(self, value: Value) -> bool:
        """Whether it is an int of the range and of the grid."""
        return value.__class__ is int and self.low <= value <= self.high and (value - self.low) % self.step == 0

    def normalise(self, value: Value) -> int:
        """The number as an int; 8.0 is 8."""
        number = self._number(value)
        if number != int(number):
            raise self.fail(f"{self._shown} must be a whole number, but got {value!r}")
        assert isinstance(self.axis, Stepped)
        return int(self._on_grid(self.axis, int(number), value))

    def canonical(self, value: Value) -> Value:
        """The int."""
        return int(value)

    def to_dict(self) -> Value:
        """min, max, and log and step when set."""
        out: dict[str, Value] = {"type": "int", "min": self.low, "max": self.high}
        if self.log:
            out["log"] = True
        if self.step != 1:
            out["step"] = self.step
        return out | self._common()
