"""conditional: columns that exist only in part of the space.

With a, a' whether the columns are active (0 or 1) and k the covariance over them,

    c((x, a), (x', a')) = r + (1 - r) ([a = a' = 0] + [a = a' = 1] k(x, x')),    0 < r < 1.

Two configurations without the columns are at no distance in them, one with and one without have the correlation r
whatever the value, and those with both are compared by k on top of r: what a branch has in common, and what varies in
it. Positive semi-definite as the sum of a constant and of blocks (compare the Arc kernel of Swersky et al. 2014 and the
wedge kernel of Horn et al. 2019, which put the same two demands on a distance).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from gpytorch.kernels import Kernel
from gpytorch.priors import NormalPrior
from torch import Tensor

if TYPE_CHECKING:
    from tuner.parameters.columns import Column


class Conditional(Kernel):  # type: ignore[misc]
    """See the module; x has shape (..., n, d + 1), the last column being the activity; unit variance.

    Args:
        inner: The covariance over the d columns.
    """

    def __init__(self, inner: Kernel) -> None:
        super().__init__()
        self.inner = inner
        self.register_parameter("raw_shared", torch.nn.Parameter(torch.zeros(1)))
        self.register_prior("shared_prior", NormalPrior(0.0, 1.5), lambda module: module.raw_shared)

    @property
    def shared(self) -> Tensor:
        """r, shape (1,): the logistic function of the raw parameter."""
        return torch.sigmoid(self.raw_shared)

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: Any) -> Tensor:
        """Shape (..., n1, n2), or (..., n) with `diag`."""
        a1, a2 = (x[..., -1] > 0.5 for x in (x1, x2))
        if not diag:
            a1, a2 = a1.unsqueeze(-1), a2.unsqueeze(-2)
        k = self.inner.forward(x1[..., :-1], x2[..., :-1], diag=diag)
        one = torch.ones((), dtype=k.dtype, device=k.device)
        within = torch.where(a1 & a2, k, torch.where(a1 | a2, 0.0 * one, one))
        return self.shared + (1.0 - self.shared) * within


def build(columns: Sequence[Column]) -> Conditional:
    """Return the covariance over columns that share a condition, whose activity is one more column."""
    from tuner.kernels.mixed import build as mixed

    return Conditional(mixed(columns))
