"""A Gaussian process over few arms and a context, kept as sums: what it costs does not grow with the stream.

The covariance is a product of Matern 5/2 in the arms' coordinates and Matern 5/2 in the context. Its leading
eigenfunctions (exact over the arms, by Nystrom over knots of the context) are the features of a Bayesian linear model,
so that neighbouring arms and contexts teach one another and sums of features are all that is kept. Length scales and
the share of noise come from the marginal likelihood of a few candidates, each with sums of its own.

Notation, for d arms, w features, s candidates of length scales, q of noise:

    phi (b, w)       features of (arm, context); prior weights are N(0, signal^2)
    G (s, w, w)      sums of phi phi';   h (s, w) sums of phi y;   yy, y1: sums of y^2 and y
    y                log(loss - floor + 1 share), or the loss itself, see `Scale`

The signal's variance is integrated out with an inverse gamma prior (nu, nu v0): predictions are means and Student's
scales. O'Hagan and Forster, Bayesian Inference, 2004, chapter 11.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from tuner.strategies.bandit.decisions import Arms, Array

ARM_SCALES = (0.15, 0.4, 1.0)
CONTEXT_SCALES = (0.2, 0.5, 1.5)
NOISE = (0.02, 0.06, 0.2, 0.6)
_KNOTS = 33
_FEATURES = 64
_NU, _V0 = 2.0, 1.0
_OFFSET = 3.0  # prior deviation of the constant, in units of the signal's


def matern(distance: Array) -> Array:
    """Return the Matern 5/2 correlation at scaled distances."""
    r = np.sqrt(5.0) * distance
    value: Array = (1.0 + r + r * r / 3.0) * np.exp(-r)
    return value


@dataclass(frozen=True, slots=True)
class Basis:
    """The features of one pair of length scales.

    Attributes:
        arm: Eigenfunctions of the arms' covariance, with the square roots of their eigenvalues, (d, i).
        context: Maps covariances with the knots to the context's eigenfunctions, (knots, j).
        pairs: Which products of the two are kept, (w - 1, 2); the constant comes first.
        knots: Where the context's eigenfunctions are pinned, (knots, k).
        scale: The context's length scale.
    """

    arm: Array
    context: Array
    pairs: Arms
    knots: Array
    scale: float

    def at(self, contexts: Array) -> Array:
        """Return the context's part of the features, (b, w - 1)."""
        if contexts.shape[1] == 0:
            return np.ones((len(contexts), len(self.pairs)))
        K = matern(_distances(contexts, self.knots) / self.scale)
        part: Array = (K @ self.context)[:, self.pairs[:, 1]]
        return part

    def features(self, arms: Arms, contexts: Array) -> Array:
        """Return the features of arm and context, row by row, (b, w)."""
        products = self.at(contexts) * self.arm[arms][:, self.pairs[:, 0]]
        return np.concatenate([np.full((len(products), 1), _OFFSET), products], axis=1)

    def every_arm(self, contexts: Array) -> Array:
        """Return the features of every arm at each context, (b, d, w)."""
        products = self.at(contexts)[:, None, :] * self.arm[:, self.pairs[:, 0]][None]
        return np.concatenate([np.full((*products.shape[:2], 1), _OFFSET), products], axis=2)


def _distances(a: Array, b: Array) -> Array:
    found: Array = np.sqrt(np.maximum(((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2), 0.0))
    return found


def basis(places: Array, n_contexts: int, arm_scale: float, context_scale: float) -> Basis:
    """Return the features for arms at `places` (d, columns) and `n_contexts` numbers a context, all in [0, 1]."""
    arm = _roots(matern(_distances(places, places) / arm_scale))
    knots = _knots(n_contexts)
    K = matern(_distances(knots, knots) / context_scale) if n_contexts else np.ones((1, 1))
    value, vector = np.linalg.eigh(K)
    keep = value > 1e-8 * value[-1]
    value, vector = value[keep][::-1], vector[:, keep][:, ::-1]
    context = vector / np.sqrt(value) if n_contexts else np.ones((1, 1))
    strength = (arm**2).mean(axis=0)[:, None] * (value / len(knots))[None, :]
    order = np.argsort(-strength, axis=None, kind="stable")[: _FEATURES - 1]
    pairs = np.stack(np.unravel_index(order, strength.shape), axis=1).astype(np.int64)
    return Basis(arm, context, pairs, knots, context_scale)


def _roots(K: Array) -> Array:
    value, vector = np.linalg.eigh(K)
    keep = value > 1e-8 * value[-1]
    found: Array = (vector[:, keep] * np.sqrt(value[keep]))[:, ::-1]
    return found


def _knots(k: int) -> Array:
    """An even grid along one context, and a Halton sequence through several."""
    if k <= 1:
        return np.linspace(0.0, 1.0, _KNOTS)[:, None] if k else np.zeros((1, 0))
    primes = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29)
    if k > len(primes):
        raise ValueError(f"a context has at most {len(primes)} numbers, but got {k}")
    return np.stack([_van_der_corput(3 * _KNOTS, base) for base in primes[:k]], axis=1)


