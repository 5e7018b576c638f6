"""ChebCB: one polynomial of the context for each arm, and arms drawn by how far their predictions lie apart.

Khodak, Chow, Balcan and Talwalkar, "Learning to Relax: Setting Solver Parameters Across a Sequence of Linear System
Instances", 2024: Chebyshev features with inverse-gap weighting (Foster and Rakhlin, SquareCB, 2020).

The published method divides losses by K N before it regresses; here regressions are in the losses' own units, and only
the two places where the scale matters divide by it (the box has the same bounds times K N).

Notation, for d arms and m features:

    f (b, m)       Chebyshev polynomials T_0 .. T_{m-1} of the context, mapped to [-1, 1] and clamped
    G (d, m, m)    sums of f f' over the plays of an arm;    h (d, m) sums of f (loss - floor)
    theta (d, m)   coefficients of the predictions above the floor
    K, spread      the largest loss above the floor, and the largest less the least
    N              2 + 4 (spread / K) (1 + ln m)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from tuner.strategies.bandit.decisions import Arms, Array, Block, drawn, uniforms

_SWEEPS = 60
_RCOND = 1e-10
_SLACK = 1e-9


def features(contexts: Array, bounds: tuple[float, float], m: int) -> Array:
    """Return T_0(u) .. T_{m-1}(u), (b, m), of the first context c, u = 2 (c - low) / (high - low) - 1 in [-1, 1]."""
    low, high = bounds
    u = np.clip(2.0 * (contexts[:, 0] - low) / (high - low) - 1.0, -1.0, 1.0)
    return np.cos(np.arange(m) * np.arccos(u)[:, None])


def gap_weights(predicted: Array, eta: float | Array) -> Array:
    """Return inverse-gap weights (b, d): 1 / (d + eta (y_i - y_best)), and what is left for the best arm.

    Args:
        predicted: Predicted losses y, (b, d).
        eta: How greedy, >= 0.
    """
    rows, best, d = np.arange(len(predicted)), predicted.argmin(axis=1), predicted.shape[1]
    p: Array = 1.0 / (d + eta * (predicted - predicted[rows, best][:, None]))
    p[rows, best] = 0.0
    p[rows, best] = 1.0 - p.sum(axis=1)
    return p


def boxed(G: Array, h: Array, theta: Array, box: Array) -> Array:
    """Return the least squares solutions (n, m) of G theta = h within |theta_j| <= box_j, from `theta` on.

    Coordinate descent: each coordinate goes to its best place within the box, in turn.

    Args:
        G: Gram matrices, (n, m, m).
        h: Right sides, (n, m).
        theta: Where to start, (n, m).
        box: Bounds, (m,).
    """
    theta = np.clip(theta, -box, box)
    diagonal = np.einsum("nii->ni", G)
    for _ in range(_SWEEPS):
        for j in range(len(box)):
            pull = h[:, j] - (G[:, j, :] * theta).sum(axis=1)
            step = np.divide(pull, diagonal[:, j], out=np.zeros(len(G)), where=diagonal[:, j] > 0.0)
            theta[:, j] = np.clip(theta[:, j] + step, -box[j], box[j])
    return theta


@dataclass(frozen=True, slots=True)
class ChebCB:
    """The policy's state.

    Attributes:
        G: Gram matrices, (d, m, m).
        h: Right sides, (d, m).
        squares: Sums of (loss - floor)^2 over the plays of an arm, (d,).
        free: Coefficients without bounds, (d, m).
        theta: Coefficients, (d, m).
        done: Instances so far.
        largest: The largest loss.
        least: The least loss.
        misses: R, the sum of squared errors of the predictions at the time, in units of K N.
        rest: The residual of the last fit that met the box, in units of (K N)^2.
        bounds: The range of the first context.
        floor: A lower bound of the losses.
        seed: Of the draws.
        eta_cap: An upper bound of eta, for streams that change; infinity for none.
    """

    G: Array
    h: Array
    squares: Array
    free: Array
    theta: Array
    done: int = 0
    largest: float = -np.inf
    least: float = np.inf
    misses: float = 0.0
    rest: float = 0.0
    bounds: tuple[float, float] = (0.0, 1.0)
    floor: float = 0.0
    seed: int = 0
    eta_cap: float = np.inf

    def choose(self, contexts: Array, numbers: Arms) -> Block:
        """Return arms drawn by inverse-gap weights."""
        return drawn(self.weights(contexts), uniforms(self.seed, numbers))

    def chances(self, contexts: Array, arms: Arms) -> Array:
        """Return the weights of these arms, (b,)."""
        found: Array = self.weights(contexts)[np.arange(len(arms)), arms]
        return found

    def weights(self, contexts: Array) -> Array:
        """Return the probabilities of the arms, (b, d)."""
        predicted = features(contexts, self.bounds, self.h.shape[1]) @ self.theta.T
        if not self.done:
            return np.full(predicted.shape, 1.0 / predicted.shape[1])
        return gap_weights(predicted / self._scale, self.eta)

    @property
    def eta(self) -> float:
        """2 t sqrt(d t / (R - rest + 2 alpha^2 t)): predictions that were right make the weights greedy."""
        d, m = self.h.shape
        t, scale = self.done, self._scale
        alpha = (np.pi + 2.0 / np.pi * np.log(2 * m + 1)) * self._spread / (2.0 * scale * (m + 1))
        doubt = self.misses - self.rest + 2.0 * alpha**2 * t
        return float(min(self.eta_cap, 2.0 * t * np.sqrt(d * t / max(doubt, 1e-12))))

    def learned(self, contexts: Array, block: Block, losses: Array) -> Self:
        """Return the policy that also knows what a block cost."""
        f, above, arms = features(contexts, self.bounds, self.h.shape[1]), losses - self.floor, block.arms
        G, h, squares = self.G.copy(), self.h.copy(), self.squares.copy()
        np.add.at(G, arms, f[:, :, None] * f[:, None, :])
        np.add.at(h, arms, f * above[:, None])
        np.add.at(squares, arms, above**2)
        known = replace(
            self, G=G, h=h, squares=squares, done=self.done + len(arms),
            largest=max(self.largest, float(losses.max())), least=min(self.least, float(losses.min())),
        )  # fmt: skip
        errors = (f * self.theta[arms]).sum(axis=1) - above
        misses = self.misses + float((errors**2).sum()) / known._scale**2
        return replace(known, misses=misses)._fitted(np.unique(arms), known._scale != self._scale)

    def _fitted(self, played: Arms, rescaled: bool) -> Self:
        """The regressions of the arms played, and the box of all of them when the scale is another."""
        free = self.free.copy()
        free[played] = np.einsum(
            "nij,nj->ni", np.linalg.pinv(self.G[played], rcond=_RCOND, hermitian=True), self.h[played]
        )
        theta = self.theta.copy()
        again = np.arange(len(free)) if rescaled else played
        box = self._box
        outside = again[(np.abs(free[again]) > box * (1.0 + _SLACK)).any(axis=1)]
        theta[again] = free[again]
        rest = self.rest
        if len(outside):
            theta[outside] = boxed(self.G[outside], self.h[outside], self.theta[outside], box)
            rest = self._residual(int(outside[-1]), theta[outside[-1]])
        return replace(self, free=free, theta=theta, rest=rest)

    def _residual(self, arm: int, theta: Array) -> float:
        value = self.squares[arm] - 2.0 * self.h[arm] @ theta + theta @ self.G[arm] @ theta
        return max(float(value), 0.0) / self._scale**2

    @property
    def _spread(self) -> float:
        return self.largest - self.least

    @property
    def _K(self) -> float:  # noqa: N802
        return max(abs(self.largest - self.floor), abs(self.least - self.floor), 1e-12)

    @property
    def _scale(self) -> float:
        """K N, in the losses' units; 1 before the first loss."""
        if not self.done:
            return 1.0
        K = self._K
        return float(K * (2.0 + 4.0 * (self._spread / K) * (1.0 + np.log(self.h.shape[1]))))

    @property
    def _box(self) -> Array:
        """Bounds (m,) of the coefficients of a function in [0, K] whose slope is at most spread / (high - low)."""
        j = np.arange(1, self.h.shape[1])
        return np.concatenate([[self._K], 2.0 * self._spread / j])


def chebcb(
    d: int,
    *,
    bounds: tuple[float, float],
    seed: int = 0,
    m: int = 6,
    floor: float = 0.0,
    eta_cap: float = np.inf,
) -> ChebCB:
    """Return the policy before its first decision.

    Args:
        d: Number of arms.
        bounds: The range of the first context; what lies outside counts as the nearest end.
        seed: Of its draws.
        m: Number of features.
        floor: A lower bound of the losses, 1 for numbers of iterations.
        eta_cap: An upper bound of the weights' greed, for streams that change.
    """
    zeros = np.zeros((d, m))
    return ChebCB(
        np.zeros((d, m, m)), zeros, np.zeros(d), zeros, zeros,
        bounds=bounds, floor=floor, seed=seed, eta_cap=eta_cap,
    )  # fmt: skip
