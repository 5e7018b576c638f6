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
    """The metrics of a problem that follow from the configuration alone."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._cache: dict[bytes, dict[str, float]] = {}

    def objectives(self, X: Tensor, Y: Tensor) -> dict[int, Function]:
        """Objective -> its exact function of encoded rows (b, d) -> (b,), maximised.

        Left out, to be modelled like any other: one that has no finite value at some row of X (n, d), or another value
        than was recorded in Y (n, m).
        """
        return {
            j: function
            for j, metric in enumerate(self._problem.objectives)
            if metric.name in self._problem.known_names
            and _agree(function := self._function(metric.name, metric.sign), X, Y[:, j])
        }

    def _function(self, name: str, sign: float) -> Function:
        def function(X: Tensor) -> Tensor:
            values = [sign * self.at(row).get(name, math.nan) for row in X.detach().numpy()]
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
            return self._problem.known_metrics(self._problem.space.encoding.decode(np.clip(x, 0.0, 1.0)))
        except Exception:  # the user's code, on a configuration that he may not have thought of
            return {}


def _agree(function: Function, X: Tensor, y: Tensor) -> bool:
    import torch

    values = function(X)
    recorded = ~torch.isnan(y)
    if not torch.isfinite(values).all():
        return False
    return bool(((values - y).abs()[recorded] <= _AGREES * values.abs()[recorded].clamp_min(1e-300)).all())
