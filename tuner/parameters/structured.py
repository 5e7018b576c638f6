"""The kinds that arrange named items: Subset and Permutation, and what they share with Simplex.

Each is one parameter to its user and several columns to a strategy.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tuner.parameters.columns import Column, even_grid
from tuner.parameters.parameter import Parameter, Value, check_values, distinct, identity, real

MAX_LISTED = 4096
"""The most values that `grid` lists in full."""


def sequence(value: Value) -> list[Value] | None:
    """The entries of a list, tuple, set or array as plain values; None when it is none of these."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, (Sequence, set, frozenset)):
        return None
    return [item.item() if isinstance(item, np.generic) else item for item in value]


def drawn(rng: np.random.Generator, population: int, size: int) -> list[int]:
    """`size` different numbers below `population`, ascending; every set equally likely (Floyd's algorithm)."""
    chosen: set[int] = set()
    for top in range(population - size, population):
        k = int(rng.integers(top + 1))
        chosen.add(top if k in chosen else k)
    return sorted(chosen)


def pair(rng: np.random.Generator, size: int) -> tuple[int, int]:
    """Two different numbers below `size`, in random order."""
    i = int(rng.integers(size))
    j = int(rng.integers(size - 1))
    return i, j + (j >= i)


@dataclass(frozen=True)
class Items(Parameter):
    """What the kinds over named items share."""

    items: tuple[Value, ...]

    _index: dict[Hashable, int] = field(init=False, repr=False, compare=False)

    def _check_items(self, key: str, fewest: int) -> None:
        items = check_values(self, self.items, "the items", key, fewest)
        if any(isinstance(item, (list, dict)) for item in items):
            raise self.fail(f"the items of {self._shown} are strings or numbers, but got {list(items)!r}", key)
        object.__setattr__(self, "items", items)
        object.__setattr__(self, "_index", {identity(item): i for i, item in enumerate(items)})

    def _places(self, value: Value) -> list[int]:
        """Where each of the listed items stands among the declared ones."""
        listed = sequence(value)
        if listed is None:
            raise self.fail(f"{self._shown} must be a list of its items, but got {value!r}")
        places = []
        for item in listed:
            place = self._place(item)
            if place is None:
                known = ", ".join(map(str, self.items))
                raise self.fail(f"{self._shown} has the items {known}, but got {item!r}")
            places.append(place)
        if len(set(places)) < len(places):
            raise self.fail(f"{self._shown} takes each item once, but got {listed!r}")
        return places

    def _place(self, item: Value) -> int | None:
        try:
            return self._index.get(identity(item))
        except (TypeError, ValueError):
            return None


@dataclass(frozen=True)
class Subset(Items):
    """Some of the items, `min_size` to `max_size` of them, in declared order; one binary column for each item."""

    min_size: int = field(default=0, kw_only=True)
    max_size: int | None = field(default=None, kw_only=True)

    def _check(self) -> None:
        self._check_items("subset", 1)
        most = len(self.items) if self.max_size is None else self.max_size
        for key, size in (("min_size", self.min_size), ("max_size", most)):
            if real(size) is None or size != int(size) or not 0 <= size <= len(self.items):
                raise self.fail(f"{key} of {self._shown} must be 0 to {len(self.items)}, but got {size!r}", key)
        if self.min_size > most:
            raise self.fail(
                f"min_size <= max_size must hold for {self._shown}, but got {self.min_size} > {most}", "min_size"
            )

    @property
    def _most(self) -> int:
        return len(self.items) if self.max_size is None else self.max_size

    def contains(self, value: Value) -> bool:
        """Whether it is a list of items in declared order, as many as allowed."""
        if value.__class__ is not list or not self.min_size <= len(value) <= self._most:
            return False
        last = -1
        for item in value:
            place = self._place(item)
            if place is None or place <= last:
                return False
            last = place
        return True

    def normalise(self, value: Value) -> list[Value]:
        """The items in declared order."""
        places = sorted(self._places(value))
        if not self.min_size <= len(places) <= self._most:
            raise self.fail(
                f"{self._shown} takes {self.min_size} to {self._most} items, but got {len(places)}: {value!r}"
            )
        return [self.items[i] for i in places]

    def size(self) -> float:
        """How many subsets there are."""
        return sum(math.comb(len(self.items), s) for s in range(self.min_size, self._most + 1))

    def columns(self) -> tuple[Column, ...]:
        """One binary column for each item."""
        return tuple(Column("categorical", 2, self.name, i, even_grid(2)) for i in range(len(self.items)))

    def encode(self, value: Value) -> list[float]:
        """0.75 for the items in it, 0.25 for the others."""
        held = {identity(item) for item in value}
        return [0.75 if key in held else 0.25 for key in self._index]

    def decode(self, u: Sequence[float]) -> Value:
        """The items from 0.5 on; too many or too few are mended by the highest positions."""
        chosen = [i for i, position in enumerate(u) if position >= 0.5]
        if not self.min_size <= len(chosen) <= self._most:
            size = min(max(len(chosen), self.min_size), self._most)
            chosen = sorted(sorted(range(len(u)), key=lambda i: -u[i])[:size])
        return [self.items[i] for i in chosen]

    def sample(self, rng: np.random.Generator) -> Value:
        """Every admissible subset equally likely."""
        m, most = len(self.items), self._most
        if self.min_size == 0 and most == m:
            return [item for item, bit in zip(self.items, rng.random(m).tolist(), strict=True) if bit >= 0.5]
        ticket = int(rng.integers(2**62)) * int(self.size()) >> 62
        size = self.min_size
        while size < most and ticket >= math.comb(m, size):
            ticket -= math.comb(m, size)
            size += 1
        return [self.items[i] for i in drawn(rng, m, size)]

    def _toggled(self, value: Value, i: int) -> list[Value]:
        held = {identity(item) for item in value} ^ {identity(self.items[i])}
        return [item for item in self.items if identity(item) in held]

    def neighbours(self, value: Value, rng: np.random.Generator) -> list[Value]:
        """One item more or less; where a size is fixed, one exchanged."""
        m = len(self.items)
        near = [self._toggled(value, i) for i in range(m)]
        if self.min_size == self._most:
            outside = [i for i in range(m) if self.items[i] not in value]
            inside = [i for i in range(m) if i not in outside]
            near = [self._toggled(self._toggled(value, i), j) for i in inside for j in outside]
        return distinct([other for other in near if self.contains(other)], value)

    def jump(self, value: Value, rng: np.random.Generator) -> Value:
        """One or two items toggled; unchanged where that breaks the size."""
        other = value
        i, j = pair(rng, len(self.items)) if len(self.items) > 1 else (0, 0)
        other = self._toggled(value, i)
        if i != j and rng.random() < 0.5:
            other = self._toggled(other, j)
        return other if self.contains(other) else value

    def grid(self, levels: int) -> list[Value]:
        """Every subset when they are at most 4096; otherwise the smallest, the prefixes and the largest."""
        if self.size() <= MAX_LISTED:
            return list(self.members())
        return [list(self.items[:size]) for size in range(self.min_size, self._most + 1)]

    def members(self) -> Iterator[Value]:
        """Every subset, smallest first."""
        for size in range(self.min_size, self._most + 1):
            yield from map(list, itertools.combinations(self.items, size))

    def to_dict(self) -> Value:
        """subset, and the size bounds when set."""
        out: dict[str, Value] = {"subset": list(self.items)}
        if self.min_size:
            out["min_size"] = self.min_size
        if self.max_size is not None:
            out["max_size"] = self.max_size
        return out | self._common()


