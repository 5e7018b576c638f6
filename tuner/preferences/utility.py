"""Utility from answers "this is better than that": a Gaussian process, by Laplace's approximation.

Notation, for k points, n answers and m columns
    P        points, shape (k, m), in about [0, 1]
    A        answers, shape (n, k): +1 at what was better, -1 at the other
    K        covariance of the utilities f of the points, exp(-r^2 / 2), r the distance in units of the length-scales
    s        sd of a judgement's noise, sqrt(2) sigma
    z        A f: how much better the better one is; its prior covariance is V = A K A'
    w, M     the posterior: f at y has mean k(y, P) A' w and covariance k(y, y') - k(y, P) A' M A k(P, y')

The probability of an answer is Phi(z / s) (Chu and Ghahramani 2005), so that z is the latent function of a probit
classifier whose every label is +1, and algorithms 3.1 and 3.2 of Rasmussen and Williams (2006) apply to it with V as
the covariance. Nothing of K is inverted: equal points do no harm. Utilities have no scale: only their order, and
probabilities, mean something.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LENGTHS = (0.1, 0.15, 0.22, 0.33, 0.5)
"""Length-scales that are tried. Laplace's approximation is too sure after many consistent answers, and longer ones
would make it surer (methods of the published skew Gaussian process: [0.1, 0.5])."""

NOISE = 0.3
"""sigma, in units of the utility's prior standard deviation. With much less the mode, for which Laplace's approximation
takes the mean, sinks to where all utilities are equal: `benchmarks/preference.py` with 0.01 ends no better than chance.
"""

_STEPS = 60
_ENOUGH = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Utility:
    """A posterior of utilities; see the module.

    Attributes:
        P: Shape (k, m).
        lengths: Shape (m,).
        A: Shape (n, k).
        w: Shape (n,).
        M: Shape (n, n).
    """

    P: Array
    lengths: Array
    A: Array
    w: Array
    M: Array

    @property
    def weights(self) -> Array:
        """A' w: the mean at y is k(y, P) times this, shape (k,)."""
        return np.asarray(self.A.T @ self.w)

    def mean(self, Y: Array) -> Array:
        """Posterior mean at Y (b, m), shape (b,)."""
        return np.asarray(covariance(Y, self.P, self.lengths) @ self.weights)

    def joint(self, Y: Array) -> tuple[Array, Array]:
        """Posterior mean (b,) and covariance (b, b) at Y (b, m)."""
        cross = covariance(Y, self.P, self.lengths) @ self.A.T  # (b, n)
        return cross @ self.w, covariance(Y, Y, self.lengths) - cross @ self.M @ cross.T


def covariance(X: Array, Y: Array, lengths: Array) -> Array:
    """Prior covariance between X (a, m) and Y (b, m), shape (a, b)."""
    gaps = (X[:, None, :] - Y[None, :, :]) / lengths
    return np.asarray(np.exp(-0.5 * np.square(gaps).sum(axis=-1)))


def answers_matrix(duels: Sequence[tuple[int, int]], k: int) -> Array:
    """A (n, k) for (better, worse) indices."""
    A = np.zeros((len(duels), k))
    for row, (better, worse) in enumerate(duels):
        A[row, better] += 1.0
        A[row, worse] -= 1.0
    return A


def laplace(P: Array, A: Array, lengths: Array, *, noise: float = NOISE) -> tuple[Utility, float]:
    """The posterior, and the logarithm of the answers' approximate marginal likelihood.

    Args:
        P: Points, shape (k, m).
        A: Answers, shape (n, k).
        lengths: Length-scales, shape (m,).
        noise: sigma, > 0.
    """
    scale = math.sqrt(2.0) * noise
    V = A @ covariance(P, P, lengths) @ A.T / scale**2  # of z / s
    n = len(A)
    z, a = np.zeros(n), np.zeros(n)
    best = -math.inf
    for _ in range(_STEPS):
        log_p, slope, curvature = _probit(z)
        root = np.sqrt(curvature)
        L = np.linalg.cholesky(np.eye(n) + root[:, None] * V * root)
        b = curvature * z + slope
        target = b - root * np.linalg.solve(L.T, np.linalg.solve(L, root * (V @ b)))
        step, reached = 1.0, -math.inf
        while step > 1e-4:  # Newton's step, halved until it gains
            trial = a + step * (target - a)
            reached = float(_probit(V @ trial)[0].sum() - 0.5 * trial @ V @ trial)
            if reached >= best:
                break
            step /= 2
        if reached <= best + _ENOUGH:
            break
        best, a = reached, trial
        z = V @ a
    log_p, _, curvature = _probit(z)
    root = np.sqrt(curvature)
    L = np.linalg.cholesky(np.eye(n) + root[:, None] * V * root)
    M = root[:, None] * np.linalg.solve(L.T, np.linalg.solve(L, np.diag(root)))
    evidence = float(log_p.sum() - 0.5 * a @ z - np.log(np.diag(L)).sum())
    return Utility(P=P, lengths=lengths, A=A, w=a / scale, M=M / scale**2), evidence


def _probit(z: Array) -> tuple[Array, Array, Array]:
    """log Phi(z), its derivative, and minus its second derivative."""
    from scipy.special import log_ndtr

    log_p = log_ndtr(z)
    slope = np.exp(-0.5 * np.square(z) - 0.5 * math.log(2 * math.pi) - log_p)
    return log_p, slope, np.maximum(slope * (z + slope), 1e-12)


def fitted_lengths(P: Array, A: Array, *, noise: float = NOISE) -> Array:
    """The length-scales of `LENGTHS` with the best evidence: one for all columns, then column by column, shape (m,)."""
    m = P.shape[1]
    options = [np.full(m, length) for length in LENGTHS]
    evidence = [laplace(P, A, lengths, noise=noise)[1] for lengths in options]
    best = max(evidence)
    lengths = options[int(np.argmax(evidence))]
    if m == 1:
        return lengths
    for column, length in itertools.product(range(m), LENGTHS):
        if length == lengths[column]:
            continue
        tried = lengths.copy()
        tried[column] = length
        found = laplace(P, A, tried, noise=noise)[1]
        if found > best:
            best, lengths = found, tried
    return lengths


def eubo(mean: Array, cov: Array) -> Array:
    """Expected utility of the best option of every pair, shape (b, b).

    Lin et al. 2022, proposition 1 (EUBO): E max(f_i, f_j) = mean_j + d Phi(d / q) + q phi(d / q), with d = mean_i -
    mean_j and q^2 the variance of f_i - f_j.

    Args:
        mean: Shape (b,).
        cov: Shape (b, b).
    """
    from scipy.special import ndtr

    variance = np.diag(cov)
    q = np.sqrt(np.maximum(variance[:, None] + variance[None, :] - 2 * cov, 1e-18))
    d = mean[:, None] - mean[None, :]
    u = d / q
    return np.asarray(mean[None, :] + d * ndtr(u) + q * np.exp(-0.5 * u * u) / math.sqrt(2 * math.pi))
