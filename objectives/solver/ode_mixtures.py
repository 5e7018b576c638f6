"""Gaussian mixtures whose noised densities, scores and denoisers are known in closed form: sampling with no training.

X           data, from sum_k w_k N(mu_k, s_k^2 I), shape (d,)
rho         noise to signal: what is denoised is y = X + rho Z, Z standard normal
D(y, rho)   denoiser E[X | y];  eps = (y - D) / rho, the expected noise;  -eps / rho, the score
r_k         share of mode k in y's posterior, softmax of log w_k - d/2 log v_k - |y - mu_k|^2 / (2 v_k)
v_k         s_k^2 + rho^2
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(y, rho) -> D: y of shape (..., d), rho a scalar or of shape (..., 1)."""


@dataclass(frozen=True)
class Mixture:
    """A mixture of isotropic normal distributions.

    Attributes:
        log_weights: Shape (k,); the weights sum to 1.
        means: Shape (k, d).
        variances: Shape (k,), of each dimension.
    """

    log_weights: Tensor
    means: Tensor
    variances: Tensor

    @property
    def dim(self) -> int:
        """Dimensions of the data."""
        return int(self.means.shape[1])

    @property
    def sd(self) -> float:
        """Standard deviation of the data, root mean square over dimensions."""
        w = self.log_weights.exp()
        centred = self.means - w @ self.means
        return math.sqrt(float((w * (self.variances + centred.square().mean(dim=1))).sum()))

    def to(self, device: str, dtype: torch.dtype) -> Mixture:
        """Return it elsewhere or in other numbers."""
        return Mixture(*(part.to(device, dtype) for part in (self.log_weights, self.means, self.variances)))


def ring(modes: int = 8, *, radius: float = 1.0, sd: float = 0.05) -> Mixture:
    """Return equal modes on a circle, in two dimensions."""
    angle = 2.0 * math.pi * torch.arange(modes, dtype=torch.float64) / modes
    means = radius * torch.stack([angle.cos(), angle.sin()], dim=1)
    return _mixture(np.ones(modes), means.numpy(), np.full(modes, sd))


def drawn(dim: int, modes: int, seed: int) -> Mixture:
    """Return a mixture of its own for each seed.

    Means are standard normal, standard deviations log-uniform from 0.05 to 0.4, weights Dirichlet(3): some modes are
    narrow, some small, and the data's standard deviation is about 1.
    """
    rng = np.random.default_rng([seed, dim, modes])
    means = rng.standard_normal((modes, dim))
    return _mixture(
        rng.dirichlet(np.full(modes, 3.0)), means, np.exp(rng.uniform(math.log(0.05), math.log(0.4), modes))
    )


def _mixture(weights: Array, means: Array, sds: Array) -> Mixture:
    shares = weights / weights.sum()
    return Mixture(torch.from_numpy(np.log(shares)), torch.from_numpy(means), torch.from_numpy(sds**2))


def samples(mixture: Mixture, n: int, seed: int) -> Tensor:
    """Return exact draws of the data, shape (n, d)."""
    rng = np.random.default_rng(seed)
    w = mixture.log_weights.exp().cpu().double().numpy()
    mode = torch.from_numpy(rng.choice(len(w), size=n, p=w / w.sum()))
    z = torch.from_numpy(rng.standard_normal((n, mixture.dim))).to(mixture.means)
    mode = mode.to(mixture.means.device)
    return mixture.means[mode] + mixture.variances[mode].sqrt()[:, None] * z


def exact(mixture: Mixture) -> Denoiser:
    """Return the mixture's own denoiser."""
    norms = mixture.means.square().sum(dim=1)

    def denoise(y: Tensor, rho: Tensor) -> Tensor:
        square = rho * rho
        v = mixture.variances + square
        # |y - mu|^2 in one product: in float32 good to about 1e-6 (|y|^2 + |mu|^2), so tiny modes want float64
        distance = y.square().sum(dim=-1, keepdim=True) - 2.0 * (y @ mixture.means.T) + norms
        logits = mixture.log_weights - 0.5 * mixture.dim * v.log() - 0.5 * distance / v
        r = torch.softmax(logits, dim=-1)
        kept = (r * (mixture.variances / v)).sum(dim=-1, keepdim=True)
        pulled: Tensor = (r * (square / v)) @ mixture.means
        return torch.addcmul(pulled, kept, y)

    return denoise


def wrong(mixture: Mixture, share: float, seed: int) -> Denoiser:
    """Return a denoiser that is off as a trained network is: by a smooth field that is the same at every call.

    The error is `share` times rho c / sqrt(rho^2 + c^2), root mean square, where c is the data's standard deviation:
    what a network of unit error leaves under the scaling of Karras et al. 2022, table 1 (c_out and c_in).
    """
    right, c = exact(mixture), mixture.sd
    rng = np.random.default_rng([seed, 7])
    W = torch.from_numpy(2.0 * rng.standard_normal((mixture.dim, mixture.dim))).to(mixture.means)
    phase = torch.from_numpy(rng.uniform(0.0, 2.0 * math.pi, mixture.dim)).to(mixture.means)

    def denoise(y: Tensor, rho: Tensor) -> Tensor:
        norm = (rho * rho + c * c).sqrt()
        field = math.sqrt(2.0) * torch.cos((y / norm) @ W + phase)
        return right(y, rho) + (share * c) * (rho / norm) * field

    return denoise
