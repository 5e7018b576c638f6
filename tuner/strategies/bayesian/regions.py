"""Regions: the part of a space around a good configuration where a strategy looks for the next one.

Columns with an order stay in a box, of which a column on a grid gets at least the next level on either side. The others
(without an order, of a permutation, or inactive at the centre) may take any value, but only some parameters at a time
may differ from the centre: a ball in the Hamming distance (Wan et al. 2021, Casmopolitan).

Notation
    c       the centre, shape (d,)
    L       the region's length, in units of the cube
    s       how far each column reaches relative to the others, shape (d,): the longer its lengthscale, the further
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tuner.parameters import Permutation

if TYPE_CHECKING:
    from tuner.gp.model import Surrogate
    from tuner.space import SearchSpace

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_PROBE = 0.1
"""Step by which a column is moved to see what a covariance makes of it."""

_MOST = 8.0
"""No column reaches further than the median times this, nor less far than the median by it."""

_CHANGED = 20
"""Expected number of columns that a draw changes (Regis and Shoemaker 2013; Eriksson et al. 2019)."""

_NEARER = (1.0, 1.0, 0.25, 0.0625)
"""Draws move by these parts of the way: close to the best trial an improvement is small but likely."""

_LEAST_DROP = 1e-10


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """See the module.

    Attributes:
        centre: Shape (d,).
        low: Lower ends of the box, shape (d,); 0 for columns that may take any value.
        high: Upper ends.
        parameter: Of the columns that may take any value, which parameter each belongs to; -1 in the box.
        reach: How many of these parameters may differ from the centre.
        note: For the provenance.
    """

    centre: Array
    low: Array
    high: Array
    parameter: NDArray[np.int64]
    reach: int
    note: str

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Points of the box that differ from the centre in some columns, at least one, shape (n, d)."""
        d = len(self.centre)
        changed = rng.random((n, d)) < np.where(self.parameter < 0, min(_CHANGED / d, 1.0), self._chance())
        changed[np.arange(n), rng.integers(d, size=n)] = True
        drawn = self.low + rng.random((n, d)) * (self.high - self.low)
        nearer = np.where(self.parameter < 0, rng.choice(_NEARER, size=n)[:, None], 1.0)
        return np.where(changed, self.centre + nearer * (drawn - self.centre), self.centre)

    def _chance(self) -> float:
        count = len(np.unique(self.parameter[self.parameter >= 0]))
        return min(_CHANGED / len(self.centre), self.reach / max(count, 1))

    def holds(self, X: Array) -> Mask:
        """Which rows of X (n, d) lie in it, shape (n,)."""
        within = ((self.low - 1e-9 <= X) & (self.high + 1e-9 >= X)).all(axis=1)
        differs = np.abs(X - self.centre) > 1e-9
        free = np.unique(self.parameter[self.parameter >= 0])
        moved = sum(
            (differs[:, self.parameter == i].any(axis=1).astype(int) for i in free), np.zeros(len(X), dtype=int)
        )
        return np.asarray(within & (moved <= self.reach), dtype=np.bool_)


def region(space: SearchSpace, centre: Array, active: Mask, length: float, stretch: Array, note: str) -> Region:
    """Return the region of length `length` around a configuration.

    Args:
        space: Where it is.
        centre: c.
        active: Its mask, shape (d,).
        length: L.
        stretch: s.
        note: For the provenance.
    """
    columns = space.encoding.columns
    low = np.clip(centre - 0.5 * length * stretch, 0.0, 1.0)
    high = np.clip(centre + 0.5 * length * stretch, 0.0, 1.0)
    names = [p.name for p in space.parameters]
    parameter = np.full(len(columns), -1, dtype=np.int64)
    for j, column in enumerate(columns):
        unordered = column.kind == "categorical" or isinstance(space[column.parameter], Permutation)
        if unordered or not active[j]:
            low[j], high[j] = 0.0, 1.0
            parameter[j] = names.index(column.parameter) if active[j] else -1
        elif column.grid is not None:
            grid = np.array(column.grid)
            at = int(np.abs(grid - centre[j]).argmin())
            low[j] = min(low[j], grid[max(at - 1, 0)])
            high[j] = max(high[j], grid[min(at + 1, len(grid) - 1)])
    count = len(np.unique(parameter[parameter >= 0]))
    return Region(centre, low, high, parameter, max(1, math.ceil(min(length, 1.0) * count)), note)


def stretches(surrogate: Surrogate, x: Tensor, d: int) -> Array:
    """Return s, its geometric mean 1: proportional to the lengthscales around x.

    Read off the covariances rather than their hyperparameters, so that any covariance will do: of a step h in a column
    they lose about h^2 / l^2, in the mean over the modelled outcomes.

    Args:
        surrogate: Models of the outcomes.
        x: The centre as models see it, shape (1, d + a).
        d: Columns.
    """
    if not surrogate.models:
        return np.ones(d)
    inward = torch.where(x[0, :d] > 0.5, -_PROBE, _PROBE)
    moved = x.repeat(d, 1)
    moved[:, :d] += torch.diag(inward)
    with torch.no_grad():
        kept = torch.stack([model.kernel.forward(moved, x)[:, 0] for model in surrogate.models.values()])
    lost: Array = (1.0 - kept).mean(dim=0).clamp_min(_LEAST_DROP).cpu().numpy()
    s = lost**-0.5
    s = np.clip(s, np.median(s) / _MOST, np.median(s) * _MOST)
    return np.asarray(s / np.exp(np.log(s).mean()))
