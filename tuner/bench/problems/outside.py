"""Functions of outside benchmarks, as `ioh` has them (de Nobel et al. 2024, IOHexperimenter), where it is installed.

BBOB: the 24 noiseless functions of Hansen et al. 2009 on [-5, 5]^d, with 5, 10 and 20 columns. PBO: pseudo-Boolean
functions of Doerr et al. 2020 with 25 switches, moved by an exclusive-or so that the optimum is not all ones; left out
are those whose optimum ioh does not state once moved. The split is `outside`: no default was chosen on them.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from tuner.bench.problem import BenchProblem, floats, minimise, named, numbers
from tuner.parameters import Bool
from tuner.space import SearchSpace
from tuner.trial import Config, Metric

COLUMNS = (5, 10, 20)
SWITCHES = 25
PSEUDO_BOOLEAN = (1, 2, 3, 9, 19, 20, 21, 24)
"""ioh's numbers: OneMax, LeadingOnes, weights, ruggedness, three lattices of spins, traps."""
_PLAIN, _MOVED = 1, 7  # ioh's instances: the first as published, 2 to 50 with an exclusive-or


def problems() -> tuple[BenchProblem, ...]:
    """Both benchmarks; none without ioh."""
    if importlib.util.find_spec("ioh") is None:
        return ()
    ioh: Any = importlib.import_module("ioh")
    continuous = [_bbob(ioh, number, d) for d in COLUMNS for number in range(1, 25)]
    return (*continuous, *(_pseudo_boolean(ioh, number) for number in PSEUDO_BOOLEAN))


def _bbob(ioh: Any, number: int, d: int) -> BenchProblem:
    function = ioh.get_problem(number, instance=_PLAIN, dimension=d)

    def evaluate(config: Config) -> dict[str, float]:
        return {"y": float(function(numbers(config).tolist()))}

    return BenchProblem(
        name=f"bbob-{number}-{d}",
        kind="continuous",
        split="outside",
        space=SearchSpace(floats([(-5.0, 5.0)] * d)),
        metrics=minimise("y"),
        evaluate=evaluate,
        best=float(function.optimum.y),
        optima=(named(function.optimum.x),),
        source=f"Hansen et al. 2009, BBOB f{number} ({function.meta_data.name})",
    )


def _pseudo_boolean(ioh: Any, number: int) -> BenchProblem:
    function = ioh.get_problem(number, _MOVED, SWITCHES, ioh.ProblemClass.PBO)

    def evaluate(config: Config) -> dict[str, float]:
        return {"y": float(function([int(config[f"b{i}"]) for i in range(SWITCHES)]))}

    return BenchProblem(
        name=f"pbo-{number}-{SWITCHES}",
        kind="combinatorial",
        split="outside",
        space=SearchSpace([Bool(f"b{i}") for i in range(SWITCHES)]),
        metrics=(Metric(name="y", goal="maximize"),),
        evaluate=evaluate,
        best=float(function.optimum.y),
        optima=({f"b{i}": bool(bit) for i, bit in enumerate(function.optimum.x)},),
        source=f"Doerr et al. 2020, PBO f{number} ({function.meta_data.name})",
    )
