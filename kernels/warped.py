"""warped: the Matern-5/2 covariance after a learned monotone map of each column onto itself.

k(x, x') = matern(w(x), w(x')) with Kumaraswamy's distribution function w_j(x) = 1 - (1 - x_j^a_j)^b_j: a logarithm, an
exponential, an S or its inverse, or nothing at a = b = 1 (Snoek, Swersky, Zemel and Adams 2014, who use the Beta
distribution's). log a, log b ~ N(0, sqrt 0.75). For functions that change faster at one end of a range than elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from gpytorch.kernels import Kernel
from gpytorch.priors import NormalPrior
from torch import Tensor
from tuner.kernels.matern import Matern

if TYPE_CHECKING:
    from tuner.parameters.columns import Column

_EDGE = 1e-6
"""Columns are squeezed into [edge, 1 - edge], where the slopes of w are finite."""


class Warped(Kernel):  # type: ignore[misc]
    """See the module; x has shape (..., n, d) in [0, 1], unit variance.

    Args:
        d: Columns.
    """

    def __init__(self, d: int) -> None:
        super().__init__()
        self.inner = Matern(d)
        for name in ("a", "b"):
            self.register_parameter(f"log_{name}", torch.nn.Parameter(torch.zeros(1, d)))
            self.register_prior(f"{name}_prior", NormalPrior(0.0, math.sqrt(0.75)), f"log_{name}")

    def warp(self, x: Tensor) -> Tensor:
        """w(x), shape (..., n, d)."""
        inside = _EDGE + (1.0 - 2.0 * _EDGE) * x
        rest = -torch.expm1(self.log_a.exp() * torch.log(inside))  # 1 - x^a without cancellation
        return 1.0 - rest.pow(self.log_b.exp())

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: Any) -> Tensor:
        """Shape (..., n1, n2), or (..., n) with `diag`."""
        k: Tensor = self.inner.forward(self.warp(x1), self.warp(x2), diag=diag)
        return k


def build(columns: Sequence[Column]) -> Warped:
    """Return the covariance over numeric columns."""
    return Warped(len(columns))
