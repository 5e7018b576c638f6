"""Solvers of the probability-flow ODE as rows of coefficients: where a step goes, given what was evaluated.

    rho         noise to signal, from 80 down to 0.002 (Karras et al. 2022);  lambda = log rho
    y           state X + rho Z: every path is solved in these coordinates
    D, eps      denoised data and expected noise of an evaluation, y = D + rho eps
    path        x = a y, with time t: "ve" a = 1, t = rho;  "flow" a = t = 1 / (1 + rho), x = t X + (1 - t) Z
    h           a step from rho_i to rho_{i+1};  l_j Lagrange's polynomial of node j

Three exact forms of a step, each approximated by a polynomial through the last evaluations:

    velocity    x' = x + int v dt,                      v = a' D + s' eps in t           Euler, Adams-Bashforth
    noise       y' = y + int eps drho                   in the time of the VP process    DEIS (Zhang and Chen 2023, tAB)
    data        y' = rho'/rho y + rho' int D d(1/rho)   in lambda                        DPM-Solver++ (Lu et al. 2022)

On "ve" the velocity is the noise, so Euler, `deis-0` and DDIM are one method there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Form = Literal["velocity", "noise", "data"]


@dataclass(frozen=True)
class Rule:
    """How a step is made.

    Attributes:
        form: What is approximated by a polynomial.
        order: How many evaluations it goes through, as far as there are any.
        stages: Evaluations that the step itself makes; 2 is Heun's method.
        momentum: Whether the velocity is averaged first (Wizadwongsa et al. 2023).
    """

    form: Form
    order: int
    stages: int = 1
    momentum: bool = False


SOLVERS: dict[str, Rule] = {
    "euler": Rule("velocity", 1),
    "heun": Rule("velocity", 1, stages=2),
    "ab2": Rule("velocity", 2),
    "ab3": Rule("velocity", 3),
    "deis-0": Rule("noise", 1),
    "deis-1": Rule("noise", 2),
    "deis-2": Rule("noise", 3),
    "deis-3": Rule("noise", 4),
    "dpm-2": Rule("data", 2),
    "dpm-3": Rule("data", 3),
    "hb": Rule("velocity", 1, momentum=True),
    "ghvb-2": Rule("velocity", 2, momentum=True),
    "ghvb-3": Rule("velocity", 3, momentum=True),
}


@dataclass(frozen=True)
class Row:
    """y' = scale y + sum_j data_j D_j + noise_j eps_j over all evaluations so far, oldest first."""

    scale: float
    data: Array
    noise: Array


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_BETA_MIN, _BETA_RANGE = 0.1, 19.9


def vp_time(rho: Array) -> Array:
    """Return the time at which the variance-preserving process with linear beta has this noise (Song et al. 2021)."""
    return (np.sqrt(_BETA_MIN**2 + 2.0 * _BETA_RANGE * np.log1p(rho**2)) - _BETA_MIN) / _BETA_RANGE


def lagrange(nodes: Array, at: Array) -> Array:
    """Return the values of each node's polynomial, shape (nodes, at)."""
    found = np.ones((len(nodes), len(at)))
    for j, node in enumerate(nodes):
        for other in np.delete(nodes, j):
            found[j] *= (at - other) / (node - other)
    return found


def _integral(nodes: Array, low: float, high: float) -> Array:
    """Integrals of Lagrange's polynomials of `nodes` from low to high, exact."""
    half, middle = 0.5 * (high - low), 0.5 * (high + low)
    return half * (lagrange(nodes, middle + half * _NODES) @ _WEIGHTS)


def path_time(path: str, rho: Array) -> Array:
    """Return t of the path: rho, or 1 / (1 + rho)."""
    return np.asarray(rho) if path == "ve" else 1.0 / (1.0 + np.asarray(rho))


def _velocity_row(path: str, rho: Array, start: float, end: float, weights: Array) -> Row:
    """x' = x + sum_j weights_j v_j, in terms of y, D and eps."""
    if path == "ve":
        return Row(1.0, np.zeros_like(rho), weights)
    after = 1.0 / (1.0 + end)
    return Row((1.0 + end) / (1.0 + start), weights / after, -weights / after)


def _exponential_row(form: Form, rho: Array, start: float, end: float) -> Row:
    """The noise and data forms: quadrature over lambda, on which both integrands are smooth."""
    half, middle = 0.5 * math.log(end / start), 0.5 * math.log(end * start)
    at = middle + half * _NODES
    if form == "noise":
        weights = half * (lagrange(vp_time(rho), vp_time(np.exp(at))) @ (_WEIGHTS * np.exp(at)))
        return Row(1.0, np.zeros_like(rho), weights)
    weights = -half * (lagrange(np.log(rho), at) @ (_WEIGHTS * np.exp(math.log(end) - at)))
    return Row(end / start, weights, np.zeros_like(rho))


def step_row(rule: Rule, path: str, rho: Sequence[float], start: float, end: float) -> Row:
    """Return the step from `start` to `end` through the evaluations at `rho`, without momentum.

    A corrector is the same row with the evaluation at `end` among `rho` (Adams-Moulton for the velocity).
    """
    nodes = np.array(rho)
    if rule.form != "velocity":
        return _exponential_row(rule.form, nodes, start, end)
    t0, t1 = path_time(path, np.array([start, end]))
    return _velocity_row(path, nodes, start, end, _integral(path_time(path, nodes), t0, t1))


def averages(count: int, beta: float) -> Array:
    """Return v_n for n < count as shares of the velocities, (count, count): v_n = (1 - beta) v_{n-1} + beta f_n."""
    found = np.zeros((count, count))
    found[0, 0] = 1.0
    for n in range(1, count):
        found[n] = (1.0 - beta) * found[n - 1]
        found[n, n] += beta
    return found


def momentum_row(rule: Rule, path: str, rho: Sequence[float], start: float, end: float, beta: float) -> Row:
    """Return the step of the heavy ball (order 1) or of its generalisation to higher orders.

    Wizadwongsa et al. 2023, eqs. 13 and 16: with B_k the Adams-Bashforth operator of order k, a step of f = v +
    (1 - beta)/beta (v - v before) goes by B_k v + (1 - beta)/beta B_{k-1} (v - v before), which for equal steps is
    their (2 + beta)/(2 beta) v - (2 - beta)/(2 beta) v before, at order 2. Our steps differ: B_k is of unequal steps.

    Args:
        rule: One with momentum.
        path: As everywhere.
        rho: Of all evaluations since the start, oldest first.
        start: Noise at which the step begins.
        end: Noise at which it ends.
        beta: Damping in (0, 1]; 1 is no momentum.
    """
    t = path_time(path, np.array(rho))
    t0, t1 = path_time(path, np.array([start, end]))
    v = averages(len(t), beta)
    k = min(rule.order, len(t))
    weights = _integral(t[-k:], t0, t1) @ v[-k:]
    if k > 1:
        weights = weights + (1.0 - beta) / beta * (_integral(t[1 - k :], t0, t1) @ np.diff(v, axis=0)[1 - k :])
    return _velocity_row(path, np.array(rho), start, end, weights)
