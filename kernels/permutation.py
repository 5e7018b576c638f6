"""permutation: how many pairs of items two orders put the same way round, and how many neighbours they share.

k(x, x') = exp(-D / l_1 - (1 - A) / l_2) with

    D   the share of pairs of items that the two orders put the opposite way round: exp(-D / l_1) is the Mallows kernel
        of Jiao and Vert 2018, with lambda = 1 / l_1; positive semi-definite as D is a multiple of the squared distance
        between sign vectors
    A   the share of neighbouring pairs that they have in common, the last item next to the first: what a tour consists
        of, whichever way round and from wherever it is read. The inner product of edge sets, so that exp(A / l_2) is
        positive semi-definite

and each lengthscale learned, long for what does not matter. Priors LogNormal(log 2, 1).
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


class Permutation(Kernel):  # type: ignore[misc]
    """See the module; x has shape (..., n, m), the items' positions, of which only the order counts; unit variance.

    Needs memory for m^2 numbers a row. Its slope in x is 0 everywhere, as it is constant between ties.

    Args:
        m: Items.
    """

    has_lengthscale = True

    def __init__(self, m: int) -> None:
        prior = LogNormalPrior(loc=math.log(2.0), scale=1.0)
        super().__init__(
            ard_num_dims=2, lengthscale_prior=prior, lengthscale_constraint=Logarithmic(float(prior.mode), low=2.5e-2)
        )
        self.ard_num_dims = None  # there are two lengthscales, whatever the number of columns
        self.register_buffer("pairs", torch.triu_indices(m, m, offset=1))

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: Any) -> Tensor:
        """Shape (..., n1, n2), or (..., n) with `diag`."""
        l1, l2 = self.lengthscale.unbind(dim=-1)  # (..., 1) each
        if not diag:
            l1, l2 = l1.unsqueeze(-1), l2.unsqueeze(-1)
        (signs1, edges1), (signs2, edges2) = self._features(x1), self._features(x2)
        pairs = max(1, self.pairs.shape[-1])
        edges = max(1, min(pairs, x1.shape[-1]))
        opposite = 0.5 - 0.5 * _inner(signs1, signs2, diag) / pairs
        return torch.exp(-opposite / l1 - (1.0 - _inner(edges1, edges2, diag) / edges) / l2)

    def _features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of every pair i < j: 1 when i comes first, else -1; 1 when they are neighbours, else 0; (..., n, pairs)."""
        m = x.shape[-1]
        rank = x.detach().argsort(dim=-1, stable=True).argsort(dim=-1)  # ties in declared order, as decoded
        apart = rank.index_select(-1, self.pairs[1]) - rank.index_select(-1, self.pairs[0])
        neighbours = (apart.abs() == 1) | (apart.abs() == m - 1)
        return apart.sign().to(x.dtype), neighbours.to(x.dtype)


def _inner(u1: Tensor, u2: Tensor, diag: bool) -> Tensor:
    return (u1 * u2).sum(dim=-1) if diag else u1 @ u2.mT


def build(columns: Sequence[Column]) -> Permutation:
    """Return the covariance over the columns of a permutation, one for each item."""
    return Permutation(len(columns))
