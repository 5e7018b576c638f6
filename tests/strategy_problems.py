"""Spaces, problems and a miniature study for tests of strategies: everything by constructors, nothing mocked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tuner import catalog
from tuner.expressions import parse
from tuner.history import History, HistoryBuffer
from tuner.parameters import Bool, Choice, Constant, Float, Int, Permutation, Simplex, Subset, Vector
from tuner.problem import Constraint, Problem
from tuner.randomness import generator
from tuner.space import SearchSpace
from tuner.strategies.protocol import Strategy
from tuner.sweep import Budget, Fidelity, SearchSection
from tuner.trial import Answer, Config, Metric, Proposal

SMALL: Mapping[str, dict[str, Any]] = {
    "gp": {"initial": 4, "fit_steps": 5, "restarts": 2, "raw_samples": 24, "mc_samples": 16, "maxiter": 8},
    "bohb": {"min_points": 3, "samples": 16},
    "mf-gp": {"initial": 4, "fit_steps": 5, "restarts": 2, "raw_samples": 24, "mc_samples": 16, "maxiter": 8},
    "preference": {
        "initial": 4,
        "fit_steps": 5,
        "restarts": 2,
        "raw_samples": 24,
        "mc_samples": 16,
        "maxiter": 8,
    },
    "saas": {
        "initial": 4,
        "members": 2,
        "fit_steps": 4,
        "restarts": 1,
        "raw_samples": 16,
        "mc_samples": 8,
        "maxiter": 4,
    },
    "turbo": {
        "initial": 4,
        "fit_steps": 5,
        "restarts": 1,
        "raw_samples": 16,
        "mc_samples": 8,
        "maxiter": 4,
        "length_min": 0.4,
        "failure_tolerance": 2,
    },
    "tpe": {"n_startup_trials": 4},
    "nsga2": {"population": 4},
    "nsga3": {"population": 4},
    "cmaes": {"population": 4},
}
"""Options that keep a strategy past its start-up, and cheap, within a dozen trials."""


SPENDS = {"mf-gp", "asha", "hyperband", "halving", "bohb"}
"""Strategies that need a fidelity, and say so."""


def numeric() -> SearchSpace:
    """Two floats and an int."""
    return SearchSpace(
        [Float("x", low=0.0, high=1.0), Float("lr", low=1e-5, high=1e-1, log=True), Int("k", low=1, high=9)]
    )


def conditional() -> SearchSpace:
    """Nested conditions."""
    return SearchSpace(
        [
            Choice("optim", values=("sgd", "adam", "none")),
            Float("lr", low=1e-4, high=1.0, log=True, when="optim != 'none'"),
            Bool("nesterov", when="optim == 'sgd'"),
            Float("momentum", low=0.0, high=0.99, when="optim == 'sgd' and nesterov"),
            Int("layers", low=1, high=4),
        ]
    )


def restricted() -> SearchSpace:
    """About a sixth of it is feasible."""
    return SearchSpace(
        [Float("a", low=0.0, high=1.0), Float("b", low=0.0, high=1.0), Choice("n", values=(1, 2, 4, 8), ordered=True)],
        [parse("a + b <= 0.8"), parse("n * a <= 1.0"), parse("a >= 0.1")],
    )


def all_kinds() -> SearchSpace:
    """Every kind of parameter, a condition and a restriction."""
    return SearchSpace(
        [
            Float("x", low=-1.0, high=1.0),
            Int("k", low=1, high=1000, log=True),
            Choice("c", values=("a", "b", "c")),
            Choice("o", values=(1, 2, 4), ordered=True),
            Bool("flag"),
            Subset("layers", items=("q", "k", "v"), min_size=1),
            Vector("keep", length=3, low=0.1, high=1.0, monotone="decreasing", when="flag"),
            Simplex("mix", items=("web", "code"), total=10),
            Permutation("order", items=("i", "j", "k")),
            Constant("epochs", value=3),
        ],
        [parse("o * count(layers) <= 8")],
    )


def tiny() -> SearchSpace:
    """Seven configurations: three with and four without a second parameter's choice."""
    return SearchSpace(
        [
            Choice("c", values=("a", "b")),
            Int("k", low=1, high=3, when="c == 'a'"),
            Int("m", low=1, high=4, when="c == 'b'"),
        ]
    )


SPACES: Mapping[str, Callable[[], SearchSpace]] = {
    "numeric": numeric,
    "conditional": conditional,
    "restricted": restricted,
    "all_kinds": all_kinds,
    "tiny": tiny,
}


def make_problem(
    space: SearchSpace,
    *,
    objectives: int = 1,
    constraint: bool = False,
    trials: int | None = None,
    parallel: int = 1,
    seed: int = 0,
    duplicates: Any = None,
    noisy: bool = False,
) -> Problem:
    """A problem with metrics f0 (maximised), f1, ... (minimised) and, when asked, g with `g <= 0.9`."""
    metrics = [Metric(name=f"f{j}", goal="minimize" if j else "maximize") for j in range(objectives)]
    text = "g <= 0.9"
    rule = Constraint(text=text, expression=parse(text), metrics=frozenset({"g"}), needs_baseline=False)
    if constraint:
        metrics.append(Metric(name="g", max=0.9))
    return Problem(
        name="test",
        space=space,
        metrics=tuple(metrics),
        constraints=(rule,) if constraint else (),
        search=SearchSection(method="random", duplicates=duplicates),
        budget=Budget(trials=trials),
        parallel=parallel,
        seed=seed,
        noisy=noisy,
    )


