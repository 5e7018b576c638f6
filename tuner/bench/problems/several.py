"""Two to five goals, some with constraints; judged by hypervolume from a fixed corner."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tuner.bench.problem import BenchProblem, Split, floats, named, numbers
from tuner.bench.problems import functions as f
from tuner.space import SearchSpace
from tuner.trial import Config, Metric

Array = NDArray[np.float64]
Outcome = tuple[Sequence[float], Sequence[float]]
ZITZLER = "Zitzler, Deb and Thiele 2000"
DEB = "Deb, Thiele, Laumanns and Zitzler 2005"
TANABE = "Tanabe and Ishibuchi 2020"


def zdt(which: int) -> Callable[[Array], Outcome]:
    """ZDT1, ZDT2 or ZDT3."""

    def inner(x: Array) -> Outcome:
        a, g = float(x[0]), 1 + 9 * float(np.mean(x[1:]))
        r = a / g
        h = {1: 1 - math.sqrt(r), 2: 1 - r**2, 3: 1 - math.sqrt(r) - r * math.sin(10 * math.pi * a)}[which]
        return (a, g * h), ()

    return inner


def dtlz2(m: int, inner: float | None = None) -> Callable[[Array], Outcome]:
    """DTLZ2: the front is the part of the unit sphere with positive coordinates.

    Args:
        m: Goals.
        inner: Radius of the C2 constraint of Jain and Deb 2014; None without it.
    """

    def value(x: Array) -> Outcome:
        radius = 1 + float(np.sum((x[m - 1 :] - 0.5) ** 2))
        angles = x[: m - 1] * math.pi / 2
        y = [radius * float(np.prod(np.cos(angles[: m - 1 - i]))) for i in range(m)]
        y = [v * (math.sin(angles[m - 1 - i]) if i else 1.0) for i, v in enumerate(y)]
        if inner is None:
            return y, ()
        squares = sum(v**2 for v in y)
        corner = min((v - 1) ** 2 + squares - v**2 - inner**2 for v in y)
        middle = sum((v - 1 / math.sqrt(m)) ** 2 for v in y) - inner**2
        return y, (-min(corner, middle),)

    return value


def dtlz7(m: int) -> Callable[[Array], Outcome]:
    """DTLZ7: 2^(m - 1) separate pieces."""

    def value(x: Array) -> Outcome:
        y, g = x[: m - 1], 1 + 9 * float(np.mean(x[m - 1 :]))
        h = m - float(np.sum(y / (1 + g) * (1 + np.sin(3 * math.pi * y))))
        return [*map(float, y), (1 + g) * h], ()

    return value


def branin_currin(x: Array) -> Outcome:
    """Branin over the unit square, and Currin's exponential (Belakaria, Deshwal and Doppa 2019)."""
    a, b = map(float, x)
    factor = 1 - math.exp(-1 / (2 * b)) if b > 0 else 1.0
    currin = factor * (2300 * a**3 + 1900 * a**2 + 2092 * a + 60) / (100 * a**3 + 500 * a**2 + 4 * a + 20)
    return (f.branin(np.array([15 * a - 5, 15 * b])), currin), ()


def vehicle_safety(x: Array) -> Outcome:
    """RE3-5-4: mass, acceleration and toe board intrusion of a car front (Liao et al. 2008)."""
    a, b, c, d, e = map(float, x)
    mass = 1640.2823 + 2.3573285 * a + 2.3220035 * b + 4.5688768 * c + 7.7213633 * d + 4.4559504 * e
    crash = 6.5856 + 1.15 * a - 1.0427 * b + 0.9738 * c + 0.8364 * d - 0.3695 * a * d + 0.0861 * a * e
    crash += 0.3628 * b * d - 0.1106 * a**2 - 0.3437 * c**2 + 0.1764 * d**2
    toe = -0.0551 + 0.0181 * a + 0.1024 * b + 0.0421 * c - 0.0073 * a * b + 0.024 * b * c - 0.0118 * b * d
    toe += -0.0204 * c * d - 0.008 * c * e - 0.0241 * b**2 + 0.0109 * d**2
    return (mass, crash, toe), ()


def car_side_impact(x: Array) -> Outcome:
    """Weight, public force and velocity of a car side under ten limits (Jain and Deb 2014)."""
    a, b, c, d, e, g, h = map(float, x)
    weight = 1.98 + 4.9 * a + 6.67 * b + 6.98 * c + 4.01 * d + 1.78 * e + 1e-5 * g + 2.73 * h
    force = 4.72 - 0.5 * d - 0.19 * b * c
    pillar, door = 10.58 - 0.674 * a * b - 0.67275 * b, 16.45 - 0.489 * c * h - 0.843 * e * g
    damage = 0.214 + 0.00817 * e - 0.045195 * a - 0.0135168 * a + 0.03099 * b * g - 0.018 * b * h
    damage += 0.007176 * c + 0.023232 * c - 0.00364 * e * g - 0.018 * b**2
    return (weight, force, 0.5 * (pillar + door)), (
        1 - (1.16 - 0.3717 * b * d - 0.0092928 * c),
        0.32 - (0.261 - 0.0159 * a * b - 0.06486 * a - 0.019 * b * h + 0.0144 * c * e + 0.0154464 * g),
        0.32 - damage,
        0.32 - (0.74 - 0.61 * b - 0.031296 * c - 0.031872 * h + 0.227 * b**2),
        1 - (28.98 + 3.818 * c - 4.2 * a * b + 1.27296 * g - 2.68065 * h) / 32,
        1 - (33.86 + 2.95 * c - 5.057 * a * b - 3.795 * b - 3.4431 * h + 1.45728) / 32,
        1 - (46.36 - 9.9 * b - 4.4505 * a) / 32,
        4 - force,
        9.9 - pillar,
        15.7 - door,
    )


