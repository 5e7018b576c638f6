"""Known metrics as functions of encoded configurations: exact, cached, in tensors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from tuner.gp.outcomes import Function
    from tuner.problem import Problem

Array = NDArray[np.float64]

_CACHED = 50_000
_AGREES = 1e-6
"""Relative difference up to which a recorded value counts as the one computed."""


class KnownMetrics:
    """The metrics of a problem that follow from the configuration alone.

    Args:
        problem: Whose metrics.
        dim: How many of a row's columns are the encoded configuration.
    """

    def __init__(self, problem: Problem, dim: int) -> None:
        self._problem = problem
        self._dim = dim
        self._cache: dict[bytes, dict[str, float]] = {}

    def objectives(self, X: Tensor, Y: Tensor) -> dict[int, Function]:
        """Objective -> its exact function of rows (b, d + a) -> (b,), maximised.

        Left out, to be modelled like any other: one that has another value, or none, at a row of X (n, d) than was
        recorded in Y (n, m).
        """
        return {
            j: function
            for j, metric in enumerate(self._problem.objectives)
            if metric.name in self._problem.known_names
            and agree((function := self.function(metric.name, metric.sign))(X), Y[:, j])
        }

    def function(self, name: str, sign: float = 1.0) -> Function:
        """A known metric or a numeric parameter as a function of rows (b, d + a) -> (b,), NaN where it has none."""

        def function(X: Tensor) -> Tensor:
            values = [sign * self.at(row).get(name, math.nan) for row in X.detach()[:, : self._dim].cpu().numpy()]
            return X.new_tensor(values)

        return function

    def at(self, x: Array) -> dict[str, float]:
        """The known metrics of the configuration at an encoded row; {} where they cannot be computed."""
        key = x.tobytes()
        if key not in self._cache:
            if len(self._cache) >= _CACHED:
                self._cache.clear()
            self._cache[key] = self._computed(x)
        return self._cache[key]

    def _computed(self, x: Array) -> dict[str, float]:
        try:
            config = self._problem.space.encoding.decode(np.clip(x, 0.0, 1.0))
            numbers = {name: float(value) for name, value in config.items() if isinstance(value, (int, float))}
            return {**numbers, **self._problem.known_metrics(config)}
        except Exception:  # the user's code, on a configuration that he may not have thought of
            return {}


def agree(values: Tensor, recorded: Tensor) -> bool:
    """Whether values (n,) are finite and those that were recorded, NaN where nothing was."""
    import torch

    if not torch.isfinite(values[~torch.isnan(recorded)]).all() or not len(values):
        return False
    gap = (values - recorded).abs()[~torch.isnan(recorded)]
    return bool((gap <= _AGREES * recorded.abs()[~torch.isnan(recorded)].clamp_min(1e-300)).all())
