"""What an acquisition function knows of each outcome: samples at the trials, and its distribution anywhere else.

Notation
    x       candidates, shape (b, d)
    X       the points that are conditioned on, shape (N, d): trials, then pending ones
    S       samples of the noise-free outcome at X
    mean    shape (b, S): expectation at x, given each of those samples
    sd      shape (b, S) or (b, 1): what remains uncertain then

An outcome is a Gaussian process, several of them, a known function of the input, or a function of other outcomes. All
look alike to the acquisition function: normal at x, given a sample. A function of others is smoothed into that form:
its value is computed from sampled inputs, and a normal kernel stands around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tuner.gp.model import GaussianProcess, cholesky
from tuner.gp.slopes import followed, traced

Function = Callable[[Tensor], Tensor]

_JITTER = 1e-8
"""Added to the diagonal of covariances, whose outcomes have unit variance."""

_SHARPNESS = 1e-3
"""Standard deviation of a known outcome, in units of its spread over the trials: as good as exact, and differentiable
where exactness has corners."""

_BANDWIDTH = 0.25
"""Width of the kernel around sampled values, in their spread: half of Silverman's for 64 samples."""


class Outcome(Protocol):
    """One outcome in the surrogate's units."""

    @property
    def values(self) -> Tensor:
        """Samples at X, shape (S, N) or (1, N)."""
        ...

    def at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean, shape (b, S) or (b, 1), and sd, likewise, at x."""
        ...


class Process:
    """A Gaussian process, conditioned on samples of its noise-free values at X.

    By Matheron's rule (Wilson et al. 2020): with K = L L' the covariance at X, a prior sample f = L z, and V the
    solution of (K + noise) V = y - f - noise sample over the rows with an observation, the sample is f + K V, and
    given it the process at x has mean k(x, X) (L'^-1 z + V) and variance 1 - |L^-1 k(X, x)|^2. Nothing nearly
    singular is inverted.

    Args:
        model: The process, conditioned on the observations.
        X: Shape (N, d).
        observed: Which rows of X are the process's own, in order, shape (n,).
        base: Standard normal draws, shape (S, N + n).
    """

    def __init__(self, model: GaussianProcess, X: Tensor, observed: Tensor, base: Tensor) -> None:
        self._kernel = model.kernel
        self._X = X
        self._prior = model.prior
        self._constant = model.mean is None
        with torch.no_grad():
            K = model.K if len(observed) == len(X) else self._kernel.forward(X, X)
            self._L = cholesky(K + _JITTER * torch.eye(len(K), dtype=K.dtype, device=K.device))
            z, e = base[:, : len(X)].T, base[:, len(X) :].T
            f = self._L @ z
            residual = (model.u - model.prior(model.X)).unsqueeze(-1) - f[observed]
            residual = residual - model.noise.sqrt().unsqueeze(-1) * e
            V = torch.cholesky_solve(residual, model.L)
            self._weights = torch.linalg.solve_triangular(self._L.T, z, upper=True)
            self._weights[observed] += V
            self._values: Tensor = (model.prior(X).unsqueeze(-1) + f + K[:, observed] @ V).T

    @property
    def values(self) -> Tensor:
        """Shape (S, N)."""
        return self._values

    def at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes (b, S) and (b, 1)."""
        mean, sd = _Given.apply(self._kernel.forward(x, self._X), self._L, self._weights)  # type: ignore[no-untyped-call]
        return self._prior(x).unsqueeze(-1) + mean, sd

    def followed(self, x: Tensor) -> tuple[Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]]:
        """Mean and sd as `at`, and the pull to x from the gradients in both, shapes (b, S) and (b,)."""
        k, pull = followed(self._kernel, x, self._X)
        prior, pull_prior = (self._prior(x), None) if self._constant else traced(self._prior, x)
        w, sd, falls = _spread_given(k, self._L)

        def pull_both(of_mean: Tensor, of_sd: Tensor) -> Tensor:
            slope = pull(of_mean @ self._weights.T - _unsolved(self._L, w * (of_sd * falls)))
            return slope if pull_prior is None else slope + pull_prior(of_mean.sum(dim=-1))

        return torch.addmm(prior.unsqueeze(-1), k, self._weights), sd.unsqueeze(-1), pull_both