def disc_brake(x: Array) -> Outcome:
    """Mass and stopping time of a disc brake under four limits (Ray and Liew 2002)."""
    r, R, force, n = map(float, x)
    square, cube = R**2 - r**2, R**3 - r**3
    return (4.9e-5 * square * (n - 1), 9.82e6 * square / (force * n * cube)), (
        (R - r) / 20 - 1,
        0.4 - force / (3.14 * square),
        1 - 2.22e-3 * force * cube / square**2,
        2.66e-2 * force * n * cube / square / 900 - 1,
    )


def _problem(
    name: str,
    split: Split,
    bounds: Sequence[tuple[float, float]],
    function: Callable[[Array], Outcome],
    corner: Sequence[float],
    best: float,
    source: str,
    *,
    front: Sequence[Array] = (),
    exact: bool = False,
) -> BenchProblem:
    def evaluate(config: Config) -> dict[str, float]:
        goals, margins = function(numbers(config))
        return {f"y{i}": float(y) for i, y in enumerate(goals)} | {f"g{i}": float(g) for i, g in enumerate(margins)}

    n = len(function(np.array([0.5 * (low + high) for low, high in bounds]))[1])
    metrics = (
        *(Metric(name=f"y{i}", goal="minimize", reference=float(r)) for i, r in enumerate(corner)),
        *(Metric(name=f"g{i}", min=0.0) for i in range(n)),
    )
    return BenchProblem(
        name=name, kind="several", split=split, space=SearchSpace(floats(bounds)), metrics=metrics, evaluate=evaluate,
        best=best, source=source, optima=tuple(named(x) for x in front), exact=exact,
    )  # fmt: skip


def ball_volume(m: int) -> float:
    """The hypervolume of DTLZ2's front from (1.1, ..., 1.1): the box less a 2^m-th part of the unit ball."""
    return float(1.1**m - math.pi ** (m / 2) / math.gamma(m / 2 + 1) / 2**m)


def problems() -> tuple[BenchProblem, ...]:
    """ZDT and DTLZ with the fronts of their papers; hypervolumes of the others are the best known."""
    unit, line = (0.0, 1.0), np.linspace(0, 1, 400)
    flat = [np.array([a, *[0.0] * 7]) for a in line]
    angles = np.stack(np.meshgrid(np.linspace(0, 1, 24), np.linspace(0, 1, 24)), axis=-1).reshape(-1, 2)
    sphere = [np.array([*pair, *[0.5] * 4]) for pair in angles]
    safety = (1864.72022, 11.81993945, 0.2903999384)
    side = [(0.5, 1.5), (0.45, 1.35), (0.5, 1.5), (0.5, 1.5), (0.875, 2.625), (0.4, 1.2), (0.4, 1.2)]
    brake = [(55.0, 80.0), (75.0, 110.0), (1000.0, 3000.0), (11.0, 20.0)]
    return (
        _problem("zdt1-8", "dev", [unit] * 8, zdt(1), (11, 11), 120 + 2 / 3, ZITZLER, front=flat, exact=True),
        _problem("zdt2-8", "held-out", [unit] * 8, zdt(2), (11, 11), 120 + 1 / 3, ZITZLER, front=flat, exact=True),
        _problem("zdt3-8", "dev", [unit] * 8, zdt(3), (11, 11), 128.7781, ZITZLER, front=flat),
        _problem("dtlz2-3-6", "dev", [unit] * 6, dtlz2(3), [1.1] * 3, ball_volume(3), DEB, front=sphere, exact=True),
        _problem("dtlz2-4-8", "held-out", [unit] * 8, dtlz2(4), [1.1] * 4, ball_volume(4), DEB, exact=True),
        _problem("dtlz2-5-8", "dev", [unit] * 8, dtlz2(5), [1.1] * 5, ball_volume(5), DEB, exact=True),
        _problem("c2-dtlz2-2-6", "held-out", [unit] * 6, dtlz2(2, 0.2), [1.1] * 2, 0.3823, "Jain and Deb 2014"),
        _problem("dtlz7-3-8", "held-out", [unit] * 8, dtlz7(3), (1.1, 1.1, 15.0), 12.857, DEB),
        _problem("branin-currin", "dev", [unit] * 2, branin_currin, (18, 6), 59.3601187, "Belakaria et al. 2019"),
        _problem("vehicle-safety", "dev", [(1.0, 3.0)] * 5, vehicle_safety, safety, 246.81607081187002, TANABE),
        _problem("car-side-impact", "held-out", side, car_side_impact, (42.0, 4.5, 13.3), 32.68, "Jain and Deb 2014"),
        _problem("disc-brake", "dev", brake, disc_brake, (5.7771, 3.9651), 11.2171, "Ray and Liew 2002"),
    )  # fmt: skip
