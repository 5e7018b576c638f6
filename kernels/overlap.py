"""overlap: how many unordered columns agree, each with its own weight.

k(x, x') = exp(-sum_j [x_j != x'_j] / l_j): the Hamming distance with a lengthscale a column (Ru et al. 2020, CoCaBO,
uses its mean; Wan et al. 2021, Casmopolitan, the exponential). The prior of lengthscales grows with the columns d, so
that two random configurations are about as alike whatever d is.
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

_SAME = 1e-6
"""Positions closer than this are the same level."""


class Overlap(Kernel):  # type: ignore[misc]
    """See the module; x has shape (..., n, d), unit variance.

    Args:
        d: Columns.
    """

    has_lengthscale = True

    def __init__(self, d: int) -> None:
        prior = LogNormalPrior(loc=math.log(d), scale=1.0)
        super().__init__(
            ard_num_dims=d, lengthscale_prior=prior, lengthscale_constraint=Logarithmic(float(prior.mode), low=2.5e-2)
        )

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: Any) -> Tensor:
        """Shape (..., n1, n2), or (..., n) with `diag`."""
        if not diag:
            x1, x2 = x1.unsqueeze(-2), x2.unsqueeze(-3)
        differs = ((x1 - x2).abs() > _SAME).to(x1.dtype)
        return torch.exp(-(differs @ (1.0 / self.lengthscale).squeeze(-2).unsqueeze(-1)).squeeze(-1))


def build(columns: Sequence[Column]) -> Overlap:
    """Return the covariance over unordered columns."""
    return Overlap(len(columns))
