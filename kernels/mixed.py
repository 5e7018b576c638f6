"""mixed: one covariance for each group of columns, put together as a product, or as a sum and a product.

k = w mean_g k_g + (1 - w) prod_g k_g, 0 < w < 1 (Ru et al. 2020, CoCaBO, eq. 3, where it is a sum of two). The product
alone says that configurations which differ in one group tell nothing of each other in the rest; the sum says that the
groups' effects add up. Groups under a condition always multiply.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from gpytorch.kernels import Kernel
from gpytorch.priors import NormalPrior
from torch import Tensor
from tuner.kernels import matern, overlap
from tuner.kernels.conditional import Conditional

from tuner.gp.slopes import Pull, followed, traced

if TYPE_CHECKING:
    from tuner.parameters.columns import Column


class Mixed(Kernel):  # type: ignore[misc]
    """See the module; unit variance.

    Args:
        parts: The covariances.
        places: The columns of x that each of them reads.
    """

    def __init__(self, parts: Sequence[Kernel], places: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.parts = torch.nn.ModuleList(parts)
        for i, columns in enumerate(places):
            self.register_buffer(f"columns_{i}", torch.tensor(list(columns), dtype=torch.long))
        self.additive = sum(not isinstance(part, Conditional) for part in parts) > 1
        if self.additive:
            self.register_parameter("raw_sum", torch.nn.Parameter(torch.zeros(1)))
            self.register_prior("sum_prior", NormalPrior(0.0, 1.5), lambda module: module.raw_sum)

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: Any) -> Tensor:
        """Shape (..., n1, n2), or (..., n) with `diag`."""
        values = []
        for i, part in enumerate(self.parts):
            columns = getattr(self, f"columns_{i}")
            values.append(part.forward(x1.index_select(-1, columns), x2.index_select(-1, columns), diag=diag))
        return self._together(values)

    def _together(self, values: Sequence[Tensor]) -> Tensor:
        """The covariance, from those of the parts."""
        under = [k for k, part in zip(values, self.parts, strict=True) if isinstance(part, Conditional)]
        always = [k for k, part in zip(values, self.parts, strict=True) if not isinstance(part, Conditional)]
        if not self.additive:
            return _product([*always, *under])
        share = torch.sigmoid(self.raw_sum)
        both = share * torch.stack(always).mean(dim=0) + (1.0 - share) * _product(always)
        return _product([both, *under])

    def followed(self, x: Tensor, X: Tensor) -> tuple[Tensor, Pull]:
        """The covariance of x (b, d) with X (N, d), and the pull to x, of each part in the columns that it reads."""
        parts = [(part, getattr(self, f"columns_{i}")) for i, part in enumerate(self.parts)]
        each = [followed(part, x.index_select(-1, at), X.index_select(-1, at)) for part, at in parts]
        k, pull_parts = traced(lambda values: self._together(values.unbind()), torch.stack([k for k, _ in each]))

        def pull(given: Tensor) -> Tensor:
            slope = torch.zeros_like(x)
            for (_, at), (_, pull_part), of_part in zip(parts, each, pull_parts(given), strict=True):
                slope.index_add_(-1, at, pull_part(of_part))
            return slope

        return k, pull


def _product(values: Sequence[Tensor]) -> Tensor:
    result = values[0]
    for value in values[1:]:
        result = result * value
    return result


def build(columns: Sequence[Column]) -> Kernel:
    """Return matern over numeric columns, overlap over unordered ones, and both together where there are both."""
    unordered = [i for i, column in enumerate(columns) if column.kind == "categorical"]
    ordered = [i for i in range(len(columns)) if i not in set(unordered)]
    parts: list[Kernel] = []
    if ordered:
        parts.append(matern.Matern(len(ordered)))
    if unordered:
        parts.append(overlap.Overlap(len(unordered)))
    if len(parts) == 1:
        return parts[0]
    return Mixed(parts, [ordered, unordered])
