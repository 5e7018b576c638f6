"""The kind that divides a whole among items: Simplex."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tuner.parameters.axis import Line, Number
from tuner.parameters.columns import Column
from tuner.parameters.parameter import Value, distinct, real
from tuner.parameters.structured import MAX_LISTED, Items, drawn, pair

UNITS = 10**9
"""Shares of a simplex without a total are whole multiples of 1 / UNITS, so that they sum to 1 exactly."""

MAX_TOTAL = 10**12


@dataclass(frozen=True)
class Simplex(Items):
    """Shares of the items that sum to 1; with `total`, whole numbers that sum to it.

    A configuration holds a mapping from item (as text) to share.
    """

    total: int | None = field(default=None, kw_only=True)

    def _check(self) -> None:
        self._check_items("simplex", 2)
        object.__setattr__(self, "items", tuple(map(str, self.items)))
        if len(set(self.items)) < len(self.items):
            raise self.fail(f"the items of {self._shown} must differ as texts, but got {list(self.items)!r}", "simplex")
        if self.total is not None:
            whole = real(self.total)
            if whole is None or whole != int(whole) or not 1 <= whole <= MAX_TOTAL:
                raise self.fail(f"total of {self._shown} must be 1 to {MAX_TOTAL:,}, but got {self.total!r}", "total")
            object.__setattr__(self, "total", int(whole))

    @property
    def _units(self) -> int:
        return UNITS if self.total is None else self.total

    def _shares(self, units: Sequence[int]) -> dict[str, Number]:
        if self.total is not None:
            return dict(zip(self.items, units, strict=True))
        return {item: unit / UNITS for item, unit in zip(self.items, units, strict=True)}

    def _whole(self, value: Mapping[str, Number]) -> list[int]:
        """The shares in units."""
        if self.total is not None:
            return [int(value[item]) for item in self.items]
        return [round(value[item] * UNITS) for item in self.items]

    def contains(self, value: Value) -> bool:
        """Whether it maps each item to a share >= 0 and they sum to the whole."""
        if value.__class__ is not dict or len(value) != len(self.items):
            return False
        allowed = (int,) if self.total is not None else (float, int)
        whole = 1 if self.total is None else self.total
        for item in self.items:
            share = value.get(item)
            if share is None or share.__class__ not in allowed or not 0 <= share <= whole:
                return False
        if self.total is not None:
            return sum(value.values()) == self.total
        return abs(sum(value.values()) - 1.0) <= 1e-9

    def normalise(self, value: Value) -> dict[str, Number]:
        """The shares in declared order, rounded to units of 1e-9 that sum to 1; sums up to 1e-6 off are mended."""
        if not isinstance(value, Mapping):
            raise self.fail(f"{self._shown} must map each of {', '.join(self.items)} to its share, but got {value!r}")
        given = {str(item): real(share) for item, share in value.items()}
        missing, unknown = [i for i in self.items if i not in given], [i for i in given if i not in self.items]
        if missing or unknown:
            what = f"{missing[0]!r} is missing" if missing else f"{unknown[0]!r} is none of them"
            raise self.fail(f"{self._shown} must map each of {', '.join(self.items)} to its share, but {what}")
        shares = [given[item] for item in self.items]
        if any(share is None or share < 0 for share in shares):
            raise self.fail(f"the shares of {self._shown} must be numbers >= 0, but got {value!r}")
        numbers = [share for share in shares if share is not None]
        whole = 1 if self.total is None else self.total
        if self.total is not None and (any(n != int(n) for n in numbers) or sum(numbers) != whole):
            raise self.fail(f"the shares of {self._shown} must be whole numbers that sum to {whole}, but got {value!r}")
        if abs(sum(numbers) - whole) > 1e-6:
            raise self.fail(f"the shares of {self._shown} must sum to 1, but got {sum(numbers)!r}: {value!r}")
        return self._shares([int(n) for n in numbers]) if self.total is not None else self.decode(numbers)

    def canonical(self, value: Value) -> Value:
        """The units, in declared order."""
        return self._whole(value)

    def size(self) -> float:
        """The number of compositions of the total; math.inf without one."""
        return math.inf if self.total is None else math.comb(self.total + len(self.items) - 1, self.total)

    def columns(self) -> tuple[Column, ...]:
        """One continuous column for each item."""
        return tuple(Column("continuous", None, self.name, i) for i in range(len(self.items)))

    def encode(self, value: Value) -> list[float]:
        """The shares as parts of 1."""
        units = self._units
        return [unit / units for unit in self._whole(value)]

    def decode(self, u: Sequence[float]) -> Value:
        """The positions divided by their sum, rounded to units by the largest remainder."""
        clipped = [min(max(position, 0.0), 1.0) for position in u]
        total = sum(clipped)
        parts = [part / total for part in clipped] if total > 1e-9 else [1.0 / len(u)] * len(u)
        exact = [part * self._units for part in parts]
        # Just below a whole unit is rounding of the encoding, not a remainder.
        units = [math.floor(amount + 1e-3) for amount in exact]
        order = sorted(range(len(u)), key=lambda i: units[i] - exact[i])
        short = self._units - sum(units)
        for i in order[:short] if short > 0 else [i for i in reversed(order) if units[i] > 0][: -short or 0]:
            units[i] += 1 if short > 0 else -1
        return self._shares(units)

    def sample(self, rng: np.random.Generator) -> Value:
        """Uniform on the simplex (Dirichlet of ones); with a total, every composition equally likely."""
        k = len(self.items)
        bars = drawn(rng, self._units + k - 1, k - 1)
        edges = [-1, *bars, self._units + k - 1]
        return self._shares([right - left - 1 for left, right in itertools.pairwise(edges)])

    def line(self, value: Value, rng: np.random.Generator) -> Line | None:
        """Two random items share what they have together."""
        units = self._whole(value)
        i, j = pair(rng, len(units))
        both = units[i] + units[j]

        def at(t: float) -> Value:
            part = min(max(int(t), 0), both)
            moved = list(units)
            moved[i], moved[j] = part, both - part
            return self._shares(moved)

        return Line(units[i] + float(rng.random()), 0.0, both + 1.0, at)

    def jump(self, value: Value, rng: np.random.Generator) -> Value:
        """Two random items redivide what they have together."""
        line = self.line(value, rng)
        return value if line is None else line.value(line.low + float(rng.random()) * (line.high - line.low))

    def neighbours(self, value: Value, rng: np.random.Generator) -> list[Value]:
        """A tenth of the whole moved between two items (at most 64 pairs); one unit too when there is a total."""
        units = self._whole(value)
        pairs = list(itertools.permutations(range(len(units)), 2))
        if len(pairs) > 64:
            pairs = [pairs[i] for i in sorted(rng.choice(len(pairs), 64, replace=False).tolist())]
        near: list[Value] = []
        for i, j in pairs:
            amounts = {max(1, round(self._units * 0.1 * float(rng.random())))} | ({1} if self.total else set())
            for amount in sorted(min(amount, units[i]) for amount in amounts):
                moved = list(units)
                moved[i] -= amount
                moved[j] += amount
                near.append(self._shares(moved))
        return distinct(near, value)

    def grid(self, levels: int) -> list[Value]:
        """All compositions up to 4096; otherwise the lattice of 1 / (levels - 1), coarser when too many."""
        if self.size() <= MAX_LISTED:
            return list(self.members())
        parts, k = max(levels - 1, 1), len(self.items)
        while parts > 1 and math.comb(parts + k - 1, parts) > MAX_LISTED:
            parts -= 1
        return distinct([self.decode([part / parts for part in parted]) for parted in _compositions(parts, k)], None)

    def members(self) -> Iterator[Value]:
        """Every composition of the total."""
        if self.total is None:
            raise self.fail(f"{self._shown} is continuous and cannot be enumerated; give it a total")
        return map(self._shares, _compositions(self.total, len(self.items)))

    def to_dict(self) -> Value:
        """simplex, and total when set."""
        out: dict[str, Value] = {"simplex": list(self.items)}
        return (out if self.total is None else out | {"total": self.total}) | self._common()


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Every way to write `total` as a sum of `parts` whole numbers >= 0, in order."""
    for bars in itertools.combinations(range(total + parts - 1), parts - 1):
        edges = (-1, *bars, total + parts - 1)
        yield tuple(right - left - 1 for left, right in itertools.pairwise(edges))
