"""learning-curve: steps of training, or another fidelity, along which a metric settles.

A mixture of exponential decays exp(-rate t), the rates Gamma(a, 1 / b) distributed, has the covariance

    c(t, t') = b^a / (t + t' + b)^a                              (Swersky, Snoek and Adams 2014)

and the correlation k(t, t') = c(t, t') / sqrt(c(t, t) c(t', t')), which this is. With u = log(2 t + b) it is

    k(t, t') = cosh((u - u') / 2)^-a,

a function of the ratio of steps: metrics at late steps are nearly the same, however many lie between them. Unlike c its
variance does not decay: it multiplies covariances of other columns, and a metric at the last step varies between
configurations. log a ~ N(0, 1), log b ~ N(log 0.2, 1), with t in [0, 1]; several columns multiply.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from gpytorch.kernels import Kernel
from gpytorch.priors import NormalPrior
from torch import Tensor

if TYPE_CHECKING:
    from tuner.parameters.columns import Column

_ONSET = math.log(0.2)
"""Prior mean of log b."""


class LearningCurve(Kernel):  # type: ignore[misc]
    """See the module; x has shape (..., n, d), unit variance.

    Args:
        d: Columns.
    """

    def __init__(self, d: int) -> None:
        super().__init__()
        self.register_parameter("log_a", torch.nn.Parameter(torch.zeros(1, d)))
        self.register_parameter("log_b", torch.nn.Parameter(torch.full((1, d), _ONSET)))
        self.register_prior("a_prior", NormalPrior(0.0, 1.0), "log_a")
        self.register_prior("b_prior", NormalPrior(_ONSET, 1.0), "log_b")

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: Any) -> Tensor:
        """Shape (..., n1, n2), or (..., n) with `diag`."""
        a, b = self.log_a.exp(), self.log_b.exp()
        u1, u2 = torch.log(2.0 * x1 + b), torch.log(2.0 * x2 + b)
        if not diag:
            u1, u2, a = u1.unsqueeze(-2), u2.unsqueeze(-3), a.unsqueeze(-2)
        return torch.exp(-(a * torch.cosh(0.5 * (u1 - u2)).log()).sum(dim=-1))


def build(columns: Sequence[Column]) -> LearningCurve:
    """Return the covariance over columns of steps or another fidelity."""
    return LearningCurve(len(columns))