def build(name: str, problem: Problem, **options: Any) -> Strategy:
    """A registered strategy with the options of `SMALL` and those given; one that spends a fidelity is given one."""
    module = catalog.load("strategies", name)
    if name in SPENDS and problem.fidelity is None:
        problem = dataclasses.replace(problem, fidelity=Fidelity(parameter="epochs", min=1, max=27))
    given = {**SMALL.get(name, {}), **options}
    strategy: Strategy = (
        module.build(problem, module.Options(**given)) if hasattr(module, "Options") else module.build(problem)
    )
    return strategy


class Lab:
    """A study in a few lines: trials in memory, histories cut from them.

    Attributes:
        trials: Number -> (configuration, state or "pending", metrics).
        fidelities: Number -> what the trial had, of those that had less than all.
        origins: Number -> the trial that it continues, of those that do.
        seconds: Number -> what the trial took, where that is not half a second.
        answers: What was said of pairs of trials; known as soon as both have finished.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.trials: dict[int, tuple[Config, str, dict[str, float]]] = {}
        self.fidelities: dict[int, float] = {}
        self.origins: dict[int, int] = {}
        self.seconds: dict[int, float] = {}
        self.answers: list[Answer] = []

    def add(
        self,
        config: Config,
        *,
        state: str = "completed",
        metrics: Mapping[str, float] | None = None,
        fidelity: float | None = None,
        origin: int | None = None,
    ) -> int:
        """Record a trial, finished unless `state` is "pending"; its metrics are made up when None."""
        number = len(self.trials)
        self.trials[number] = (config, state, {})
        if fidelity is not None:
            self.fidelities[number] = fidelity
        if origin is not None:
            self.origins[number] = origin
        self.finish(number, state, metrics)
        return number

    def finish(self, number: int, state: str = "completed", metrics: Mapping[str, float] | None = None) -> None:
        """Change a trial's state."""
        config = self.trials[number][0]
        measured = dict(metrics) if metrics is not None else self.measure(config)
        self.trials[number] = (config, state, measured if state == "completed" else {})

    def measure(self, config: Config) -> dict[str, float]:
        """Smooth functions of the encoded configuration, different for each objective; f0 reaches 1."""
        x, active = self.problem.space.encoding.encode(config)
        metrics = {}
        for j, metric in enumerate(self.problem.metrics):
            gaps = np.where(active, x - (0.3 + 0.3 * j), 0.1)
            metrics[metric.name] = metric.sign * float(1.0 - np.mean(np.square(gaps)))
        return metrics

    def history(self, upto: int | None = None) -> History:
        """What is known before trial `upto` is proposed; before the next when None."""
        upto = len(self.trials) if upto is None else upto
        space = self.problem.space
        buffer, pending, seen = HistoryBuffer(self.problem), [], set()
        for number, (config, state, metrics) in sorted(self.trials.items()):
            if number >= upto:
                continue
            seen.add(space.key(config))
            if state == "pending":
                pending.append(_pending(config, number, self.fidelities.get(number), self.origins.get(number)))
                continue
            x, active = space.encoding.encode(config)
            margins = self.problem.margins(config, metrics, None)
            buffer.append(
                number=number, x=x, active=active, y=self.problem.values(metrics), margins=margins, state=state,
                fidelity=self.fidelities.get(number), seconds=self.seconds.get(number, 0.5),
                outputs=self.problem.outputs_of(metrics), origin=self.origins.get(number),
            )  # fmt: skip
        return buffer.cut(
            next_trial=upto,
            pending=pending,
            seen=lambda config: space.key(config) in seen,
            n_seen=len(seen),
            curve=lambda number: (np.empty(0, dtype=np.int64), np.empty((0, len(self.problem.objectives)))),
            answers=[answer for answer in self.answers if max(answer.better, answer.worse) < upto],
        )

    def ask(self, strategy: Strategy, n: int = 1, *, upto: int | None = None) -> list[Proposal]:
        """What the strategy proposes now."""
        history = self.history(upto)
        return strategy.suggest(history, n, generator(self.problem.seed, history.next_trial))

    def run(self, strategy: Strategy, n: int) -> list[Config]:
        """Ask and measure `n` times."""
        for _ in range(n):
            for proposal in self.ask(strategy):
                self.add(proposal.config, fidelity=proposal.fidelity, origin=proposal.origin)
        return [config for config, _, _ in self.trials.values()]


def _pending(config: Config, number: int, fidelity: float | None, origin: int | None) -> Proposal:
    from tuner.trial import Provenance

    return Proposal(config=config, provenance=Provenance(engine="test"), trial=number, fidelity=fidelity, origin=origin)


def finite(values: Mapping[str, float]) -> bool:
    """Whether every value is a number."""
    return all(math.isfinite(value) for value in values.values())
