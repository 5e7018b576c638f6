"""Values together with their gradients, written out where that pays.

For the few rows that a search of an acquisition function looks at, autograd's bookkeeping costs several times what the
arithmetic does. So what is met at every step has its gradient in closed form: a function returns its values and a pull,
which turns the gradient of anything in those values into its gradient in the inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from gpytorch.kernels import Kernel

Pull = Callable[[Tensor], Tensor]
"""Gradient in the values -> gradient in the inputs."""

_LOG_ROOT = 0.5 * math.log(2.0 * math.pi)
_HALF_ROOT = math.sqrt(0.5 * math.pi)
_BOUND = -1.0
_FAR = -1e5
"""Below, 1 - |u| Phi(u) / phi(u) is 1 / u^2 to more digits than its formula gives."""


def traced(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Pull]:
    """The values of any function at x, and their pull, by autograd."""
    with torch.enable_grad():
        at = x.detach().requires_grad_(True)
        values = function(at)

    def pull(given: Tensor) -> Tensor:
        if not values.requires_grad:
            return torch.zeros_like(x)
        (slope,) = torch.autograd.grad(values, at, given, allow_unused=True)
        return torch.zeros_like(x) if slope is None else slope

    return values.detach(), pull


def followed(kernel: Kernel, x: Tensor, X: Tensor) -> tuple[Tensor, Pull]:
    """The covariance of x (b, d) with X (N, d), shape (b, N), and the pull to x.

    A covariance that has a method `followed` knows better than autograd.
    """
    own: Callable[[Tensor, Tensor], tuple[Tensor, Pull]] | None = getattr(kernel, "followed", None)
    return traced(lambda at: kernel.forward(at, X), x) if own is None else own(x, X)


def log_improvement(u: Tensor) -> tuple[Tensor, Tensor]:
    """h(u) = log E(u + z)+ = log(phi(u) + u Phi(u)), z standard normal, and its slope Phi(u) / exp h(u).

    From -1 down by h = log phi(u) + log(1 - |u| Phi(u) / phi(u)) (Ament et al. 2023, eq. 9).
    """
    high = u.clamp_min(_BOUND)
    chance = torch.special.ndtr(high)
    mean = torch.exp(-0.5 * high.square() - _LOG_ROOT) + high * chance
    above, slope_above = mean.log(), chance / mean
    low = u.clamp_max(_BOUND)
    ratio = _HALF_ROOT * torch.special.erfcx(low * -math.sqrt(0.5))
    gap = torch.where(low > _FAR, 1.0 + low * ratio, low.square().reciprocal())
    below = gap.log() - 0.5 * low.square() - _LOG_ROOT
    inside = u > _BOUND
    return torch.where(inside, above, below), torch.where(inside, slope_above, ratio / gap)


class _LogImprovement(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        value, slope = log_improvement(u)
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        found: Tensor = given * slope
        return found


def traced_log_improvement(u: Tensor) -> Tensor:
    """h of `log_improvement` for autograd."""
    found: Tensor = _LogImprovement.apply(u)  # type: ignore[no-untyped-call]
    return found


def log_chance(u: Tensor) -> tuple[Tensor, Tensor]:
    """log Phi(u), and its slope phi(u) / Phi(u)."""
    return torch.special.log_ndtr(u), 1.0 / (_HALF_ROOT * torch.special.erfcx(u * -math.sqrt(0.5)))
