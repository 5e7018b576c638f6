"""Beliefs about where a parameter's best value lies, as densities on the unit cube.

A prior is a normal around the encoded `at`, truncated to [0, 1], in every column of its parameter; an unordered choice
has no near values, so there `at` gets a weight and the other values share the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tuner.errors import SpaceError

Confidence = Literal["low", "medium", "high"]

SD: dict[str, float] = {"low": 0.5, "medium": 0.25, "high": 0.125}
"""Standard deviation in the unit cube, before truncation."""

LEAD: dict[str, float] = {"low": 0.25, "medium": 0.5, "high": 0.75}
"""The weight of `at` among k unordered values is 1/k + lead * (1 - 1/k)."""

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Prior:
    """Where the best value is believed to be.

    Attributes:
        at: A value of the parameter; one number stands for all entries of a vector.
        confidence: low, medium or high.
    """

    at: Any
    confidence: Confidence = "medium"

    def __post_init__(self) -> None:
        if not isinstance(self.confidence, str) or self.confidence not in SD:
            raise SpaceError(f"confidence is one of low, medium, high, but got {self.confidence!r}")

    @property
    def sd(self) -> float:
        """Standard deviation in the unit cube."""
        return SD[self.confidence]

    def weights(self, index: int, size: int) -> list[float]:
        """The probabilities of `size` unordered values of which number `index` is the one believed in."""
        lead = LEAD[self.confidence]
        return [(1 - lead) / size + (lead if i == index else 0.0) for i in range(size)]


def truncated_normal(rng: np.random.Generator, mean: float, sd: float) -> float:
    """A draw in [0, 1] from the normal around `mean` in [0, 1], by inversion; for sd >= 0.125."""
    low, high = _NORMAL.cdf(-mean / sd), _NORMAL.cdf((1 - mean) / sd)
    return min(max(mean + sd * _NORMAL.inv_cdf(low + float(rng.random()) * (high - low)), 0.0), 1.0)


def log_density(u: NDArray[np.float64], mean: float, sd: float) -> NDArray[np.float64]:
    """Log density (n,) of the normal around `mean` truncated to [0, 1], at u (n,)."""
    mass = _NORMAL.cdf((1 - mean) / sd) - _NORMAL.cdf(-mean / sd)
    result: NDArray[np.float64] = -0.5 * ((u - mean) / sd) ** 2 - math.log(sd * math.sqrt(2 * math.pi) * mass)
    return result
