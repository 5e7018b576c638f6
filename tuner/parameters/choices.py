"""The kinds that hold one of some listed values: Choice, Bool and Constant."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from tuner.parameters.columns import Column, even_grid
from tuner.parameters.parameter import Parameter, Value, check_values, identity, real


@dataclass(frozen=True)
class Choice(Parameter):
    """One of several values, in order when `ordered`."""

    values: tuple[Value, ...]
    ordered: bool = field(default=False, kw_only=True)

    _index: dict[Hashable, int] = field(init=False, repr=False, compare=False)

    def _check(self) -> None:
        values = check_values(self, self.values, "the values", "values", 1)
        if not isinstance(self.ordered, bool):
            raise self.fail(f"ordered of {self._shown} is true or false, but got {self.ordered!r}", "ordered")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "_index", {identity(value): i for i, value in enumerate(values)})

    def contains(self, value: Value) -> bool:
        """Whether it is one of the values; 1, 1.0 and True are three values."""
        try:
            return identity(value) in self._index
        except (TypeError, ValueError):
            return False

    def normalise(self, value: Value) -> Value:
        """The listed value that equals it: 8.0 finds 8, a tuple finds its list."""
        if isinstance(value, np.generic):
            value = value.item()
        if self.contains(value):
            return self._at(self._index[identity(value)])
        number = real(value)
        if number is not None:
            for i, listed in enumerate(self.values):
                if real(listed) == number:
                    return self._at(i)
        listed = ", ".join(map(repr, self.values[:20])) + (", ..." if len(self.values) > 20 else "")
        raise self.fail(f"{self._shown} must be one of {listed}, but got {value!r}")

    def _at(self, index: int) -> Value:
        value = self.values[index]
        return copy.deepcopy(value) if value.__class__ in (list, dict) else value

    def size(self) -> float:
        """How many values there are."""
        return len(self.values)

    def columns(self) -> tuple[Column, ...]:
        """One column: ordinal or categorical."""
        kind = "ordinal" if self.ordered else "categorical"
        return (Column(kind, len(self.values), self.name, 0, even_grid(len(self.values))),)  # type: ignore[arg-type]

    def encode(self, value: Value) -> list[float]:
        """(i + 0.5) / k for value i of k."""
        return [(self._index[identity(value)] + 0.5) / len(self.values)]

    def decode(self, u: Sequence[float]) -> Value:
        """The value whose cell the position is in."""
        k = len(self.values)
        return self._at(min(max(int(u[0] * k), 0), k - 1))

    def centre(self) -> Value:
        """Where the prior is; without one, the middle of ordered values or the first of unordered ones."""
        if self.prior is not None or self.ordered:
            return super().centre()
        return self._at(0)

    def prior_weights(self) -> list[float] | None:
        """Weights of the values when unordered and believed in."""
        if self.prior is None or self.ordered:
            return None
        return self.prior.weights(self._index[identity(self.prior.at)], len(self.values))

    def neighbours(self, value: Value, rng: np.random.Generator) -> list[Value]:
        """The adjacent values when ordered, otherwise all others."""
        at = self._index[identity(value)]
        near = (at - 1, at + 1) if self.ordered else range(len(self.values))
        return [self._at(i) for i in near if i != at and 0 <= i < len(self.values)]

    def grid(self, levels: int) -> list[Value]:
        """All values."""
        return list(self.members())

    def members(self) -> Iterator[Value]:
        """All values, as listed."""
        return (self._at(i) for i in range(len(self.values)))

    def to_dict(self) -> Value:
        """values, and ordered when set."""
        out: dict[str, Value] = {"values": list(self.values)}
        return (out | {"ordered": True} if self.ordered else out) | self._common()

    def canonical(self, value: Value) -> Value:
        """The value; a mapping by its sorted keys."""
        return identity(value) if value.__class__ in (list, dict) else value


@dataclass(frozen=True)
class Bool(Parameter):
    """True or False."""

    def _check(self) -> None:
        """Nothing can be wrong."""

    def contains(self, value: Value) -> bool:
        """Whether it is True or False."""
        return value is True or value is False

    def normalise(self, value: Value) -> bool:
        """The bool, also from numpy."""
        if isinstance(value, (bool, np.bool_)):
            return bool(value)
        raise self.fail(f"{self._shown} must be true or false, but got {value!r}")

    def size(self) -> float:
        """2."""
        return 2

    def columns(self) -> tuple[Column, ...]:
        """One categorical column of two levels."""
        return (Column("categorical", 2, self.name, 0, even_grid(2)),)

    def encode(self, value: Value) -> list[float]:
        """0.25 for False, 0.75 for True."""
        return [0.75 if value else 0.25]

    def decode(self, u: Sequence[float]) -> Value:
        """True from 0.5 on."""
        return u[0] >= 0.5

    def centre(self) -> Value:
        """Where the prior is; False without one."""
        return False if self.prior is None else self.prior.at

    def prior_weights(self) -> list[float] | None:
        """Weights of False and True when believed in."""
        return None if self.prior is None else self.prior.weights(int(self.prior.at), 2)

    def neighbours(self, value: Value, rng: np.random.Generator) -> list[Value]:
        """The other one."""
        return [not value]

    def grid(self, levels: int) -> list[Value]:
        """Both."""
        return [False, True]

    def members(self) -> Iterator[Value]:
        """False, then True."""
        return iter((False, True))

    def to_dict(self) -> Value:
        """The type."""
        return {"type": "bool"} | self._common()


@dataclass(frozen=True)
class Constant(Parameter):
    """A value that does not change; no column, part of every configuration in which it is active."""

    value: Value

    def _check(self) -> None:
        object.__setattr__(self, "value", check_values(self, [self.value], "the value", "value", 1)[0])
        if self.prior is not None:
            raise self.fail(f"{self._shown} is a constant, which needs no prior; drop it", "prior")

    def contains(self, value: Value) -> bool:
        """Whether it is the value."""
        try:
            return identity(value) == identity(self.value)
        except (TypeError, ValueError):
            return False

    def normalise(self, value: Value) -> Value:
        """The value itself."""
        plain = value.item() if isinstance(value, np.generic) else value
        if self.contains(plain) or (real(plain) is not None and real(plain) == real(self.value)):
            return self.centre()
        raise self.fail(f"{self._shown} is fixed to {self.value!r}, but got {value!r}")

    def size(self) -> float:
        """1."""
        return 1

    def columns(self) -> tuple[Column, ...]:
        """None."""
        return ()

    def encode(self, value: Value) -> list[float]:
        """Nothing."""
        return []

    def decode(self, u: Sequence[float]) -> Value:
        """The value."""
        return copy.deepcopy(self.value) if self.value.__class__ in (list, dict) else self.value

    def sample(self, rng: np.random.Generator) -> Value:
        """The value."""
        return self.decode(())

    def neighbours(self, value: Value, rng: np.random.Generator) -> list[Value]:
        """None."""
        return []

    def grid(self, levels: int) -> list[Value]:
        """The value."""
        return [self.decode(())]

    def members(self) -> Iterator[Value]:
        """The value."""
        return iter([self.decode(())])

    def to_dict(self) -> Value:
        """The bare scalar, or {value: ...} for what is no scalar."""
        bare = self.when is None and not (self.value is None or isinstance(self.value, (list, dict)))
        return self.value if bare else {"value": self.value} | self._common()
