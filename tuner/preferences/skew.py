"""Utility as a skew Gaussian process: the exact posterior of answers, by Gibbs sampling.

Takeno, Nomura and Karasuyama (2023), "Towards practical preferential Bayesian optimization with skew Gaussian
processes". With the notation of `tuner.preferences.utility`:

    t        A f + noise, shape (n,): how much better each better one seemed; its prior covariance is C = A K A' + s^2 I
    answers  t >= 0: t is then a truncated normal vector, and f a skew Gaussian process

Given t, f is an ordinary process: its mean is k(y, P) A' C^-1 t. So w = C^-1 E[t] and M = C^-1 - C^-1 cov(t) C^-1. The
hallucination believer takes one draw of t for the truth: w = C^-1 t, M = C^-1.
"""

from __future__ import annotations

import numpy as np

from tuner.preferences.utility import Array, Utility, covariance

BURN_IN = 1000

NOISE = 0.1
"""sigma, in units of the utility's prior standard deviation."""
_CHAINS = 50
_KEPT = 20


def posterior(
    P: Array,
    A: Array,
    lengths: Array,
    rng: np.random.Generator,
    *,
    noise: float = NOISE,
    chains: int = _CHAINS,
    kept: int = _KEPT,
) -> Utility:
    """The posterior's mean and covariance, from `chains * kept` draws.

    Args:
        P: Points, shape (k, m).
        A: Answers, shape (n, k).
        lengths: Length-scales, shape (m,).
        rng: For the draws.
        noise: sigma, > 0.
        chains: How many start apart.
        kept: Draws of each, after the burn-in.
    """
    Q = _precision(P, A, lengths, noise)
    t = truncated(Q, rng, chains=chains, kept=kept)
    spread = np.cov(t, rowvar=False).reshape(len(Q), len(Q))
    return Utility(P=P, lengths=lengths, A=A, w=Q @ t.mean(axis=0), M=Q - Q @ spread @ Q)


def hallucinated(P: Array, A: Array, lengths: Array, rng: np.random.Generator, *, noise: float = NOISE) -> Utility:
    """The posterior given one draw of t; arguments as in `posterior`."""
    Q = _precision(P, A, lengths, noise)
    t = truncated(Q, rng, chains=1, kept=1)[0]
    return Utility(P=P, lengths=lengths, A=A, w=Q @ t, M=Q)


def _precision(P: Array, A: Array, lengths: Array, noise: float) -> Array:
    C = A @ covariance(P, P, lengths) @ A.T + 2 * noise**2 * np.eye(len(A))
    return np.asarray(np.linalg.inv(C), dtype=np.float64)


def truncated(Q: Array, rng: np.random.Generator, *, chains: int, kept: int, burn_in: int = BURN_IN) -> Array:
    """Draws of a normal vector of mean 0 and precision Q (n, n), all of it >= 0, shape (chains * kept, n).

    Gibbs sampling: component i given the others is normal with mean -sum_j Q_ij t_j / Q_ii and variance 1 / Q_ii, cut
    off below 0, drawn by the inverse of its distribution function in logarithms, which is exact however far out 0 is.
    """
    from scipy.special import log_ndtr, ndtri_exp

    n = len(Q)
    sd = 1.0 / np.sqrt(np.diag(Q))
    pull = -Q / np.diag(Q)[:, None]
    np.fill_diagonal(pull, 0.0)
    t = np.abs(rng.standard_normal((chains, n))) * sd
    draws = []
    for sweep in range(burn_in + kept):
        log_u = np.log1p(-rng.random((chains, n)))  # log of a uniform on (0, 1]
        for i in range(n):
            mean = t @ pull[i]
            # P(t_i > x) is uniform on (0, P(t_i > 0))
            t[:, i] = np.maximum(mean - sd[i] * ndtri_exp(log_ndtr(mean / sd[i]) + log_u[:, i]), 0.0)
        if sweep >= burn_in:
            draws.append(t.copy())
    return np.concatenate(draws)
