"""Earlier: what the studies of a warm start predict, one model for each objective of each of them.

A source's model never changes: it is fitted once, when it is first needed, from at most 256 of its trials.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tuner.gp.model import GaussianProcess, fit_surrogate
from tuner.gp.transfer import Mean, PriorMean, prior_mean

if TYPE_CHECKING:
    from tuner.gp.covariance import Layout
    from tuner.problem import Problem
    from tuner.sources import Source

_ROWS = 256
_LEAST = 4


class Earlier:
    """The sources of one problem."""

    def __init__(self, problem: Problem, layout: Layout) -> None:
        self._sources = problem.sources
        self._layout = layout
        self._m = len(problem.objectives)

    @cached_property
    def _means(self) -> list[list[Mean]]:
        """Of each objective, what the sources that have it predict."""
        found = [[self._mean(source, j) for source in self._sources] for j in range(self._m)]
        return [[mean for mean in means if mean is not None] for means in found]

    def _mean(self, source: Source, j: int) -> Mean | None:
        rows = np.flatnonzero(np.isfinite(source.Y[:, j]))
        y = source.Y[rows, j]
        if len(rows) < _LEAST or np.ptp(y) == 0:
            return None
        if len(rows) > _ROWS:  # the better half, and as many spread over the rest
            order = np.argsort(-y, kind="stable")
            rest = order[_ROWS // 2 :][np.linspace(0, len(order) - _ROWS // 2 - 1, _ROWS // 2).astype(int)]
            rows = rows[np.sort(np.concatenate([order[: _ROWS // 2], rest]))]
        X = torch.from_numpy(np.ascontiguousarray(self._layout.arrange(source.X[rows], source.active[rows])))
        Y = torch.from_numpy(source.Y[rows, j][:, None])
        return _mean_of(fit_surrogate(X, Y, covariance=self._layout.covariance).models[0])

    def prior_means(self, X: Tensor, Y: Tensor) -> dict[int, PriorMean]:
        """Objective -> its prior mean, of those on which the sources have something to say.

        Args:
            X: Trials as models see them, shape (n, d + a).
            Y: Their objectives, shape (n, m), NaN where unknown.
        """
        found: dict[int, PriorMean] = {}
        for j, means in enumerate(self._means if self._sources else ()):
            rows = torch.isfinite(Y[:, j])
            mean = prior_mean(X[rows], Y[rows, j], means)
            if mean is not None:
                found[j] = mean
        return found


def _mean_of(model: GaussianProcess) -> Mean:
    return lambda x: model.prior(x) + model.kernel.forward(x, model.X) @ model.weights
