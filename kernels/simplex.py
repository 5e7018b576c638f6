"""simplex: shares of a whole, compared by their square roots, or by another power that is learned.

k(x, x') = matern(r), r^2 = sum_j ((p_j^h - p'_j^h) / l_j)^2, with the shares p_j = (x_j + e) / sum_j (x_j + e).

At h = 1/2 and with equal lengthscales r is the Hellinger distance up to a factor: changes of small shares count for
more than equal changes of large ones. At h = 1 shares count as they are, and h -> 0 compares logarithms (powers of
compositions: Tsagris, Preston and Wood 2011). Aitchison's geometry, that of log-ratios, is not used: there a share of 0
is infinitely far from every other, and shares of 0 are what many searches end with. For h > 0 they are at finite
distance; e = 1e-6 bounds the slope at 0. log h ~ N(log 0.5, 0.5). The space of square roots is bounded whatever the
number of items, so the prior of lengthscales, LogNormal(sqrt 2, sqrt 3), does not grow with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from gpytorch.kernels import Kernel
from gpytorch.priors import LogNormalPrior, NormalPrior
from torch import Tensor
from tuner.kernels.matern import SHORTEST, matern

from tuner.gp.logarithmic import Logarithmic

if TYPE_CHECKING:
    from tuner.parameters.columns import Column

_LEAST = 1e-6
"""e, added to every share."""

_ROOT = math.log(0.5)
"""Prior mean of log h."""


class Simplex(Kernel):  # type: ignore[misc]
    """See the module; x has shape (..., n, m), not all 0, and need not sum to 1; unit variance.

    Args:
        m: Items.
    """

    has_lengthscale = True

    def __init__(self, m: int) -> None:
        prior = LogNormalPrior(loc=math.sqrt(2), scale=math.sqrt(3))
        super().__init__(
            ard_num_dims=m,
            lengthscale_prior=prior,
            lengthscale_constraint=Logarithmic(float(prior.mode), low=SHORTEST),
        )
        self.register_parameter("log_power", torch.nn.Parameter(torch.full((1, 1), _ROOT)))
        self.register_prior("power_prior", NormalPrior(_ROOT, 0.5), "log_power")

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: Any) -> Tensor:
        """Shape (..., n1, n2), or (..., n) with `diag`."""
        return matern(self.powers(x1) / self.lengthscale, self.powers(x2) / self.lengthscale, diag=diag)

    def powers(self, x: Tensor) -> Tensor:
        """p^h, shape (..., n, m)."""
        shifted = x + _LEAST
        shares = shifted / shifted.sum(dim=-1, keepdim=True)
        return shares.pow(self.log_power.exp())


def build(columns: Sequence[Column]) -> Simplex:
    """Return the covariance over the columns of a simplex, one for each item."""
    return Simplex(len(columns))
