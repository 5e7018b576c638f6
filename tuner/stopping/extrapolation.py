"""Learning curves as Gaussian processes: where one that has begun will end, and how sure that is.

Notation, for a curve of k reports:

    t (k,)      steps, in units of the last one, T: t = 1 is the end
    y (k,)      what was reported, larger or smaller is the same
    drift(t)    mean over the curves that ended of y(t) - y(1)

    y(t) = c + drift(t) + g(t) + e,    c ~ N(m, s^2),    g ~ GP(0, v^2 b^a / (t + t' + b)^a),    e ~ N(0, w^2)

The covariance of g is that of a mixture of exponential decays (Swersky, Snoek and Adams 2014, "Freeze-Thaw Bayesian
Optimization", eq. 6); m and s are mean and standard deviation of where curves ended; of a grid of a, b, v, w, in units
of s, those are taken under which the ends of the latest curves were most likely, as forecast from their beginnings, and
forecasts are as wide as these were wrong. Numpy alone: it is asked at every report.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SHAPES = (0.5, 1.5)
_ONSETS = (0.05, 0.3)
_DECAYS = (0.1, 0.3, 1.0, 3.0)
_NOISES = (0.01, 0.05, 0.2)
_SHARES = (0.15, 0.3, 0.6)
"""Of a curve's reports, that its end is forecast from to judge the grid."""

_CURVES = 16
"""The latest, that the grid is judged by."""

_POINTS = 12
"""Of each curve, evenly spread; the last is among them."""

_LEAST_SD = 1e-9
_WIDER = 1.5
"""What a new curve ends at varies more than what ended: the best is yet to come."""


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """What is known of a kind of curve.

    Attributes:
        steps: Where the drift is known, ascending, in units of the last step.
        drift: Mean distance to the end there.
        mean: Of where curves end.
        sd: Of where curves end.
        shape: a.
        onset: b.
        decay: v, in units of sd.
        noise: w, in units of sd.
        wider: What the standard deviation of a forecast is multiplied by, at least 1.
    """

    steps: Array
    drift: Array
    mean: float
    sd: float
    shape: float = 1.5
    onset: float = 0.3
    decay: float = 0.3
    noise: float = 0.05
    wider: float = 1.0

    def covariance(self, t: Array, u: Array) -> Array:
        """Of c + g at steps t (k,) and u (q,), shape (k, q), in units of sd^2."""
        a, b = self.shape, self.onset
        decays = self.decay**2 * (b / (t[:, None] + u[None, :] + b)) ** a
        return np.asarray(_WIDER**2 + decays)

    def residuals(self, t: Array, y: Array) -> Array:
        """y less drift and mean, in units of sd."""
        return np.asarray((y - np.interp(t, self.steps, self.drift) - self.mean) / self.sd)


def thinned(t: Array, y: Array) -> tuple[Array, Array]:
    """At most so many points of a curve."""
    if len(t) <= _POINTS:
        return t, y
    kept = np.unique(np.linspace(0, len(t) - 1, _POINTS).round().astype(np.int64))
    return t[kept], y[kept]


def learn(curves: Sequence[tuple[Array, Array]]) -> Family:
    """The family of some curves that ended, at least two, each of steps t (k,), the last 1, and values y (k,)."""
    ends = np.array([y[-1] for _, y in curves])
    steps = np.unique(np.concatenate([t for t, _ in curves]))
    # before its first report a curve is where that was
    rows = np.array([np.interp(steps, t, y - y[-1]) for t, y in curves])
    sd = max(float(ends.std(ddof=1)), _LEAST_SD, 1e-9 * float(np.abs(ends).max()))
    base = Family(steps, rows.mean(axis=0), float(ends.mean()), sd)
    latest = [thinned(t, y) for t, y in curves[-_CURVES:]]

    def misses(family: Family) -> tuple[Array, Array]:
        """Standardised errors of forecasts of the ends, and their log densities."""
        found = [(forecast(family, t[:k], y[:k]), y[-1]) for t, y in latest for k in _beginnings(len(t))]
        z = np.array([(end - mean) / max(sd, _LEAST_SD) for (mean, sd), end in found])
        return z, -0.5 * z**2 - np.log([max(sd, _LEAST_SD) for (_, sd), _ in found])

    grid = [replace(base, shape=a, onset=b, decay=v, noise=w) for a, b, v, w in
            itertools.product(_SHAPES, _ONSETS, _DECAYS, _NOISES)]  # fmt: skip
    best = max(grid, key=lambda family: float(misses(family)[1].sum()))
    return replace(best, wider=max(1.0, float(np.sqrt(np.mean(misses(best)[0] ** 2)))))


def _beginnings(k: int) -> list[int]:
    """How many of k reports the end is forecast from."""
    return sorted({min(max(math.ceil(share * k), 1), k - 1) for share in _SHARES})


def forecast(family: Family, t: Array, y: Array) -> tuple[float, float]:
    """Mean and standard deviation of what a curve of steps t (k,) and values y (k,) will report at its end."""
    t, y = thinned(t, y)
    end = np.ones(1)
    K = family.covariance(t, t) + family.noise**2 * np.eye(len(t))
    k = family.covariance(t, end)[:, 0]
    weights = np.linalg.solve(K, k)
    mean = float(weights @ family.residuals(t, y))
    variance = float(family.covariance(end, end)[0, 0] + family.noise**2 - weights @ k)
    drift = float(np.interp(1.0, family.steps, family.drift))
    return family.mean + drift + family.sd * mean, family.wider * family.sd * math.sqrt(max(variance, 0.0))
