"""The state equation of `pde-control`, its finite-difference solution, and the gradient by its adjoint.

    dy/dt - nu laplace y + kappa max(0, y) = sum over patches of u_j(t) bump_j,   y = 0 at t = 0 and on the boundary

on the unit square for t in [0, 1]. max(0, y) has a kink: where the state changes sign, derivatives in u jump. Five
points in space, implicit Euler in time. A step is piecewise linear in y: it is solved by fixing the sign of every cell,
solving the linear system, and repeating until signs stay (a semismooth Newton method, which ends after finitely many
steps; Hintermueller, Ito and Kunisch 2003).

Notation: N = side^2 cells of width h, n steps of dt, u (patches, intervals) constant over each interval,

    A (N, N)    -laplace;   B (N, patches)   bumps;   M = I + dt (nu A + kappa diag(y > 0))
    Y (n, N)    states after each step;   D (n, N)   states wanted, sin(2 pi x) sin(pi y) sin(pi t)
    J(u)        |Y - D|^2 / |D|^2: 1 for doing nothing
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
NU, KAPPA, WIDTH = 0.05, 8.0, 0.12
CENTRES = ((0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75))
_MOST_SIGNS = 50


@dataclass(frozen=True)
class Heat:
    """The discretised problem.

    Attributes:
        side: Cells along a side.
        steps: Of time, a multiple of the intervals.
        intervals: Of time, over which controls are constant.
        kappa: Strength of max(0, y).
    """

    side: int = 31
    steps: int = 40
    intervals: int = 2
    kappa: float = KAPPA
    _kept: dict[bytes, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def controls(self) -> int:
        """Numbers in u."""
        return len(CENTRES) * self.intervals

    @property
    def dt(self) -> float:
        """Length of a step."""
        return 1.0 / self.steps

    @cached_property
    def points(self) -> Array:
        """Coordinates of the cells, (N, 2)."""
        at = np.arange(1, self.side + 1) / (self.side + 1)
        return np.stack(np.meshgrid(at, at, indexing="ij"), axis=-1).reshape(-1, 2)

    @cached_property
    def A(self) -> Any:  # noqa: N802
        """The negative Laplacian, a sparse matrix (N, N)."""
        from scipy import sparse

        line = sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(self.side, self.side))
        eye = sparse.eye_array(self.side)
        return (sparse.kron(line, eye) + sparse.kron(eye, line)).tocsc() * float((self.side + 1) ** 2)

    @cached_property
    def B(self) -> Array:  # noqa: N802
        """What a control of 1 in each patch adds to dy/dt, (N, patches)."""
        apart = self.points[:, None, :] - np.array(CENTRES)[None]
        found: Array = np.exp(-(apart**2).sum(-1) / (2.0 * WIDTH**2))
        return found

    @cached_property
    def wanted(self) -> Array:
        """D, (steps, N)."""
        t, (x, y) = np.arange(1, self.steps + 1) * self.dt, self.points.T
        found: Array = np.sin(np.pi * t)[:, None] * np.sin(2.0 * np.pi * x) * np.sin(np.pi * y)
        found += 0.5 * np.sin(2.0 * np.pi * t)[:, None] * np.sin(np.pi * x) * np.sin(2.0 * np.pi * y)
        return found

    def each_step(self, u: Array) -> Array:
        """Return the controls of every step, (steps, patches)."""
        return np.repeat(u.reshape(len(CENTRES), self.intervals).T, self.steps // self.intervals, axis=0)

    def _factor(self, positive: NDArray[np.bool_]) -> Any:
        """The factors of M for signs of the state; the latest few are kept, since signs change seldom."""
        from scipy import sparse
        from scipy.sparse.linalg import splu

        key = np.packbits(positive).tobytes()
        if key not in self._kept:
            while len(self._kept) > 2 * self.steps:
                del self._kept[next(iter(self._kept))]
            diagonal = 1.0 + self.dt * self.kappa * positive
            self._kept[key] = splu((self.dt * NU * self.A + sparse.diags_array(diagonal)).tocsc())
        return self._kept[key]

    def states(self, u: Array) -> Array:
        """Return Y, (steps, N), for controls u (patches * intervals,)."""
        y, found = np.zeros(self.side**2), np.empty((self.steps, self.side**2))
        for k, control in enumerate(self.each_step(u)):
            right, positive = y + self.dt * (self.B @ control), y > 0.0
            for _ in range(_MOST_SIGNS):
                y = self._factor(positive).solve(right)
                before, positive = positive, y > 0.0
                if (before == positive).all():
                    break
            found[k] = y
        return found

    def tracking(self, Y: Array) -> float:
        """Return J of states."""
        return float(((Y - self.wanted) ** 2).sum() / (self.wanted**2).sum())

    def gradient(self, u: Array) -> tuple[float, Array]:
        """Return J and its gradient in u, by the adjoint: M_k p_k = 2 (Y_k - D_k) / |D|^2 + p_(k+1), backwards.

        Where a cell of the state is exactly 0 this is one element of the generalised gradient.
        """
        Y = self.states(u)
        weight = 2.0 / (self.wanted**2).sum()
        p, slopes = np.zeros(self.side**2), np.empty((self.steps, len(CENTRES)))
        for k in reversed(range(self.steps)):
            p = self._factor(Y[k] > 0.0).solve(weight * (Y[k] - self.wanted[k]) + p)
            slopes[k] = self.dt * (self.B.T @ p)
        by_interval = slopes.reshape(self.intervals, -1, len(CENTRES)).sum(1)  # (intervals, patches)
        return self.tracking(Y), by_interval.T.ravel()
