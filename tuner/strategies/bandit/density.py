"""Product kernel densities over encoded configurations, and where the good ones are dense and the bad ones are not.

Notation, for n points and d columns of the unit cube:

    X (n, d)    points; numeric columns are positions, columns without an order hold (level + 0.5) / levels
    h (d,)      bandwidths; of a column without an order the chance of another level (Aitchison and Aitken 1976)
    levels (d,) levels of a column without an order, 0 for a numeric one

The density is the mean over points of products of one kernel a column: Gaussian, or 1 - h for the same level and
h / (levels - 1) for each other one. Bandwidths are the normal reference, 1.06 sd n^(-1 / (4 + d)) (Silverman 1986), of
level numbers where there is no order, as in statsmodels' KDEMultivariate, which BOHB uses (Falkner et al. 2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr, ndtri

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_FLOOR = -np.log(1e32)
"""Densities below 1e-32 count as that (HpBandSter)."""


@dataclass(frozen=True, slots=True, eq=False)
class Density:
    """A kernel density; see the module."""

    X: Array
    h: Array
    levels: Ints

    def log(self, at: Array) -> Array:
        """Log density (q,) at q points (q, d), at least log 1e-32."""
        total = np.zeros((len(at), len(self.X)))
        for j, h in enumerate(self.h.tolist()):
            if self.levels[j]:
                same = np.abs(at[:, None, j] - self.X[None, :, j]) < 0.5 / self.levels[j]
                total += np.where(same, np.log1p(-h), np.log(h / max(self.levels[j] - 1, 1)))
            else:
                z = (at[:, None, j] - self.X[None, :, j]) / h
                total += -0.5 * z**2 - np.log(h * np.sqrt(2 * np.pi))
        return np.asarray(np.maximum(logsumexp(total, axis=1) - np.log(len(self.X)), _FLOOR))

    def sample(self, n: int, rng: np.random.Generator, factor: float = 1.0) -> Array:
        """Points (n, d) around the density's own, numeric ones by Gaussians of `factor` bandwidths, cut to the cube."""
        centres = self.X[rng.integers(len(self.X), size=n)]
        u = rng.random(centres.shape)
        scale = factor * self.h
        low, high = ndtr((0.0 - centres) / scale), ndtr((1.0 - centres) / scale)
        numeric = np.clip(centres + scale * ndtri(low + u * (high - low)), 0.0, 1.0)
        other = (np.floor(rng.random(centres.shape) * np.maximum(self.levels, 1)) + 0.5) / np.maximum(self.levels, 1)
        return np.where(self.levels > 0, np.where(u < 1.0 - self.h, centres, other), numeric)


def fit(X: Array, levels: Ints, least: float) -> Density:
    """The density of points (n, d), no bandwidth below `least`, nor one at which levels are as good as drawn."""
    n, d = X.shape
    sd = X.std(axis=0) * np.maximum(levels, 1)
    h = np.maximum(1.06 * sd * n ** (-1.0 / (4 + d)), least)
    most = np.where(levels > 0, (levels - 1) / np.maximum(levels, 1), np.inf)
    return Density(X, np.minimum(h, np.maximum(most, least)), levels)


def filled(X: Array, active: NDArray[np.bool_], levels: Ints, rng: np.random.Generator) -> Array:
    """Points (n, d) whose inactive columns hold a value that another point has there; a drawn one where none has."""
    X = X.copy()
    for j in np.flatnonzero(~active.all(axis=0)).tolist():
        gaps = np.flatnonzero(~active[:, j])
        seen = X[active[:, j], j]
        k = max(int(levels[j]), 1)
        drawn = (rng.integers(k, size=len(gaps)) + 0.5) / k if levels[j] else rng.random(len(gaps))
        X[gaps, j] = seen[rng.integers(len(seen), size=len(gaps))] if len(seen) else drawn
    return X
