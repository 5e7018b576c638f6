"""One goal under outcome constraints; every g is feasible from 0 up."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tuner.bench.problem import BenchProblem, Split, floats, named, numbers
from tuner.bench.problems import functions as f
from tuner.parameters import Float, Int, Parameter
from tuner.space import SearchSpace
from tuner.trial import Config, Metric

Array = NDArray[np.float64]
COELLO = "Coello Coello and Mezura-Montes 2002"


def gramacy(x: Array) -> tuple[float, Sequence[float]]:
    """Gramacy et al. 2016, modelling an augmented Lagrangian for blackbox constrained optimization."""
    a, b = map(float, x)
    return a + b, (
        -(1.5 - a - 2 * b - 0.5 * math.sin(2 * math.pi * (a**2 - 2 * b))),
        1.5 - a**2 - b**2,
    )


def pressure_vessel(x: Array) -> tuple[float, Sequence[float]]:
    """Shell and head in sixteenths of an inch, radius, length: cost in dollars."""
    a, b, r, length = x[0] / 16, x[1] / 16, x[2], x[3]
    cost = 0.6224 * a * r * length + 1.7781 * b * r**2 + 3.1661 * a**2 * length + 19.84 * a**2 * r
    volume = math.pi * r**2 * length + 4 / 3 * math.pi * r**3
    return cost, (a - 0.0193 * r, b - 0.00954 * r, volume / 1296000.0 - 1)


def welded_beam(x: Array) -> tuple[float, Sequence[float]]:
    """Weld and beam dimensions in inches: cost."""
    h, length, t, b = map(float, x)
    load, span, e, g = 6000.0, 14.0, 30e6, 12e6
    moment, radius = load * (span + length / 2), math.sqrt(0.25 * (length**2 + (h + t) ** 2))
    polar = 2 * math.sqrt(2) * h * length * (length**2 / 12 + 0.25 * (h + t) ** 2)
    direct, bending = load / (math.sqrt(2) * h * length), moment * radius / polar
    shear = math.sqrt(direct**2 + direct * bending * length / radius + bending**2)
    buckling = 4.013 * e * t * b**3 / 6 / span**2 * (1 - 0.25 * t * math.sqrt(e / g) / span)
    cost = 1.10471 * h**2 * length + 0.04811 * t * b * (14 + length)
    return cost, (
        1 - shear / 13600,
        1 - 6 * load * span / (b * t**2) / 30000,
        b - h,
        0.25 - 4 * load * span**3 / (e * t**3 * b),
        buckling / load - 1,
    )


def spring(x: Array) -> tuple[float, Sequence[float]]:
    """Wire, coil and number of coils: weight (Hedar and Fukushima 2006)."""
    d, D, n = map(float, x)
    bend = (4 * D**2 - d * D) / (12566 * d**3 * (D - d)) if d < D else 100.0
    return d**2 * D * (n + 2), (
        min(D**3 * n / (71785 * d**4) - 1, 100.0),
        max(1 - bend - 1 / (5108 * d**2), -100.0),
        min(140.45 * d / (n * D**2) - 1, 100.0),
        1 - (d + D) / 1.5,
    )


def speed_reducer(x: Array) -> tuple[float, Sequence[float]]:
    """Face width, module, teeth, shaft lengths and diameters: weight (Lemonge et al. 2010)."""
    a, m, z, l1, l2, d1, d2 = map(float, x)
    weight = 0.7854 * a * m**2 * (3.3333 * z**2 + 14.9334 * z - 43.0934) - 1.508 * a * (d1**2 + d2**2)
    weight += 7.4777 * (d1**3 + d2**3) + 0.7854 * (l1 * d1**2 + l2 * d2**2)
    return weight, (
        1 - 27 / (a * m**2 * z),
        1 - 397.5 / (a * m**2 * z**2),
        1 - 1.93 * l1**3 / (m * z * d1**4),
        1 - 1.93 * l2**3 / (m * z * d2**4),
        1 - math.sqrt((745 * l1 / (m * z)) ** 2 + 16.9e6) / (110 * d1**3),
        1 - math.sqrt((745 * l2 / (m * z)) ** 2 + 157.5e6) / (85 * d2**3),
        1 - m * z / 40,
        a / (5 * m) - 1,
        1 - a / (12 * m),
        1 - (1.5 * d1 + 1.9) / l1,
        1 - (1.1 * d2 + 1.9) / l2,
    )


def himmelblau(x: Array) -> tuple[float, Sequence[float]]:
    """CEC 2006 g04 (Himmelblau 1972)."""
    a, b, c, d, e = map(float, x)
    u = 85.334407 + 0.0056858 * b * e + 0.0006262 * a * d - 0.0022053 * c * e
    v = 80.51249 + 0.0071317 * b * e + 0.0029955 * a * b + 0.0021813 * c**2
    w = 9.300961 + 0.0047026 * c * e + 0.0012547 * a * c + 0.0019085 * c * d
    cost = 5.3578547 * c**2 + 0.8356891 * a * e + 37.293239 * a - 40792.141
    return cost, (92 - u, u, 110 - v, v - 90, 25 - w, w - 20)


def bowl(place: Array) -> Callable[[Array], tuple[float, Sequence[float]]]:
    """Ackley within a ball and a half-space about its least value (after Eriksson and Poloczek 2021, SCBO)."""

    def inner(x: Array) -> tuple[float, Sequence[float]]:
        z = x - place
        return f.ackley(z), (-float(z.sum()), 5 - float(np.linalg.norm(z)))

    return inner


def _problem(
    name: str,
    split: Split,
    parameters: Sequence[Parameter],
    function: Callable[[Array], tuple[float, Sequence[float]]],
    least: float,
    at: Sequence[float],
    floor: float,
    source: str,
    *,
    exact: bool = False,
) -> BenchProblem:
    n = len(function(np.asarray(at, dtype=float))[1])

    def evaluate(config: Config) -> dict[str, float]:
        y, margins = function(numbers(config))
        return {"y": float(y)} | {f"g{i}": float(g) for i, g in enumerate(margins)}

    space = SearchSpace(parameters)
    optimum = {k: int(v) if isinstance(space[k], Int) else v for k, v in named(at).items()}
    metrics = (Metric(name="y", goal="minimize"), *(Metric(name=f"g{i}", min=0.0) for i in range(n)))
    return BenchProblem(
        name=name, kind="constrained", split=split, space=space, metrics=metrics, evaluate=evaluate, best=least,
        exact=exact, optima=(optimum,), floor=floor, source=source,
    )  # fmt: skip


def problems() -> tuple[BenchProblem, ...]:
    """Design problems and made ones; `floor` is about the worst feasible value."""
    vessel: list[Parameter] = [Int("x0", low=1, high=99), Int("x1", low=1, high=99)]
    vessel += [Float("x2", low=10.0, high=200.0), Float("x3", low=10.0, high=200.0)]
    reducer = [(2.6, 3.6), (0.7, 0.8), (17, 28), (7.3, 8.3), (7.8, 8.3), (2.9, 3.9), (5.0, 5.5)]
    gears: list[Parameter] = [Int("x2", low=17, high=28) if p.name == "x2" else p for p in floats(reducer)]
    place = np.random.default_rng(20266).uniform(-2, 6, 10)
    return (
        _problem("gramacy", "dev", floats([(0, 1)] * 2), gramacy, 0.5997889, (0.1954137, 0.4043769), 2.0,
                 "Gramacy et al. 2016"),
        _problem("pressure-vessel", "dev", vessel, pressure_vessel, 6059.714335, (13, 7, 42.0984455, 176.6365958),
                 100_000.0, COELLO),
        _problem("welded-beam", "held-out", floats([(0.1, 2), (0.1, 10), (0.1, 10), (0.1, 2)]), welded_beam,
                 1.724852309, (0.20572964, 3.47048867, 9.03662391, 0.20572964), 20.0, COELLO),
        _problem("spring", "dev", floats([(0.05, 2), (0.25, 1.3), (2, 15)]), spring, 0.012665232788,
                 (0.05168906, 0.35671774, 11.28896595), 0.3, "Hedar and Fukushima 2006"),
        _problem("speed-reducer", "held-out", gears, speed_reducer, 2996.348165,
                 (3.5, 0.7, 17, 7.3, 7.8, 3.350214671, 5.286683230), 6000.0, "Lemonge et al. 2010"),
        _problem("himmelblau", "dev", floats([(78, 102), (33, 45), (27, 45), (27, 45), (27, 45)]), himmelblau,
                 -30665.538671783, (78, 33, 29.9952560256815985, 45, 36.7758129057882073), -25000.0,
                 "Liang et al. 2006, CEC g04", exact=True),
        _problem("ackley-ball-10", "held-out", floats([(-5, 10)] * 10), bowl(place), 0.0, tuple(place), 20.0,
                 "after Eriksson and Poloczek 2021", exact=True),
    )  # fmt: skip
