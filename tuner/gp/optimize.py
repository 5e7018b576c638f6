"""Maximising an acquisition function over a cube with discrete and fixed columns.

Gradients where all free columns are continuous (`optimize_acqf`), alternating local search and gradients otherwise
(`optimize_acqf_mixed_alternating`; Daulton et al. 2022 and Ax). Neither knows restrictions: the caller mends what comes
back.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.optim.initializers import initialize_q_batch
from botorch.optim.optimize import optimize_acqf
from botorch.optim.optimize_mixed import optimize_acqf_mixed_alternating
from torch import Tensor

MAX_LEVELS = 20
"""Ordered columns with more levels are treated as continuous and rounded when decoded."""


@dataclass(frozen=True, slots=True)
class Cube:
    """The columns: positions of those with few ordered levels, of the categorical ones, and where fixed ones stay.

    Columns in none of the three are continuous.
    """

    dim: int
    discrete: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    categorical: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    fixed: Mapping[int, float] = field(default_factory=dict)

    def fix(self, values: Mapping[int, float]) -> Cube:
        """The same cube with more columns fixed."""
        return Cube(self.dim, self.discrete, self.categorical, {**self.fixed, **values})

    def free(self, places: Mapping[int, tuple[float, ...]]) -> dict[int, list[float]]:
        """Those of `places` that are not fixed."""
        return {j: list(levels) for j, levels in places.items() if j not in self.fixed}

    def bounds(self, like: Tensor) -> Tensor:
        """Shape (2, d): discrete columns reach from their first to their last level."""
        bounds = torch.tensor([[0.0] * self.dim, [1.0] * self.dim], dtype=like.dtype, device=like.device)
        for j, levels in {**self.discrete, **self.categorical}.items():
            bounds[0, j], bounds[1, j] = min(levels), max(levels)
        return bounds


@contextmanager
def isolated(seed: int) -> Iterator[None]:
    """Seed torch and `random` (BoTorch draws from both), use one thread, and put everything back afterwards."""
    threads, state = torch.get_num_threads(), random.getstate()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        random.seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            random.setstate(state)


def maximise(
    acquisition: AcquisitionFunction,
    cube: Cube,
    starts: Tensor,
    values: Tensor,
    *,
    restarts: int = 4,
    raw_samples: int = 128,
    maxiter: int = 50,
) -> Tensor:
    """Return local maximisers, shape (k, d), k >= 1.

    Args:
        acquisition: Takes (b, 1, d).
        cube: What each column may be.
        starts: Points of this cube, shape (s, d), s >= 1.
        values: Their acquisition values, shape (s,).
        restarts: Local searches.
        raw_samples: Points that the mixed search picks its own starts from.
        maxiter: Steps of each gradient search.
    """
    discrete, categorical = cube.free(cube.discrete), cube.free(cube.categorical)
    if len(cube.fixed) == cube.dim:
        return starts[:1]
    if discrete or categorical:
        point, _ = optimize_acqf_mixed_alternating(
            acquisition,
            cube.bounds(starts),
            discrete_dims=discrete,
            cat_dims=categorical,
            fixed_features=dict(cube.fixed),
            num_restarts=restarts,
            raw_samples=raw_samples,
            options={
                "initialization_strategy": "random",
                "maxiter_alternating": 6,
                "maxiter_continuous": 12,
                "num_spray_points": 4,
            },
        )
        return point.detach()
    points, _ = optimize_acqf(
        acquisition,
        cube.bounds(starts),
        q=1,
        num_restarts=restarts,
        batch_initial_conditions=_pick(starts, values, restarts).unsqueeze(-2),
        fixed_features=dict(cube.fixed) or None,
        options={"maxiter": maxiter, "batch_limit": restarts},
        return_best_only=False,
    )
    return points.detach().reshape(-1, cube.dim)


def _pick(starts: Tensor, values: Tensor, n: int) -> Tensor:
    """Return up to `n` starts: the best one, and others with a chance that grows with their value."""
    if len(starts) <= n:
        return starts
    finite = torch.isfinite(values)
    if not finite.all():
        values = torch.where(finite, values, values[finite].min() - 1.0 if finite.any() else 0.0)
    chosen, _ = initialize_q_batch(starts.unsqueeze(-2), values, n)
    return chosen.squeeze(-2)
