"""Hyperparameters of a Gaussian process by maximum a posteriori.

Notation
    X       inputs, shape (n, d)
    z       outcomes, about zero mean and unit variance, shape (n,)
    K       covariance at X, noise on its diagonal
    m       the process's mean, a constant: the generalised least-squares estimate 1'K^-1 z / 1'K^-1 1

The gradient of the log marginal likelihood with respect to K is (a a' - K^-1) / 2 with a = K^-1 (z - m) (Rasmussen and
Williams 2006, eq. 5.9); only from K to the hyperparameters it goes through autograd. Priors are densities of the
hyperparameters themselves, not of their logarithms, as in GPyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from gpytorch.kernels import Kernel
from numpy.typing import NDArray
from scipy import optimize
from torch import Tensor

from tuner.gp.logarithmic import HIGHEST, LOWEST

Array = NDArray[np.float64]

minimize: Any = optimize.minimize

LEAST_NOISE = 1e-6
_MOST_NOISE = 2.0
_FIRST_NOISE = 1e-2
_WORTH = 1e-4
"""A step that gains less of the density per trial is the last: what comes after changes no prediction."""

_BAD = 1e6
"""Loss where the covariance has no Cholesky factor."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A covariance with its hyperparameters in it, and the variance of the noise.

    Attributes:
        kernel: Unit variance.
        noise: Variance, > 0.
        score: Log posterior density of the hyperparameters, up to a constant, per trial.
        ok: False when no fit succeeded, and the hyperparameters are where they started.
    """

    kernel: Kernel
    noise: float
    score: float
    ok: bool = True


def noise_log_prior(noise: float, *, noisy: bool) -> tuple[float, float]:
    """Log density of the noise's variance, up to a constant, and its derivative with respect to log noise.

    Gamma(1.1, 30), as Optuna's GP sampler has it: next to flat down to nothing, and sceptical beyond a tenth of the
    outcomes' variance. For outcomes that are known to be noisy LogNormal(-4, 1), as BoTorch has it.
    """
    log = math.log(noise)
    if noisy:
        return -log - 0.5 * (log + 4.0) ** 2, -1.0 - (log + 4.0)
    return 0.1 * log - 30.0 * noise, 0.1 - 30.0 * noise


def fit(
    X: Tensor,
    z: Tensor,
    covariance: Callable[[], Kernel],
    *,
    share: Tensor | None = None,
    noisy: bool = False,
    maxiter: int = 60,
    starts: int = 2,
    like: Fitted | None = None,
) -> Fitted:
    """Return the best of a few local maxima of the posterior density; never raises for numerical reasons.

    Args:
        X: Shape (n, d), float64.
        z: Shape (n,).
        covariance: Makes a covariance whose hyperparameters are at their priors' modes.
        share: What part of the noise's variance each outcome has, shape (n,); all of it when None.
        noisy: Whether the outcomes are known to be noisy.
        maxiter: Steps of L-BFGS-B from each start.
        starts: The first is at the priors' modes; the next have lengthscales a factor 4 shorter, then longer.
        like: A fit of similar outcomes with the same covariance: starts where it ended.
    """
    kernel = covariance()
    packed = _Packed(kernel, like, 1.0 if share is None else share)
    best: tuple[float, Array] | None = None
    for shift in (0.0, -math.log(4.0), math.log(4.0))[:starts]:
        start = packed.start(shift)
        found = minimize(
            lambda v: _loss(v, packed, X, z, noisy),
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=packed.bounds(),
            options={"maxiter": maxiter, "ftol": _WORTH, "gtol": 1e-4},
        )
        if found.fun < _BAD and (best is None or found.fun < best[0]):
            best = float(found.fun), np.asarray(found.x, dtype=np.float64)
    if best is None:
        packed.set(packed.start(0.0))
        return Fitted(kernel, 1e-2, -math.inf, ok=False)
    packed.set(best[1])
    return Fitted(kernel, math.exp(best[1][-1]), -best[0])


class _Packed:
    """The raw parameters of a covariance, and the logarithm of the noise, as one vector."""

    def __init__(self, kernel: Kernel, like: Fitted | None = None, share: Tensor | float = 1.0) -> None:
        self.kernel = kernel
        self.share = share
        self._priors = [(prior.log_prob, value, module) for _, module, prior, value, _ in kernel.named_priors()]
        self.parameters = list(kernel.parameters())
        first = kernel if like is None else like.kernel
        self._first = np.concatenate([p.detach().cpu().numpy().ravel() for p in first.parameters()] or [np.empty(0)])
        self._noise = _FIRST_NOISE if like is None else like.noise
        self._long = np.zeros(len(self._first))
        self._bounds = []
        at = 0
        for _, parameter, constraint in kernel.named_parameters_and_constraints():
            low, high = getattr(constraint, "low", LOWEST), getattr(constraint, "high", HIGHEST)
            plain = constraint is None
            self._bounds += [(-8.0, 8.0) if plain else (math.log(low), math.log(high))] * parameter.numel()
            self._long[at : at + parameter.numel()] = 0.0 if plain else 1.0
            at += parameter.numel()

    def bounds(self) -> list[tuple[float, float]]:
        return [*self._bounds, (math.log(LEAST_NOISE), math.log(_MOST_NOISE))]

    def start(self, shift: float) -> Array:
        moved = self._first + shift * self._long
        low, high = np.array(self._bounds).reshape(-1, 2).T
        return np.append(np.clip(moved, low, high), math.log(self._noise))

    def set(self, v: Array) -> None:
        flat, at = torch.from_numpy(v), 0
        with torch.no_grad():
            for parameter in self.parameters:
                n = parameter.numel()
                parameter.copy_(flat[at : at + n].view_as(parameter))
                at += n

    def covariance(self, X: Tensor) -> tuple[Tensor, Callable[[Tensor], Array]]:
        """The covariance of X (n, d), and what turns a symmetric gradient in it into that in the parameters.

        A covariance that has a method `learned_from` knows better than autograd.
        """
        own = getattr(self.kernel, "learned_from", None)
        if own is None:
            F: Tensor = self.kernel.forward(X, X)
            return F.detach(), lambda given: self._traced(F, given)
        K, pull = own(X)

        def slopes(given: Tensor) -> Array:
            found = pull(given)
            return self.flat([found[parameter] for parameter in self.parameters])

        return K, slopes

    def _traced(self, F: Tensor, given: Tensor) -> Array:
        if not self.parameters:
            return np.empty(0)
        return self.flat(torch.autograd.grad(F, self.parameters, given, allow_unused=True))

    def flat(self, slopes: Sequence[Tensor | None]) -> Array:
        """Gradients in the parameters as one vector."""
        found = [torch.zeros_like(p) if g is None else g for p, g in zip(self.parameters, slopes, strict=True)]
        return np.concatenate([g.cpu().numpy().ravel() for g in found] or [np.empty(0)])

    def log_prior(self, v: Array) -> tuple[float, Array]:
        """Log density of the covariance's hyperparameters, v without the noise, and its gradient."""
        if self._square is None:
            self.set(v)
            return self._traced_prior()
        start, slope, curvature = self._square
        return start + float(v @ (slope + 0.5 * curvature * v)), slope + curvature * v

    @cached_property
    def _square(self) -> tuple[float, Array, Array] | None:
        """Log density at 0, its slopes and its curvatures: normal and lognormal densities are exp of a parabola in
        each parameter, which two points determine. None where it is not, as a third shows."""
        found = []
        for at in (0.0, 1.0, -0.5):
            self.set(np.full(len(self._first), at))
            found.append(self._traced_prior())
        (start, slope), (_, risen), (value, fallen) = found
        curvature = risen - slope
        expected = start - 0.5 * float((slope - 0.25 * curvature).sum())
        right = np.allclose(fallen, slope - 0.5 * curvature, rtol=1e-9, atol=1e-9)
        return (start, slope, curvature) if right and abs(value - expected) < 1e-9 * max(1.0, abs(value)) else None

    def _traced_prior(self) -> tuple[float, Array]:
        total = sum((density(value(module)).sum() for density, value, module in self._priors), torch.zeros(()))
        if not total.requires_grad:
            return float(total), np.zeros(len(self._first))
        return float(total.detach()), self.flat(torch.autograd.grad(total, self.parameters, allow_unused=True))


