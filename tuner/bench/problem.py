"""BenchProblem: something to tune whose best value is known, and how far a list of trials has got on it.

A merit is what a run is judged by, the larger the better: the best feasible value with its sign turned so that more is
better, or the hypervolume of the feasible trials from a fixed reference.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from tuner import pareto
from tuner.parameters import Float
from tuner.space import SearchSpace
from tuner.trial import Config, Metric

Class = Literal[
    "continuous", "mixed", "conditional", "combinatorial", "constrained", "several", "noisy", "multi-fidelity"
]
Split = Literal["dev", "held-out", "outside"]
CLASSES: tuple[Class, ...] = get_args(Class)
Values = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Fidelity:
    """What a trial may have less of: its cost is its share of `max`.

    Attributes:
        parameter: Its name.
        min: The least that means anything.
        max: What counts.
        continues: Whether a configuration that was tried at less costs only the difference, as training does that goes
            on from a checkpoint.
    """

    parameter: str
    min: float
    max: float
    continues: bool = False


@dataclass(frozen=True, kw_only=True)
class BenchProblem:
    """One problem.

    Attributes:
        name: Unique in the suite.
        kind: Its class.
        split: dev, held-out or outside.
        space: What may vary.
        metrics: Goals, bounds (feasible within them) and, with several goals, the references.
        evaluate: The metrics of a configuration, without noise.
        best: The best value in the metric's own units, with several goals the hypervolume.
        exact: Whether `best` is proved; otherwise it is the best known.
        source: Where it comes from.
        optima: Configurations that reach `best` (with several goals: the front), as far as they are known.
        noise: Standard deviation of what is added to every goal of a trial.
        floor: What a run without a feasible trial counts as, in the metric's own units.
        costly: Whether evaluations are worth keeping on disk.
        trials: The budget that it was made for.
        fidelity: What a trial may have less of; None when it may not.
        partial: With a fidelity, what a trial reports at so much of it. At `max` this is `evaluate`, but for problems
            whose reports are noisy by nature.
    """

    name: str
    kind: Class
    split: Split
    space: SearchSpace
    metrics: tuple[Metric, ...]
    evaluate: Callable[[Config], Values]
    best: float
    source: str
    exact: bool = True
    optima: tuple[Config, ...] = ()
    noise: float = 0.0
    floor: float | None = None
    costly: bool = False
    trials: int = 60
    fidelity: Fidelity | None = None
    partial: Callable[[Config, float], Values] | None = None

    @property
    def goals(self) -> tuple[Metric, ...]:
        """The metrics with a goal."""
        return tuple(metric for metric in self.metrics if metric.goal is not None)

    @property
    def best_merit(self) -> float:
        """The merit of `best`."""
        return self.best if len(self.goals) > 1 else self.goals[0].sign * self.best

    def observe(self, values: Values, seed: int, trial: int) -> dict[str, float]:
        """What a trial reports: `values` with noise that depends on the problem, the seed and the trial's number."""
        if not self.noise:
            return dict(values)
        digest = int.from_bytes(hashlib.blake2b(self.name.encode(), digest_size=8).digest())
        rng = np.random.default_rng([digest, seed, trial])
        goals = {metric.name for metric in self.goals}
        return {name: v + self.noise * rng.standard_normal() * (name in goals) for name, v in values.items()}

    def at(self, config: Config, level: float) -> Values:
        """What a trial of a configuration reports at so much of the fidelity."""
        return self.evaluate(config) if self.partial is None else self.partial(config, level)

    def feasible(self, values: Values) -> bool:
        """Whether every bound holds."""
        for metric in self.metrics:
            low = -math.inf if metric.min is None else metric.min
            high = math.inf if metric.max is None else metric.max
            if not low <= values[metric.name] <= high:
                return False
        return True

    def merit(
        self, true: Sequence[Values], observed: Sequence[Values] | None = None, chosen: int | None = None
    ) -> float:
        """How far the trials got.

        Args:
            true: Their metrics without noise, at least one trial.
            observed: What the method saw; `true` when None.
            chosen: The trial that the method recommends; None for the best feasible one of those observed.
        """
        seen = true if observed is None else observed
        if len(self.goals) > 1:
            return self._hypervolume([values for values in true if self.feasible(values)])
        goal = self.goals[0]
        if chosen is None:
            able = [i for i, values in enumerate(seen) if self.feasible(values)]
            chosen = max(able, key=lambda i: goal.sign * seen[i][goal.name], default=None)
        worst = -math.inf if self.floor is None else goal.sign * self.floor
        if chosen is None or not self.feasible(true[chosen]):
            return worst
        return max(worst, goal.sign * true[chosen][goal.name])

    def _hypervolume(self, rows: Sequence[Values]) -> float:
        if not rows:
            return 0.0
        Y = np.array([[goal.sign * values[goal.name] for goal in self.goals] for values in rows])
        corner = np.array([goal.sign * (goal.reference or 0.0) for goal in self.goals])
        return pareto.hypervolume(Y[pareto.non_dominated(Y)], corner)


def numbers(config: Config, prefix: str = "x") -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The values of the parameters x0, x1, ... (n,)."""
    n = sum(name.startswith(prefix) and name[len(prefix) :].isdigit() for name in config)
    return np.array([float(config[f"{prefix}{i}"]) for i in range(n)])


def floats(bounds: Sequence[tuple[float, float]], prefix: str = "x") -> list[Float]:
    """Parameters x0, x1, ... with these bounds."""
    return [Float(f"{prefix}{i}", low=float(low), high=float(high)) for i, (low, high) in enumerate(bounds)]


def named(x: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]], prefix: str = "x") -> Config:
    """The configuration {x0: ..., x1: ...}."""
    return {f"{prefix}{i}": float(value) for i, value in enumerate(x)}


def minimise(*names: str, **references: float) -> tuple[Metric, ...]:
    """Goals to minimise, with their references."""
    return tuple(Metric(name=name, goal="minimize", reference=references.get(name)) for name in names)
