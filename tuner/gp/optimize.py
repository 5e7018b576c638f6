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

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tuner.gp.outcomes import Function

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Gradient = Callable[[Tensor], tuple[Tensor, Tensor]]

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


def ascend(
    acquisition: Function,
    starts: Tensor,
    free: Mask,
    *,
    maxiter: int = 50,
    box: tuple[Array, Array] | None = None,
) -> Tensor:
    """Return where each start gets to, shape (k, d); never lower than where it began.

    Args:
        acquisition: (b, d) -> (b,). One that is `explicit` has a method `followed`, which gives the gradient, too.
        starts: Shape (k, d), in the unit cube.
        free: Which coordinates may move, shape (k, d).
        maxiter: Evaluations of the starts that still climb.
        box: Lower ends and widths, shapes (d,): the acquisition function sees low + width x instead of x.
    """
    climb = _Climb(acquisition, starts, free, box)
    for _ in range(maxiter):
        if not climb.alive.any():
            break
        climb.step()
    return torch.from_numpy(climb.x).to(starts.device)


class _Climb:
    """The starts' states."""

    def __init__(
        self, acquisition: Function, starts: Tensor, free: Mask, box: tuple[Array, Array] | None = None
    ) -> None:
        explicit = getattr(acquisition, "explicit", False)
        self._gradient: Gradient = getattr(acquisition, "followed") if explicit else _by_autograd(acquisition)  # noqa: B009
        self._device = starts.device
        self._box = box
        self._free = free
        self.x: Array = starts.detach().cpu().numpy().copy()
        k, d = self.x.shape
        self._moves: deque[tuple[Array, Array, Array]] = deque(maxlen=_MEMORY)
        self._scale = np.zeros(k)
        self.alive: Mask = np.asarray(free.any(axis=1), dtype=np.bool_)
        self._f, self._g = np.full(k, -np.inf), np.zeros((k, d))
        if self.alive.any():
            self._f[self.alive], self._g[self.alive] = self._evaluate(self.x[self.alive], free[self.alive])
            self.alive &= np.isfinite(self._f)
        self._p = np.zeros((k, d))
        self._a = np.ones(k)
        self._turn(self.alive)

    def _evaluate(self, x: Array, free: Mask) -> tuple[Array, Array]:
        """Values (b,), -inf where there is none, and the gradients in the free columns (b, d)."""
        if self._box is not None:
            x = self._box[0] + self._box[1] * x
        values, slope = (v.cpu().numpy() for v in self._gradient(torch.from_numpy(x).to(self._device)))
        if self._box is not None:
            slope = slope * self._box[1]
        f = np.where(np.isfinite(values), values, -np.inf)
        g = np.where(free & np.isfinite(slope) & np.isfinite(f)[:, None], slope, 0.0)
        return f, g

    def step(self) -> None:
        """One evaluation of every start that still climbs."""
        rows = np.flatnonzero(self.alive)
        x, a = self.x[rows], self._a[rows]
        trial = np.clip(x + a[:, None] * self._p[rows], 0.0, 1.0)
        move = trial - x
        f, g = self._evaluate(trial, self._free[rows])
        gained = f >= self._f[rows] + _ARMIJO * np.einsum("kd,kd->k", self._g[rows], move)
        gained &= f > -np.inf
        if not gained.all():
            short = rows[~gained]
            self._a[short] *= _SHRINK
            self.alive[short] = self._a[short] > _SHORTEST
        moved = rows[gained]
        if not len(moved):
            return
        f, g = f[gained], g[gained]
        self._remember(moved, move[gained], self._g[moved] - g)
        still = f - self._f[moved] <= _STILL * np.maximum(np.abs(f), 1.0)
        self.x[moved], self._f[moved], self._g[moved] = trial[gained], f, g
        self.alive[moved[still]] = False
        self._turn(moved[~still])

    def _remember(self, rows: NDArray[np.intp], s: Array, y: Array) -> None:
        """One entry for all starts; of those that did not move it holds nothing, which bends no direction."""
        k, d = self.x.shape
        curvature, size = np.einsum("kd,kd->k", s, y), np.einsum("kd,kd->k", y, y)
        good = curvature > 1e-10 * size
        moves, falls, rho = np.zeros((k, d)), np.zeros((k, d)), np.zeros(k)
        moves[rows], falls[rows] = s, y
        rho[rows] = np.where(good, 1.0 / np.where(good, curvature, 1.0), 0.0)
        self._scale[rows] = np.where(good, curvature / np.where(size > 0, size, 1.0), 0.0)
        self._moves.append((moves, falls, rho))

    def _turn(self, rows: NDArray[np.intp] | Mask) -> None:
        """New directions, along the gradient bent by the moves remembered; zero where the cube ends."""
        at = np.arange(len(self.x))[rows]
        if not len(at):
            return
        x, g = self.x[at], self._g[at]
        stuck = ((x <= 0.0) & (g < 0.0)) | ((x >= 1.0) & (g > 0.0))
        slope = np.where(stuck, 0.0, g)
        q, scale = self._bent(at, slope)
        q[stuck] = 0.0
        rising = np.einsum("kd,kd->k", q, slope)
        rising = rising > 1e-12 * np.sqrt(np.einsum("kd,kd->k", q, q) * np.einsum("kd,kd->k", slope, slope))
        q = np.where(rising[:, None], q, slope)
        first = np.minimum(1.0, _FIRST / np.abs(q).max(axis=1).clip(1e-300))
        self._a[at] = np.where(rising & (scale > 0), 1.0, first)
        self._p[at] = q
        self.alive[at] &= np.abs(slope).max(axis=1) > _FLAT

    def _bent(self, at: NDArray[np.intp], slope: Array) -> tuple[Array, Array]:
        """The directions, and what the gradients were scaled by, 0 where nothing is known."""
        q, scale = slope.copy(), self._scale[at]
        pairs = [(s[at], y[at], rho[at]) for s, y, rho in self._moves]
        alphas = []
        for s, y, rho in reversed(pairs):
            alpha = rho * np.einsum("kd,kd->k", s, q)
            q -= alpha[:, None] * y
            alphas.append(alpha)
        q *= np.where(scale > 0, scale, 1.0)[:, None]
        for (s, y, rho), alpha in zip(pairs, reversed(alphas), strict=True):
            q += (alpha - rho * np.einsum("kd,kd->k", y, q))[:, None] * s
        return q, scale


def _by_autograd(acquisition: Function) -> Gradient:
    """Its values and their gradients, each row's its own."""

    def gradient(x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            at = x.requires_grad_(True)
            values = acquisition(at)
            (slope,) = torch.autograd.grad(torch.where(torch.isfinite(values), values, 0.0).sum(), at)
        return values.detach(), slope

    return gradient


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
