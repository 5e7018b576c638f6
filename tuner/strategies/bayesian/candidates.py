"""Candidates: where an acquisition function is looked at, and what becomes of its maximisers.

The space itself proposes the pool (draws, neighbours and perturbations of incumbents), so every candidate lies in it
whatever its kinds, conditions and restrictions. Searches start from the pool inside one branch of the conditions at a
time: the columns that conditions read and those that are inactive stay fixed. Their results are decoded; one that
breaks a restriction is pulled back towards the pool by bisection. Last, the best walks over single changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner.trial import Config

if TYPE_CHECKING:
    from tuner.gp.acquisition import Improvement
    from tuner.gp.optimize import Cube
    from tuner.space import SearchSpace

Array = NDArray[np.float64]
Score = Callable[[Array], Array]

_BRANCHES = 3
_ANCHORS = 4
_BISECTIONS = 8
_WALK = 4
_KEPT = 24


def cube_of(space: SearchSpace) -> Cube:
    """The cube that a space's columns span."""
    from tuner.gp.optimize import MAX_LEVELS, Cube

    discrete: dict[int, tuple[float, ...]] = {}
    categorical: dict[int, tuple[float, ...]] = {}
    fixed: dict[int, float] = {}
    for j, column in enumerate(space.encoding.columns):
        if column.grid is None:
            continue
        if len(column.grid) == 1:
            fixed[j] = column.grid[0]
        elif column.kind == "categorical":
            categorical[j] = column.grid
        elif len(column.grid) <= MAX_LEVELS:
            discrete[j] = column.grid
    return Cube(space.encoding.dim, discrete, categorical, fixed)


class Candidates:
    """The candidates of one suggestion.

    Args:
        space: Where they come from.
        incumbents: Encoded good points to look around, shape (b, d).
        n: How many draws from the space.
        rng: For draws, neighbours and perturbations.
    """

    def __init__(self, space: SearchSpace, incumbents: Array, n: int, rng: np.random.Generator) -> None:
        self._space = space
        self._rng = rng
        self._cube = cube_of(space)
        self._unordered = [j for j, column in enumerate(space.encoding.columns) if column.kind == "categorical"]
        self._plain = not (self._cube.discrete or self._cube.categorical or space.restrictions)
        names = {name for parameter in space.parameters for name in self._read_by(parameter.name)}
        slices = space.encoding.slices
        self._parents = [j for name in names if name in slices for j in range(slices[name].start, slices[name].stop)]
        self.pool = self._make_pool(incumbents, n)
        self.X, self._active = space.encoding.encode_many(self.pool)

    def _read_by(self, name: str) -> frozenset[str]:
        condition = self._space.conditions.get(name)
        return condition.names if condition is not None else frozenset()

    def _make_pool(self, incumbents: Array, n: int) -> list[Config]:
        space, rng = self._space, self._rng
        pool = space.sample(n, rng)
        for x in incumbents:
            config = space.encoding.decode(x)
            pool += space.neighbours(config, rng)
            for width in (0.02, 0.1):
                for step in rng.normal(scale=width, size=(4, len(x))):
                    near = space.encoding.decode(np.clip(x + step, 0.0, 1.0))
                    pool += [near] if space.feasible(near) else []
        unique = {space.key(config): config for config in pool}
        return list(unique.values())

    def ranked(self, acquisition: Improvement, *, restarts: int, maxiter: int) -> list[tuple[float, Config]]:
        """Return candidates that honour the restrictions with their acquisition values, best first."""
        import torch

        from tuner.gp.acquisition import evaluate

        def score(X: Array) -> Array:
            return evaluate(acquisition, torch.from_numpy(np.ascontiguousarray(X))).numpy()

        values = score(self.X)
        order = np.argsort(-values, kind="stable")
        found = [self.pool[int(i)] for i in order[:_KEPT]]
        anchors = self.X[order[:_ANCHORS]]
        with acquisition.smoothed(torch.from_numpy(self.X), self._unordered):
            points = self._search(acquisition, values, restarts=restarts, maxiter=maxiter)
        for point in points:
            found += self._mend(point, anchors)
        ranked = self._rank(found, score)
        return ranked if self._plain else self._walk(ranked, score)

    def _search(self, acquisition: Improvement, values: Array, *, restarts: int, maxiter: int) -> Array:
        """Local maximisers over the most promising branches, shape (k, d)."""
        import torch

        from tuner.gp.optimize import maximise

        results = []
        branches = self._branches(values)
        for rows in branches:
            best = rows[np.argmax(values[rows])]
            frozen = np.flatnonzero(~self._active[best]).tolist() + self._parents
            cube = self._cube.fix({j: float(self.X[best, j]) for j in frozen})
            points = maximise(
                acquisition,
                cube,
                torch.from_numpy(self.X[rows]),
                torch.from_numpy(values[rows]),
                restarts=max(restarts // len(branches), 1),
                maxiter=maxiter,
            )
            results.append(points.numpy())
        return np.concatenate(results)

    def _branches(self, values: Array) -> list[NDArray[np.intp]]:
        """Pool rows by what the conditions read, the branch with the best row first."""
        groups: dict[bytes, list[int]] = {}
        for i in range(len(self.pool)):
            key = self._active[i].tobytes() + self.X[i, self._parents].tobytes()
            groups.setdefault(key, []).append(i)
        branches = [np.array(rows) for rows in groups.values()]
        branches.sort(key=lambda rows: -float(values[rows].max()))
        return branches[:_BRANCHES]

    def _mend(self, x: Array, anchors: Array) -> list[Config]:
        """Decode a point; when it breaks a restriction, the last points that do not on the way to each anchor."""
        decode, feasible = self._space.encoding.decode, self._space.feasible
        config = decode(np.clip(x, 0.0, 1.0))
        if feasible(config):
            return [config]
        mended = []
        for anchor in anchors:
            good, bad = 0.0, 1.0
            for _ in range(_BISECTIONS):
                middle = (good + bad) / 2
                if feasible(decode(np.clip(anchor + middle * (x - anchor), 0.0, 1.0))):
                    good = middle
                else:
                    bad = middle
            mended.append(decode(np.clip(anchor + good * (x - anchor), 0.0, 1.0)))
        return [config for config in mended if feasible(config)]

    def _rank(self, configs: list[Config], score: Score) -> list[tuple[float, Config]]:
        values = score(self._space.encoding.encode_many(configs)[0])
        order = np.argsort(-values, kind="stable")
        return [(float(values[i]), configs[int(i)]) for i in order]

    def _walk(self, ranked: list[tuple[float, Config]], score: Score) -> list[tuple[float, Config]]:
        """Hill-climb from the best candidate over the space's own neighbours, keeping what is passed on the way."""
        for _ in range(_WALK):
            neighbours = self._space.neighbours(ranked[0][1], self._rng)
            if not neighbours:
                break
            near = self._rank(neighbours, score)[:_KEPT]
            improved = near[0][0] > ranked[0][0]
            ranked = sorted(ranked + near, key=lambda pair: -pair[0])
            if not improved:
                break
        return ranked
