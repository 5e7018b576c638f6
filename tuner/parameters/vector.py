"""The kind that holds several numbers of one range: Vector, with k levels and n entries where they are counted."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from tuner.errors import SpaceError
from tuner.parameters.axis import Continuous, Line, Number, Stepped
from tuner.parameters.columns import Column
from tuner.parameters.parameter import Parameter, Value, check_range, distinct, real
from tuner.parameters.structured import MAX_LISTED, drawn, sequence

MAX_LENGTH = 100_000


@dataclass(frozen=True)
class Vector(Parameter):
    """`length` numbers of one range; `monotone` keeps them sorted (equal neighbours are allowed)."""

    length: int
    low: Number
    high: Number
    log: bool = field(default=False, kw_only=True)
    integer: bool = field(default=False, kw_only=True)
    monotone: Literal["increasing", "decreasing"] | None = field(default=None, kw_only=True)

    axis: Continuous | Stepped = field(init=False, repr=False, compare=False)

    def _check(self) -> None:
        if real(self.length) is None or self.length != int(self.length) or not 1 <= self.length <= MAX_LENGTH:
            raise self.fail(
                f"the length of {self._shown} must be 1 to {MAX_LENGTH:,}, but got {self.length!r}", "vector"
            )
        if not isinstance(self.integer, bool):
            raise self.fail(f"integer of {self._shown} is true or false, but got {self.integer!r}", "type")
        if self.monotone not in (None, "increasing", "decreasing"):
            message = f"monotone of {self._shown} is increasing or decreasing, but got {self.monotone!r}"
            raise self.fail(message, "monotone")
        check_range(self, self.low, self.high, log=self.log, whole=self.integer)
        cast = int if self.integer else float
        for name in ("low", "high"):
            object.__setattr__(self, name, cast(getattr(self, name)))
        object.__setattr__(self, "length", int(self.length))
        try:
            axis = (
                Stepped(self.low, self.high, 1, self.log) if self.integer else Continuous(self.low, self.high, self.log)
            )
        except SpaceError as error:
            raise self.fail(f"{self._shown}: {error}", "max") from None
        object.__setattr__(self, "axis", axis)

    def _sorted(self, values: list[Number]) -> list[Number]:
        return values if self.monotone is None else sorted(values, reverse=self.monotone == "decreasing")

    def contains(self, value: Value) -> bool:
        """Whether it is a list of that many numbers of the range, sorted where it must be."""
        if value.__class__ is not list or len(value) != self.length:
            return False
        allowed = (int,) if self.integer else (float, int)
        if not all(entry.__class__ in allowed and self.low <= entry <= self.high for entry in value):
            return False
        return self.monotone is None or value == self._sorted(value)

    def normalise(self, value: Value) -> list[Number]:
        """The numbers as a list; one number stands for all entries."""
        number = real(value)
        listed = [number] * self.length if number is not None else sequence(value)
        if listed is None or len(listed) != self.length:
            raise self.fail(f"{self._shown} must be a list of {self.length} numbers, but got {value!r}")
        out: list[Number] = []
        for i, entry in enumerate(listed):
            number = real(entry)
            if number is None or not self.low <= number <= self.high or (self.integer and number != int(number)):
                kind = "a whole number" if self.integer else "a number"
                message = f"{self._shown}[{i}] must be {kind} in [{self.low!r}, {self.high!r}], but got {entry!r}"
                raise self.fail(message)
            out.append(int(number) if self.integer else self.axis.decode(self.axis.encode(number)))
        if self.monotone is not None and out != self._sorted(out):
            raise self.fail(f"{self._shown} must be {self.monotone}, but got {out!r}")
        return out

    def canonical(self, value: Value) -> Value:
        """The entries as ints, or as floats without signed zeros."""
        return [int(v) for v in value] if self.integer else [float(v) + 0.0 for v in value]

    def size(self) -> float:
        """k**n, or the number of sorted sequences; math.inf unless integer."""
        if not isinstance(self.axis, Stepped):
            return math.inf
        k, n = self.axis.levels, self.length
        return k**n if self.monotone is None else math.comb(k + n - 1, n)

    def columns(self) -> tuple[Column, ...]:
        """One column for each entry."""
        if isinstance(self.axis, Stepped):
            grid = self.axis.grid()
            return tuple(Column("integer", self.axis.levels, self.name, i, grid) for i in range(self.length))
        return tuple(Column("continuous", None, self.name, i) for i in range(self.length))

    def encode(self, value: Value) -> list[float]:
        """The position of each entry."""
        return [self.axis.encode(entry) for entry in value]

    def decode(self, u: Sequence[float]) -> Value:
        """The entry at each position, sorted where they must be."""
        return self._sorted([self.axis.decode(position) for position in u])

    def sample(self, rng: np.random.Generator) -> Value:
        """Uniform on the box, or on the monotone cone.

        Sorted uniforms are uniform on the cone. Sorted whole numbers would not be (they favour distinct entries), so
        a linear integer vector is drawn from all sorted sequences, equally likely.
        """
        if self.monotone is None or not isinstance(self.axis, Stepped) or self.log:
            return self.decode(rng.random(self.length).tolist())
        places = drawn(rng, self.axis.levels + self.length - 1, self.length)
        return self._sorted([self.axis.at(place - i) for i, place in enumerate(places)])

    def log_mass(self, value: Value) -> float:
        """Log probability of an integer vector under `sample`."""
        if not isinstance(self.axis, Stepped):
            raise self._continuous()
        if not self.log:
            return super().log_mass(value)
        cells = [self.axis.cell(self.axis.level(entry)) for entry in value]
        log_mass = sum(math.log(high - low) for low, high in cells)
        if self.monotone is not None:
            ties = sum(math.lgamma(value.count(entry) + 1) for entry in set(value))
            log_mass += math.lgamma(self.length + 1) - ties
        return log_mass

    def _bounds(self, value: Value, i: int) -> tuple[Number, Number]:
        """Between which values entry i may move."""
        if self.monotone is None:
            return self.low, self.high
        before = value[i - 1] if i > 0 else None
        after = value[i + 1] if i + 1 < self.length else None
        low, high = (before, after) if self.monotone == "increasing" else (after, before)
        return (self.low if low is None else low), (self.high if high is None else high)

    def line(self, value: Value, rng: np.random.Generator) -> Line | None:
        """One random entry, between its neighbours where it must stay sorted."""
        i = int(rng.integers(self.length))
        low, high = self._bounds(value, i)
        axis = self.axis

        def at(t: float) -> Value:
            entry = min(max(axis.decode(t), low), high)
            return [*value[:i], entry, *value[i + 1 :]]

        if isinstance(axis, Stepped):
            begin, end = axis.cell(axis.level(value[i]))
            here = begin + float(rng.random()) * (end - begin)
            return Line(here, axis.cell(axis.level(low))[0], axis.cell(axis.level(high))[1], at)
        return Line(axis.encode(value[i]), axis.encode(low), axis.encode(high), at)

    def jump(self, value: Value, rng: np.random.Generator) -> Value:
        """One random entry redrawn between its neighbours."""
        line = self.line(value, rng)
        return value if line is None else line.value(line.low + float(rng.random()) * (line.high - line.low))

    def neighbours(self, value: Value, rng: np.random.Generator) -> list[Value]:
        """One entry changed a little, each once (at most 64 of them); adjacent whole numbers when integer."""
        picked = range(self.length) if self.length <= 64 else rng.choice(self.length, 64, replace=False).tolist()
        near: list[Value] = []
        for i in picked:
            low, high = self._bounds(value, i)
            u = self.axis.encode(value[i])
            entries = [self.axis.decode(u + 0.1 * float(rng.standard_normal()))]
            if self.integer:
                entries += [value[i] - 1, value[i] + 1]
            near += [[*value[:i], min(max(entry, low), high), *value[i + 1 :]] for entry in entries]
        return distinct(near, value)

    def grid(self, levels: int) -> list[Value]:
        """The full grid, `levels` for each entry, up to 4096 vectors; beyond, `levels` vectors of one number."""
        steps = [self.axis.decode(i / (levels - 1) if levels > 1 else 0.5) for i in range(max(levels, 1))]
        if isinstance(self.axis, Stepped) and self.axis.levels <= levels:
            steps = [self.axis.at(k) for k in range(self.axis.levels)]
        steps = distinct(steps, None)
        if self.monotone is not None and math.comb(len(steps) + self.length - 1, self.length) <= MAX_LISTED:
            combined = itertools.combinations_with_replacement(steps, self.length)
            return [self._sorted(list(entries)) for entries in combined]
        if self.monotone is None and self.length * math.log(len(steps)) <= math.log(MAX_LISTED) + 1e-9:
            return [list(entries) for entries in itertools.product(steps, repeat=self.length)]
        return [[step] * self.length for step in steps]

    def members(self) -> Iterator[Value]:
        """Every vector."""
        if not isinstance(self.axis, Stepped):
            raise self._continuous()
        numbers = range(int(self.low), int(self.high) + 1)
        if self.monotone is None:
            return map(list, itertools.product(numbers, repeat=self.length))
        combined = itertools.combinations_with_replacement(numbers, self.length)
        return (self._sorted(list(entries)) for entries in combined)

    def to_dict(self) -> Value:
        """vector, type, min, max, and log and monotone when set."""
        kind = "int" if self.integer else "float"
        out: dict[str, Value] = {"vector": self.length, "type": kind, "min": self.low, "max": self.high}
        if self.log:
            out["log"] = True
        if self.monotone is not None:
            out["monotone"] = self.monotone
        return out | self._common()
