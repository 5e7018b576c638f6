"""Intervals: how far a share or a mean counted in a few trials may be from the truth. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

_LEVEL = 0.95
_HALVINGS = 60
"""Of [0, 1]: more than a float resolves."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and the interval that holds the truth with the level's probability."""

    value: float
    low: float
    high: float

    def scaled(self, factor: float) -> Estimate:
        """All of it times a factor >= 0."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor)


def share(k: int, n: int, level: float = _LEVEL) -> Estimate:
    """The share of which `k` of `n` is a sample: the exact interval of Clopper and Pearson 1934.

    It holds the truth at least as often as it says, whatever that is.

    Args:
        k: Successes, 0 <= k <= n.
        n: Trials, >= 1.
        level: Of the two-sided interval.
    """
    tail = (1.0 - level) / 2.0
    low = 0.0 if k == 0 else _root(lambda p: 1.0 - _at_most(k - 1, n, p) - tail)
    high = 1.0 if k == n else _root(lambda p: tail - _at_most(k, n, p))
    return Estimate(k / n, low, high)


def _at_most(k: int, n: int, p: float) -> float:
    """P(Binomial(n, p) <= k) for 0 < p < 1."""
    log_p, log_q = math.log(p), math.log1p(-p)
    terms = (
        math.exp(math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * log_p + (n - i) * log_q)
        for i in range(k + 1)
    )
    return math.fsum(terms)


def _root(rising: Callable[[float], float]) -> float:
    """Where a function that rises on (0, 1) crosses zero."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if rising(middle) < 0.0 else (low, middle)
    return (low + high) / 2.0


def mean(values: Sequence[float], level: float = _LEVEL) -> Estimate:
    """The mean of which `values`, at least two, are a sample, by Student's t; exact for normal values."""
    centre, n = fmean(values), len(values)
    reach = student(0.5 + level / 2.0, n - 1) * stdev(values) / math.sqrt(n)
    return Estimate(centre, centre - reach, centre + reach)


def student(p: float, freedom: int) -> float:
    """The quantile of Student's t, for 0.5 <= p <= 0.999: closed up to two degrees of freedom, then within 3 %.

    From three on the expansion of Abramowitz and Stegun 1964, 26.7.5.
    """
    if freedom == 1:
        return math.tan(math.pi * (p - 0.5))
    if freedom == 2:
        return (2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p)))
    x, v = NormalDist().inv_cdf(p), float(freedom)
    return (
        x
        + (x**3 + x) / (4 * v)
        + (5 * x**5 + 16 * x**3 + 3 * x) / (96 * v**2)
        + (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / (384 * v**3)
        + (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / (92160 * v**4)
    )
