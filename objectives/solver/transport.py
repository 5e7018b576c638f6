"""Optimal transport with at most k nonzeros a column: problems, their exact answer by linear programming, the duals.

    C (m, n)    costs, mean 1;   a (m,), b (n,)   masses, each summing to n, so that a column holds 1 on average
    T (m, n)    plan: T >= 0, T 1 = a, T' 1 = b;   gamma   weight of |T|^2 / 2
    s_j         alpha + beta_j - C_j (dual), alpha - C_j (semi-dual), one vector a column;   top(s)   its k largest

    dual        max  alpha'a + beta'b - sum_j |top(s_j)_+|^2 / (2 gamma),             T_j = top(s_j)_+ / gamma
    semi-dual   max  alpha'a - sum_j max { s_j't - gamma |t|^2 / 2 : t >= 0, 1't = b_j, k nonzeros }

The maximum of the semi-dual is at the projection of top(s_j) / gamma onto the simplex of mass b_j: columns hold their
mass exactly, rows as far as alpha is good. Both duals are concave, and smooth only for k = m; for k = 1 the semi-dual
is that of transport without regularisation, but for a constant (Liu, Puigcerver and Blondel 2023, sections 3 and 4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Value = Callable[[Array], tuple[float, Array]]
"""Dual variables -> what is minimised (the dual, negative) and its gradient."""


@dataclass(frozen=True, slots=True)
class Transport:
    """A problem: costs C (m, n), masses a (m,) and b (n,), and the least cost by linear programming."""

    C: Array
    a: Array
    b: Array
    least: float


def problem(points: int, seed: int) -> Transport:
    """Return `points` to `points` random places in the unit square, squared distances, masses from a Dirichlet law."""
    rng = np.random.default_rng([seed, points])
    here, there = rng.random((points, 2)), rng.random((points, 2))
    C = ((here[:, None] - there[None]) ** 2).sum(-1)
    C /= C.mean()
    a, b = (points * rng.dirichlet(np.full(points, 3.0)) for _ in range(2))
    return Transport(C, a, b, float((exact(C, a, b) * C).sum()))


def exact(C: Array, a: Array, b: Array) -> Array:
    """Return a plan of least cost, by linear programming (HiGHS)."""
    from scipy import sparse
    from scipy.optimize import linprog

    m, n = C.shape
    rows = sparse.kron(sparse.eye_array(m), np.ones((1, n)))
    columns = sparse.kron(np.ones((1, m)), sparse.eye_array(n))
    mass = np.concatenate([a, b * (a.sum() / b.sum())])
    found = linprog(C.ravel(), A_eq=sparse.vstack([rows, columns]).tocsc(), b_eq=mass, method="highs")
    if found.x is None:
        raise ArithmeticError(f"the linear program of a transport problem was not solved: {found.message}")
    plan: Array = found.x.reshape(m, n)
    return plan


def _top(S: Array, k: int) -> tuple[NDArray[np.int64], Array]:
    """Rows and values of the k largest of each column, (k, n), falling."""
    if k < len(S):
        rows = np.argpartition(S, len(S) - k, axis=0)[len(S) - k :]
    else:
        rows = np.broadcast_to(np.arange(len(S))[:, None], S.shape)
    values = np.take_along_axis(S, rows, axis=0)
    order = np.argsort(-values, axis=0, kind="stable")
    return np.take_along_axis(rows, order, axis=0), np.take_along_axis(values, order, axis=0)


def dual_plan(S: Array, k: int, gamma: float) -> Array:
    """Return top(S)_+ / gamma, column by column."""
    rows, values = _top(S, k)
    T = np.zeros_like(S)
    np.put_along_axis(T, rows, np.maximum(values, 0.0) / gamma, axis=0)
    return T


def semi_dual_plan(S: Array, b: Array, k: int, gamma: float) -> Array:
    """Return the projections of top(S) / gamma onto the simplices of mass b, column by column."""
    rows, values = _top(S, k)
    values = values / gamma
    level = (np.cumsum(values, axis=0) - b) / np.arange(1, k + 1)[:, None]
    last = (values > level).sum(axis=0) - 1  # values fall: those above the level come first
    projected = np.maximum(values - np.take_along_axis(level, last[None], axis=0), 0.0)
    T = np.zeros_like(S)
    np.put_along_axis(T, rows, projected, axis=0)
    return T


def plan(given: Transport, formulation: str, variables: Array, k: int, gamma: float) -> Array:
    """Return T of dual variables: alpha (m,), followed by beta (n,) for the dual."""
    m = len(given.a)
    if formulation == "dual":
        return dual_plan(variables[:m, None] + variables[m:] - given.C, k, gamma)
    return semi_dual_plan(variables[:, None] - given.C, given.b, k, gamma)


def negative_dual(given: Transport, formulation: str, k: int, gamma: float) -> Value:
    """Return the function to minimise over the dual variables."""
    m = len(given.a)

    def dual(variables: Array) -> tuple[float, Array]:
        T = plan(given, "dual", variables, k, gamma)
        slope = np.concatenate([T.sum(1) - given.a, T.sum(0) - given.b])
        value = gamma * float((T**2).sum()) / 2.0 - variables[:m] @ given.a - variables[m:] @ given.b
        return float(value), slope

    def semi_dual(alpha: Array) -> tuple[float, Array]:
        T = plan(given, "semi-dual", alpha, k, gamma)
        value = ((alpha[:, None] - given.C) * T).sum() - gamma * (T**2).sum() / 2.0 - alpha @ given.a
        return float(value), T.sum(1) - given.a

    return dual if formulation == "dual" else semi_dual


def rounded(T: Array, a: Array, b: Array) -> Array:
    """Return a plan of masses a and b near T (Altschuler, Weed and Rigollet 2017, algorithm 2), not always sparse."""
    T = T * np.minimum(a / np.maximum(T.sum(1), 1e-300), 1.0)[:, None]
    T = T * np.minimum(b / np.maximum(T.sum(0), 1e-300), 1.0)
    rows, columns = np.maximum(a - T.sum(1), 0.0), np.maximum(b - T.sum(0), 0.0)
    if rows.sum() > 0.0:
        T = T + rows[:, None] * columns / rows.sum()
    return T
