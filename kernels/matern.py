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

from tuner.gp.logarithmic import Logarithmic

if TYPE_CHECKING:
    from tuner.parameters.columns import Column

SHORTEST = 2.5e-2
_TINY = 1e-20
"""Added to squared distances: the square root's slope at 0 is infinite."""


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
        return matern(x1 / self.lengthscale, x2 / self.lengthscale, diag=diag)


def matern(u1: Tensor, u2: Tensor, *, diag: bool = False) -> Tensor:
    """Matern-5/2 of the Euclidean distance between rows of u1 (..., n1, d) and u2 (..., n2, d)."""
    if diag:
        squared = (u1 - u2).square().sum(dim=-1)
    else:
        inner = u1 @ u2.transpose(-1, -2)
        squared = u1.square().sum(-1).unsqueeze(-1) + u2.square().sum(-1).unsqueeze(-2) - 2 * inner
    r = (5.0 * squared.clamp_min(0.0) + _TINY).sqrt()
    return (1.0 + r + r.square() / 3.0) * torch.exp(-r)


def build(columns: Sequence[Column]) -> Matern:
    """Return the covariance over numeric columns."""
    return Matern(len(columns))
