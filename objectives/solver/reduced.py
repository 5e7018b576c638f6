"""A reduced-order model of the state equation of `pde-control`: Galerkin on POD modes, interpolation of max(0, y).

Trained on states of the full model for a few controls. Notation beside that of `heat_control`:

    V (N, r)    leading left singular vectors of the states seen in training, orthonormal
    W (N, p)    those of max(0, states);   P   p cells chosen greedily (DEIM, Chaturantabut and Sorensen 2010)
    a (r,)      coordinates, y = V a;   max(0, y) is taken to be W (P' W)^-1 max(0, P' V a)

so that a step costs operations in r and p alone: (I + dt (nu V'AV + kappa E diag(P'V a > 0) P'V)) a = V' right side,
E = V'W (P'W)^-1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from tuner.objectives.solver.heat_control import NU, Array, Heat

TRAINING = 12
_STRENGTHS = tuple(np.linspace(0.2, 1.0, TRAINING))
_MOST_SIGNS = 25


@dataclass(frozen=True)
class Training:
    """What reduced models of one problem have in common.

    Attributes:
        heat: The full model.
        scale: Largest control.
        seed: Of the training controls.
    """

    heat: Heat
    scale: float
    seed: int = 0

    @cached_property
    def _snapshots(self) -> Array:
        """States for controls spread over the box, (TRAINING * steps, N), weak ones first."""
        u = np.random.default_rng(self.seed).uniform(-self.scale, self.scale, (TRAINING, self.heat.controls))
        return np.concatenate([self.heat.states(s * each) for s, each in zip(_STRENGTHS, u, strict=True)])

    @cached_property
    def bases(self) -> tuple[Array, Array]:
        """All modes of the states and of max(0, states), the most important first; columns are orthonormal."""
        Y = self._snapshots
        return tuple(np.linalg.svd(part.T, full_matrices=False)[0] for part in (Y, np.maximum(Y, 0.0)))  # type: ignore[return-value]

    def model(self, modes: int) -> Reduced:
        """Return the model of so many modes; twice as many for max(0, y)."""
        V, W = (basis[:, :count] for basis, count in zip(self.bases, (modes, 2 * modes), strict=True))
        heat, P = self.heat, chosen_cells(W)
        E = np.linalg.solve(W[P].T, W.T @ V).T
        return Reduced(
            heat=heat, V=V, linear=np.eye(modes) + heat.dt * NU * (V.T @ (heat.A @ V)), E=heat.dt * heat.kappa * E,
            at=V[P], B=V.T @ heat.B, wanted=heat.wanted @ V,
        )  # fmt: skip


def chosen_cells(W: Array) -> Array:
    """Return the cells (p,) at which DEIM interpolates in the columns of W: each where the next column is worst met."""
    cells = [int(np.abs(W[:, 0]).argmax())]
    for k in range(1, W.shape[1]):
        weights = np.linalg.solve(W[cells, :k], W[cells, k])
        cells.append(int(np.abs(W[:, k] - W[:, :k] @ weights).argmax()))
    return np.array(cells)


@dataclass(frozen=True, eq=False)
class Reduced:
    """A reduced model; attributes are the products that its steps need.

    Attributes:
        heat: The full model.
        V: Modes, (N, r).
        linear: I + dt nu V'AV, (r, r).
        E: dt kappa V'W (P'W)^-1, (r, p).
        at: P'V, (p, r).
        B: V'B, (r, patches).
        wanted: States wanted in coordinates, (n, r).
    """

    heat: Heat
    V: Array
    linear: Array
    E: Array
    at: Array
    B: Array
    wanted: Array

    def coordinates(self, u: Array) -> Array:
        """Return a of every step, (n, r); signs that never settle are left as they are after the last try."""
        a, found = np.zeros(len(self.linear)), np.empty(self.wanted.shape)
        for k, control in enumerate(self.heat.each_step(u)):
            right = a + self.heat.dt * (self.B @ control)
            positive = self.at @ a > 0.0
            for _ in range(_MOST_SIGNS):
                a = np.linalg.solve(self.linear + self.E @ (positive[:, None] * self.at), right)
                before, positive = positive, self.at @ a > 0.0
                if (before == positive).all():
                    break
            found[k] = a
        return found

    def tracking(self, u: Array) -> float:
        """Return J, exactly for the states V a: what lies outside the modes' span cannot be met."""
        a, whole = self.coordinates(u), (self.heat.wanted**2).sum()
        return float((((a - self.wanted) ** 2).sum() + whole - (self.wanted**2).sum()) / whole)
