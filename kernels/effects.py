"""effects: what each numeric column does by itself, and what they do together.

    k(x, x') = s mean_j exp(-(x_j - x'_j)^2 / (2 h_j^2)) + (1 - s) matern(x, x'),    0 < s < 1.

The first part is the covariance of sums of functions of one column (the first order of Duvenaud, Nickisch and Rasmussen
2011, Additive Gaussian processes, eq. 2): what a column does is learned from all trials, wherever the others stood. The
second is about everything else. Lengthscales h have the prior of `matern` over a single column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from gpytorch.kernels import Kernel
from gpytorch.priors import LogNormalPrior, NormalPrior
from torch import Tensor
from torch.autograd.function import once_differentiable
from tuner.kernels.matern import SHORTEST, Matern

from tuner.gp.logarithmic import Logarithmic

if TYPE_CHECKING:
    from tuner.parameters.columns import Column

MOST_COLUMNS = 40
"""With more, one column's share of the first part is too small to be learned, and the covariance is `matern`."""


class Effects(Kernel):  # type: ignore[misc]
    """See the module; x has shape (..., n, d), unit variance.

    Args:
        d: Columns.
    """

    has_lengthscale = True

    def __init__(self, d: int) -> None:
        prior = LogNormalPrior(loc=math.sqrt(2), scale=math.sqrt(3))
        super().__init__(
            ard_num_dims=d,
            lengthscale_prior=prior,
            lengthscale_constraint=Logarithmic(float(prior.mode), low=SHORTEST),
        )
        self.together = Matern(d)
        self.register_parameter("raw_alone", torch.nn.Parameter(torch.zeros(1)))
        self.register_prior("alone_prior", NormalPrior(0.0, 1.5), lambda module: module.raw_alone)

    @property
    def alone(self) -> Tensor:
        """s, shape (1,): the logistic function of the raw parameter."""
        return torch.sigmoid(self.raw_alone)

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: Any) -> Tensor:
        """Shape (..., n1, n2), or (..., n) with `diag`."""
        together: Tensor = self.together.forward(x1, x2, diag=diag)
        u1, u2 = x1 / self.lengthscale, x2 / self.lengthscale
        effects: Tensor
        if diag:
            effects = torch.exp(-0.5 * (u1 - u2).square()).mean(dim=-1)
        else:
            effects = _MeanOfBells.apply(u1, u2) if torch.is_grad_enabled() else _mean_of_bells(u1, u2)
        return self.alone * effects + (1.0 - self.alone) * together


def _mean_of_bells(u: Tensor, v: Tensor) -> Tensor:
    """As `_MeanOfBells`, column by column: what is held at once is as large as the answer."""
    total = 0.0
    for a, b in zip(u.unbind(dim=-1), v.unbind(dim=-1), strict=True):
        total = (a.unsqueeze(-1) - b.unsqueeze(-2)).square_().mul_(-0.5).exp_() + total
    return total / u.shape[-1]


class _MeanOfBells(torch.autograd.Function):
    """mean_j exp(-(u_j - v_j)^2 / 2) of the rows of u (..., n1, d) and v (..., n2, d), shape (..., n1, n2).

    What autograd makes of the formula takes twice the time of its gradient written out.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, v: Tensor) -> Tensor:
        """One column after the other lies closer together in memory than one pair of rows after the other."""
        steps = u.transpose(-1, -2).unsqueeze(-1) - v.transpose(-1, -2).unsqueeze(-2)
        bells = steps.square().mul_(-0.5).exp_()
        ctx.save_for_backward(steps, bells)
        ctx.shapes = u.shape, v.shape
        return bells.mean(dim=-3)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor]:
        """The bell's derivative is minus the step times the bell."""
        steps, bells = ctx.saved_tensors
        moved = (bells * steps).mul_(slope.unsqueeze(-3) / bells.shape[-3])
        du, dv = -moved.sum(dim=-1).transpose(-1, -2), moved.sum(dim=-2).transpose(-1, -2)
        return du.sum_to_size(ctx.shapes[0]), dv.sum_to_size(ctx.shapes[1])


def build(columns: Sequence[Column]) -> Effects | Matern:
    """Return the covariance over numeric columns; a single one has no others to be together with."""
    return Effects(len(columns)) if 1 < len(columns) <= MOST_COLUMNS else Matern(len(columns))