@dataclass(frozen=True)
class Permutation(Items):
    """The items in some order; column i is the relative position of item i."""

    def _check(self) -> None:
        self._check_items("permutation", 2)

    def contains(self, value: Value) -> bool:
        """Whether it lists each item once."""
        if value.__class__ is not list or len(value) != len(self.items):
            return False
        places = {self._place(item) for item in value}
        return None not in places and len(places) == len(self.items)

    def normalise(self, value: Value) -> list[Value]:
        """The order as a list."""
        places = self._places(value)
        if len(places) != len(self.items):
            raise self.fail(f"{self._shown} must list all {len(self.items)} items, but got {value!r}")
        return [self.items[i] for i in places]

    def size(self) -> float:
        """m factorial."""
        return math.factorial(len(self.items))

    def columns(self) -> tuple[Column, ...]:
        """One continuous column for each item."""
        return tuple(Column("continuous", None, self.name, i) for i in range(len(self.items)))

    def encode(self, value: Value) -> list[float]:
        """(rank + 0.5) / m for each declared item."""
        m = len(self.items)
        rank = {identity(item): i for i, item in enumerate(value)}
        return [(rank[key] + 0.5) / m for key in self._index]

    def decode(self, u: Sequence[float]) -> Value:
        """The items by ascending position; ties in declared order."""
        return [self.items[i] for i in sorted(range(len(u)), key=u.__getitem__)]

    def centre(self) -> Value:
        """Where the prior is; without one, the declared order."""
        return super().centre()

    def jump(self, value: Value, rng: np.random.Generator) -> Value:
        """Two items exchanged."""
        return _exchanged(value, *pair(rng, len(value)))

    def neighbours(self, value: Value, rng: np.random.Generator) -> list[Value]:
        """Two adjacent items exchanged, and as many random exchanges (at most 64 of each)."""
        m = len(value)
        places = range(m - 1) if m <= 65 else sorted(rng.choice(m - 1, 64, replace=False).tolist())
        near = [_exchanged(value, i, i + 1) for i in places]
        near += [_exchanged(value, *pair(rng, m)) for _ in places]
        return distinct(near, value)

    def grid(self, levels: int) -> list[Value]:
        """Every order up to 4096; otherwise the rotations of the declared one."""
        if self.size() <= MAX_LISTED:
            return list(self.members())
        return [[*self.items[i:], *self.items[:i]] for i in range(len(self.items))]

    def members(self) -> Iterator[Value]:
        """Every order."""
        return map(list, itertools.permutations(self.items))

    def to_dict(self) -> Value:
        """permutation."""
        return {"permutation": list(self.items)} | self._common()


def _exchanged(value: Sequence[Any], i: int, j: int) -> list[Any]:
    out = list(value)
    out[i], out[j] = out[j], out[i]
    return out