def _van_der_corput(n: int, base: int) -> Array:
    found = np.zeros(n)
    index, share = np.arange(1, n + 1), 1.0
    while index.any():
        share /= base
        found += share * (index % base)
        index = index // base
    return found


@dataclass(frozen=True, slots=True)
class Posterior:
    """What the likeliest candidate says of its weights.

    Attributes:
        basis: Its features.
        mean: Of the weights, (w,).
        root: Lower triangular R with R R' = the precision of the weights in units of `scale`, (w, w).
        scale: Student's scale of the signal.
        noise: Standard deviation of one measurement, in units of y.
    """

    basis: Basis
    mean: Array
    root: Array
    scale: float
    noise: float

    def draw(self, normal: Array) -> Array:
        """Return weights (b, w) drawn with standard normal numbers (b, w)."""
        found: Array = self.mean + self.scale * np.linalg.solve(self.root.T, normal.T).T
        return found

    def predict(self, contexts: Array) -> tuple[Array, Array]:
        """Return the mean and standard deviation of every arm's expected y at each context, both (b, d)."""
        phi = self.basis.every_arm(contexts)
        spread = np.linalg.solve(self.root, phi.reshape(-1, phi.shape[2]).T)
        return phi @ self.mean, self.scale * np.sqrt((spread**2).sum(axis=0)).reshape(phi.shape[:2])


@dataclass(frozen=True, slots=True)
class Surface:
    """Sums of what was measured.

    Attributes:
        bases: Candidates of length scales, s of them.
        G: Sums of phi phi', (s, w, w).
        h: Sums of phi y, (s, w).
        yy: Sum of y^2.
        n: Measurements.
        chosen: The candidate in use: (length scales, noise), as of the last power of 1.3 of `n`.
    """

    bases: tuple[Basis, ...]
    G: Array
    h: Array
    yy: float = 0.0
    n: int = 0
    chosen: tuple[int, int] = (len(ARM_SCALES) * len(CONTEXT_SCALES) // 2, 1)

    def learned(self, arms: Arms, contexts: Array, y: Array) -> Self:
        """Return the surface that also knows these measurements, y (b,)."""
        G, h = self.G.copy(), self.h.copy()
        for row, base in enumerate(self.bases):
            phi = base.features(arms, contexts)
            G[row] += phi.T @ phi
            h[row] += phi.T @ y
        n = self.n + len(y)
        known = replace(self, G=G, h=h, yy=self.yy + float(y @ y), n=n)
        if _checkpoint(n) == _checkpoint(self.n):
            return known
        return replace(known, chosen=known._likeliest())

    def posterior(self) -> Posterior:
        """Return what the chosen candidate says."""
        row, column = self.chosen
        noise = NOISE[column]
        root, mean, rss = self._solved(row, noise)
        variance = (_NU * _V0 + rss) / (_NU + self.n)
        return Posterior(self.bases[row], mean, root, float(np.sqrt(variance)), noise * float(np.sqrt(variance)))

    def _solved(self, row: int, noise: float) -> tuple[Array, Array, float]:
        """Root of the precision, mean of the weights, and y' (noise^2 I + phi phi')^-1 y, in units of the signal."""
        w = self.h.shape[1]
        root = np.linalg.cholesky(self.G[row] / noise**2 + np.eye(w))
        half = np.linalg.solve(root, self.h[row] / noise**2)
        mean = np.linalg.solve(root.T, half)
        return root, mean, max(self.yy / noise**2 - float(half @ half), 0.0)

    def _likeliest(self) -> tuple[int, int]:
        found, best = self.chosen, -np.inf
        for row in range(len(self.bases)):
            for column, noise in enumerate(NOISE):
                root, _, rss = self._solved(row, noise)
                fit = -0.5 * (_NU + self.n) * np.log(_NU * _V0 + rss)
                value = fit - np.log(np.diag(root)).sum() - self.n * np.log(noise)
                if value > best:
                    found, best = (row, column), value
        return found


def _checkpoint(n: int) -> int:
    """Hyperparameters are chosen when this changes: at every power of 1.3 from 8 on."""
    return 0 if n < 8 else 1 + int(np.log(n / 8.0) / np.log(1.3))


def surface(places: Array, n_contexts: int) -> Surface:
    """Return what is known before the first measurement, for arms at `places` (d, columns) in [0, 1]."""
    scales = CONTEXT_SCALES if n_contexts else CONTEXT_SCALES[:1]
    bases = tuple(basis(places, n_contexts, a, c) for a in ARM_SCALES for c in scales)
    w = min(len(base.pairs) for base in bases) + 1
    bases = tuple(replace(base, pairs=base.pairs[: w - 1]) for base in bases)
    return Surface(bases, np.zeros((len(bases), w, w)), np.zeros((len(bases), w)), chosen=(len(bases) // 2, 1))