def _spread_given(k: Tensor, L: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """w = L^-1 k' (N, b), sd = sqrt(1 - |w|^2) and 1 / sd where sd falls when w grows, 0 where it is cut off (b,)."""
    w = torch.linalg.solve_triangular(L, k.T, upper=False)
    variance = 1.0 - w.square().sum(dim=0)
    sd = variance.clamp_min(_JITTER).sqrt()
    return w, sd, torch.where(variance > _JITTER, 1.0 / sd, 0.0)


def _unsolved(L: Tensor, inner: Tensor) -> Tensor:
    """(L'^-1 inner)', shape (b, N)."""
    solved: Tensor = torch.linalg.solve_triangular(L.T, inner, upper=True).T
    return solved


class _Given(torch.autograd.Function):
    """k w, shape (b, S), and sqrt(1 - |L^-1 k'|^2), shape (b, 1), of k (b, N), the gradient in k written out."""

    @staticmethod
    def forward(ctx: Any, k: Tensor, L: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        w, sd, falls = _spread_given(k, L)
        ctx.save_for_backward(L, weights, w, falls)
        return k @ weights, sd.unsqueeze(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_mean: Tensor, of_sd: Tensor) -> tuple[Tensor, None, None]:
        L, weights, w, falls = ctx.saved_tensors
        return of_mean @ weights.T - _unsolved(L, w * (of_sd.squeeze(-1) * falls)), None, None


class Scaled:
    """A multiple of an outcome.

    Args:
        outcome: What is multiplied.
        factor: By what, > 0.
    """

    def __init__(self, outcome: Outcome, factor: float) -> None:
        self._outcome = outcome
        self._factor = factor

    @property
    def values(self) -> Tensor:
        """Shape (S, N) or (1, N)."""
        return self._factor * self._outcome.values

    def at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes (b, S) or (b, 1)."""
        mean, sd = self._outcome.at(x)
        return self._factor * mean, self._factor * sd


class Mixture:
    """An outcome that several models describe: each has its share of the samples.

    Args:
        parts: The same outcome by each of them.
    """

    def __init__(self, parts: Sequence[Outcome]) -> None:
        self._parts = parts
        self._values = torch.cat([part.values for part in parts])

    @property
    def values(self) -> Tensor:
        """Shape (S, N), the first part's samples first."""
        return self._values

    def at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes (b, S)."""
        means, sds = [], []
        for part in self._parts:
            mean, sd = part.at(x)
            means.append(mean)
            sds.append(sd.expand_as(mean))
        return torch.cat(means, dim=1), torch.cat(sds, dim=1)


class Known:
    """A function of the input alone, exact.

    While a stand-in is set (see `smoothed`), that is used instead of the function: gradient searches need something
    smooth, and a decoded configuration is a step function of its columns.

    Args:
        function: Takes (b, d), gives (b,).
        X: Shape (N, d).
    """

    def __init__(self, function: Function, X: Tensor) -> None:
        self._function = function
        self._values = function(X).unsqueeze(0)
        self.stand_in: Function | None = None

    @property
    def values(self) -> Tensor:
        """Shape (1, N)."""
        return self._values

    def at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes (b, 1)."""
        mean: Tensor = (self.stand_in or self._function)(x).unsqueeze(-1)
        return mean, torch.full_like(mean, _SHARPNESS)

    def stand_in_from(self, X: Tensor, categorical: Sequence[int]) -> None:
        """Set the stand-in: an interpolant of the function at X, shape (n, d)."""
        y = self._function(X)
        finite = torch.isfinite(y)
        if finite.any():
            self.stand_in = Interpolant(X[finite], y[finite], categorical=categorical)


class Composite:
    """A function of other outcomes, by Monte Carlo.

    Args:
        function: Takes the parts' values, shape (..., k), and gives (...,).
        parts: The outcomes that it reads, k of them.
        base: Standard normal draws for what is uncertain at x, shape (S, k).
    """

    def __init__(self, function: Function, parts: Sequence[Outcome], base: Tensor) -> None:
        self._function = function
        self._parts = parts
        self._base = base
        S = len(base)
        values = function(torch.stack([part.values.expand(S, -1) for part in parts], dim=-1))
        finite = values[torch.isfinite(values)]
        self._undefined = float(finite.min() - 3 * (finite.max() - finite.min())) if len(finite) else 0.0
        self._values = self._defined(values)

    def _defined(self, y: Tensor) -> Tensor:
        """`y` with a bad value where the function has none: a root or quotient of an unlucky sample."""
        return torch.where(torch.isfinite(y), y, self._undefined)

    @property
    def values(self) -> Tensor:
        """Shape (S, N)."""
        return self._values

    def at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes (b, S) and (b, 1)."""
        drawn = []
        for part, e in zip(self._parts, self._base.T, strict=True):
            mean, sd = part.at(x)
            drawn.append(mean + sd * e)
        inputs = torch.stack(drawn, dim=-1)
        if inputs.requires_grad:  # where the function has no value, its derivative is no number
            inputs.register_hook(torch.nan_to_num)  # type: ignore[no-untyped-call]
        y = self._defined(self._function(inputs))
        return y, (_BANDWIDTH * _spread(y)).clamp_min(_SHARPNESS)


def _spread(y: Tensor) -> Tensor:
    """Standard deviation of the middle half of samples (b, S), as if they were normal, shape (b, 1).

    Transformed samples have heavy tails, which would widen the kernel without bound.
    """
    ordered = y.sort(dim=-1).values
    quarter = y.shape[-1] // 4
    return (ordered[:, -1 - quarter] - ordered[:, quarter]).unsqueeze(-1) / 1.35


class Interpolant:
    """The polyharmonic spline |x|^3 with a linear tail through given points; no parameter to fit.

    s(x) = sum_i w_i |x - x_i|^3 + a + b.x with sum_i w_i = 0 and sum_i w_i x_i = 0 (Duchon 1977), after unordered
    columns have become indicators, one for each value that occurs. Coinciding points are averaged by least squares.

    Args:
        X: Shape (n, d).
        y: Shape (n,).
        categorical: Columns of X without an order.
    """

    def __init__(self, X: Tensor, y: Tensor, *, categorical: Sequence[int] = ()) -> None:
        self._levels = {j: torch.unique(X[:, j]) for j in categorical}
        self._ordered = [j for j in range(X.shape[1]) if j not in self._levels]
        U = self._features(X)
        n, tail = len(U), torch.cat([U.new_ones(len(U), 1), U], dim=1)
        A = torch.cat([torch.cdist(U, U) ** 3 + 1e-8 * torch.eye(n, dtype=U.dtype, device=U.device), tail], dim=1)
        below = torch.cat([tail.T, U.new_zeros(tail.shape[1], tail.shape[1])], dim=1)
        below[:, n:].diagonal().sub_(1e-8)  # constant columns leave the tail undetermined
        right = torch.cat([y, U.new_zeros(tail.shape[1])])
        self._solution = torch.linalg.solve(torch.cat([A, below]), right)
        self._U = U

    def _features(self, X: Tensor) -> Tensor:
        indicators = [(X[:, j : j + 1] - levels).abs() < 1e-9 for j, levels in self._levels.items()]
        return torch.cat([X[:, self._ordered], *(0.5 * hit.to(X.dtype) for hit in indicators)], dim=1)

    def __call__(self, x: Tensor) -> Tensor:
        """Values at x, shape (b,)."""
        u = self._features(x)
        squared = (u.unsqueeze(1) - self._U).square().sum(dim=-1)
        n = len(self._U)
        tail: Tensor = self._solution[n] + u @ self._solution[n + 1 :]
        radial: Tensor = (squared + 1e-18) ** 1.5
        total: Tensor = radial @ self._solution[:n] + tail
        return total
