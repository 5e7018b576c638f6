"""What every kind of parameter can do, and the checks that their declarations share."""

from __future__ import annotations

import copy
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral, Real
from typing import Any

import numpy as np

from tuner.errors import SpaceError
from tuner.expressions import Expression, parse
from tuner.parameters.axis import Line, Number
from tuner.parameters.columns import Column
from tuner.parameters.priors import Prior, truncated_normal

Value = Any
"""A JSON value: number, string, bool, None, list or mapping."""

LARGEST = 2**63 - 1


class ParameterError(SpaceError):
    """A declaration or a value that breaks a parameter's rule.

    Attributes:
        parameter: The parameter's name.
        key: The key of the declaration that is wrong, as a sweep file writes it; None when it is not one of them.
    """

    def __init__(self, message: str, *, parameter: str, key: str | None = None) -> None:
        self.parameter = parameter
        self.key = key
        super().__init__(message)


@dataclass(frozen=True)
class Parameter(ABC):
    """One thing that can be set; the kinds are its leaves.

    Attributes:
        name: How configurations, commands and expressions call it.
        when: The condition under which it is active; None for always.
        prior: Where its best value is believed to be.
    """

    name: str
    when: str | None = field(default=None, kw_only=True)
    prior: Prior | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        name = self.name
        if not isinstance(name, str) or not 0 < len(name) <= 200 or name != name.strip():
            raise ParameterError(f"a parameter's name is a text of 1 to 200 characters, but got {name!r}", parameter="")
        if not name.isprintable() or "`" in name:
            raise ParameterError(
                f"a parameter's name has no control characters or backquotes, but got {name!r}", parameter=""
            )
        self._check()
        try:
            _ = self.condition
        except SpaceError as error:
            raise self.fail(f"the condition of {self._shown} must be an expression: {error}", "when") from None
        if self.prior is not None:
            if not isinstance(self.prior, Prior):
                raise self.fail(f"prior of {self._shown} is a Prior, but got {self.prior!r}", "prior")
            try:
                at = self.normalise(self.prior.at)
            except SpaceError as error:
                raise self.fail(f"the prior of {self._shown} must be at one of its values: {error}", "prior") from None
            object.__setattr__(self, "prior", Prior(at, self.prior.confidence))

    @property
    def _shown(self) -> str:
        return f'"{self.name}"'

    def fail(self, message: str, key: str | None = None) -> ParameterError:
        """The error that says so of this parameter."""
        return ParameterError(message, parameter=self.name, key=key)

    @cached_property
    def condition(self) -> Expression | None:
        """The parsed `when`."""
        return None if self.when is None else parse(self.when)

    @abstractmethod
    def _check(self) -> None:
        """Raises ParameterError when the declaration cannot be."""

    @abstractmethod
    def contains(self, value: Value) -> bool:
        """Whether this is one of the values, in the form that configurations hold."""

    @abstractmethod
    def normalise(self, value: Value) -> Value:
        """The value that a person meant: 8.0 for 8, tuples for lists, floats on the encoding's resolution.

        Raises:
            ParameterError: It is none of the parameter's values.
        """

    @abstractmethod
    def size(self) -> float:
        """How many values there are, exactly; math.inf when they are continuous."""

    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """The columns of the unit cube that it takes."""

    @abstractmethod
    def encode(self, value: Value) -> list[float]:
        """The positions of a value, one for each column."""

    @abstractmethod
    def decode(self, u: Sequence[float]) -> Value:
        """The value at these positions, one for each column."""

    def sample(self, rng: np.random.Generator) -> Value:
        """A uniform draw; log-uniform on a logarithmic scale."""
        return self.decode(rng.random(len(self.columns())).tolist())

    def sample_prior(self, rng: np.random.Generator) -> Value:
        """A draw from the prior; uniform without one."""
        if self.prior is None:
            return self.sample(rng)
        weights = self.prior_weights()
        if weights is not None:
            return self.decode([(int(rng.choice(len(weights), p=weights)) + 0.5) / len(weights)])
        sd = self.prior.sd
        return self.decode([truncated_normal(rng, u, sd) for u in self.encode(self.prior.at)])

    def prior_weights(self) -> list[float] | None:
        """The prior's probabilities of the levels of an unordered choice; None for every other kind."""
        return None

    def centre(self) -> Value:
        """Where the prior is; without one, the value in the middle."""
        return self.decode([0.5] * len(self.columns())) if self.prior is None else copy.deepcopy(self.prior.at)

    @abstractmethod
    def neighbours(self, value: Value, rng: np.random.Generator) -> list[Value]:
        """Values one change away, without duplicates and without `value`."""

    @abstractmethod
    def grid(self, levels: int) -> list[Value]:
        """Values spread over the range: all of them when they are few, otherwise about `levels` for each column."""

    @abstractmethod
    def members(self) -> Iterator[Value]:
        """Every value, in a fixed order.

        Raises:
            ParameterError: The values are continuous.
        """

    @abstractmethod
    def to_dict(self) -> Value:
        """The declaration as a sweep file writes it; `parameters.from_dict` is the inverse."""

    def canonical(self, value: Value) -> Value:
        """A stand-in whose `repr` is the same exactly for equal values."""
        return value

    def log_mass(self, value: Value) -> float:
        """Log probability of a discrete value under `sample`."""
        return -math.log(self.size())

    def line(self, value: Value, rng: np.random.Generator) -> Line | None:
        """A random segment through `value` along which the uniform measure is uniform; None when there is none."""
        return None

    def jump(self, value: Value, rng: np.random.Generator) -> Value:
        """A symmetric random change of `value`, with regard to the uniform measure."""
        return self.sample(rng)

    def _common(self) -> dict[str, Value]:
        out: dict[str, Value] = {}
        if self.prior is not None:
            out["prior"] = {"at": self.prior.at, "confidence": self.prior.confidence}
        if self.when is not None:
            out["when"] = self.when
        return out

    def _continuous(self) -> ParameterError:
        return self.fail(f"{self._shown} is continuous and cannot be enumerated; give it a step")


