"""Problems of integers, categories, switches and numbers together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tuner.bench.problem import BenchProblem, Split, floats, minimise, numbers
from tuner.bench.problems import functions as f
from tuner.parameters import Bool, Choice, Float, Int, Parameter
from tuner.space import SearchSpace
from tuner.trial import Config

OURS = "made here: separable in its categories' tables, so that its best value is found by listing them"


def _problem(
    name: str,
    split: Split,
    parameters: list[Parameter],
    function: Callable[[Config], float],
    least: float,
    optimum: Config,
    source: str,
) -> BenchProblem:
    return BenchProblem(
        name=name,
        kind="mixed",
        split=split,
        space=SearchSpace(parameters),
        metrics=minimise("y"),
        evaluate=lambda config: {"y": float(function(config))},
        best=least,
        optima=(optimum,),
        source=source,
    )


def _switched_ackley(name: str, split: Split, switches: int, d: int, seed: int) -> BenchProblem:
    """Ackley over switches and numbers (after Bliek, Verwer and de Weerdt 2021), least at a random pattern."""
    rng = np.random.default_rng([20262, seed])
    target = rng.integers(2, size=switches).astype(bool)
    place = rng.uniform(-0.7, 0.7, d)

    def value(config: Config) -> float:
        wrong = [float(config[f"b{i}"] != bool(target[i])) for i in range(switches)]
        return f.ackley(np.array([*wrong, *(numbers(config) - place)]))

    parameters: list[Parameter] = [Bool(f"b{i}") for i in range(switches)]
    optimum = {f"b{i}": bool(t) for i, t in enumerate(target)} | {f"x{i}": float(p) for i, p in enumerate(place)}
    source = "Bliek, Verwer and de Weerdt 2021, Ackley with binary variables, moved"
    return _problem(name, split, [*parameters, *floats([(-1.0, 1.0)] * d)], value, 0.0, optimum, source)


def _stepped(name: str, split: Split, function: f.Function, reach: int, whole: int, d: int, seed: int) -> BenchProblem:
    """A function of `whole` integers and d - `whole` numbers in [-reach, reach], least at a random point."""
    rng = np.random.default_rng([20263, seed])
    home = 1.0 if function in (f.rosenbrock, f.levy) else 0.0
    place = np.concatenate([rng.integers(-reach + 1, reach, whole), rng.uniform(-0.8, 0.8, d - whole) * reach])
    inner = f.moved(function, np.full(d, home), place, None)
    parameters: list[Parameter] = [Int(f"x{i}", low=-reach, high=reach) for i in range(whole)]
    parameters += [Float(f"x{i}", low=-float(reach), high=float(reach)) for i in range(whole, d)]
    optimum: Config = {f"x{i}": int(place[i]) if i < whole else float(place[i]) for i in range(d)}
    source = "Tusar, Brockhoff and Hansen 2019, the idea of bbob-mixint: some columns of a known function are integers"
    return _problem(name, split, parameters, lambda config: inner(numbers(config)), 0.0, optimum, source)


@dataclass(frozen=True, slots=True)
class Tables:
    """A landscape of tables over categories with one bowl in the numbers whose bottom depends on the first category."""

    name: str
    split: Split
    levels: tuple[int, ...]
    d: int
    seed: int

    def build(self) -> BenchProblem:
        """The problem."""
        rng = np.random.default_rng([20264, self.seed])
        single = [rng.uniform(0, 1, k) for k in self.levels]
        pairs = [rng.uniform(0, 1, (a, b)) for a, b in itertools.pairwise(self.levels)]
        bottoms = rng.uniform(0.1, 0.9, (self.levels[0], self.d))
        steep = 10.0 ** rng.uniform(-0.5, 0.8, self.d)

        def tables(cs: tuple[int, ...]) -> float:
            alone = sum(float(t[c]) for t, c in zip(single, cs))
            return alone + sum(float(t[a, b]) for t, (a, b) in zip(pairs, itertools.pairwise(cs)))

        def value(config: Config) -> float:
            cs = tuple(int(config[f"c{i}"][1:]) for i in range(len(self.levels)))
            return tables(cs) + float(steep @ (numbers(config) - bottoms[cs[0]]) ** 2)

        cs = min(itertools.product(*map(range, self.levels)), key=tables)
        optimum: Config = {f"c{i}": f"v{c}" for i, c in enumerate(cs)}
        optimum |= {f"x{i}": float(b) for i, b in enumerate(bottoms[cs[0]])}
        parameters: list[Parameter] = [
            Choice(f"c{i}", values=tuple(f"v{j}" for j in range(k))) for i, k in enumerate(self.levels)
        ]
        space = [*parameters, *floats([(0.0, 1.0)] * self.d)]
        return _problem(self.name, self.split, space, value, tables(cs), optimum, OURS)


def _training(name: str, split: Split, seed: int) -> BenchProblem:
    """Loss of a made-up training run: log scales, ordered sizes, an optimiser that moves the best rate."""
    rng = np.random.default_rng([20265, seed])
    optimisers = ("sgd", "adam", "lion", "adafactor")
    rates = dict(zip(optimisers, rng.uniform(-4.5, -1.0, 4)))
    offsets = dict(zip(optimisers, rng.uniform(0.0, 0.4, 4)))
    batches, decay, width, drop = (
        (16, 32, 64, 128, 256, 512),
        float(rng.uniform(-5, -2)),
        7.5 + float(rng.uniform(-1, 1)),
        0.25,
    )

    def value(config: Config) -> float:
        batch = math.log2(config["batch"])
        rate = math.log10(config["lr"]) - rates[config["optimiser"]] - 0.15 * (batch - 6)
        size = math.log2(config["width"]) + 0.35 * config["layers"] - width - 1.0
        parts = (
            0.30 * math.log1p(rate**2),
            0.05 * (batch - 6) ** 2 / (1 + 0.2 * (batch - 6) ** 2),
            0.10 * (math.log10(config["decay"]) - decay) ** 2 / 4,
            0.12 * math.log1p(size**2) + 0.02 * abs(config["layers"] - 4),
            0.40 * (config["dropout"] - drop - 0.1 * config["clip"]) ** 2 + (0.0 if config["clip"] else 0.08),
        )
        return float(offsets[config["optimiser"]] + sum(parts))

    best = min(optimisers, key=offsets.__getitem__)
    optimum: Config = {
        "optimiser": best, "batch": 64, "lr": float(10 ** rates[best]), "decay": float(10**decay), "layers": 4,
        "width": round(2 ** (width - 0.4)), "dropout": drop + 0.1, "clip": True,
    }  # fmt: skip
    parameters: list[Parameter] = [
        Choice("optimiser", values=optimisers),
        Choice("batch", values=batches, ordered=True),
        Float("lr", low=1e-6, high=1.0, log=True),
        Float("decay", low=1e-7, high=0.1, log=True),
        Int("layers", low=1, high=12),
        Int("width", low=16, high=2048, log=True),
        Float("dropout", low=0.0, high=0.9),
        Bool("clip"),
    ]
    return _problem(
        name, split, parameters, value, value(optimum), optimum, "made here: each part least at its optimum"
    )


def _chosen(name: str, split: Split) -> BenchProblem:
    """Two categories, each chooses a function of the same two numbers (after Ru et al. 2020, func2C)."""
    first = {"rosenbrock": (f.rosenbrock, 0.01), "six-hump": (f.six_hump, 1.0), "beale": (f.beale, 0.05)}
    second = {**first, "bowl": ((lambda z: float(z @ z)), 0.3), "ackley": (f.ackley, 0.2)}

    def value(config: Config) -> float:
        z = numbers(config)
        return float(sum(scale * g(z) for g, scale in (first[config["first"]], second[config["second"]])))

    parameters: list[Parameter] = [Choice("first", values=tuple(first)), Choice("second", values=tuple(second))]
    optimum: Config = {"first": "six-hump", "second": "six-hump", "x0": 0.08984201, "x1": -0.71265640}
    return _problem(name, split, [*parameters, *floats([(-2.0, 2.0)] * 2)], value, -2.06325690, optimum,
                    "after Ru et al. 2020, func2C; no pair is below twice the camel's least")  # fmt: skip


def problems() -> tuple[BenchProblem, ...]:
    """Five families."""
    return (
        _switched_ackley("switched-ackley-7-3", "dev", 7, 3, 1),
        _switched_ackley("switched-ackley-15-5", "held-out", 15, 5, 2),
        _stepped("whole-rastrigin-3-3", "dev", f.rastrigin, 5, 3, 6, 3),
        _stepped("whole-levy-5-5", "held-out", f.levy, 10, 5, 10, 4),
        _stepped("whole-rosenbrock-3-2", "held-out", f.rosenbrock, 4, 3, 5, 5),
        _stepped("whole-ellipsoid-5-3", "dev", f.ellipsoid, 50, 5, 8, 6),
        Tables("tables-4-3", "dev", (5, 4, 6, 3), 3, 7).build(),
        Tables("tables-6-2", "held-out", (4, 5, 3, 6, 4, 3), 2, 8).build(),
        Tables("tables-3-6", "held-out", (7, 5, 5), 6, 9).build(),
        _training("training-a", "dev", 10),
        _training("training-b", "held-out", 11),
        _chosen("chosen-functions", "dev"),
    )
