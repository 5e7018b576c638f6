"""matern: the Matern-5/2 covariance with a lengthscale a column, for numeric columns.

k(x, x') = (1 + r + r^2 / 3) exp(-r) with r^2 = 5 sum_j ((x_j - x'_j) / l_j)^2 (Rasmussen and Williams 2006, eq. 4.17).
Lengthscales have the prior LogNormal(sqrt 2 + log(d) / 2, sqrt 3), which grows with the number of columns d (Hvarfner,
Hellsten and Nardi 2024): that keeps an exact process useful beyond twenty of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from gpytorch.kernels import Kernel
from gpytorch.priors import LogNormalPrior
from torch import Tensor
from torch.autograd.function import once_differentiable

from tuner.gp.logarithmic import Logarithmic
from tuner.gp.slopes import Pull

if TYPE_CHECKING:
    from tuner.parameters.columns import Column

SHORTEST = 2.5e-2
_TINY = 1e-20
"""Least squared distance."""


class Matern(Kernel):  # type: ignore[misc]
    """See the module; x has shape (..., n, d), unit variance.

    Args:
        d: Columns.
        shortest: Lower bound of the lengthscales.
    """

    has_lengthscale = True

    def __init__(self, d: int, *, shortest: float = SHORTEST) -> None:
        prior = LogNormalPrior(loc=math.sqrt(2) + 0.5 * math.log(d), scale=math.sqrt(3))
        super().__init__(
            ard_num_dims=d,
            lengthscale_prior=prior,
            lengthscale_constraint=Logarithmic(float(prior.mode), low=shortest),
        )

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: Any) -> Tensor:
        """Shape (..., n1, n2), or (..., n) with `diag`."""
        scale = self.raw_lengthscale.exp()
        u1 = x1 / scale
        return matern(u1, u1 if x1 is x2 else x2 / scale, diag=diag)

    def followed(self, x: Tensor, X: Tensor) -> tuple[Tensor, Pull]:
        """The covariance of x (b, d) with X (N, d), and the pull to x."""
        with torch.no_grad():
            scale = self.raw_lengthscale.exp()
            u1, u2 = x / scale, X / scale
            k, slope = profile(u1, u2)
        return k, lambda given: pulled(given * slope, u1, u2) / scale


def matern(u1: Tensor, u2: Tensor, *, diag: bool = False) -> Tensor:
    """Matern-5/2 of the Euclidean distance between rows of u1 (..., n1, d) and u2 (..., n2, d)."""
    if diag:
        r = ((u1 - u2).square().sum(dim=-1) * 5.0).clamp_min(_TINY).sqrt()
        return (1.0 + r + r.square() / 3.0) * torch.exp(-r)
    if torch.is_grad_enabled():
        found: Tensor = _Matern.apply(u1, u2)
        return found
    return profile(u1, u2)[0]


def profile(u1: Tensor, u2: Tensor) -> tuple[Tensor, Tensor]:
    """Matern-5/2 of rows of u1 (..., n1, d) and u2 (..., n2, d), and its slope in the squared distance.

    With r^2 = 5 s the slope dk/ds is -5 / 6 (1 + r) exp(-r): finite where rows coincide. Shapes (..., n1, n2).
    """
    v1, v2 = math.sqrt(5.0) * u1, math.sqrt(5.0) * u2
    squared = (-2.0 * v1) @ v2.transpose(-1, -2)
    squared += v1.square().sum(-1, keepdim=True)
    squared += v2.square().sum(-1).unsqueeze(-2)
    r = squared.clamp_min_(_TINY).sqrt_()
    falling, one = torch.exp(-r), 1.0 + r
    slope = (one * falling).mul_(-5.0 / 6.0)
    return r.square_().div_(3.0).add_(one).mul_(falling), slope


def pulled(weights: Tensor, u1: Tensor, u2: Tensor) -> Tensor:
    """The gradient in u1 (..., n1, d) of a sum over pairs whose slopes in the squared distances are `weights`."""
    return 2.0 * (weights.sum(dim=-1, keepdim=True) * u1 - weights @ u2)


class _Matern(torch.autograd.Function):
    """As `profile`, its gradient written out: autograd's takes twice the time, and has a square root at 0."""

    @staticmethod
    def forward(ctx: Any, u1: Tensor, u2: Tensor) -> Tensor:
        k, slope = profile(u1, u2)
        ctx.save_for_backward(u1, u2, slope)
        return k

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, Tensor | None]:
        u1, u2, slope = ctx.saved_tensors
        weights = given * slope
        first = pulled(weights, u1, u2).sum_to_size(u1.shape) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return first, None
        return first, pulled(weights.transpose(-1, -2), u2, u1).sum_to_size(u2.shape)


def build(columns: Sequence[Column]) -> Matern:
    """Return the covariance over numeric columns."""
    return Matern(len(columns))
