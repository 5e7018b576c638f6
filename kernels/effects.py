"""effects: what each numeric column does by itself, and what they do together.

    k(x, x') = s mean_j exp(-(x_j - x'_j)^2 / (2 h_j^2)) + (1 - s) matern(x, x'),    0 < s < 1.

The first part is the covariance of sums of functions of one column (the first order of Duvenaud, Nickisch and Rasmussen
2011, Additive Gaussian processes, eq. 2): what a column does is learned from all trials, wherever the others stood. The
second is about everything else. Lengthscales h have the prior of `matern` over a single column.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from gpytorch.kernels import Kernel
from gpytorch.priors import LogNormalPrior, NormalPrior
from torch import Tensor
from torch.autograd.function import once_differentiable
from tuner.kernels.matern import SHORTEST, Matern, matern, profile, pulled

from tuner.gp.logarithmic import Logarithmic
from tuner.gp.slopes import Pull

if TYPE_CHECKING:
    from tuner.parameters.columns import Column

MOST_COLUMNS = 40
"""With more, one column's share of the first part is too small to be learned, and the covariance is `matern`."""

_HELD = 2**15
"""Pairs of rows at a time when there is no gradient: what is worked on stays close to the processor."""

_HELD_ON_GPU = 2**25
"""There every block is a launch, and memory is the only reason to have more than one."""


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
        together, s = self.together.raw_lengthscale.exp(), self.alone
        own = self.raw_lengthscale.exp()
        if diag:
            apart = torch.exp(-0.5 * ((x1 - x2) / own).square()).mean(dim=-1)
            return s * apart + (1.0 - s) * matern(x1 / together, x2 / together, diag=True)
        u1, v1 = x1 / own, x1 / together
        k: Tensor
        if torch.is_grad_enabled() and x1 is x2:
            k = _OwnEffects.apply(u1, v1, s)
            return k
        u2, v2 = x2 / own, x2 / together
        if torch.is_grad_enabled():
            k = _Effects.apply(u1, u2, v1, v2, s)
            return k
        size = max((_HELD if x1.device.type == "cpu" else _HELD_ON_GPU) // x2.shape[-2], 1)
        blocks = zip(u1.split(size, dim=-2), v1.split(size, dim=-2), strict=True)
        return torch.cat([_plain(u, u2, v, v2, s) for u, v in blocks], dim=-2)

    def followed(self, x: Tensor, X: Tensor) -> tuple[Tensor, Pull]:
        """The covariance of x (b, d) with X (N, d), and the pull to x."""
        with torch.no_grad():
            together, own = self.together.raw_lengthscale.exp(), self.raw_lengthscale.exp()
            found = _Traced(x / own, X / own, x / together, X / together, self.alone)

        def pull(given: Tensor) -> Tensor:
            du, _, dv, _, _ = found.pull(given, (True, False, True, False, False))
            assert du is not None
            assert dv is not None
            return du / own + dv / together

        return found.value(), pull

    def learned_from(self, X: Tensor) -> tuple[Tensor, Callable[[Tensor], dict[Tensor, Tensor]]]:
        """The covariance of X (n, d), and the pull to the raw parameters from symmetric gradients in it (n, n)."""
        with torch.no_grad():
            s = self.alone
            u, v = X / self.raw_lengthscale.exp(), X / self.together.raw_lengthscale.exp()
            found = _Traced(u, u, v, v, s)

        def pull(given: Tensor) -> dict[Tensor, Tensor]:
            du, _, dv, _, ds = found.pull(2.0 * given, (True, False, True, False, True))
            assert du is not None
            assert dv is not None
            assert ds is not None
            return {
                self.raw_lengthscale: -(du * u).sum(dim=0, keepdim=True),
                self.together.raw_lengthscale: -(dv * v).sum(dim=0, keepdim=True),
                self.raw_alone: 0.5 * ds * s * (1.0 - s),
            }

        return found.value(), pull


def _plain(u1: Tensor, u2: Tensor, v1: Tensor, v2: Tensor, s: Tensor) -> Tensor:
    """The covariance of rows, in units of both kinds of lengthscales, column by column."""
    total = profile(v1, v2)[0].mul_(1.0 - s)
    share = s / u1.shape[-1]
    for a, b in zip(u1.unbind(dim=-1), u2.unbind(dim=-1), strict=True):
        total += (a.unsqueeze(-1) - b.unsqueeze(-2)).square_().mul_(-0.5).exp_().mul_(share)
    return total


class _Traced:
    """The covariance k of rows u1 (..., n1, d) and u2 (..., n2, d), in units of h, and v1 and v2, the same in those of
    l, with what its gradient takes: autograd needs four times as long to find that.

    One column after the other lies closer together in memory than one pair of rows after the other.
    """

    def __init__(self, u1: Tensor, u2: Tensor, v1: Tensor, v2: Tensor, s: Tensor) -> None:
        self._u1, self._u2, self._v1, self._v2, self._s = u1, u2, v1, v2, s
        self._bells = _bells(u1, u2)
        self._apart = self._bells.mean(dim=-3)
        self._together, self._slope = profile(v1, v2)

    def value(self) -> Tensor:
        """k, shape (..., n1, n2); not held, or it would hold itself through autograd's graph."""
        return torch.lerp(self._together, self._apart, self._s)

    def pull(self, given: Tensor, wanted: Sequence[bool] = (True,) * 5) -> list[Tensor | None]:
        """The gradients in u1, u2, v1, v2 and s of what has the gradient `given` in k, where they are wanted."""
        found: list[Tensor | None] = [None] * 5
        if wanted[0] or wanted[1]:
            weighed = self._bells * (given * (self._s / self._bells.shape[-3])).unsqueeze(-3)
            if wanted[0]:
                found[0] = _pulled_bells(weighed, self._u1, self._u2)
            if wanted[1]:
                found[1] = _pulled_bells(weighed.transpose(-1, -2), self._u2, self._u1)
        weights = given * self._slope * (1.0 - self._s)
        if wanted[2]:
            found[2] = pulled(weights, self._v1, self._v2).sum_to_size(self._v1.shape)
        if wanted[3]:
            found[3] = pulled(weights.transpose(-1, -2), self._v2, self._v1).sum_to_size(self._v2.shape)
        if wanted[4]:
            found[4] = (given * (self._apart - self._together)).sum().reshape(self._s.shape)
        return found


def _bells(u1: Tensor, u2: Tensor) -> Tensor:
    """exp(-(u1_j - u2_j)^2 / 2) of each column, shape (..., d, n1, n2)."""
    a, b = u1.transpose(-1, -2).unsqueeze(-1), u2.transpose(-1, -2).unsqueeze(-2)
    if u1.dim() + u2.dim() > 4 or a.shape[-2] * b.shape[-1] < _HELD // 4:
        return (a - b).square_().mul_(-0.5).exp_()
    found = u1.new_empty(len(a), a.shape[-2], b.shape[-1])
    for column, left, right in zip(found, a, b, strict=True):
        torch.sub(left, right, out=column).square_().mul_(-0.5).exp_()
    return found


def _pulled_bells(weighed: Tensor, u1: Tensor, u2: Tensor) -> Tensor:
    """The gradient in u1: a bell's slope is minus the step times the bell, here (..., d, n1, n2) with its weight."""
    right = u2.transpose(-1, -2)
    sums = weighed @ torch.stack([right, torch.ones_like(right)], dim=-1)  # (..., d, n1, 2)
    moved = sums[..., 0] - sums[..., 1] * u1.transpose(-1, -2)
    return moved.transpose(-1, -2).sum_to_size(u1.shape)


class _Effects(torch.autograd.Function):
    """`_Traced` for autograd."""

    @staticmethod
    def forward(ctx: Any, u1: Tensor, u2: Tensor, v1: Tensor, v2: Tensor, s: Tensor) -> Tensor:
        ctx.traced = _Traced(u1, u2, v1, v2, s)
        k: Tensor = ctx.traced.value()
        return k

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        return tuple(ctx.traced.pull(given, ctx.needs_input_grad))


class _OwnEffects(torch.autograd.Function):
    """`_Traced` of rows u (..., n, d) with themselves: what is symmetric is pulled once."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, v: Tensor, s: Tensor) -> Tensor:
        ctx.traced = _Traced(u, u, v, v, s)
        k: Tensor = ctx.traced.value()
        return k

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        both = given + given.transpose(-1, -2)
        of_u, _, of_v, _, of_s = ctx.traced.pull(both, (True, False, True, False, True))
        return of_u, of_v, 0.5 * of_s if of_s is not None else None


def build(columns: Sequence[Column]) -> Effects | Matern:
    """Return the covariance over numeric columns; a single one has no others to be together with."""
    return Effects(len(columns)) if 1 < len(columns) <= MOST_COLUMNS else Matern(len(columns))
