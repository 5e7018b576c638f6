"""saas: Matern-5/2 and Hamming covariances with priors that switch most columns off, for many columns and few trials.

The sparse axis-aligned subspace priors of Eriksson and Jankowiak 2021: a global shrinkage tau ~ half-Cauchy(0.1), and
for every column

    tau rho_j ~ half-Cauchy(1),

where rho_j is the inverse squared lengthscale of an ordered column (`matern`), or the inverse lengthscale of an
unordered one (`overlap`): what a difference in the column adds to the squared distance. Most rho_j are nothing, a few
are large. The paper samples rho_j / tau instead; for the most probable hyperparameters BoTorch's form, which is this
one, predicts better. Here tau is given: an ensemble has a member for each of several (see `shrinkages`), which is the
idea of BoTorch's `EnsembleMapSaasSingleTaskGP`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gpytorch.kernels import Kernel
from gpytorch.priors import HalfCauchyPrior
from torch import Tensor
from tuner.kernels import mixed
from tuner.kernels.matern import Matern
from tuner.kernels.overlap import Overlap

if TYPE_CHECKING:
    from tuner.parameters.columns import Column

SHRINKAGE = 0.1


def shrinkages(n: int) -> tuple[float, ...]:
    """The quantiles (i + 1/2) / n of tau's half-Cauchy(0.1): 0.1 tan(pi q / 2)."""
    return tuple(SHRINKAGE * math.tan(0.5 * math.pi * (i + 0.5) / n) for i in range(n))


def shrink(kernel: Kernel, tau: float = SHRINKAGE) -> Kernel:
    """Give the lengthscales of `matern` and `overlap` in a covariance the sparse prior, in place.

    They stay where they are: the prior's mode is rho_j = 0, from where nothing would be learned.
    """
    for module in kernel.modules():
        if isinstance(module, Matern | Overlap):
            power = 1.0 if isinstance(module, Overlap) else 2.0
            module.register_prior("lengthscale_prior", HalfCauchyPrior(1.0 / tau), _Relevance(power))
    return kernel


class _Relevance:
    """rho of a covariance, shape (..., 1, d)."""

    def __init__(self, power: float) -> None:
        self._power = power

    def __call__(self, kernel: Kernel) -> Tensor:
        rho: Tensor = kernel.lengthscale ** (-self._power)
        return rho


def build(columns: Sequence[Column]) -> Kernel:
    """Return the covariance over numeric and unordered columns, tau at its prior's scale."""
    return shrink(mixed.build(columns))