def identity(value: Value) -> Hashable:
    """What tells values apart as JSON does: 1, 1.0 and True are three."""
    cls = value.__class__
    if cls in (list, tuple, dict):
        return "json", json.dumps(value, sort_keys=True)
    return cls, value


def real(value: Value) -> Number | None:
    """The number as int or float; None when it is no finite number (bool is none)."""
    if isinstance(value, (bool, np.bool_)):
        return None
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return number if math.isfinite(number) else None
    return None


def distinct(values: Sequence[Value], without: Value) -> list[Value]:
    """The values in order, without repetitions and without one."""
    seen = {identity(without)}
    kept = []
    for value in values:
        key = identity(value)
        if key not in seen:
            seen.add(key)
            kept.append(value)
    return kept


def check_range(parameter: Parameter, low: Value, high: Value, *, log: bool, whole: bool) -> None:
    """Raises ParameterError unless low < high are numbers that an axis can hold."""
    shown, kind = f'"{parameter.name}"', "a whole number" if whole else "a finite number"
    for key, value in (("min", low), ("max", high)):
        bound = real(value)
        if bound is None or (whole and bound != int(bound)):
            hint = "; remove the quotes" if isinstance(value, str) else ""
            raise parameter.fail(f"{key} of {shown} must be {kind}, but got {value!r}{hint}", key)
        if abs(bound) > (LARGEST if whole else 1e300):
            raise parameter.fail(f"{key} of {shown} must stay within {'2**63 - 1' if whole else '1e300'}", key)
    if not isinstance(log, bool):
        raise parameter.fail(f"log of {shown} is true or false, but got {log!r}", "log")
    if not low < high:
        what = "fix it with a scalar instead" if low == high else "swap them"
        raise parameter.fail(f"low < high must hold for {shown}, but got low={low!r}, high={high!r}; {what}", "min")
    if log and low < (1 if whole else 1e-300):
        raise parameter.fail(f"log needs low > 0 for {shown}, but got low={low!r}; raise it or drop log", "min")
    if high - low < 1e-12 * max(abs(low), abs(high)) or high - low < 1e-280:
        raise parameter.fail(
            f"the range of {shown} is too narrow for floating point: low={low!r}, high={high!r}", "max"
        )


def check_values(parameter: Parameter, values: Value, what: str, key: str, fewest: int) -> tuple[Value, ...]:
    """The listed values as a tuple.

    Raises:
        ParameterError: They are no list, too few, no JSON values, or hold one twice.
    """
    shown = f'"{parameter.name}"'
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence):
        raise parameter.fail(f"{what} of {shown} must be a list, but got {values!r}", key)
    if len(values) < fewest:
        raise parameter.fail(
            f"{what} of {shown} must be at least {fewest}, but got {len(values)}: {list(values)!r}", key
        )
    seen: set[Hashable] = set()
    out = []
    for value in values:
        plain = value.item() if isinstance(value, np.generic) else list(value) if isinstance(value, tuple) else value
        try:
            json.dumps(plain, allow_nan=False)
            same = identity(plain)
            hash(same)
        except (TypeError, ValueError, RecursionError):
            raise parameter.fail(f"{what} of {shown} must be JSON values, but got {value!r}", key) from None
        if same in seen:
            raise parameter.fail(f"{what} of {shown} must differ, but {value!r} is listed twice; remove one", key)
        seen.add(same)
        out.append(plain)
    return tuple(out)