def _loss(v: Array, packed: _Packed, X: Tensor, z: Tensor, noisy: bool) -> tuple[float, Array]:
    """Negative log posterior per trial, and its gradient."""
    n = len(z)
    prior, prior_slope = packed.log_prior(v[:-1])
    packed.set(v)
    noise = math.exp(v[-1])
    F, pull = packed.covariance(X)
    with torch.no_grad():
        K = F.clone()
        K.diagonal().add_(noise * packed.share)
        L, info = torch.linalg.cholesky_ex(K)
        if int(info) or not bool(torch.isfinite(L[-1, -1])):
            return _BAD, np.zeros_like(v)
        inverse = torch.cholesky_inverse(L)
        ones = inverse.sum(dim=1)
        mean = (ones @ z) / ones.sum()
        a = inverse @ (z - mean)
        likelihood = -0.5 * ((z - mean) @ a) - L.diagonal().log().sum()
        slope = 0.5 * (torch.outer(a, a) - inverse)
    noise_prior, noise_slope = noise_log_prior(noise, noisy=noisy)
    value = -(float(likelihood) + prior + noise_prior) / n
    of_noise = noise * float((packed.share * slope.diagonal()).sum()) + noise_slope
    gradient = -np.append(pull(slope) + prior_slope, of_noise) / n
    if not (math.isfinite(value) and np.isfinite(gradient).all()):
        return _BAD, np.zeros_like(v)
    return value, gradient
