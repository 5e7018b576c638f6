"""transformed-overlap: unordered columns whose effects add up, multiply, or anything between.

With the agreement s = (1/d) sum_j w_j [x_j = x'_j] and its maximum S = (1/d) sum_j w_j,

    k(x, x') = (exp(s) - 1) / (exp(S) - 1).

exp(s) / exp(S) is the transformed overlap of Wan et al. 2021 (Casmopolitan), which is `overlap` in other words. Here
its constant is taken out, which the mean of the process holds anyway. What remains tends to the plain weighted overlap
s / S of Ru et al. 2020 (CoCaBO), a sum over the columns, as the weights become small, and to Wan's for large ones.
Positive semi-definite: a power series in s with positive coefficients (Schur). w_j = 1 / l_j with log-normal l_j.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from gpytorch.kernels import Kernel
from gpytorch.priors import LogNormalPrior
from torch import Tensor

from tuner.gp.logarithmic import Logarithmic

if TYPE_CHECKING:
    from tuner.parameters.columns import Column

_SAME = 1e-6
"""Positions closer than this are the same level."""


class TransformedOverlap(Kernel):  # type: ignore[misc]
    """See the module; x has shape (..., n, d), unit variance.

    Args:
        d: Columns.
    """

    has_lengthscale = True

    def __init__(self, d: int) -> None:
        prior = LogNormalPrior(loc=0.0, scale=1.0)
        super().__init__(
            ard_num_dims=d, lengthscale_prior=prior, lengthscale_constraint=Logarithmic(float(prior.mode), low=2.5e-2)
        )

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: Any) -> Tensor:
        """Shape (..., n1, n2), or (..., n) with `diag`."""
        if not diag:
            x1, x2 = x1.unsqueeze(-2), x2.unsqueeze(-3)
        weights = 1.0 / (self.lengthscale * self.lengthscale.shape[-1])  # (..., 1, d)
        same = ((x1 - x2).abs() <= _SAME).to(x1.dtype)
        most = weights.sum(dim=-1) if diag else weights.sum(dim=-1, keepdim=True)
        s = (same * (weights if diag else weights.unsqueeze(-2))).sum(dim=-1)
        return torch.exp(s - most) * torch.expm1(-s) / torch.expm1(-most)


def build(columns: Sequence[Column]) -> TransformedOverlap:
    """Return the covariance over unordered columns."""
    return TransformedOverlap(len(columns))
