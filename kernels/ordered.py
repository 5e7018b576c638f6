"""ordered: the Matern-5/2 covariance over ordered levels whose distances from each other are learned.

Level i of a column stands at p_i = p_0 + (p_k - p_0) sum_{h < i} g_h s_h / sum_h g_h s_h, where s_h are the steps of
its grid and g_h > 0 the learned gaps, with log g_h ~ N(0, 0.75): towards the grid's own spacing. Between levels p is
linear, so that k(x, x') = matern(p(x), p(x')) is one covariance on the whole cube, positive semi-definite as any
covariance of mapped points is. For ordered levels as positions on a line see Qian, Wu and Wu 2008.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from gpytorch.kernels import Kernel
from gpytorch.priors import NormalPrior
from torch import Tensor
from tuner.kernels.matern import Matern

if TYPE_CHECKING:
    from tuner.parameters.columns import Column

MAX_LEVELS = 32
"""Columns of more levels keep their spacing, as continuous ones and those of two levels do."""

_SPREAD = 0.75
"""Standard deviation of the logarithms of gaps."""


class Ordered(Kernel):  # type: ignore[misc]
    """See the module; x has shape (..., n, d), unit variance.

    Args:
        grids: The levels' positions of each of the d columns, ascending; None for a column that keeps its spacing.
    """

    def __init__(self, grids: Sequence[Sequence[float] | None]) -> None:
        super().__init__()
        self.inner = Matern(len(grids))
        ends = [(j, a, b) for j, grid in enumerate(grids) if grid for a, b in itertools.pairwise(grid)]
        owner = torch.tensor([j for j, _, _ in ends], dtype=torch.long)
        self.register_buffer("owner", owner)
        self.register_buffer("member", torch.nn.functional.one_hot(owner, len(grids)).double())
        self.register_buffer("left", torch.tensor([a for _, a, _ in ends], dtype=torch.float64))
        self.register_buffer("step", torch.tensor([b - a for _, a, b in ends], dtype=torch.float64))
        self.register_buffer("first", torch.tensor([0.0 if g is None else g[0] for g in grids], dtype=torch.float64))
        self.register_buffer("free", torch.tensor([1.0 if g is None else 0.0 for g in grids], dtype=torch.float64))
        self.register_parameter("log_gaps", torch.nn.Parameter(torch.zeros(1, len(ends))))
        self.register_prior("gaps_prior", NormalPrior(0.0, _SPREAD), "log_gaps")

    def positions(self, x: Tensor) -> Tensor:
        """p(x), shape (..., n, d)."""
        wide = self.log_gaps.exp() * self.step  # (1, all gaps)
        span = (self.step @ self.member).index_select(-1, self.owner)
        wide = wide * span / (wide @ self.member).index_select(-1, self.owner)
        part = (x.index_select(-1, self.owner) - self.left) / self.step
        # Ties share the slope, so that at a level it is the mean of both sides'; clamp would add them.
        passed = part.maximum(part.new_zeros(())).minimum(part.new_ones(()))
        return self.free * x + self.first + (passed * wide) @ self.member

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: Any) -> Tensor:
        """Shape (..., n1, n2), or (..., n) with `diag`."""
        k: Tensor = self.inner.forward(self.positions(x1), self.positions(x2), diag=diag)
        return k


def build(columns: Sequence[Column]) -> Ordered:
    """Return the covariance over columns of ordered levels."""
    grids = [column.grid if column.grid and 3 <= len(column.grid) <= MAX_LEVELS else None for column in columns]
    return Ordered(grids)
