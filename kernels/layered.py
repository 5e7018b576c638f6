"""layered: a number for each layer of a network, where neighbouring layers matter alike.

k(x, x') = matern(r), r^2 = (x - x')^T S (x - x'), S = W^T diag(l)^-2 W, with the local averages along the depth

    W_ij = exp(-(i - j)^2 / (2 h^2)) / sum_j exp(-(i - j)^2 / (2 h^2)),    h in layers, log h ~ N(log 0.2, 1).

A constant change of all layers is as far as in `matern`, which is the limit h -> 0, whatever h. A change that one layer
makes and the next one takes back is nearer, and vanishes for large h: the response sees what a stretch of layers has in
total. Layers stand alone at the mode of the prior; smoothness is for the data to ask for. Positive semi-definite since
r is the Euclidean distance of the scaled averages W x. Lengthscales l, one a layer, have the prior of `matern`.
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

_REACH = math.log(0.2)
"""Prior mean of log h."""


class Layered(Kernel):  # type: ignore[misc]
    """See the module; x has shape (..., n, d), layers in the order of the depth; unit variance.

    Args:
        d: Layers.
    """

    has_lengthscale = True

    def __init__(self, d: int) -> None:
        prior = LogNormalPrior(loc=math.sqrt(2) + 0.5 * math.log(d), scale=math.sqrt(3))
        super().__init__(
            ard_num_dims=d, lengthscale_prior=prior, lengthscale_constraint=Logarithmic(float(prior.mode), low=SHORTEST)
        )
        depth = torch.arange(d, dtype=torch.float64)
        self.register_buffer("apart", (depth.unsqueeze(-1) - depth).square())
        self.register_parameter("log_reach", torch.nn.Parameter(torch.full((1, 1), _REACH)))
        self.register_prior("reach_prior", NormalPrior(_REACH, 1.0), "log_reach")

    def averages(self) -> Tensor:
        """W, shape (..., d, d)."""
        return torch.softmax(-0.5 * self.apart * torch.exp(-2.0 * self.log_reach), dim=-1)

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: Any) -> Tensor:
        """Shape (..., n1, n2), or (..., n) with `diag`."""
        W = self.averages().mT / self.lengthscale
        return matern(x1 @ W, x2 @ W, diag=diag)


def build(columns: Sequence[Column]) -> Layered:
    """Return the covariance over the columns of a vector, one for each layer."""
    return Layered(len(columns))
