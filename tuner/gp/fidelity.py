"""Outcomes at several fidelities: their covariance, and what one of them says about the full one.

Notation
    x       a configuration as a model sees it, shape (D,)
    s       its fidelity, in [0, 1]; 1 is the target, and what rows of D columns are taken to be at
    f       an outcome, a function of both
    t       a threshold at the target

A row holds x, then s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from gpytorch.kernels import Kernel
from gpytorch.priors import NormalPrior
from torch import Tensor

from tuner import catalog
from tuner.gp.logarithmic import Logarithmic
from tuner.gp.model import GaussianProcess

_LONG = math.log(2.0)
"""Prior mean of the logarithm of a fidelity's lengthscale: neighbours among four levels are correlated by 0.98."""

_SHARES = (0.0, -1.0, -2.0)
"""Prior means of the logarithms of the shares, up to a constant: what stays, what drifts, what moves all alike."""

_FAR = 3.0
"""Thresholds further from the mean, in standard deviations, count as being so far."""


class AcrossFidelities(Kernel):  # type: ignore[misc]
    """k = a k_1(x, x') + b k_2(x, x') k_s(s, s') + c k_3(s, s'), with a + b + c = 1; unit variance.

    The first term is the part of the outcome that does not depend on the fidelity, the second the part that drifts with
    it, with lengthscales of its own (as the discrepancy of Kennedy and O'Hagan 2000 has), the third what moves all
    configurations alike. k_s and k_3 are Matern-5/2 in s.

    Args:
        make: Makes a covariance over x.
        dim: D.
    """

    def __init__(self, make: Callable[[], Kernel], dim: int) -> None:
        super().__init__()
        self._dim = dim
        self.stays, self.drifts = make(), make()
        for name in ("drift", "shift"):
            self.register_parameter(f"raw_{name}", torch.nn.Parameter(torch.zeros(1, dtype=torch.float64)))
            constraint = Logarithmic(math.exp(_LONG), low=0.1, high=100.0)
            self.register_constraint(f"raw_{name}", constraint)
            with torch.no_grad():
                getattr(self, f"raw_{name}").fill_(_LONG)
            self.register_prior(f"{name}_prior", NormalPrior(_LONG, 1.0), f"raw_{name}")
        start = torch.tensor(_SHARES, dtype=torch.float64)
        self.register_parameter("raw_shares", torch.nn.Parameter(start.clone()))
        self.register_prior("shares_prior", NormalPrior(start, torch.ones(3, dtype=torch.float64)), "raw_shares")

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: Any) -> Tensor:
        """Shape (..., n1, n2), or (..., n) with `diag`; rows of D or of D + 1 columns."""
        matern = catalog.load("kernels", "matern").matern
        (x1, s1), (x2, s2) = self._split(x1), self._split(x2)
        a, b, c = torch.softmax(self.raw_shares, dim=0)
        drift, shift = self.raw_drift.exp(), self.raw_shift.exp()
        stays: Tensor = self.stays.forward(x1, x2, diag=diag)
        drifts: Tensor = self.drifts.forward(x1, x2, diag=diag) * matern(s1 / drift, s2 / drift, diag=diag)
        k: Tensor = a * stays + b * drifts + c * matern(s1 / shift, s2 / shift, diag=diag)
        return k

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x and s, of shapes (..., n, D) and (..., n, 1)."""
        s = x[..., self._dim :]
        return x[..., : self._dim], s if s.shape[-1] else torch.ones_like(x[..., :1])


def correlations(model: GaussianProcess, x: Tensor, s: Tensor) -> tuple[Tensor, float, float]:
    """How an outcome's value at the target goes with observations of it at other fidelities, given what is known.

    Args:
        model: The outcome's process.
        x: One configuration, shape (1, D).
        s: Fidelities, shape (k,).

    Returns:
        The squared correlations of f(x, 1) with f(x, s) plus noise, shape (k,), and the mean and standard deviation of
        f(x, 1).
    """
    with torch.no_grad():
        rows = torch.cat([x.expand(len(s) + 1, -1), torch.cat([s.new_ones(1), s]).unsqueeze(-1)], dim=1)
        k = model.kernel.forward(rows, model.X)
        w = torch.linalg.solve_triangular(model.L, k.T, upper=False)
        C = model.kernel.forward(rows, rows) - w.T @ w
        noise = model.noise.mean()
        variance = C.diagonal().clamp_min(1e-12)
        squared = C[0, 1:].square() / (variance[0] * (variance[1:] + noise))
        mean = model.prior(rows[:1]) + k[:1] @ model.weights
        return squared.clamp(0.0, 1.0 - 1e-9), float(mean), float(variance[0].sqrt())


def information(squared: Tensor, gap: float) -> Tensor:
    """Nats that an observation says about whether f(x, 1) exceeds a threshold t, from below; shape as `squared`.

    With g = (t - mean) / sd and r = phi(g) / Phi(g), truncating f at t from above leaves an observation of squared
    correlation q the variance share 1 - q r (g + r), and this is half its negative logarithm: the bound that GIBBON
    (Moss, Leslie and Rayson 2021, eq. 10) puts under the information about the maximum, for one point and t in the
    maximum's place. It is bounded where the observation is exact, and never decreases in q.

    Args:
        squared: Squared correlations of the observations with f(x, 1).
        gap: g.
    """
    g = torch.tensor(min(max(gap, -_FAR), _FAR), dtype=torch.float64)
    r = torch.exp(-0.5 * g.square() - 0.5 * math.log(2 * math.pi) - torch.special.log_ndtr(g))
    return -0.5 * torch.log1p(-squared * r * (g + r))


def cheapest(gains: Tensor, costs: Sequence[float]) -> int:
    """The position of the most information per cost; of equals the last."""
    rates = gains / gains.new_tensor(list(costs))
    return len(rates) - 1 - int(rates.flip(0).argmax())
