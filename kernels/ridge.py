"""ridge: effects of the numeric columns and of one direction across them.

    k(x, x') = effects([x, x'w], [x', x''w])

A valley that lies across the columns, and what depends on a sum of them, are functions of one number x'w (a ridge
function) and of little else; no covariance of columns by themselves can say so. The direction w has the prior N(0, 1)
in every column; its length is of no account, as its column of `effects` has lengthscales of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from gpytorch.kernels import Kernel
from gpytorch.priors import NormalPrior
from torch import Tensor
from tuner.kernels.effects import Effects
from tuner.kernels.effects import build as effects_of

from tuner.gp.slopes import Pull

if TYPE_CHECKING:
    from tuner.kernels.matern import Matern

    from tuner.parameters.columns import Column

_FIRST_LENGTHSCALE = 2.0 / 3.0


class Ridge(Kernel):  # type: ignore[misc]
    """See the module; x has shape (..., n, d), unit variance.

    Args:
        direction: Where w starts, shape (d,), of length 1.
        like: Where the hyperparameters of the columns start; at their priors' modes when None.
    """

    def __init__(self, direction: Tensor, like: Effects | None = None) -> None:
        super().__init__()
        d = len(direction)
        self.register_parameter("direction", torch.nn.Parameter(direction.detach().clone()))
        self.register_prior("direction_prior", NormalPrior(0.0, 1.0), lambda module: module.direction)
        self.effects = Effects(d + 1).to(direction)
        with torch.no_grad():
            for parameter in self.effects.parameters():
                parameter[..., d:] = math.log(_FIRST_LENGTHSCALE)
            for parameter, known in zip(self.effects.parameters(), like.parameters() if like else ()):
                parameter[..., : known.shape[-1]] = known

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: Any) -> Tensor:
        """Shape (..., n1, n2), or (..., n) with `diag`."""
        wide = self._wide(x1)
        k: Tensor = self.effects.forward(wide, wide if x1 is x2 else self._wide(x2), diag=diag)
        return k

    def followed(self, x: Tensor, X: Tensor) -> tuple[Tensor, Pull]:
        """The covariance of x (b, d) with X (N, d), and the pull to x."""
        k, pull_wide = self.effects.followed(self._wide(x), self._wide(X))

        def pull(given: Tensor) -> Tensor:
            slope = pull_wide(given)
            return slope[:, :-1] + slope[:, -1:] * self.direction.detach()

        return k, pull

    def _wide(self, x: Tensor) -> Tensor:
        return torch.cat([x, (x @ self.direction).unsqueeze(-1)], dim=-1)


def build(columns: Sequence[Column]) -> Ridge | Effects | Matern:
    """Return the covariance over numeric columns, its direction that of their sum; effects where there are none."""
    found = effects_of(columns)
    d = len(columns)
    return Ridge(torch.full((d,), d**-0.5)) if isinstance(found, Effects) else found
