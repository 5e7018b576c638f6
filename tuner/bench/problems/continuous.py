"""Continuous problems of 5 to 20 columns.

Least values lie off the centre and off the axes' zeros: a function whose optimum is the middle of its box is solved by
the first trial of every method that begins there. Shifts and rotations are seeded by the row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tuner.bench.problem import BenchProblem, Split, floats, minimise, named, numbers
from tuner.bench.problems import functions as f
from tuner.space import SearchSpace
from tuner.trial import Config

LIBRARY = "Surjanovic and Bingham, Virtual Library of Simulation Experiments"


@dataclass(frozen=True, slots=True)
class Moved:
    """A function in a cube, moved: the name, what, columns, bounds, where it is least and how much, seed, rotated."""

    name: str
    split: Split
    function: f.Function
    d: int
    low: float
    high: float
    home: float = 0.0
    least: float = 0.0
    seed: int = 0
    turned: bool = False


ROWS = (
    Moved("ackley-5", "dev", f.ackley, 5, -32.768, 32.768, seed=1),
    Moved("ackley-10-rotated", "held-out", f.ackley, 10, -10, 10, seed=2, turned=True),
    Moved("ackley-20", "held-out", f.ackley, 20, -5, 10, seed=3),
    Moved("rosenbrock-5", "dev", f.rosenbrock, 5, -2.048, 2.048, home=1, seed=4),
    Moved("rosenbrock-10", "held-out", f.rosenbrock, 10, -2.048, 2.048, home=1, seed=5),
    Moved("levy-10", "dev", f.levy, 10, -10, 10, home=1, seed=6),
    Moved("levy-20", "held-out", f.levy, 20, -10, 10, home=1, seed=7),
    Moved("rastrigin-5", "dev", f.rastrigin, 5, -5.12, 5.12, seed=8),
    Moved("rastrigin-10-rotated", "held-out", f.rastrigin, 10, -5.12, 5.12, seed=9, turned=True),
    Moved("griewank-8", "held-out", f.griewank, 8, -100, 100, seed=10),
    Moved("griewank-6", "dev", f.griewank, 6, -600, 600, seed=11),
    Moved("ellipsoid-10-rotated", "dev", f.ellipsoid, 10, -5, 5, seed=12, turned=True),
    Moved("zakharov-6", "held-out", f.zakharov, 6, -5, 10, seed=13),
    Moved("cosine-mixture-8", "held-out", f.cosine_mixture, 8, -1, 1, least=-0.8, seed=14),
    Moved("levy-6-rotated", "held-out", f.levy, 6, -10, 10, home=1, seed=15, turned=True),
    Moved("rosenbrock-20-rotated", "dev", f.rosenbrock, 20, -2.048, 2.048, home=1, seed=16, turned=True),
)


def _moved(row: Moved) -> BenchProblem:
    rng = np.random.default_rng([20261, row.seed])
    place = row.low + (row.high - row.low) * rng.uniform(0.15, 0.85, row.d)
    function = f.moved(row.function, np.full(row.d, row.home), place, row.seed if row.turned else None)
    return _problem(row.name, row.split, function, [(row.low, row.high)] * row.d, row.least, named(place))


def _problem(
    name: str,
    split: Split,
    function: f.Function,
    bounds: list[tuple[float, float]],
    least: float,
    optimum: Config,
    *,
    source: str = LIBRARY,
) -> BenchProblem:
    return BenchProblem(
        name=name,
        kind="continuous",
        split=split,
        space=SearchSpace(floats(bounds)),
        metrics=minimise("y"),
        evaluate=lambda config: {"y": function(numbers(config))},
        best=least,
        optima=(optimum,),
        source=source,
    )


def problems() -> tuple[BenchProblem, ...]:
    """Moved functions, and those that stay where they are because their optimum is off the centre already."""
    branin = [(-5.0, 10.0), (0.0, 15.0)] + [(0.0, 1.0)] * 4
    unit = (0.0, 1.0)
    dixon = [2.0 ** -((2**i - 2) / 2**i) for i in range(1, 7)]
    michalewicz = [2.202906, 1.570796, 1.284992, 1.923058, 1.720470]
    tang = -39.16616570377142
    return (
        *map(_moved, ROWS),
        _problem("branin-in-6", "dev", f.branin, branin, 0.39788735772973816, named([math.pi, 2.275, 0, 0, 0, 0])),
        _problem("hartmann6", "dev", f.hartmann6, [unit] * 6, -3.32236801141551, named(f.HARTMANN6)),
        _problem("hartmann6-in-12", "held-out", f.hartmann6, [unit] * 12, -3.32236801141551,
                 named([*f.HARTMANN6, *[0.5] * 6])),
        _problem("styblinski-tang-8", "dev", f.styblinski_tang, [(-5.0, 5.0)] * 8, 8 * tang, named([-2.903534] * 8)),
        _problem("styblinski-tang-15", "held-out", f.styblinski_tang, [(-5.0, 5.0)] * 15, 15 * tang,
                 named([-2.903534] * 15)),
        _problem("dixon-price-6", "held-out", f.dixon_price, [(-10.0, 10.0)] * 6, 0.0, named(dixon)),
        _problem("michalewicz-5", "held-out", f.michalewicz, [(0.0, math.pi)] * 5, -4.687658179, named(michalewicz)),
        _problem("schwefel-5", "dev", f.schwefel, [(-500.0, 500.0)] * 5, 0.0, named([420.968746] * 5)),
    )  # fmt: skip
