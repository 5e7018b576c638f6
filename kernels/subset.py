"""subset: which items two subsets share, times how alike their sizes are.

With b_j = 1 for the items in a subset and 0 for the others, and its size |b| = sum_j b_j,

    k(b, b') = exp(-sum_j (b_j - b'_j)^2 / l_j) matern((|b| - |b'|) / (l sqrt(m))),

a Hamming kernel with a lengthscale an item times a Matern-5/2 in the size, measured in sqrt(m): sizes of random subsets
of m items spread like that. Positive semi-definite as a product of two that are (a Gaussian and a Matern covariance),
and smooth between the binary values. The priors are those of `overlap` and of `matern`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from gpytorch.kernels import Kernel
from gpytorch.priors import LogNormalPrior
from torch import Tensor
from tuner.kernels.matern import Matern

from tuner.gp.logarithmic import Logarithmic

if TYPE_CHECKING:
    from tuner.parameters.columns import Column


class Subset(Kernel):  # type: ignore[misc]
    """See the module; x has shape (..., n, m), 0.75 for the items in a subset and 0.25 for the others; unit variance.

    Args:
        m: Items.
    """

    has_lengthscale = True

    def __init__(self, m: int) -> None:
        prior = LogNormalPrior(loc=math.log(m), scale=1.0)
        super().__init__(
            ard_num_dims=m, lengthscale_prior=prior, lengthscale_constraint=Logarithmic(float(prior.mode), low=2.5e-2)
        )
        self.in_size = Matern(1)

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: Any) -> Tensor:
        """Shape (..., n1, n2), or (..., n) with `diag`."""
        b1, b2 = 2.0 * x1 - 0.5, 2.0 * x2 - 0.5
        root = math.sqrt(x1.shape[-1])
        sizes = [b.sum(dim=-1, keepdim=True) / root for b in (b1, b2)]
        u1, u2 = b1 * self.lengthscale.rsqrt(), b2 * self.lengthscale.rsqrt()
        if diag:
            apart = (u1 - u2).square().sum(dim=-1)
        else:
            apart = u1.square().sum(-1).unsqueeze(-1) + u2.square().sum(-1).unsqueeze(-2) - 2.0 * u1 @ u2.mT
        k: Tensor = torch.exp(-apart.clamp_min(0.0)) * self.in_size.forward(*sizes, diag=diag)
        return k


def build(columns: Sequence[Column]) -> Subset:
    """Return the covariance over the binary columns of a subset, one for each item."""
    return Subset(len(columns))
