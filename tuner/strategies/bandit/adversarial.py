"""Tsallis-INF with power 1/2: optimal against an adversary, and against independent draws, without knowing which.

Zimmert and Seldin, "Tsallis-INF: an optimal algorithm for stochastic and adversarial bandits", 2021, algorithm 1, with
learning rate 2/sqrt(t) and weights by Newton's method. Losses are taken above a floor and divided by their running
mean, as in Khodak et al., "Learning to Relax", 2024: without that the first large loss decides everything.

Notation, for d arms and cells of contexts (one cell when contexts are not used):

    A (cells, d)    sums of loss / chance over the plays of an arm
    B (cells, d)    sums of 1 / chance: A - floor B estimates the arm's total loss above the floor
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from tuner.strategies.bandit.decisions import Arms, Array, Block, drawn, uniforms

_TOLERANCE = 1e-12
_MAX_STEPS = 60
_TINY = 1e-12


def weights(losses: Array, eta: float) -> Array:
    """Return p (d,) with p_i = 4 / (eta (z_i - x))^2, where x < min z is such that they sum to 1.

    Newton's steps in x from min z - 2 / eta, where the sum is at least 1: the sum is convex and increasing in x, so
    they go down and never past the solution.

    Args:
        losses: Estimated total losses z, (d,).
        eta: Learning rate, > 0.
    """
    c = 2.0 / eta
    gaps = losses - losses.min()  # the solution moves with z, so that large totals lose no digits
    x = -c
    for _ in range(_MAX_STEPS):
        q = c / (gaps - x)
        p: Array = q * q
        excess = float(p.sum()) - 1.0
        if excess <= _TOLERANCE:
            break
        x -= excess * c / (2.0 * float(p @ q))
    found: Array = p / p.sum()
    return found


@dataclass(frozen=True, slots=True)
class TsallisInf:
    """The policy's state.

    Attributes:
        A: Importance-weighted losses, (cells, d).
        B: Importance weights, (cells, d).
        seen: Instances in each cell, (cells,).
        total: Their losses, (cells,).
        edges: Inner edges of the cells along the first context, (cells - 1,).
        floor: A lower bound of the losses; None: the least seen.
        least: The least loss seen.
        seed: Of the draws.
        rate: eta_t = rate / sqrt(t).
    """

    A: Array
    B: Array
    seen: Array
    total: Array
    edges: Array
    floor: float | None = None
    least: float = np.inf
    seed: int = 0
    rate: float = 2.0

    def choose(self, contexts: Array, numbers: Arms) -> Block:
        """Return arms drawn from the weights of each instance's cell."""
        u = uniforms(self.seed, numbers)
        if len(self.A) == 1:
            return drawn(self.weights(0), u)
        cells = self._cells(contexts)
        found = {int(cell): self.weights(int(cell)) for cell in np.unique(cells)}
        return drawn(np.stack([found[int(cell)] for cell in cells]), u)

    def chances(self, contexts: Array, arms: Arms) -> Array:
        """Return the weights of these arms in each instance's cell, (b,)."""
        cells = self._cells(contexts)
        return np.array([self.weights(int(cell))[arm] for cell, arm in zip(cells, arms, strict=True)])

    def weights(self, cell: int = 0) -> Array:
        """Return the probabilities of the arms, (d,), in a cell."""
        t = float(self.seen[cell])
        if t == 0.0:
            return np.full(self.A.shape[1], 1.0 / self.A.shape[1])
        floor = self._floor
        scale = max(self.total[cell] / t - floor, _TINY * max(1.0, abs(floor)))
        return weights((self.A[cell] - floor * self.B[cell]) / scale, self.rate / np.sqrt(t + 1.0))

    def learned(self, contexts: Array, block: Block, losses: Array) -> Self:
        """Return the policy that also knows what a block cost."""
        cells = self._cells(contexts)
        A, B, seen, total = self.A.copy(), self.B.copy(), self.seen.copy(), self.total.copy()
        np.add.at(A, (cells, block.arms), losses / block.chances)
        np.add.at(B, (cells, block.arms), 1.0 / block.chances)
        np.add.at(seen, cells, 1.0)
        np.add.at(total, cells, losses)
        return replace(self, A=A, B=B, seen=seen, total=total, least=min(self.least, float(losses.min())))

    @property
    def _floor(self) -> float:
        return self.least if self.floor is None else self.floor

    def _cells(self, contexts: Array) -> Arms:
        if len(self.A) == 1:
            return np.zeros(len(contexts), dtype=np.int64)
        return np.searchsorted(self.edges, contexts[:, 0], side="right").astype(np.int64)


def tsallis_inf(
    d: int,
    *,
    seed: int = 0,
    bins: int = 1,
    bounds: tuple[float, float] = (0.0, 1.0),
    floor: float | None = None,
    rate: float = 2.0,
) -> TsallisInf:
    """Return the policy before its first decision.

    Args:
        d: Number of arms.
        seed: Of its draws.
        bins: Cells of equal width along the first context, each with a bandit of its own; 1 leaves contexts aside.
        bounds: The range of the first context.
        floor: A lower bound of the losses, 1 for numbers of iterations; None for the least seen.
        rate: Of the learning rate, rate / sqrt(t).
    """
    edges = np.linspace(*bounds, bins + 1)[1:-1]
    nothing = np.zeros((bins, d))
    return TsallisInf(nothing, nothing, np.zeros(bins), np.zeros(bins), edges, floor=floor, seed=seed, rate=rate)
