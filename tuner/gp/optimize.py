"""Maximising an acquisition function from many starts at once, over their free columns in the unit cube.

Notation
    k       starts, d columns
    x, g    where each start has got to, and the gradient there, shape (k, d)
    p       its direction, shape (k, d); a its step
    s, y    its last moves and the falls of the gradient along them, shape (m, k, d)

Limited-memory BFGS (Nocedal and Wright 2006, algorithm 7.4) with backtracking, projected on the cube. Every start has a
state of its own: logarithms of improvements differ by orders of magnitude between starts, and what suits one would
stop another. But all are evaluated together, which costs little more than one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tuner.gp.outcomes import Function

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_MEMORY = 6
_ARMIJO = 1e-4
_SHRINK = 0.3
_SHORTEST = 1e-5
"""Steps below this fraction of the first end a search."""

_FIRST = 0.1
"""The first step moves no column by more."""

_FLAT = 1e-4
_STILL = 1e-5


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread, and put the number back afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def ascend(acquisition: Function, starts: Tensor, free: Mask, *, maxiter: int = 50) -> Tensor:
    """Return where each start gets to, shape (k, d); never lower than where it began.

    Args:
        acquisition: (b, d) -> (b,).
        starts: Shape (k, d), in the unit cube.
        free: Which coordinates may move, shape (k, d).
        maxiter: Evaluations of the starts that still climb.
    """
    climb = _Climb(acquisition, starts, free)
    for _ in range(maxiter):
        if not climb.alive.any():
            break
        climb.step()
    return torch.from_numpy(climb.x).to(starts.device)


class _Climb:
    """The starts' states."""

    def __init__(self, acquisition: Function, starts: Tensor, free: Mask) -> None:
        self._acquisition = acquisition
        self._device = starts.device
        self._free = free
        self.x: Array = starts.detach().cpu().numpy().copy()
        k, d = self.x.shape
        self._s = np.zeros((_MEMORY, k, d))
        self._y = np.zeros((_MEMORY, k, d))
        self._rho = np.zeros((_MEMORY, k))
        self.alive: Mask = np.asarray(free.any(axis=1), dtype=np.bool_)
        self._f, self._g = np.full(k, -np.inf), np.zeros((k, d))
        if self.alive.any():
            self._f[self.alive], self._g[self.alive] = self._evaluate(self.x[self.alive], free[self.alive])
            self.alive &= np.isfinite(self._f)
        self._p = np.zeros((k, d))
        self._a = np.ones(k)
        self._turn(self.alive)
        self._a = np.minimum(1.0, _FIRST / np.abs(self._p).max(axis=1).clip(1e-300))

    def _evaluate(self, x: Array, free: Mask) -> tuple[Array, Array]:
        with torch.enable_grad():
            at = torch.from_numpy(x).to(self._device).requires_grad_(True)
            values = self._acquisition(at)
            usable = torch.isfinite(values)
            (slope,) = torch.autograd.grad(torch.where(usable, values, 0.0).sum(), at)
        f = torch.where(usable, values, -torch.inf).detach().cpu().numpy()
        g = np.where(free, np.nan_to_num(slope.cpu().numpy(), nan=0.0, posinf=0.0, neginf=0.0), 0.0)
        return f, g

    def step(self) -> None:
        """One evaluation of every start that still climbs."""
        rows = np.flatnonzero(self.alive)
        trial = np.clip(self.x[rows] + self._a[rows, None] * self._p[rows], 0.0, 1.0)
        move = trial - self.x[rows]
        f, g = self._evaluate(trial, self._free[rows])
        gained = np.isfinite(f) & (f >= self._f[rows] + _ARMIJO * (self._g[rows] * move).sum(axis=1))
        self._a[rows[~gained]] *= _SHRINK
        self.alive[rows[~gained]] &= self._a[rows[~gained]] > _SHORTEST
        moved = rows[gained]
        if not len(moved):
            return
        self._remember(moved, move[gained], self._g[moved] - g[gained])
        still = f[gained] - self._f[moved] <= _STILL * np.maximum(np.abs(f[gained]), 1.0)
        self.x[moved], self._f[moved], self._g[moved] = trial[gained], f[gained], g[gained]
        self.alive[moved[still]] = False
        turning = np.zeros(len(self.x), dtype=np.bool_)
        turning[moved] = True
        self._a[moved] = 1.0
        self._turn(turning & self.alive)

    def _remember(self, rows: NDArray[np.intp], s: Array, y: Array) -> None:
        curvature = (s * y).sum(axis=1)
        good = curvature > 1e-10 * (y * y).sum(axis=1)
        for store, value in (
            (self._s, s),
            (self._y, y),
            (self._rho, np.where(good, 1.0 / np.where(good, curvature, 1.0), 0.0)),
        ):
            store[:, rows] = np.roll(store[:, rows], -1, axis=0)
            store[-1, rows] = value

    def _turn(self, rows: Mask) -> None:
        """New directions, along the gradient bent by the moves remembered; zero where the cube ends."""
        at = np.flatnonzero(rows)
        if not len(at):
            return
        x, g = self.x[at], self._g[at]
        stuck = ((x <= 0.0) & (g < 0.0)) | ((x >= 1.0) & (g > 0.0))
        slope = np.where(stuck, 0.0, g)
        q = slope.copy()
        s, y, rho = self._s[:, at], self._y[:, at], self._rho[:, at]
        alpha = np.zeros(rho.shape)
        for i in reversed(range(_MEMORY)):
            alpha[i] = rho[i] * (s[i] * q).sum(axis=1)
            q -= alpha[i][:, None] * y[i]
        yy = (y[-1] * y[-1]).sum(axis=1)
        scale = np.where((rho[-1] > 0) & (yy > 0), 1.0 / np.where(rho[-1] > 0, rho[-1] * yy, 1.0), 1.0)
        q *= scale[:, None]
        for i in range(_MEMORY):
            beta = rho[i] * (y[i] * q).sum(axis=1)
            q += (alpha[i] - beta)[:, None] * s[i]
        q = np.where(stuck, 0.0, q)
        rising = (q * slope).sum(axis=1) > 1e-12 * np.linalg.norm(q, axis=1) * np.linalg.norm(slope, axis=1)
        q = np.where(rising[:, None], q, slope)
        plain = ~rising | (rho[-1] == 0)
        self._a[at[plain]] = np.minimum(1.0, _FIRST / np.abs(q[plain]).max(axis=1).clip(1e-300))
        self._p[at] = q
        self.alive[at] &= np.abs(slope).max(axis=1) > _FLAT


def spread_starts(values: Tensor, n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the positions of up to `n` starts: the best ones first, then others with chances that grow with value.

    Boltzmann selection on standardised values (Wilson et al. 2018; as in BoTorch), half of `n` by rank.
    """
    v = values.cpu().numpy()
    order = np.argsort(-v, kind="stable")
    if len(v) <= n:
        return order
    best, rest = order[: (n + 1) // 2], order[(n + 1) // 2 :]
    w = v[rest]
    finite = np.isfinite(w)
    if int(finite.sum()) <= n - len(best):
        return order[:n]
    w = np.where(finite, w, -np.inf)
    spread = float(w[finite].std()) or 1.0
    weights = np.exp(np.clip(2.0 * (w - w[finite].max()) / spread, -50.0, 0.0)) * finite
    chosen = rng.choice(len(rest), size=n - len(best), replace=False, p=weights / weights.sum())
    return np.concatenate([best, rest[chosen]])
