"""Transfer: what earlier studies say of an outcome, as the prior mean of its process.

Notation
    y       outcomes at the n trials of the new study, shape (n,)
    M       what the S sources predict there, each in its own standard units, shape (n, S)
    w       weights, shape (S,), >= 0

    y(x) = c + sum_s w_s m_s(x) + residual(x)

The sources never saw the trials of the new study, so least squares of y on M are honest: a source that contradicts gets
a negative weight, which becomes 0, and the process is the one without it. Each weight is then multiplied by
max(0, 1 - 4 / t^2), t its estimate over its standard error: shrinkage in the manner of James and Stein 1961, positive
part, so that what is within two standard errors of nothing counts for nothing. The residual process sets right what the
sources have wrong, however large their weights. Weighing the trials by their covariance in the least squares made no
difference that could be measured. A cheap relative of the stacked residuals of Golovin et al. 2017 (Vizier) and of the
ranking-weighted ensembles of Feurer et al. 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Mean = Callable[[Tensor], Tensor]
"""Inputs (b, d) -> values (b,), differentiable."""

LEAST_TRIALS = 4
"""Beyond one a source: with fewer, chance explains everything."""

_STANDARD_ERRORS = 2.0
_SWEEPS = 200
_RIDGE = 1e-6


@dataclass(frozen=True, slots=True)
class PriorMean:
    """A weighted sum of what the sources predict, in the new outcome's own units, up to a constant.

    Attributes:
        means: One for each source.
        weights: Shape (S,), >= 0, at least one > 0.
    """

    means: tuple[Mean, ...]
    weights: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Values (b,) at x (b, d)."""
        used = [(w, mean) for w, mean in zip(self.weights, self.means, strict=True) if w > 0]
        return torch.stack([w * mean(x) for w, mean in used]).sum(dim=0)


def prior_mean(X: Tensor, y: Tensor, means: Sequence[Mean]) -> PriorMean | None:
    """The sources' joint prediction for an outcome; None when they have nothing to say on it.

    Args:
        X: Trials of the new study, shape (n, d).
        y: The outcome there, without NaN, shape (n,), in any units.
        means: What each source predicts, in its own standard units.
    """
    if not means:
        return None
    with torch.no_grad():
        M = torch.stack([mean(X) for mean in means], dim=1)
        w = weights(M, y)
    return PriorMean(tuple(means), w) if bool((w > 0).any()) else None


def weights(M: Tensor, y: Tensor) -> Tensor:
    """Shrunken least-squares weights (S,) of the columns of M (n, S), >= 0, with a free constant.

    Zero for fewer than `LEAST_TRIALS` + S trials, and for what is constant over the trials or not finite.
    """
    n, S = M.shape
    w = torch.zeros(S, dtype=y.dtype, device=y.device)
    ok = torch.isfinite(M).all(dim=0)
    if n < LEAST_TRIALS + S or not bool(ok.any()) or not bool(torch.isfinite(y).all()):
        return w
    scale = y.abs().max().clamp_min(1e-300)
    A, b = M[:, ok] - M[:, ok].mean(dim=0), y / scale - (y / scale).mean()
    w[ok] = scale * _shrunken(_non_negative(A.T @ A, A.T @ b), A, b)
    return w


def _non_negative(G: Tensor, h: Tensor) -> Tensor:
    """argmin over w >= 0 of w'Gw / 2 - h'w, by coordinate descent; a column that is nearly constant gets 0."""
    size = G.diagonal()
    G = G + torch.diag(_RIDGE * size.mean().expand(len(size)))
    w = torch.zeros_like(h)
    for _ in range(_SWEEPS if len(h) > 1 else 1):
        for j in range(len(h)):
            if size[j] > _RIDGE * size.max():
                w[j] = (w[j] + (h[j] - G[j] @ w) / G[j, j]).clamp_min(0.0)
    return w


def _shrunken(w: Tensor, A: Tensor, b: Tensor) -> Tensor:
    """Multiply each positive weight by max(0, 1 - 4 / t^2); the errors' variance is estimated from the residuals."""
    used = w > 0
    if not bool(used.any()):
        return w
    k = int(used.sum())
    variance = (b - A @ w).square().sum() / max(len(b) - 1 - k, 1)
    G = A[:, used].T @ A[:, used]
    G = G + torch.diag(_RIDGE * G.diagonal().mean().expand(k))
    squared_error = variance * torch.linalg.inv(G).diagonal()
    out = w.clone()
    out[used] *= (1.0 - _STANDARD_ERRORS**2 * squared_error / w[used].square()).clamp_min(0.0)
    return out
