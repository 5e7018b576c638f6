"""Directions: whether an outcome depends on one direction across the columns more than on the columns.

A first fit, with a covariance of columns, gives a posterior mean; if its slopes at the trials point mostly one way (the
first active direction of Constantine, Dow and Wang 2014), and that way is no column's own, a fit with that direction as
one more column follows. It is preferred when its posterior density is higher by more than chance: what it has in more
hyperparameters, their priors' densities count against.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tuner import catalog
from tuner.gp.fit import Fitted, fit

if TYPE_CHECKING:
    from gpytorch.kernels import Kernel

_LEAST_SHARE = 0.6
"""Of the mean squared slope, in the first direction."""

_MOST_ALONE = 0.9
"""Of the squared direction's weight on single columns, sum_j w_j^4: 1 for a column by itself."""

_WORTH = 0.05
"""Nats a trial by which the fit must be better."""

_BEYOND = 2
"""Trials more than columns from which slopes are looked at."""


def along_a_direction(X: Tensor, z: Tensor, plain: Fitted, **settings: Any) -> Fitted | None:
    """Return a better fit than `plain`, by its density per trial; None when there is none.

    Args:
        X: Inputs, shape (n, d).
        z: Outcomes as they were fitted, shape (n,).
        plain: The fit without a direction.
        settings: Of `fit`.
    """
    effects = catalog.load("kernels", "effects").Effects
    n, d = X.shape
    if not plain.ok or type(plain.kernel) is not effects or n < d + _BEYOND:
        return None
    direction, share = first_direction(slopes(X, z, plain))
    if share < _LEAST_SHARE or float((direction**4).sum()) > _MOST_ALONE:
        return None
    ridge = catalog.load("kernels", "ridge").Ridge
    start = ridge(direction, plain.kernel).to(X)

    def make() -> Kernel:
        kernel: Kernel = ridge(direction).to(X)
        return kernel

    found = fit(X, z, make, like=replace(plain, kernel=start), **settings)
    return found if found.ok and found.score > plain.score + _WORTH else None


def slopes(X: Tensor, z: Tensor, fitted: Fitted) -> Tensor:
    """The gradients of the posterior mean at the trials, shape (n, d)."""
    with torch.no_grad():
        K = fitted.kernel.forward(X, X).detach()
        weights = torch.linalg.solve(K + fitted.noise * torch.eye(len(X)).to(X), z - z.mean())
    with torch.enable_grad():
        x = X.detach().clone().requires_grad_(True)
        (slope,) = torch.autograd.grad((fitted.kernel.forward(x, X) @ weights).sum(), x)
    return slope.detach()


def first_direction(slopes: Tensor) -> tuple[Tensor, float]:
    """The unit vector w (d,) along which slopes (n, d) are largest, and its share of their mean square."""
    values, vectors = torch.linalg.eigh(slopes.T @ slopes)
    return vectors[:, -1], float(values[-1] / values.sum().clamp_min(1e-300))
