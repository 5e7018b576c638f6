"""Streams of linear systems: for every number a shift and a right side, by counter-based draws.

    high    c = -0.15 + 0.6 Beta(0.5, 1.5), right sides of independent normal numbers
    low     c = -0.15 + 0.6 Beta(2, 6), likewise (Khodak et al. 2024, section 4.1)
    heat    Crank-Nicolson steps of the heat equation on the unit square, whose coefficient changes with time (4.2)
    heat-varied     implicit steps of du/dt = a(t) div(k grad u) + f, where k varies in space by a factor of 20

The shifts of the first two suit a side of 10, where the least eigenvalue without shift is 0.162; on other grids they
are scaled so that the least eigenvalue with shift keeps its ratio to that without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator

Array = NDArray[np.float64]

BETAS = {"high": (0.5, 1.5), "low": (2.0, 6.0)}
LOWEST, WIDTH = -0.15, 0.6
PUBLISHED_SIDE = 10
HEAT_STEPS, HEAT_SECONDS = 5_000, 5.0
_BUMP, _SOURCE, _TURNS = 0.25, 0.125, 8.0


def least_eigenvalue(side: int) -> float:
    """Return the least eigenvalue of the five-point Laplacian, 8 sin^2(pi / (2 (side + 1)))."""
    return float(8.0 * np.sin(np.pi / (2 * (side + 1))) ** 2)


def shift_range(side: int) -> tuple[float, float]:
    """Return the least and the largest shift of the streams `high` and `low`."""
    scale = least_eigenvalue(side) / least_eigenvalue(PUBLISHED_SIDE)
    return LOWEST * scale, (LOWEST + WIDTH) * scale


def shift(stream: str, number: int, *, side: int = PUBLISHED_SIDE, seed: int = 0) -> float:
    """Return the shift of one instance of `high` or `low`."""
    low, high = shift_range(side)
    return low + (high - low) * float(_generator(seed, number, 0).beta(*BETAS[stream]))


def right_side(number: int, *, side: int = PUBLISHED_SIDE, seed: int = 0) -> Array:
    """Return the right side of one instance, (side, side), of independent standard normal numbers.

    The published ones are drawn again until their norm is at most sqrt(n); from a start at zero neither SOR's nor CG's
    count depends on the norm.
    """
    return _generator(seed, number, 1).standard_normal((side, side))


def _generator(seed: int, number: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, number, stream])))


def heat_coefficient(number: int) -> float:
    """Return max(0.1 sin 2 pi t, -10 sin 2 pi t) in the middle of step `number`, at least 1e-3."""
    s = np.sin(2.0 * np.pi * (number + 0.5) * HEAT_SECONDS / HEAT_STEPS)
    return float(max(0.1 * s, -10.0 * s, 1e-3))


def heat_shift(number: int, side: int) -> float:
    """Return c of step `number`: the step's matrix I + a A, a = coefficient dt / (2 h^2), divided by a is A + c I."""
    h, dt = 1.0 / (side + 1), HEAT_SECONDS / HEAT_STEPS
    return 2.0 * h**2 / (dt * heat_coefficient(number))


def heat_systems(side: int, steps: int = HEAT_STEPS) -> Iterator[tuple[float, Array, Array]]:
    """Yield (c, b, start) of each step: the system (A + c I) u = b and the state before, both (side, side).

    The trajectory is exact in space's own sine basis, in which A is diagonal: what a solver leaves over does not
    accumulate, and every step can be solved on its own.
    """
    from scipy.fft import dstn, idstn

    place = np.arange(1, side + 1)
    wave = 4.0 * np.sin(np.pi * place / (2 * (side + 1))) ** 2
    eigen = wave[:, None] + wave[None, :]
    dt = HEAT_SECONDS / HEAT_STEPS
    u = _disc(side, 0.5, 0.5, _BUMP)
    for number in range(steps):
        c = heat_shift(number, side)
        angle = 2.0 * np.pi * _TURNS * (number + 0.5) * dt
        force = 32.0 * _disc(side, 0.5 + 0.25 * np.cos(angle), 0.5 + 0.25 * np.sin(angle), _SOURCE)
        spectrum = dstn(u, type=1) * (c - eigen) + c * dt * dstn(force, type=1)
        yield c, idstn(spectrum, type=1), u
        u = idstn(spectrum / (c + eigen), type=1)


def conductivity(side: int, *, varied: bool) -> tuple[Array, Array]:
    """Return k at the faces between rows, (side + 1, side), and columns, (side, side + 1): 1, or varied.

    Varied it is exp(1.5 sin(2 pi x) sin(3 pi y)), between 0.22 and 4.48.
    """
    if not varied:
        return np.ones((side + 1, side)), np.ones((side, side + 1))
    h = 1.0 / (side + 1)
    between, at = (np.arange(side + 1) + 0.5) * h, np.arange(1, side + 1) * h

    def k(x: Array, y: Array) -> Array:
        found: Array = np.exp(1.5 * np.sin(2.0 * np.pi * x)[:, None] * np.sin(3.0 * np.pi * y)[None, :])
        return found

    return k(between, at), k(at, between)


def warmth(number: int, side: int) -> Array:
    """Return the state before step `number` of `heat-varied`: a mode of the square and a bump that circles."""
    t, place = number * HEAT_SECONDS / HEAT_STEPS, np.arange(1, side + 1) / (side + 1)
    mode = np.sin(np.pi * place)[:, None] * np.sin(np.pi * place)[None, :]
    angle = 2.0 * np.pi * _TURNS * t
    return mode + _disc(side, 0.5 + 0.25 * np.cos(angle), 0.5 + 0.25 * np.sin(angle), _BUMP)


def varied_system(number: int, side: int) -> tuple[float, Array, Array]:
    """Return (c, b, start) of a step of `heat-varied`, whose source is what makes `warmth` the solution."""
    number %= HEAT_STEPS
    c, u = heat_shift(number, side), warmth(number + 1, side)
    kx, ky = conductivity(side, varied=True)
    padded = np.pad(u, 1)
    b: Array = (kx[:-1] + kx[1:] + ky[:, :-1] + ky[:, 1:] + c) * u
    b -= kx[:-1] * padded[:-2, 1:-1] + kx[1:] * padded[2:, 1:-1]
    b -= ky[:, :-1] * padded[1:-1, :-2] + ky[:, 1:] * padded[1:-1, 2:]
    return c, b, warmth(number, side)


def solution(c: Array, b: Array) -> Array:
    """Return x of (A + c I) x = b for constant coefficients, in the sine basis; c (n,), b (side, side, n)."""
    from scipy.fft import dstn, idstn

    side = len(b)
    wave = 4.0 * np.sin(np.pi * np.arange(1, side + 1) / (2 * (side + 1))) ** 2
    eigen = (wave[:, None] + wave[None, :])[:, :, None] + c
    found: Array = idstn(dstn(b, type=1, axes=(0, 1)) / eigen, type=1, axes=(0, 1))
    return found


def _disc(side: int, x: float, y: float, width: float) -> Array:
    """A smooth bump of height 1 around (x, y) that ends at `width`: exp(1 - 1 / (1 - (d / width)^2))."""
    place = np.arange(1, side + 1) / (side + 1)
    inside = np.clip(1.0 - ((place[:, None] - x) ** 2 + (place[None, :] - y) ** 2) / width**2, 1e-12, None)
    bump: Array = np.where(inside > 1e-3, np.exp(1.0 - 1.0 / inside), 0.0)
    return bump
