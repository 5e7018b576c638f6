"""Candidates: where an acquisition function is looked at, and what becomes of its maximisers.

A pool first: draws from the space, and the neighbourhoods of incumbents. From its most promising rows gradients are
followed over the columns that may move by themselves: active, with many levels, and read by no condition. The results
are decoded; one that breaks a restriction is pulled back towards the pool by bisection. Where other columns can change,
hill climbing over the space's own neighbours follows, from several candidates at once, and gradients once more. So
every candidate lies in the space whatever its kinds, conditions and restrictions. All of it can be kept to a region.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner.parameters import Bool, Choice, Float, Int, Permutation, Vector
from tuner.trial import Config

if TYPE_CHECKING:
    from torch import Tensor

    from tuner.gp.acquisition import Improvement
    from tuner.gp.covariance import Layout
    from tuner.space import SearchSpace
    from tuner.strategies.bayesian.regions import Region

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Score = Callable[[Array, Mask], Array]

MAX_LEVELS = 20
"""Ordered columns with more levels are followed by gradients and rounded when decoded."""

_WIDTHS = (0.02, 0.1)
"""Standard deviations of the perturbations of incumbents."""

_NEAR = 8
"""Perturbations of each incumbent and width."""

_ANCHORS = 4
_BISECTIONS = 8
_BEAMS = 3
_STEPS = 16
_KEPT = 16


class Candidates:
    """The candidates of one suggestion.

    Args:
        layout: How rows are laid out for the models.
        space: Where candidates come from.
        incumbents: Encoded good points to look around, shape (b, d).
        n: How many draws from the space.
        rng: For draws, neighbours and perturbations.
        region: Where they are to lie, instead of anywhere and around incumbents.

    Attributes:
        X: The pool, shape (p, d).
        active: Its masks.
    """

    def __init__(
        self,
        layout: Layout,
        space: SearchSpace,
        incumbents: Array,
        n: int,
        rng: np.random.Generator,
        *,
        region: Region | None = None,
    ) -> None:
        self._region = region
        self._layout = layout
        self._space = space
        self._rng = rng
        self._smooth, self._jumps = _smooth_columns(space)
        plain = (Float, Int, Choice, Bool)
        self._boxed = not (space.conditions or space.restrictions) and all(
            type(p) in plain or (isinstance(p, Vector) and p.monotone is None) or not p.columns()
            for p in space.parameters
        )
        if self._boxed:
            self.X = self._box_pool(incumbents, n)
            self.active = np.ones(self.X.shape, dtype=np.bool_)
        else:
            self.X, self.active = space.encoding.encode_many(self._pool(incumbents, n))

    def _box_pool(self, incumbents: Array, n: int) -> Array:
        """A pool where every point of the cube decodes to a configuration: no configuration is made for it."""
        d, rng = self._space.encoding.dim, self._rng
        rows = [rng.random((n, d)) if self._region is None else self._region.draw(n, rng)]
        for x in incumbents if self._region is None else ():
            rows += [np.clip(x + rng.normal(scale=width, size=(_NEAR, d)), 0.0, 1.0) for width in _WIDTHS]
            some = rng.random((2 * _NEAR, d)) < max(1.0, min(d, 20) / 5) / d  # a few columns drawn anew
            rows.append(np.where(some, rng.random((2 * _NEAR, d)), x))
        X = np.concatenate(rows)
        for j, column in enumerate(self._space.encoding.columns):
            if column.grid is not None:
                X[:, j] = _snapped(X[:, j], np.array(column.grid))
        return np.unique(X, axis=0)

    def _pool(self, incumbents: Array, n: int) -> list[Config]:
        space, rng = self._space, self._rng
        if self._region is not None:
            return self._pool_within(self._region, n)
        pool = space.sample(n, rng)
        for x in incumbents:
            config = space.encoding.decode(x)
            pool += space.neighbours(config, rng)
            for width in _WIDTHS:
                for step in rng.normal(scale=width, size=(_NEAR, len(x))):
                    near = space.encoding.decode(np.clip(x + step, 0.0, 1.0))
                    pool += [near] if space.feasible(near) else []
        unique = {space.key(config): config for config in pool}
        return list(unique.values())

    def _pool_within(self, region: Region, n: int) -> list[Config]:
        space = self._space
        centre = space.encoding.decode(region.centre)
        pool = [config for config in self._decoded(region.draw(n, self._rng)) if space.feasible(config)]
        pool += [centre, *self._near(centre)]
        return list({space.key(config): config for config in pool}.values())

    def _near(self, config: Config) -> list[Config]:
        """The space's own neighbours, of the region if there is one."""
        near = self._space.neighbours(config, self._rng)
        if self._region is None or not near:
            return near
        held = self._region.holds(self._space.encoding.encode_many(near)[0])
        return [other for other, holds in zip(near, held, strict=True) if holds]

    def ranked(self, acquisition: Improvement, *, restarts: int, maxiter: int) -> list[tuple[float, Config]]:
        """Return candidates that honour the restrictions with their acquisition values, best first.

        Args:
            acquisition: What is maximised.
            restarts: Local searches.
            maxiter: Steps of each.
        """
        score = self._scorer(acquisition)
        values = score(self.X, self.active)
        order = np.argsort(-values, kind="stable")
        found = self._decoded(self.X[order[:_KEPT]])
        anchors = self.X[order[:_ANCHORS]]
        climbed = self._climb(acquisition, self.X, self.active, values, restarts, maxiter)
        for point in climbed:
            found += self._mend(point, anchors)
        ranked = self._rank(found, score)
        if not self._jumps:
            return ranked
        ranked = self._walk(ranked, score)
        again = self.climbed(acquisition, ranked[:_BEAMS], maxiter)
        return sorted(ranked + self._rank(again, score), key=lambda pair: -pair[0])

    def climbed(self, acquisition: Improvement, scored: Sequence[tuple[float, Config]], maxiter: int) -> list[Config]:
        """Return where gradients lead from configurations with these acquisition values, other columns as they are."""
        X, active = self._space.encoding.encode_many([config for _, config in scored])
        values = np.array([value for value, _ in scored])
        points = self._climb(acquisition, X, active, values, len(scored), maxiter)
        return [config for point in points for config in self._mend(point, X)]

    def _scorer(self, acquisition: Improvement) -> Score:
        import torch

        from tuner.gp.acquisition import evaluate

        def score(X: Array, active: Mask) -> Array:
            rows = torch.from_numpy(np.ascontiguousarray(self._layout.arrange(X, active)))
            values: Array = evaluate(acquisition, rows.to(acquisition.device)).cpu().numpy()
            return values

        return score

    def _climb(
        self, acquisition: Improvement, X: Array, active: Mask, values: Array, restarts: int, maxiter: int
    ) -> Array:
        """Where gradients lead from the most promising rows, shape (k, d); nothing where no column may move."""
        import torch

        from tuner.gp.optimize import ascend, spread_starts

        if not self._smooth.any():
            return X[:0]
        chosen = spread_starts(torch.from_numpy(values), restarts, self._rng)
        rows = self._layout.arrange(X[chosen], active[chosen])
        free = np.zeros(rows.shape, dtype=np.bool_)
        free[:, : X.shape[1]] = active[chosen] & self._smooth
        device = acquisition.device
        known = torch.from_numpy(np.ascontiguousarray(self._layout.arrange(X, active))).to(device)
        with acquisition.smoothed(known, self._layout.unordered):
            if self._region is None:
                points = ascend(acquisition, torch.from_numpy(rows).to(device), free, maxiter=maxiter)
            else:
                points = self._ascend_within(self._region, acquisition, rows, free, maxiter)
        climbed: Array = points.cpu().numpy()[:, : X.shape[1]]
        return climbed

    def _ascend_within(self, region: Region, acquisition: Improvement, rows: Array, free: Mask, maxiter: int) -> Tensor:
        """As `ascend`, in the cube that the region's box becomes when its sides are scaled to 1."""
        import torch

        from tuner.gp.optimize import ascend

        low, width = np.zeros(rows.shape[1]), np.ones(rows.shape[1])
        d = len(self._smooth)
        low[:d] = np.where(self._smooth, region.low, 0.0)
        width[:d] = np.where(self._smooth, np.maximum(region.high - region.low, 1e-12), 1.0)
        starts = np.where(free, np.clip((rows - low) / width, 0.0, 1.0), (rows - low) / width)
        scaled = torch.from_numpy(starts).to(acquisition.device)
        found = ascend(acquisition, scaled, free, maxiter=maxiter, box=(low, width)).cpu().numpy()
        return torch.from_numpy(low + width * found)

    def _decoded(self, X: Array) -> list[Config]:
        return [self._space.encoding.decode(x) for x in X]

    def _mend(self, x: Array, anchors: Array) -> list[Config]:
        """Decode a point; when it breaks a restriction, the last points that do not on the way to each anchor."""
        decode, feasible = self._space.encoding.decode, self._space.feasible
        config = decode(x)
        if feasible(config):
            return [config]
        mended = []
        for anchor in anchors:
            good, bad = 0.0, 1.0
            for _ in range(_BISECTIONS):
                middle = (good + bad) / 2
                if feasible(decode(anchor + middle * (x - anchor))):
                    good = middle
                else:
                    bad = middle
            mended.append(decode(anchor + good * (x - anchor)))
        return [config for config in mended if feasible(config)]

    def _rank(self, configs: Sequence[Config], score: Score) -> list[tuple[float, Config]]:
        if not configs:
            return []
        values = score(*self._space.encoding.encode_many(configs))
        order = np.argsort(-values, kind="stable")
        return [(float(values[i]), configs[int(i)]) for i in order]

    def _walk(self, ranked: list[tuple[float, Config]], score: Score) -> list[tuple[float, Config]]:
        """Hill-climb from the best candidates over the space's own neighbours, keeping what is passed on the way."""
        beams = ranked[:_BEAMS]
        passed = list(ranked)
        for _ in range(_STEPS):
            around = [self._near(config) for _, config in beams]
            values = iter(self._values([config for near in around for config in near], score))
            moved = []
            for beam, near in zip(beams, around, strict=True):
                scored = sorted(((next(values), other) for other in near), key=lambda pair: -pair[0])
                passed += scored[:_KEPT]
                if scored and scored[0][0] > beam[0]:
                    moved.append(scored[0])
            if not moved:
                break
            beams = list({self._space.key(config): (value, config) for value, config in moved}.values())
        return sorted(passed, key=lambda pair: -pair[0])

    def _values(self, configs: list[Config], score: Score) -> list[float]:
        if not configs:
            return []
        found: list[float] = score(*self._space.encoding.encode_many(configs)).tolist()
        return found


def _smooth_columns(space: SearchSpace) -> tuple[Mask, bool]:
    """Which columns gradients may move, shape (d,), and whether any other one can change."""
    read = {name for condition in space.conditions.values() for name in condition.names}
    smooth, jumps = [], False
    for column in space.encoding.columns:
        fixed = column.grid is not None and len(column.grid) == 1
        many = column.grid is None or (column.kind != "categorical" and len(column.grid) > MAX_LEVELS)
        steps = many and column.parameter not in read and not isinstance(space[column.parameter], Permutation)
        smooth.append(steps and not fixed)
        jumps |= not steps and not fixed
    return np.array(smooth, dtype=np.bool_), jumps


def _snapped(u: Array, grid: Array) -> Array:
    """The positions of `grid`, ascending, that are nearest to u."""
    right = np.clip(np.searchsorted(grid, u), 1, max(len(grid) - 1, 1))
    if len(grid) == 1:
        return np.full_like(u, grid[0])
    left = right - 1
    nearer: Array = np.where(u - grid[left] <= grid[right] - u, grid[left], grid[right])
    return nearer
