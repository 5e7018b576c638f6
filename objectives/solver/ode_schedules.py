"""Published schedules: n + 1 noises from RHO_MAX down to RHO_MIN, in closed form.

position    where a noise lies between RHO_MAX (0) and RHO_MIN (1), by its angle arctan rho: equal positions are the
            cosine schedule, and where samples choose their modes there is room
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from tuner.objectives.solver.ode_sampling import karras

RHO_MAX, RHO_MIN = 80.0, 0.002
_EXPONENT = 7.0
_FIRST, _LAST = RHO_MAX ** (1.0 / _EXPONENT), RHO_MIN ** (1.0 / _EXPONENT)
GAP = 0.01
"""Least distance of two knots, in positions."""

STABLE_DIFFUSION = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)
"""Align Your Steps, the published ten steps of Stable Diffusion 1.5 (Sabour et al. 2024)."""


def edm(n: int, *, rho: float = 7.0) -> list[float]:
    """Return the schedule of Karras et al. 2022."""
    return karras(RHO_MAX, RHO_MIN, n, rho)


def log_linear(n: int) -> list[float]:
    """Return noises equally spaced in their logarithm: uniform in log SNR."""
    inner = np.geomspace(RHO_MAX, RHO_MIN, n + 1)[1:-1]
    return [RHO_MAX, *(float(rho) for rho in inner), RHO_MIN]


def cosine(n: int) -> list[float]:
    """Return the cosine schedule (Nichol and Dhariwal 2021) at equal times: equal angles, noise their tangent."""
    return gauss(n, 1.0)


def gauss(n: int, c: float) -> list[float]:
    """Return the schedule that is best for N(0, c^2 I) and Euler: equal angles arctan(rho / c).

    Sabour et al. 2024, theorem 3.1; on other data c is the data's standard deviation.
    """
    angles = np.linspace(math.atan(RHO_MAX / c), math.atan(RHO_MIN / c), n + 1)
    return [RHO_MAX, *(float(c * np.tan(angle)) for angle in angles[1:-1]), RHO_MIN]


def interpolated(n: int, table: Sequence[float] = STABLE_DIFFUSION) -> list[float]:
    """Return a published table for another number of steps, log-linear in between, its ends moved to ours."""
    logs = np.interp(np.linspace(0.0, 1.0, n + 1), np.linspace(0.0, 1.0, len(table)), np.log(table))
    return [RHO_MAX, *(float(rho) for rho in np.exp(logs[1:-1])), RHO_MIN]


SCHEDULES: dict[str, Callable[[int], list[float]]] = {
    "edm": edm,
    "log-linear": log_linear,
    "cosine": cosine,
    "ays-table": interpolated,
}


def positions(knots: Sequence[float]) -> list[float]:
    """Return the positions of noises."""
    return [(_FIRST - rho ** (1.0 / _EXPONENT)) / (_FIRST - _LAST) for rho in knots]


def at_positions(places: Sequence[float] | NDArray[np.float64]) -> list[float]:
    """Return the noises at positions from 0 to 1."""
    inner = ((_FIRST - (_FIRST - _LAST) * float(place)) ** _EXPONENT for place in places[1:-1])
    return [RHO_MAX, *inner, RHO_MIN]


def spread_out(inner: Sequence[float]) -> list[float]:
    """Return noises for n - 1 sorted numbers in [0, 1], neighbours at least GAP apart whatever the numbers."""
    n = len(inner) + 1
    return at_positions([0.0, *((1.0 - n * GAP) * u + i * GAP for i, u in enumerate(inner, start=1)), 1.0])


def gathered(knots: Sequence[float]) -> list[float]:
    """Return the numbers for which `spread_out` gives these noises; those that lie closer than GAP are moved apart."""
    n = len(knots) - 1
    inner = [(place - i * GAP) / (1.0 - n * GAP) for i, place in enumerate(positions(knots))][1:-1]
    return [float(u) for u in np.maximum.accumulate(np.clip(inner, 0.0, 1.0))]
