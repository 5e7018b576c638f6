"""Configurations to and from the unit cube, with what covariances need to know of each column.

Symbols: d columns, n configurations. Every column lives in [0, 1]; level i of k sits at (i + 0.5) / k, except for
logarithmic grids, whose positions are in `Column.grid`. `decode(encode(config)) == config`, exactly, for every
configuration that the space itself makes or has normalised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import SpaceError
from tuner.parameters.columns import Column
from tuner.parameters.priors import log_density
from tuner.trial import Config

if TYPE_CHECKING:
    from tuner.space import SearchSpace

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

INACTIVE = 0.5
"""What the columns of an inactive parameter hold."""


class Encoding:
    """The map between the configurations of a space and the unit cube.

    Attributes:
        columns: What each column is, in the order of the space's parameters.
        dim: How many columns there are, d.
        slices: The columns of each parameter; empty for constants.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.columns: tuple[Column, ...] = tuple(c for p in space.parameters for c in p.columns())
        self.dim = len(self.columns)
        self.slices: dict[str, slice] = {}
        start = 0
        for parameter in space.parameters:
            stop = start + len(parameter.columns())
            self.slices[parameter.name] = slice(start, stop)
            start = stop
        self._space = space
        self._plan = tuple(
            (p.name, p, space.conditions.get(p.name), self.slices[p.name].start, self.slices[p.name].stop)
            for p in space.parameters
        )

    def encode(self, config: Mapping[str, Any]) -> tuple[Array, Mask]:
        """The point (d,) of a configuration and the mask (d,) of its active columns; inactive ones hold 0.5.

        The configuration must be contained in the space; what it lacks counts as inactive.
        """
        x, active = self._row(config)
        return np.array(x, dtype=np.float64), np.array(active, dtype=np.bool_)

    def encode_many(self, configs: Sequence[Mapping[str, Any]]) -> tuple[Array, Mask]:
        """The points (n, d) and masks (n, d) of n configurations."""
        rows = [self._row(config) for config in configs]
        X = np.array([x for x, _ in rows], dtype=np.float64).reshape(len(rows), self.dim)
        active = np.array([mask for _, mask in rows], dtype=np.bool_).reshape(len(rows), self.dim)
        return X, active

    def _row(self, config: Mapping[str, Any]) -> tuple[list[float], list[bool]]:
        x: list[float] = []
        active: list[bool] = []
        for name, parameter, _, start, stop in self._plan:
            if start == stop:
                continue
            if name in config:
                x += parameter.encode(config[name])
                active += [True] * (stop - start)
            else:
                x += [INACTIVE] * (stop - start)
                active += [False] * (stop - start)
        return x, active

    def decode(self, x: Array | Sequence[float]) -> Config:
        """The configuration at a point (d,) of the cube; inactive columns and restrictions are ignored.

        Coordinates outside of [0, 1] are clipped.

        Raises:
            SpaceError: The point has another length than d, or a coordinate is not finite.
        """
        point: list[float] = x.tolist() if isinstance(x, np.ndarray) else [float(u) for u in x]
        if len(point) != self.dim:
            raise SpaceError(f"a point of this space has {self.dim} coordinates, but got {len(point)}")
        if not math.isfinite(sum(point)):
            raise SpaceError(f"the coordinates of a point must be finite, but got {point}")
        config: Config = {}
        for name, parameter, condition, start, stop in self._plan:
            if condition is None or condition.holds(config):
                config[name] = parameter.decode(point[start:stop])
        return config

    def decode_many(self, X: Array) -> list[Config]:
        """The configurations at n points (n, d)."""
        return [self.decode(row) for row in np.asarray(X, dtype=np.float64)]

    def prior_log_density(self, X: Array, active: Mask | None = None) -> Array:
        """Log density (n,) of the declared priors at n points (n, d), relative to the uniform density on the cube.

        0 where no parameter has a prior. Inactive columns contribute nothing.

        Args:
            X: Points, shape (n, d).
            active: Masks, shape (n, d); computed from the conditions when None.
        """
        X = np.asarray(X, dtype=np.float64)
        total = np.zeros(len(X))
        if all(parameter.prior is None for parameter in self._space.parameters):
            return total
        if active is None:
            _, active = self.encode_many(self.decode_many(X))
        for name, parameter, _, start, stop in self._plan:
            if parameter.prior is None or start == stop:
                continue
            weights = parameter.prior_weights()
            if weights is None:
                at, sd = parameter.encode(parameter.prior.at), parameter.prior.sd
                each = sum(log_density(X[:, start + i], at[i], sd) for i in range(stop - start))
            else:
                levels = np.minimum((X[:, start] * len(weights)).astype(int), len(weights) - 1)
                each = np.log(np.array(weights) * len(weights))[levels]
            total += np.where(active[:, self.slices[name].start], each, 0.0)
        return total
