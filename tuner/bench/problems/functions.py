"""Closed-form test functions of a point z (d,), to minimise, with where their least value is.

Formulas from Surjanovic and Bingham, Virtual Library of Simulation Experiments (sfu.ca/~ssurjano), unless a docstring
names another source.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Function = Callable[[Array], float]

HARTMANN6 = (0.20168952, 0.15001069, 0.47687398, 0.27533243, 0.31165162, 0.65730054)
"""Where `hartmann6` is least: -3.322368."""

_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
_A6 = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
_P6 = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def branin(z: Array) -> float:
    """Least 0.397887 at (pi, 2.275), (-pi, 12.275) and (9.42478, 2.475) in [-5, 10] x [0, 15]."""
    a, b = float(z[0]), float(z[1])
    bowl = (b - 5.1 / (4 * math.pi**2) * a**2 + 5 / math.pi * a - 6) ** 2
    return bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10


def hartmann6(z: Array, lower: float = 0.0) -> float:
    """Least -3.322368 at `HARTMANN6` in [0, 1]^6; with `lower`, every weight is less by so much."""
    return float(-(_ALPHA - lower) @ np.exp(-(_A6 * (z[:6] - _P6) ** 2).sum(axis=1)))


def ackley(z: Array) -> float:
    """Least 0 at the origin."""
    root, waves = math.sqrt(float(np.mean(z**2))), float(np.mean(np.cos(2 * math.pi * z)))
    return -20 * math.exp(-0.2 * root) - math.exp(waves) + 20 + math.e


def rosenbrock(z: Array) -> float:
    """Least 0 at (1, ..., 1)."""
    return float(np.sum(100 * (z[1:] - z[:-1] ** 2) ** 2 + (z[:-1] - 1) ** 2))


def levy(z: Array) -> float:
    """Least 0 at (1, ..., 1)."""
    w = 1 + (z - 1) / 4
    inner = np.sum((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2))
    ends = math.sin(math.pi * w[0]) ** 2 + (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)
    return float(inner + ends)


def rastrigin(z: Array) -> float:
    """Least 0 at the origin."""
    return float(10 * len(z) + np.sum(z**2 - 10 * np.cos(2 * math.pi * z)))


def griewank(z: Array) -> float:
    """Least 0 at the origin."""
    return float(np.sum(z**2) / 4000 - np.prod(np.cos(z / np.sqrt(np.arange(1, len(z) + 1)))) + 1)


def styblinski_tang(z: Array) -> float:
    """Least -39.166166 d at (-2.903534, ..., -2.903534)."""
    return float(0.5 * np.sum(z**4 - 16 * z**2 + 5 * z))


def ellipsoid(z: Array) -> float:
    """Least 0 at the origin; condition number 1e6 (Hansen et al. 2009, BBOB f2 without its distortion)."""
    d = len(z)
    return float(np.sum(10.0 ** (6 * np.arange(d) / max(d - 1, 1)) * z**2))


def zakharov(z: Array) -> float:
    """Least 0 at the origin."""
    slope = float(0.5 * np.sum(np.arange(1, len(z) + 1) * z))
    return float(np.sum(z**2)) + slope**2 + slope**4


def dixon_price(z: Array) -> float:
    """Least 0 at 2 ** -((2^i - 2) / 2^i), i from 1."""
    i = np.arange(2, len(z) + 1)
    return float((z[0] - 1) ** 2 + np.sum(i * (2 * z[1:] ** 2 - z[:-1]) ** 2))


def michalewicz(z: Array) -> float:
    """Least -4.687658 for d = 5 and -9.660152 for d = 10 in [0, pi]^d."""
    i = np.arange(1, len(z) + 1)
    return float(-np.sum(np.sin(z) * np.sin(i * z**2 / math.pi) ** 20))


def schwefel(z: Array) -> float:
    """Least 0 (to 1e-4 d) at (420.968746, ..., 420.968746) in [-500, 500]^d."""
    return float(418.9828872724339 * len(z) - np.sum(z * np.sin(np.sqrt(np.abs(z)))))


def cosine_mixture(z: Array) -> float:
    """Least -0.1 d at the origin in [-1, 1]^d (Breiman and Cutler 1993)."""
    return float(np.sum(z**2) - 0.1 * np.sum(np.cos(5 * math.pi * z)))


def six_hump(z: Array) -> float:
    """Least -1.031628 at (0.0898, -0.7126) and its mirror image."""
    a, b = float(z[0]), float(z[1])
    return (4 - 2.1 * a**2 + a**4 / 3) * a**2 + a * b + (-4 + 4 * b**2) * b**2


def beale(z: Array) -> float:
    """Least 0 at (3, 0.5)."""
    a, b = float(z[0]), float(z[1])
    return (1.5 - a + a * b) ** 2 + (2.25 - a + a * b**2) ** 2 + (2.625 - a + a * b**3) ** 2


def moved(function: Function, home: Array, place: Array, turn: int | None) -> Function:
    """`function` with its least value at `place` instead of `home`, turned about it by a random rotation.

    Args:
        function: A function whose least value over all of R^d is at `home`.
        home: Where that is, shape (d,).
        place: Where it goes, shape (d,).
        turn: Seed of the rotation; None for no rotation.
    """
    rotation = np.eye(len(home))
    if turn is not None:
        q, r = np.linalg.qr(np.random.default_rng(turn).standard_normal((len(home), len(home))))
        rotation = q * np.sign(np.diag(r))

    def inner(x: Array) -> float:
        return function(home + rotation @ (x - place))

    return inner
